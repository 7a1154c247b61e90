/*
 * error - what went wrong, in words, on the caller's stack
 *
 * Functions that can fail return a negative errno value and describe the
 * failure in the struct error that the caller gives. Nothing is allocated, so
 * it works when memory is out. Errors go up unchanged; whoever decides what
 * to do logs the text once. Positive returns are outcomes, listed in the
 * header of the function that returns them, and never passed further up.
 */
#pragma once

#include <stdarg.h>

struct error {
	int code;	/* negative errno value, 0 when nothing is wrong */
	char text[508]; /* never NULL, always terminated; cut when too long */
};

/* Describe a failure. err may be NULL. Returns code, which must be negative. */
int error_set(struct error *err, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "PREFIX: " before the text that is there, as in "routes:2: unknown level". */
void error_prefix(struct error *err, const char *format, ...) __attribute__((format(printf, 2, 3)));
