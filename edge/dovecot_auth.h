/*
 * dovecot_auth - smtpd_sasl_passdb = dovecot:SOCKET: Dovecot says who may log in
 *
 * The client of Dovecot's auth protocol, version 1, as Postfix's
 * smtpd_sasl_type = dovecot: what the client of a session says is handed on,
 * and Dovecot's answers come back (mta/login.h). Which mechanisms there are is
 * Dovecot's to say, too (its auth_mechanisms). docs/dovecot.md has both halves
 * of a configuration.
 *
 * Exchanges of a worker share one connection, which is made when the first
 * begins and closed after the last; nothing else is kept. So a Dovecot that was
 * restarted is found by the next login. One that is away, hangs or speaks
 * nonsense is 454 4.7.0 for the client, and a line in the log.
 */
#pragma once

#include "base/log.h"
#include "mta/login.h"

struct dovecot_auth;

struct dovecot_auth_options {
	const char *path;	 /* of the socket; the caller's, and so is the log */
	struct log *log;	 /* NULL: silent */
	int64_t answer_limit_ms; /* Dovecot's time for each answer; 0: 30 s */
};

struct dovecot_auth *dovecot_auth_new(const struct dovecot_auth_options *options);

/* Connections that are being closed on other threads may outlive it for a moment. NULL is fine. */
void dovecot_auth_free(struct dovecot_auth *auth);

/*
 * Ask which mechanisms there are: 0: others than were known; MAP_NOT_CHANGED; or
 * an error that says why that cannot be found out. Blocks, for at most two seconds.
 */
int dovecot_auth_ask(struct dovecot_auth *auth, struct error *err);

/*
 * The same if Dovecot has been started since, else MAP_NOT_CHANGED: so there is
 * one error for each start. For one thread at a time.
 */
int dovecot_auth_refresh(struct dovecot_auth *auth, struct error *err);

/*
 * What may be offered to a client. Before Dovecot has ever been heard that is
 * PLAIN and LOGIN: so clients hear that they should try later, and not that
 * they need not try.
 */
void dovecot_auth_mechanisms(struct dovecot_auth *auth, char ret[LOGIN_MECHANISMS_SIZE]);

/* As login_begin() of mta_policy. */
struct login *dovecot_auth_begin(struct dovecot_auth *auth, const struct login_request *request);
