/* writer - one certificate, as DER, for authority.c */
#pragma once

#include "certs/authority.h"

#define WRITER_KEY_ID_SIZE 20

struct writer_draft {
	struct certs_period period;
	struct slice issuer, subject; /* Names, as DER */
	struct slice issuer_key_id;
	struct slice public_key; /* SubjectPublicKeyInfo, as DER */
	struct slice alt_names;	 /* GeneralNames, as DER; empty: it is a CA */
};

/* Append the certificate, signed by the issuer's key. */
int writer_certificate(const struct writer_draft *draft, struct certs_key *key, struct buf *out,
		       struct error *err);

/* Append a Name with one common name; with none where it is empty. */
void writer_name(struct buf *out, struct slice common_name);

/* What subjectKeyIdentifier says of a key. */
void writer_key_id(struct slice public_key, unsigned char out[WRITER_KEY_ID_SIZE]);
