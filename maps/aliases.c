/*
 * aliases - one pass over the logical lines
 *
 * A name may lose its quotes and backslashes and a value the white space around it, so
 * entries are written into a text of their own, which becomes the table's.
 */
#include "maps/aliases.h"

#include <errno.h>

#include "base/escape.h"
#include "base/memory.h"
#include "maps/lines.h"

struct entry {
	size_t key_offset;
	uint32_t line;
};

struct parser {
	struct buf text;    /* key, NUL, value, NUL, ... */
	struct buf entries; /* of struct entry */
	struct buf key;	    /* of the line at hand */
	struct complaints complaints;
};

/* The name at the front of *line, to key; *line is what follows. False: a quote is not closed. */
static bool take_name(struct slice *line, struct buf *key)
{
	bool is_quoted = false;
	size_t n = 0;

	buf_clear(key);
	for (; n < line->len && (is_quoted || line->ptr[n] != ':'); n++) {
		if (line->ptr[n] == '"') {
			is_quoted = !is_quoted;
			continue;
		}
		if (line->ptr[n] == '\\' && n + 1 < line->len)
			n++;
		buf_append(key, &line->ptr[n], 1);
	}
	while (buf_len(key) && lines_is_blank(key->mem[key->end - 1]))
		key->end--;
	*line = slice_skip(*line, n);
	return !is_quoted;
}

static struct slice without_blanks(struct slice s)
{
	while (s.len && lines_is_blank(s.ptr[0]))
		s = slice_skip(s, 1);
	return s;
}

/* Whether the line is well-formed; complains when it is not. */
static bool check_line(struct parser *p, uint32_t number, struct slice line, bool is_closed,
		       struct slice rest)
{
	struct slice key = buf_slice(&p->key);
	char shown[64];

	escape_cstr(line, shown, sizeof(shown));
	if (slice_find(line, '\0') != line.len)
		complain(&p->complaints, number, "a NUL byte in \"%s\"", shown);
	else if (!is_closed)
		complain(&p->complaints, number, "unbalanced '\"' in \"%s\"", shown);
	else if (rest.len == 0)
		complain(&p->complaints, number,
			 "expected \"name: value, ...\" as in aliases(5), found \"%s\"", shown);
	else if (key.len == 0)
		complain(&p->complaints, number, "no name in front of the colon in \"%s\"", shown);
	else if (key.len > TABLE_KEY_MAX)
		complain(&p->complaints, number, "name longer than %d bytes", TABLE_KEY_MAX);
	else if (slice_find(key, '@') != key.len)
		complain(&p->complaints, number,
			 "\"%s\": names of aliases are local, without a domain; use "
			 "virtual_alias_maps for others",
			 shown);
	else if (without_blanks(slice_skip(rest, 1)).len == 0)
		complain(&p->complaints, number, "\"%s\" stands for nobody", shown);
	else
		return true;
	return false;
}

static void take_line(struct parser *p, uint32_t number, struct slice line)
{
	struct entry entry = { buf_len(&p->text), number };
	struct slice rest = line, key;
	bool is_closed = take_name(&rest, &p->key);

	if (!check_line(p, number, line, is_closed, rest))
		return;
	key = buf_slice(&p->key);
	table_fold(p->key.mem + p->key.start, key);
	buf_append_slice(&p->text, key);
	buf_append(&p->text, "", 1);
	buf_append_slice(&p->text, without_blanks(slice_skip(rest, 1)));
	buf_append(&p->text, "", 1);
	buf_append(&p->entries, &entry, sizeof(entry));
}

static void take_lines(struct parser *p, struct slice text)
{
	struct buf line = { 0 };
	struct lines lines;
	uint32_t number = 0;
	int r;

	lines_init(&lines, text);
	while ((r = lines_next(&lines, &line, &number)) != 0) {
		if (r < 0)
			complain(&p->complaints, number,
				 "a line that starts with white space continues the one before, "
				 "but there is none");
		else
			take_line(p, number, buf_slice(&line));
	}
	buf_done(&line);
}

/* Takes over p->text. */
static int make_table(struct parser *p, const char *name, struct table **ret_table,
		      struct error *err)
{
	size_t count = buf_len(&p->entries) / sizeof(struct entry), len = buf_len(&p->text);
	const struct entry *entries = (const void *)buf_slice(&p->entries).ptr;
	struct table *table = table_new(buf_steal_string(&p->text), count + 1);

	if (!table)
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	for (size_t i = 0; i < count; i++)
		table_add(table, entries[i].key_offset, entries[i].line);
	if (!table_finish(table, len)) {
		table_unref(table);
		return error_set(err, -ENOMEM, "%s: out of memory", name);
	}
	*ret_table = table;
	return 0;
}

int aliases_parse(char *text, size_t len, const char *name, map_report *report, void *arg,
		  struct table **ret_table, struct error *err)
{
	struct parser p = {
		.complaints = { .name = name, .report = report, .arg = arg, .err = err },
	};
	int r;

	take_lines(&p, slice_of(text, len));
	free(text);
	r = p.complaints.outcome;
	if (r == 0)
		r = make_table(&p, name, ret_table, err);
	buf_done(&p.text);
	buf_done(&p.entries);
	buf_done(&p.key);
	return r;
}
