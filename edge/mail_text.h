/*
 * mail_text - a queued message as a mailbox has it: fields in front, LF line ends,
 * and an empty line between header and body even where the sender had none
 */
#pragma once

#include "base/error.h"
#include "queue/message.h"

struct mail_text {
	struct slice header;	 /* put in front, LF line ends */
	struct queue_body *body; /* CRLF line ends, written as LF */
	bool is_binary;		 /* written as it is: what looks like a line end may be none */
};

/*
 * Give the text to take() in pieces of MAIL_TEXT_PIECE bytes or so. Blocks.
 * What take() returns below 0 ends it and is returned; so is what the body says.
 */
#define MAIL_TEXT_PIECE 262144

int mail_text_read(const struct mail_text *text,
		   int (*take)(void *arg, struct slice piece, struct error *err), void *arg,
		   struct error *err);
