/* test_nearest - slips of the finger are recognized, other words are not */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/macros.h"
#include "base/nearest.h"
static void test_nearest(void **state)
{
	static const char *const names[] = {
		"relay", "relay-smtps", "smtp", "lmtp", "virtual", "verify", "may", "none",
	};
	static const struct {
		const char *name, *want;
	} cases[] = {
		{ "relay-stmps", "relay-smtps" }, /* swapped neighbours */
		{ "verfy", "verify" },		  /* one dropped */
		{ "verifyy", "verify" },	  /* one added */
		{ "vertify", "verify" },
		{ "Virtaul", "virtual" },
		{ "VERIFY", "verify" },
		{ "stmp", "smtp" },
		{ "nmoe", NULL },
		{ "my", "may" },
		{ "hash", NULL },
		{ "relay-everything", NULL },
		{ "", NULL },
	};
	char longer[1000];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = nearest_name(cases[i].name, names, ARRAY_SIZE(names));

		if (got != cases[i].want && (!got || !cases[i].want || strcmp(got, cases[i].want)))
			fail_msg("\"%s\": got %s", cases[i].name, got ? got : "nothing");
	}
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	assert_null(nearest_name(longer, names, ARRAY_SIZE(names)));
	assert_null(nearest_name("may", names, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
