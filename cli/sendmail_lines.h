/*
 * sendmail_lines - what programs pipe into sendmail, made lines of a message
 *
 * Lines may end in LF or CRLF, or with the input. A CR that ends no line
 * becomes a space and a NUL goes, since neither may be in a message (RFC 5322
 * section 4.1), and cron mail with them is worth more than none. An mbox's
 * "From " in front is left out. A line of a single dot ends the message,
 * unless dots are kept (-i).
 *
 * Computations on bytes; a zeroed struct is at the beginning of a message.
 */
#pragma once

#include "base/buf.h"

struct sendmail_lines {
	bool keep_dots;
	bool is_over; /* the dot was there: whatever else comes is ignored */
	/* the module's */
	bool in_line, has_cr, has_dot, is_past_first, is_skipping;
	size_t matched; /* of "From " or ">From " */
	bool has_angle; /* it began with ">" */
};

/* Append complete and incomplete lines to out; those that end, end in CRLF. */
void sendmail_lines_input(struct sendmail_lines *l, struct slice bytes, struct buf *out);

/* When no more input comes: the last line ends. */
void sendmail_lines_end(struct sendmail_lines *l, struct buf *out);

/*
 * Lines of more than 998 bytes (RFC 5322 section 2.1.1) go on in another that
 * begins with a space, as Postfix sends them; those of the header at white
 * space, where there is some.
 */
struct sendmail_breaker {
	bool is_body; /* set by the user when the header is over, perhaps in the midst of a line */
	/* the module's */
	struct buf line; /* as far as it has come; in the body, nothing */
	size_t len;	 /* of the line that goes out */
};

/* bytes end anywhere but between CR and LF. */
void sendmail_breaker_input(struct sendmail_breaker *b, struct slice bytes, struct buf *out);
void sendmail_breaker_done(struct sendmail_breaker *b);
