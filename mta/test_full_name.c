/* test_full_name - display names (RFC 5322 section 3.2.5, RFC 2047) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/full_name.h"

static const struct {
	const char *name, *want;
} cases[] = {
	{ "Bob", "Bob" },
	{ "Cron Daemon", "Cron Daemon" },
	{ "  Bob ", "Bob" },
	{ "John Q. Public", "\"John Q. Public\"" },
	{ "a <b@c>, d", "\"a <b@c>, d\"" },
	{ "say \"hi\" \\o/", "\"say \\\"hi\\\" \\\\o/\"" },
	{ "=?utf-8?Q?x?=", "\"=?utf-8?Q?x?=\"" },
	{ "x\r\nBcc: y", "\"x Bcc: y\"" },
	{ "J\303\274rgen (x) M", "=?utf-8?Q?J=C3=BCrgen_=28x=29_M?=" },
	{ "\377\376", "\"??\"" },
	{ "\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254\342\202\254",
	  "=?utf-8?Q?=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC=E2=82=AC?=\r\n"
	  " =?utf-8?Q?=E2=82=AC?=" },
};

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out = { 0 };
		char *got;

		full_name_append(&out, slice_from(cases[i].name));
		got = buf_steal_string(&out);
		assert_string_equal(got, cases[i].want);
		free(got);
	}
}

static void test_long_name(void **state)
{
	char name[3001];
	struct buf out = { 0 };
	struct slice rest, line;

	(void)state;
	for (size_t i = 0; i < 3000; i += 3)
		memcpy(name + i, "\342\202\254", 3);
	full_name_append(&out, slice_of(name, 3000));
	assert_true(buf_len(&out) < 1000);
	rest = buf_slice(&out);
	while (slice_next_word(&rest, "\n", &line))
		assert_true(line.len <= 76);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
