/*
 * escape - one pass over units: an ASCII byte, a run of line ends and tabs, a
 * UTF-8 sequence, or one byte that is none of these
 *
 * A unit never grows, so the output is at most as long as the input. Cutting
 * happens between units, never inside of a UTF-8 sequence.
 */
#include "base/escape.h"

#include <assert.h>
#include <stdint.h>

#include "base/macros.h"
#include "base/utf8.h"

static bool is_space_like(char c)
{
	return c == '\r' || c == '\n' || c == '\t';
}

/* The unit at the front of s: how many bytes it takes, and what is shown for it. */
static size_t next_unit(struct slice s, struct slice *ret_shown)
{
	unsigned char c = (unsigned char)s.ptr[0];
	uint32_t code;
	size_t n = 1;

	if (c >= 0x20 && c < 0x7f) {
		*ret_shown = slice_first(s, 1);
		return 1;
	}
	if (is_space_like(s.ptr[0])) {
		while (n < s.len && is_space_like(s.ptr[n]))
			n++;
		*ret_shown = SLICE(" ");
		return n;
	}
	n = utf8_sequence(s, &code);
	if (n == 0) {
		*ret_shown = SLICE("?");
		return 1;
	}
	if (utf8_is_control(code) || utf8_is_reordering(code))
		*ret_shown = SLICE("?");
	else
		*ret_shown = slice_first(s, n);
	return n;
}

/* Writes at most max bytes to out and returns how many. */
static size_t escape_into(struct slice s, char *out, size_t max)
{
	size_t len = 0;
	size_t fits = 0; /* the longest prefix that leaves room for the dots */

	while (s.len) {
		struct slice shown;
		size_t n = next_unit(s, &shown);
		size_t dots = MIN(max, 3);

		if (len + shown.len > max) {
			memset(out + fits, '.', dots);
			return fits + dots;
		}
		memcpy(out + len, shown.ptr, shown.len);
		len += shown.len;
		if (len + dots <= max)
			fits = len;
		s = slice_skip(s, n);
	}
	return len;
}

void escape_text(struct buf *out, struct slice s, size_t max)
{
	char *end = buf_reserve(out, MIN(s.len, max));

	buf_commit(out, escape_into(s, end, max));
}

const char *escape_cstr(struct slice s, char *out, size_t out_size)
{
	assert(out_size > 0);
	out[escape_into(s, out, out_size - 1)] = '\0';
	return out;
}
