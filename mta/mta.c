/*
 * Everything is made on the thread that calls mta_new(), then each worker's
 * loop runs on a thread of its own. Stopping is a wish sent to each loop; a
 * short tick then looks whether sessions and deliveries have come to an end,
 * and the last worker to stop tells the owner.
 */
#include "mta/mta.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "mta/inbound.h"
#include "mta/scheduler.h"
#include "net/listener.h"

#define STOP_TICK_MS 20

struct thread;

/* A listening socket as one worker sees it. */
struct door {
	struct thread *thread;
	const struct mta_service *service;
	struct listener *listener;
};

struct thread {
	struct mta_worker worker;
	struct mta *mta;
	struct loop_notify *port_notify, *stop_notify;
	struct loop_timer *stop_timer;
	int64_t stop_deadline_ms;
	bool hurried;
	struct door *doors;
	pthread_t id;
	bool started;
};

struct mta {
	struct mta_options options;
	struct inbound_limits *limits;
	struct thread *threads;
	void (*stopped)(void *arg);
	void *stopped_arg;
	atomic_uint running;
	_Atomic int64_t grace_ms;
};

const char *mta_service_name(enum mta_service_kind kind)
{
	static const char *const names[] = {
		[MTA_SERVICE_SMTP] = "smtp",
		[MTA_SERVICE_SMTPS] = "smtps",
		[MTA_SERVICE_SUBMISSION] = "submission",
		[MTA_SERVICE_SUBMISSIONS] = "submissions",
	};

	return names[kind];
}

/* ---- listening ---- */

static void accepted(void *arg, struct stream *stream)
{
	struct door *door = arg;

	inbound_accept(&door->thread->worker, door->service, stream);
}

static void accept_failed(void *arg, const struct error *err)
{
	struct door *door = arg;

	log_write(door->thread->mta->options.log, "smtpd", LOG_LEVEL_ERROR,
		  "cannot accept connections: %s", err->text);
}

static const struct listener_events door_events = { .accepted = accepted, .failed = accept_failed };

static int open_doors(struct thread *t, struct error *err)
{
	const struct mta_options *options = &t->mta->options;

	t->doors = memory_zeroed(options->service_count * sizeof(*t->doors));
	for (unsigned int i = 0; i < options->service_count; i++) {
		struct door *door = &t->doors[i];
		int r;

		door->thread = t;
		door->service = &options->services[i];
		r = listener_new(t->worker.loop, door->service->fd, &door_events, door,
				 &door->listener, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static void close_doors(struct thread *t)
{
	for (unsigned int i = 0; t->doors && i < t->mta->options.service_count; i++)
		listener_free(t->doors[i].listener);
	free(t->doors);
	t->doors = NULL;
}

/* ---- stopping ---- */

static void stop_tick(void *arg)
{
	struct thread *t = arg;
	struct mta_worker *w = &t->worker;

	if (list_is_empty(&w->sessions) && scheduler_is_idle(w->scheduler)) {
		loop_stop(w->loop);
		return;
	}
	if (!t->hurried && loop_now_ms(w->loop) >= t->stop_deadline_ms) {
		t->hurried = true;
		inbound_stop_all(w, true);
		scheduler_abort(w->scheduler);
	}
	loop_timer_start(t->stop_timer, STOP_TICK_MS);
}

static void stop_wanted(void *arg)
{
	struct thread *t = arg;
	struct mta_worker *w = &t->worker;

	t->stop_deadline_ms = loop_now_ms(w->loop) + atomic_load(&t->mta->grace_ms);
	if (!w->stopping) {
		w->stopping = true;
		close_doors(t);
		inbound_stop_all(w, false);
		scheduler_stop(w->scheduler);
	}
	stop_tick(t);
}

void mta_stop(struct mta *mta, int64_t grace_ms)
{
	atomic_store(&mta->grace_ms, grace_ms);
	for (unsigned int i = 0; i < mta->options.workers; i++)
		loop_notify_send(mta->threads[i].stop_notify);
}

/* ---- workers ---- */

static void port_ready(void *arg)
{
	struct thread *t = arg;

	queue_port_dispatch(t->worker.port);
}

static void port_wake(void *arg)
{
	struct thread *t = arg;

	loop_notify_send(t->port_notify);
}

static void *run_thread(void *arg)
{
	struct thread *t = arg;
	struct mta *mta = t->mta;

	scheduler_start(t->worker.scheduler);
	loop_run(t->worker.loop);
	tls_thread_done();
	if (atomic_fetch_sub(&mta->running, 1) == 1)
		mta->stopped(mta->stopped_arg);
	return NULL;
}

static int thread_init(struct thread *t, struct mta *mta, unsigned int index, struct error *err)
{
	const struct mta_options *options = &mta->options;
	struct mta_worker *w = &t->worker;
	int r;

	t->mta = mta;
	w->options = options;
	w->limits = mta->limits;
	w->index = index;
	list_init(&w->sessions);

	r = loop_new(&w->loop, err);
	if (r < 0)
		return r;
	t->port_notify = loop_notify_new(w->loop, port_ready, t);
	t->stop_notify = loop_notify_new(w->loop, stop_wanted, t);
	t->stop_timer = loop_timer_new(w->loop, stop_tick, t);
	w->port = queue_port_new(options->queue, port_wake, t);
	r = dns_new(w->loop, &options->dns, &w->dns, err);
	if (r < 0)
		return r;
	r = transport_new(&options->transport, &w->transport, err);
	if (r < 0)
		return r;
	w->scheduler = scheduler_new(w);
	return open_doors(t, err);
}

static void thread_done(struct thread *t)
{
	struct mta_worker *w = &t->worker;

	if (t->started)
		pthread_join(t->id, NULL);
	if (!w->loop)
		return;
	close_doors(t);
	scheduler_free(w->scheduler);
	transport_free(w->transport);
	dns_free(w->dns);
	queue_port_free(w->port);
	loop_notify_free(t->port_notify);
	loop_notify_free(t->stop_notify);
	loop_timer_free(t->stop_timer);
	loop_free(w->loop);
}

int mta_new(const struct mta_options *options, struct mta **ret_mta, struct error *err)
{
	struct mta *mta = memory_zeroed(sizeof(*mta));
	int r;

	mta->options = *options;
	mta->limits = inbound_limits_new();
	mta->threads = memory_zeroed(options->workers * sizeof(*mta->threads));
	for (unsigned int i = 0; i < options->workers; i++) {
		r = thread_init(&mta->threads[i], mta, i, err);
		if (r < 0) {
			mta_free(mta);
			return r;
		}
	}
	*ret_mta = mta;
	return 0;
}

int mta_start(struct mta *mta, void (*stopped)(void *arg), void *arg, struct error *err)
{
	mta->stopped = stopped;
	mta->stopped_arg = arg;
	atomic_store(&mta->running, mta->options.workers);
	for (unsigned int i = 0; i < mta->options.workers; i++) {
		int r = pthread_create(&mta->threads[i].id, NULL, run_thread, &mta->threads[i]);

		if (r != 0)
			return error_set(err, -r, "cannot start a thread: %s", strerror(r));
		mta->threads[i].started = true;
	}
	return 0;
}

void mta_free(struct mta *mta)
{
	if (!mta)
		return;
	for (unsigned int i = 0; i < mta->options.workers; i++)
		thread_done(&mta->threads[i]);
	inbound_limits_free(mta->limits);
	free(mta->threads);
	free(mta);
}
