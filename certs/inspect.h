/* inspect - what whoever looks at a certificate wants to know beside its fields */
#pragma once

#include "certs/certificate.h"
#include "certs/identity.h"

/* "EC P-256", "RSA 2048", "Ed25519"; "unknown". Of a SubjectPublicKeyInfo, as DER. */
const char *certs_key_type(struct slice public_key, char *out, size_t out_size);

/*
 * Whether each certificate is signed by the one behind it, or by one of trust
 * (NULL: the last one is taken as it is). Dates are not looked at. False:
 * trouble says what is wrong, escaped.
 */
bool certs_chain_check(const struct certs_certificate *chain, unsigned int count,
		       const struct certs_trust *trust, char *trouble, size_t size);
