/* internal - what the files of sasl/ share: sasl.c (exchanges, the client's side), server.c */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "sasl/sasl.h"

#define BINDING_MAX 256

/* Counted, as an exchange may be on the thread pool when its user has gone. */
struct sasl {
	struct Gsasl *library;
	atomic_uint references;
};

struct sasl_exchange {
	struct sasl *sasl; /* a reference */
	struct Gsasl_session *session;
	bool is_scram, binds; /* a mechanism with -PLUS */
	bool is_done;
	bool is_over;	    /* done, or failed */
	unsigned int steps; /* of the session */

	/* the client's side */
	char *user, *password;
	uint64_t refused_count; /* of iterations; 0: none was too large */

	/* the server's */
	bool is_server;
	bool (*find)(void *arg, const char *user, const char *authorization_id,
		     struct sasl_scram *ret);
	void *find_arg;
};

/* sasl.c: with a session, of which the exchange is the hook. Frees both on failure. */
int sasl_exchange_new(struct sasl *sasl, const char *mechanism, bool is_server,
		      struct sasl_exchange **ret_exchange, struct error *err);

/* The TLS session's "tls-exporter". Returns a code of the library. */
int sasl_set_binding(struct sasl_exchange *x, struct slice binding);

/* server.c: what the library asks for. Returns a code of the library. */
int sasl_server_give(struct sasl_exchange *x, int wanted);

/*
 * Whether a message says that it is bound to a TLS session, and this exchange does not
 * look at that (RFC 5802 section 6: it fails). The library would take it.
 */
bool sasl_server_is_misled(const struct sasl_exchange *x, struct slice input);

/* What the library's code means for a server. */
int sasl_server_explain(int rc, struct error *err);
