/* test_utf8 - characters to bytes and back; what is no character is none (test_escape has the rest) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "base/utf8.h"

static void test_there_and_back(void **state)
{
	static const uint32_t codes[] = { 0x80,	  0x7ff,  0x800,   0xd7ff,
					  0xe000, 0xffff, 0x10000, 0x10ffff };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		char bytes[4];
		size_t n = utf8_encode(codes[i], bytes);
		uint32_t code = 0;

		assert_int_equal(utf8_sequence(slice_of(bytes, n), &code), n);
		assert_int_equal(code, codes[i]);
		assert_int_equal(utf8_sequence(slice_of(bytes, n - 1), &code), 0);
	}
}

static void test_ascii_is_no_sequence(void **state)
{
	char bytes[4];
	uint32_t code;

	(void)state;
	assert_int_equal(utf8_encode('a', bytes), 1);
	assert_int_equal(utf8_sequence(slice_of(bytes, 1), &code), 0);
	assert_int_equal(utf8_sequence(SLICE(""), &code), 0);
}

static void test_is_ascii(void **state)
{
	(void)state;
	assert_true(utf8_is_ascii(SLICE("")));
	assert_true(utf8_is_ascii(SLICE("a\177\0z")));
	assert_false(utf8_is_ascii(SLICE("m\303\274ller")));
}

static void test_is_control(void **state)
{
	(void)state;
	assert_true(utf8_is_control('\n') && utf8_is_control(0x7f) && utf8_is_control(0x9f));
	assert_true(utf8_is_control(0x2028) && utf8_is_control(0x2029));
	assert_false(utf8_is_control(' ') || utf8_is_control(0xa0) || utf8_is_control(0x202a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_ascii_is_no_sequence),
		cmocka_unit_test(test_is_ascii),
		cmocka_unit_test(test_is_control),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
