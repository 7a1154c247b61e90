/*
 * server - the receiving side of an SMTP session, without I/O
 *
 * Bytes go in by smtp_server_input(), replies are appended to a buffer, and
 * decisions are asked for by events. An event that says "answer" stops the
 * engine until smtp_server_answer() is called, which may happen inside the
 * event or any time later; the owner then feeds the rest of its input again.
 * So a client that sends its whole session ahead is served in order.
 *
 * RFC 5321, 2920 (PIPELINING), 1870 (SIZE), 6152 (8BITMIME), 2034, 3207
 * (STARTTLS), 4954 (AUTH), 3461 (DSN), 6531 (SMTPUTF8), 3030 (CHUNKING and
 * BINARYMIME), 9422 (LIMITS), 8689 (REQUIRETLS), 1985 (ETRN).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "smtp/dsn.h"
#include "smtp/status.h"

struct smtp_server;

#define SMTP_MECHANISM_SIZE 21	 /* RFC 4422 section 3.1 */
#define SMTP_CHALLENGE_MAX  9000 /* bytes, of a line of 12288 (RFC 4954 section 4) */

/* Extensions that can be switched off: not announced then, and not taken. */
enum smtp_extension {
	SMTP_PIPELINING = 1u << 0, /* cannot be refused: the keyword alone goes */
	SMTP_SIZE = 1u << 1,
	SMTP_VRFY = 1u << 2,
	SMTP_ENHANCED_CODES = 1u << 3, /* the keyword alone */
	SMTP_8BITMIME = 1u << 4,
	SMTP_DSN = 1u << 5,
	SMTP_SMTPUTF8 = 1u << 6,
	SMTP_CHUNKING = 1u << 7, /* BINARYMIME with it */
	SMTP_BINARYMIME = 1u << 8,
	SMTP_LIMITS = 1u << 9, /* the keyword alone */
	SMTP_REQUIRETLS = 1u << 10,
	SMTP_ETRN = 1u << 11,
};

/* By keyword, in any case; 0: not one of these. */
unsigned int smtp_extension_parse(struct slice keyword);

struct smtp_server_options {
	const char *hostname;	      /* in the greeting and the reply to EHLO */
	const char *append_domain;    /* completes bare addresses (myorigin) */
	uint64_t size_limit;	      /* bytes of one message; 0: no limit */
	unsigned int recipient_limit; /* of one message; 0: no limit */
	unsigned int junk_limit;      /* refused commands before 421; 0: 20 */

	bool starttls;	   /* offer STARTTLS while the session is clear */
	bool tls_required; /* nothing but the basics before TLS: 530 5.7.0 */
	const char *auth;  /* mechanisms offered, "PLAIN LOGIN"; NULL: no AUTH here; see hello() */
	bool auth_equals; /* announce them by "AUTH=", too, as clients of the draft of 1996 want it */
	bool auth_clear;    /* offer AUTH without TLS too */
	bool auth_required; /* no MAIL before AUTH: 530 5.7.0 */

	bool etrn; /* offer ETRN */

	unsigned int discarded; /* enum smtp_extension, or-ed */

	bool hello_required; /* no MAIL and AUTH before EHLO or HELO: 503 5.5.1 */
};

/* A mail transaction's sender. Strings belong to the engine until the transaction ends. */
struct smtp_mail {
	const char *sender; /* envelope address, "" for <> */
	uint64_t size;	    /* SIZE=, 0 when not given */
	bool body_8bit;	    /* BODY=8BITMIME */
	bool body_binary;   /* BODY=BINARYMIME */
	bool requiretls;    /* REQUIRETLS */
	const char *auth;   /* AUTH=, decoded, "<>" for an unknown submitter, or NULL */

	const char *envelope_id;    /* ENVID=, decoded, "" when not given */
	enum smtp_return returning; /* RET= */
	bool smtputf8;		    /* addresses, and the header, may be UTF-8 */
};

/* The strings live as long as the sender's. */
struct smtp_rcpt {
	const char *recipient;
	const char *original; /* as typed, before the domain was completed */
	const char *orcpt;    /* ORCPT=, decoded (smtp/dsn.h), "" when not given */
	unsigned int notify;  /* NOTIFY=, enum smtp_notify or-ed; 0 when not given */
};

/*
 * An event may call any function of the engine but smtp_server_input() and
 * smtp_server_free(). hello, reset and rejected may be NULL.
 */
struct smtp_server_events {
	/*
	 * EHLO or HELO was accepted. Bytes of the name that would end a word or
	 * open a comment in a header or log line have become '?'. Here, and before
	 * the first input, the owner may change which mechanisms it offers; "":
	 * none for now.
	 */
	void (*hello)(void *arg, const char *name, bool esmtp);

	/* 220 was appended: flush, drop all input, start TLS, then smtp_server_secured(). */
	void (*starttls)(void *arg);

	/*
	 * AUTH: an exchange begins, by one of the mechanisms offered, spelled as
	 * there. initial is what the client says at once, decoded; NULL: it waits for
	 * a challenge. Answer, or smtp_server_challenge(). 235 marks the session
	 * authenticated. The strings are valid during the call, then what was decoded
	 * is wiped; of the input, the owner wipes what it feeds.
	 */
	void (*auth)(void *arg, const char *mechanism, const struct slice *initial);

	/* What the client says to the challenge, decoded. As before. */
	void (*auth_response)(void *arg, struct slice response);

	/* The client gave the exchange up, or what it said was no response: there will be no more. */
	void (*auth_abort)(void *arg);

	void (*mail)(void *arg,
		     const struct smtp_mail *mail); /* answer; 2xx begins a transaction */
	void (*rcpt)(void *arg, const struct smtp_rcpt *rcpt); /* answer */

	/*
	 * ETRN: the client asks for what waits for a domain; for its subdomains
	 * too. Answer. The string is valid during the call.
	 */
	void (*etrn)(void *arg, const char *domain, bool with_subdomains);

	/*
	 * verb is DATA, or that of the first BDAT, with at least one recipient
	 * accepted: answer 354 to go on, or refuse. A refusal of DATA leaves the
	 * transaction as it was; with BDAT that is over (RFC 3030 section 2).
	 */
	void (*data)(void *arg, const char *verb);

	/*
	 * A piece of the message, unstuffed, CRLF line ends; of any bytes where it
	 * is binary. Valid during the call.
	 */
	void (*body)(void *arg, struct slice bytes);

	/* The message is whole and without fault. Answer; the transaction ends with the answer. */
	void (*end_of_data)(void *arg);

	/*
	 * The transaction that mail() began is over without end_of_data():
	 * RSET, EHLO, STARTTLS, QUIT, a fault or excess size in the data, the end
	 * of the session (why: the status that was or will be replied; NULL for
	 * RSET and the like). Comes as soon as it is known: the rest of a message
	 * that is refused for what is in it is still read, but no more told.
	 */
	void (*reset)(void *arg, const struct smtp_status *why);

	/*
	 * A command was refused by the engine or an answer, or was one too many to
	 * be refused (421); for the log. verb is the command's, "END-OF-MESSAGE"
	 * for the message itself, "UNKNOWN", or "CONNECT" for a client that began
	 * with TLS.
	 */
	void (*rejected)(void *arg, const char *verb, const struct smtp_status *status);

	/*
	 * The last reply (221, 421, or what the session was ended with) was
	 * appended: flush and close.
	 */
	void (*quit)(void *arg);
};

/* options and events must outlive the engine, and output until quit() was called. */
struct smtp_server *smtp_server_new(const struct smtp_server_options *options,
				    const struct smtp_server_events *events, void *arg,
				    struct buf *output);
void smtp_server_free(struct smtp_server *s);

/* Append the 220 greeting (after the handshake on implicit TLS: tls is true). */
void smtp_server_greet(struct smtp_server *s, bool tls);

/*
 * Process the front of input and return how many bytes were used up. Less
 * than all: a line is incomplete, an answer is awaited, a pause was asked
 * for, TLS is to start, or the session is over. Once quit() or starttls() is
 * called the bytes are looked at no more, so these may free them.
 */
size_t smtp_server_input(struct smtp_server *s, struct slice input);

/* A status without enhanced code gets X.0.0. 421 ends the session, whatever it answers. */
void smtp_server_answer(struct smtp_server *s, const struct smtp_status *status);
bool smtp_server_is_waiting(const struct smtp_server *s);

/* The other answer to auth() and auth_response(), not encoded; at most SMTP_CHALLENGE_MAX bytes. */
void smtp_server_challenge(struct smtp_server *s, struct slice challenge);

/*
 * For calls inside of body(): take no more bytes of the message until resumed
 * (it is being written to disk). When these were the last, end_of_data() waits
 * too, and smtp_server_resume() calls it, since no more input may come.
 */
void smtp_server_pause(struct smtp_server *s);
void smtp_server_resume(struct smtp_server *s);

/* The handshake after STARTTLS is done: forget EHLO and AUTH (RFC 3207 section 4.2). */
void smtp_server_secured(struct smtp_server *s);

/*
 * End the session with this status (421) as soon as no answer is awaited and
 * no TLS handshake is under way; a running transaction is reset. quit() tells.
 * Only the first call counts.
 */
void smtp_server_end(struct smtp_server *s, const struct smtp_status *status);

bool smtp_server_in_transaction(const struct smtp_server *s);

/*
 * For calls inside of end_of_data(): the message is made of lines, as all are
 * but binary ones, and some of these too.
 */
bool smtp_server_has_lines(const struct smtp_server *s);

/* The message has begun and has not ended: behind 354, or behind the first of its BDATs. */
bool smtp_server_in_message(const struct smtp_server *s);

bool smtp_server_is_authenticated(const struct smtp_server *s);
const char *smtp_server_hello(const struct smtp_server *s); /* name given; NULL: none yet */

/*
 * "SMTP", "ESMTP", "ESMTPS", "ESMTPA", "ESMTPSA": the with clause (RFC 3848);
 * "UTF8SMTP…" in a transaction with SMTPUTF8 (RFC 6531 section 4.3).
 */
const char *smtp_server_protocol(const struct smtp_server *s);

/* Counts of commands for the disconnect line: "ehlo=1 mail=1 rcpt=0/1 ... commands=3/4". */
void smtp_server_summary(const struct smtp_server *s, struct buf *out);
