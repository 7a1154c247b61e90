/* test_parse - numbers with units, and near misses of them */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "base/parse.h"
static void test_uint(void **state)
{
	static const struct {
		const char *text;
		uint64_t max;
		bool taken;
		uint64_t want;
	} cases[] = {
		{ "0", 10, true, 0 },
		{ "007", 10, true, 7 },
		{ "65535", 65535, true, 65535 },
		{ "65536", 65535, false, 0 },
		{ "18446744073709551615", UINT64_MAX, true, UINT64_MAX },
		{ "18446744073709551616", UINT64_MAX, false, 0 },
		{ "99999999999999999999", UINT64_MAX, false, 0 },
		{ "5", 4, false, 0 },
		{ "0", 0, true, 0 },
		{ "", 10, false, 0 },
		{ "-1", 10, false, 0 },
		{ "+1", 10, false, 0 },
		{ " 1", 10, false, 0 },
		{ "1 ", 10, false, 0 },
		{ "0x1", 10, false, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t got = 12345;
		bool taken = parse_uint(slice_from(cases[i].text), cases[i].max, &got);

		if (taken != cases[i].taken || got != (taken ? cases[i].want : 12345))
			fail_msg("\"%s\": %d, %llu", cases[i].text, taken, (unsigned long long)got);
	}
}

static void test_duration(void **state)
{
	static const struct {
		const char *text;
		int64_t want; /* -1: refused */
	} cases[] = {
		{ "90", 90 },
		{ "30s", 30 },
		{ "5m", 300 },
		{ "4h", 14400 },
		{ "5d", 432000 },
		{ "1w", 604800 },
		{ "0", 0 },
		{ "", -1 },
		{ "m", -1 },
		{ "5 m", -1 },
		{ "5M", -1 },
		{ "5ms", -1 },
		{ "1h30m", -1 },
		{ "-5m", -1 },
		{ "9223372036854775807", INT64_MAX },
		{ "9223372036854775808", -1 },
		{ "9223372036854775807w", -1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t got = -1;

		parse_duration_s(slice_from(cases[i].text), &got);
		if (got != cases[i].want)
			fail_msg("\"%s\": %lld", cases[i].text, (long long)got);
	}
}

static void test_size(void **state)
{
	static const struct {
		const char *text;
		uint64_t want; /* 1: refused */
	} cases[] = {
		{ "52428800", 52428800 },
		{ "50M", 52428800 },
		{ "50m", 52428800 },
		{ "1G", 1073741824 },
		{ "64k", 65536 },
		{ "64K", 65536 },
		{ "0", 0 },
		{ "50MB", 1 },
		{ "M", 1 },
		{ "", 1 },
		{ "50 M", 1 },
		{ "99999999999G", 1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t got = 1;

		parse_size(slice_from(cases[i].text), &got);
		if (got != cases[i].want)
			fail_msg("\"%s\": %llu", cases[i].text, (unsigned long long)got);
	}
}

static void test_bool(void **state)
{
	bool b = false;

	(void)state;
	assert_true(parse_bool(SLICE("yes"), &b) && b);
	assert_true(parse_bool(SLICE("no"), &b) && !b);
	assert_true(parse_bool(SLICE("Yes"), &b) && b); /* as Postfix has it */
	assert_false(parse_bool(SLICE("true"), &b));
	assert_false(parse_bool(SLICE("yes "), &b));
	assert_false(parse_bool(SLICE(""), &b));
	assert_true(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_uint),
		cmocka_unit_test(test_duration),
		cmocka_unit_test(test_size),
		cmocka_unit_test(test_bool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
