/*
 * text - a map's text file: read whole, and parsed in place
 *
 * The grammar is that of postmap(1): lines "key value", surrounding white
 * space dropped; empty lines and lines that start with '#' (behind white
 * space or not) are ignored, even between a line and its continuation; a line
 * that starts with white space continues the one before. A key ends at the
 * first white space outside of double quotes; a backslash makes the next
 * character an ordinary one. Quotes and backslashes stay part of the key.
 *
 * Stricter than postmap, which warns and goes on, we refuse the file for a
 * line without a value, with an unbalanced quote, or as "key: value".
 */
#pragma once

#include <sys/stat.h>

#include "base/error.h"
#include "maps/map.h"
#include "maps/table.h"

enum text_outcome {
	TEXT_READ = 0,
	TEXT_CHANGING = 1, /* somebody writes to it just now */
};

/* The text is from malloc, with room for one more byte. name is what errors call the file. */
int text_read(const char *path, const char *name, char **ret_text, size_t *ret_len,
	      struct stat *ret_stat, struct error *err);

/* Whether two stats of a file tell of no write between them. */
bool text_is_unchanged(const struct stat *a, const struct stat *b);

/*
 * Whether a file was left alone for a second: what is younger may change once
 * more and have the same stat, as the clock of a file system is coarse.
 */
bool text_is_settled(const struct stat *st, int64_t wall_ms);

/*
 * Whether a text may be a part of what somebody is just writing in place: it is young, and
 * empty, or ends in the middle of a line. Taken up as it is, it would send mail another way.
 */
bool text_is_part(const struct stat *st, struct slice text, int64_t wall_ms);

/*
 * Takes over the text (and its one more byte). The error is that of the first
 * bad line, with its "NAME:LINE: "; report, when it is not NULL, is given
 * each of them.
 */
int text_parse(char *text, size_t len, const char *name, map_report *report, void *arg,
	       struct table **ret_table, struct error *err);
