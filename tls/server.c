/*
 * server - what a server's session has beside a client's: tickets to give, and
 * perhaps a certificate to ask for
 *
 * A resumed session shows no certificate, and the library keeps none in its
 * tickets, so ours carry the digest of the one of the full handshake, and the
 * certificate is remembered with what was found out of it (tls/tickets.h). If
 * it was forgotten, the ticket is refused, and the client shows it again. A
 * ticket opens only in the scope that it was sealed in: the same CAs to judge
 * by, and the same demands. So neither a CA that was taken away nor a session
 * from before clients were asked comes back by resumption. What a certificate
 * may do is not in a ticket at all: its user looks that up each time.
 *
 * A verdict lasts for RESUME_MAX_S, and no longer than the certificate; new
 * tickets do not prolong it.
 */
#include "tls/session_internal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "tls/hello.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/hash.h>

#define RESUME_MAX_S (2 * 60 * 60)

/* Larger ones are asked for each time: what anybody may have us remember has a limit. */
#define REMEMBERED_MAX 8192

struct tls_server {
	struct tls_verify verify;
	const struct tls_choices *host; /* that the client has asked for */
	bool is_heard;
	bool is_psk_alone; /* it shall not resume: a stolen ticket key would open what it says */
	bool is_required;  /* no client but one with a certificate of our CAs' */
	struct buf certificate;	     /* the client's, as DER; empty: none */
	struct tls_facts remembered; /* of the session that a ticket was opened for */
};

static int64_t now_s(void)
{
	return clock_wall_ms(&clock_system) / 1000;
}

/* A client may be anybody, and have any name. */
static const struct tls_policy any_client = { .level = TLS_LEVEL_ENCRYPT };

int tls_server_attach(struct tls_session *s, struct error *err)
{
	struct tls_server *server = calloc(1, sizeof(*server));

	if (!server)
		return error_set(err, -ENOMEM, "TLS: out of memory");
	s->server = server;
	server->host = &s->context->hosts[0];
	server->remembered.verified_by = "";
	server->verify.anchors = &s->context->anchors;
	server->verify.policy = &any_client;
	server->verify.facts = &s->facts;
	server->verify.client_certificate = &server->certificate;
	if (s->context->ask_certificate)
		tls_verify_attach(&server->verify, s->ssl);
	return 0;
}

void tls_server_free(struct tls_server *server)
{
	if (!server)
		return;
	buf_done(&server->certificate);
	free(server);
}

void tls_session_require_certificate(struct stream_filter *filter)
{
	struct tls_session *s = CONTAINER_OF(filter, struct tls_session, filter);

	assert(s->server && s->context->ask_certificate && s->state == TLS_SESSION_START);
	s->server->is_required = true;
	s->server->verify.is_required = true;
	tls_verify_attach(&s->server->verify, s->ssl);
}

const char *tls_session_server_name(struct stream_filter *filter)
{
	const struct tls_session *s = CONTAINER_OF(filter, struct tls_session, filter);

	return s->server ? s->server->host->name : "";
}

/* ---- what the client says first ---- */

/*
 * RFC 7301 section 3.2, with the alert that it demands: who offers protocols,
 * and SMTP is none of them, is not talking to whom he thinks he is (ALPACA).
 */
static int refuse_protocols(struct tls_session *s, struct error *err)
{
	static const unsigned char alert[] = { 21, 3, 3, 0, 2, 2, 120 };

	buf_append(s->wire_out, alert, sizeof(alert));
	return error_set(err, -EPROTO,
			 "the client wants another application protocol than smtp (ALPN)");
}

/* The library has one key in a context, so the session begins anew with the one that suits. */
static int choose(struct tls_session *s, const struct tls_hello *hello, struct error *err)
{
	char smtp[] = "smtp"; /* the library takes no const */
	const struct tls_choice *choice;
	int r = 0;

	s->server->host = tls_context_host(s->context, hello->server_name);
	choice = tls_choices_pick(s->server->host, hello->takes);
	if (choice->ctx != s->context->ctx) {
		r = tls_session_use(s, choice->ctx, err);
		if (r == 0 && s->context->ask_certificate)
			tls_verify_attach(&s->server->verify, s->ssl);
	}
	if (r == 0 && hello->has_smtp &&
	    wolfSSL_UseALPN(s->ssl, smtp, sizeof(smtp) - 1, WOLFSSL_ALPN_FAILED_ON_MISMATCH) !=
		    WOLFSSL_SUCCESS)
		r = error_set(err, -ENOTSUP, "wolfSSL has no ALPN");
	return r;
}

int tls_server_hear(struct tls_session *s, struct error *err)
{
	struct tls_hello hello;
	int r;

	if (s->server->is_heard)
		return STREAM_FILTER_OPEN;
	buf_append_slice(&s->heard, buf_slice(s->wire_in));
	buf_clear(s->wire_in);
	if (tls_hello_read(buf_slice(&s->heard), &hello) == TLS_HELLO_PARTIAL)
		return STREAM_FILTER_BUSY;
	s->server->is_heard = true;
	s->server->is_psk_alone = hello.is_psk_alone;
	if (hello.has_alpn && !hello.has_smtp)
		return refuse_protocols(s, err);
	r = choose(s, &hello, err);
	return r < 0 ? r : STREAM_FILTER_OPEN;
}

struct slice tls_session_client_certificate(struct stream_filter *filter)
{
	const struct tls_session *s = CONTAINER_OF(filter, struct tls_session, filter);

	return s->server ? buf_slice(&s->server->certificate) : SLICE("");
}

/* ---- tickets ---- */

static void make_scope(const struct tls_session *s, struct buf *out)
{
	buf_append(out, s->context->scope, sizeof(s->context->scope));
	buf_append(out, s->server->is_required ? "r" : "a", 1);
	buf_append_string(out, s->server->host->name);
}

/* By this it is remembered; all zero where there is no certificate. */
static void make_digest(const struct tls_session *s, unsigned char out[TLS_DIGEST_SIZE])
{
	const struct buf *certificate = &s->server->certificate;
	struct buf bytes = { 0 };

	memset(out, 0, TLS_DIGEST_SIZE);
	if (buf_len(certificate) == 0)
		return;
	make_scope(s, &bytes); /* the verdict is of that scope */
	buf_append_slice(&bytes, buf_slice(certificate));
	wc_Sha256Hash((const byte *)buf_slice(&bytes).ptr, (word32)buf_len(&bytes), out);
	buf_done(&bytes);
}

static bool is_zero(const unsigned char digest[TLS_DIGEST_SIZE])
{
	unsigned char bits = 0;

	for (size_t i = 0; i < TLS_DIGEST_SIZE; i++)
		bits |= digest[i];
	return bits == 0;
}

/* Whether the session of an opened ticket may go on, and with which certificate. */
static bool recall(struct tls_session *s, const unsigned char digest[TLS_DIGEST_SIZE])
{
	struct tls_server *server = s->server;
	struct tls_resumable resumable;

	buf_clear(&server->certificate);
	server->remembered = (struct tls_facts){ .verified_by = "" };
	if (is_zero(digest))
		return !server->is_required;
	if (!tls_resume_get(tls_tickets_peers(s->context->tickets),
			    slice_of((const char *)digest, TLS_DIGEST_SIZE), now_s(),
			    &server->certificate, &resumable))
		return false;
	server->remembered = resumable.facts;
	return !server->is_required || resumable.facts.verified;
}

int tls_server_ticket(struct WOLFSSL *ssl, unsigned char *name, unsigned char *iv,
		      unsigned char *mac, int is_sealing, unsigned char *bytes, int len,
		      int *ret_len, void *arg)
{
	struct tls_session *s = wolfSSL_GetIOReadCtx(ssl);
	struct tls_ticket ticket = { name, iv, mac, bytes, (size_t)len };
	unsigned char digest[TLS_DIGEST_SIZE];
	struct buf scope = { 0 };
	bool done;

	(void)arg;
	make_scope(s, &scope);
	if (is_sealing) {
		assert(*ret_len >= len + TLS_TICKET_EXTRA_SIZE);
		make_digest(s, digest);
		done = tls_ticket_seal(s->context->tickets, buf_slice(&scope), digest, &ticket);
	} else {
		done = !s->server->is_psk_alone &&
		       tls_ticket_open(s->context->tickets, buf_slice(&scope), &ticket, digest) &&
		       recall(s, digest);
	}
	buf_done(&scope);
	*ret_len = (int)ticket.len;
	if (done)
		return WOLFSSL_TICKET_RET_OK;
	return is_sealing ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
}

/* ---- the end of a handshake ---- */

static void remember(struct tls_session *s)
{
	struct tls_server *server = s->server;
	struct tls_resumable resumable = { .session = buf_slice(&server->certificate),
					   .facts = s->facts };
	unsigned char digest[TLS_DIGEST_SIZE];

	if (resumable.session.len == 0 || resumable.session.len > REMEMBERED_MAX)
		return;
	make_digest(s, digest);
	resumable.until_s = MIN(now_s() + RESUME_MAX_S, s->facts.not_after_s);
	resumable.facts.protocol = NULL; /* the library's strings; the next session has its own */
	resumable.facts.cipher = NULL;
	tls_resume_put(tls_tickets_peers(s->context->tickets),
		       slice_of((const char *)digest, sizeof(digest)), &resumable);
}

static void take_remembered(struct tls_session *s)
{
	struct tls_facts facts = s->facts;

	s->facts = s->server->remembered;
	s->facts.protocol = facts.protocol;
	s->facts.cipher = facts.cipher;
	s->facts.bits = facts.bits;
	s->facts.resumed = true;
}

int tls_server_conclude(struct tls_session *s, struct error *err)
{
	struct tls_server *server = s->server;

	if (s->facts.resumed) {
		take_remembered(s);
	} else if (server->verify.is_judged) {
		remember(s);
	} else {
		buf_clear(&server->certificate); /* of a ticket that came to nothing */
		if (s->facts.has_peer_cert)
			return error_set(err, -EPROTO, "the client's certificate was not judged");
	}
	/* The library has seen to it in each case; but mail depends on it. */
	if (server->is_required && !s->facts.verified)
		return error_set(err, -EACCES, "the client's certificate is not trusted");
	return 0;
}

int tls_server_blame(const struct tls_session *s, int code, struct error *err)
{
	if (s->server->is_required && s->facts.trouble[0])
		return error_set(err, -EACCES, "%s", s->facts.trouble);
	return code;
}
