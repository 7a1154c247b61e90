/*
 * base64 - three bytes are four characters
 *
 * Decoding is strict (RFC 4648 sections 3.2, 3.3 and 3.5): one text has one
 * encoding, so nobody smuggles bytes in spare bits or behind the padding.
 */
#include "base/base64.h"

#include <stdint.h>

void base64_encode(struct slice s, char *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *in = (const unsigned char *)s.ptr;
	size_t left = s.len;

	for (; left >= 3; left -= 3, in += 3, out += 4) {
		uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

		out[0] = alphabet[bits >> 18];
		out[1] = alphabet[bits >> 12 & 63];
		out[2] = alphabet[bits >> 6 & 63];
		out[3] = alphabet[bits & 63];
	}
	if (left) {
		uint32_t bits = (uint32_t)in[0] << 16 | (left == 2 ? (uint32_t)in[1] << 8 : 0);

		out[0] = alphabet[bits >> 18];
		out[1] = alphabet[bits >> 12 & 63];
		out[2] = left == 2 ? alphabet[bits >> 6 & 63] : '=';
		out[3] = '=';
		out += 4;
	}
	*out = '\0';
}

/* The six bits of a character, or -1. */
static int value_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	return c == '/' ? 63 : -1;
}

/* Of count (2 to 4) characters, count - 1 bytes. */
static bool decode_group(const char *in, size_t count, unsigned char *out)
{
	uint32_t bits = 0;

	for (size_t i = 0; i < 4; i++) {
		int value = i < count ? value_of(in[i]) : 0;

		if (value < 0)
			return false;
		bits = bits << 6 | (uint32_t)value;
	}
	for (size_t i = 0; i < count - 1; i++) {
		out[i] = (unsigned char)(bits >> 16);
		bits = bits << 8 & 0xffffff;
	}
	return bits == 0; /* else spare bits were set */
}

ssize_t base64_decode(struct slice s, void *out)
{
	unsigned char *start = out, *end = out;

	if (s.len % 4 != 0)
		return -1;
	for (size_t i = 0; i < s.len; i += 4) {
		size_t count = 4;

		if (i + 4 == s.len && s.ptr[i + 3] == '=')
			count = s.ptr[i + 2] == '=' ? 2 : 3;
		if (!decode_group(s.ptr + i, count, end))
			return -1;
		end += count - 1;
	}
	return end - start;
}
