/*
 * fingerprint - SHA-256 of a certificate or of its public key, as people write it
 *
 * Tools print digests with colons and without, in upper and lower case. Other
 * digests can be told by their length, and are named: MD5 was Postfix's
 * default for long, and a policy taken over from there may still have it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/escape.h"
#include "tls/policy_internal.h"

#define DIGITS 64
#define VALID  "expected sha256:HEX of a certificate or pubkey-sha256:HEX of its key"

/* Lower-case digits without colons; returns how many there were, or -1. */
static int read_hex(struct slice text, char out[DIGITS + 1])
{
	int count = 0;

	for (size_t i = 0; i < text.len; i++) {
		char c = text.ptr[i];

		if (c == ':' && count > 0 && count % 2 == 0 && i + 1 < text.len &&
		    text.ptr[i - 1] != ':')
			continue;
		if (c >= 'A' && c <= 'F')
			c = (char)(c | 0x20);
		if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
			return -1;
		if (count < DIGITS)
			out[count] = c;
		count++;
	}
	out[count < DIGITS ? count : DIGITS] = '\0';
	return count;
}

int tls_fingerprint_parse(struct slice text, struct tls_fingerprint *ret, struct error *err)
{
	bool is_key = slice_starts_nocase(text, SLICE(TLS_FINGERPRINT_KEY));
	bool is_certificate = slice_starts_nocase(text, SLICE(TLS_FINGERPRINT_CERTIFICATE));
	struct slice digits = text;
	char hex[DIGITS + 1], shown[128];
	int count;

	if (is_key)
		digits = slice_skip(text, strlen(TLS_FINGERPRINT_KEY));
	else if (is_certificate)
		digits = slice_skip(text, strlen(TLS_FINGERPRINT_CERTIFICATE));
	count = read_hex(digits, hex);
	escape_cstr(text, shown, sizeof(shown));
	if (count == 32 || count == 40)
		return error_set(err, -EINVAL,
				 "\"%s\" has the length of %s, which can be forged; " VALID, shown,
				 count == 32 ? "MD5" : "SHA-1");
	if (count < 0)
		return error_set(err, -EINVAL, "\"%s\" is no fingerprint; " VALID, shown);
	if (count != DIGITS)
		return error_set(err, -EINVAL, "\"%s\" has %d digits, SHA-256 has %d; " VALID,
				 shown, count, DIGITS);
	*ret = (struct tls_fingerprint){ 0 };
	if (!is_key)
		snprintf(ret->certificate, sizeof(ret->certificate),
			 TLS_FINGERPRINT_CERTIFICATE "%s", hex);
	if (!is_certificate)
		snprintf(ret->key, sizeof(ret->key), TLS_FINGERPRINT_KEY "%s", hex);
	return 0;
}
