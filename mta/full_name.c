#include "mta/full_name.h"

#include "base/escape.h"
#include "base/utf8.h"

#define NAME_MAX_BYTES	 200
#define ENCODED_WORD_MAX 75 /* RFC 2047 section 2 */
#define ENCODED_OPEN	 "=?utf-8?Q?"
#define ENCODED_CLOSE	 "?="

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Words that need no quotes. Without '?', as "=?" would begin an encoded word. */
static bool is_plain(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.ptr[i]) && !memchr(" !#$%&'*+-/=^_`{|}~", s.ptr[i], 19))
			return false;
	return s.len > 0 && s.ptr[0] != ' ' && s.ptr[s.len - 1] != ' ';
}

static void append_quoted(struct buf *out, struct slice s)
{
	buf_append_string(out, "\"");
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '"' || s.ptr[i] == '\\')
			buf_append_string(out, "\\");
		buf_append(out, s.ptr + i, 1);
	}
	buf_append_string(out, "\"");
}

/* RFC 2047 section 5 (3): in a phrase only these stand for themselves. */
static void append_q(struct buf *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (is_alnum((char)c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/')
			buf_append(out, &c, 1);
		else if (c == ' ')
			buf_append_string(out, "_");
		else
			buf_printf(out, "=%02X", c);
	}
}

/* A character is never split between two words, each of which stands on a line of its own. */
static void append_encoded(struct buf *out, struct slice s)
{
	size_t word_len = sizeof(ENCODED_OPEN) - 1;

	buf_append_string(out, ENCODED_OPEN);
	while (s.len > 0) {
		uint32_t code;
		size_t n = utf8_sequence(s, &code), before = buf_len(out);
		size_t room = ENCODED_WORD_MAX - (sizeof(ENCODED_CLOSE) - 1) - 4 * 3;

		if (word_len > room) {
			buf_append_string(out, ENCODED_CLOSE "\r\n " ENCODED_OPEN);
			word_len = sizeof(ENCODED_OPEN) - 1;
			before = buf_len(out);
		}
		n = n ? n : 1;
		append_q(out, slice_first(s, n));
		word_len += buf_len(out) - before;
		s = slice_skip(s, n);
	}
	buf_append_string(out, ENCODED_CLOSE);
}

void full_name_append(struct buf *out, struct slice name)
{
	struct buf clean = { 0 };
	struct slice s;

	escape_text(&clean, name, NAME_MAX_BYTES);
	s = slice_trim(buf_slice(&clean));
	if (!utf8_is_ascii(s))
		append_encoded(out, s);
	else if (is_plain(s))
		buf_append_slice(out, s);
	else
		append_quoted(out, s);
	buf_done(&clean);
}
