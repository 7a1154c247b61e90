/* test_self - names and addresses that are ours, and those that only look like it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/self.h"

static struct net_address address(const char *text)
{
	struct net_address a;

	assert_true(net_address_parse(slice_from(text), &a));
	return a;
}

static void test_names(void **state)
{
	const struct self self = { .hostname = "Mta.vm.vm" }, nobody = { .hostname = NULL };

	(void)state;
	assert_true(self_has_name(&self, "mta.vm.vm"));
	assert_true(self_has_name(&self, "MTA.VM.VM."));
	assert_false(self_has_name(&self, "mta.vm.v"));
	assert_false(self_has_name(&self, "mta.vm.vm.vm"));
	assert_false(self_has_name(&self, ""));
	assert_false(self_has_name(&self, "."));
	assert_false(self_has_name(&nobody, "mta.vm.vm"));
}

static void test_addresses(void **state)
{
	static const struct {
		const char *listener, *target;
		bool is_ours;
	} cases[] = {
		{ "127.0.0.1:25", "127.0.0.1:25", true },
		{ "127.0.0.1:25", "127.0.0.1:26", false },
		{ "127.0.0.1:25", "127.0.0.2:25", false }, /* who listens there is another */
		{ "0.0.0.0:25", "127.0.0.1:25", true },
		{ "0.0.0.0:25", "127.9.9.9:25", true },
		{ "0.0.0.0:25", "127.0.0.1:26", false },
		{ "0.0.0.0:25", "192.0.2.1:25", false }, /* RFC 5737: nobody has it */
		{ "0.0.0.0:25", "[::1]:25", false },
		{ "[::]:25", "[::1]:25", true },
		{ "[::]:25", "[2001:db8::1]:25", false },
		{ "[::]:25", "127.0.0.1:25", false },
		{ "[::1]:25", "[::1]:25", true },
		/* Stands in DNS, and the kernel takes it for this host. */
		{ "127.0.0.1:25", "0.0.0.0:25", true },
		{ "0.0.0.0:25", "0.0.0.0:25", true },
		{ "[::1]:25", "[::]:25", true },
		{ "127.0.0.1:25", "[::ffff:127.0.0.1]:25", true },
		{ "0.0.0.0:25", "[::ffff:127.0.0.1]:25", true },
		{ "0.0.0.0:25", "[::ffff:0.0.0.0]:25", true },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct mta_service services[] = {
			{ .address = address("198.51.100.1:25") },
			{ .address = address(cases[i].listener) },
		};
		const struct self self = { .services = services, .service_count = 2 };
		struct net_address target = address(cases[i].target);

		if (self_answers_at(&self, &target) != cases[i].is_ours)
			fail_msg("%s at %s", cases[i].target, cases[i].listener);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
