/*
 * completion - what a program that submits mail may leave undone in the
 * header, and we do for it (RFC 6409 section 8, RFC 5321 section 6.4)
 *
 * For mail of our own users only: by AUTH, or by sendmail. Relayed mail never
 * passes through here. As Postfix does it with local_header_rewrite_clients:
 *
 * - Message-ID, Date and From are added where they are missing, in the end of
 *   the header; their Resent- forms instead where there is any Resent- field
 * - addresses without a domain get ours in the fields that Postfix completes
 * - Bcc, Resent-Bcc, Return-Path and Content-Length are taken out, as by
 *   message_drop_headers
 * - a header that runs into the body gets the empty line between them
 * - a line of a mailbox file in front ("From alice Sat Nov 21 …") becomes X-Mailbox-Line
 *
 * A field that is there is not judged. Everything else passes as it is, byte
 * for byte, so signatures of complete mail (DKIM, S/MIME) stay good.
 *
 * A computation on bytes: no I/O. What it keeps is bounded: a field with addresses is held
 * until its end is there, up to COMPLETION_FIELD_MAX; a longer one passes as it is.
 */
#pragma once

#include <stdint.h>

#include "mta/header.h"

#define COMPLETION_FIELD_MAX 102400 /* header_size_limit of Postfix */

/* Strings stay the caller's, until completion_end(). */
struct completion_options {
	const char *origin;    /* myorigin: completes bare addresses */
	const char *hostname;  /* of Message-ID */
	const char *id;	       /* of Message-ID: the name of the message in the queue */
	const char *sender;    /* for From: the reverse-path; "": MAILER-DAEMON */
	const char *full_name; /* for From; NULL or "": none. UTF-8, encoded where need be */
	int64_t now_ms;	       /* for Date */
};

struct completion {
	struct completion_options options;
	/* the module's */
	struct header_reader reader;
	unsigned int seen; /* fields, or-ed */
	unsigned int kind; /* what becomes of the field that is being read */
	bool in_line;	   /* what went out last has no line end */
	bool is_done;	   /* with the header */
	struct buf field;  /* with addresses, as far as it has come */
};

/* c is not initialized, or done. */
void completion_init(struct completion *c, const struct completion_options *options);
void completion_done(struct completion *c); /* of a zeroed struct, too */

/* Append what becomes of bytes to out; some of it may come with a later call. */
void completion_input(struct completion *c, struct slice bytes, struct buf *out);

/* When no more bytes come. */
void completion_end(struct completion *c, struct buf *out);
