/*
 * dane - records against a chain
 *
 * A trust anchor of DNS is good for this session alone, so it is not for the
 * context that all sessions share: the chain below it is checked anew, by a
 * context of its own that knows nothing but the anchor, and each CA that was
 * found good on the way down. The names of the issuers lead there; that a name
 * fits proves nothing, the signatures do.
 */
#include "tls/dane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"
#include "tls/session.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/hash.h>

/* RFC 7218 section 2.1 */
enum usage { USAGE_DANE_TA = 2, USAGE_DANE_EE = 3 };
enum selector { SELECTOR_CERTIFICATE = 0, SELECTOR_KEY = 1 };
enum matching { MATCHING_FULL = 0, MATCHING_SHA256 = 1, MATCHING_SHA512 = 2 };

#define SHA256_SIZE 32
#define SHA512_SIZE 64

static bool is_usable(const struct dns_tlsa *r)
{
	if (r->usage != USAGE_DANE_TA && r->usage != USAGE_DANE_EE)
		return false;
	if (r->selector != SELECTOR_CERTIFICATE && r->selector != SELECTOR_KEY)
		return false;
	switch (r->matching) {
	case MATCHING_FULL:
		return r->data.len > 0;
	case MATCHING_SHA256:
		return r->data.len == SHA256_SIZE;
	case MATCHING_SHA512:
		return r->data.len == SHA512_SIZE;
	default:
		return false;
	}
}

/* Whether another record says the same with a stronger digest. */
static bool is_outdone(const struct dns_tlsa *r, const struct dns_tlsa *records, size_t count)
{
	for (size_t i = 0; i < count && r->matching == MATCHING_SHA256; i++) {
		if (is_usable(&records[i]) && records[i].matching == MATCHING_SHA512 &&
		    records[i].usage == r->usage && records[i].selector == r->selector)
			return true;
	}
	return false;
}

struct tls_dane *tls_dane_new(const struct dns_tlsa *records, size_t count, const char *base)
{
	struct tls_dane *dane = memory_zeroed(sizeof(*dane));
	struct dns_tlsa *list = arena_alloc(&dane->arena, count * sizeof(*list));

	for (size_t i = 0; i < count; i++) {
		struct dns_tlsa *copy = &list[dane->count];

		if (!is_usable(&records[i]) || is_outdone(&records[i], records, count))
			continue;
		*copy = records[i];
		copy->data = slice_of(arena_slicedup(&dane->arena, copy->data), copy->data.len);
		dane->count++;
	}
	dane->records = list;
	dane->base = arena_strdup(&dane->arena, base);
	if (dane->count > 0)
		return dane;
	tls_dane_free(dane);
	return NULL;
}

void tls_dane_free(struct tls_dane *dane)
{
	if (!dane)
		return;
	arena_done(&dane->arena);
	free(dane);
}

static bool is_digest(const struct dns_tlsa *r, struct slice bytes)
{
	unsigned char digest[SHA512_SIZE];
	const unsigned char *in = (const unsigned char *)bytes.ptr;
	int status = r->matching == MATCHING_SHA256 ? wc_Sha256Hash(in, (word32)bytes.len, digest)
						    : wc_Sha512Hash(in, (word32)bytes.len, digest);

	return status == 0 && memcmp(digest, r->data.ptr, r->data.len) == 0;
}

static bool is_meant(const struct dns_tlsa *r, const struct certs_certificate *c)
{
	struct slice bytes = r->selector == SELECTOR_KEY ? c->public_key : c->der;

	return r->matching == MATCHING_FULL ? slice_equal(r->data, bytes) : is_digest(r, bytes);
}

static bool is_any_meant(const struct tls_dane *dane, enum usage usage,
			 const struct certs_certificate *c)
{
	for (unsigned int i = 0; i < dane->count; i++) {
		if (dane->records[i].usage == usage && is_meant(&dane->records[i], c))
			return true;
	}
	return false;
}

bool tls_dane_is_leaf(const struct tls_dane *dane, const struct certs_certificate *leaf)
{
	return is_any_meant(dane, USAGE_DANE_EE, leaf);
}

/* ---- below a trust anchor ---- */

struct path {
	const struct certs_certificate *steps[TLS_CHAIN_MAX]; /* the leaf first, the anchor last */
	unsigned int count;
};

static const struct certs_certificate *find_issuer(const struct certs_certificate *c,
						   const struct certs_certificate *chain,
						   unsigned int count)
{
	for (unsigned int i = 1; i < count; i++) {
		if (&chain[i] != c && chain[i].is_ca && slice_equal(chain[i].subject, c->issuer))
			return &chain[i];
	}
	return NULL;
}

/* From the leaf up to the first certificate that a record means. */
static bool find_path(const struct tls_dane *dane, const struct certs_certificate *chain,
		      unsigned int count, struct path *ret)
{
	ret->steps[0] = &chain[0];
	for (ret->count = 1; ret->count < count; ret->count++) {
		const struct certs_certificate *issuer =
			find_issuer(ret->steps[ret->count - 1], chain, count);

		if (!issuer)
			return false;
		ret->steps[ret->count] = issuer;
		if (is_any_meant(dane, USAGE_DANE_TA, issuer)) {
			ret->count++;
			return true;
		}
	}
	return false;
}

static bool is_in_time(const struct certs_certificate *c, int64_t now_s)
{
	return c->not_before_s <= now_s && now_s <= c->not_after_s;
}

/* Also those that have ended, and intermediate ones: who is let in is decided before. */
static bool trust(WOLFSSL_CTX *ctx, const struct certs_certificate *c)
{
	return wolfSSL_CTX_load_verify_buffer_ex(ctx, (const unsigned char *)c->der.ptr,
						 (long)c->der.len, WOLFSSL_FILETYPE_ASN1, 0,
						 WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) ==
		       WOLFSSL_SUCCESS &&
	       /* CVE-2026-93302, see context.c */
	       wolfSSL_CTX_Unload_trust_peers(ctx) == WOLFSSL_SUCCESS;
}

/* Each is signed by the one above it, with what that one may sign. */
static bool are_signatures_good(const struct path *path)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
	unsigned int i = path->count - 1;
	bool is_good;

	if (!ctx)
		return false;
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
	is_good = wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CERTS_RSA_BITS_MIN) == WOLFSSL_SUCCESS &&
		  wolfSSL_CTX_SetMinEccKey_Sz(ctx, CERTS_ECC_BITS_MIN) == WOLFSSL_SUCCESS &&
		  trust(ctx, path->steps[i]);
	while (is_good && i-- > 0) {
		const struct certs_certificate *c = path->steps[i];

		is_good = wolfSSL_CertManagerVerifyBuffer(wolfSSL_CTX_GetCertManager(ctx),
							  (const unsigned char *)c->der.ptr,
							  (long)c->der.len,
							  WOLFSSL_FILETYPE_ASN1) == WOLFSSL_SUCCESS;
		if (is_good && i > 0)
			is_good = trust(ctx, c);
	}
	wolfSSL_CTX_free(ctx);
	return is_good;
}

static bool has_anchor_records(const struct tls_dane *dane)
{
	for (unsigned int i = 0; i < dane->count; i++) {
		if (dane->records[i].usage == USAGE_DANE_TA)
			return true;
	}
	return false;
}

bool tls_dane_is_signed(const struct tls_dane *dane, const struct certs_certificate *chain,
			unsigned int count, int64_t now_s, char *trouble, size_t size)
{
	struct path path;

	if (!has_anchor_records(dane) || !find_path(dane, chain, count, &path))
		return false;
	for (unsigned int i = 0; i < path.count; i++) {
		if (is_in_time(path.steps[i], now_s))
			continue;
		snprintf(trouble, size, "%s is not within its dates",
			 i == 0 ? "certificate" : "a CA above the certificate");
		return false;
	}
	if (!chain[0].is_for_servers) {
		snprintf(trouble, size, "certificate may not be used by a server");
		return false;
	}
	if (!are_signatures_good(&path)) {
		snprintf(trouble, size,
			 "signature of the certificate or of a CA above it is wrong");
		return false;
	}
	return true;
}
