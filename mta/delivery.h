/*
 * delivery - one attempt: one message to some of its recipients over one route
 *
 * Made by the scheduler, queued in a lane, carried out by an outbound
 * connection or by the local deliverer, and handed back to the scheduler with
 * a status for every recipient.
 */
#pragma once

#include "mta/dial.h"
#include "mta/worker.h"
#include "tls/session.h"

/* A message in memory, while deliveries of it are on. The scheduler's. */
struct active {
	struct list link;
	struct queue_message *message;
	int64_t active_ms;     /* when it came to the scheduler, Unix milliseconds */
	size_t bytes;	       /* counted against the memory budget */
	unsigned int holds;    /* deliveries that have not come back */
	bool removed;	       /* from the queue: nothing is left to do */
	struct list suspended; /* deliveries that came back to wait for their lane in the queue */
};

/* How the attempt went on the wire, for the log and the ledger. */
struct delivery_attempt {
	char relay
		[DIAL_RELAY_SIZE]; /* "host[192.0.2.1]:25", "host[/run/lmtp]", "virtual", "none" */
	char peer[DIAL_PEER_SIZE]; /* "192.0.2.1:25", "unix:/run/lmtp"; "" where there is none */
	bool connected;		   /* envelope commands could be sent */
	bool dsn;		   /* the peer reports to senders itself (RFC 3461) */
	bool encrypted;		   /* then tls says how; else, what certificate a peer showed */
	struct tls_facts tls;	   /*   in a handshake that failed; strings outlive the session */
	int64_t connect_ms, send_ms, done_ms; /* wall clock; 0: never got so far */
};

struct delivery_recipient {
	unsigned int index;		     /* in the message */
	const struct transport_route *route; /* its own, a reference; the lane is the delivery's */
	bool known;			     /* status is final for this attempt */
	bool untried;	 /* deferred without an attempt of its own: not counted */
	int64_t due_ms;	 /* 0, or no try before then; with untried: when to try */
	bool by_peer;	 /* the status is in the peer's words, */
	bool is_verdict; /*   and its answer to RCPT or to the end of the message, */
	bool at_rcpt;	 /*   to RCPT */
	struct smtp_status status;
};

struct delivery;

/* Who makes deliveries and gets them back, to free them. */
struct delivery_owner {
	/* All recipients have a status, which nobody has recorded yet. */
	void (*finished)(struct delivery_owner *owner, struct delivery *d);

	/*
	 * The queue knows what became of it; removed: of the whole message. The
	 * notifications to the sender are claimed and become the owner's; the
	 * array does not.
	 */
	void (*settled)(struct delivery_owner *owner, struct delivery *d, bool removed,
			struct queue_message *const *notifications, size_t count);

	/* Not tried, or not recorded (the server stops): it stays in the queue as it was. */
	void (*dropped)(struct delivery_owner *owner, struct delivery *d);

	/* Not tried, and its route is out of date. */
	void (*rerouted)(struct delivery_owner *owner, struct delivery *d);

	/* Part of a delivery has become one of its own, which is the owner's, too. */
	void (*split)(struct delivery_owner *owner, struct delivery *part);
};

struct delivery {
	struct list link; /* of the lane that it waits in; then of active->suspended */
	struct delivery_owner *owner;
	struct active *active;
	struct queue_message *message;
	const struct transport_route *route; /* a reference */
	struct delivery_attempt attempt;
	unsigned int count, room; /* room: what recipients[] is large enough for */
	unsigned int unknown;	  /* recipients without a status yet */
	int64_t waits_for;	  /* what is deferred waits for this lane; 0: for its time alone */
	bool was_in_clear;	  /* another host was told the envelope in the clear before */
	bool is_probe;	    /* its next hop was down, and may still be: tried, but not counted */
	bool envelope_only; /* it asks who is there, and has no message (mta/verify_probe.h) */
	bool damaged;	    /* the stored body is not what was accepted: hold, for the operator */
	struct delivery_recipient recipients[];
};

/*
 * What operators know the next hop of a route by; a route to the recipient's
 * own domain has no name of its own. "" where nothing is relayed.
 */
const char *delivery_next_hop(const struct transport_route *route);

/* The program of Postfix's that would do it, as the log has it: "smtp", "lmtp", "virtual". */
const char *delivery_program(const struct transport_route *route);

/* Set one recipient's status; the first one counts. index is the place in recipients[]. */
void delivery_report(struct delivery *d, unsigned int index, const struct smtp_status *status);

/* Set the status of all that have none. */
void delivery_report_rest(struct delivery *d, const struct smtp_status *status);

/* For one recipient at least. */
bool delivery_is_taken(const struct delivery *d);

/* All have a status: back to the owner. */
void delivery_finish(struct delivery *d);

/* Not tried after all: back to the owner. */
void delivery_drop(struct delivery *d);

/* Not tried, as there are new options: the owner finds another route. */
void delivery_reroute(struct delivery *d);

/*
 * What one transaction cannot carry becomes a delivery of its own, untried:
 * the recipients that moves[] names, none of which has a status; some, not all.
 */
struct delivery *delivery_split(struct delivery *d, const bool *moves);
