/*
 * sample - an address that a regular expression is likely for
 *
 * A reload compares routes by asking for addresses. Of a line of a regexp: map
 * the keys cannot be listed, but most patterns are plain text with an anchor
 * and a wildcard or two, and for those an example can be made up.
 */
#pragma once

#include "base/arena.h"

/*
 * Text that "/pattern/flags" is likely to match, with filler for whatever may
 * be anything; NULL where none can be told: negated patterns, those that hold
 * more than text, wildcards and groups, networks.
 */
const char *pattern_sample(const char *pattern, const char *filler, struct arena *arena);

/* The sample as a whole address: what it lacks of one is made of filler. */
const char *pattern_sample_address(const char *pattern, const char *filler, struct arena *arena);
