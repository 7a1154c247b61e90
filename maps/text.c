/*
 * text - one pass over the file, which becomes the table's text on the way
 *
 * A logical line is gathered at the place that the write position has
 * reached, its continuations moved up behind it, then split there into key,
 * NUL, value, NUL. That never needs more room than the line and its end had,
 * so writing never overtakes reading.
 */
#include "maps/text.h"

#include <errno.h>
#include <fcntl.h>

#include "base/escape.h"
#include "maps/lines.h"

#define SETTLED_MS 1000

struct parser {
	struct table *table;
	char *base;
	size_t read, len; /* position in base, and its end */
	size_t line;	  /* where the logical line being gathered starts */
	size_t end;	  /* where it ends, and the next may be put */
	bool is_gathering;
	uint32_t number, first; /* of the last line read; of the first of the logical line */

	struct complaints complaints;
};

/* Length of the key at the front of s, or SIZE_MAX where a quote is not closed. */
static size_t key_length(struct slice s)
{
	bool is_quoted = false;
	size_t n = 0;

	while (n < s.len && (is_quoted || !lines_is_blank(s.ptr[n]))) {
		if (s.ptr[n] == '\\' && n + 1 < s.len)
			n++;
		else if (s.ptr[n] == '"')
			is_quoted = !is_quoted;
		n++;
	}
	return is_quoted ? SIZE_MAX : n;
}

/* Whether the logical line is well-formed; complains when it is not. */
static bool check_line(struct parser *p, struct slice line, size_t key_len)
{
	char shown[64];

	escape_cstr(line, shown, sizeof(shown));
	if (slice_find(line, '\0') != line.len)
		complain(&p->complaints, p->first, "a NUL byte in \"%s\"", shown);
	else if (key_len == SIZE_MAX)
		complain(&p->complaints, p->first, "unbalanced '\"' in \"%s\"", shown);
	else if (key_len > TABLE_KEY_MAX)
		complain(&p->complaints, p->first, "key longer than %d bytes", TABLE_KEY_MAX);
	else if (key_len == line.len)
		complain(&p->complaints, p->first, "expected \"key value\", found only \"%s\"",
			 shown);
	else if (line.ptr[key_len - 1] == ':')
		complain(&p->complaints, p->first,
			 "\"%s\" is in the format \"key: value\"; expected \"key value\"", shown);
	else
		return true;
	return false;
}

/* Turn what has been gathered into an entry. */
static void finish_line(struct parser *p)
{
	char *start = p->base + p->line;
	struct slice line, value;
	size_t key_len;

	if (!p->is_gathering)
		return;
	p->is_gathering = false;
	while (lines_is_blank(p->base[p->end - 1]))
		p->end--;
	line = slice_of(start, p->end - p->line);
	key_len = key_length(line);
	if (!check_line(p, line, key_len)) {
		p->end = p->line;
		return;
	}

	value = slice_skip(line, key_len);
	while (lines_is_blank(value.ptr[0]))
		value = slice_skip(value, 1);
	table_fold(start, slice_first(line, key_len));
	start[key_len] = '\0';
	memmove(start + key_len + 1, value.ptr, value.len);
	start[key_len + 1 + value.len] = '\0';
	table_add(p->table, p->line, p->first);
	p->end = p->line + key_len + value.len + 2;
}

/* One physical line, without its end. */
static void take_line(struct parser *p, char *text, size_t len)
{
	size_t blank = 0;

	while (blank < len && lines_is_blank(text[blank]))
		blank++;
	if (blank == len || text[blank] == '#')
		return;
	while (lines_is_blank(text[len - 1]))
		len--;

	if (blank == 0) {
		finish_line(p);
		p->is_gathering = true;
		p->line = p->end;
		p->first = p->number;
	} else if (!p->is_gathering) {
		complain(&p->complaints, p->number,
			 "a line that starts with white space continues the one "
			 "before, but there is none");
		return;
	}
	memmove(p->base + p->end, text, len);
	p->end += len;
}

static size_t count_lines(const char *text, size_t len)
{
	const char *end = text + len;
	size_t count = 1;

	while (text < end && (text = memchr(text, '\n', (size_t)(end - text)))) {
		text++;
		count++;
	}
	return count;
}

int text_parse(char *text, size_t len, const char *name, map_report *report, void *arg,
	       struct table **ret_table, struct error *err)
{
	CLEANUP(table_unrefp) struct table *table = NULL;
	struct parser p = {
		.base = text,
		.len = len,
		.complaints = { .name = name, .report = report, .arg = arg, .err = err },
	};

	table = table_new(text, count_lines(text, len));
	if (!table)
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	p.table = table;
	if (slice_starts_nocase(slice_of(text, len), SLICE("\xef\xbb\xbf")))
		p.read = 3; /* a byte order mark, as some editors write it, is no part of a key */
	while (p.read < p.len) {
		char *line = text + p.read;
		size_t line_len = slice_find(slice_of(line, p.len - p.read), '\n');

		p.number++;
		p.read += line_len + 1;
		take_line(&p, line, line_len);
	}
	finish_line(&p);
	if (p.complaints.outcome < 0)
		return p.complaints.outcome;
	if (!table_finish(table, p.end))
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	*ret_table = table;
	table = NULL;
	return 0;
}

bool text_is_unchanged(const struct stat *a, const struct stat *b)
{
	return a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
	       a->st_mtim.tv_nsec == b->st_mtim.tv_nsec && a->st_ctim.tv_sec == b->st_ctim.tv_sec &&
	       a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Nothing can be said about the age of a file whose last change is in the future. */
bool text_is_settled(const struct stat *st, int64_t wall_ms)
{
	int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;

	return wall_ms < changed_ms || wall_ms - changed_ms > SETTLED_MS;
}

bool text_is_part(const struct stat *st, struct slice text, int64_t wall_ms)
{
	return !text_is_settled(st, wall_ms) && (text.len == 0 || text.ptr[text.len - 1] != '\n');
}

/* Up to size bytes; fewer only at the end of the file. */
static ssize_t read_all(int fd, char *out, size_t size)
{
	size_t len = 0;

	while (len < size) {
		ssize_t n = read(fd, out + len, size - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		len += (size_t)n;
	}
	return (ssize_t)len;
}

int text_read(const char *path, const char *name, char **ret_text, size_t *ret_len,
	      struct stat *ret_stat, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	CLEANUP(free_strp) char *text = NULL;
	struct stat before, after;
	ssize_t len;

	/* Not to hang on a FIFO. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstat(fd, &before) < 0)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	if (!S_ISREG(before.st_mode))
		return error_set(err, -EINVAL, "%s: not a regular file", name);
	if (before.st_size > UINT32_MAX - 1)
		return error_set(err, -EFBIG, "%s: larger than 4 GiB", name);

	text = malloc((size_t)before.st_size + 1);
	if (!text)
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	len = read_all(fd, text, (size_t)before.st_size);
	if (len < 0)
		return error_set(err, (int)len, "%s: %s", name, strerror((int)-len));
	if (fstat(fd, &after) < 0)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	if (len != before.st_size || !text_is_unchanged(&before, &after))
		return TEXT_CHANGING;

	*ret_text = text;
	text = NULL;
	*ret_len = (size_t)len;
	*ret_stat = before;
	return TEXT_READ;
}
