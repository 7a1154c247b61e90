/* base64 - RFC 4648 section 4, with padding */
#pragma once

#include <sys/types.h>

#include "base/buf.h"

#define BASE64_ENCODED_SIZE(n) (((n) + 2) / 3 * 4 + 1)
#define BASE64_DECODED_SIZE(n) (((n) + 3) / 4 * 3)

/* Writes a terminated string; out has room for BASE64_ENCODED_SIZE(s.len). */
void base64_encode(struct slice s, char *out);

/*
 * Decodes all of s into out (BASE64_DECODED_SIZE bytes). Returns the length,
 * or -1 where s is no base64: wrong characters, wrong padding, spare bits set.
 */
ssize_t base64_decode(struct slice s, void *out);
