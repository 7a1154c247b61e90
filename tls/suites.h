/*
 * suites - the cipher suites that we take, and how we call them
 *
 * Of TLS 1.3 by IANA's names, of TLS 1.2 by OpenSSL's, which is what Postfix
 * and openssl print, and what operators search their logs for.
 */
#pragma once

#include "base/buf.h"

struct tls_suite {
	unsigned int id;	  /* IANA's number */
	const char *name;	  /* ours */
	const char *library_name; /* wolfSSL's */
	unsigned int bits;	  /* of the key */
};

/* NULL when it is none of ours. */
const struct tls_suite *tls_suite_find(unsigned int id);

/* Append all of them for wolfSSL_CTX_set_cipher_list(), the preferred one first. */
void tls_suites_list(struct buf *out);
