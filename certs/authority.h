/*
 * authority - a CA of our own, which makes certificates for hubs and edges
 *
 * The certificates pass the strict checks of RFC 5280 (`openssl verify
 * -x509_strict`). Those that are issued are good for servers and for clients,
 * since every Posthouse is both.
 */
#pragma once

#include <stdint.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "certs/certificate.h"
#include "certs/key.h"

struct certs_authority;

struct certs_period {
	int64_t not_before_s, not_after_s; /* Unix seconds, both of it included */
};

/* Make one, with a new key. name NULL: "Posthouse CA" and a few digits of its key. */
int certs_authority_new(const char *name, const struct certs_period *period,
			struct certs_authority **ret_authority, struct error *err);

/* Any CA whose key fits it. key_file NULL: the key is in cert_file. */
int certs_authority_load(const char *cert_file, const char *key_file,
			 struct certs_authority **ret_authority, struct error *err);

void certs_authority_free(struct certs_authority *a); /* NULL is fine; wipes the key */
DEFINE_CLEANUP(struct certs_authority *, certs_authority_free);

struct slice certs_authority_pem(const struct certs_authority *a);
struct slice certs_authority_key_pem(const struct certs_authority *a);
const struct certs_certificate *certs_authority_certificate(const struct certs_authority *a);

/*
 * Whether a certificate may have this name: a DNS name in ASCII, which may
 * start with "*.", or an address. The error says what is wrong.
 */
int certs_name_check(const char *name, struct error *err);

struct certs_request {
	const char *const *names; /* of the host, each of which passes certs_name_check() */
	unsigned int name_count;  /* at least one */
	struct slice public_key;  /* SubjectPublicKeyInfo, as DER */
	struct certs_period period;
};

/*
 * Append the certificate in PEM, and that of the CA where it is an
 * intermediate one, which servers have to send along.
 */
int certs_authority_issue(struct certs_authority *a, const struct certs_request *request,
			  struct buf *out, struct error *err);
