/* test_reply - what we understand of a server's reply (RFC 5321 section 4.2, RFC 2034) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "smtp/reply.h"

#define NOT_SMTP "server said something that is no SMTP: "

/*
 * What the server has sent, and what comes out, as render() writes it: code,
 * enhanced code, (text), then each raw line in brackets, then "+" and how many
 * bytes are left for the next reply.
 */
static const struct {
	const char *label, *input, *want;
} cases[] = {
	{ "plain", "250 Ok\r\n", "250 0.0.0 (Ok) [Ok]" },
	{ "code only", "250\r\n", "250 0.0.0 () []" },
	{ "code and space", "250 \r\n", "250 0.0.0 () []" },
	{ "bare LF", "354 go\n", "354 0.0.0 (go) [go]" },
	{ "code only, bare LF", "221\n", "221 0.0.0 () []" },
	{ "two CRs", "250 Ok\r\r\n", "250 0.0.0 (Ok) [Ok]" },
	{ "dash in the text", "250 -x\r\n", "250 0.0.0 (-x) [-x]" },
	{ "control bytes", "250 a\tb\x1b[1m\rd\r\n", "250 0.0.0 (a b?[1m d) [a\tb\x1b[1m\rd]" },
	{ "UTF-8, good and bad", "550 \xc3\xa9\xff\r\n", "550 0.0.0 (\xc3\xa9?) [\xc3\xa9\xff]" },
	{ "odd but in range", "599 x\r\n", "599 0.0.0 (x) [x]" },

	{ "enhanced code", "550 5.1.1 no user\r\n", "550 5.1.1 (no user) [5.1.1 no user]" },
	{ "enhanced code only", "450 4.2.0\r\n", "450 4.2.0 () [4.2.0]" },
	{ "classes disagree: is text", "250 5.0.0 ok\r\n", "250 0.0.0 (5.0.0 ok) [5.0.0 ok]" },
	{ "none fits 3xx", "354 2.0.0 go\r\n", "354 0.0.0 (2.0.0 go) [2.0.0 go]" },

	{ "two lines", "250-one\r\n250 two\r\n", "250 0.0.0 (one two) [one] [two]" },
	{ "empty lines", "250-\r\n250-a\r\n250\r\n", "250 0.0.0 (a) [] [a] []" },
	{ "enhanced code on both lines", "550-5.7.1 no\r\n550 5.7.1 entry\r\n",
	  "550 5.7.1 (no entry) [5.7.1 no] [5.7.1 entry]" },
	{ "enhanced code on the first line", "550-5.7.1 no\r\n550 entry\r\n",
	  "550 5.7.1 (no entry) [5.7.1 no] [entry]" },
	{ "codes differ: the last counts", "250-2.0.0 fine\r\n550 5.1.1 not so\r\n",
	  "550 5.1.1 (2.0.0 fine not so) [2.0.0 fine] [5.1.1 not so]" },

	{ "another reply behind", "250 a\r\n251 b\r\n", "250 0.0.0 (a) [a] +7" },
	{ "half a reply behind", "250 a\r\n25", "250 0.0.0 (a) [a] +2" },
	{ "garbage behind", "250 a\r\n\x16\x03", "250 0.0.0 (a) [a] +2" },

	{ "nothing", "", "partial" },
	{ "no line end", "250 Ok", "partial" },
	{ "CR alone", "250 Ok\r", "partial" },
	{ "not the last line", "250-Ok\r\n", "partial" },

	{ "two digits", "25 ok\r\n", NOT_SMTP "25 ok" },
	{ "four digits", "2500 ok\r\n", NOT_SMTP "2500 ok" },
	{ "1yz", "150 ok\r\n", NOT_SMTP "150 ok" },
	{ "6yz", "650 ok\r\n", NOT_SMTP "650 ok" },
	{ "empty line", "\r\n", NOT_SMTP },
	{ "space first", " 250 Ok\r\n", NOT_SMTP " 250 Ok" },
	{ "no separator", "250Ok\r\n", NOT_SMTP "250Ok" },
	{ "text in the middle", "250-a\r\noops\r\n250 b\r\n", NOT_SMTP "oops" },
	{ "HTTP", "HTTP/1.1 400 Bad Request\r\nServer: x\r\n",
	  NOT_SMTP "HTTP/1.1 400 Bad Request (a web server?)" },
	{ "SSH", "SSH-2.0-OpenSSH_9.2\r\n", NOT_SMTP "SSH-2.0-OpenSSH_9.2 (an SSH server?)" },
	{ "IMAP", "* OK [CAPABILITY IMAP4rev1] ready\r\n",
	  NOT_SMTP "* OK [CAPABILITY IMAP4rev1] ready (an IMAP server?)" },
	{ "POP3", "+OK ready\r\n", NOT_SMTP "+OK ready (a POP3 server?)" },
	{ "TLS record, no line end", "\x15\x03\x01\x01\x02\x02\x46",
	  NOT_SMTP "??????F (TLS: a port for TLS from the first byte? then use relay-smtps:)" },
	{ "like a TLS record", "\x15\x01\x01\r\n", NOT_SMTP "???" },
};

/* What was taken, and what is left, as the cases write it. The caller frees it. */
static char *render(enum smtp_reply_outcome outcome, struct smtp_reply *reply, struct slice rest)
{
	struct slice lines = buf_slice(&reply->lines);
	const struct smtp_status *status = &reply->status;
	unsigned int line_count = 0;
	struct buf out = { 0 };

	if (outcome == SMTP_REPLY_COMPLETE) {
		buf_printf(&out, "%d %u.%u.%u (%s)", status->code, status->enhanced.class,
			   status->enhanced.subject, status->enhanced.detail, status->text);
		for (; lines.len > 0; line_count++) {
			size_t n = slice_find(lines, '\n');

			buf_printf(&out, " [%.*s]", (int)n, lines.ptr);
			lines = slice_skip(lines, n + 1);
		}
		if (rest.len > 0)
			buf_printf(&out, " +%zu", rest.len);
	} else if (outcome == SMTP_REPLY_PARTIAL) {
		buf_append_string(&out, "partial");
	} else {
		buf_append_string(&out, status->text);
		assert_int_equal(status->code, 0);
	}
	assert_int_equal(reply->line_count, line_count);
	return buf_steal_string(&out);
}

static void test_whole(void **state)
{
	struct smtp_reply got = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice rest = slice_from(cases[i].input);
		enum smtp_reply_outcome outcome = smtp_reply_take(&rest, &got);
		char *text = render(outcome, &got, rest);

		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: got: %s", cases[i].label, text);
		if (outcome != SMTP_REPLY_COMPLETE && rest.len != strlen(cases[i].input))
			fail_msg("%s: consumed something", cases[i].label);
		free(text);
	}
	smtp_reply_done(&got);
}

/*
 * Wherever the network cuts it: up to some point a prefix is partial, and from
 * then on the outcome and what was taken stay the same. Prefixes are copied, so
 * that the sanitizer sees a read beyond them.
 */
static void test_every_prefix(void **state)
{
	struct smtp_reply got = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum smtp_reply_outcome before = SMTP_REPLY_PARTIAL;
		char *first = NULL;

		for (size_t n = 0; n <= strlen(cases[i].input); n++) {
			char *copy = test_malloc(n + !n);
			struct slice rest = slice_of(copy, n);
			enum smtp_reply_outcome outcome;
			char *text;

			memcpy(copy, cases[i].input, n);
			outcome = smtp_reply_take(&rest, &got);
			if (outcome != before && before != SMTP_REPLY_PARTIAL)
				fail_msg("%s: another outcome at byte %zu", cases[i].label, n);
			before = outcome;

			text = render(outcome, &got, slice_of(NULL, 0));
			if (outcome == SMTP_REPLY_COMPLETE && !first)
				first = strdup(text);
			if (outcome == SMTP_REPLY_COMPLETE && strcmp(text, first) != 0)
				fail_msg("%s: byte %zu: got: %s", cases[i].label, n, text);
			free(text);
			test_free(copy);
		}
		if (first && strncmp(first, cases[i].want, strlen(first)) != 0)
			fail_msg("%s: in pieces: got: %s", cases[i].label, first);
		free(first);
	}
	smtp_reply_done(&got);
}

/* NUL is a byte like others. */
static void test_nul(void **state)
{
	struct slice input = SLICE("250 a\0b\r\n");
	struct smtp_reply got = { 0 };

	(void)state;
	assert_int_equal(smtp_reply_take(&input, &got), SMTP_REPLY_COMPLETE);
	assert_string_equal(got.status.text, "a?b");
	assert_true(slice_equal(buf_slice(&got.lines), SLICE("a\0b\n")));

	input = SLICE("25\0 a\r\n");
	assert_int_equal(smtp_reply_take(&input, &got), SMTP_REPLY_MALFORMED);
	input = SLICE("250\0a\r\n");
	assert_int_equal(smtp_reply_take(&input, &got), SMTP_REPLY_MALFORMED);
	smtp_reply_done(&got);
}

/* A pattern many times, then an end. */
static void repeat(struct buf *out, const char *pattern, size_t times, const char *end)
{
	buf_clear(out);
	for (size_t i = 0; i < times; i++)
		buf_append_string(out, pattern);
	buf_append_string(out, end);
}

static enum smtp_reply_outcome take(const struct buf *input, struct smtp_reply *reply)
{
	struct slice rest = buf_slice(input);

	return smtp_reply_take(&rest, reply);
}

static void test_limits(void **state)
{
	struct smtp_reply got = { 0 };
	struct buf input = { 0 };
	char line[128];

	(void)state;
	repeat(&input, "2", 0, "250 ");
	for (size_t i = 4; i < SMTP_REPLY_LINE_MAX; i++)
		buf_append(&input, "x", 1);
	buf_append_string(&input, "\r\n");
	assert_int_equal(take(&input, &got), SMTP_REPLY_COMPLETE);
	assert_int_equal(buf_len(&got.lines), SMTP_REPLY_LINE_MAX - 4 + 1);
	assert_int_equal(strlen(got.status.text), SMTP_STATUS_TEXT_SIZE - 1);

	buf_clear(&input);
	buf_append_string(&input, "250 ");
	for (size_t i = 0; i < SMTP_REPLY_LINE_MAX; i++)
		buf_append(&input, "x", 1);
	assert_int_equal(take(&input, &got), SMTP_REPLY_MALFORMED);
	assert_int_equal(got.status.code, 0);
	assert_non_null(strstr(got.status.text, "too long a line: 250 xxx"));

	repeat(&input, "250-x\r\n", SMTP_REPLY_LINES_MAX - 1, "250 x\r\n");
	assert_int_equal(take(&input, &got), SMTP_REPLY_COMPLETE);
	assert_int_equal(got.line_count, SMTP_REPLY_LINES_MAX);
	repeat(&input, "250-x\r\n", SMTP_REPLY_LINES_MAX, "250 x\r\n");
	assert_int_equal(take(&input, &got), SMTP_REPLY_MALFORMED);
	assert_non_null(strstr(got.status.text, "too many lines"));

	snprintf(line, sizeof(line), "250-%099d\r\n", 0);
	repeat(&input, line, SMTP_REPLY_SIZE_MAX / 200, line);
	for (size_t i = 0; i < 8; i++) {
		buf_append_string(&input, "250-");
		for (size_t n = 4; n < SMTP_REPLY_LINE_MAX; n++)
			buf_append(&input, "y", 1);
		buf_append_string(&input, "\r\n");
	}
	buf_append_string(&input, "250 end\r\n");
	assert_true(buf_len(&input) > SMTP_REPLY_SIZE_MAX);
	assert_int_equal(take(&input, &got), SMTP_REPLY_MALFORMED);
	assert_non_null(strstr(got.status.text, "too long a reply"));

	buf_done(&input);
	smtp_reply_done(&got);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_every_prefix),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
