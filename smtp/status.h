/*
 * status - what an SMTP server said, or what we say: reply code, enhanced
 * status code, text
 *
 * The fate of a recipient is a value of this type, not a struct error.
 * Sources: RFC 5321 section 4.2, RFC 3463, RFC 2034.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

struct smtp_enhanced {
	unsigned short class, subject, detail; /* all 0: none */
};

#define SMTP_STATUS_TEXT_SIZE                                                                      \
	512 /* RFC 5321 section 4.5.3.1.5: a reply line is at most 512 bytes */

struct smtp_status {
	int code; /* 200 to 599; 0: no reply (nothing yet, connection lost, no SMTP) */
	struct smtp_enhanced enhanced;
	char text
		[SMTP_STATUS_TEXT_SIZE]; /* escaped, safe to log; lines of a long reply joined by a space */
};

enum smtp_class {
	SMTP_DELIVERED, /* 2xx */
	SMTP_DEFERRED,	/* 4xx, and anything that is no SMTP */
	SMTP_FAILED,	/* 5xx */
};

/* The one function that decides what a status means for a recipient. */
enum smtp_class smtp_status_class(const struct smtp_status *status);

/* Fill in; the text is formatted and cut to fit, and escaped (base/escape.h). */
void smtp_status_set(struct smtp_status *status, int code, struct smtp_enhanced enhanced,
		     const char *format, ...) __attribute__((format(printf, 4, 5)));

/* The same from bytes, which may hold anything, NUL too. */
void smtp_status_set_text(struct smtp_status *status, int code, struct smtp_enhanced enhanced,
			  struct slice text);

#define ESC(class, subject, detail) ((struct smtp_enhanced){ class, subject, detail })

#define SMTP_ENHANCED_TEXT_SIZE 16

/* "4.7.1"; made from the reply code ("4.0.0") where there is none. Returns out. */
const char *smtp_status_enhanced_text(const struct smtp_status *status,
				      char out[SMTP_ENHANCED_TEXT_SIZE]);

/*
 * Parse "X.Y.Z" at the front of *text and skip it and the space behind.
 * False: there is none; *text is as it was. X is 2, 4 or 5, Y and Z are 0 to
 * 999 without leading zeros (RFC 3463 section 2).
 */
bool smtp_enhanced_parse(struct slice *text, struct smtp_enhanced *ret);
