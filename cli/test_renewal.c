/* test_renewal - which names of a certificate a new one keeps, and which are lost */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "base/slice.h"
#include "cli/renewal.h"

static const char *old_names[] = { "Hub", "mta.vm.vm", "*.vm.vm", "127.0.0.1", "2001:db8::1" };
static const struct renewal_names old = { old_names, ARRAY_SIZE(old_names) };

static void test_keep(void **state)
{
	struct arena arena = { 0 };
	struct renewal_names kept = renewal_keep("hub", &old, &arena);

	(void)state;
	assert_int_equal(kept.count, 5);
	assert_string_equal(kept.names[0], "hub");
	assert_string_equal(kept.names[1], "mta.vm.vm");
	assert_string_equal(kept.names[4], "2001:db8::1");
	kept = renewal_keep("other", &old, &arena);
	assert_int_equal(kept.count, 6);
	assert_string_equal(kept.names[0], "other");
	assert_string_equal(kept.names[1], "Hub");
	arena_done(&arena);
}

static void test_lost(void **state)
{
	static const struct {
		const char *given[6], *lost;
	} cases[] = {
		{ { "hub", "MTA.vm.VM", "*.VM.vm", "127.0.0.1", "2001:DB8:0::1" }, "" },
		{ { "hub", "mta1.vm.vm" }, "mta.vm.vm, *.vm.vm, 127.0.0.1, 2001:db8::1" },
		{ { "2001:db8::1", "127.0.0.1", "mta.vm.vm", "*.vm.vm" }, "Hub" },
		{ { "hub", "mta.vm.vm", "*.vm.vm", "127.0.0.2", "2001:db8::1" }, "127.0.0.1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *given[6];
		struct renewal_names new_names = { .names = given };
		struct buf lost = { 0 };
		unsigned int count;

		memcpy(given, cases[i].given, sizeof(given));
		while (given[new_names.count])
			new_names.count++;
		count = renewal_lost(&old, &new_names, &lost);
		if (!slice_equal(buf_slice(&lost), slice_from(cases[i].lost)) ||
		    (count > 0) != (cases[i].lost[0] != '\0'))
			fail_msg("case %zu: got %u: %.*s", i, count, (int)buf_slice(&lost).len,
				 buf_slice(&lost).ptr);
		buf_done(&lost);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_keep),
		cmocka_unit_test(test_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
