/*
 * Physical lines are gathered into logical ones: a logical line is given to
 * the events when the next one begins, since only then is it known to be whole.
 */
#include "config/grammar.h"

#include "base/buf.h"

struct logical_line {
	struct buf text;
	unsigned int line; /* of its first physical line; 0: none is being gathered */
};

static bool is_space(char c)
{
	return c == ' ' || c == '\t';
}

/* Names are words of letters, digits and underscores. */
static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '_'))
			return false;
	}
	return s.len > 0;
}

static void finish_line(struct logical_line *logical, const struct config_grammar_events *events,
			void *arg)
{
	struct slice text = buf_slice(&logical->text);
	size_t equals = slice_find(text, '=');
	struct slice name = slice_trim(slice_first(text, equals));

	if (logical->line == 0)
		return;
	if (equals == text.len)
		events->fault(arg, logical->line, "expected NAME = VALUE");
	else if (!is_name(name))
		events->fault(
			arg, logical->line,
			"expected NAME = VALUE, and a name of letters, digits and underscores");
	else
		events->setting(arg, logical->line, name, slice_trim(slice_skip(text, equals + 1)));
	buf_clear(&logical->text);
	logical->line = 0;
}

void config_grammar_read(struct slice text, const struct config_grammar_events *events, void *arg)
{
	struct logical_line logical = { 0 };
	bool skipping = false; /* a faulty line's continuation is part of the fault */

	for (unsigned int line = 1; text.len > 0; line++) {
		size_t end = slice_find(text, '\n');
		struct slice raw = slice_first(text, end);
		struct slice content = slice_trim(raw);
		bool is_continuation = raw.len > 0 && is_space(raw.ptr[0]);

		text = slice_skip(text, end + 1);
		if (content.len == 0 || content.ptr[0] == '#')
			continue;
		if (memchr(content.ptr, '\0', content.len)) {
			finish_line(&logical, events, arg);
			events->fault(arg, line, "the line holds a NUL byte");
			skipping = true;
		} else if (!is_continuation) {
			finish_line(&logical, events, arg);
			logical.line = line;
			buf_append_slice(&logical.text, content);
			skipping = false;
		} else if (logical.line != 0) {
			buf_append_string(&logical.text, " ");
			buf_append_slice(&logical.text, content);
			if (events->continued)
				events->continued(arg, line, content);
		} else if (!skipping) {
			events->fault(arg, line,
				      "a line that starts with white space continues the one "
				      "before it, and there is none");
			skipping = true;
		}
	}
	finish_line(&logical, events, arg);
	buf_done(&logical.text);
}
