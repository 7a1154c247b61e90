/* test_base64 - the test vectors of RFC 4648 section 10, and what a decoder must refuse */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/base64.h"
#include "base/macros.h"
static void test_vectors(void **state)
{
	static const struct {
		const char *plain, *encoded;
	} cases[] = {
		{ "", "" },
		{ "f", "Zg==" },
		{ "fo", "Zm8=" },
		{ "foo", "Zm9v" },
		{ "foob", "Zm9vYg==" },
		{ "fooba", "Zm9vYmE=" },
		{ "foobar", "Zm9vYmFy" },
		{ "\xfb\xff\xbf", "+/+/" },
	};
	char text[BASE64_ENCODED_SIZE(8)];
	char bytes[BASE64_DECODED_SIZE(8)];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice plain = slice_from(cases[i].plain);
		ssize_t len = base64_decode(slice_from(cases[i].encoded), bytes);

		base64_encode(plain, text);
		assert_string_equal(text, cases[i].encoded);
		assert_int_equal(len, plain.len);
		assert_memory_equal(bytes, cases[i].plain, plain.len);
	}
}

static void test_every_byte(void **state)
{
	char plain[256], text[BASE64_ENCODED_SIZE(256)], back[BASE64_DECODED_SIZE(344)];

	(void)state;
	for (size_t i = 0; i < sizeof(plain); i++)
		plain[i] = (char)i;
	for (size_t len = 0; len <= sizeof(plain); len++) {
		base64_encode(slice_of(plain, len), text);
		assert_int_equal(strlen(text), BASE64_ENCODED_SIZE(len) - 1);
		assert_int_equal(base64_decode(slice_from(text), back), len);
		assert_memory_equal(back, plain, len);
	}
}

static void test_refused(void **state)
{
	static const char *const cases[] = {
		"Z",	"Zg",	    "Zg=",     "Zm9v=", "====",	     "=",    "Z===",
		"Zm=v", "Zg==Zg==", "Zh==",    "Zm9=",	"Zm9!",	     "Zm-_", "Zm9v\n",
		"Zm 9", "Zg==\n",   "Zm9\xc3", "Zg=a",	"AGEAYg==x",
	};
	char bytes[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (base64_decode(slice_from(cases[i]), bytes) != -1)
			fail_msg("taken: \"%s\"", cases[i]);
	}
	assert_int_equal(base64_decode(SLICE("Zm9\0"), bytes), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_every_byte),
		cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
