/*
 * lane - the deliveries of one worker for one route, and its connections
 *
 * A route is transport, next hops and TLS policy together: messages that share
 * all three share a lane. A lane opens connections as work arrives, up to the
 * worker's part of the next hop's limit, and keeps them for what comes next.
 *
 * When no next hop can be used, the lane backs off, together with those of
 * other workers for the same route (mta/health.h): what waits is suspended,
 * and so is what comes, until one connection of one worker has found the next
 * hop to be back. Suspended means deferred in the queue under the lane's name,
 * where it costs no memory: it is claimed again by that name when the lane has
 * room, whatever its due time. Where memory is short the same happens to what
 * waits for a slow next hop, so other lanes never wait for this one.
 */
#pragma once

#include "mta/delivery.h"
#include "mta/health.h"
#include "mta/snapshot.h"

/* The lane's part of a connection (struct outbound). */
struct lane_connection {
	struct list link;	/* of idle or busy */
	bool ready;		/* has been ready for deliveries */
	bool is_fruitful;	/* a transaction has gone through */
	bool has_passage;	/* mail was taken over it, and its health knows how that went */
	bool is_broken;		/* it failed in mid-delivery; the lane's status says how */
	unsigned int in_flight; /* deliveries that are on */
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
	unsigned int hop;     /* the one that answered last is tried first, */
	int64_t hop_until_ms; /*   until then: afterwards they are tried in order again */

	struct health_entry *health;
	bool is_probing;	  /* the only lane that may connect to a next hop that is down */
	bool is_proven;		  /* mail has gone through, and it did not go down since */
	unsigned int tried;	  /* connections that failed, and no answer to it yet */
	unsigned int fruitless;	  /* connections in a row that broke before any mail went through */
	int64_t ahead_from_ms;	  /* mail does not go behind other mail before */
	unsigned int turns;	  /* of its health, as last seen */
	int64_t shut_out_ms;	  /* others are connected and we are refused: not before then */
	struct loop_timer *timer; /* for the next probe, or the end of shut_out_ms */
	int64_t timer_ms;	  /* what it runs for, Unix milliseconds */

	int64_t name;		/* what suspended mail waits for: health_mail_name() */
	bool has_suspended;	/* there may be some in the queue */
	bool is_fed;		/* it is being claimed */
	int64_t fed_until_id;	/* it was looked through up to this message */
	struct list hungry;	/* of the scheduler, while it waits to be fed */
	unsigned int pushes;	/* deliveries that came; to see whether fed messages did */
	unsigned int allowance; /* deliveries that may wait in memory; UINT_MAX: no limit */
	unsigned int taken;	/* by connections since the last lane_measure() */

	bool stopping;
	bool retired;	  /* its options are out of date: it ends with its last connection, */
	struct list link; /*   and is in this list until then */
	struct delivery_attempt trouble; /* what failed last, */
	struct smtp_status status;	 /* and how */
	struct loop_task run_task, free_task;
};

struct lane *lane_new(struct mta_worker *worker, const struct transport_route *route);
void lane_free(struct lane *lane); /* drops what still waits; connections must have ended */

/* Nothing waits here or in the queue, and nothing is connected. */
bool lane_is_idle(const struct lane *lane);

/* Deliver, now or as soon as a connection is free; or suspend, until there is hope. */
void lane_push(struct lane *lane, struct delivery *d);

/* Try at once, as if nothing had failed. */
void lane_forget_failures(struct lane *lane);

/* Drop what waits for a connection; it stays in the queue. */
void lane_drop_waiting(struct lane *lane);

/* A delivery of this lane was suspended: a claim by the lane's name can have it now. */
void lane_suspended(struct lane *lane);

/*
 * The scheduler feeds a lane with what was suspended: when it is this hungry
 * it claims up to so many messages, pushes them, and says how that ended.
 */
unsigned int lane_appetite(const struct lane *lane);
void lane_feed(struct lane *lane,
	       struct queue_claim *claim); /* fills in how many, and from where on */
void lane_fed(struct lane *lane, const struct queue_claim *claim);

/*
 * Once a second while memory is short, and until this says that it is no more
 * of use: measures how fast the next hop is and, when there is need, suspends
 * what it would not take for some time. False: the lane has no limit.
 */
bool lane_measure(struct lane *lane, bool is_short_of_memory);

/* Something is known about the health of next hops, of this one perhaps. */
void lane_look(struct lane *lane);

/* The connection is ready. Returns its next delivery; NULL: none, it is now idle. */
struct delivery *lane_take(struct lane *lane, struct lane_connection *c);

/* The connection is ready for a delivery that it has brought along, or that it will not get from here. */
void lane_ready(struct lane *lane, struct lane_connection *c);

/* It broke before it has carried any mail: it goes on to the next address, and may be ready again. */
void lane_moves_on(struct lane *lane, struct lane_connection *c);

/* The session that carries it has failed: if it was a probe, it waits with the rest. */
void lane_defer_probe(const struct lane *lane, struct delivery *d);

/*
 * A connection that carries mail could send one more behind it. Only when that
 * is faster than any other way: no connection is idle, none can be opened, and
 * all have their share of what waits; and not before the first one has gone
 * through. NULL: not now.
 */
struct delivery *lane_take_ahead(struct lane *lane, struct lane_connection *c);

/* Several messages are in doubt, as a connection broke: for a while no more than one shall be. */
void lane_not_ahead(struct lane *lane);

/* A delivery could not be begun on its connection: it goes first on another. */
void lane_put_back(struct lane *lane, struct delivery *d);

/* The index of the next hop to begin with, and the news that one is ready. */
unsigned int lane_first_hop(const struct lane *lane);
void lane_answered(struct lane *lane, unsigned int hop);

/*
 * A transaction has gone through: what the peer says of the mail is known. Any
 * answer shows that it is up; only mail that it takes is a success.
 */
void lane_went_through(struct lane *lane, struct lane_connection *c, const struct delivery *d);

/* A connection that was ready has failed in mid-delivery. It ends next. */
void lane_connection_broke(struct lane *lane, struct lane_connection *c,
			   const struct smtp_status *status,
			   const struct delivery_attempt *attempt);

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

/* Close all connections at once; spare_owed: but those of which outbound_is_owed(). */
void lane_abort(struct lane *lane, bool spare_owed);
