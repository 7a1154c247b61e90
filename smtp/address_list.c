/*
 * A field is cut into tokens, and the tokens of one address (up to a comma, or
 * the end of a group) are watched as they go by: what stands in angle brackets
 * is the address, else all words are, and a colon says that they named a group.
 */
#include "smtp/address_list.h"

#include <string.h>

enum token_kind {
	TOKEN_BLANK, /* white space, line ends of a folded field, a comment */
	TOKEN_WORD,  /* atoms with their dots, a quoted string, a domain literal */
	TOKEN_OPEN,  /* begins like a word or a comment and has no end */
	TOKEN_MARK,  /* one of <>@,;: */
};

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Up to end, which may be behind a backslash; comments nest. 0: it has no end. */
static size_t enclosed_len(struct slice s, char end)
{
	unsigned int depth = 0;

	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '\\')
			i++;
		else if (end == ')' && s.ptr[i] == '(')
			depth++;
		else if (i > 0 && s.ptr[i] == end && (end != ')' || --depth == 0))
			return i + 1;
	}
	return 0;
}

static size_t atom_len(struct slice s)
{
	size_t i = 0;

	while (i < s.len && !is_blank(s.ptr[i]) && !memchr("()<>@,;:\"[", s.ptr[i], 10))
		i++;
	return i > 0 ? i : 1;
}

static struct slice take_enclosed(struct slice s, char end, enum token_kind *kind)
{
	size_t n = enclosed_len(s, end);

	if (n == 0)
		*kind = TOKEN_OPEN;
	return slice_first(s, n ? n : s.len);
}

/* s is not empty. */
static struct slice take_token(struct slice s, enum token_kind *ret_kind)
{
	*ret_kind = TOKEN_WORD;
	switch (*s.ptr) {
	case ' ':
	case '\t':
	case '\r':
	case '\n':
		*ret_kind = TOKEN_BLANK;
		return slice_first(s, 1);
	case '(':
		*ret_kind = TOKEN_BLANK;
		return take_enclosed(s, ')', ret_kind);
	case '"':
		return take_enclosed(s, '"', ret_kind);
	case '[':
		return take_enclosed(s, ']', ret_kind);
	case '<':
	case '>':
	case '@':
	case ',':
	case ';':
	case ':':
		*ret_kind = TOKEN_MARK;
		return slice_first(s, 1);
	default:
		return slice_first(s, atom_len(s));
	}
}

/* What was seen of the address that is being read. */
struct watch {
	struct address_list_item item;
	bool has_words, has_at;
	bool was_blank;		   /* before this token */
	bool in_angle, was_angled; /* inside of <>, or behind it */
};

static void start_over(struct watch *w)
{
	w->item = (struct address_list_item){ 0 };
	w->has_words = w->has_at = false;
}

static bool joins(char c)
{
	return c == '@' || c == '.';
}

static void see_word(struct watch *w, struct slice token)
{
	struct slice text = w->item.text;

	if (!w->has_words)
		w->item.text = slice_first(token, 0);
	else if (w->was_blank && !joins(text.ptr[text.len - 1]) && !joins(*token.ptr))
		w->item.is_broken = true; /* two words are no address */
	w->has_words = true;
	w->item.text.len = (size_t)(token.ptr + token.len - w->item.text.ptr);
}

/* RFC 2047 section 5: never part of an address. */
static bool is_encoded_word(struct slice s)
{
	return s.len > 4 && memcmp(s.ptr, "=?", 2) == 0 && memcmp(s.ptr + s.len - 2, "?=", 2) == 0;
}

/* A mark inside of an address. False: the address ends before it. */
static bool see_mark(struct watch *w, struct slice token)
{
	switch (*token.ptr) {
	case '<':
		if (w->in_angle || w->was_angled)
			return false; /* the comma before it is missing */
		start_over(w);	      /* the words were a name */
		w->in_angle = true;
		return true;
	case '>':
		w->was_angled |= w->in_angle;
		w->in_angle = false;
		return true;
	case '@':
		if (!w->was_angled)
			see_word(w, token);
		w->has_at |= !w->was_angled;
		return true;
	case ':':
		if (!w->was_angled)
			start_over(w); /* a route, or the name of a group */
		return true;
	default:
		return w->in_angle; /* a comma of a route */
	}
}

static bool is_finished(struct watch *w)
{
	struct address_list_item *item = &w->item;

	if (!w->has_words)
		return false;
	item->is_broken |= w->in_angle || is_encoded_word(item->text);
	item->is_bare = !w->has_at && !item->is_broken;
	return true;
}

static void see(struct watch *w, enum token_kind kind, struct slice token)
{
	if (kind == TOKEN_BLANK || w->was_angled)
		return;
	w->item.is_broken |= kind == TOKEN_OPEN;
	see_word(w, token);
}

bool address_list_next(struct slice *rest, struct address_list_item *ret)
{
	struct watch w = { 0 };

	while (rest->len > 0) {
		enum token_kind kind;
		struct slice token = take_token(*rest, &kind);

		if (kind != TOKEN_MARK) {
			see(&w, kind, token);
		} else if (!see_mark(&w, token)) {
			if (*token.ptr != '<')
				*rest = slice_skip(*rest, token.len);
			if (is_finished(&w))
				break;
			w = (struct watch){ 0 };
			continue;
		}
		w.was_blank = kind == TOKEN_BLANK;
		*rest = slice_skip(*rest, token.len);
	}
	if (!is_finished(&w))
		return false;
	*ret = w.item;
	return true;
}

char *address_list_address(struct arena *arena, struct slice text)
{
	char *address = arena_alloc(arena, text.len + 1);
	size_t len = 0;

	while (text.len > 0) {
		enum token_kind kind;
		struct slice token = take_token(text, &kind);

		if (kind != TOKEN_BLANK) {
			memcpy(address + len, token.ptr, token.len);
			len += token.len;
		}
		text = slice_skip(text, token.len);
	}
	address[len] = '\0';
	return address;
}
