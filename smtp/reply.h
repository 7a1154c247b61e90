/*
 * reply - replies of a server, as the client reads them (RFC 5321 section 4.2)
 */
#pragma once

#include "base/buf.h"
#include "smtp/status.h"

#define SMTP_REPLY_LINE_MAX  2048 /* RFC says 512; servers exceed it */
#define SMTP_REPLY_LINES_MAX 256

enum smtp_reply_outcome {
	SMTP_REPLY_COMPLETE = 1, /* a whole reply was taken from the input */
	SMTP_REPLY_PARTIAL,	 /* more bytes are needed */
	SMTP_REPLY_MALFORMED,	 /* not SMTP; status.text quotes it */
};

struct smtp_reply {
	struct smtp_status status; /* text of all lines joined, without enhanced codes */
	struct buf lines;	   /* raw text of each line behind its code, LF after each: EHLO */
	unsigned int line_count;
};

void smtp_reply_done(struct smtp_reply *reply);

/*
 * Take one reply, all of its lines, from the front of *input and advance it.
 * Lines may end in a bare LF. The reply is overwritten; an enhanced code
 * whose class does not fit the reply code is text. A partial reply consumes
 * nothing.
 */
enum smtp_reply_outcome smtp_reply_take(struct slice *input, struct smtp_reply *reply);
