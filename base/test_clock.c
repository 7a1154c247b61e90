/* test_clock - times as text, in zones that have odd offsets and names */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
static void test_rfc3339(void **state)
{
	static const struct {
		int64_t wall_ms;
		const char *want;
	} cases[] = {
		{ 0, "1970-01-01T00:00:00.000Z" },
		{ -1, "1969-12-31T23:59:59.999Z" },
		{ 1795245121123, "2026-11-21T07:12:01.123Z" },
		{ 951782400000, "2000-02-29T00:00:00.000Z" },
		{ INT64_MAX, "9999-12-31T23:59:59.999Z" },
		{ INT64_MIN, "0000-01-01T00:00:00.000Z" },
	};
	char out[TIME_RFC3339_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(time_rfc3339(cases[i].wall_ms, out), cases[i].want);
}

/* RFC 5322 section 3.3 */
static void test_rfc5322(void **state)
{
	static const struct {
		const char *zone;
		int64_t wall_ms;
		const char *want;
	} cases[] = {
		{ "UTC0", 1795245121123, "Sat, 21 Nov 2026 07:12:01 +0000 (UTC)" },
		{ "UTC0", 1793492230000, "Sun, 01 Nov 2026 00:17:10 +0000 (UTC)" },
		{ "CET-1", 1795245121123, "Sat, 21 Nov 2026 08:12:01 +0100 (CET)" },
		{ "NST3:30", 1795245121123, "Sat, 21 Nov 2026 03:42:01 -0330 (NST)" },
		{ "<+0545>-5:45", 1795245121123, "Sat, 21 Nov 2026 12:57:01 +0545 (+0545)" },
		{ "LONGNAME0", 1795245121123, "Sat, 21 Nov 2026 07:12:01 +0000" },
	};
	char out[TIME_RFC5322_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		setenv("TZ", cases[i].zone, 1);
		tzset();
		assert_string_equal(time_rfc5322(cases[i].wall_ms, out), cases[i].want);
		assert_true(strlen(time_rfc5322(INT64_MAX, out)) < sizeof(out));
		assert_true(strlen(time_rfc5322(INT64_MIN, out)) < sizeof(out));
	}
}

static void test_durations(void **state)
{
	static const struct {
		int64_t seconds;
		const char *want;
	} cases[] = {
		{ -5, "0s" },	  { 0, "0s" },	       { 59, "59s" },	     { 60, "1m" },
		{ 61, "1m1s" },	  { 3599, "59m59s" },  { 3600, "1h" },	     { 3601, "1h" },
		{ 3660, "1h1m" }, { 86399, "23h59m" }, { 86400 + 60, "1d" }, { 183600, "2d3h" },
	};
	char out[TIME_DURATION_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(time_duration(cases[i].seconds, out), cases[i].want);
	assert_true(strlen(time_duration(INT64_MAX, out)) < sizeof(out));
}

static void test_system(void **state)
{
	int64_t mono = clock_mono_ms(&clock_system);

	(void)state;
	assert_true(clock_wall_ms(&clock_system) / 1000 - time(NULL) <= 1);
	assert_true(clock_mono_ms(&clock_system) >= mono);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rfc3339),
		cmocka_unit_test(test_rfc5322),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_system),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
