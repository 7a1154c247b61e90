/*
 * Clear text comes after TLS_LEVEL_MAY only, and only where STARTTLS was to be
 * used: a port of implicit TLS has nothing to fall back to. After a failed
 * handshake the connection is of no more use to either side.
 */
#include "tls/fallback.h"

#include <assert.h>

enum tls_fallback tls_fallback(const struct tls_policy *policy, enum tls_mode mode,
			       enum tls_failure failure)
{
	assert(mode != TLS_MODE_NONE);
	if (policy->level > TLS_LEVEL_MAY || mode != TLS_MODE_STARTTLS)
		return TLS_FALLBACK_NONE;
	return failure == TLS_FAILURE_HANDSHAKE ? TLS_FALLBACK_CLEAR_ANEW : TLS_FALLBACK_CLEAR;
}
