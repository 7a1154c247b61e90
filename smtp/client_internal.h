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
 * alone; client_body.c is about the message itself.
 */
#pragma once

#include "base/list.h"
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
	CLIENT_MAILING,	   /* there are transactions */
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
	AWAIT_CHUNK,	 /* BDAT (RFC 3030) */
	AWAIT_LAST,	 /* BDAT LAST */
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

/* What an envelope sends next. */
enum envelope_step {
	STEP_RSET,
	STEP_MAIL,
	STEP_RCPT,
	STEP_DATA,
	STEP_ANSWER, /* DATA was sent: the message follows its reply */
	STEP_CHUNKS, /* the message, by BDAT */
	STEP_BODY,   /* the owner is asked for the message */
	STEP_UNDO,   /* there is none: RSET */
	STEP_NONE,   /* all is sent */
};

/* A transaction from its beginning to done(). */
struct envelope {
	struct list link; /* of envelopes, or of finished */
	const struct smtp_transaction *transaction;
	enum envelope_step step;
	unsigned int next_recipient; /* of STEP_RCPT */
	unsigned int accepted;	     /* RCPTs that the server accepted */
	unsigned int owed;	     /* replies that are awaited for it */
	unsigned int open;	     /* recipients without a told fate */
	bool by_bdat;
	bool mail_refused, chunk_refused;
	bool is_ended;	       /* the end of the message was sent */
	unsigned char fates[]; /* enum fate of each recipient */
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
	size_t answerable; /* so many of awaited were sent before the input came */
	bool unasked;	   /* the input starts with bytes that came before a question */
	bool drop_input;   /* what stands behind the reply that is being handled */

	struct smtp_capabilities capabilities;
	char auth[AUTH_TEXT_SIZE]; /* capabilities.auth */

	struct buf held_response; /* the first one to AUTH, where the command has no room for it */

	bool mail_open;	       /* by its replies, the server has a MAIL that nothing has finished */
	struct list envelopes; /* struct envelope: those that are not done, oldest first */
	unsigned int envelope_count;
	uint64_t envelope_bytes;  /* of their messages */
	struct envelope *sending; /* the newest of them, until all of it is sent; NULL: none */
	bool is_refusing;	  /* it tells what no server has said */
	struct list finished;	  /* those whose done() is to be told */
	bool telling_done;
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
bool client_pipelines(const struct smtp_client *c);

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

void client_tell(struct smtp_client *c, struct envelope *e, unsigned int recipient,
		 const struct smtp_status *status);
void client_tell_all(struct smtp_client *c, struct envelope *e, const struct smtp_status *status);

/* What may be sent now is sent; an envelope with nothing left to come is done, and gone. */
void client_proceed(struct smtp_client *c, struct envelope *e);

/* The session is over, at this point: tell of each envelope what became of it, and forget it. */
void client_break(struct smtp_client *c, enum client_await at, const struct smtp_status *status);
void client_forget_envelopes(struct smtp_client *c);

/* client_body.c */
bool client_uses_bdat(const struct smtp_client *c);
void client_data_accepted(struct smtp_client *c, const struct awaited *a);
void client_data_refused(struct smtp_client *c, const struct awaited *a);
void client_end_answered(struct smtp_client *c, const struct awaited *a);
void client_empty_end_answered(struct smtp_client *c, const struct awaited *a);
void client_chunk_accepted(struct smtp_client *c, const struct awaited *a);
void client_chunk_refused(struct smtp_client *c, const struct awaited *a);

/* client_refuse.c: tell what can be known without asking the server */
void client_refuse(struct smtp_client *c, struct envelope *e);
bool client_needs_utf8(const struct smtp_transaction *t);

/* client_hello.c: lines as in struct smtp_reply. ret->auth points to auth. */
void client_capabilities_parse(struct slice lines, const char *discard,
			       struct smtp_capabilities *ret, char auth[AUTH_TEXT_SIZE]);
