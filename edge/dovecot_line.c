/* Fields are cut off the front of the line, one after another; an empty one is a field, too. */
#include "edge/dovecot_line.h"

#include <errno.h>

#include "base/escape.h"
#include "base/macros.h"
#include "base/parse.h"

#define ESCAPE '\001'

static struct slice take_field(struct slice *rest)
{
	struct slice field = slice_first(*rest, slice_find(*rest, '\t'));

	*rest = slice_skip(*rest, field.len + 1);
	return field;
}

static const struct {
	const char *name;
	enum dovecot_command command;
	bool has_number, has_word;
} commands[] = {
	{ "VERSION", DOVECOT_VERSION, true, false }, { "MECH", DOVECOT_MECH, false, true },
	{ "DONE", DOVECOT_DONE, false, false },	     { "OK", DOVECOT_OK, true, false },
	{ "FAIL", DOVECOT_FAIL, true, false },	     { "CONT", DOVECOT_CONT, true, true },
};

static int malformed(struct slice line, struct error *err)
{
	char shown[64];

	return error_set(err, -EPROTO, "not the auth protocol of Dovecot: \"%s\"",
			 escape_cstr(line, shown, sizeof(shown)));
}

int dovecot_line_parse(struct slice line, struct dovecot_line *ret, struct error *err)
{
	struct slice rest = line, name = take_field(&rest);
	uint64_t number = 0;

	*ret = (struct dovecot_line){ .command = DOVECOT_OTHER };
	if (name.len == 0)
		return malformed(line, err);
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!slice_equal(name, slice_from(commands[i].name)))
			continue;
		ret->command = commands[i].command;
		if (commands[i].has_number && !parse_uint(take_field(&rest), UINT32_MAX, &number))
			return malformed(line, err);
		if (commands[i].has_word)
			ret->word = take_field(&rest);
		if (ret->command == DOVECOT_MECH && ret->word.len == 0)
			return malformed(line, err);
	}
	ret->number = (uint32_t)number;
	ret->names = rest;
	return 0;
}

/* Whether a field is "name" or "name=value". */
static bool is_named(struct slice field, struct slice name, struct slice *ret_value)
{
	if (!slice_equal(slice_first(field, name.len), name))
		return false;
	*ret_value = slice_skip(field, name.len + 1);
	return field.len == name.len || field.ptr[name.len] == '=';
}

static bool find(const struct dovecot_line *line, const char *name, struct slice *ret_value)
{
	struct slice rest = line->names;

	while (rest.len > 0)
		if (is_named(take_field(&rest), slice_from(name), ret_value))
			return true;
	return false;
}

bool dovecot_line_has(const struct dovecot_line *line, const char *name)
{
	struct slice value;

	return find(line, name, &value);
}

/* '\0' also for what is no escape. */
static char unescape(char c)
{
	switch (c) {
	case '1':
		return ESCAPE;
	case 't':
		return '\t';
	case 'r':
		return '\r';
	case 'n':
		return '\n';
	default:
		return '\0';
	}
}

bool dovecot_line_value(const struct dovecot_line *line, const char *name, char *out,
			size_t out_size)
{
	struct slice value;
	size_t len = 0;

	out[0] = '\0';
	if (!find(line, name, &value))
		return false;
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == ESCAPE)
			c = i + 1 < value.len ? unescape(value.ptr[++i]) : '\0';
		if (c == '\0' || len + 1 >= out_size) {
			out[0] = '\0';
			return false;
		}
		out[len++] = c;
	}
	out[len] = '\0';
	return true;
}
