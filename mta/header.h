/*
 * header - the lines of a message's header, as they come in pieces split anywhere
 *
 * Lines are told as they are, with their ends (CRLF, or LF alone). What is not
 * complete is kept until the rest comes, up to a kilobyte: so much is enough to
 * see what a line is, and the rest of a longer one is told as it comes.
 */
#pragma once

#include "base/buf.h"

enum header_line {
	HEADER_FIELD = 1, /* the first line of a field */
	HEADER_CONTINUED, /* another of the same field, or more of a long line */
	HEADER_END,	  /* the empty line; the body comes behind it */
	HEADER_BROKEN,	  /* no line of a header: the body has begun without an empty line */
};

/* A zeroed struct is at the beginning of a message. */
struct header_reader {
	bool is_over; /* END or BROKEN was told: what comes now is the body */
	/* the reader's */
	bool has_field, in_long_line, was_kept;
	struct buf kept;
};

/*
 * Take a line from the front of *bytes, good until the next call. 0: there is
 * none; what is left of *bytes is the body, or nothing.
 */
enum header_line header_next_line(struct header_reader *h, struct slice *bytes,
				  struct slice *ret_line);

/* After BROKEN: go on as if that line were a field. */
void header_go_on(struct header_reader *h);

/* When no more bytes come: the line that has no end. 0: there is none. */
enum header_line header_last_line(struct header_reader *h, struct slice *ret_line);

void header_reader_done(struct header_reader *h);

/* The name in a FIELD's line, and what stands behind its colon. */
struct slice header_field_name(struct slice line);
struct slice header_field_body(struct slice line);
