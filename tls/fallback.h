/*
 * fallback - what becomes of mail when the TLS of its route does not come about
 *
 * The one place that knows (docs/tls.md, "Levels"): delivery acts by it, and
 * explain tells it beforehand.
 */
#pragma once

#include "tls/policy.h"

enum tls_failure {
	TLS_FAILURE_NOT_OFFERED, /* no STARTTLS among what the peer announces */
	TLS_FAILURE_REFUSED,	 /* STARTTLS is answered with 4xx or 5xx */
	TLS_FAILURE_HANDSHAKE,	 /* or there is no TLS behind the port or the 220 */
};

enum tls_fallback {
	TLS_FALLBACK_NONE,	 /* nothing is sent: the next address is tried, or mail waits */
	TLS_FALLBACK_CLEAR,	 /* in the clear, over this connection */
	TLS_FALLBACK_CLEAR_ANEW, /* in the clear, over a new connection, at once */
};

/* For modes with TLS; the policy as it holds for this connection. */
enum tls_fallback tls_fallback(const struct tls_policy *policy, enum tls_mode mode,
			       enum tls_failure failure);
