/* nearest - "did you mean": the known name that is closest to what was typed */
#pragma once

#include <stddef.h>

/*
 * Of count names, the one with the smallest edit distance (a swap of two
 * neighbours counts as one) to name, ignoring case; NULL when none is near
 * enough to be a likely slip (a third of its length, at least 1).
 */
const char *nearest_name(const char *name, const char *const *names, size_t count);
