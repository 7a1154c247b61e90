/*
 * doors - the listening sockets as one worker sees them
 *
 * A reload prepares new doors beside those that are open: sockets that stay
 * are shared by both, so that no client finds a door closed in between.
 */
#pragma once

#include "mta/worker.h"

struct doors;

/*
 * Open those of the options; the ones whose address is among the previous
 * (NULL: none) are taken from there. The worker uses them after doors_enter().
 */
int doors_new(struct mta_worker *worker, const struct mta_options *options,
	      const struct doors *previous, struct doors **ret_doors, struct error *err);

/* From now on whoever comes in is served by these options. */
void doors_enter(struct doors *doors);

/* Close those that no other doors share. NULL is fine. */
void doors_free(struct doors *doors);
