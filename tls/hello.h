/*
 * hello - what a client's first message says of what it wants (RFC 8446 section 4.1.2)
 *
 * Read before the library gets to see it, to choose the certificate to show.
 * It judges nothing: what it can't read, it reports as not said, and leaves
 * the rest to the library.
 */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "certs/identity.h"

/* A client that says more before it has finished is served without having been heard. */
#define TLS_HELLO_MAX 32768

struct tls_hello {
	char server_name[256]; /* SNI (RFC 6066 section 3), lower case; "": none, or no DNS name */
	bool has_alpn;	       /* it offers application protocols (RFC 7301) */
	bool has_smtp;	       /* and "smtp" is one of them */
	bool is_psk_alone;     /* it would resume without a fresh key exchange, or not at all */
	bool takes[CERTS_KEY_KINDS]; /* certificates with a key of this kind */
};

enum tls_hello_outcome {
	TLS_HELLO_DONE = 0,
	TLS_HELLO_PARTIAL = 1, /* more bytes are needed */
};

/* wire: all that the client has sent, from its first byte on. */
int tls_hello_read(struct slice wire, struct tls_hello *ret);
