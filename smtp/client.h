/*
 * client - the sending side of an SMTP session, without I/O
 *
 * Replies go in by smtp_client_input(), commands are appended to a buffer,
 * and what happened is told by events. After each return to the owner:
 * flush the buffer, and arm a timer with smtp_client_timeout_ms().
 *
 * What senders ask for about notifications (RFC 3461) goes to servers that
 * announce DSN. UTF-8 (RFC 6531) goes to those that announce SMTPUTF8; others
 * are not asked, and the recipients that need it fail with 5.6.7. So do those
 * of binary messages with 5.6.1 and of REQUIRETLS with 5.7.30, where the server
 * can't have them; but reports (with no sender) go on without REQUIRETLS (RFC
 * 8689 section 5). That TLS was verified is up to the owner.
 *
 * Commands are pipelined where the server allows it (RFC 2920): MAIL, RCPT…
 * and DATA leave in one write; and with CHUNKING (RFC 3030) the message, too.
 * So does the next transaction: with smtp_client_has_room() it may be given
 * before the last one is done, and goes behind the final dot, or behind BDAT
 * LAST. Replies come in order, and each is taken for what it answers. EHLO
 * falls back to HELO on 5xx.
 *
 * Events come from inside of smtp_client_input(), smtp_client_lost(),
 * smtp_client_transaction() and smtp_client_body(). Inside an event the owner
 * may ask for what comes next, but not free the client. The input may go (as
 * the connection is closed, or turned into a TLS one) inside starttls() and
 * failed(), and in any event after smtp_client_quit(): it is not looked at again.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "smtp/dsn.h"
#include "smtp/status.h"

struct smtp_client;

/*
 * How long the server may take for each step; 0: the default, which follows
 * RFC 5321 section 4.5.3.2. Each is for the whole of a reply, however slowly
 * its bytes come.
 */
struct smtp_timeouts {
	int64_t helo_ms;      /* the greeting, and the reply to EHLO: 5 minutes each */
	int64_t starttls_ms;  /* the reply to STARTTLS, and the handshake: 5 minutes each */
	int64_t mail_ms;      /* 5 minutes */
	int64_t rcpt_ms;      /* each recipient: 5 minutes */
	int64_t data_init_ms; /* the reply to DATA: 2 minutes */
	int64_t data_xfer_ms; /* to take a piece of the message: 3 minutes */
	int64_t data_done_ms; /* the reply to the final dot: 10 minutes */
	int64_t rset_ms;      /* 20 seconds */
	int64_t quit_ms;      /* 10 seconds: nothing depends on it */
};

struct smtp_client_options {
	const char *hello;  /* our name in EHLO */
	bool lmtp;	    /* LHLO, one reply for each recipient after the data (RFC 2033) */
	bool no_pipelining; /* for tests and broken peers */
	struct smtp_timeouts timeouts;

	/* EHLO keywords that are not believed, by spaces, tabs or commas; NULL: all are. */
	const char *discard_keywords;
};

/* What a server takes at most (RFC 9422); 0: it has not said. */
struct smtp_limits {
	unsigned int rcpt_max;	      /* recipients of a transaction */
	unsigned int mail_max;	      /* transactions of a connection */
	unsigned int rcpt_domain_max; /* domains of the recipients of a connection */
};

struct smtp_capabilities {
	bool esmtp, starttls, pipelining, eightbitmime, size, dsn, smtputf8, chunking;
	bool enhanced_codes, requiretls, binarymime;
	uint64_t size_limit; /* 0: none announced */
	struct smtp_limits limits;
	const char *auth; /* mechanisms, "" when none */
};

struct smtp_recipient {
	const char *address;
	const char *orcpt;   /* decoded (smtp/dsn.h); NULL or "": not known */
	unsigned int notify; /* enum smtp_notify, or-ed; 0: not given */
};

/* One mail transaction. All memory is the caller's and must live until done() or broken(). */
struct smtp_transaction {
	const char *sender;
	const struct smtp_recipient *recipients;
	unsigned int recipient_count;
	uint64_t size;	  /* of the message; 0: unknown */
	bool body_8bit;	  /* the data has bytes above 127 */
	bool body_binary; /* it is no lines of text (BODY=BINARYMIME, RFC 3030) */
	bool smtputf8;	  /* its header has; addresses that have are found here */
	bool requiretls;  /* the sender's REQUIRETLS (RFC 8689) */

	/*
	 * Where the message could be sent without having heard of MAIL and
	 * RCPT: wait for that. For connections that may be gone already.
	 */
	bool is_careful;

	/*
	 * There is no message: what the server says to each RCPT is its fate, and
	 * RSET ends the transaction. To ask who is there (mta/verify.h).
	 */
	bool envelope_only;
	const char *envelope_id; /* decoded; NULL or "": not given */
	enum smtp_return returning;
};

/* What the end of a session means for a transaction. */
enum smtp_break {
	SMTP_BREAK_ENVELOPE, /* it was its turn; the server does not have the message */
	SMTP_BREAK_MESSAGE,  /* while the message was sent, or after: the server may have it */
	SMTP_BREAK_BEHIND,   /* its turn never came: the server does not have the message */
};

struct smtp_client_events {
	/* EHLO was answered. Next: starttls, auth, transaction or quit. */
	void (*ready)(void *arg, const struct smtp_capabilities *capabilities);

	/*
	 * 220 to STARTTLS: do the handshake, then smtp_client_secured(). What
	 * is buffered behind the 220 must be dropped (RFC 3207 section 4); the
	 * smtp_client_input() that this comes from counts it as used up.
	 */
	void (*starttls)(void *arg);

	/* STARTTLS was refused; the session is as before it. Next: transaction or quit. */
	void (*starttls_refused)(void *arg, const struct smtp_status *status);

	/*
	 * 334 to AUTH, decoded: call smtp_client_auth_answer(), or
	 * smtp_client_auth_cancel(), inside of the event or later. Only for the call.
	 */
	void (*challenge)(void *arg, struct slice challenge);

	/*
	 * The end of AUTH: accepted with 2xx, or refused or cancelled with 4xx
	 * or 5xx; then the session is as it was before. That a server accepts
	 * says nothing about the server: mechanisms that prove who it is must
	 * have come to their end by now. Next: transaction or quit.
	 */
	void (*authenticated)(void *arg, const struct smtp_status *status);

	/*
	 * Call smtp_client_body() with all of the message of this transaction,
	 * now or later. Until the last piece was given it has no successor.
	 */
	void (*body_wanted)(void *arg, const struct smtp_transaction *t);

	/*
	 * The fate of one recipient of a transaction, once for each.
	 * smtp_client_stage() names what decided it, "" where nothing was sent.
	 */
	void (*recipient)(void *arg, const struct smtp_transaction *t, unsigned int index,
			  const struct smtp_status *status);

	/*
	 * Every recipient of the transaction has had its status; its body, if
	 * some is left, is not wanted any more. The next transaction can begin,
	 * inside this call too. A transaction ends with done() or with
	 * broken(), never with both.
	 */
	void (*done)(void *arg, const struct smtp_transaction *t);

	/*
	 * The session has ended amid transactions: told for each of them, the
	 * oldest first; failed() follows. Recipients that have no status yet
	 * get none from the client; the one given here is theirs. It is
	 * deferred, unless the message was refused with 5xx while it was sent.
	 */
	void (*broken)(void *arg, const struct smtp_transaction *t, enum smtp_break how,
		       const struct smtp_status *status);

	/*
	 * The session is of no more use: refused greeting or EHLO, 421, no
	 * SMTP, connection lost. Deferred, unless the whole session was refused
	 * with 5xx. Told once, and not after smtp_client_quit(). Close;
	 * smtp_client_quit() may come first and says QUIT only where that is in
	 * order.
	 */
	void (*failed)(void *arg, const struct smtp_status *status);
};

/* events, output and options->hello must outlive the client. The greeting is awaited. */
struct smtp_client *smtp_client_new(const struct smtp_client_options *options,
				    const struct smtp_client_events *events, void *arg,
				    struct buf *output);
void smtp_client_free(struct smtp_client *c);

/*
 * Process replies; returns how many bytes of input were used up. Less than all
 * where a reply is incomplete: give it again with more behind it.
 */
size_t smtp_client_input(struct smtp_client *c, struct slice input);

/*
 * The connection has ended, or a time-out ends it. reason is what happened
 * ("lost connection with HOST", "conversation with HOST timed out"); failed()
 * tells it with " while sending RCPT TO" or the like behind it, unless it was
 * told before or QUIT was sent.
 */
void smtp_client_lost(struct smtp_client *c, const char *reason);

void smtp_client_starttls(struct smtp_client *c);

/* The handshake is done: capabilities are forgotten and EHLO is sent again; ready() follows. */
void smtp_client_secured(struct smtp_client *c);

/*
 * Log in (RFC 4954); after ready(), once. initial_response is not encoded; NULL
 * where the server speaks first. It goes with the command where that leaves
 * the line within its 512 bytes, else as the answer to an empty challenge.
 * Challenges are limited by SMTP_REPLY_LINE_MAX (smtp/reply.h).
 *
 * Whether the connection may carry a password is the owner's to know. So is
 * wiping the output behind it.
 */
#define SMTP_AUTH_RESPONSE_MAX                                                                     \
	9216 /* bytes before base64: RFC 4954 section 4 has 12288 for a line */

void smtp_client_auth(struct smtp_client *c, const char *mechanism,
		      const struct slice *initial_response);
void smtp_client_auth_answer(struct smtp_client *c, struct slice response);
void smtp_client_auth_cancel(struct smtp_client *c);

/*
 * Begin a transaction; after ready(), starttls_refused(), authenticated() or done(), or while
 * smtp_client_has_room(). Recipients that need no server to be refused
 * (message larger than the announced SIZE, UTF-8 without SMTPUTF8, addresses
 * that could break out of a command) have their status, and maybe done() was
 * told, before this returns.
 */
void smtp_client_transaction(struct smtp_client *c, const struct smtp_transaction *t);

/*
 * Whether there are transactions, and one more can go behind them: the server
 * pipelines, all of the last one is sent, and not too much is unanswered.
 */
bool smtp_client_has_room(const struct smtp_client *c);

/*
 * A piece of the message that is wanted, with CRLF line ends where it is text;
 * is_last: nothing follows. By DATA it is dot-stuffed; by BDAT each piece is a
 * chunk. Of a transaction that needs no message any more, and after failed(),
 * it does nothing.
 */
void smtp_client_body(struct smtp_client *c, struct slice bytes, bool is_last);

void smtp_client_rset(struct smtp_client *c); /* probe of an idle connection; ready() follows */

/* No event follows: close when it is flushed, or when the reply has come or timed out. */
void smtp_client_quit(struct smtp_client *c);

/*
 * Time to wait for what is awaited now (RFC 5321 section 4.5.3.2); 0: nothing
 * is. While nothing but the message is being sent it is the time for one block.
 */
int64_t smtp_client_timeout_ms(const struct smtp_client *c);

/* What is awaited, for messages: "initial greeting", "EHLO", "MAIL FROM", "end of data". */
const char *smtp_client_stage(const struct smtp_client *c);

/*
 * Whether what recipient() tells is the server's answer to RCPT or to the end
 * of the message: its word about this recipient or message, and not about us.
 */
bool smtp_client_tells_verdict(const struct smtp_client *c);

const struct smtp_capabilities *smtp_client_capabilities(const struct smtp_client *c);
