/*
 * verify - the verdict on a server's certificate
 *
 * The chain and the names are looked at whatever the policy says, and the
 * result is recorded; only where the policy requires it does the handshake
 * fail for it. At level fingerprint neither counts, but the list alone; with
 * DANE the records of DNS, for which see tls/dane.h.
 */
#pragma once

#include "tls/anchors.h"
#include "tls/names.h"
#include "tls/session.h"

struct WOLFSSL;

struct tls_verify {
	const struct tls_anchors *anchors;
	struct tls_names names;
	const struct tls_policy *policy;
	bool is_required; /* to be verified */
	bool is_judged;	  /* in this handshake; a resumed one shows no certificate */
	bool is_pinned;	  /* what the policy has of fingerprints or of DANE means it */
	bool is_met;	  /* ... was looked at */
	char pin_trouble[256];
	struct tls_chain *chain; /* gets a copy of what the peer shows; NULL: not needed */
	struct tls_facts *facts; /* has_peer_cert and what follows are filled in */

	/* On a server's side: the client's goes here; names don't matter. NULL on a client's. */
	struct buf *client_certificate;
};

/* verify and what it points to live as long as the handshake. */
void tls_verify_attach(struct tls_verify *verify, struct WOLFSSL *ssl);
