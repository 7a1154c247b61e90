/*
 * One job of the pool delivers one message to all of its recipients here, one
 * after another: a mailbox is a few system calls and two syncs, and what runs
 * side by side shares the disk's queue.
 */
#include "mta/local.h"
#include "base/memory.h"
#include "mta/snapshot.h"

#include <assert.h>
#include <stdlib.h>

#define LOCAL_CONCURRENCY 8

struct local {
	struct mta_worker *worker;
	struct list ready; /* struct delivery */
	unsigned int running;
};

struct job {
	struct loop_work work;
	struct local *local;
	struct mta_view *view; /* a reference */
	struct delivery *delivery;
};

static void run_next(struct local *local);

static void deliver(struct loop_work *work)
{
	struct job *job = CONTAINER_OF(work, struct job, work);
	const struct mta_options *options = job->view->options;
	struct delivery *d = job->delivery;

	for (unsigned int i = 0; i < d->count; i++) {
		struct mta_local_delivery one = {
			.message = d->message,
			.recipient = &d->message->recipients[d->recipients[i].index],
			.body = d->message->body,
		};

		options->policy->deliver(options->policy_arg, &one, &d->recipients[i].status);
	}
}

static void delivered(struct loop_work *work)
{
	struct job *job = CONTAINER_OF(work, struct job, work);
	struct local *local = job->local;
	struct delivery *d = job->delivery;

	mta_view_unref(job->view);
	free(job);
	d->attempt.done_ms = mta_now_ms(local->worker);
	for (unsigned int i = 0; i < d->count; i++) {
		struct smtp_status status = d->recipients[i].status;

		delivery_report(d, i, &status);
	}
	delivery_finish(d);
	local->running--;
	run_next(local);
}

static void run_next(struct local *local)
{
	while (local->running < LOCAL_CONCURRENCY && !list_is_empty(&local->ready)) {
		struct job *job = memory_zeroed(sizeof(*job));

		job->work = (struct loop_work){ .work = deliver, .done = delivered };
		job->local = local;
		job->view = mta_view_ref(local->worker->view);
		job->delivery = CONTAINER_OF(list_pop(&local->ready), struct delivery, link);
		job->delivery->attempt.send_ms = mta_now_ms(local->worker);
		local->running++;
		loop_work(local->worker->loop, &job->work);
	}
}

struct local *local_new(struct mta_worker *worker)
{
	struct local *local = memory_zeroed(sizeof(*local));

	local->worker = worker;
	list_init(&local->ready);
	return local;
}

void local_free(struct local *local)
{
	if (!local)
		return;
	assert(local->running == 0 && list_is_empty(&local->ready));
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
	run_next(local);
}

void local_retire(struct local *local)
{
	struct list waiting, *link;

	/* Some of it may come back at once. */
	list_move(&waiting, &local->ready);
	while ((link = list_pop(&waiting)) != NULL)
		delivery_reroute(CONTAINER_OF(link, struct delivery, link));
}

void local_stop(struct local *local)
{
	struct list *link;

	while ((link = list_pop(&local->ready)) != NULL)
		delivery_drop(CONTAINER_OF(link, struct delivery, link));
}
