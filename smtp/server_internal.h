/*
 * server_internal - what the files of the server engine share; nobody else includes it
 *
 *	server.c		life, states, replies, answers
 *	server_input.c		from bytes to lines, from lines to commands; the table
 *	server_commands.c	EHLO and whatever needs no transaction
 *	server_auth.c		AUTH
 *	server_mail.c		MAIL and RCPT
 *	server_data.c		DATA, the message and its end
 *	server_bdat.c		BDAT, the message in chunks
 */
#pragma once

#include "base/arena.h"
#include "smtp/address.h"
#include "smtp/data.h"
#include "smtp/server.h"

#define SERVER_LINE_MAX	     2048  /* RFC 5321 section 4.5.3.1.4 asks for 512 and the extensions' */
#define SERVER_AUTH_LINE_MAX 12288 /* RFC 4954 section 4 */
#define SERVER_HELLO_SIZE    256   /* RFC 5321 section 4.5.3.1.2 */
#define SERVER_REPLY_MAX     512   /* RFC 5321 section 4.5.3.1.5 */
#define SERVER_TOO_BIG	     "Error: message file too big"
#define SERVER_COMMAND_COUNT 15

enum server_state {
	SERVER_NEW,	 /* nothing was said yet */
	SERVER_GREETED,	 /* 220 was sent, or TLS has begun; no EHLO or HELO since */
	SERVER_READY,	 /* EHLO or HELO was accepted; no mail transaction */
	SERVER_MAIL,	 /* in a transaction without recipients */
	SERVER_RCPT,	 /* in a transaction with recipients */
	SERVER_AUTH,	 /* 334 was sent: the next line is a response, no command */
	SERVER_CHUNKS,	 /* a BDAT of a message was answered, and none of them was the last */
	SERVER_DATA,	 /* 354 was sent: what comes is the message */
	SERVER_CHUNK,	 /* what comes are the octets of a BDAT, taken or dropped */
	SERVER_ASK_AUTH, /* these seven: the owner was asked, nothing moves until it answers */
	SERVER_ASK_ETRN,
	SERVER_ASK_MAIL,
	SERVER_ASK_RCPT,
	SERVER_ASK_DATA,
	SERVER_ASK_CHUNK,
	SERVER_ASK_END,
	SERVER_STARTTLS, /* 220 was sent to STARTTLS; nothing moves until the handshake is done */
	SERVER_OVER,	 /* the last reply was sent */
};

struct server_command {
	const char *verb;
	void (*run)(struct smtp_server *s, struct slice args);
	unsigned int allowed; /* states, see IN() in server_input.c */
	unsigned int flags;
	const char *misplaced; /* text of the 503 in other states */
};

/* In the order of Postfix's disconnect line; the last entry stands for all unknown ones. */
extern const struct server_command server_commands[SERVER_COMMAND_COUNT];

/* One BDAT. */
struct server_chunk {
	uint64_t size;		    /* octets, as the client has said */
	uint64_t left;		    /* of them, that have not come yet */
	bool is_last;		    /* of the message */
	struct smtp_status refusal; /* why it is dropped, once it was read; code 0: it is not */
	enum server_state then;	    /* where a refusal leads */
};

struct server_count {
	unsigned int good, total;
};

struct smtp_server {
	const struct smtp_server_options *options;
	const struct smtp_server_events *events;
	void *arg;
	struct buf *output;

	enum server_state state; /* server_enter() alone assigns it */
	bool tls, esmtp;
	bool skipping_line; /* the rest of a line that was too long is to be dropped */
	bool processing;    /* inside of input or answer: smtp_server_end() waits */
	bool ending;	    /* smtp_server_end() was called, with end_status */
	struct smtp_status end_status;

	const struct server_command *command; /* the one that the next final reply is for */
	const char *verb;		      /* its name in rejected() */
	struct server_count counts[SERVER_COMMAND_COUNT];
	unsigned int errors; /* refused commands since the last message was taken */
	unsigned int junk;   /* commands since then that bring no mail forward */

	bool has_hello;
	char hello[SERVER_HELLO_SIZE];

	bool authenticated;

	bool in_transaction; /* mail() was answered with 2xx, and reset() not called since */
	struct arena arena;  /* what the transaction's strings live in */
	struct smtp_mail mail;
	struct smtp_rcpt rcpt;
	unsigned int rcpt_count;     /* accepted */
	unsigned int rcpt_overshoot; /* refused for passing recipient_limit */

	struct smtp_data_reader reader;
	struct buf body; /* scratch: unstuffed bytes on their way to body() */
	bool paused;	 /* no body bytes are taken */
	bool data_ended; /* CRLF.CRLF, or all of a chunk, was read; while paused nobody is told */
	struct server_chunk chunk;
	uint64_t announced;	 /* by all BDATs of the message */
	unsigned int refusals;	 /* of BDATs without another command in between */
	struct smtp_status doom; /* why the message will be refused; code 0: so far it is fine */
};

/* server.c */

void server_enter(struct smtp_server *s, enum server_state state);

/* To GREETED or READY, whichever it was before the transaction or AUTH. */
void server_enter_idle(struct smtp_server *s);

/* Appends a reply of one line. */
void server_append(struct smtp_server *s, const struct smtp_status *status);

/* End the session if that was asked for and nothing stands against it any more. */
void server_end_if_due(struct smtp_server *s);

/* Tells the log. */
void server_rejected(struct smtp_server *s, const struct smtp_status *status);

/*
 * A command is finished, and status, whose reply was appended, is what became
 * of it. Counts it, and ends the session where it is due, so this comes last.
 */
void server_settle(struct smtp_server *s, const struct smtp_status *status);

/* Append and settle in one; of the second the status is made from the arguments. */
void server_reply_status(struct smtp_server *s, const struct smtp_status *status);
void server_reply(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		  const char *format, ...) __attribute__((format(printf, 4, 5)));

/* A command that brings no mail forward: past a number of them each is an error. */
void server_count_idle(struct smtp_server *s);

/* End the session if there were too many errors; the last thing of a command, too. */
void server_check_errors(struct smtp_server *s);

/* The last reply was appended: end transaction and session. */
void server_over(struct smtp_server *s, const struct smtp_status *why);

/* Forget the transaction; when mail() began one, the owner is told why it is over. */
void server_transaction_end(struct smtp_server *s, const struct smtp_status *why);

/* server_input.c */

/* Takes one line, or a piece of the message, from the front of *input. False: more is needed. */
bool server_take(struct smtp_server *s, struct slice *input);

/*
 * Of what the client says next nobody knows where it begins: reply, and end
 * the session with 421.
 */
void server_out_of_step(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
			const char *text);

/* server_commands.c */

/* Whether an extension was announced to this client. */
bool server_offers(const struct smtp_server *s, enum smtp_extension extension);

void server_cmd_helo(struct smtp_server *s, struct slice args);
void server_cmd_ehlo(struct smtp_server *s, struct slice args);
void server_cmd_starttls(struct smtp_server *s, struct slice args);
void server_cmd_rset(struct smtp_server *s, struct slice args);
void server_cmd_noop(struct smtp_server *s, struct slice args);
void server_cmd_vrfy(struct smtp_server *s, struct slice args);
void server_cmd_etrn(struct smtp_server *s, struct slice args);
void server_etrn_answered(struct smtp_server *s, const struct smtp_status *status);
void server_cmd_help(struct smtp_server *s, struct slice args);
void server_cmd_quit(struct smtp_server *s, struct slice args);

/* server_auth.c */

bool server_auth_is_offered(const struct smtp_server *s);
void server_cmd_auth(struct smtp_server *s, struct slice args);
void server_auth_response(struct smtp_server *s, struct slice line);

/* The exchange under way is over, for something that is no answer of the owner's. */
void server_auth_abort(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		       const char *text);
void server_auth_answered(struct smtp_server *s, const struct smtp_status *status);

/* server_mail.c */

void server_cmd_mail(struct smtp_server *s, struct slice args);
void server_cmd_rcpt(struct smtp_server *s, struct slice args);
void server_mail_answered(struct smtp_server *s, const struct smtp_status *status);
void server_rcpt_answered(struct smtp_server *s, const struct smtp_status *status);

/* server_data.c */

void server_cmd_data(struct smtp_server *s, struct slice args);
void server_data_answered(struct smtp_server *s, const struct smtp_status *status);

/* Takes a piece of the message from the front of *input. */
void server_data_take(struct smtp_server *s, struct slice *input);

/* Whether a reason to refuse the message has turned up; if so the transaction is over. */
void server_data_judge(struct smtp_server *s);

/* Refuse the message, whose end is still to be read. */
void server_data_doom(struct smtp_server *s, const struct smtp_status *why);

/* The end was read and the owner takes it now: refuse the message, or ask for an answer. */
void server_data_end(struct smtp_server *s);
void server_end_answered(struct smtp_server *s, const struct smtp_status *status);

/* server_bdat.c */

void server_cmd_bdat(struct smtp_server *s, struct slice args);

/* BDAT is not for now: its octets are dropped all the same. */
void server_bdat_refuse(struct smtp_server *s, struct slice args,
			const struct smtp_status *refusal);
void server_bdat_answered(struct smtp_server *s, const struct smtp_status *status);

/* Takes octets of a chunk from the front of *input. */
void server_bdat_take(struct smtp_server *s, struct slice *input);

/* All of the chunk was read, and the owner takes what follows now. */
void server_bdat_end(struct smtp_server *s);
