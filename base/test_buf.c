/* test_buf - what goes in at the end comes out at the front, whatever the buffer does inside */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
static void assert_buf(const struct buf *b, const char *want)
{
	if (!slice_equal(buf_slice(b), slice_from(want)))
		fail_msg("got \"%.*s\", want \"%s\"", (int)buf_len(b), b->mem + b->start, want);
}

static void test_append(void **state)
{
	struct buf b = { 0 };

	(void)state;
	assert_int_equal(buf_len(&b), 0);
	assert_int_equal(buf_slice(&b).len, 0);
	buf_append(&b, NULL, 0);
	buf_append(&b, "ab", 2);
	buf_append_slice(&b, SLICE("cd"));
	buf_append_slice(&b, (struct slice){ NULL, 0 });
	buf_append_string(&b, "ef");
	buf_printf(&b, "-%d", 42);
	assert_buf(&b, "abcdef-42");

	buf_consume(&b, 4);
	assert_buf(&b, "ef-42");
	buf_clear(&b);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
	buf_done(&b);
	buf_append_string(&b, "again");
	assert_buf(&b, "again");
	buf_done(&b);
}

static void test_printf_longer_than_the_room(void **state)
{
	struct buf b = { 0 };
	struct slice s;

	(void)state;
	buf_append_string(&b, "x");
	buf_printf(&b, "%5000d|", 7);
	s = buf_slice(&b);
	assert_int_equal(s.len, 5002);
	assert_memory_equal(s.ptr + 4999, " 7|", 3);
	buf_done(&b);
}

/* A stream of numbered bytes in pieces of all sizes, as a connection sees it. */
static void test_stream_of_bytes(void **state)
{
	struct buf b = { 0 };
	unsigned char in = 0, out = 0;
	size_t biggest = 0;

	(void)state;
	for (size_t round = 0; round < 4000; round++) {
		size_t add = round * 37 % 1000, take;
		char *end = buf_reserve(&b, add);

		for (size_t i = 0; i < add; i++)
			end[i] = (char)in++;
		buf_commit(&b, add);
		take = buf_len(&b) > 2000 ? buf_len(&b) - 100 : buf_len(&b) / 3;
		for (size_t i = 0; i < take; i++)
			assert_int_equal((unsigned char)b.mem[b.start + i], out++);
		buf_consume(&b, take);
		biggest = b.size > biggest ? b.size : biggest;
	}
	assert_true(biggest <= 16384); /* consumed bytes make room */
	buf_done(&b);
}

static void test_shrink(void **state)
{
	struct buf b = { 0 };

	(void)state;
	buf_reserve(&b, 100000);
	buf_append_string(&b, "x");
	buf_shrink(&b, 4096);
	assert_true(b.size >= 100000); /* not empty */
	buf_consume(&b, 1);
	buf_shrink(&b, 1 << 20);
	assert_true(b.size >= 100000); /* not too large */
	buf_shrink(&b, 4096);
	assert_int_equal(b.size, 0);
	buf_done(&b);
}

static void test_steal(void **state)
{
	struct buf b = { 0 };
	char *string = buf_steal_string(&b);

	(void)state;
	assert_string_equal(string, "");
	free(string);

	buf_append_string(&b, "abcdef");
	buf_consume(&b, 2);
	string = buf_steal_string(&b);
	assert_string_equal(string, "cdef");
	assert_int_equal(buf_len(&b), 0);
	assert_null(b.mem);
	free(string);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_append),
		cmocka_unit_test(test_printf_longer_than_the_room),
		cmocka_unit_test(test_stream_of_bytes),
		cmocka_unit_test(test_shrink),
		cmocka_unit_test(test_steal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
