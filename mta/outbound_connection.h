/*
 * outbound_connection - what the files of an outbound connection share:
 * outbound.c (dialling, TLS) and outbound_mail.c (deliveries)
 */
#pragma once

#include "mta/dial.h"
#include "mta/outbound.h"
#include "net/stream.h"
#include "smtp/client.h"

enum outbound_state {
	OUTBOUND_DIALLING,  /* the dialler looks for an address that answers */
	OUTBOUND_HANDSHAKE, /* TLS, implicit or after STARTTLS */
	OUTBOUND_TALKING,   /* the engine decides */
	OUTBOUND_IDLE,	    /* ready, waiting for a delivery */
	OUTBOUND_RETRYING,  /* step_task dials again */
	OUTBOUND_DEAD,	    /* step_task frees */
};

struct outbound {
	struct lane_connection lane_connection;
	struct lane *lane;
	struct mta_worker *worker;
	enum outbound_state state;
	struct loop_task step_task;
	struct loop_timer *timer;

	struct dial *dial;
	const struct dial_target *target; /* the dialler's; NULL: there was none yet */
	bool retry_clear; /* the last handshake failed and the policy permits clear text: */
	bool stay_clear;  /*   no TLS on this connection */

	struct stream *stream;
	struct smtp_client *client;
	struct buf commands;
	struct outbound_login *login;	 /* NULL: none is under way */
	struct delivery_attempt attempt; /* what is known of the connection so far */
	struct smtp_status trouble;	 /* why the last address was no good */
	bool is_trouble_new;		 /* and the log does not have it yet */
	bool is_trouble_said;		 /* in the words of the peer */

	struct delivery *delivery;
	struct smtp_transaction transaction;
	struct smtp_recipient *recipients; /* of the transaction; its array is kept and grown */
	unsigned int recipients_size;
	struct delivery *moving; /* its connection broke: it goes along to the next address */
	bool taking;		 /* inside outbound_mail_next() */
	bool body_begun;	 /* the peer has asked for the message */
	unsigned int deliveries;
	int64_t ready_ms;

	struct queue_body_reader reader;
	struct loop_work read_work;
	struct error read_error;
	struct buf piece;
	int64_t piece_len;
	bool reading;		 /* read_work is with the thread pool: the message must stay, */
	struct delivery *parked; /*   so its delivery is handed back when that is done, */
	bool parked_drop;	 /*   dropped instead of finished */
};

/*
 * The one place where bytes for the peer leave: moves what the engine has
 * written to the stream, if the connection is what the policy asks for.
 */
void outbound_transmit(struct outbound *o);

/* Call after each use of the engine: transmits, arms the timer. */
void outbound_after_engine(struct outbound *o);

/*
 * The end. The lane forgets the connection now, the memory goes when callbacks
 * have returned. trouble: why no next hop could be used, NULL: see lane.h.
 */
void outbound_end(struct outbound *o, const struct smtp_status *trouble);

/* Say QUIT and end. */
void outbound_quit(struct outbound *o);

/*
 * This address is no good, o->trouble says why: on to the next when the callback
 * has returned; or with is_hop_over to the next hop.
 */
void outbound_give_up(struct outbound *o, bool is_hop_over);

/* All that is needed in front of mail has been done: TLS and AUTH. */
void outbound_ready(struct outbound *o);

/*
 * outbound_login.c: log in, where the next hop has a login. The connection is
 * given up unless outbound_ready() follows.
 */
void outbound_login(struct outbound *o);
void outbound_login_challenge(void *arg, struct slice challenge);
void outbound_login_authenticated(void *arg, const struct smtp_status *status);
void outbound_login_end(struct outbound *o); /* whatever it has come to; wipes */

/* outbound_mail.c: the connection is ready for deliveries, or for the next */
void outbound_mail_next(struct outbound *o);

/*
 * The session has failed. Whether its delivery may be tried at the next
 * address at once: then it is outbound_mail_next() that goes on with it, or
 * outbound_mail_moved_in_vain() when there is no address left.
 */
bool outbound_mail_moves(struct outbound *o, const struct smtp_status *status);
void outbound_mail_moved_in_vain(struct outbound *o, const struct smtp_status *status);

/* The session has failed; a delivery that was on gets this status. */
void outbound_mail_failed(struct outbound *o, const struct smtp_status *status);

/* A delivery that is on goes back to the queue untried. */
void outbound_mail_drop(struct outbound *o);

void outbound_mail_drained(struct outbound *o);

/* The engine's events, and the steps of reading a body. */
void outbound_mail_body_wanted(void *arg);
void outbound_mail_recipient(void *arg, unsigned int index, const struct smtp_status *status);
void outbound_mail_done(void *arg);
void outbound_mail_init(struct outbound *o);
