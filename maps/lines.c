/* lines - one pass over the text; the next line has to be seen to know where one ends */
#include "maps/lines.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>

bool lines_is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

void lines_init(struct lines *lines, struct slice text)
{
	struct slice mark = SLICE("\xef\xbb\xbf");

	/* A byte order mark, as some editors write it, is no part of a line. */
	*lines = (struct lines){
		.rest = slice_starts_nocase(text, mark) ? slice_skip(text, mark.len) : text,
	};
}

static struct slice without_blanks(struct slice s)
{
	while (s.len && lines_is_blank(s.ptr[s.len - 1]))
		s.len--;
	return s;
}

static bool is_ignored(struct slice line)
{
	while (line.len && lines_is_blank(line.ptr[0]))
		line = slice_skip(line, 1);
	return line.len == 0 || line.ptr[0] == '#';
}

int lines_next(struct lines *lines, struct buf *out, uint32_t *ret_number)
{
	struct slice *rest = &lines->rest;
	bool is_begun = false, continues = false;

	buf_clear(out);
	while (rest->len) {
		struct slice line = slice_first(*rest, slice_find(*rest, '\n'));
		bool is_blank = is_ignored(line);

		if (is_begun && !is_blank && !lines_is_blank(line.ptr[0]))
			break;
		lines->number++;
		*rest = slice_skip(*rest, line.len + 1);
		if (is_blank)
			continue;
		if (!is_begun) {
			*ret_number = lines->number;
			continues = lines_is_blank(line.ptr[0]);
		}
		is_begun = true;
		buf_append_slice(out, line);
	}
	if (!is_begun)
		return 0;
	out->end -= buf_len(out) - without_blanks(buf_slice(out)).len;
	return continues ? -EINVAL : 1;
}

struct slice lines_take_word(struct slice *rest)
{
	struct slice word;
	size_t n = 0;

	while (n < rest->len && !lines_is_blank(rest->ptr[n]))
		n++;
	word = slice_first(*rest, n);
	while (n < rest->len && lines_is_blank(rest->ptr[n]))
		n++;
	*rest = slice_skip(*rest, n);
	return word;
}

void complain(struct complaints *c, uint32_t number, const char *format, ...)
{
	struct error error;
	char source[512];
	va_list args;

	va_start(args, format);
	vsnprintf(error.text, sizeof(error.text), format, args);
	va_end(args);
	snprintf(source, sizeof(source), "%s:%" PRIu32, c->name, number);
	if (c->outcome == 0)
		c->outcome = error_set(c->err, -EINVAL, "%s: %s", source, error.text);
	if (c->report)
		c->report(c->arg, true, source, error.text);
}
