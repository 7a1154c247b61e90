/*
 * identity - a certificate with its chain and its private key, read and checked
 *
 * Loading fails, with the file named, when something could not work: files
 * that cannot be read, no PEM inside, a key that does not fit the certificate.
 * An expired certificate loads (mail would stop otherwise); ask
 * certs_info_days_left(). Immutable after loading; safe on any thread.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "base/slice.h"

struct certs_identity;

/* key_file NULL or "": the key is in cert_file too, as in Postfix. */
int certs_identity_load(const char *cert_file, const char *key_file,
			struct certs_identity **ret_identity, struct error *err);

/* A new certificate for the key of another, whose file need not be readable any more. */
int certs_identity_renew(const char *cert_file, const char *key_file,
			 const struct certs_identity *previous,
			 struct certs_identity **ret_identity, struct error *err);
void certs_identity_free(struct certs_identity *identity); /* wipes the key */
DEFINE_CLEANUP(struct certs_identity *, certs_identity_free);

struct slice certs_identity_chain_pem(const struct certs_identity *identity);
struct slice certs_identity_key_pem(const struct certs_identity *identity);

/* What a peer must know to be shown the certificate: a signature algorithm for each. */
enum certs_key_kind {
	CERTS_KEY_RSA,
	CERTS_KEY_P256,
	CERTS_KEY_P384,
	CERTS_KEY_EC, /* another curve: P-521 */
	CERTS_KEY_KINDS,
};

enum certs_key_kind certs_identity_key_kind(const struct certs_identity *identity);

/* What a certificate says of itself. */
struct certs_info {
	char subject[256];		   /* escaped common name, or the first name, or "" */
	int64_t not_before_s, not_after_s; /* Unix seconds */
	char sha256[65];		   /* fingerprint of the DER, lower-case hex */
};

/* Days until not_after, negative when it has passed. */
int64_t certs_info_days_left(const struct certs_info *info, int64_t now_s);

const struct certs_info *certs_identity_info(const struct certs_identity *identity); /* the leaf */

/* Whom we trust: a file with one or more CA certificates in PEM. */
struct certs_trust;

int certs_trust_load(const char *ca_file, struct certs_trust **ret_trust, struct error *err);
void certs_trust_free(struct certs_trust *trust);
DEFINE_CLEANUP(struct certs_trust *, certs_trust_free);
struct slice certs_trust_pem(const struct certs_trust *trust);
struct slice certs_trust_der(const struct certs_trust *trust); /* one behind the other */
unsigned int certs_trust_count(const struct certs_trust *trust);
