/*
 * As Postfix reads them. Between two commas stands either one address in angle
 * brackets, or as many members as there are words.
 */
#include "edge/members.h"

#include <errno.h>
#include <string.h>

#include "base/escape.h"
#include "smtp/address.h"

#define INCLUDE ":include:"

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool is_separator(char c)
{
	return is_blank(c) || c == ',' || c == ';';
}

/* Length of the quoted string or the comment that s begins with; 0: it does not end. */
static size_t enclosed_len(struct slice s)
{
	bool is_comment = s.ptr[0] == '(';
	size_t depth = 1;

	for (size_t i = 1; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (is_comment && s.ptr[i] == '(')
			depth++;
		else if (s.ptr[i] == (is_comment ? ')' : '"') && --depth == 0)
			return i + 1;
	}
	return 0;
}

static int unbalanced(struct slice s, struct error *err)
{
	char shown[64];

	return error_set(err, -EINVAL, "unbalanced '%c' in \"%s\"", s.ptr[0],
			 escape_cstr(s, shown, sizeof(shown)));
}

/* Up to the comma; and whether there is a '<' in it, where *ret_angle is then. */
static int measure_item(struct slice s, size_t *ret_len, size_t *ret_angle, struct error *err)
{
	size_t n = 0, inner;

	*ret_angle = s.len;
	while (n < s.len && s.ptr[n] != ',' && s.ptr[n] != ';') {
		if (s.ptr[n] == '"' || s.ptr[n] == '(') {
			inner = enclosed_len(slice_skip(s, n));
			if (inner == 0)
				return unbalanced(slice_skip(s, n), err);
			n += inner;
			continue;
		}
		if (s.ptr[n] == '<' && *ret_angle == s.len)
			*ret_angle = n;
		n += 1 + (s.ptr[n] == '\\' && n + 1 < s.len);
	}
	*ret_len = n;
	return 0;
}

/* Without separators and comments at its front. */
static struct slice skip_nothing(struct slice s)
{
	while (s.len) {
		size_t comment = s.ptr[0] == '(' ? enclosed_len(s) : 0;

		if (comment == 0 && !is_separator(s.ptr[0]))
			break;
		s = slice_skip(s, comment ? comment : 1);
	}
	return s;
}

static size_t word_len(struct slice s)
{
	size_t n = 0;

	while (n < s.len && !is_separator(s.ptr[n]) && s.ptr[n] != '(') {
		if (s.ptr[n] == '"')
			n += enclosed_len(slice_skip(s, n)); /* it ends, as measure_item() knows */
		else
			n += 1 + (s.ptr[n] == '\\' && n + 1 < s.len);
	}
	return n;
}

/* The word without its quotes and backslashes. */
static char *unquoted(struct slice word, struct arena *arena)
{
	char *text = arena_alloc(arena, word.len + 1), *out = text;

	for (size_t i = 0; i < word.len; i++) {
		if (word.ptr[i] == '"')
			continue;
		if (word.ptr[i] == '\\' && i + 1 < word.len)
			i++;
		*out++ = word.ptr[i];
	}
	return text;
}

static bool is_quoted_whole(struct slice word)
{
	return word.len >= 2 && word.ptr[0] == '"' && enclosed_len(word) == word.len;
}

/* "/file@domain" is an address; and so is whatever stands in quotes but for what needs them. */
static void classify(struct slice word, struct arena *arena, struct member *ret)
{
	const char *plain = unquoted(word, arena);
	bool has_domain = !is_quoted_whole(word) && slice_find(word, '@') != word.len;

	if (slice_starts_nocase(slice_from(plain), SLICE(INCLUDE)))
		*ret = (struct member){ MEMBER_INCLUDE, plain + strlen(INCLUDE) };
	else if (plain[0] == '|')
		*ret = (struct member){ MEMBER_COMMAND, plain + 1 };
	else if (plain[0] == '/' && !has_domain)
		*ret = (struct member){ MEMBER_FILE, plain };
	else if (word.ptr[0] == '\\') /* sendmail's "\user": user alone, whatever aliases say */
		*ret = (struct member){ MEMBER_ADDRESS, plain };
	else
		*ret = (struct member){ MEMBER_ADDRESS, arena_slicedup(arena, word) };
}

int members_next(struct slice *rest, struct arena *arena, struct member *ret, struct error *err)
{
	struct slice s = skip_nothing(*rest), word;
	size_t len = 0, angle = 0;
	int r;

	*rest = s;
	if (s.len == 0)
		return 0;
	r = measure_item(s, &len, &angle, err);
	if (r < 0)
		return r;
	if (angle < len) {
		word = slice_trim(slice_first(slice_skip(s, angle + 1),
					      slice_find(slice_skip(s, angle + 1), '>')));
		*rest = slice_skip(s, len);
		if (angle + 1 + word.len >= len)
			return unbalanced(slice_skip(s, angle), err);
	} else {
		word = slice_first(s, word_len(s));
		*rest = slice_skip(s, word.len);
	}
	classify(word, arena, ret);
	return 1;
}

const char *member_address(const char *text, const char *origin, struct arena *arena)
{
	struct slice rest = slice_from(text);
	const char *address;

	if (text[0] == '<' || smtp_path_parse(&rest, origin, arena, &address) != SMTP_PATH_OK ||
	    rest.len > 0 || !address[0])
		return NULL;
	return address;
}

int member_check(const struct member *member, struct error *err)
{
	struct arena arena = { 0 };
	char shown[64];
	int r = 0;

	escape_cstr(slice_from(member->text), shown, sizeof(shown));
	if (member->kind == MEMBER_COMMAND)
		r = error_set(err, -ENOTSUP, "|%s: mail is not handed to commands here", shown);
	else if (member->kind == MEMBER_FILE)
		r = error_set(err, -ENOTSUP, "%s: mail is not written into files here", shown);
	else if (member->kind == MEMBER_INCLUDE && member->text[0] != '/')
		r = error_set(err, -EINVAL, ":include:%s: expected an absolute path", shown);
	else if (member->kind == MEMBER_ADDRESS &&
		 !member_address(member->text[0] == '@' ? arena_printf(&arena, "x%s", member->text)
							: member->text,
				 NULL, &arena))
		r = error_set(err, -EINVAL, "\"%s\": not an address", shown);
	arena_done(&arena);
	return r;
}
