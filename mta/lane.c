/*
 * A lane never decides inside a callback of one of its connections or while a
 * delivery is handed in: lane_run() does it all, deferred to the end of the
 * callback. So there is one place that sees ready deliveries, idle
 * connections, limits and back-off together.
 */
#include "mta/lane.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/memory.h"
#include "mta/backoff.h"
#include "mta/outbound.h"

#define HOP_MEMORY_MS 300000

static uint32_t random_u32(void)
{
	uint32_t value = 0;

	(void)!getrandom(&value, sizeof(value), 0);
	return value;
}

static bool is_backing_off(const struct lane *lane)
{
	return lane->retry_ms > mta_now_ms(lane->worker);
}

/* When to come again: not all at once, and not in vain while the lane still backs off. */
static void set_due(const struct lane *lane, struct delivery *d)
{
	for (unsigned int i = 0; i < d->count; i++)
		d->recipients[i].due_ms = lane->retry_ms + random_u32() % 2000;
}

static void defer_waiting(struct lane *lane)
{
	struct list *link;

	while ((link = list_pop(&lane->ready)) != NULL) {
		struct delivery *d = CONTAINER_OF(link, struct delivery, link);

		lane->ready_count--;
		d->attempt = lane->trouble;
		set_due(lane, d);
		delivery_report_rest(d, &lane->status);
		delivery_finish(d);
	}
}

/* Deferred because others have just failed: not an attempt of its own, and due when the lane is. */
static void defer_untried(struct lane *lane, struct delivery *d)
{
	struct smtp_status status;

	smtp_status_set(&status, lane->status.code, lane->status.enhanced,
			"delivery temporarily suspended: %s", lane->status.text);
	for (unsigned int i = 0; i < d->count; i++)
		d->recipients[i].untried = true;
	set_due(lane, d);
	delivery_report_rest(d, &status);
	delivery_finish(d);
}

static bool may_connect(const struct lane *lane)
{
	if (lane->failures > 0)
		return lane->connections == 0; /* a single probe */
	return lane->connections < lane->limit && lane->connecting < lane->ready_count;
}

static void lane_run(struct loop_task *task)
{
	struct lane *lane = CONTAINER_OF(task, struct lane, run_task);

	while (!lane_is_closing(lane) && !list_is_empty(&lane->ready)) {
		if (!list_is_empty(&lane->idle)) {
			struct list *link =
				lane->idle.prev; /* the one used last: others may time out */

			list_remove(link);
			list_push(&lane->busy, link);
			outbound_wake(CONTAINER_OF(link, struct lane_connection, link));
		} else if (may_connect(lane)) {
			struct lane_connection *c = outbound_open(lane);

			list_push(&lane->busy, &c->link);
			lane->connections++;
			lane->connecting++;
		} else {
			break;
		}
	}
}

static void run_free(struct loop_task *task)
{
	lane_free(CONTAINER_OF(task, struct lane, free_task));
}

struct lane *lane_new(struct mta_worker *worker, const struct transport_route *route)
{
	struct lane *lane = memory_zeroed(sizeof(*lane));
	const struct mta_options *options = worker->options;

	lane->worker = worker;
	lane->view = mta_view_ref(worker->view);
	lane->route = transport_route_ref(route);
	list_init(&lane->ready);
	list_init(&lane->idle);
	list_init(&lane->busy);
	lane->limit_max = MAX(options->destination_concurrency / options->workers, 1);
	lane->limit = lane->limit_max;
	lane->run_task.run = lane_run;
	lane->free_task.run = run_free;
	list_init(&lane->link);
	return lane;
}

void lane_free(struct lane *lane)
{
	assert(lane->connections == 0);
	assert(list_is_empty(&lane->ready));
	loop_defer_cancel(&lane->run_task);
	loop_defer_cancel(&lane->free_task);
	list_remove(&lane->link);
	transport_route_unref(lane->route);
	mta_view_unref(lane->view);
	free(lane);
}

bool lane_is_idle(const struct lane *lane)
{
	return list_is_empty(&lane->ready) && lane->connections == 0 && !is_backing_off(lane);
}

static void run_soon(struct lane *lane)
{
	loop_defer(lane->worker->loop, &lane->run_task);
}

void lane_push(struct lane *lane, struct delivery *d)
{
	if (is_backing_off(lane)) {
		defer_untried(lane, d);
		return;
	}
	list_push(&lane->ready, &d->link);
	lane->ready_count++;
	run_soon(lane);
}

bool lane_is_closing(const struct lane *lane)
{
	return lane->stopping || lane->retired;
}

/* Whoever stops tries nothing any more, and it stays in the queue as it was. */
static void give_back(const struct lane *lane, struct delivery *d)
{
	if (lane->stopping)
		delivery_drop(d);
	else
		delivery_reroute(d);
}

void lane_put_back(struct lane *lane, struct delivery *d)
{
	if (lane_is_closing(lane)) {
		give_back(lane, d);
		return;
	}
	list_push_front(&lane->ready, &d->link);
	lane->ready_count++;
	run_soon(lane);
}

struct delivery *lane_take(struct lane *lane, struct lane_connection *c)
{
	struct list *link;

	if (!c->ready) {
		c->ready = true;
		lane->connecting--;
	}
	list_remove(&c->link);
	link = lane_is_closing(lane) ? NULL : list_pop(&lane->ready);
	if (!link) {
		list_push(&lane->idle, &c->link);
		return NULL;
	}
	list_push(&lane->busy, &c->link);
	lane->ready_count--;
	return CONTAINER_OF(link, struct delivery, link);
}

unsigned int lane_first_hop(const struct lane *lane)
{
	return mta_now_ms(lane->worker) < lane->hop_until_ms ? lane->hop : 0;
}

void lane_answered(struct lane *lane, unsigned int hop)
{
	if (hop == lane_first_hop(lane))
		return;
	lane->hop = hop;
	lane->hop_until_ms = mta_now_ms(lane->worker) + HOP_MEMORY_MS;
}

void lane_succeeded(struct lane *lane)
{
	lane->failures = 0;
	lane->retry_ms = 0;
	if (lane->limit < lane->limit_max)
		lane->limit++;
	if (!list_is_empty(&lane->ready))
		run_soon(lane);
}

void lane_forget_failures(struct lane *lane)
{
	lane->failures = 0;
	lane->retry_ms = 0;
	if (!list_is_empty(&lane->ready))
		run_soon(lane);
}

void lane_drop_waiting(struct lane *lane)
{
	struct list *link;

	while ((link = list_pop(&lane->ready)) != NULL) {
		lane->ready_count--;
		delivery_drop(CONTAINER_OF(link, struct delivery, link));
	}
}

/* No next hop could be used: it concerns all that waits, and for a while what comes. */
static void back_off(struct lane *lane)
{
	const struct mta_options *options = lane->view->options;

	/* Nobody comes back to what has failed for good; the next message finds out for itself. */
	if (smtp_status_class(&lane->status) != SMTP_FAILED) {
		lane->failures++;
		lane->retry_ms = mta_now_ms(lane->worker) +
				 backoff_ms(lane->failures, options->minimal_backoff_s,
					    options->maximal_backoff_s, random_u32());
	}
	defer_waiting(lane);
}

void lane_connection_ended(struct lane *lane, struct lane_connection *c,
			   const struct smtp_status *status, const struct delivery_attempt *attempt)
{
	list_remove(&c->link);
	lane->connections--;
	if (!c->ready)
		lane->connecting--;

	if (status && !lane_is_closing(lane)) {
		lane->status = *status;
		lane->trouble = *attempt;
		/* Others work or are still trying: perhaps the peer only limits how many we may open. */
		if (lane->connections > lane->connecting)
			lane->limit = MAX(lane->connections, 1);
		else if (lane->connections == 0)
			back_off(lane);
	}
	if (!list_is_empty(&lane->ready))
		run_soon(lane);
	if (lane->retired && lane->connections == 0)
		loop_defer(lane->worker->loop, &lane->free_task);
}

/* Nothing new is begun. */
static void wind_down(struct lane *lane)
{
	struct list *link;

	while ((link = list_pop(&lane->ready)) != NULL) {
		lane->ready_count--;
		give_back(lane, CONTAINER_OF(link, struct delivery, link));
	}
	LIST_FOREACH (item, &lane->idle)
		outbound_close_idle(CONTAINER_OF(item, struct lane_connection, link));

	/* What is not ready yet has nothing to do any more. */
	LIST_FOREACH (item, &lane->busy) {
		struct lane_connection *c = CONTAINER_OF(item, struct lane_connection, link);

		if (!c->ready)
			outbound_abort(c);
	}
}

void lane_stop(struct lane *lane)
{
	lane->stopping = true;
	wind_down(lane);
}

void lane_retire(struct lane *lane, struct list *retired)
{
	lane->retired = true;
	list_push(retired, &lane->link);
	wind_down(lane);
	if (lane->connections == 0)
		loop_defer(lane->worker->loop, &lane->free_task);
}

void lane_abort(struct lane *lane)
{
	LIST_FOREACH (item, &lane->idle)
		outbound_abort(CONTAINER_OF(item, struct lane_connection, link));
	LIST_FOREACH (item, &lane->busy)
		outbound_abort(CONTAINER_OF(item, struct lane_connection, link));
}
