/*
 * lines - the logical lines of a file, as Postfix's tables and .cf files have them
 *
 * Empty lines and lines whose first character that is no white space is '#'
 * are ignored, even between a line and its continuation; a line that starts
 * with white space continues the one before.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "maps/map.h"

struct lines {
	struct slice rest;
	uint32_t number; /* of the last line taken */
};

void lines_init(struct lines *lines, struct slice text);

/*
 * The next logical line to out, without white space at its end, and the number
 * of its first line. 1; 0 when there is none; -EINVAL: this one continues none.
 */
int lines_next(struct lines *lines, struct buf *out, uint32_t *ret_number);

/* Takes the first run of bytes that are no white space, and the white space behind it. */
struct slice lines_take_word(struct slice *rest);

bool lines_is_blank(char c);

/* What is wrong with the lines of a file. */
struct complaints {
	const char *name;   /* of the file, as errors call it */
	map_report *report; /* is given each; may be NULL */
	void *arg;
	struct error *err; /* is given the first, as "NAME:LINE: ..." */
	int outcome;	   /* 0, or the error */
};

void complain(struct complaints *complaints, uint32_t number, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
