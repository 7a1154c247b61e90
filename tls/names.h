/*
 * names - whether a certificate is for whom we wanted to talk to
 *
 * As Postfix does it: a name of the policy is matched whole, or by the
 * wildcard of a certificate that stands for exactly its first label; ".parent"
 * takes every name below parent. Addresses are matched with addresses. The
 * common name counts only where the certificate has no DNS names at all.
 */
#pragma once

#include "base/arena.h"
#include "certs/certificate.h"
#include "tls/policy.h"

/* The policy's names with "nexthop" and "hostname" replaced. */
struct tls_names {
	struct arena arena;
	const char **wanted;
	unsigned int count;
};

/*
 * nexthop: as the route has it; may be in brackets, or end with a dot. hostname:
 * what MX made of it; NULL: there was no MX, it is the next hop.
 */
void tls_names_init(struct tls_names *names, const struct tls_policy *policy, const char *nexthop,
		    const char *hostname);
void tls_names_done(struct tls_names *names);

/* Copies the name of the certificate that was accepted, escaped, to ret_name. */
bool tls_names_accept(const struct tls_names *names, const struct certs_certificate *leaf,
		      char *ret_name, size_t size);

/* The first name of the certificate, escaped; "" when it has none. */
void tls_names_first(const struct certs_certificate *leaf, char *out, size_t size);

/* "certificate is not for the name hub.example (it names: a, b)" */
void tls_names_mismatch(const struct tls_names *names, const struct certs_certificate *leaf,
			char *out, size_t size);

/* The host without brackets and final dot, in the arena. */
const char *tls_host_bare(const char *nexthop, struct arena *arena);
bool tls_host_is_address(const char *host);
