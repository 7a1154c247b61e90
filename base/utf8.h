/*
 * utf8 - the encoding that addresses and texts may have (RFC 3629)
 */
#pragma once

#include <stdint.h>

#include "base/slice.h"

/*
 * Length of the well-formed sequence of two bytes or more at the front of s
 * (no overlong forms, no surrogates), and its code point; 0: there is none.
 */
size_t utf8_sequence(struct slice s, uint32_t *ret_code);

/* Control characters beyond ASCII, and the separators that some programs take for line ends. */
static inline bool utf8_is_control(uint32_t code)
{
	return code < ' ' || (code >= 0x7f && code < 0xa0) || code == 0x2028 || code == 0x2029;
}

/* Marks that have a terminal show what follows in another order than it has: text that lies. */
static inline bool utf8_is_reordering(uint32_t code)
{
	return (code >= 0x202a && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

/* Writes one to four bytes; returns how many. code is no surrogate and not beyond U+10FFFF. */
size_t utf8_encode(uint32_t code, char out[4]);

/* Whether all bytes are below 0x80. */
bool utf8_is_ascii(struct slice s);
