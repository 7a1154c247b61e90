/* policy_internal - what the files that read policies share; for this folder alone */
#pragma once

#include "base/nearest.h"
#include "tls/policy.h"

#define TLS_PROTOCOLS_VALID "expected >=TLSv1.2, >=TLSv1.3, TLSv1.3 or a list like !SSLv3, !TLSv1"
#define TLS_WHITE_SPACE	    "\t\r\n "

/* The known name nearest to text, for "did you mean", or NULL. */
static inline const char *tls_did_you_mean(struct slice text, const char *const *names,
					   size_t count)
{
	char typed[64];

	if (!slice_copy(text, typed, sizeof(typed)))
		return NULL;
	return nearest_name(typed, names, count);
}
