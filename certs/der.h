/*
 * der - one element of DER after another (X.690), never past the end
 *
 * Enough to find one's way through a certificate: definite lengths of up to
 * four bytes, tags of one byte.
 */
#pragma once

#include <stdbool.h>

#include "base/buf.h"

enum der_tag {
	DER_BOOLEAN = 0x01,
	DER_INTEGER = 0x02,
	DER_BIT_STRING = 0x03,
	DER_OCTET_STRING = 0x04,
	DER_OID = 0x06,
	DER_UTF8_STRING = 0x0c,
	DER_PRINTABLE_STRING = 0x13,
	DER_IA5_STRING = 0x16,
	DER_UTC_TIME = 0x17,
	DER_GENERALIZED_TIME = 0x18,
	DER_SEQUENCE = 0x30,
	DER_SET = 0x31,
	DER_CONTEXT = 0x80,	/* | number: primitive */
	DER_CONSTRUCTED = 0x20, /* | DER_CONTEXT | number */
};

struct der_item {
	unsigned char tag;
	struct slice content, whole; /* whole: with tag and length */
};

/* Take the first element of *rest. False, with *rest as it was, when there is no whole one. */
bool der_next(struct slice *rest, struct der_item *ret_item);

/* The same, only if it has this tag. */
bool der_take(struct slice *rest, unsigned int tag, struct slice *ret_content);

/*
 * Writing: what is appended to out between the two calls becomes the content
 * of one element. They nest.
 */
size_t der_begin(struct buf *out, unsigned int tag);
void der_end(struct buf *out, size_t begun);

/* A whole element. */
void der_put(struct buf *out, unsigned int tag, struct slice content);
