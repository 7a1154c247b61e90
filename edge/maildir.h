/*
 * maildir - delivery into a Maildir, safe on a crash at any point
 *
 * tmp/NAME is written and synced, renamed into new/, and new/ is synced: when
 * 0 is returned the message survives a power cut, and a reader never sees half
 * of one. Names hold time, process, a counter and the host, and end in
 * ",S=SIZE" as Dovecot likes for quotas.
 */
#pragma once

#include <stdatomic.h>

#include "base/error.h"
#include "queue/message.h"

struct maildir_delivery {
	const char *base; /* absolute; exists */
	const char *path; /* below base, checked by maildir_path_is_safe(); made when missing */
	const char *hostname;
	struct slice header;	 /* put in front, LF line ends */
	struct queue_body *body; /* CRLF line ends, written as LF */
	bool is_binary;		 /* written as it is: what looks like a line end may be none */
};

/* Relative, without "." or ".." or empty parts, or control characters; ends in '/'. */
bool maildir_path_is_safe(const char *path);

/* counter: makes names unique, shared by all threads. Blocks. Negative errors as from the system. */
int maildir_deliver(const struct maildir_delivery *d, atomic_uint *counter, struct error *err);
