/*
 * session - TLS over a stream, as a filter (net/stream.h)
 *
 * A client session is checked against its policy before it opens: when the
 * policy asks for a verified peer and this one is not, the handshake fails,
 * and no byte of the user's is ever sent. Resumed sessions pass the same check.
 */
#pragma once

#include "net/stream.h"
#include "tls/context.h"

/* What was negotiated; strings are the session's and safe to log. */
struct tls_facts {
	const char *protocol; /* "TLSv1.3" */
	const char *cipher;   /* "TLS_CHACHA20_POLY1305_SHA256" */
	unsigned int bits;    /* strength of the cipher's key: 128, 256 */
	bool resumed;
	bool has_peer_cert;
	bool trusted;  /* the peer's chain leads to a CA of our trust */
	bool verified; /* trusted and with a name that the policy accepts; or in its fingerprints */
	const char *verified_by; /* "ca", "fingerprint", "dane"; "" (NULL where all is zero): not */
	char peer_name[256];	 /* the name that was accepted, else the certificate's first; "" */
	char fingerprint[72];	 /* "sha256:HEX" of the peer's certificate; "" */
	char pubkey_fingerprint[80]; /* "pubkey-sha256:HEX" of its key; "" */
	int64_t not_after_s;	     /* of the peer's certificate, Unix seconds; 0: none */
	char trouble[256];	     /* why not verified: "certificate has expired"; "" */
};

int tls_session_new_server(struct tls_context *context, struct stream_filter **ret_filter,
			   struct error *err);

/*
 * Of a server whose context asks for certificates, before the handshake: it
 * fails unless the client has one that a CA of our trust has signed, and that
 * is valid and for clients.
 */
void tls_session_require_certificate(struct stream_filter *filter);

/* The name of the host that a server's client has asked for, if its context has such a one; "". */
const char *tls_session_server_name(struct stream_filter *filter);

/*
 * The certificate of a server's client, as DER, once the handshake is done;
 * empty when it has shown none. Also of a resumed session. The client has its
 * key; what else is known of it is in the facts, where verified means trusted
 * and usable by clients, whatever names it has. Valid while the filter lives.
 */
struct slice tls_session_client_certificate(struct stream_filter *filter);

/*
 * What stands for this session and no other, for both its ends: "tls-exporter"
 * (RFC 9266), by which SASL's mechanisms with -PLUS notice that somebody sits in
 * between. Empty before the handshake is done, and where the protocol is TLS 1.2:
 * there it would hold only with the extended master secret, and the library
 * does not say whether that was negotiated.
 */
struct slice tls_session_channel_binding(struct stream_filter *filter);

/*
 * nexthop: the host as the route has it; hostname: the mail exchanger that is
 * connected to, NULL: there is none, it is the next hop. Both are names that
 * match= may mean, and the hostname is for SNI unless the policy has a
 * servername or this is an address. cache_key: sessions are resumed among
 * connections of the same key, host and policy; NULL: never. The handshake's
 * error is -EPROTOTYPE where the server has begun with an SMTP greeting instead.
 */
int tls_session_new_client(struct tls_context *context, const struct tls_policy *policy,
			   const char *nexthop, const char *hostname, const char *cache_key,
			   struct stream_filter **ret_filter, struct error *err);

/* The certificates that a peer has shown, as DER, its own first. Zeroed: none. */
#define TLS_CHAIN_MAX 9 /* the library's own limit */

struct tls_chain {
	struct arena arena;
	unsigned int count;
	struct slice certificates[TLS_CHAIN_MAX]; /* in the arena; not judged: to be looked at */
};

/* Of a client: copy what the peer will show. Before the handshake; chain outlives the filter. */
void tls_session_watch(struct stream_filter *filter, struct tls_chain *chain);
void tls_chain_done(struct tls_chain *chain);

/*
 * Valid while the filter lives; all zero and "" before the handshake is done. After
 * one that failed: what was found out of the peer's certificate until then.
 */
const struct tls_facts *tls_session_facts(struct stream_filter *filter);
