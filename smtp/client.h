/*
 * client - the sending side of an SMTP session, without I/O
 *
 * Replies go in by smtp_client_input(), commands are appended to a buffer,
 * and what happened is told by events. After each return to the owner:
 * flush the buffer, and arm a timer with smtp_client_timeout_ms().
 *
 * Commands are pipelined where the server allows it (RFC 2920): MAIL, RCPT…
 * and DATA leave in one write. EHLO falls back to HELO on 5xx.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "smtp/status.h"

struct smtp_client;

struct smtp_client_options {
	const char *hello;  /* our name in EHLO */
	bool lmtp;	    /* LHLO, one reply for each recipient after the data (RFC 2033) */
	bool no_pipelining; /* for tests and broken peers */
};

struct smtp_capabilities {
	bool esmtp, starttls, pipelining, eightbitmime, size, dsn, smtputf8, chunking;
	bool enhanced_codes, requiretls;
	uint64_t size_limit; /* 0: none announced */
	const char *auth;    /* mechanisms, "" when none */
};

/* One mail transaction. All memory is the caller's and must live until it is done. */
struct smtp_transaction {
	const char *sender;
	const char *const *recipients;
	unsigned int recipient_count;
	uint64_t size;	/* for SIZE=, 0 unknown */
	bool body_8bit; /* the data has bytes above 127 */
};

struct smtp_client_events {
	/* EHLO was answered. Next: starttls, transaction or quit. */
	void (*ready)(void *arg, const struct smtp_capabilities *capabilities);

	/* 220 to STARTTLS: drop buffered input, do the handshake, then smtp_client_secured(). */
	void (*starttls)(void *arg);

	/* STARTTLS was refused; the session is as before it. Next: transaction or quit. */
	void (*starttls_refused)(void *arg, const struct smtp_status *status);

	/* 354: call smtp_client_body() with all of the message, then smtp_client_body_end(). */
	void (*body_wanted)(void *arg);

	/* The fate of one recipient of the running transaction; once for each. */
	void (*recipient)(void *arg, unsigned int index, const struct smtp_status *status);

	/*
	 * Every recipient of the transaction has had its status. The client
	 * can take the next transaction, inside this call too, unless failed()
	 * comes next.
	 */
	void (*done)(void *arg);

	/*
	 * The session is of no more use: refused greeting or EHLO, 421, no
	 * SMTP, connection lost. Recipients of a running transaction that had
	 * no status yet get none from the client; the status given here is
	 * theirs (deferred, unless the whole session was refused with 5xx).
	 */
	void (*failed)(void *arg, const struct smtp_status *status);
};

struct smtp_client *smtp_client_new(const struct smtp_client_options *options,
				    const struct smtp_client_events *events, void *arg,
				    struct buf *output);
void smtp_client_free(struct smtp_client *c);

/* Process replies; returns how many bytes of input were used up. */
size_t smtp_client_input(struct smtp_client *c, struct slice input);

/*
 * The connection has ended: failed() tells it with a status made from reason
 * ("lost connection with HOST while sending RCPT TO"), unless it was told before.
 */
void smtp_client_lost(struct smtp_client *c, const char *reason);

void smtp_client_starttls(struct smtp_client *c);

/* The handshake is done: capabilities are forgotten and EHLO is sent again; ready() follows. */
void smtp_client_secured(struct smtp_client *c);

void smtp_client_transaction(struct smtp_client *c, const struct smtp_transaction *t);
void smtp_client_body(struct smtp_client *c,
		      struct slice bytes); /* CRLF line ends; is dot-stuffed */
void smtp_client_body_end(struct smtp_client *c);

void smtp_client_rset(struct smtp_client *c); /* probe of an idle connection; ready() follows */
void smtp_client_quit(struct smtp_client *c);

/* Time to wait for what is awaited now (RFC 5321 section 4.5.3.2); 0: nothing is. */
int64_t smtp_client_timeout_ms(const struct smtp_client *c);

/* What is awaited, for messages: "initial greeting", "EHLO", "MAIL FROM", "end of data". */
const char *smtp_client_stage(const struct smtp_client *c);

const struct smtp_capabilities *smtp_client_capabilities(const struct smtp_client *c);
