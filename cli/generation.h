/*
 * generation - one configuration in use, and what was made of it
 *
 * A reload makes another. The old one goes when the mta has released it: no
 * session and no delivery has it any more.
 */
#pragma once

#include "base/list.h"
#include "cli/bind.h"
#include "net/loop.h"

struct generation {
	struct list link; /* of the server's */
	struct arena arena;
	struct config *config;
	struct bindings bindings; /* the descriptors are the server's */
	struct edge *edge;	  /* of one mode, or */
	struct hub *hub;	  /*   of the other */
	struct mta_options options;
	struct error edge_error; /* the last one told */
	unsigned int references; /* snapshots of the mta that have it, and its owner */

	struct loop *loop; /* where it frees itself */
	struct loop_task free_task;
};

/* Takes the config over. With one reference, which is the owner's. */
struct generation *generation_new(struct config *config);
void generation_unref(struct generation *g); /* NULL is fine */

/* From any thread: the owner does not need it any more. */
void generation_release(void *generation);

/*
 * Make the policy of its mode, and fill in the options. shared: clock, log and
 * queue. carrier: who writes mailboxes of others; NULL: nobody.
 */
int generation_prepare(struct generation *g, const struct mta_options *shared,
		       struct carrier *carrier, struct error *err);

/*
 * Take up maps and accounts that have changed. report() is told as by
 * config_refresh(); accounts go to the log. NULL: nobody is.
 */
void generation_refresh(struct generation *g,
			void (*report)(void *arg, const struct config_problem *problem), void *arg);

/*
 * Take up certificates that have changed: the mta goes on with the same
 * options but for the TLS contexts. Sessions keep those that they began with.
 */
void generation_renew(struct generation *g, struct mta *mta,
		      void (*report)(void *arg, const struct config_problem *problem), void *arg);
