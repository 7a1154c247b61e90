/*
 * policy - what TLS a route must have: the level, and what goes with it
 *
 * Levels have Postfix's names and meanings; docs/tls.md has the table.
 */
#pragma once

#include <stdbool.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/slice.h"

struct tls_dane; /* tls/dane.h */

enum tls_level {
	TLS_LEVEL_NONE,	       /* never TLS */
	TLS_LEVEL_MAY,	       /* TLS when offered; a failed handshake falls back to clear */
	TLS_LEVEL_ENCRYPT,     /* TLS or nothing; whoever the peer is */
	TLS_LEVEL_VERIFY,      /* TLS with a trusted chain, and a name that is accepted */
	TLS_LEVEL_SECURE,      /* as verify, with names that DNS has no say in */
	TLS_LEVEL_FINGERPRINT, /* a certificate or key of the list; no CA, no names, no dates */
	TLS_LEVEL_DANE,	       /* as TLSA records have it; without any: may */
	TLS_LEVEL_DANE_ONLY,   /* as TLSA records have it, or not at all */
};

enum tls_mode {
	TLS_MODE_NONE,	   /* in the clear */
	TLS_MODE_STARTTLS, /* RFC 3207 */
	TLS_MODE_IMPLICIT, /* RFC 8314: TLS from the first byte */
};

enum tls_version {
	TLS_VERSION_1_2,
	TLS_VERSION_1_3,
};

/* Immutable once made; strings belong to the arena that it was parsed into. */
struct tls_policy {
	enum tls_level level;
	enum tls_version min_version;

	/* Names accepted at verify and secure: "name", ".parent", "nexthop", "dot-nexthop", ... */
	const char *const *match;
	unsigned int
		match_count; /* 0: "hostname" at verify, "nexthop" and "dot-nexthop" at secure */

	/* "sha256:HEX" of a certificate, "pubkey-sha256:HEX" of a key; lower case, no colons. */
	const char *const *fingerprints;
	unsigned int fingerprint_count;

	/* For one connection at dane or dane-only: what DNS says; NULL: nobody is verified. */
	const struct tls_dane *dane;

	const char *servername; /* SNI; "nexthop"; NULL: that of the host, after MX */
	const char *source;	/* what decided the level: "ts:2", "main.conf:7", "default" */
};

const char *tls_level_name(enum tls_level level);
const char *tls_mode_name(enum tls_mode mode);

/* The error lists what is valid, and says which names are known but not built yet. */
int tls_level_parse(struct slice text, enum tls_level *ret, struct error *err);

/* ">=TLSv1.2", ">=TLSv1.3", "TLSv1.3" and Postfix's lists "!SSLv2, !SSLv3, !TLSv1, !TLSv1.1". */
int tls_protocols_parse(struct slice text, enum tls_version *ret_min, struct error *err);

/* One fingerprint in the form of struct tls_policy. */
#define TLS_FINGERPRINT_CERTIFICATE "sha256:"
#define TLS_FINGERPRINT_KEY	    "pubkey-sha256:"

struct tls_fingerprint {
	char certificate[72], key[80]; /* one or both; "" */
};

/*
 * "sha256:HEX" and "pubkey-sha256:HEX"; colons and case don't matter. HEX alone
 * may be either, as in Postfix.
 */
int tls_fingerprint_parse(struct slice text, struct tls_fingerprint *ret, struct error *err);

/*
 * Take attributes "tls=LEVEL match=NAME[:NAME...] fingerprint=...[|...]
 * protocols=... servername=NAME" separated by white space and change *policy
 * accordingly. What is not named stays. *ret_level_given tells whether tls=
 * was there. At level fingerprint match= is fingerprint=, as in Postfix.
 */
int tls_policy_parse(struct slice attributes, struct arena *arena, struct tls_policy *policy,
		     bool *ret_level_given, struct error *err);

/* The same from a line of smtp_tls_policy_maps, "LEVEL [match=...] ...". */
int tls_policy_parse_entry(struct slice value, struct arena *arena, struct tls_policy *policy,
			   struct error *err);

/* Whether the level asks who the peer is, and not only that TLS is spoken. */
bool tls_level_authenticates(enum tls_level level);

/* Whether envelope and message bytes may be sent over a connection in this state. */
bool tls_policy_permits(const struct tls_policy *policy, bool encrypted, bool verified);
