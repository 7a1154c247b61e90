/*
 * sqlite_query - one pass over the SQL, which knows as much of it as its quotes
 *
 * What is in a string is gathered as pieces; what is outside goes over as it
 * is. Whether all of it is SQL is for SQLite to say when it prepares it.
 */
#include "maps/sqlite_query.h"

#include <errno.h>

#include "base/escape.h"

struct translator {
	struct slice rest;
	struct sqlite_query *query;
	struct buf sql;
	struct error *err;
};

/* ---- placeholders ---- */

/* Of the letter behind a '%'; FIELD_COUNT: it is none. */
static enum sqlite_field field_of(char c)
{
	switch (c) {
	case 's':
	case 'S':
		return FIELD_KEY;
	case 'u':
	case 'U':
		return FIELD_USER;
	case 'd':
	case 'D':
		return FIELD_DOMAIN;
	default:
		return c >= '1' && c <= '9' ? FIELD_LABEL + (enum sqlite_field)(c - '1')
					    : FIELD_COUNT;
	}
}

static void note_need(struct sqlite_needs *needs, enum sqlite_field field)
{
	if (field == FIELD_USER)
		needs->user = true;
	if (field >= FIELD_DOMAIN)
		needs->domain = true;
	if (field >= FIELD_LABEL && needs->labels < field - FIELD_LABEL + 1u)
		needs->labels = field - FIELD_LABEL + 1u;
}

static int unknown_placeholder(struct slice at, struct error *err)
{
	char shown[16];

	return error_set(err, -EINVAL, "\"%s\": expected %%s, %%u, %%d, %%1 to %%9, or %%%%",
			 escape_cstr(slice_first(at, 2), shown, sizeof(shown)));
}

/* The number of the field's parameter. */
static unsigned int parameter_of(struct sqlite_query *query, enum sqlite_field field)
{
	unsigned int i = 0;

	note_need(&query->needs, field);
	while (i < query->field_count && query->fields[i] != field)
		i++;
	if (i == query->field_count)
		query->fields[query->field_count++] = (unsigned char)field;
	return i + 1;
}

/* Whether c may be part of a name, a number or a parameter. */
static bool is_word(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       c == '_' || (unsigned char)c >= 0x80;
}

static char last_of(const struct buf *b)
{
	return buf_len(b) ? b->mem[b->end - 1] : ' ';
}

/* ---- strings ---- */

/* What has been gathered of a string: either an expression of pieces, or a plain literal. */
struct literal {
	struct buf pieces; /* SQL, joined by || */
	struct buf text;   /* since the last placeholder, as it stood between the quotes */
	unsigned int piece_count;
	bool has_parameter;
};

static void join(struct literal *l)
{
	if (l->piece_count++ > 0)
		buf_append_string(&l->pieces, " || ");
}

static void end_text(struct literal *l)
{
	if (buf_len(&l->text) == 0)
		return;
	join(l);
	buf_append(&l->pieces, "'", 1);
	buf_append_slice(&l->pieces, buf_slice(&l->text));
	buf_append(&l->pieces, "'", 1);
	buf_clear(&l->text);
}

static void add_parameter(struct literal *l, unsigned int number)
{
	end_text(l);
	join(l);
	buf_printf(&l->pieces, "?%u", number);
	l->has_parameter = true;
}

static int end_literal(struct translator *t, struct literal *l)
{
	end_text(l);
	if (l->has_parameter && is_word(last_of(&t->sql)))
		return error_set(t->err, -EINVAL,
				 "a string with a parameter stands right behind a word");
	if (l->piece_count == 0)
		buf_append_string(&t->sql, "''");
	else if (l->piece_count > 1)
		buf_append_string(&t->sql, "(");
	buf_append_slice(&t->sql, buf_slice(&l->pieces));
	if (l->piece_count > 1)
		buf_append_string(&t->sql, ")");
	if (t->rest.len && is_word(t->rest.ptr[0]))
		buf_append_string(&t->sql, " ");
	return 0;
}

/* The character at the front, which is not the quote that ends the string. */
static int take_of_literal(struct translator *t, struct literal *l)
{
	char c = t->rest.ptr[0], next = t->rest.len > 1 ? t->rest.ptr[1] : '\0';
	size_t len = (c == '\'' && next == '\'') || c == '%' ? 2 : 1;

	if (c == '%' && next != '%') {
		if (field_of(next) == FIELD_COUNT)
			return unknown_placeholder(t->rest, t->err);
		add_parameter(l, parameter_of(t->query, field_of(next)));
	} else {
		buf_append(&l->text, t->rest.ptr, c == '%' ? 1 : len);
	}
	t->rest = slice_skip(t->rest, len);
	return 0;
}

static bool is_doubled(struct slice s, char quote)
{
	return s.len > 1 && s.ptr[0] == quote && s.ptr[1] == quote;
}

static int take_string(struct translator *t)
{
	struct literal l = { 0 };
	int r = 0;

	t->rest = slice_skip(t->rest, 1);
	while (r == 0 && t->rest.len && (t->rest.ptr[0] != '\'' || is_doubled(t->rest, '\'')))
		r = take_of_literal(t, &l);
	if (r == 0 && t->rest.len == 0)
		r = error_set(t->err, -EINVAL, "a string has no closing '");
	t->rest = slice_skip(t->rest, 1);
	if (r == 0)
		r = end_literal(t, &l);
	buf_done(&l.pieces);
	buf_done(&l.text);
	return r;
}

/* ---- outside of strings ---- */

/* A name or a comment goes over as it is, but for %%. closing: what ends it. */
static int take_verbatim(struct translator *t, struct slice closing, size_t opening_len,
			 const char *what)
{
	size_t n = opening_len;
	struct slice rest = t->rest;
	char shown[64];

	escape_cstr(slice_first(rest, 40), shown, sizeof(shown));
	buf_append(&t->sql, rest.ptr, n);
	for (rest = slice_skip(rest, n); rest.len; rest = slice_skip(rest, n)) {
		bool is_percent = rest.ptr[0] == '%';

		if (slice_equal(slice_first(rest, closing.len), closing)) {
			buf_append_slice(&t->sql, closing);
			t->rest = slice_skip(rest, closing.len);
			return 0;
		}
		if (is_percent && !is_doubled(rest, '%'))
			return error_set(t->err, -EINVAL,
					 "no parameter can stand within %s: %s; strings have "
					 "single quotes",
					 what, shown);
		n = is_percent ? 2 : 1;
		buf_append(&t->sql, rest.ptr, 1);
	}
	t->rest = rest;
	return closing.ptr[0] == '\n'
		       ? 0
		       : error_set(t->err, -EINVAL, "%s has no end: %s", what, shown);
}

/* The words on both sides would become part of it, or it of them. */
static int take_placeholder(struct translator *t)
{
	char next = t->rest.len > 1 ? t->rest.ptr[1] : '\0';
	char behind = t->rest.len > 2 ? t->rest.ptr[2] : ' ';
	enum sqlite_field field = field_of(next);

	if (next == '%') {
		buf_append(&t->sql, "%", 1);
	} else if (field == FIELD_COUNT) {
		return unknown_placeholder(t->rest, t->err);
	} else {
		if (is_word(last_of(&t->sql)) || is_word(behind) || behind == '\'' || behind == '%')
			return error_set(
				t->err, -EINVAL,
				"%%%c stands within a word; a parameter stands alone, or in "
				"a string in single quotes",
				next);
		buf_printf(&t->sql, "?%u", parameter_of(t->query, field));
	}
	t->rest = slice_skip(t->rest, 2);
	return 0;
}

static bool starts(struct slice s, struct slice with)
{
	return slice_equal(slice_first(s, with.len), with);
}

static int take_one(struct translator *t)
{
	char c = t->rest.ptr[0], next = t->rest.len > 1 ? t->rest.ptr[1] : '\0';

	if (c == '\'')
		return take_string(t);
	if (c == '"' || c == '`')
		return take_verbatim(t, c == '"' ? SLICE("\"") : SLICE("`"), 1, "a name in quotes");
	if (c == '[')
		return take_verbatim(t, SLICE("]"), 1, "a name in brackets");
	if (starts(t->rest, SLICE("--")))
		return take_verbatim(t, SLICE("\n"), 2, "a comment");
	if (starts(t->rest, SLICE("/*")))
		return take_verbatim(t, SLICE("*/"), 2, "a comment");
	if (c == '%')
		return take_placeholder(t);
	if (c == '?' || ((c == ':' || c == '@' || c == '$' || c == '#') && is_word(next)))
		return error_set(
			t->err, -EINVAL,
			"\"%c%c\": parameters of SQL are not for operators; %%s is the key", c,
			is_word(next) ? next : ' ');
	buf_append(&t->sql, t->rest.ptr, 1);
	t->rest = slice_skip(t->rest, 1);
	return 0;
}

int sqlite_query_parse(struct slice text, struct arena *arena, struct sqlite_query *ret,
		       struct error *err)
{
	struct translator t = { .rest = text, .query = ret, .err = err };
	int r = 0;

	*ret = (struct sqlite_query){ 0 };
	while (r == 0 && t.rest.len)
		r = take_one(&t);
	if (r == 0)
		ret->sql = arena_slicedup(arena, buf_slice(&t.sql));
	buf_done(&t.sql);
	return r;
}

/* ---- keys and results ---- */

int sqlite_format_parse(const char *text, struct sqlite_needs *needs, struct sqlite_format *ret,
			struct error *err)
{
	struct slice rest = slice_from(text);

	*ret = (struct sqlite_format){ .text = text };
	for (; rest.len; rest = slice_skip(rest, rest.ptr[0] == '%' ? 2 : 1)) {
		char next = rest.len > 1 ? rest.ptr[1] : '\0';

		if (rest.ptr[0] != '%' || next == '%')
			continue;
		if (field_of(next) == FIELD_COUNT)
			return unknown_placeholder(rest, err);
		if (next == 'u')
			ret->needs_value_user = true;
		else if (next == 'd')
			ret->needs_value_domain = true;
		else if (next != 's')
			note_need(needs, field_of(next));
	}
	return 0;
}

/* What is behind the last '@', and in front of it; without one, the user is all of it. */
static bool split_at(struct slice s, struct slice *ret_user, struct slice *ret_domain)
{
	size_t at = s.len;

	while (at > 0 && s.ptr[at - 1] != '@')
		at--;
	*ret_user = at > 0 ? slice_first(s, at - 1) : s;
	*ret_domain = at > 0 ? slice_skip(s, at) : SLICE("");
	return at > 0;
}

static unsigned int split_labels(struct slice domain, struct slice labels[SQLITE_QUERY_LABELS])
{
	unsigned int count = 0;

	while (domain.len && count < SQLITE_QUERY_LABELS) {
		size_t start = domain.len;

		while (start > 0 && domain.ptr[start - 1] != '.')
			start--;
		if (start < domain.len)
			labels[count++] = slice_skip(domain, start);
		domain = slice_first(domain, start > 0 ? start - 1 : 0);
	}
	return count;
}

bool sqlite_key_split(struct slice key, const struct sqlite_needs *needs, struct sqlite_key *ret)
{
	struct slice *f = ret->fields;
	bool has_at;

	*ret = (struct sqlite_key){ .fields[FIELD_KEY] = key };
	has_at = split_at(key, &f[FIELD_USER], &f[FIELD_DOMAIN]);
	if (key.len == 0 || (needs->domain && f[FIELD_DOMAIN].len == 0) ||
	    (needs->user && has_at && f[FIELD_USER].len == 0))
		return false;
	return split_labels(f[FIELD_DOMAIN], &f[FIELD_LABEL]) >= needs->labels;
}

static struct slice field_value(char c, const struct sqlite_key *key, struct slice value,
				struct slice user, struct slice domain)
{
	if (c == 's')
		return value;
	if (c == 'u')
		return user;
	return c == 'd' ? domain : key->fields[field_of(c)];
}

bool sqlite_format_apply(const struct sqlite_format *format, const struct sqlite_key *key,
			 struct slice value, struct buf *out)
{
	struct slice rest = slice_from(format->text), user, domain;
	bool has_at = split_at(value, &user, &domain);

	if (value.len == 0 || (format->needs_value_domain && domain.len == 0) ||
	    (format->needs_value_user && has_at && user.len == 0))
		return false;
	if (buf_len(out) > 0)
		buf_append(out, ",", 1);
	while (rest.len) {
		size_t plain = slice_find(rest, '%');

		buf_append_slice(out, slice_first(rest, plain));
		rest = slice_skip(rest, plain);
		if (rest.len == 0)
			break;
		buf_append_slice(out, rest.ptr[1] == '%'
					      ? SLICE("%")
					      : field_value(rest.ptr[1], key, value, user, domain));
		rest = slice_skip(rest, 2);
	}
	return true;
}
