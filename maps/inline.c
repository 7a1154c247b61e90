/*
 * inline - a table from one line of the configuration: "{ k = v, ... }"
 *
 * Entries are separated by commas or white space, as in Postfix. A value that
 * holds either is put with its key into braces: "{ {k = v w}, ... }". Where
 * white space surrounds the '=', the value goes on to the comma, since
 * cutting "vm1.vm = relay:[hub] tls=verify" short would be a trap.
 */
#include <errno.h>

#include "base/buf.h"
#include "base/escape.h"
#include "maps/internal.h"

#define NEED "; expected inline:{ key = value, ... }"

struct pair {
	struct slice key, value;
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Length of what is in front of the first character for which it ends, outside of braces. */
static size_t item_length(struct slice s, bool ends_at_blank)
{
	size_t depth = 0, n = 0;

	for (; n < s.len; n++) {
		if (s.ptr[n] == '{')
			depth++;
		else if (s.ptr[n] == '}' && depth > 0)
			depth--;
		else if (depth == 0 && (s.ptr[n] == ',' || (ends_at_blank && is_blank(s.ptr[n]))))
			break;
	}
	return n;
}

static struct slice without_braces(struct slice s)
{
	s = slice_trim(s);
	return list_is_braced(s) ? slice_trim(slice_of(s.ptr + 1, s.len - 2)) : s;
}

/* "k = v", and nothing behind the value. */
static bool split_pair(struct slice s, struct pair *ret)
{
	size_t equal = slice_find(s, '=');

	ret->key = slice_trim(slice_first(s, equal));
	ret->value = without_braces(slice_skip(s, equal + 1));
	return equal < s.len && ret->key.len && ret->value.len;
}

/* In "a = b c = d" a comma was forgotten. */
static bool has_stray_equal(struct slice value)
{
	for (size_t i = 1; i < value.len; i++) {
		if (value.ptr[i] == '=' && is_blank(value.ptr[i - 1]))
			return true;
	}
	return false;
}

/* Take the entry at the front of *rest, which is not empty. */
static bool take_pair(struct slice *rest, struct pair *ret)
{
	size_t equal = slice_find(*rest, '='), len;
	bool is_spaced, is_good;

	if (rest->ptr[0] == '{') {
		len = item_length(*rest, true);
		is_good = list_is_braced(slice_first(*rest, len)) &&
			  split_pair(without_braces(slice_first(*rest, len)), ret);
	} else {
		is_spaced = equal > 0 && equal + 1 < rest->len &&
			    (is_blank(rest->ptr[equal - 1]) || is_blank(rest->ptr[equal + 1]));
		len = item_length(*rest, !is_spaced);
		is_good = split_pair(slice_first(*rest, len), ret) && !has_stray_equal(ret->value);
	}
	for (size_t i = 0; is_good && i < ret->key.len; i++)
		is_good = !is_blank(ret->key.ptr[i]) || rest->ptr[0] == '{';
	*rest = slice_skip(*rest, len);
	return is_good && ret->key.len <= TABLE_KEY_MAX;
}

/* The text holds count keys and values, each with its NUL. */
static int make_table(char *text, size_t len, size_t count, struct table **ret_table,
		      struct error *err)
{
	CLEANUP(table_unrefp) struct table *table = table_new(text, count);
	size_t offset = 0;

	if (!table)
		return error_set(err, -ENOMEM, "inline: out of memory");
	for (size_t i = 0; i < count; i++) {
		table_add(table, offset, 0);
		offset += strlen(text + offset) + 1; /* the key */
		offset += strlen(text + offset) + 1;
	}
	if (!table_finish(table, len))
		return error_set(err, -ENOMEM, "inline: out of memory");

	for (size_t i = 0; i < count; i++) {
		const struct table_entry *entry = table_at(table, i);
		const char *key = table_key(table, entry);

		if (table_find(table, slice_from(key)) != entry)
			return error_set(err, -EINVAL, "inline: key \"%s\" is given twice", key);
	}
	*ret_table = table;
	table = NULL;
	return 0;
}

static int bad_entry(struct slice at, struct error *err)
{
	char shown[64];

	return error_set(err, -EINVAL, "inline: at \"%s\"" NEED,
			 escape_cstr(at, shown, sizeof(shown)));
}

int inline_parse(struct slice spec, struct table **ret_table, struct error *err)
{
	struct slice rest = without_braces(spec), at;
	struct buf text = { 0 };
	struct pair pair = { { 0 }, { 0 } };
	size_t count = 0, len;

	if (!list_is_braced(slice_trim(spec)))
		return bad_entry(spec, err);
	while (rest.len) {
		if (is_blank(rest.ptr[0]) || rest.ptr[0] == ',') {
			rest = slice_skip(rest, 1);
			continue;
		}
		at = rest;
		if (!take_pair(&rest, &pair)) {
			buf_done(&text);
			return bad_entry(at, err);
		}
		table_fold(buf_reserve(&text, pair.key.len), pair.key);
		buf_commit(&text, pair.key.len);
		buf_append(&text, "", 1);
		buf_append_slice(&text, pair.value);
		buf_append(&text, "", 1);
		count++;
	}
	if (count == 0)
		return error_set(err, -EINVAL, "inline: no entries" NEED);
	len = buf_len(&text);
	return make_table(buf_steal_string(&text), len, count, ret_table, err);
}

int inline_lines(struct slice spec, struct buf *out, struct error *err)
{
	struct slice rest = without_braces(spec);

	if (!list_is_braced(slice_trim(spec)))
		return error_set(err, -EINVAL, "missing '}'");
	while (rest.len) {
		size_t len;
		char shown[64];

		if (is_blank(rest.ptr[0]) || rest.ptr[0] == ',') {
			rest = slice_skip(rest, 1);
			continue;
		}
		len = item_length(rest, true);
		if (!list_is_braced(slice_first(rest, len)))
			return error_set(err, -EINVAL,
					 "at \"%s\"; expected { {rule}, {rule}, ... }",
					 escape_cstr(rest, shown, sizeof(shown)));
		buf_append_slice(out, without_braces(slice_first(rest, len)));
		buf_append(out, "\n", 1);
		rest = slice_skip(rest, len);
	}
	return 0;
}
