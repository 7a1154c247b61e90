/*
 * A reply is first measured, then built: the scan up to its last line touches
 * each byte once and allocates nothing, so a server that sends byte by byte
 * costs little until its reply is whole.
 */
#include "smtp/reply.h"

#include <assert.h>

#include "base/escape.h"
#include "base/macros.h"

#define QUOTE_MAX 200 /* bytes of what is no SMTP that a status quotes */

/* One line of a reply. */
struct line {
	int code;
	bool is_last;
	struct slice text; /* behind the code and its separator, without the line's end */
};

void smtp_reply_done(struct smtp_reply *reply)
{
	buf_done(&reply->lines);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Whether s, which may be cut anywhere, can be the start of a reply line. */
static bool starts_well(struct slice s)
{
	if (s.len > 0 && (s.ptr[0] < '2' || s.ptr[0] > '5'))
		return false;
	if ((s.len > 1 && !is_digit(s.ptr[1])) || (s.len > 2 && !is_digit(s.ptr[2])))
		return false;
	return s.len <= 3 || memchr(" -\r\n", s.ptr[3], 4);
}

/* Split a line, complete with its LF, that starts well. */
static struct line split_line(struct slice s)
{
	struct line line = { .is_last = true };

	assert(s.len >= 4);
	line.code = (s.ptr[0] - '0') * 100 + (s.ptr[1] - '0') * 10 + (s.ptr[2] - '0');
	line.is_last = s.ptr[3] != '-';

	/* "250" alone has no separator; its text is empty once the end is cut off. */
	line.text = slice_of(s.ptr + 3, s.len - 4);
	while (line.text.len > 0 && line.text.ptr[line.text.len - 1] == '\r')
		line.text.len--;
	line.text = slice_skip(line.text, 1);
	return line;
}

/* The length of the line at the front of s with its LF, or 0: it has not ended. */
static size_t line_length(struct slice s)
{
	size_t n = slice_find(s, '\n');

	return n == s.len ? 0 : n + 1;
}

/* Who it is instead, where that can be told from how it begins. */
static const char *guess(struct slice said)
{
	static const struct {
		const char *start;
		const char *guess;
	} guesses[] = {
		{ "HTTP/", " (a web server?)" },
		{ "SSH-", " (an SSH server?)" },
		{ "* OK", " (an IMAP server?)" },
		{ "+OK", " (a POP3 server?)" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(guesses); i++)
		if (slice_starts_nocase(said, slice_from(guesses[i].start)))
			return guesses[i].guess;
	/* A TLS record: its type, then a version that begins with 3 (RFC 8446 section 5.1). */
	if (said.len > 0 && said.ptr[0] >= 0x14 && said.ptr[0] <= 0x17 &&
	    (said.len == 1 || said.ptr[1] == 3))
		return " (TLS: a port for TLS from the first byte? then use relay-smtps:)";
	return "";
}

static enum smtp_reply_outcome malformed(struct smtp_reply *reply, const char *why,
					 struct slice what)
{
	char quote[QUOTE_MAX + sizeof("...")];

	while (what.len > 0 && (what.ptr[what.len - 1] == '\r' || what.ptr[what.len - 1] == '\n'))
		what.len--;
	escape_cstr(what, quote, sizeof(quote));
	smtp_status_set(&reply->status, 0, ESC(4, 5, 0), "%s: %s%s", why, quote, guess(what));
	return SMTP_REPLY_MALFORMED;
}

/* Find the end of the reply. On SMTP_REPLY_COMPLETE *ret_size and *ret_code are set. */
static enum smtp_reply_outcome measure(struct slice input, struct smtp_reply *reply,
				       size_t *ret_size, int *ret_code)
{
	struct slice rest = input;

	for (unsigned int lines = 1; rest.len > 0; lines++) {
		size_t len = line_length(rest);
		struct line line;

		if (!starts_well(rest))
			return malformed(reply, "server said something that is no SMTP",
					 slice_first(rest, len > 0 ? len : rest.len));
		if ((len > 0 ? len - 1 : rest.len) > SMTP_REPLY_LINE_MAX + 1)
			return malformed(reply, "server sent too long a line", rest);
		if (lines > SMTP_REPLY_LINES_MAX)
			return malformed(reply, "server sent a reply of too many lines", rest);
		if (input.len - rest.len + len > SMTP_REPLY_SIZE_MAX)
			return malformed(reply, "server sent too long a reply", rest);
		if (len == 0)
			break;

		line = split_line(slice_first(rest, len));
		rest = slice_skip(rest, len);
		if (line.is_last) {
			*ret_size = input.len - rest.len;
			*ret_code = line.code;
			return SMTP_REPLY_COMPLETE;
		}
	}
	return SMTP_REPLY_PARTIAL;
}

/* RFC 2034 section 4: the code stands on each line; the last one that fits is taken. */
static void cut_enhanced(struct slice *text, int code, struct smtp_enhanced *enhanced)
{
	struct slice rest = *text;
	struct smtp_enhanced found;

	if (!smtp_enhanced_parse(&rest, &found) || found.class != code / 100)
		return;
	*text = rest;
	*enhanced = found;
}

/* Fill in reply from a whole one. */
static void build(struct slice whole, int code, struct smtp_reply *reply)
{
	struct smtp_enhanced enhanced = { 0 };
	struct buf text = { 0 };

	while (whole.len > 0) {
		size_t len = line_length(whole);
		struct line line = split_line(slice_first(whole, len));

		buf_append_slice(&reply->lines, line.text);
		buf_append(&reply->lines, "\n", 1);
		reply->line_count++;

		cut_enhanced(&line.text, code, &enhanced);
		if (reply->line_count > 1)
			buf_append(&text, " ", 1);
		buf_append_slice(&text, line.text);
		whole = slice_skip(whole, len);
	}
	smtp_status_set_text(&reply->status, code, enhanced, slice_trim(buf_slice(&text)));
	buf_done(&text);
}

enum smtp_reply_outcome smtp_reply_take(struct slice *input, struct smtp_reply *reply)
{
	enum smtp_reply_outcome outcome;
	size_t size = 0;
	int code = 0;

	buf_clear(&reply->lines);
	reply->line_count = 0;
	memset(&reply->status, 0, sizeof(reply->status));

	outcome = measure(*input, reply, &size, &code);
	if (outcome != SMTP_REPLY_COMPLETE)
		return outcome;

	build(slice_first(*input, size), code, reply);
	*input = slice_skip(*input, size);
	return SMTP_REPLY_COMPLETE;
}
