/*
 * reply - replies of a server, as the client reads them (RFC 5321 section 4.2)
 */
#pragma once

#include "base/buf.h"
#include "smtp/status.h"

/*
 * A reply that passes one of these is malformed. The size is well below what
 * a stream buffers (net/stream.h), so a reply in pieces is never stuck there.
 */
#define SMTP_REPLY_LINE_MAX  2048 /* without its end; RFC says 512; servers exceed it */
#define SMTP_REPLY_LINES_MAX 256
#define SMTP_REPLY_SIZE_MAX  32768

enum smtp_reply_outcome {
	SMTP_REPLY_COMPLETE = 1, /* a whole reply was taken from the input */
	SMTP_REPLY_PARTIAL,	 /* more bytes are needed */
	SMTP_REPLY_MALFORMED,	 /* not SMTP; status.text quotes it */
};

struct smtp_reply {
	struct smtp_status status; /* text of all lines joined, without enhanced codes */
	struct buf lines;	   /* text of each line behind its code, raw, LF after each: EHLO */
	unsigned int line_count;
};

void smtp_reply_done(struct smtp_reply *reply);

/*
 * Take one reply, all of its lines, from the front of *input and advance it.
 * Zero *reply before its first use; after that it is overwritten each time.
 *
 * Lines may end in a bare LF. Where lines differ in their code, which RFC 5321
 * section 4.2.1 forbids, the last line's counts. An enhanced code whose class
 * does not fit the reply code is text (RFC 2034 section 4).
 *
 * A partial or malformed reply consumes nothing. Malformed is told as soon as
 * it is seen, before the line has ended: a TLS record or a banner of some
 * other protocol may have no end of line. Then the status has code 0 (deferred).
 */
enum smtp_reply_outcome smtp_reply_take(struct slice *input, struct smtp_reply *reply);
