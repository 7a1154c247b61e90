/*
 * sample - reads a pattern from left to right, and of alternatives takes the first
 *
 * What comes out need not match: whoever asks compares what the address gets
 * before and after, and that is true of any address.
 */
#include "transport/sample.h"

#include "base/buf.h"

struct reader {
	struct slice rest;
	const char *filler;
	struct buf out;
};

static bool is_quantifier(char c)
{
	return c == '*' || c == '+' || c == '?' || c == '{';
}

static char front(const struct reader *r)
{
	return r->rest.len ? r->rest.ptr[0] : '\0';
}

/* Takes "*", "+", "?" or "{...}". */
static void skip_quantifier(struct reader *r)
{
	r->rest = slice_skip(r->rest, front(r) == '{' ? slice_find(r->rest, '}') + 1 : 1);
}

/* Anything may stand here, and so much of it as is said next. */
static void put_wildcard(struct reader *r)
{
	if (is_quantifier(front(r))) {
		skip_quantifier(r);
		buf_append_string(&r->out, r->filler);
	} else {
		buf_append(&r->out, r->filler, 1);
	}
}

/* "[...]", without regard to what is in it. */
static void take_class(struct reader *r)
{
	size_t n = r->rest.len > 1 && r->rest.ptr[1] == '^' ? 2 : 1;

	n += 1 + slice_find(slice_skip(r->rest, n + 1), ']'); /* a first ']' is one of the class */
	r->rest = slice_skip(r->rest, n + 1);
	put_wildcard(r);
}

/* From a '|' to the end of the group. */
static void skip_alternatives(struct reader *r)
{
	unsigned int depth = 0;

	while (r->rest.len && (depth > 0 || front(r) != ')')) {
		depth += front(r) == '(';
		depth -= front(r) == ')';
		r->rest = slice_skip(r->rest, front(r) == '\\' ? 2 : 1);
	}
}

static void put_literal(struct reader *r, char c)
{
	buf_append(&r->out, &c, 1);
	if (is_quantifier(front(r)))
		skip_quantifier(r);
}

/* False: this is beyond us. */
static bool take_one(struct reader *r)
{
	char c = front(r);

	if (c == '[') {
		take_class(r);
		return true;
	}
	if (c == '|') {
		skip_alternatives(r);
		return true;
	}
	r->rest = slice_skip(r->rest, 1);
	if (c == '\\') {
		c = front(r);
		r->rest = slice_skip(r->rest, 1);
		put_literal(r, c);
		return strchr(".@-_+/$^|()[]{}*?", c) && c;
	}
	if (c == '.')
		put_wildcard(r);
	else if (is_quantifier(c))
		return true; /* of a group */
	else if (!strchr("^$()", c))
		put_literal(r, c);
	return c != '\0' && (unsigned char)c > ' ' && (unsigned char)c < 0x7f;
}

const char *pattern_sample(const char *pattern, const char *filler, struct arena *arena)
{
	char delimiter[2] = { pattern[0], '\0' };
	const char *end = delimiter[0] ? strrchr(pattern + 1, delimiter[0]) : NULL;
	struct reader r = { .filler = filler };
	bool is_good = true;
	const char *text = NULL;

	if (!end || strchr("![0123456789abcdef:", delimiter[0]))
		return NULL;
	r.rest = slice_of(pattern + 1, (size_t)(end - pattern) - 1);
	while (is_good && r.rest.len)
		is_good = take_one(&r);
	if (is_good && buf_len(&r.out) > 0)
		text = arena_slicedup(arena, buf_slice(&r.out));
	buf_done(&r.out);
	return text;
}

const char *pattern_sample_address(const char *pattern, const char *filler, struct arena *arena)
{
	const char *text = pattern_sample(pattern, filler, arena), *at;

	if (!text)
		return NULL;
	at = strrchr(text, '@');
	if (!at)
		return arena_printf(arena, "%s@%s%s", filler, text[0] == '.' ? filler : "", text);
	return arena_printf(arena, "%s%s%s", at == text ? filler : "", text,
			    at[1] == '\0' ? filler : "");
}
