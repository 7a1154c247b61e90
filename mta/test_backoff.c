/* test_backoff - waits double, stay between the limits, and vary */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/backoff.h"

static const struct {
	unsigned int failures;
	int64_t minimal_s, maximal_s, middle_ms;
} cases[] = {
	{ 0, 300, 14400, 300000 },   { 1, 300, 14400, 300000 },
	{ 2, 300, 14400, 600000 },   { 4, 300, 14400, 2400000 },
	{ 7, 300, 14400, 14400000 }, { 4000000000, 300, 14400, 14400000 },
	{ 1, 0, 0, 1000 }, /* never a busy loop, whatever is configured */
};

static void test_backoff(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int64_t low = INT64_MAX, high = 0;

		for (uint32_t random = 0; random < 4000000000u; random += 7654321u) {
			int64_t ms = backoff_ms(cases[i].failures, cases[i].minimal_s,
						cases[i].maximal_s, random);

			low = MIN(low, ms);
			high = MAX(high, ms);
		}
		assert_in_range(low, cases[i].middle_ms * 9 / 10, cases[i].middle_ms);
		assert_in_range(high, cases[i].middle_ms, cases[i].middle_ms * 11 / 10);
		assert_true(high > low);
	}
}

#define MESSAGES 100000
#define PARTS	 10

/* Neighbours return together, groups of them do not, and all parts of the time get their share. */
static void test_random(void **state)
{
	unsigned int parts[PARTS] = { 0 }, groups = 1;
	int64_t first = INT64_C(1763736000000000);

	(void)state;
	for (int64_t id = first; id < first + MESSAGES; id++) {
		groups += backoff_random(id) != backoff_random(id - 1);
		parts[backoff_random(id) % PARTS]++;
	}
	assert_in_range(groups, MESSAGES / 100, MESSAGES / 50);
	for (size_t i = 0; i < PARTS; i++)
		assert_in_range(parts[i], MESSAGES / PARTS / 2, MESSAGES / PARTS * 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_backoff),
					    cmocka_unit_test(test_random) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
