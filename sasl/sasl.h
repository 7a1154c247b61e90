/*
 * sasl - the mechanisms by which one side proves that it knows a password
 * (RFC 4422), without I/O: a wrapper of libgsasl
 *
 * One struct sasl serves the whole process: it does not change once it is
 * made, and all threads may begin exchanges with it. An exchange belongs to one
 * thread at a time, and may be handed from one to another: SCRAM hashes for
 * milliseconds (or for as long as a server's iteration count says), so
 * sasl_exchange_step() belongs on the thread pool.
 *
 * An exchange is of one side, and sides differ in how they begin. Steps,
 * outcomes and what is wiped are the same for both.
 *
 * Passwords are copied, and wiped with the exchange. No error has one in it.
 */
#pragma once

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"

struct sasl;

int sasl_new(struct sasl **ret_sasl, struct error *err);
void sasl_free(struct sasl *sasl); /* exchanges may outlive it; NULL is fine */
DEFINE_CLEANUP(struct sasl *, sasl_free);

/*
 * The best mechanism of those that a server offers ("PLAIN LOGIN", any case)
 * and that a filter admits, in this order: SCRAM-SHA-256-PLUS, SCRAM-SHA-256,
 * SCRAM-SHA-1-PLUS, SCRAM-SHA-1, CRAM-MD5, PLAIN, LOGIN. Those with -PLUS only
 * where can_bind says that there is a channel binding. NULL: none.
 *
 * The filter is as smtp_sasl_mechanism_filter of Postfix: "NAME" admits, "!NAME"
 * excludes, "static:ANYTHING" admits all; the first that fits decides, and what
 * none fits is excluded. "" or NULL: all are admitted.
 */
const char *sasl_choose(const char *offered, const char *filter, bool can_bind);

/* Whether a filter is one. Errors say what is wrong with it; it may admit nothing. */
int sasl_filter_check(const char *filter, struct error *err);
bool sasl_filter_admits_any(const char *filter);
bool sasl_filter_admits(const char *filter, const char *mechanism);

/* Whether this library's version binds to TLS sessions, by tls-exporter (RFC 9266). */
bool sasl_can_bind(void);

/* Whether the client's first message waits for no challenge of the server. */
bool sasl_client_speaks_first(const char *mechanism);

/* More iterations than this are not hashed: a server could hold a thread for hours. */
#define SASL_ITERATIONS_MAX 1000000

struct sasl_credentials {
	const char *user, *password; /* UTF-8 */

	/* The TLS session's "tls-exporter" (RFC 9266), 32 bytes; for mechanisms with -PLUS only. */
	struct slice binding;
};

struct sasl_exchange;

enum sasl_outcome {
	SASL_MORE = 1, /* give the next challenge */
	SASL_DONE = 2, /* nothing is left to prove, for neither side */
};

/* mechanism is one that sasl_choose() gave. What is in credentials is copied. */
int sasl_client_new(struct sasl *sasl, const char *mechanism,
		    const struct sasl_credentials *credentials, struct sasl_exchange **ret_exchange,
		    struct error *err);

/*
 * The server's side of SCRAM, with and without -PLUS. (What the others want is
 * said in a line, and is for whoever has the passwords to check.)
 */
struct sasl_scram {
	unsigned int iterations;
	struct slice salt, stored_key, server_key; /* of at most 64 bytes, not encoded */
};

struct sasl_server_options {
	/*
	 * As the client's. Without -PLUS: that mechanisms with it were offered, so that
	 * a client that could bind, and has heard of no such offer, is refused (RFC
	 * 5802 section 6). Empty: they were not.
	 */
	struct slice binding;

	/*
	 * Called inside of the step that takes the client's first message, with the
	 * names in it; authorization_id is "" when there is none. What ret points to must
	 * stay until that step returns. False: the exchange is to fail.
	 */
	bool (*find)(void *arg, const char *user, const char *authorization_id,
		     struct sasl_scram *ret);
	void *arg;
};

/*
 * With an empty first step the client is asked to begin. SASL_DONE comes with a
 * message, by which the server proves itself, in the output. Errors of steps:
 * -EBADMSG (the message is malformed), -EACCES (no proof).
 */
int sasl_server_new(struct sasl *sasl, const char *mechanism,
		    const struct sasl_server_options *options, struct sasl_exchange **ret_exchange,
		    struct error *err);

/* What CRAM-MD5 challenges a client with (RFC 2195), appended; never the same twice. */
int sasl_cram_challenge(const char *hostname, struct buf *out, struct error *err);

/*
 * A user name or password as it is to be compared (SASLprep, RFC 4013), which the
 * caller frees, and wipes; NULL: no such can be, also where it is no UTF-8.
 */
char *sasl_prepare(const char *text);

void sasl_exchange_free(struct sasl_exchange *x); /* wipes; NULL is fine */
DEFINE_CLEANUP(struct sasl_exchange *, sasl_exchange_free);

/*
 * One step: what the other side said in, what to answer out; neither is
 * encoded. The answer is appended, and a secret: buf_wipe(). For the first step
 * of a client that speaks first the input is empty. Returns an outcome, or an
 * error: the other side does not keep to the mechanism, or could not prove what
 * it had to. That is the end of the exchange. After SASL_DONE it is over,
 * too: a further step is an error.
 */
int sasl_exchange_step(struct sasl_exchange *x, struct slice input, struct buf *output,
		       struct error *err);
bool sasl_exchange_is_done(const struct sasl_exchange *x);

/*
 * Whether a text, escaped as by base/escape.h, has the password in it, as it is
 * or in base64 as it is sent: some servers repeat what they do not like.
 */
bool sasl_exchange_is_betrayed(const struct sasl_exchange *x, const char *text);
