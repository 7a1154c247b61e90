/*
 * regexp - a thin coat over regex(3)
 *
 * Patterns are the operator's, keys are anybody's. What makes regex(3) slow are
 * back-references on long keys, which is why keys have a limit (rules.h).
 */
#include "maps/regexp.h"

#include <errno.h>

#include "base/escape.h"
#include "base/parse.h"
#include "maps/lines.h"

static bool is_alphanumeric(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Of the text up to the delimiter, or SIZE_MAX: there is none. */
static size_t pattern_length(struct slice s, char delimiter)
{
	for (size_t n = 0; n < s.len; n++) {
		if (s.ptr[n] == delimiter)
			return n;
		if (s.ptr[n] == '\\')
			n++;
	}
	return SIZE_MAX;
}

static int take_flags(struct slice *rest, int *flags, struct error *err)
{
	struct slice word = lines_take_word(rest);
	char shown[32];

	*flags = REG_EXTENDED | REG_ICASE;
	for (size_t i = 0; i < word.len; i++) {
		switch (word.ptr[i]) {
		case 'i':
			*flags ^= REG_ICASE;
			break;
		case 'm':
			*flags ^= REG_NEWLINE;
			break;
		case 'x':
			*flags ^= REG_EXTENDED;
			break;
		default:
			escape_cstr(slice_skip(word, i), shown, sizeof(shown));
			return error_set(err, -EINVAL,
					 "\"%s\" behind the pattern: expected the flags i, m, x, "
					 "then white space",
					 shown);
		}
	}
	return 0;
}

int regexp_take(struct slice *rest, struct arena *arena, struct regexp_pattern *ret,
		struct error *err)
{
	struct slice s = *rest;
	char shown[64], delimiter;
	size_t len;

	*ret = (struct regexp_pattern){ 0 };
	for (; s.len && (s.ptr[0] == '!' || lines_is_blank(s.ptr[0])); s = slice_skip(s, 1))
		ret->is_negated ^= s.ptr[0] == '!';
	escape_cstr(s, shown, sizeof(shown));
	if (s.len == 0 || is_alphanumeric(s.ptr[0]))
		return error_set(err, -EINVAL, "expected /pattern/, found \"%s\"", shown);
	delimiter = s.ptr[0];
	s = slice_skip(s, 1);
	len = pattern_length(s, delimiter);
	if (len == SIZE_MAX)
		return error_set(err, -EINVAL, "no closing %c in \"%s\"", shown[0], shown);
	ret->text = arena_slicedup(arena, slice_first(s, len));
	*rest = slice_skip(s, len + 1);
	return take_flags(rest, &ret->flags, err);
}

static int regex_error(int r, const regex_t *regex, struct error *err)
{
	char text[128];

	regerror(r, regex, text, sizeof(text));
	return error_set(err, r == REG_ESPACE ? -ENOMEM : -EINVAL, "%s", text);
}

int regexp_compile(const struct regexp_pattern *pattern, unsigned int group_count, regex_t *ret,
		   struct error *err)
{
	int r = regcomp(ret, pattern->text, pattern->flags | (group_count == 0 ? REG_NOSUB : 0));

	if (r != 0)
		return regex_error(r, ret, err);
	if (group_count <= ret->re_nsub)
		return 0;
	error_set(err, -EINVAL, "$%u in the result, but the pattern has %zu pairs of parentheses",
		  group_count, ret->re_nsub);
	regfree(ret);
	return -EINVAL;
}

int regexp_match(const regex_t *regex, const char *key, regmatch_t *groups,
		 unsigned int group_count, struct error *err)
{
	int r = regexec(regex, key, groups ? group_count + 1 : 0, groups, 0);

	if (r != 0 && r != REG_NOMATCH)
		return regex_error(r, regex, err);
	return r == 0 ? MAP_FOUND : MAP_NOT_FOUND;
}

/* ---- results ---- */

/* Of a "$" and what belongs to it at the front of s; *ret_name is "1" of "$1", "${1}" and "$(1)". */
static size_t take_reference(struct slice s, struct slice *ret_name)
{
	size_t n = 1;

	if (s.len > 1 && (s.ptr[1] == '{' || s.ptr[1] == '(')) {
		char closing = s.ptr[1] == '{' ? '}' : ')';

		n = 2 + slice_find(slice_skip(s, 2), closing);
		*ret_name = slice_first(slice_skip(s, 2), n - 2);
		return n < s.len ? n + 1 : SIZE_MAX;
	}
	while (n < s.len && (is_alphanumeric(s.ptr[n]) || s.ptr[n] == '_'))
		n++;
	*ret_name = slice_skip(slice_first(s, n), 1);
	return n;
}

static int check_reference(struct slice s, size_t *ret_len, unsigned int *group_count,
			   struct error *err)
{
	struct slice name;
	char shown[32];
	uint64_t number;

	*ret_len = take_reference(s, &name);
	escape_cstr(s, shown, sizeof(shown));
	if (*ret_len == SIZE_MAX)
		return error_set(err, -EINVAL, "\"%s\" is not closed", shown);
	if (!parse_uint(name, REGEXP_GROUPS_MAX, &number) || number == 0)
		return error_set(err, -EINVAL,
				 "\"%s\": expected $1 to $%d, or ${1} where letters follow; a "
				 "dollar sign is written $$",
				 shown, REGEXP_GROUPS_MAX);
	if (number > *group_count)
		*group_count = (unsigned int)number;
	return 0;
}

int regexp_result_check(struct slice result, unsigned int *ret_group_count, struct error *err)
{
	size_t len;
	int r;

	*ret_group_count = 0;
	while (result.len) {
		if (result.ptr[0] != '$') {
			result = slice_skip(result, slice_find(result, '$'));
			continue;
		}
		if (result.len > 1 && result.ptr[1] == '$') {
			result = slice_skip(result, 2);
			continue;
		}
		r = check_reference(result, &len, ret_group_count, err);
		if (r < 0)
			return r;
		result = slice_skip(result, len);
	}
	return 0;
}

static void append_group(struct slice name, const char *key, const regmatch_t *groups,
			 struct buf *out)
{
	uint64_t number = 0;

	parse_uint(name, REGEXP_GROUPS_MAX, &number);
	if (groups && groups[number].rm_so >= 0)
		buf_append(out, key + groups[number].rm_so,
			   (size_t)(groups[number].rm_eo - groups[number].rm_so));
}

void regexp_result_expand(struct slice result, const char *key, const regmatch_t *groups,
			  struct buf *out)
{
	while (result.len) {
		struct slice name, plain = slice_first(result, slice_find(result, '$'));

		buf_append_slice(out, plain);
		result = slice_skip(result, plain.len);
		if (result.len == 0)
			break;
		if (result.len > 1 && result.ptr[1] == '$') {
			buf_append(out, "$", 1);
			result = slice_skip(result, 2);
			continue;
		}
		result = slice_skip(result, take_reference(result, &name));
		append_group(name, key, groups, out);
	}
}
