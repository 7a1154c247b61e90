/*
 * dsn - what senders ask for about notifications (RFC 3461), as values and on the wire
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"
#include "base/error.h"

/* NOTIFY= of a recipient, or-ed. 0: not given, which means failure, and delay if we like. */
enum smtp_notify {
	SMTP_NOTIFY_NEVER = 1, /* alone */
	SMTP_NOTIFY_SUCCESS = 2,
	SMTP_NOTIFY_FAILURE = 4,
	SMTP_NOTIFY_DELAY = 8,
};

/* RET= of a message: how much of it a failure report returns. */
enum smtp_return {
	SMTP_RETURN_DEFAULT, /* not given: ours to decide */
	SMTP_RETURN_FULL,
	SMTP_RETURN_HEADERS,
};

#define SMTP_ENVELOPE_ID_MAX	    100 /* bytes, RFC 3461 section 4.4 */
#define SMTP_ORIGINAL_RECIPIENT_MAX 500 /* section 4.2 */

/* Values as they stand behind "NOTIFY=" and "RET=". Case does not matter. */
bool smtp_notify_parse(struct slice text, unsigned int *ret);
bool smtp_return_parse(struct slice text, enum smtp_return *ret);
void smtp_notify_format(unsigned int notify, struct buf *out); /* "SUCCESS,FAILURE" */

/*
 * xtext (RFC 3461 section 4): "+" and two upper-case digits for what could
 * break a parameter. Decoding accepts printable ASCII results only, at least
 * one; out is unchanged if it fails.
 */
bool smtp_xtext_decode(struct slice text, struct buf *out);
void smtp_xtext_encode(const char *text, struct buf *out);

/*
 * ORCPT=, "TYPE;ADDRESS" (RFC 3461 section 4.2, RFC 6533 section 3). Decoded it
 * is "rfc822;bob@example.com", "utf-8;" and UTF-8, or another type and
 * printable ASCII. utf8: bytes above 127 may stand as they are, as SMTPUTF8 was
 * asked for; else only as "\x{F6}". Encoded it is ASCII, which every server
 * that knows DSN takes; false, and nothing is appended, without a type.
 */
bool smtp_original_recipient_decode(struct slice text, bool utf8, struct buf *out);
bool smtp_original_recipient_encode(const char *original, struct buf *out);
