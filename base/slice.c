/*
 * slice - the parts that are no one-liners
 *
 * Letters are compared as ASCII, whatever the locale: what SMTP calls
 * case-insensitive is ASCII only (RFC 5321 section 2.4).
 */
#include "base/slice.h"

#include <assert.h>
#include <stdlib.h>

static unsigned char lower(char c)
{
	unsigned char u = (unsigned char)c;

	return u >= 'A' && u <= 'Z' ? (unsigned char)(u | 0x20) : u;
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
	if (a.len != b.len)
		return false;
	for (size_t i = 0; i < a.len; i++) {
		if (a.ptr[i] != b.ptr[i] && lower(a.ptr[i]) != lower(b.ptr[i]))
			return false;
	}
	return true;
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
	return s.len >= prefix.len && slice_equal_nocase(slice_first(s, prefix.len), prefix);
}

size_t slice_find(struct slice s, char c)
{
	const char *found = s.len ? memchr(s.ptr, c, s.len) : NULL;

	return found ? (size_t)(found - s.ptr) : s.len;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct slice slice_trim(struct slice s)
{
	while (s.len && is_blank(s.ptr[0]))
		s = slice_skip(s, 1);
	while (s.len && is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

/* Not strchr(), which finds the NUL that ends the set too. */
static bool is_one_of(char c, const char *set)
{
	for (; *set; set++) {
		if (c == *set)
			return true;
	}
	return false;
}

bool slice_next_word(struct slice *rest, const char *separators, struct slice *ret_word)
{
	struct slice s = *rest;
	size_t n = 0;

	while (n < s.len && is_one_of(s.ptr[n], separators))
		n++;
	s = slice_skip(s, n);

	n = 0;
	while (n < s.len && !is_one_of(s.ptr[n], separators))
		n++;
	*rest = slice_skip(s, n + 1);
	if (n == 0)
		return false;
	*ret_word = slice_first(s, n);
	return true;
}

bool slice_copy(struct slice s, char *out, size_t out_size)
{
	assert(out_size > 0);
	out[0] = '\0';
	if (s.len >= out_size || slice_find(s, '\0') != s.len)
		return false;
	if (s.len)
		memcpy(out, s.ptr, s.len);
	out[s.len] = '\0';
	return true;
}

char *slice_strdup(struct slice s)
{
	char *string = malloc(s.len + 1);

	if (!string)
		return NULL;
	if (s.len)
		memcpy(string, s.ptr, s.len);
	string[s.len] = '\0';
	return string;
}
