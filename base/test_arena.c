/* test_arena - memory is aligned, zeroed and its own, before and after a reset */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdalign.h>
#include <string.h>

#include "base/arena.h"
static void test_alloc(void **state)
{
	struct arena a = { 0 };

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (size_t i = 1; i < 3000; i += i < 64 ? 1 : 333) {
			char *ptr = arena_alloc(&a, i);

			assert_int_equal((uintptr_t)ptr % alignof(max_align_t), 0);
			for (size_t k = 0; k < i; k++)
				assert_int_equal(ptr[k], 0);
			memset(ptr, 0xee, i); /* overlaps would show as non-zero later */
		}
		assert_true(a.used > 0);
		arena_reset(&a);
		assert_int_equal(a.used, 0);
	}
	arena_done(&a);
	arena_done(&a);
}

static void test_strings(void **state)
{
	struct arena a = { 0 };
	const char *copy, *cut, *number, *wide;

	(void)state;
	copy = arena_strdup(&a, "bob@vm2.vm");
	cut = arena_slicedup(&a, slice_of("abcdef", 3));
	number = arena_printf(&a, "<%d>", 42);
	wide = arena_printf(&a, "%5000s|", "x");
	assert_string_equal(copy, "bob@vm2.vm");
	assert_string_equal(cut, "abc");
	assert_string_equal(number, "<42>");
	assert_int_equal(strlen(wide), 5001);
	assert_string_equal(wide + 4999, "x|");
	assert_null(arena_strdup(&a, NULL));
	assert_string_equal(arena_slicedup(&a, (struct slice){ NULL, 0 }), "");
	arena_done(&a);
}

/* Large pieces have blocks of their own; the room left in the first block is still used. */
static void test_large_pieces_lose_no_room(void **state)
{
	struct arena a = { 0 };
	char *before, *after;

	(void)state;
	before = arena_alloc(&a, 16);
	arena_alloc(&a, 100000);
	after = arena_alloc(&a, 16);
	assert_ptr_equal(after, before + 16);

	arena_reset(&a);
	assert_ptr_equal(arena_alloc(&a, 16), before); /* the ordinary block was kept */
	arena_done(&a);
}

static void test_reset_frees_large_blocks(void **state)
{
	struct arena a = { 0 };

	(void)state;
	arena_reset(&a);
	arena_alloc(&a, 100000);
	arena_reset(&a);
	assert_null(a.blocks);
	arena_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_alloc),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_large_pieces_lose_no_room),
		cmocka_unit_test(test_reset_frees_large_blocks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
