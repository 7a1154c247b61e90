/* test_strmap - a table beside a plain array that does the same, over many random steps */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/strmap.h"
static void test_basics(void **state)
{
	struct strmap map = { 0 };
	int one = 1, two = 2;

	(void)state;
	assert_null(strmap_get(&map, SLICE("a")));
	assert_null(strmap_remove(&map, SLICE("a")));
	assert_null(strmap_put(&map, SLICE("a"), &one));
	assert_ptr_equal(strmap_put(&map, SLICE("a"), &two), &one);
	assert_ptr_equal(strmap_get(&map, SLICE("a")), &two);
	assert_int_equal(map.count, 1);
	assert_ptr_equal(strmap_remove(&map, SLICE("a")), &two);
	assert_null(strmap_get(&map, SLICE("a")));
	assert_int_equal(map.count, 0);
	strmap_done(&map);
	strmap_done(&map);
}

static void test_keys_are_bytes(void **state)
{
	static const struct slice keys[] = {
		{ NULL, 0 }, { "a", 1 },	{ "a\0", 2 },	    { "a\0b", 3 },
		{ "A", 1 },  { "aaaaaaaa", 8 }, { "aaaaaaa\0", 8 },
	};
	struct strmap map = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_null(strmap_put(&map, keys[i], (void *)&keys[i]));
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		assert_ptr_equal(strmap_get(&map, keys[i]), &keys[i]);
	assert_ptr_equal(strmap_get(&map, SLICE("")), &keys[0]);
	assert_int_equal(map.count, ARRAY_SIZE(keys));
	strmap_done(&map);
}

static struct slice key_of(unsigned int number, char out[16])
{
	int len = snprintf(out, 16, "key-%u", number);

	return slice_of(out, (size_t)len);
}

static size_t count_entries(const struct strmap *map)
{
	const struct strmap_entry *e;
	size_t cursor = 0, count = 0;

	while ((e = strmap_next(map, &cursor))) {
		assert_int_equal(e->key[e->key_len], 0);
		assert_ptr_equal(strmap_get(map, slice_of(e->key, e->key_len)), e->value);
		count++;
	}
	return count;
}

#define KEYS 600

/* Each step puts or removes one of KEYS keys; the table is seeded anew in each run. */
static void test_random_steps(void **state)
{
	char *model[KEYS] = { NULL }, values[KEYS], text[16];
	struct strmap map = { 0 };
	size_t count = 0;

	(void)state;
	srandom(1);
	for (unsigned int step = 0; step < 40000; step++) {
		unsigned int n = (unsigned int)random() % KEYS;
		struct slice key = key_of(n, text);
		bool put = random() % 3 > (step / 10000) % 2; /* phases of growing and shrinking */

		assert_ptr_equal(strmap_get(&map, key), model[n]);
		if (put) {
			assert_ptr_equal(strmap_put(&map, key, &values[n]), model[n]);
			count += !model[n];
			model[n] = &values[n];
		} else {
			assert_ptr_equal(strmap_remove(&map, key), model[n]);
			count -= !!model[n];
			model[n] = NULL;
		}
		assert_int_equal(map.count, count);
		if (step % 1000 == 0)
			assert_int_equal(count_entries(&map), count);
	}
	for (unsigned int n = 0; n < KEYS; n++)
		assert_ptr_equal(strmap_get(&map, key_of(n, text)), model[n]);
	strmap_done(&map);
}

/* Connections come and go: the table must not grow with what has passed through it. */
static void test_churn_does_not_grow(void **state)
{
	struct strmap map = { 0 };
	char text[16];

	(void)state;
	for (unsigned int n = 0; n < 20000; n++) {
		assert_null(strmap_put(&map, key_of(n, text), &map));
		if (n >= 100)
			assert_non_null(strmap_remove(&map, key_of(n - 100, text)));
	}
	assert_int_equal(map.count, 100);
	assert_true(map.size <= 256);
	strmap_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_basics),
		cmocka_unit_test(test_keys_are_bytes),
		cmocka_unit_test(test_random_steps),
		cmocka_unit_test(test_churn_does_not_grow),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
