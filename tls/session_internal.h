/* session_internal - the parts of a session that its files share; for this folder alone */
#pragma once

#include "tls/context_internal.h"
#include "tls/session.h"
#include "tls/verify.h"

struct tls_client; /* in client.c: what only clients need */
struct tls_server; /* in server.c: the same for servers */

#define TLS_BINDING_SIZE 32 /* RFC 9266 section 4.2 */

struct tls_session {
	struct stream_filter filter;
	struct tls_context *context;
	struct WOLFSSL *ssl;
	struct tls_client *client; /* of one, or */
	struct tls_server *server; /*   of the other */
	struct tls_facts facts;
	char binding[TLS_BINDING_SIZE]; /* if has_binding */
	bool has_binding;

	/* Lent by decode(), encode() and finish() for the time of a call. */
	struct buf *wire_in, *wire_out;
	struct buf heard; /* by a server, which has not shown it to the library yet */

	enum tls_session_state {
		TLS_SESSION_START,     /* nothing was received yet */
		TLS_SESSION_HANDSHAKE, /* what the peer said looks like TLS */
		TLS_SESSION_OPEN,
		TLS_SESSION_ENDED,  /* the peer has sent close_notify */
		TLS_SESSION_FAILED, /* for good; error says why */
	} state;
	bool is_finished;     /* our close_notify is sent */
	size_t answered_size; /* sent since the handshake on the peer's wish alone */
	struct error *error;
};

int tls_session_new(struct tls_context *context, struct tls_session **ret_session,
		    struct error *err);

/* Begin anew with this context of the library; nothing of what was set before is kept. */
int tls_session_use(struct tls_session *s, struct WOLFSSL_CTX *ctx, struct error *err);

/* The client's half of a session; it is freed with it. */
int tls_client_attach(struct tls_session *s, const struct tls_policy *policy, const char *nexthop,
		      const char *hostname, const char *cache_key, struct error *err);
void tls_client_watch(struct tls_session *s, struct tls_chain *chain);
void tls_client_free(struct tls_client *client);

/* The handshake went through: fill in the facts, and refuse a peer that policy refuses. */
int tls_client_conclude(struct tls_session *s, struct error *err);

/* The handshake failed: replaces *err by the better reason where the certificate was it. */
int tls_client_blame(struct tls_session *s, int code, struct error *err);

/* Keep what came to resume the session by; called after something was received. */
void tls_client_keep(struct tls_session *s);
void tls_client_take_session(struct tls_session *s, struct WOLFSSL_SESSION *session);

/* The server's half. */
int tls_server_attach(struct tls_session *s, struct error *err);
void tls_server_free(struct tls_server *server);

/*
 * Until the client has said what it wants: STREAM_FILTER_BUSY. Then the library
 * is ready to answer, with the certificate that suits: STREAM_FILTER_OPEN.
 */
int tls_server_hear(struct tls_session *s, struct error *err);
int tls_server_conclude(struct tls_session *s, struct error *err);
int tls_server_blame(const struct tls_session *s, int code, struct error *err);
