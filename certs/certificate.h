/*
 * certificate - what an X.509 certificate says of itself (RFC 5280)
 *
 * Reading proves nothing: whether to believe it is for a chain check. Slices
 * point into the DER that was given.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"
#include "certs/identity.h"

/* Shorter keys are refused, ours and others'. */
#define CERTS_RSA_BITS_MIN 2048
#define CERTS_ECC_BITS_MIN 256

struct certs_certificate {
	struct slice der;
	struct slice issuer, subject;	   /* Names, as DER; equal when their bytes are */
	int64_t not_before_s, not_after_s; /* Unix seconds */
	struct slice public_key;	   /* SubjectPublicKeyInfo, as DER */
	struct slice alt_names;		   /* see certs_next_name() */
	struct slice key_id;		   /* subjectKeyIdentifier; empty: has none */
	bool is_ca;			   /* by basicConstraints; of version 1: self-issued */
	bool is_for_clients;		   /* extendedKeyUsage has clientAuth, or there is none */
	bool is_for_servers;		   /* the same of serverAuth */
};

/* der is one certificate and nothing else. */
int certs_certificate_parse(struct slice der, struct certs_certificate *ret, struct error *err);

enum certs_name_type {
	CERTS_NAME_DNS,	    /* text: the name as it is written, may start with "*." */
	CERTS_NAME_ADDRESS, /* text: 4 or 16 bytes in network order */
};

struct certs_name {
	enum certs_name_type type;
	struct slice text;
};

/*
 * Next DNS name or address of subjectAltName; *cursor starts as alt_names.
 * A name that holds bytes that no DNS name has (NUL above all) is left out.
 */
bool certs_next_name(struct slice *cursor, struct certs_name *ret_name);

/*
 * Next e-mail address of it (rfc822Name), the same way: printable ASCII, without
 * blanks, and with an @ in it.
 */
bool certs_next_email(struct slice *cursor, struct slice *ret);

/* The last common name of a Name, false when it has none. Any bytes: escape it to show it. */
bool certs_common_name(struct slice name, struct slice *ret);

/* Short text for people: "CN=Some CA", else "O=...", escaped; "" when there is neither. */
const char *certs_name_show(struct slice name, char *out, size_t out_size);

/* "sha256" of der in lower-case hex. */
void certs_fingerprint(struct slice der, char out[65]);

void certs_certificate_info(const struct certs_certificate *certificate,
			    struct certs_info *ret_info);
