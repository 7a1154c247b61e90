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

/*
 * Length of the well-formed UTF-8 sequence (Unicode table 3-7: no overlong
 * forms, no surrogates) of two bytes or more at the front of s, or 0.
 */
static size_t utf8_sequence(struct slice s, uint32_t *ret_code)
{
	const unsigned char *p = (const unsigned char *)s.ptr;
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t code;
	size_t n;

	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (s.len < n)
		return 0;

	code = p[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (p[i] & 0x3f);
	}
	if (code < smallest[n] || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	*ret_code = code;
	return n;
}

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
	if (code < 0xa0 || code == 0x2028 || code == 0x2029)
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
