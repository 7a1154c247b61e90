/*
 * inspect - signatures are checked from the end of a chain: each certificate
 * that is good and a CA's may then vouch for the one in front of it
 *
 * A context of the library keeps every CA that it is given, so there is one
 * for each question, and what is trusted is forgotten with it. Loading
 * makes CAs "trusted peers" in Debian's build, which a forged clone passes
 * for; they are unloaded (CVE-2026-93302, docs/tls.md).
 */
#include "certs/inspect.h"

#include <stdio.h>

#include "certs/der.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define OID_EC	    "\x2a\x86\x48\xce\x3d\x02\x01"
#define OID_RSA	    "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_ED25519 "\x2b\x65\x70"
#define OID_ED448   "\x2b\x65\x71"
#define OID_P256    "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_P384    "\x2b\x81\x04\x00\x22"
#define OID_P521    "\x2b\x81\x04\x00\x23"

/* ---- keys ---- */

/* The bits of an RSA modulus, the first INTEGER of what the BIT STRING holds. */
static unsigned int rsa_bits(struct slice key)
{
	struct slice bits, numbers, modulus;

	if (!der_take(&key, DER_BIT_STRING, &bits))
		return 0;
	bits = slice_skip(bits, 1);
	if (!der_take(&bits, DER_SEQUENCE, &numbers) || !der_take(&numbers, DER_INTEGER, &modulus))
		return 0;
	while (modulus.len > 0 && modulus.ptr[0] == 0)
		modulus = slice_skip(modulus, 1);
	if (modulus.len == 0)
		return 0;
	return (unsigned int)modulus.len * 8 -
	       (unsigned int)__builtin_clz((unsigned char)modulus.ptr[0]) + 24;
}

static const char *curve_name(struct slice algorithm)
{
	struct slice curve;

	if (!der_take(&algorithm, DER_OID, &curve))
		return "EC";
	if (slice_equal(curve, SLICE(OID_P256)))
		return "EC P-256";
	if (slice_equal(curve, SLICE(OID_P384)))
		return "EC P-384";
	return slice_equal(curve, SLICE(OID_P521)) ? "EC P-521" : "EC";
}

const char *certs_key_type(struct slice public_key, char *out, size_t out_size)
{
	struct slice info, algorithm, oid;
	const char *name = "unknown";

	if (der_take(&public_key, DER_SEQUENCE, &info) &&
	    der_take(&info, DER_SEQUENCE, &algorithm) && der_take(&algorithm, DER_OID, &oid)) {
		if (slice_equal(oid, SLICE(OID_RSA))) {
			snprintf(out, out_size, "RSA %u", rsa_bits(info));
			return out;
		}
		if (slice_equal(oid, SLICE(OID_EC)))
			name = curve_name(algorithm);
		else if (slice_equal(oid, SLICE(OID_ED25519)))
			name = "Ed25519";
		else if (slice_equal(oid, SLICE(OID_ED448)))
			name = "Ed448";
	}
	snprintf(out, out_size, "%s", name);
	return out;
}

/* ---- chains ---- */

static void add_ca(WOLFSSL_CTX *ctx, struct slice der)
{
	/* One that the library can't use vouches for nobody; that is found out below. */
	wolfSSL_CTX_load_verify_buffer_ex(ctx, (const unsigned char *)der.ptr, (long)der.len,
					  WOLFSSL_FILETYPE_ASN1, 0,
					  WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
	wolfSSL_CTX_Unload_trust_peers(ctx);
}

static bool is_date_error(int code)
{
	return code == ASN_BEFORE_DATE_E || code == ASN_AFTER_DATE_E;
}

static void describe(const struct certs_certificate *chain, unsigned int i, unsigned int count,
		     bool has_trust, int code, char *out, size_t size)
{
	const struct certs_certificate *c = &chain[i];
	char subject[96], issuer[96];

	certs_name_show(c->subject, subject, sizeof(subject));
	certs_name_show(c->issuer, issuer, sizeof(issuer));
	if (code == ASN_NO_SIGNER_E && i + 1 < count && !has_trust)
		snprintf(out, size,
			 "certificate %u (%s) is not signed by the one behind it (issuer %s)",
			 i + 1, subject, issuer);
	else if (code == ASN_NO_SIGNER_E || code == ASN_SELF_SIGNED_E)
		snprintf(out, size, "certificate %u (%s) is signed by an unknown CA (issuer %s)",
			 i + 1, subject, issuer);
	else if (code == ASN_SIG_CONFIRM_E)
		snprintf(out, size, "signature of certificate %u (%s) is wrong (issuer %s)", i + 1,
			 subject, issuer);
	else
		snprintf(out, size, "certificate %u (%s) is not good: %s (wolfSSL error %d)", i + 1,
			 subject, wolfSSL_ERR_reason_error_string((unsigned long)code), code);
}

static bool is_in(struct slice der, const struct certs_trust *trust)
{
	struct slice rest = certs_trust_der(trust);
	struct der_item item;

	while (der_next(&rest, &item))
		if (slice_equal(item.whole, der))
			return true;
	return false;
}

static bool check(WOLFSSL_CTX *ctx, const struct certs_certificate *chain, unsigned int count,
		  const struct certs_trust *trust, char *trouble, size_t size)
{
	WOLFSSL_CERT_MANAGER *manager = wolfSSL_CTX_GetCertManager(ctx);

	for (unsigned int i = count; i-- > 0;) {
		struct slice der = chain[i].der;
		bool is_given = trust ? is_in(der, trust) : i + 1 == count;
		int code = WOLFSSL_SUCCESS;

		if (!is_given)
			code = wolfSSL_CertManagerVerifyBuffer(manager,
							       (const unsigned char *)der.ptr,
							       (long)der.len,
							       WOLFSSL_FILETYPE_ASN1);
		if (code != WOLFSSL_SUCCESS && !is_date_error(code)) {
			describe(chain, i, count, trust != NULL, code, trouble, size);
			return false;
		}
		if (chain[i].is_ca)
			add_ca(ctx, der);
	}
	return true;
}

bool certs_chain_check(const struct certs_certificate *chain, unsigned int count,
		       const struct certs_trust *trust, char *trouble, size_t size)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
	struct slice rest = trust ? certs_trust_der(trust) : slice_of("", 0);
	struct der_item item;
	bool is_good;

	if (!ctx) {
		snprintf(trouble, size, "out of memory");
		return false;
	}
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL); /* or expired CAs are not taken */
	while (der_next(&rest, &item))
		add_ca(ctx, item.whole);
	is_good = check(ctx, chain, count, trust, trouble, size);
	wolfSSL_CTX_free(ctx);
	return is_good;
}
