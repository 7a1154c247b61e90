/* test_escape - what a hostile peer writes must not forge a log line or drive a terminal */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "base/escape.h"
#include "base/macros.h"
#define TEXT(literal) literal, sizeof(literal) - 1

static const struct {
	const char *label, *in;
	size_t in_len, max;
	const char *want;
} cases[] = {
	{ "plain", TEXT("250 2.0.0 Ok"), 100, "250 2.0.0 Ok" },
	{ "empty", TEXT(""), 100, "" },
	{ "forged line", TEXT("no\r\nNov 21 fake"), 100, "no Nov 21 fake" },
	{ "a run becomes one space", TEXT("a\r\n\t\nb"), 100, "a b" },
	{ "real spaces stay", TEXT("a  b"), 100, "a  b" },
	{ "escape sequence", TEXT("\x1b[2J\x07\x7f"), 100, "?[2J??" },
	{ "NUL", TEXT("a\0b"), 100, "a?b" },
	{ "UTF-8 of 2, 3, 4 bytes", TEXT("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7"), 100,
	  "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7" },
	{ "C1 control",
	  TEXT("a\xc2\x9b"
	       "2J"),
	  100, "a?2J" },
	{ "last C1, first letter", TEXT("\xc2\x9f\xc2\xa0"), 100, "?\xc2\xa0" },
	{ "line separators", TEXT("\xe2\x80\xa8|\xe2\x80\xa9"), 100, "?|?" },
	{ "turned order", TEXT("a\xe2\x80\xae|\xe2\x80\xaa|\xe2\x81\xa6|\xe2\x81\xa9"), 100,
	  "a?|?|?|?" },
	{ "joiner, direction", TEXT("\xe2\x80\x8d\xe2\x80\x8f"), 100, "\xe2\x80\x8d\xe2\x80\x8f" },
	{ "bare C1 byte", TEXT("\x9b"), 100, "?" },
	{ "cut sequence", TEXT("a\xe2\x82"), 100, "a??" },
	{ "overlong", TEXT("\xc0\xaf\xe0\x80\x8a"), 100, "?????" },
	{ "overlong of 4", TEXT("\xf0\x80\x80\x8a"), 100, "????" },
	{ "surrogate", TEXT("\xed\xa0\x80"), 100, "???" },
	{ "beyond Unicode", TEXT("\xf4\x90\x80\x80\xf5"), 100, "?????" },
	{ "fits exactly", TEXT("abcdef"), 6, "abcdef" },
	{ "cut", TEXT("abcdefg"), 6, "abc..." },
	{ "cut between characters", TEXT("ab\xc3\xa9\xc3\xa9\xc3\xa9"), 6, "ab..." },
	{ "fits once escaped", TEXT("abc\r\n\r\nde"), 6, "abc de" },
	{ "no room for dots", TEXT("abc"), 2, ".." },
	{ "no room", TEXT("abc"), 0, "" },
};

static void test_text(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf out = { 0 };

		buf_append_string(&out, "<");
		escape_text(&out, slice_of(cases[i].in, cases[i].in_len), cases[i].max);
		if (!slice_equal(slice_skip(buf_slice(&out), 1), slice_from(cases[i].want)))
			fail_msg("%s: got \"%.*s\"", cases[i].label, (int)buf_len(&out) - 1,
				 out.mem + 1);
		buf_done(&out);
	}
}

static void test_cstr(void **state)
{
	char out[128];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		memset(out, '#', sizeof(out));
		escape_cstr(slice_of(cases[i].in, cases[i].in_len), out, cases[i].max + 1);
		if (strcmp(out, cases[i].want) != 0)
			fail_msg("%s: got \"%s\"", cases[i].label, out);
		assert_int_equal(out[cases[i].max + 1], '#');
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_cstr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
