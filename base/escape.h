/*
 * escape - text from outside, made fit for a log line, a terminal or a report
 */
#pragma once

#include "base/buf.h"

/*
 * Appends s to out, in at most max bytes. Printable ASCII and well-formed UTF-8
 * stay; a run of CR, LF and tab becomes one space; other control bytes (C1 and
 * line separators of Unicode too), DEL, marks that turn the order of what is
 * shown, and broken UTF-8 become '?'; when something was cut, "..." ends it,
 * within the max bytes.
 */
void escape_text(struct buf *out, struct slice s, size_t max);

/* The same into a C string of out_size bytes. Returns out. */
const char *escape_cstr(struct slice s, char *out, size_t out_size);
