/*
 * inbound_session - what the files of an inbound session share:
 * inbound.c (connection, TLS), inbound_auth.c (AUTH), inbound_certificate.c (what
 * certificate the client has), inbound_mail.c (mail transactions),
 * inbound_rates.c (what it does too often) and inbound_etrn.c (ETRN)
 */
#pragma once

#include "mta/completion.h"
#include "mta/inbound.h"
#include "mta/login.h"
#include "mta/snapshot.h"
#include "mta/trace.h"
#include "mta/verify.h"
#include "net/stream.h"
#include "smtp/server.h"
#include "tls/session.h"

struct inbound {
	struct list link; /* of worker->sessions */
	struct mta_worker *worker;
	struct mta_view *view; /* a reference: the options that it began with */
	enum mta_service_kind kind;
	struct stream *stream; /* NULL: the connection is gone */
	struct smtp_server *server;
	struct smtp_server_options server_options;
	struct loop_timer *timer;
	int64_t deadline_ms; /* the timer's, on the loop's clock; 0: it does not run */
	struct loop_task free_task;
	struct net_address peer;
	struct mta_client client;
	struct tls_facts tls;		       /* once client.encrypted */
	char cert_name[256], cert_issuer[128]; /* of the client's certificate; safe to show */
	const char *stage;		       /* the last command, for the log */
	bool handshaking;
	bool ended_by_peer; /* no more input will come; what is buffered is still served */
	bool stop_wanted;   /* 421 at the end of the transaction */
	bool backed_up;	    /* the client does not read our replies: nothing more is served */
	bool counted;	    /* in the limits */
	bool was_no_room;   /* when something of the transaction was refused */
	bool is_no_certificate_told;
	bool is_told; /* the log has a line about the refusal that is sent now */
	char network[NET_ADDRESS_TEXT_SIZE]; /* whom limits count it as; "": nobody */

	/* AUTH */
	struct login_client login_client;
	char mechanisms[LOGIN_MECHANISMS_SIZE]; /* offered now; server_options.auth points here */
	struct login *login;			/* the exchange under way; NULL: none */
	bool login_awaited;			/* an answer */
	bool input_is_secret;			/* what the engine has just taken */
	char login_mechanism[SMTP_MECHANISM_SIZE];
	char user[256]; /* client.user points here */

	/* the mail transaction */
	struct queue_message *message; /* NULL: none */
	unsigned int accepted;	       /* recipients */
	const char *rcpt;	       /* the one that is being checked, for the log */
	struct loop_work rcpt_work;    /* the pool checks it, */
	struct smtp_rcpt rcpt_asked;   /*   in the message's arena */
	struct smtp_status rcpt_status;
	bool rcpt_awaited;
	struct loop_task rcpt_task; /* to answer it when others have had their turn */
	struct trace_scanner scanner;
	bool is_completed; /* by completion: it is from a user of ours */
	struct completion completion;
	struct buf piece;
	uint64_t reserved_bytes; /* of the memory that all sessions share */
	struct loop_work disk_work;
	int (*disk_step)(struct queue_body *body, struct error *err);
	struct error disk_error;
	int disk_result;
	bool writing;	 /* disk_work is with the thread pool */
	bool committing; /* append is with the queue */
	struct queue_append append;

	struct inbound_etrn *etrn; /* under way; NULL: none */

	struct smtp_rcpt asked; /* for whom RCPT waits */
	struct verify_wait verification;
};

extern const struct smtp_server_events inbound_events;

/* Feed buffered input to the engine, flush, arm the timer, end the session if it is over. */
void inbound_continue(struct inbound *s);

/* Whether the thread pool or the queue still holds memory of the session. */
bool inbound_is_busy(const struct inbound *s);

/* The disk or the queue is done: frees a session whose connection is gone, or goes on. */
void inbound_resume(struct inbound *s);

/* inbound_certificate.c: after the handshake, log what certificate the client has, if any. */
void inbound_note_certificate(struct inbound *s);

/*
 * A recipient was refused: where a certificate of relay_clientcerts would have
 * helped and the client has shown none, that is told, once.
 */
void inbound_note_no_certificate(struct inbound *s);

/* Set client.is_certified anew. False: it cannot be found out now. */
bool inbound_check_certificate(struct inbound *s);

/* For Received; valid as long as the session. */
void inbound_describe_tls(const struct inbound *s, struct trace_tls *ret);

/* Whether a refusal is for want of room, which the queue has told of once, for all. */
bool inbound_is_for_room(const struct inbound *s, const struct smtp_status *status);

/* inbound_mail.c: the engine's events for mail transactions */
void inbound_mail(void *arg, const struct smtp_mail *mail);
void inbound_rcpt(void *arg, const struct smtp_rcpt *rcpt);
void inbound_data(void *arg, const char *verb);
void inbound_body(void *arg, struct slice bytes);
void inbound_end_of_data(void *arg);
void inbound_reset(void *arg, const struct smtp_status *why);

/* Add a recipient that the policy accepts, and answer RCPT. */
void inbound_take_recipient(struct inbound *s, const struct smtp_rcpt *rcpt);

/*
 * inbound_verify.c: whether RCPT is to wait for what the next hop says; then
 * it is answered from there, perhaps at once. End: the client has gone.
 */
bool inbound_verify(struct inbound *s, const struct smtp_rcpt *rcpt);
void inbound_verify_end(struct inbound *s);

/* inbound_auth.c: what is offered from now on; the engine's events; and its end, when the client goes */
void inbound_auth_offer(struct inbound *s);
void inbound_auth(void *arg, const char *mechanism, const struct slice *initial);
void inbound_auth_response(void *arg, struct slice response);
void inbound_auth_abort(void *arg);
void inbound_auth_end(struct inbound *s);
void inbound_auth_hurry(struct inbound *s); /* the server stops: nobody waits for a login */
void inbound_auth_leave(struct inbound *s); /* if the client has: its place is free for others */

/* inbound_etrn.c: the engine's event */
void inbound_etrn(void *arg, const char *domain, bool with_subdomains);

/* inbound_rates.c: find out whom the limits count the client as. */
void inbound_rates_begin(struct inbound *s);

/*
 * Count an event of the client, and of who has logged in. False: there were
 * too many of it; the log says so, and *ret to the client.
 */
bool inbound_count_event(struct inbound *s, enum rate_event event, struct smtp_status *ret);

/* False: this client has made so many sessions that no handshake is worth its cost. Logged. */
bool inbound_may_begin_tls(struct inbound *s);

/* Answer with what inbound_count_event() has set. */
void inbound_answer_over_rate(struct inbound *s, const struct smtp_status *status);

/* inbound_limits.c. False: the network ("": without a limit) has too many connections. */
bool inbound_limits_connect(struct inbound_limits *limits, const char *network, unsigned int max);
void inbound_limits_disconnect(struct inbound_limits *limits, const char *network);

/* Account for body bytes in memory; *total is what all sessions hold afterwards. */
uint64_t inbound_limits_add_bytes(struct inbound_limits *limits, int64_t bytes);

/*
 * Whether an ETRN may look through the queue now: one at a time, after a
 * second for a tenth of the time, and not for a domain for which that was done lately. Times are of
 * the loop's clock. NOW is to be followed by an end.
 */
enum inbound_turn {
	INBOUND_TURN_NOW,
	INBOUND_TURN_LATELY,
	INBOUND_TURN_BUSY,
};

enum inbound_turn inbound_limits_etrn_begin(struct inbound_limits *limits, const char *domain,
					    int64_t now_ms);
void inbound_limits_etrn_end(struct inbound_limits *limits, int64_t took_ms);
