/*
 * snapshot - the options as they were when something began
 *
 * Options never change; a reload replaces them. Who acts at once uses the
 * worker's options, which are the newest; whatever lasts (a session, a lane, work on
 * the thread pool) holds the view that it began with, and so keeps all that
 * the options name: policy, maps, TLS contexts.
 *
 * A view is what one worker makes of a snapshot, and counted by that worker
 * alone. The snapshot is held by the views of all workers and by the mta.
 */
#pragma once

#include <stdatomic.h>

#include "mta/mta.h"
#include "net/loop.h"

struct mta_snapshot {
	struct mta_options options;
	atomic_uint references;
	void (*released)(void *arg); /* NULL: nobody waits for it */
	void *released_arg;
};

/* With one reference. The options are copied, not what they point to. */
struct mta_snapshot *mta_snapshot_new(const struct mta_options *options);
void mta_snapshot_unref(struct mta_snapshot *snapshot); /* the last one calls released() */

struct mta_view {
	const struct mta_options *options; /* of the snapshot */
	struct dns *dns;
	struct transport *transport;
	struct credentials_cache *logins;

	struct mta_snapshot *snapshot;
	struct loop *loop;
	unsigned int references;
	struct loop_task free_task;
};

/* On the loop's thread, or before it runs. With one reference. */
int mta_view_new(struct mta_snapshot *snapshot, struct loop *loop, struct mta_view **ret_view,
		 struct error *err);
struct mta_view *mta_view_ref(struct mta_view *view);

/* The last one frees it when the callback that runs now has returned. NULL is fine. */
void mta_view_unref(struct mta_view *view);
