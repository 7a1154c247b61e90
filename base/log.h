/*
 * log - one line per event, to where the operator wants it
 *
 * Text lines look as syslog writes them, and as Postfix's maillog is read:
 *	Nov 21 07:12:01 host posthouse/smtpd[123]: TEXT
 * A line is written by one write(2), so lines of threads never mix. Whatever
 * came from outside must be escaped by the caller (base/escape.h); as a last
 * line of defence control bytes become '?'. Safe to call from any thread.
 */
#pragma once

#include "base/error.h"

struct log;

enum log_level {
	LOG_LEVEL_INFO,
	LOG_LEVEL_WARNING, /* "warning: " before the text */
	LOG_LEVEL_ERROR,   /* "error: " */
	LOG_LEVEL_FATAL,   /* "fatal: " */
};

/*
 * destination: "stderr", "syslog" (facility mail) or "file:PATH" (appended to,
 * created with mode 0640). hostname is copied. Returns 0 or a negative error.
 */
int log_open(const char *destination, const char *hostname, struct log **ret_log,
	     struct error *err);
void log_close(struct log *log);

/* Opens the file anew after it was rotated away; keeps the old one on failure. */
int log_reopen(struct log *log, struct error *err);

/*
 * From now on to another destination; on failure to the one before. A line that
 * another thread is writing may still go there. One thread at a time.
 */
int log_redirect(struct log *log, const char *destination, struct error *err);

/*
 * program is the part behind "posthouse/": smtpd, smtp, qmgr, virtual, … or
 * NULL for the process itself. log may be NULL: nothing is written.
 */
void log_write(struct log *log, const char *program, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
