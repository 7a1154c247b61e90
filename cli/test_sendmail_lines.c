/* test_sendmail_lines - whatever is piped into sendmail becomes lines that end in CRLF */

#include "cli/sendmail_lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

#define TEXT(literal)                                                                              \
	{                                                                                          \
		literal, sizeof(literal) - 1                                                       \
	}

static const struct {
	const char *label;
	bool keep_dots;
	struct slice in, want;
} cases[] = {
	{ "LF", false, TEXT("a\nb\n"), TEXT("a\r\nb\r\n") },
	{ "CRLF", false, TEXT("a\r\nb\r\n"), TEXT("a\r\nb\r\n") },
	{ "mixed", false, TEXT("a\r\nb\n\r\n\n"), TEXT("a\r\nb\r\n\r\n\r\n") },
	{ "nothing", false, TEXT(""), TEXT("") },
	{ "last line without end", false, TEXT("a\nb"), TEXT("a\r\nb\r\n") },
	{ "last line ends in CR", false, TEXT("a\r"), TEXT("a\r\n") },
	{ "stray CR", false, TEXT("10%\r20%\r\n"), TEXT("10% 20%\r\n") },
	{ "two CR", false, TEXT("a\r\r\nb\n"), TEXT("a \r\nb\r\n") },
	{ "CR first of all", false, TEXT("\rFrom a\n"), TEXT(" From a\r\n") },
	{ "NUL", false, TEXT("a\0b\0\n\0"), TEXT("ab\r\n") },
	{ "dot ends", false, TEXT("a\n.\nb\n"), TEXT("a\r\n") },
	{ "dot with CRLF ends", false, TEXT("a\r\n.\r\nb\r\n"), TEXT("a\r\n") },
	{ "dot as the last byte ends", false, TEXT("a\n."), TEXT("a\r\n") },
	{ "dot alone", false, TEXT(".\n"), TEXT("") },
	{ "dot kept", true, TEXT("a\n.\nb\n"), TEXT("a\r\n.\r\nb\r\n") },
	{ "two dots", false, TEXT("..\n.a\n"), TEXT("..\r\n.a\r\n") },
	{ "dot and CR", false, TEXT(".\rb\n"), TEXT(". b\r\n") },
	{ "From_", false, TEXT("From a@b Sat Nov 21\nTo: b\n"), TEXT("To: b\r\n") },
	{ ">From_", false, TEXT(">From a@b\r\nTo: b\r\n"), TEXT("To: b\r\n") },
	{ "From: is a field", false, TEXT("From: a@b\n"), TEXT("From: a@b\r\n") },
	{ "From alone", false, TEXT("From\n"), TEXT("From\r\n") },
	{ "Fro, the end", false, TEXT("Fro"), TEXT("Fro\r\n") },
	{ "> alone", false, TEXT(">"), TEXT(">\r\n") },
	{ "> and text", false, TEXT(">x\n"), TEXT(">x\r\n") },
	{ "From_ later", false, TEXT("a\nFrom b\n"), TEXT("a\r\nFrom b\r\n") },
	{ "From_ with a dot line behind", false, TEXT("From a\n.\nb"), TEXT("") },
	{ "empty first line", false, TEXT("\nFrom b\n"), TEXT("\r\nFrom b\r\n") },
};

static void run(size_t i, size_t step)
{
	struct sendmail_lines lines = { .keep_dots = cases[i].keep_dots };
	struct buf out = { 0 };

	for (size_t at = 0; at < cases[i].in.len; at += step)
		sendmail_lines_input(&lines, slice_first(slice_skip(cases[i].in, at), step), &out);
	sendmail_lines_end(&lines, &out);
	if (!slice_equal(buf_slice(&out), cases[i].want))
		fail_msg("%s, in steps of %zu: got %.*s", cases[i].label, step, (int)buf_len(&out),
			 buf_slice(&out).ptr);
	buf_done(&out);
}

static void test_lines(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t step = 1; step <= 40; step++)
			run(i, step);
}

static void break_up(struct sendmail_breaker *b, struct slice in, size_t step, struct buf *out)
{
	for (size_t at = 0, n; at < in.len; at += n) {
		n = step;
		if (at + n < in.len && in.ptr[at + n] == '\n')
			n++;
		sendmail_breaker_input(b, slice_first(slice_skip(in, at), n), out);
	}
	sendmail_breaker_done(b);
}

/* No line is too long, and without what was put in the text is the same. */
static void check_broken(struct buf *out, const char *fill, size_t count)
{
	struct slice rest = buf_slice(out);
	size_t seen = 0;

	while (rest.len > 0) {
		size_t n = slice_find(rest, '\n');

		assert_true(n < rest.len && n <= 999);
		for (size_t i = 0; i < n; i++)
			seen += memchr(fill, rest.ptr[i], strlen(fill)) != NULL;
		rest = slice_skip(rest, n + 1);
	}
	assert_int_equal(seen, count);
}

static void test_long_body_lines(void **state)
{
	(void)state;
	for (size_t len = 990; len < 3010; len += len < 1010 ? 1 : 97)
		for (size_t step = 1; step < 5000; step = step * 3 + 1) {
			struct sendmail_breaker b = { .is_body = true };
			struct buf in = { 0 }, out = { 0 };

			for (size_t i = 0; i < len; i++)
				buf_append_string(&in, "x");
			buf_append_string(&in, "\r\nshort\r\n");
			break_up(&b, buf_slice(&in), step, &out);
			check_broken(&out, "x", len);
			if (len <= 998)
				assert_true(slice_equal(buf_slice(&in), buf_slice(&out)));
			else
				assert_memory_equal(buf_slice(&out).ptr + 998, "\r\n x", 4);
			buf_done(&in);
			buf_done(&out);
		}
}

static void test_long_body_lines_of_utf8(void **state)
{
	struct sendmail_breaker b = { .is_body = true };
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_append_string(&in, "x");
	for (size_t i = 0; i < 1000; i++)
		buf_append_string(&in, "\xc3\xa4");
	buf_append_string(&in, "\r\n");
	break_up(&b, buf_slice(&in), SIZE_MAX / 2, &out);
	assert_memory_equal(buf_slice(&out).ptr + 995, "\xc3\xa4\r\n \xc3\xa4", 7);
	check_broken(&out, "\xc3\xa4", 2000);
	buf_done(&in);
	buf_done(&out);
}

static void test_long_header_lines(void **state)
{
	struct sendmail_breaker b = { .is_body = false };
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	buf_append_string(&in, "To:");
	for (unsigned int i = 0; i < 200; i++)
		buf_printf(&in, " u%03u@example.com,", i);
	buf_append_string(&in, " last@example.com\r\nX: ");
	for (size_t i = 0; i < 997 + 998; i++) /* so that the last line is as long as may be */
		buf_append_string(&in, "z");
	buf_append_string(&in, "\r\n\r\n");
	break_up(&b, buf_slice(&in), 100, &out);
	check_broken(&out, "@z", 201 + 997 + 998);
	buf_append(&out, "", 1);
	for (unsigned int i = 0; i < 200; i++) { /* no address was cut */
		char address[32];

		snprintf(address, sizeof(address), " u%03u@example.com,", i);
		assert_non_null(strstr(buf_slice(&out).ptr, address));
	}
	buf_done(&in);
	buf_done(&out);
}

/* A message without a header, whose first line is longer than what is looked at of a line. */
static void test_long_first_line_of_the_body(void **state)
{
	struct sendmail_breaker b = { .is_body = false };
	struct buf in = { 0 }, out = { 0 };

	(void)state;
	for (size_t i = 0; i < 1500; i++)
		buf_append_string(&in, "x");
	buf_append_string(&in, "\r\n");
	sendmail_breaker_input(&b, slice_first(buf_slice(&in), 1024), &out);
	b.is_body = true;
	sendmail_breaker_input(&b, slice_skip(buf_slice(&in), 1024), &out);
	sendmail_breaker_done(&b);
	check_broken(&out, "x", 1500);
	buf_done(&in);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),
		cmocka_unit_test(test_long_body_lines),
		cmocka_unit_test(test_long_body_lines_of_utf8),
		cmocka_unit_test(test_long_header_lines),
		cmocka_unit_test(test_long_first_line_of_the_body),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
