/*
 * client_internal - what the files of the client engine share
 *
 * Two things move. The state says what the owner may ask for. The queue of
 * awaited replies says what the server still owes, in order: each command
 * that is sent appends an entry, each reply takes the oldest. With pipelining
 * the queue runs ahead of the replies; without it, it holds one entry.
 *
 * An entry names its envelope, and handlers look nowhere else, so that more
 * than one may be under way. What is sent when is decided in client_mail.c
 * alone.
 */
#pragma once

#include "base/arena.h"
#include "smtp/client.h"
#include "smtp/data.h"
#include "smtp/reply.h"

#define AUTH_TEXT_SIZE 256 /* longer lists of mechanisms are cut */

enum client_state {
	CLIENT_OPENING,	   /* the greeting or the reply to EHLO is awaited */
	CLIENT_READY,	   /* nothing is awaited; the owner decides what comes next */
	CLIENT_ASKING,	   /* STARTTLS, AUTH, or RSET outside of a transaction, was sent */
	CLIENT_CHALLENGED, /* 334 came in reply to AUTH: the owner gives the response */
	CLIENT_HANDSHAKE,  /* STARTTLS was accepted; the owner will say when TLS is up */
	CLIENT_ENVELOPE,   /* a transaction, up to the reply to DATA */
	CLIENT_BODY,	   /* 354 came: the owner gives the message */
	CLIENT_RESULT,	   /* the end of data was sent */
	CLIENT_REFUSED,	   /* failed() was told; QUIT is all that may be sent */
	CLIENT_LEAVING,	   /* QUIT was sent */
	CLIENT_OVER,	   /* nothing may be sent, and what comes is ignored */
};

/* What a reply answers. */
enum client_await {
	AWAIT_GREETING,
	AWAIT_EHLO,
	AWAIT_HELO, /* after EHLO was refused */
	AWAIT_LHLO,
	AWAIT_STARTTLS,
	AWAIT_AUTH,	   /* and to each response */
	AWAIT_AUTH_CANCEL, /* to the '*' that breaks it off */
	AWAIT_RSET,
	AWAIT_MAIL,
	AWAIT_RCPT,
	AWAIT_DATA,
	AWAIT_END,	 /* the end of the message; with LMTP one for each recipient */
	AWAIT_EMPTY_END, /* the end of a message that must go to nobody */
	AWAIT_QUIT,
	AWAIT_NOTHING,
};

struct envelope;

struct awaited {
	enum client_await what;
	unsigned int recipient;	   /* AWAIT_RCPT, and AWAIT_END with LMTP */
	struct envelope *envelope; /* NULL outside of transactions */
};

enum fate {
	FATE_OPEN,     /* the server has not decided */
	FATE_ACCEPTED, /* RCPT was accepted */
	FATE_TOLD,     /* the owner knows the status */
};

/* The next command of an envelope. */
enum envelope_step {
	STEP_RSET,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_NONE, /* all are sent */
};

struct envelope {
	const struct smtp_transaction *transaction; /* the owner's; NULL: none is running */
	unsigned char *fates;			    /* enum fate of each recipient */
	unsigned int open;			    /* recipients without a told fate */
	enum envelope_step step;
	unsigned int next_recipient; /* of STEP_RCPT */
	unsigned int accepted;	     /* RCPTs that the server accepted */
	bool mail_refused;
};

struct smtp_client {
	struct smtp_client_options options;
	const struct smtp_client_events *events;
	void *arg;
	struct buf *output;

	enum client_state state;
	struct buf awaited;	     /* struct awaited each, oldest first */
	enum client_await answering; /* the reply that is being handled, for the stage */
	struct smtp_reply reply;
	bool unasked;	 /* the input starts with bytes that came before a question */
	bool drop_input; /* what stands behind the reply that is being handled */

	struct smtp_capabilities capabilities;
	char auth[AUTH_TEXT_SIZE]; /* capabilities.auth */

	struct buf held_response; /* the first one to AUTH, where the command has no room for it */

	bool mail_open; /* the server has a MAIL that no end of data has finished */
	bool telling_done, done_again;
	struct envelope envelope;
	struct arena arena; /* of the envelope */
	struct smtp_data_writer writer;
};

/* client.c */
void client_enter(struct smtp_client *c, enum client_state state);

/* Append the command of what, without its arguments and CRLF, and await its reply. */
void client_ask(struct smtp_client *c, enum client_await what, struct envelope *e,
		unsigned int recipient);
void client_await(struct smtp_client *c, enum client_await what, struct envelope *e,
		  unsigned int recipient);
bool client_is_awaiting(const struct smtp_client *c);
void client_fail(struct smtp_client *c, const struct smtp_status *status);

/* The reply to what is well-formed but makes no sense. That never fails mail for good. */
void client_protocol_error(struct smtp_client *c, enum client_await what);

/* client_auth.c: handlers of replies to AUTH */
void client_auth_challenged(struct smtp_client *c, const struct awaited *a);
void client_auth_answered(struct smtp_client *c, const struct awaited *a);
void client_auth_not_cancelled(struct smtp_client *c, const struct awaited *a);

/* client_mail.c: handlers of replies in a transaction */
void client_mail_reset(struct smtp_client *c, const struct awaited *a);
void client_mail_accepted(struct smtp_client *c, const struct awaited *a);
void client_mail_refused(struct smtp_client *c, const struct awaited *a);
void client_rcpt_accepted(struct smtp_client *c, const struct awaited *a);
void client_rcpt_refused(struct smtp_client *c, const struct awaited *a);
void client_data_accepted(struct smtp_client *c, const struct awaited *a);
void client_data_refused(struct smtp_client *c, const struct awaited *a);
void client_end_answered(struct smtp_client *c, const struct awaited *a);
void client_empty_end_answered(struct smtp_client *c, const struct awaited *a);

/* client_hello.c: lines as in struct smtp_reply. ret->auth points to auth. */
void client_capabilities_parse(struct slice lines, struct smtp_capabilities *ret,
			       char auth[AUTH_TEXT_SIZE]);
