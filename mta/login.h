/*
 * login - AUTH as an exchange between a session and those who know the accounts
 *
 * The session begins it (mta_policy.login_begin), hands on what the client
 * says, and waits for answers. Everything happens on the loop of the session's
 * worker, and nothing may block it: what hashes, asks a database or another
 * program does so elsewhere, and answers when it is done.
 *
 * begin() and each step() are followed by exactly one answer(): later, from the
 * loop, never inside of them. After a challenge the session calls step() or
 * free(); after success and failure free(). It may do so inside of answer().
 * While an answer is awaited there is no free(): a client that hangs up then, or
 * a server that stops, is a cancel(), perhaps both; after which the answer is
 * to come as soon as it can, whatever it says. Until then the session lives on, and the
 * policy with it.
 */
#pragma once

#include "base/slice.h"
#include "net/address.h"
#include "smtp/status.h"

struct loop;
struct mta_client;
struct slowdown;
struct tls_facts;

/* Whom an exchange is with. The session's, which lives as long; slices are good until cancel(). */
struct login_client {
	const struct mta_client *client; /* address, name in EHLO, whether it is encrypted */
	const struct net_address *local; /* what it has connected to */
	const struct tls_facts *tls;	 /* NULL: in the clear */
	struct slice binding;		 /* "tls-exporter" of the session (RFC 9266); empty: none */
	struct slice certificate;	 /* the client's, DER; empty: none */
};

enum login_outcome {
	LOGIN_CHALLENGE = 1,
	LOGIN_SUCCESS,
	LOGIN_FAILURE,
};

/* Valid during the call. */
struct login_answer {
	enum login_outcome outcome;
	struct slice challenge; /* CHALLENGE: what the client is told, not encoded; may be empty */

	/*
	 * SUCCESS: the name that owns sender addresses, of at most 255 bytes.
	 * FAILURE: who it was that tried, as given, for the log; "" when nobody was
	 * named. Never NULL in these two.
	 */
	const char *user;

	/* SUCCESS: 235 2.7.0. FAILURE: 535 5.7.8, 454 4.7.0, 501 5.5.2 or the like. */
	struct smtp_status status;
};

/* One exchange. Who makes them puts this at the front of its own struct. */
struct login {
	const struct login_methods *methods;
};

struct login_methods {
	/* What the client has said to the challenge, decoded; valid during the call. */
	void (*step)(struct login *login, struct slice response);

	/* An answer is awaited, and is not worth waiting for. */
	void (*cancel)(struct login *login);

	/*
	 * An answer is awaited, and the client says no more; it may still hear. What only
	 * waits for its turn is a cancel() then. NULL: nothing here does.
	 */
	void (*leave)(struct login *login);

	/* Wipes and frees. Not while an answer is awaited. */
	void (*free)(struct login *login);
};

struct login_request {
	struct loop *loop;
	struct slowdown *slowdown; /* of failures (mta/slowdown.h), for who has none of its own */
	const struct login_client *who;
	const char *service;   /* "smtp", "submission": where it came in */
	const char *mechanism; /* one of those that were offered, as they were spelled */
	const struct slice
		*initial; /* the first response, decoded; NULL: none. Valid during begin() */

	void (*answer)(void *arg, const struct login_answer *answer);
	void *arg;
};

/* For the names of the mechanisms, with blanks between them. */
#define LOGIN_MECHANISMS_SIZE 256
