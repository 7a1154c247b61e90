/* test_slice - comparing, trimming, splitting and copying bytes that may hold NUL */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "base/slice.h"
/* For comparing with a literal in one line. */
static void assert_slice(struct slice got, const char *want)
{
	if (!slice_equal(got, slice_from(want)))
		fail_msg("got \"%.*s\", want \"%s\"", (int)got.len, got.ptr ? got.ptr : "", want);
}

static void test_equal(void **state)
{
	const struct slice none = { NULL, 0 };

	(void)state;
	assert_true(slice_equal(none, SLICE("")));
	assert_true(slice_equal(SLICE("a\0b"), SLICE("a\0b")));
	assert_false(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
	assert_false(slice_equal(SLICE("a"), SLICE("ab")));
	assert_false(slice_equal(SLICE("a"), SLICE("A")));

	assert_true(slice_equal_nocase(SLICE("StartTLS"), SLICE("STARTtls")));
	assert_true(slice_equal_nocase(none, none));
	assert_false(slice_equal_nocase(SLICE("@"), SLICE("`"))); /* differ in the bit of case */
	assert_false(slice_equal_nocase(SLICE("["), SLICE("{")));
	assert_false(slice_equal_nocase(SLICE("\xc4"), SLICE("\xe4"))); /* not ASCII */

	assert_true(slice_starts_nocase(SLICE("TO:<a@b>"), SLICE("to:")));
	assert_true(slice_starts_nocase(SLICE("x"), none));
	assert_false(slice_starts_nocase(SLICE("TO"), SLICE("TO:")));
}

static void test_parts(void **state)
{
	const struct slice none = { NULL, 0 };

	(void)state;
	assert_slice(slice_skip(SLICE("abc"), 1), "bc");
	assert_slice(slice_skip(SLICE("abc"), 9), "");
	assert_slice(slice_skip(none, 1), "");
	assert_slice(slice_first(SLICE("abc"), 2), "ab");
	assert_slice(slice_first(SLICE("abc"), 9), "abc");
	assert_slice(slice_trim(SLICE(" \t a b\r\n")), "a b");
	assert_slice(slice_trim(SLICE(" \r\n")), "");
	assert_slice(slice_trim(none), "");
	assert_int_equal(slice_find(SLICE("a:b:c"), ':'), 1);
	assert_int_equal(slice_find(SLICE("abc"), ':'), 3);
	assert_int_equal(slice_find(SLICE("ab\0"), '\0'), 2);
	assert_int_equal(slice_find(none, '\0'), 0);
}

static void test_next_word(void **state)
{
	static const struct {
		const char *text, *separators, *words[4];
	} cases[] = {
		{ "one two", " ", { "one", "two" } },
		{ ", one,, two ,", ", ", { "one", "two" } },
		{ "mta2:465", ":", { "mta2", "465" } },
		{ "one", " ", { "one" } },
		{ "", " ", { NULL } },
		{ " ,", " ,", { NULL } },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice rest = slice_from(cases[i].text), word;
		size_t n = 0;

		while (slice_next_word(&rest, cases[i].separators, &word))
			assert_slice(word, cases[i].words[n++]);
		assert_null(cases[i].words[n]);
		assert_int_equal(rest.len, 0);
	}
}

static void test_next_word_rest(void **state)
{
	struct slice rest = SLICE("relay-smtps:[hub]:465 tls=verify"), word;

	(void)state;
	assert_true(slice_next_word(&rest, ":", &word));
	assert_slice(word, "relay-smtps");
	assert_slice(rest, "[hub]:465 tls=verify");

	rest = SLICE("a\0b c");
	assert_true(slice_next_word(&rest, " ", &word));
	assert_int_equal(word.len, 3); /* NUL separates nothing */
}

static void test_copy(void **state)
{
	char out[4];
	char *string;

	(void)state;
	assert_true(slice_copy(SLICE("abc"), out, sizeof(out)));
	assert_string_equal(out, "abc");
	assert_false(slice_copy(SLICE("abcd"), out, sizeof(out)));
	assert_string_equal(out, "");
	assert_false(slice_copy(SLICE("a\0b"), out, sizeof(out)));
	assert_string_equal(out, "");
	assert_true(slice_copy((struct slice){ NULL, 0 }, out, 1));

	string = slice_strdup(slice_of("abcd", 2));
	assert_string_equal(string, "ab");
	free(string);
	string = slice_strdup((struct slice){ NULL, 0 });
	assert_string_equal(string, "");
	free(string);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_equal),	  cmocka_unit_test(test_parts),
		cmocka_unit_test(test_next_word), cmocka_unit_test(test_next_word_rest),
		cmocka_unit_test(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
