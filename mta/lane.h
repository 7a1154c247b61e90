/*
 * lane - the deliveries of one worker for one route, and its connections
 *
 * A route is transport, next hops and TLS policy together: messages that share
 * all three share a lane. A lane opens connections as work arrives, up to the
 * worker's part of the next hop's limit, and keeps them for what comes next.
 *
 * When no next hop can be used, the lane backs off: what waits is deferred,
 * and so is what comes, until the time of the next try, which one connection
 * makes alone. Other lanes never wait for this one.
 */
#pragma once

#include "mta/delivery.h"
#include "mta/snapshot.h"

/* The lane's part of a connection (struct outbound). */
struct lane_connection {
	struct list link; /* of idle or busy */
	bool ready;	  /* has been ready for deliveries */
};

struct lane {
	struct mta_worker *worker;
	struct mta_view *view; /* a reference */
	const struct transport_route *route;
	struct list ready; /* struct delivery, waiting for a connection */
	unsigned int ready_count;
	struct list idle, busy;	  /* struct lane_connection */
	unsigned int connections; /* in both lists */
	unsigned int connecting;  /* of them, not ready yet */
	unsigned int limit, limit_max;
	unsigned int hop;      /* the one that answered last is tried first, */
	int64_t hop_until_ms;  /*   until then: afterwards they are tried in order again */
	unsigned int failures; /* in a row; 0: the next hop is up, or was never tried */
	int64_t retry_ms;      /* backing off until then, Unix milliseconds; 0: not */
	bool stopping;
	bool retired;	  /* its options are out of date: it ends with its last connection, */
	struct list link; /*   and is in this list until then */
	struct delivery_attempt trouble; /* what failed last, */
	struct smtp_status status;	 /* and how */
	struct loop_task run_task, free_task;
};

struct lane *lane_new(struct mta_worker *worker, const struct transport_route *route);
void lane_free(struct lane *lane); /* drops what still waits; connections must have ended */

/* Nothing waits, nothing is connected, and there is no back-off to remember. */
bool lane_is_idle(const struct lane *lane);

/* Deliver, now or as soon as a connection is free. */
void lane_push(struct lane *lane, struct delivery *d);

/* Try at once, as if nothing had failed. */
void lane_forget_failures(struct lane *lane);

/* Drop what waits for a connection; it stays in the queue. */
void lane_drop_waiting(struct lane *lane);

/* The connection is ready. Returns its next delivery; NULL: none, it is now idle. */
struct delivery *lane_take(struct lane *lane, struct lane_connection *c);

/* A delivery could not be begun on its connection: it goes first on another. */
void lane_put_back(struct lane *lane, struct delivery *d);

/* The index of the next hop to begin with, and the news that one is ready. */
unsigned int lane_first_hop(const struct lane *lane);
void lane_answered(struct lane *lane, unsigned int hop);

/* A transaction has gone through. */
void lane_succeeded(struct lane *lane);

/*
 * A connection is gone. status tells why none of the next hops could be used;
 * NULL: it had been ready and ended in order, or failed in mid-delivery.
 */
void lane_connection_ended(struct lane *lane, struct lane_connection *c,
			   const struct smtp_status *status,
			   const struct delivery_attempt *attempt);

/*
 * Begin nothing more, and close the connections that carry no delivery. What
 * waits is dropped; it stays in the queue.
 */
void lane_stop(struct lane *lane);

/*
 * There are new options. What waits is to be routed anew; connections close
 * when they have nothing to carry. The lane joins the list, and frees itself
 * when the last one has ended.
 */
void lane_retire(struct lane *lane, struct list *retired);

/* Whether connections that have no delivery are to close. */
bool lane_is_closing(const struct lane *lane);

/* Close all connections at once. */
void lane_abort(struct lane *lane);
