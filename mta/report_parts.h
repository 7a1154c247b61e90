/*
 * report_parts - what the files of a report share
 *
 *	report.c	the message as a whole, and its last part, the original
 *	report_words.c	the part for people
 *	report_fields.c	the part for programs
 *
 * Text of a peer was escaped when it came in (struct smtp_status), everything
 * else from outside is escaped here: no header line of ours gets a line end from
 * outside, and none is longer than RFC 5322 section 2.1.1 allows.
 */
#pragma once

#include "mta/report.h"

#define REPORT_LINE_WIDTH 76

/* In at most SMTP_STATUS_TEXT_SIZE bytes. */
void report_escape(struct buf *out, const char *text);

/* The content of each part, without its MIME header. */
void report_words(struct buf *out, const struct mta_options *options, const struct report *report);
void report_fields(struct buf *out, const struct mta_options *options, const struct report *report,
		   bool utf8);

/* Whether the fields need UTF-8 (RFC 6533 section 3). */
bool report_fields_need_utf8(const struct report *report);
