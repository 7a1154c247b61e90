/* test_rates - counts of events by client and user */

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/rates.h"

static void test_counts(void **state)
{
	struct rates *r = rates_new();

	(void)state;
	assert_int_equal(rates_get(r, SLICE("a"), RATE_MESSAGE, 0), 0);
	assert_int_equal(rates_add(r, SLICE("a"), RATE_MESSAGE, 60, 1000), 1);
	assert_int_equal(rates_add(r, SLICE("a"), RATE_MESSAGE, 60, 1059), 2);
	assert_int_equal(rates_add(r, SLICE("a"), RATE_RECIPIENT, 60, 1059), 1);
	assert_int_equal(rates_add(r, SLICE("b"), RATE_MESSAGE, 60, 1059), 1);
	assert_int_equal(rates_get(r, SLICE("a"), RATE_MESSAGE, 1059), 2);

	/* The unit is over: everything of a begins anew. */
	assert_int_equal(rates_get(r, SLICE("a"), RATE_MESSAGE, 1060), 0);
	assert_int_equal(rates_add(r, SLICE("a"), RATE_RECIPIENT, 60, 1060), 1);
	assert_int_equal(rates_get(r, SLICE("b"), RATE_MESSAGE, 1060), 1);
	rates_free(r);
	rates_free(NULL);
}

/* Whoever comes with a million addresses does not make us forget who has done much. */
static void test_many_keys(void **state)
{
	struct rates *r = rates_new();

	(void)state;
	for (unsigned int i = 0; i < 10; i++)
		rates_add(r, SLICE("guilty"), RATE_AUTH, 1000, 0);
	for (unsigned int i = 0; i < 300000; i++) {
		char key[16];

		snprintf(key, sizeof(key), "%u", i);
		assert_true(rates_add(r, slice_from(key), RATE_CONNECTION, 1000, 0) >= 1);
	}
	assert_int_equal(rates_get(r, SLICE("guilty"), RATE_AUTH, 0), 10);
	rates_free(r);
}

static void *add_many(void *arg)
{
	for (unsigned int i = 0; i < 10000; i++)
		rates_add(arg, SLICE("a"), RATE_MESSAGE, 1000, 0);
	return NULL;
}

static void test_threads(void **state)
{
	struct rates *r = rates_new();
	pthread_t threads[4];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, add_many, r), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(rates_get(r, SLICE("a"), RATE_MESSAGE, 0), 40000);
	rates_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_many_keys),
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
