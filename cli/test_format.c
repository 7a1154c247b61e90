/* test_format - what people read of sizes, times and addresses */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "cli/cli.h"

static void expect(struct buf *out, const char *want)
{
	char *got = buf_steal_string(out);

	assert_string_equal(got, want);
	free(got);
}

static void test_sizes(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *want;
	} cases[] = {
		{ 0, "0 B" },
		{ 1023, "1023 B" },
		{ 1024, "1.0 KiB" },
		{ 4196, "4.1 KiB" },
		{ 1u << 20, "1.0 MiB" },
		{ 52428800, "50.0 MiB" },
		{ 1ull << 40, "1.0 TiB" },
		{ 1ull << 51, "2048.0 TiB" },
	};
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		cli_format_size(&out, cases[i].bytes);
		expect(&out, cases[i].want);
	}
}

static void test_addresses(void **state)
{
	struct buf out = { 0 };

	(void)state;
	cli_format_address(&out, "alice@vm1.vm");
	expect(&out, "alice@vm1.vm");
	cli_format_address(&out, "");
	expect(&out, "<>");
	cli_format_address(&out, "\x1b[31m@vm1.vm");
	expect(&out, "?[31m@vm1.vm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
