/*
 * pem - the blocks of a text file that holds certificates and keys (RFC 7468)
 *
 * Text between blocks is skipped, as openssl writes much of it.
 */
#pragma once

#include "base/buf.h"
#include "base/slice.h"

struct pem_block {
	struct slice label;  /* "CERTIFICATE" */
	struct slice text;   /* all of it, from the first dash to the end of the last line */
	struct slice base64; /* what is between, white space included */
	bool is_encrypted;   /* a private key behind a passphrase */
};

/* Take the next whole block from the front of *rest. */
bool pem_next(struct slice *rest, struct pem_block *ret_block);

/* Append what the block holds to out. False when it is no base64. */
bool pem_decode(const struct pem_block *block, struct buf *out);

/* Append a block with this label. out has grown once at most: no secret is left behind by that. */
void pem_encode(struct buf *out, const char *label, struct slice der);
