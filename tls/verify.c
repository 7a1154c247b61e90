/*
 * verify - the library calls back for each certificate of the chain, from the
 * CA side down, the leaf last
 *
 * It says whether the signature, the dates and the constraints of that one
 * were fine. To answer that an error does not matter is the usual way to go on
 * where no verified peer is required, but then only the option
 * WOLFSSL_ALT_CERT_CHAINS, which Debian's build has, keeps a forged
 * intermediate CA out of the trust that all sessions of the context share
 * (AddCA in ProcessPeerCerts of 5.5.4). So the first error ends the checks of
 * this session instead, and then nothing is added in any build.
 */
#include "tls/verify.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/macros.h"
#include "tls/dane.h"
#include "tls/trouble.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

static int on_certificate(int ok, WOLFSSL_X509_STORE_CTX *store);

static int64_t now_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

static struct slice der_of(const WOLFSSL_X509_STORE_CTX *store, int i)
{
	return slice_of((const char *)store->certs[i].buffer, store->certs[i].length);
}

static void describe_date(const struct certs_certificate *c, const char *what, int64_t date_s,
			  bool is_leaf, char *out, size_t size)
{
	char name[64], date[TIME_RFC3339_SIZE];

	time_rfc3339(date_s * 1000, date);
	date[10] = '\0'; /* the day will do */
	if (is_leaf)
		snprintf(out, size, "certificate %s %s", what, date);
	else
		snprintf(out, size, "certificate of the CA (%s) %s %s",
			 certs_name_show(c->subject, name, sizeof(name)), what, date);
}

static void describe_issuer(const struct certs_certificate *c, const char *what, char *out,
			    size_t size)
{
	char name[64];

	snprintf(out, size, "%s (issuer %s)", what, certs_name_show(c->issuer, name, sizeof(name)));
}

/* Why this certificate of the chain failed, whatever is behind it. */
static void describe(const struct tls_verify *v, const struct certs_certificate *c, int code,
		     bool is_leaf, char *out, size_t size)
{
	const char *text;

	switch (code) {
	case X509_V_ERR_ERROR_IN_CERT_NOT_AFTER_FIELD:
		describe_date(c, "has expired on", c->not_after_s, is_leaf, out, size);
		return;
	case X509_V_ERR_ERROR_IN_CERT_NOT_BEFORE_FIELD:
		describe_date(c, "is not valid before", c->not_before_s, is_leaf, out, size);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
		describe_issuer(c, "self-signed certificate, not trusted here", out, size);
		return;
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
		describe_issuer(c, v->anchors->count ? "unknown CA" : "no trusted CA is configured",
				out, size);
		return;
	default:
		break;
	}
	text = tls_verify_trouble(code);
	if (code == EXTKEYUSE_AUTH_E && v->client_certificate)
		text = "certificate may not be used by a client";
	if (text)
		describe_issuer(c, text, out, size);
	else
		snprintf(out, size, "certificate is not good: %s (wolfSSL error %d)",
			 wolfSSL_ERR_reason_error_string((unsigned long)code), code);
}

static void note_trouble(struct tls_verify *v, const WOLFSSL_X509_STORE_CTX *store)
{
	struct certs_certificate c;
	int i = store->error_depth;

	if (v->facts->trouble[0]) /* the first one is the cause of those that follow */
		return;
	if (certs_certificate_parse(der_of(store, i), &c, NULL) < 0)
		snprintf(v->facts->trouble, sizeof(v->facts->trouble), "damaged certificate");
	else
		describe(v, &c, store->error, i == 0, v->facts->trouble, sizeof(v->facts->trouble));
}

static void note_fingerprints(struct tls_facts *facts, const struct certs_certificate *leaf)
{
	char hex[65];

	certs_fingerprint(leaf->der, hex);
	snprintf(facts->fingerprint, sizeof(facts->fingerprint), TLS_FINGERPRINT_CERTIFICATE "%s",
		 hex);
	certs_fingerprint(leaf->public_key, hex);
	snprintf(facts->pubkey_fingerprint, sizeof(facts->pubkey_fingerprint),
		 TLS_FINGERPRINT_KEY "%s", hex);
}

static bool is_listed(const struct tls_policy *policy, const struct tls_facts *facts)
{
	for (unsigned int i = 0; i < policy->fingerprint_count; i++) {
		const char *wanted = policy->fingerprints[i];

		if (strcmp(wanted, facts->fingerprint) == 0 ||
		    strcmp(wanted, facts->pubkey_fingerprint) == 0)
			return true;
	}
	return false;
}

static void copy_chain(const WOLFSSL_X509_STORE_CTX *store, struct tls_chain *chain)
{
	for (int i = 0; i < store->totalCerts && chain->count < TLS_CHAIN_MAX; i++) {
		struct slice der = der_of(store, i);
		char *copy = arena_alloc(&chain->arena, der.len);

		memcpy(copy, der.ptr, der.len);
		chain->certificates[chain->count++] = slice_of(copy, der.len);
	}
}

/*
 * What the leaf alone says, at the first call, whichever certificate it is
 * for: where the chain does not matter, no later call may be waited for.
 */
static void note_peer(struct tls_verify *v, const WOLFSSL_X509_STORE_CTX *store)
{
	struct tls_facts *facts = v->facts;
	struct certs_certificate leaf;

	if (facts->has_peer_cert)
		return;
	facts->has_peer_cert = true;
	if (v->chain)
		copy_chain(store, v->chain);
	if (certs_certificate_parse(der_of(store, 0), &leaf, NULL) < 0)
		return;
	note_fingerprints(facts, &leaf);
	facts->not_after_s = leaf.not_after_s;
	tls_names_first(&leaf, facts->peer_name, sizeof(facts->peer_name));
}

/* Reads what it can of the chain; unreadable ones count as absent, but for the leaf. */
static unsigned int read_chain(const WOLFSSL_X509_STORE_CTX *store,
			       struct certs_certificate chain[TLS_CHAIN_MAX])
{
	unsigned int count = 0;

	for (int i = 0; i < store->totalCerts && i < TLS_CHAIN_MAX; i++) {
		if (certs_certificate_parse(der_of(store, i), &chain[count], NULL) == 0)
			count++;
		else if (i == 0)
			return 0;
	}
	return count;
}

/* The signatures are known to be good when there was no trouble so far. */
static void judge_chain(struct tls_verify *v, const WOLFSSL_X509_STORE_CTX *store)
{
	struct certs_certificate chain[TLS_CHAIN_MAX];
	struct tls_facts *facts = v->facts;
	unsigned int count = read_chain(store, chain);
	bool is_named;

	if (count == 0) {
		snprintf(facts->trouble, sizeof(facts->trouble), "damaged certificate");
		return;
	}
	is_named =
		!v->client_certificate &&
		tls_names_accept(&v->names, &chain[0], facts->peer_name, sizeof(facts->peer_name));
	facts->trusted =
		!facts->trouble[0] && tls_anchors_reach(v->anchors, chain, count, now_s(),
							facts->trouble, sizeof(facts->trouble));
	if (v->client_certificate) {
		buf_clear(v->client_certificate);
		buf_append_slice(v->client_certificate, chain[0].der);
		is_named = true; /* whatever it is called: rights are another question */
	}
	facts->verified = facts->trusted && is_named;
	facts->verified_by = facts->verified ? "ca" : "";
	if (facts->trusted && !is_named)
		tls_names_mismatch(&v->names, &chain[0], facts->trouble, sizeof(facts->trouble));
}

/* Whether it is by itself that the peer is verified, whatever the library says of the chain. */
static bool is_by_pin(const struct tls_verify *v)
{
	return v->policy->level == TLS_LEVEL_FINGERPRINT || v->policy->level == TLS_LEVEL_DANE ||
	       v->policy->level == TLS_LEVEL_DANE_ONLY;
}

static bool meets_dane(struct tls_verify *v, const struct certs_certificate *chain,
		       unsigned int count, char *trouble, size_t size)
{
	struct tls_facts *facts = v->facts;

	if (!v->policy->dane) {
		snprintf(trouble, size, "there is no TLSA record to verify it by");
		return false;
	}
	if (tls_dane_is_leaf(v->policy->dane, &chain[0]))
		return true;
	snprintf(trouble, size, "certificate is none that the TLSA records mean (it is %s)",
		 facts->fingerprint);
	if (!tls_dane_is_signed(v->policy->dane, chain, count, now_s(), trouble, size))
		return false;
	if (tls_names_accept(&v->names, &chain[0], facts->peer_name, sizeof(facts->peer_name)))
		return true;
	tls_names_mismatch(&v->names, &chain[0], trouble, size);
	return false;
}

static bool has_pin(const struct tls_policy *policy, const char *kind)
{
	for (unsigned int i = 0; i < policy->fingerprint_count; i++)
		if (strncmp(policy->fingerprints[i], kind, strlen(kind)) == 0)
			return true;
	return false;
}

/* The trouble names what may be compared with the list, or go there: of keys, where it has keys. */
static bool meets_fingerprints(const struct tls_verify *v, char *trouble, size_t size)
{
	const struct tls_facts *facts = v->facts;
	bool has_key = has_pin(v->policy, TLS_FINGERPRINT_KEY);
	bool has_certificate = has_pin(v->policy, TLS_FINGERPRINT_CERTIFICATE) || !has_key;

	snprintf(trouble, size, "certificate is none of those of fingerprint= (%s%s%s%s%s)",
		 has_certificate ? "it is " : "", has_certificate ? facts->fingerprint : "",
		 has_certificate && has_key ? ", " : "", has_key ? "its key is " : "",
		 has_key ? facts->pubkey_fingerprint : "");
	return is_listed(v->policy, v->facts);
}

/* At the first call, for the same reason as note_peer(). */
static void meet(struct tls_verify *v, const WOLFSSL_X509_STORE_CTX *store)
{
	struct certs_certificate chain[TLS_CHAIN_MAX];
	unsigned int count = read_chain(store, chain);

	if (!is_by_pin(v) || v->is_met)
		return;
	v->is_met = true;
	if (count == 0)
		snprintf(v->pin_trouble, sizeof(v->pin_trouble), "damaged certificate");
	else if (v->policy->level == TLS_LEVEL_FINGERPRINT)
		v->is_pinned = meets_fingerprints(v, v->pin_trouble, sizeof(v->pin_trouble));
	else
		v->is_pinned = meets_dane(v, chain, count, v->pin_trouble, sizeof(v->pin_trouble));
}

/* That is all that counts, in both directions. */
static void judge_pin(struct tls_verify *v)
{
	struct tls_facts *facts = v->facts;

	facts->verified = v->is_pinned;
	facts->verified_by = !v->is_pinned				 ? ""
			     : v->policy->level == TLS_LEVEL_FINGERPRINT ? "fingerprint"
									 : "dane";
	snprintf(facts->trouble, sizeof(facts->trouble), "%s", v->is_pinned ? "" : v->pin_trouble);
}

static void judge(struct tls_verify *v, const WOLFSSL_X509_STORE_CTX *store)
{
	v->is_judged = true;
	judge_chain(v, store);
	if (is_by_pin(v))
		judge_pin(v);
}

/* Whether a handshake that requires a verified peer goes on after this certificate. */
static bool may_go_on(struct tls_verify *v, bool is_leaf, bool ok)
{
	if (is_by_pin(v)) {
		if (!v->is_pinned)
			judge_pin(v);
		return v->is_pinned;
	}
	return is_leaf ? v->facts->verified : ok;
}

/*
 * To check nothing also means to ask for no proof that the peer has the key
 * of its certificate, which a server's client may then leave out. So a server
 * goes back to checking before that proof is due, and so does a client whose
 * peer is verified by its certificate alone.
 */
static void set_mode(const struct tls_verify *v, WOLFSSL *ssl, int mode)
{
	if (mode != WOLFSSL_VERIFY_NONE && v->client_certificate && v->is_required)
		mode |= WOLFSSL_VERIFY_FAIL_IF_NO_PEER_CERT;
	wolfSSL_set_verify(ssl, mode, on_certificate);
}

static int on_certificate(int ok, WOLFSSL_X509_STORE_CTX *store)
{
	struct tls_verify *v = store->userCtx;
	WOLFSSL *ssl =
		wolfSSL_X509_STORE_CTX_get_ex_data(store, wolfSSL_get_ex_data_X509_STORE_CTX_idx());
	bool is_leaf = store->error_depth == 0;

	if (store->totalCerts == 0) { /* a client's way to say that it has none */
		if (v->is_required)
			snprintf(v->facts->trouble, sizeof(v->facts->trouble),
				 "the peer sent no certificate");
		return !v->is_required;
	}
	note_peer(v, store);
	meet(v, store);
	if (ok != 1)
		note_trouble(v, store);
	if (is_leaf)
		judge(v, store);

	if (v->is_required && !may_go_on(v, is_leaf, ok == 1))
		return 0;
	if (is_leaf && (v->client_certificate || v->is_pinned))
		set_mode(v, ssl, WOLFSSL_VERIFY_PEER);
	else if (ok != 1)
		set_mode(v, ssl, WOLFSSL_VERIFY_NONE);
	return 1;
}

void tls_verify_attach(struct tls_verify *verify, struct WOLFSSL *ssl)
{
	wolfSSL_SetCertCbCtx(ssl, verify);
	/* A name check of the library's has no effect without this, nor has any other. */
	set_mode(verify, ssl, WOLFSSL_VERIFY_PEER);
}
