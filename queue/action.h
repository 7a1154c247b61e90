/*
 * action - what an operator does to messages that wait: hold, release, retry,
 * bounce, delete, reroute
 *
 * One action is one transaction of the queue's thread, whatever the number of
 * recipients. It changes rows only. A recipient that somebody works on just
 * now is changed too, and what its attempt ends with is then judged by the
 * rows: a hold survives a deferral, what was deleted stays deleted.
 */
#pragma once

#include "queue/queue.h"

enum queue_action_kind {
	QUEUE_HOLD,    /* queued, deferred -> held */
	QUEUE_RELEASE, /* held -> queued or deferred, due now */
	QUEUE_RETRY,   /* queued, deferred: due now */
	QUEUE_BOUNCE,  /* any that is not done: due now, and returned by the next attempt */
	QUEUE_DELETE,  /* any that is not done: gone, and nobody is told */
	QUEUE_REROUTE, /* as RETRY: every attempt looks the route up */
};

const char *queue_action_name(enum queue_action_kind kind); /* "hold", … */
bool queue_action_parse(const char *name, enum queue_action_kind *ret);

#define QUEUE_FILTER_ACTIVE (1u << 16) /* beside the bits 1 << enum queue_status */

/*
 * Which recipients that are not done. All that is given must match; a zeroed
 * filter matches everything. Patterns: an address or a next hop as shown by
 * `queue list`, in which '*' stands for any bytes; "@domain" for every address
 * of a domain; "<>" for the null sender. Case of ASCII letters does not matter.
 */
struct queue_filter {
	const int64_t *ids; /* of messages; NULL: any */
	size_t id_count;
	const char *sender, *recipient, *next_hop; /* NULL: any */
	unsigned int statuses;			   /* 1 << QUEUE_…, or-ed; 0: any */
	int64_t arrived_before_ms;		   /* 0: any */
};

struct queue_action {
	struct queue_request request;
	enum queue_action_kind kind;
	const struct queue_filter *filter;
	bool is_dry_run; /* count, and change nothing */

	/* results */
	int64_t messages, recipients; /* changed, or would be */
	int64_t matched;	      /* recipients that the filter names, changed or not */
	int64_t *missing;	      /* ids of the filter that are not in the queue: malloc'ed, */
	size_t missing_count;	      /*   the caller's */
};

void queue_submit_action(struct queue_port *port, struct queue_action *action);

/*
 * The messages that somebody works on now, as the queue's thread knows them.
 * Blocks for no longer than a commit.
 */
struct queue_active {
	struct queue_request request;
	int64_t *ids; /* result: malloc'ed, sorted, the caller's */
	size_t id_count;
};

void queue_submit_active(struct queue_port *port, struct queue_active *active);
