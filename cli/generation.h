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

	struct loop *loop; /* where it frees itself */
	struct loop_task free_task;
};

/* Takes the config over. */
struct generation *generation_new(struct config *config);
void generation_free(struct generation *g); /* NULL is fine */

/* From any thread: frees it on its loop. */
void generation_release(void *generation);

/* Make the policy of its mode, and fill in the options. shared: clock, log and queue. */
int generation_prepare(struct generation *g, const struct mta_options *shared, struct error *err);

/*
 * Take up maps and accounts that have changed. report() is told as by
 * config_refresh(); accounts go to the log. NULL: nobody is.
 */
void generation_refresh(struct generation *g,
			void (*report)(void *arg, const struct config_problem *problem), void *arg);
