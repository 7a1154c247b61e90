/*
 * A job of the pool takes all that is ready when it starts, up to a limit, and
 * the policy delivers it together: what a mailbox costs are syncs, and they are
 * the same few for one message or for fifty. A server at rest has jobs of
 * one message, which nobody waits for; under load they grow by themselves.
 *
 * While one job runs a second one starts only for enough mail: two small ones
 * would sync twice as often, and wait for each other's syncs and the queue's. Or
 * when the first is late, since its mailboxes may keep it waiting for long.
 */
#include "mta/local.h"
#include "base/memory.h"
#include "mta/snapshot.h"

#include <assert.h>
#include <stdlib.h>

#define LOCAL_CONCURRENCY 2
#define JOB_RECIPIENTS	  64
#define JOB_BYTES	  (4u << 20) /* nobody's small mail waits for many large ones */
#define JOB_ENOUGH	  32	     /* deliveries for which another job starts at once */
#define LATE_MS		  250	     /* after which fewer do, too */

struct local {
	struct mta_worker *worker;
	struct list ready; /* struct delivery */
	unsigned int ready_count;
	unsigned int running;
	struct loop_timer *timer; /* since the first of those that are ready */
	bool is_timed;		  /* it runs */
	bool is_late;		  /* it has ended */
};

struct job {
	struct loop_work work;
	struct local *local;
	struct mta_view *view; /* a reference */
	struct list taken;     /* struct delivery */
	unsigned int recipients;
	uint64_t bytes;
};

static void run_next(struct local *local);

static void deliver(struct loop_work *work)
{
	struct job *job = CONTAINER_OF(work, struct job, work);
	const struct mta_options *options = job->view->options;
	struct mta_local_delivery *all = memory_zeroed(job->recipients * sizeof(*all));
	size_t count = 0;

	LIST_FOREACH (item, &job->taken) {
		struct delivery *d = CONTAINER_OF(item, struct delivery, link);

		for (unsigned int i = 0; i < d->count; i++)
			all[count++] = (struct mta_local_delivery){
				.message = d->message,
				.recipient = &d->message->recipients[d->recipients[i].index],
				.body = d->message->body,
				.ret_status = &d->recipients[i].status,
			};
	}
	options->policy->deliver(options->policy_arg, all, count);
	free(all);
}

static void report(struct delivery *d, int64_t now_ms)
{
	d->attempt.done_ms = now_ms;
	for (unsigned int i = 0; i < d->count; i++) {
		struct smtp_status status = d->recipients[i].status;

		delivery_report(d, i, &status);
	}
	delivery_finish(d);
}

static void delivered(struct loop_work *work)
{
	struct job *job = CONTAINER_OF(work, struct job, work);
	struct local *local = job->local;
	struct list *link;

	mta_view_unref(job->view);
	while ((link = list_pop(&job->taken)) != NULL)
		report(CONTAINER_OF(link, struct delivery, link), mta_now_ms(local->worker));
	free(job);
	local->running--;
	run_next(local);
}

/* One delivery at least, whatever its size. */
static void take(struct job *job)
{
	struct local *local = job->local;

	do {
		struct list *link = list_pop(&local->ready);
		struct delivery *d = CONTAINER_OF(link, struct delivery, link);

		list_push(&job->taken, link);
		local->ready_count--;
		d->attempt.send_ms = mta_now_ms(local->worker);
		job->recipients += d->count;
		job->bytes += d->message->size * d->count;
	} while (!list_is_empty(&local->ready) && job->recipients < JOB_RECIPIENTS &&
		 job->bytes < JOB_BYTES);
}

static void start_job(struct local *local)
{
	struct job *job = memory_zeroed(sizeof(*job));

	job->work = (struct loop_work){ .work = deliver, .done = delivered };
	job->local = local;
	job->view = mta_view_ref(local->worker->view);
	list_init(&job->taken);
	take(job);
	local->running++;
	loop_work(local->worker->loop, &job->work);
}

static bool may_start(const struct local *local)
{
	if (list_is_empty(&local->ready) || local->running == LOCAL_CONCURRENCY)
		return false;
	return local->running == 0 || local->ready_count >= JOB_ENOUGH || local->is_late;
}

static void run_next(struct local *local)
{
	while (may_start(local))
		start_job(local);
	local->is_late = false;
	if (list_is_empty(&local->ready) || local->running == LOCAL_CONCURRENCY) {
		loop_timer_stop(local->timer);
		local->is_timed = false;
	} else if (!local->is_timed) {
		loop_timer_start(local->timer, LATE_MS);
		local->is_timed = true;
	}
}

static void on_late(void *arg)
{
	struct local *local = arg;

	local->is_timed = false;
	local->is_late = true;
	run_next(local);
}

struct local *local_new(struct mta_worker *worker)
{
	struct local *local = memory_zeroed(sizeof(*local));

	local->worker = worker;
	list_init(&local->ready);
	local->timer = loop_timer_new(worker->loop, on_late, local);
	return local;
}

void local_free(struct local *local)
{
	if (!local)
		return;
	assert(local->running == 0 && list_is_empty(&local->ready));
	loop_timer_free(local->timer);
	free(local);
}

void local_push(struct local *local, struct delivery *d)
{
	struct smtp_status status;

	snprintf(d->attempt.relay, sizeof(d->attempt.relay), "%s", d->route->name);
	if (!local->worker->options->policy->deliver) {
		smtp_status_set(&status, 451, ESC(4, 3, 5), "no mailboxes in this mode");
		delivery_report_rest(d, &status);
		delivery_finish(d);
		return;
	}
	list_push(&local->ready, &d->link);
	local->ready_count++;
	run_next(local);
}

void local_retire(struct local *local)
{
	struct list waiting, *link;

	/* Some of it may come back at once. */
	list_move(&waiting, &local->ready);
	local->ready_count = 0;
	while ((link = list_pop(&waiting)) != NULL)
		delivery_reroute(CONTAINER_OF(link, struct delivery, link));
}

void local_stop(struct local *local)
{
	struct list *link;

	local->ready_count = 0;
	while ((link = list_pop(&local->ready)) != NULL)
		delivery_drop(CONTAINER_OF(link, struct delivery, link));
}
