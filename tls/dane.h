/*
 * dane - whether a server's certificate is the one that its TLSA records mean
 * (RFC 7672 and what it builds on)
 *
 * DANE-EE(3): the certificate or its key, whatever its dates and names.
 * DANE-TA(2): a CA that the server sends along and that has signed the
 * certificate, directly or by others, all within their dates; and a name. The
 * usages that need public CAs besides, PKIX-TA(0) and PKIX-EE(1), are of no
 * use in SMTP (RFC 7672 section 3.1.3).
 */
#pragma once

#include "certs/certificate.h"
#include "net/dns.h"
#include "tls/policy.h"

/* The usable records of a next hop; the strings are in the arena. */
struct tls_dane {
	struct arena arena;
	const struct dns_tlsa *records;
	unsigned int count;
	const char *base; /* TLSA base domain: SNI, and accepted as a name */
};

/*
 * A copy of those records that can be used; NULL: none can. Of several digests
 * for the same usage and selector the strongest alone (RFC 7671 section 9).
 */
struct tls_dane *tls_dane_new(const struct dns_tlsa *records, size_t count, const char *base);
void tls_dane_free(struct tls_dane *dane); /* NULL is fine */

/* Whether a record with usage DANE-EE means this certificate. */
bool tls_dane_is_leaf(const struct tls_dane *dane, const struct certs_certificate *leaf);

/*
 * Whether a record with usage DANE-TA means a CA of the chain (the leaf first)
 * that vouches for the leaf at now_s. Else trouble says why, if there is such a record.
 */
bool tls_dane_is_signed(const struct tls_dane *dane, const struct certs_certificate *chain,
			unsigned int count, int64_t now_s, char *trouble, size_t size);
