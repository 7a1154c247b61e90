/*
 * context - what all TLS sessions of one kind share: identity, trust, limits
 *
 * Made whole, then shared by all threads and never changed; a reload makes a
 * new one while old sessions keep theirs. Reference counted, atomically.
 * TLS 1.2 and 1.3, AEAD suites, X25519/P-256/P-384; ChaCha20-Poly1305 first.
 */
#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "certs/identity.h"
#include "tls/policy.h"

struct tls_context;

/* What a server shows to clients that ask for a name (SNI, RFC 6066 section 3). */
struct tls_host {
	const char *name; /* lower case; ".example": whatever is below it */

	/* At least one; of several kinds of keys, each client gets one that it knows, EC first. */
	const struct certs_identity *const *identities;
	unsigned int identity_count;
};

struct tls_context_options {
	const struct certs_identity *identity; /* servers: required; clients: NULL for none */
	const struct certs_trust *trust;       /* NULL: nobody can be verified */
	enum tls_version min_version;

	/* Servers: certificates beside identity, with other kinds of keys; and those by name. */
	const struct certs_identity *const *more_identities;
	unsigned int more_count;
	const struct tls_host *hosts;
	unsigned int host_count;
	bool ask_certificate;	      /* of clients, to be judged by trust */
	struct tls_context *previous; /* at a reload: whose tickets stay good; or NULL */
	const struct clock *clock;    /* for the age of ticket keys; NULL: the system's */
};

/*
 * What is passed in is copied into the context. The first context of a process
 * starts the library, which must not be done by two threads at a time.
 */
int tls_context_new_server(const struct tls_context_options *options,
			   struct tls_context **ret_context, struct error *err);
int tls_context_new_client(const struct tls_context_options *options,
			   struct tls_context **ret_context, struct error *err);
bool tls_context_asks_clients(const struct tls_context *context); /* for certificates */
struct tls_context *tls_context_ref(struct tls_context *context);
void tls_context_unref(struct tls_context *context); /* NULL is fine */
DEFINE_CLEANUP(struct tls_context *, tls_context_unref);

/* Call when a thread that used TLS ends: frees the library's caches of that thread. */
void tls_thread_done(void);
