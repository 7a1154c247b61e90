/*
 * context - wolfSSL's own defaults are for browsers of old: a server without
 * a list of ciphers takes such without encryption and TLS 1.1, a client
 * verifies nothing
 *
 * So everything that matters is set here, in one place, before any session
 * exists. Servers resume by tickets alone: the library's table of session ids
 * has 33 places, and is one for all threads and contexts, so that a session of
 * an identity long replaced could be resumed from it.
 */
#include "tls/context_internal.h"

#include <errno.h>
#include <stdlib.h>

#include "base/macros.h"
#include "certs/der.h"
#include "tls/suites.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/hash.h>

int tls_version_number(enum tls_version version)
{
	return version == TLS_VERSION_1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;
}

static int set_protocol(WOLFSSL_CTX *ctx, enum tls_version min_version, struct error *err)
{
	int groups[] = { WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1 };
	struct buf suites = { 0 };
	bool done;

	tls_suites_list(&suites);
	buf_append(&suites, "", 1);
	done = wolfSSL_CTX_SetMinVersion(ctx, tls_version_number(min_version)) == WOLFSSL_SUCCESS &&
	       wolfSSL_CTX_set_cipher_list(ctx, buf_slice(&suites).ptr) == WOLFSSL_SUCCESS &&
	       wolfSSL_CTX_set_groups(ctx, groups, ARRAY_SIZE(groups)) == WOLFSSL_SUCCESS &&
	       wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CERTS_RSA_BITS_MIN) == WOLFSSL_SUCCESS &&
	       wolfSSL_CTX_SetMinEccKey_Sz(ctx, CERTS_ECC_BITS_MIN) == WOLFSSL_SUCCESS;
	buf_done(&suites);
	return done ? 0 : error_set(err, -ENOTSUP, "wolfSSL lacks the ciphers or groups we need");
}

static int use_identity(WOLFSSL_CTX *ctx, const struct certs_identity *identity, struct error *err)
{
	struct slice chain = certs_identity_chain_pem(identity);
	struct slice key = certs_identity_key_pem(identity);

	/* certs_identity_load() has tried this, and whether the two fit, with words. */
	if (wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const unsigned char *)chain.ptr,
						     (long)chain.len) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)key.ptr, (long)key.len,
					      WOLFSSL_FILETYPE_PEM) != WOLFSSL_SUCCESS)
		return error_set(err, -EINVAL, "the certificate of %s can't be used",
				 certs_identity_info(identity)->subject);
	return 0;
}

static int use_trust(WOLFSSL_CTX *ctx, const struct certs_trust *trust, struct error *err)
{
	struct slice rest = certs_trust_der(trust);
	struct der_item item;

	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL);
	while (der_next(&rest, &item)) {
		/* Expired ones too: anchors.c knows the dates, and can then name the CA. */
		if (wolfSSL_CTX_load_verify_buffer_ex(ctx, (const unsigned char *)item.whole.ptr,
						      (long)item.whole.len, WOLFSSL_FILETYPE_ASN1,
						      0, WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY) !=
		    WOLFSSL_SUCCESS)
			return error_set(err, -EINVAL, "a trusted CA can't be used");
	}
	/*
	 * CVE-2026-93302: this build takes each CA for a "trusted peer" as well,
	 * and those are recognized by subject, key id and signature bytes, which
	 * anybody can copy around a key of his own.
	 */
	if (wolfSSL_CTX_Unload_trust_peers(ctx) != WOLFSSL_SUCCESS)
		return error_set(err, -ENOTSUP, "wolfSSL can't be made to forget trusted peers");
	return 0;
}

/* What must be the same for a ticket to stay good: a client's certificate is judged by it. */
static void set_scope(struct tls_context *context, const struct tls_context_options *options)
{
	struct buf bytes = { 0 };

	buf_append(&bytes, context->ask_certificate ? "ask " : "none ", 4);
	if (context->ask_certificate && options->trust)
		buf_append_slice(&bytes, certs_trust_der(options->trust));
	wc_Sha256Hash((const byte *)buf_slice(&bytes).ptr, (word32)buf_len(&bytes), context->scope);
	buf_done(&bytes);
}

static int set_tickets(struct tls_context *context, const struct tls_context_options *options,
		       struct error *err)
{
	if (options->previous)
		context->tickets = tls_tickets_ref(options->previous->tickets);
	else
		context->tickets = tls_tickets_new(options->clock ? options->clock : &clock_system);
	if (!context->tickets)
		return error_set(err, -ENOMEM, "out of memory");
	set_scope(context, options);
	return 0;
}

static int make_ctx(bool is_client, const struct tls_context_options *options,
		    const struct certs_identity *identity, WOLFSSL_CTX **ret, struct error *err)
{
	int r;

	*ret = wolfSSL_CTX_new(is_client ? wolfSSLv23_client_method() : wolfSSLv23_server_method());
	if (!*ret)
		return error_set(err, -ENOMEM, "out of memory");
	r = set_protocol(*ret, options->min_version, err);
	if (r == 0 && identity)
		r = use_identity(*ret, identity, err);
	return r;
}

/* The library's own tickets keep two keys of an hour, no more, and no certificate. */
static int set_up_choice(const struct tls_context *context,
			 const struct tls_context_options *options, WOLFSSL_CTX *ctx,
			 struct error *err)
{
	int r = 0;

	wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_NO_INTERNAL_STORE |
							WOLFSSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
	if (context->ask_certificate && options->trust)
		r = use_trust(ctx, options->trust, err);
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_NONE, NULL); /* sessions ask, or don't */
	wolfSSL_CTX_set_timeout(ctx, TLS_TICKET_LIFETIME_S);
	if (wolfSSL_CTX_set_TicketEncCb(ctx, tls_server_ticket) != WOLFSSL_SUCCESS ||
	    wolfSSL_CTX_set_TicketHint(ctx, TLS_TICKET_LIFETIME_S) != WOLFSSL_SUCCESS)
		return error_set(err, -ENOTSUP, "wolfSSL has no session tickets");
	return r;
}

static int add_choice(const struct tls_context *context, const struct tls_context_options *options,
		      const struct certs_identity *identity, struct tls_choices *host,
		      struct error *err)
{
	struct tls_choice *choice = &host->list[host->count];
	int r = make_ctx(false, options, identity, &choice->ctx, err);

	if (choice->ctx)
		host->count++; /* from now on it is freed with the others */
	if (r < 0)
		return r;
	choice->kind = certs_identity_key_kind(identity);
	return set_up_choice(context, options, choice->ctx, err);
}

static int add_host(struct tls_context *context, const struct tls_context_options *options,
		    const struct tls_host *host, struct error *err)
{
	struct tls_choices *choices = &context->hosts[context->host_count++];
	int r = 0;

	choices->name = strdup(host->name);
	choices->list = calloc(host->identity_count, sizeof(*choices->list));
	if (!choices->name || !choices->list)
		return error_set(err, -ENOMEM, "out of memory");
	for (unsigned int i = 0; r == 0 && i < host->identity_count; i++)
		r = add_choice(context, options, host->identities[i], choices, err);
	if (host->name[0])
		strmap_put(&context->by_name, slice_from(choices->name), choices);
	return r;
}

/* Who names none of the hosts, or nobody. */
static int add_rest(struct tls_context *context, const struct tls_context_options *options,
		    struct error *err)
{
	unsigned int count = 1 + options->more_count;
	const struct certs_identity **list = calloc(count, sizeof(struct certs_identity *));
	struct tls_host rest = { "", list, count };
	int r;

	if (!list)
		return error_set(err, -ENOMEM, "out of memory");
	list[0] = options->identity;
	for (unsigned int i = 1; i < count; i++)
		list[i] = options->more_identities[i - 1];
	r = add_host(context, options, &rest, err);
	free(list);
	return r;
}

static int set_up_server(struct tls_context *context, const struct tls_context_options *options,
			 struct error *err)
{
	int r = set_tickets(context, options, err);

	context->hosts = calloc(1 + (size_t)options->host_count, sizeof(*context->hosts));
	if (r == 0 && !context->hosts)
		r = error_set(err, -ENOMEM, "out of memory");
	if (r == 0 && context->ask_certificate)
		r = tls_anchors_init(&context->anchors, options->trust, err);
	if (r == 0)
		r = add_rest(context, options, err);
	for (unsigned int i = 0; r == 0 && i < options->host_count; i++)
		r = add_host(context, options, &options->hosts[i], err);
	if (r == 0)
		context->ctx = context->hosts[0].list[0].ctx;
	return r;
}

static int set_up_client(struct tls_context *context, const struct tls_context_options *options,
			 struct error *err)
{
	WOLFSSL_CTX *ctx;
	int r = make_ctx(true, options, options->identity, &context->ctx, err);

	if (r < 0)
		return r;
	ctx = context->ctx;
	/*
	 * No tickets of TLS 1.2 (RFC 5077): a client of 5.5.4 that offers one which
	 * the server has no key for any more can't go on with a full handshake,
	 * so whenever a server restarts, a connection would fail, and go in the
	 * clear at level may. Those of TLS 1.3 need not be asked for.
	 */
	wolfSSL_CTX_sess_set_new_cb(ctx, tls_session_resumable);
	context->resume = tls_resume_new();
	if (!context->resume)
		return error_set(err, -ENOMEM, "out of memory");
	r = tls_anchors_init(&context->anchors, options->trust, err);
	if (r == 0 && options->trust)
		r = use_trust(ctx, options->trust, err);
	/*
	 * Sessions set their own callback, this is for one that forgets it. Not
	 * before the CAs are in: it would have them verified as peers.
	 */
	wolfSSL_CTX_set_verify(ctx, WOLFSSL_VERIFY_PEER, NULL);
	return r;
}

static int context_new(bool is_client, const struct tls_context_options *options,
		       struct tls_context **ret_context, struct error *err)
{
	CLEANUP(tls_context_unrefp) struct tls_context *context = NULL;
	int r;

	context = calloc(1, sizeof(*context));
	if (!context)
		return error_set(err, -ENOMEM, "out of memory");
	atomic_init(&context->references, 1);
	context->is_client = is_client;
	context->min_version = options->min_version;
	context->ask_certificate = !is_client && options->ask_certificate;
	r = is_client ? set_up_client(context, options, err) : set_up_server(context, options, err);
	if (r < 0) {
		error_prefix(err, "TLS");
		return r;
	}
	*ret_context = context;
	context = NULL;
	return 0;
}

int tls_context_new_server(const struct tls_context_options *options,
			   struct tls_context **ret_context, struct error *err)
{
	return context_new(false, options, ret_context, err);
}

int tls_context_new_client(const struct tls_context_options *options,
			   struct tls_context **ret_context, struct error *err)
{
	return context_new(true, options, ret_context, err);
}

bool tls_context_asks_clients(const struct tls_context *context)
{
	return context->ask_certificate;
}

struct tls_context *tls_context_ref(struct tls_context *context)
{
	atomic_fetch_add_explicit(&context->references, 1, memory_order_relaxed);
	return context;
}

void tls_context_unref(struct tls_context *context)
{
	if (!context ||
	    atomic_fetch_sub_explicit(&context->references, 1, memory_order_acq_rel) > 1)
		return;
	if (context->is_client)
		wolfSSL_CTX_free(context->ctx);
	tls_hosts_free(context->hosts, context->host_count);
	strmap_done(&context->by_name);
	tls_anchors_done(&context->anchors);
	tls_resume_free(context->resume);
	tls_tickets_unref(context->tickets);
	free(context);
}

void tls_thread_done(void)
{
	wc_ecc_fp_free();
	wolfSSL_ERR_remove_thread_state(NULL);
}
