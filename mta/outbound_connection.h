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
	const struct transport_hop *session_hop;
	unsigned int sessions; /* with hosts of that hop: those that came to be ready for mail */
	const struct dial_target *target; /* the dialler's; NULL: there was none yet */
	bool retry_clear;	  /* the last handshake failed and the policy permits clear text: */
	bool stay_clear;	  /*   no TLS on this connection */
	struct tls_policy strict; /* for mail with REQUIRETLS, with other names */

	struct stream *stream;
	struct smtp_client *client;
	struct buf commands;
	struct outbound_login *login;	 /* NULL: none is under way */
	struct delivery_attempt attempt; /* what is known of the connection so far */
	struct smtp_status trouble;	 /* why the last address was no good */
	bool is_trouble_new;		 /* and the log does not have it yet */
	bool is_trouble_said;		 /* in the words of the peer */
	struct smtp_status hope;	 /* the last trouble that was not for good, */
	bool has_hope;			 /*   if there was one */

	struct list flights;	   /* those under way, in the order of their answers */
	struct list returned;	   /* struct delivery: those that go back to the lane */
	struct delivery *moving;   /* its connection broke: it goes along to the next address */
	bool taking;		   /* inside outbound_mail_next() */
	bool went_through;	   /* a transaction has */
	bool is_spent;		   /* it takes no more deliveries */
	unsigned int refused;	   /* recipients that were only asked for */
	unsigned int in_doubt;	   /* messages that the peer may have, as the connection broke */
	bool is_broken_off;	   /* amid a message */
	unsigned int transactions; /* begun */
	unsigned int rcpt_max;	   /* recipients of one, as it turned out; 0: no limit yet */
	char **domains;		   /* of recipients so far, where the peer limits them */
	size_t domain_count;
	int64_t ready_ms, idle_ms;

	struct flight *giving;	  /* whose message is read from its file for the engine */
	struct delivery *read_of; /* whom the reader is for */
	struct queue_body_reader reader;
	struct loop_work read_work;
	struct error read_error;
	struct buf piece;
	int64_t piece_len;
	bool reading; /* read_work is with the thread pool: the message must stay, */
	void (*parked_end)(struct delivery *d); /*   so the end of its delivery waits for that */
};

/* A transaction under way, with its delivery. */
struct flight {
	struct list link;
	struct delivery *delivery;
	struct smtp_transaction transaction;
	bool body_begun; /* the engine has asked for the message */
	bool is_sent;	 /* all of it was given to the engine, */
	bool has_left;	 /*   and the kernel has taken it */
	struct smtp_recipient recipients[];
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

/* What the peer says while it is asked to let us in, without passwords; memory is for the result. */
const struct smtp_status *outbound_login_censored(struct outbound *o,
						  const struct smtp_status *status,
						  struct smtp_status *memory);
void outbound_login_end(struct outbound *o); /* whatever it has come to; wipes */

/*
 * outbound_mail.c. The connection is ready for deliveries, or for more: it
 * takes what the lane has for it.
 */
void outbound_mail_next(struct outbound *o);

/*
 * The session has failed. Whether a delivery may be tried at the next address
 * at once: then it is outbound_mail_next() that goes on with it, or
 * outbound_mail_moved_in_vain() when there is no address left.
 */
bool outbound_mail_moves(const struct outbound *o);
void outbound_mail_moved_in_vain(struct outbound *o, const struct smtp_status *status);

/* What broken() has left goes back to the lane. */
void outbound_mail_return(struct outbound *o);

/* Deliveries that are on go back to the queue untried. */
void outbound_mail_drop(struct outbound *o);

/* A delivery that cannot go on ends with the status that all of its recipients have. */
void outbound_mail_give_up(struct outbound *o, struct flight *f);

/* Whether part of a message is on its way; and whether the peer has all of one. */
bool outbound_mail_is_begun(const struct outbound *o);
bool outbound_mail_is_owed(const struct outbound *o);
bool outbound_mail_is_only_asking(const struct outbound *o);

/* The engine's events. */
void outbound_mail_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			     const struct smtp_status *status);
void outbound_mail_done(void *arg, const struct smtp_transaction *t);
void outbound_mail_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
			  const struct smtp_status *status);
void outbound_mail_init(struct outbound *o);
void outbound_mail_free(struct outbound *o);

/* outbound_body.c: the engine wants a message; the kernel has taken all there was */
void outbound_body_wanted(void *arg, const struct smtp_transaction *t);
void outbound_body_drained(struct outbound *o);

/* A flight has ended: what was waiting for it goes on. */
void outbound_body_unblock(struct outbound *o);

/*
 * For a delivery that has no flight any more: whether its message is being read
 * now. If not, the reader has let go of it.
 */
bool outbound_body_is_read(struct outbound *o, const struct delivery *d);

/* The same; if so, end(d) is called when that is done. */
bool outbound_body_holds(struct outbound *o, struct delivery *d, void (*end)(struct delivery *d));
void outbound_body_init(struct outbound *o);
