#include "mta/snapshot.h"

#include <assert.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

struct mta_snapshot *mta_snapshot_new(const struct mta_options *options)
{
	struct mta_snapshot *snapshot = memory_zeroed(sizeof(*snapshot));

	snapshot->options = *options;
	atomic_init(&snapshot->references, 1);
	return snapshot;
}

static void snapshot_ref(struct mta_snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
}

void mta_snapshot_unref(struct mta_snapshot *snapshot)
{
	void (*released)(void *arg);
	void *arg;

	if (!snapshot ||
	    atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) > 1)
		return;
	released = snapshot->released;
	arg = snapshot->released_arg;
	free(snapshot);
	if (released)
		released(arg);
}

static void view_free(struct mta_view *view)
{
	credentials_cache_free(view->logins);
	transport_free(view->transport);
	dns_free(view->dns);
	mta_snapshot_unref(view->snapshot);
	free(view);
}

static void run_free(struct loop_task *task)
{
	view_free(CONTAINER_OF(task, struct mta_view, free_task));
}

int mta_view_new(struct mta_snapshot *snapshot, struct loop *loop, struct mta_view **ret_view,
		 struct error *err)
{
	struct mta_view *view = memory_zeroed(sizeof(*view));
	int r;

	snapshot_ref(snapshot);
	view->snapshot = snapshot;
	view->options = &snapshot->options;
	view->loop = loop;
	view->references = 1;
	view->free_task.run = run_free;
	view->logins = credentials_cache_new();
	r = dns_new(loop, &view->options->dns, &view->dns, err);
	if (r == 0)
		r = transport_new(&view->options->transport, &view->transport, err);
	if (r < 0) {
		view_free(view);
		return r;
	}
	*ret_view = view;
	return 0;
}

struct mta_view *mta_view_ref(struct mta_view *view)
{
	view->references++;
	return view;
}

/* Deferred: the caller may be a callback of the resolver, or of what runs on it. */
void mta_view_unref(struct mta_view *view)
{
	if (!view)
		return;
	assert(view->references > 0);
	if (--view->references == 0)
		loop_defer(view->loop, &view->free_task);
}
