/*
 * Everything is made on the thread that calls mta_new(), then each worker's
 * loop runs on a thread of its own. Stopping is a wish sent to each loop; a
 * short tick then looks whether sessions and deliveries have come to an end,
 * and the last worker to stop tells the owner.
 *
 * A reload is two steps that every worker takes on its own thread while the
 * owner waits: prepare what can fail, then use it, or drop it if it has failed
 * for anybody. Workers never block, so that is soon done.
 */
#include "mta/mta.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"
#include "mta/doors.h"
#include "mta/health.h"
#include "mta/inbound.h"
#include "mta/pickup.h"
#include "mta/scheduler.h"
#include "mta/rates.h"
#include "mta/slowdown.h"
#include "mta/snapshot.h"
#include "mta/verify.h"

#define STOP_TICK_MS 20

struct thread {
	struct mta_worker worker;
	struct mta *mta;
	struct loop_notify *port_notify, *stop_notify, *wish_notify;
	atomic_uint wishes; /* enum wish, or-ed */
	struct loop_timer *stop_timer;
	int64_t grace_until_ms, answer_until_ms;
	bool is_grace_over, is_answer_over;
	struct doors *doors;
	struct pickup *pickup; /* of the first worker; NULL: none */
	pthread_t id;
	bool started;

	/* a reload */
	struct loop_task step_task;
	struct mta_view *next_view;
	struct doors *next_doors;
	int result;
	struct error error;
};

struct mta {
	struct mta_snapshot *snapshot; /* in use */
	unsigned int workers;
	struct inbound_limits *limits;
	struct health *health;
	struct rates *rates;
	struct verify *verify;
	struct slowdown *slowdown;
	const struct clock *clock;
	struct thread *threads;
	void (*stopped)(void *arg);
	void *stopped_arg;
	atomic_uint running;
	_Atomic int64_t grace_ms, answer_ms;
	bool is_stopping;

	/* the step of a reload that the workers take */
	pthread_mutex_t mutex;
	pthread_cond_t stepped;
	void (*step)(struct thread *t);
	unsigned int steps_left;
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

/* ---- stopping ---- */

static void stop_tick(void *arg)
{
	struct thread *t = arg;
	struct mta_worker *w = &t->worker;

	if (list_is_empty(&w->sessions) && scheduler_is_idle(w->scheduler) &&
	    verifier_is_idle(w->verifier) && pickup_is_idle(t->pickup)) {
		loop_stop(w->loop);
		return;
	}
	if (!t->is_grace_over && loop_now_ms(w->loop) >= t->grace_until_ms) {
		t->is_grace_over = true;
		inbound_stop_all(w, true);
		scheduler_break_off(w->scheduler);
	}
	if (!t->is_answer_over && loop_now_ms(w->loop) >= t->answer_until_ms) {
		t->is_answer_over = true;
		scheduler_abort(w->scheduler);
	}
	loop_timer_start(t->stop_timer, STOP_TICK_MS);
}

static void stop_wanted(void *arg)
{
	struct thread *t = arg;
	struct mta_worker *w = &t->worker;

	t->grace_until_ms = loop_now_ms(w->loop) + atomic_load(&t->mta->grace_ms);
	t->answer_until_ms = loop_now_ms(w->loop) + atomic_load(&t->mta->answer_ms);
	if (!w->stopping) {
		w->stopping = true;
		doors_free(t->doors);
		t->doors = NULL;
		inbound_stop_all(w, false);
		verifier_stop(w->verifier);
		pickup_stop(t->pickup);
		scheduler_stop(w->scheduler);
	}
	stop_tick(t);
}

void mta_stop(struct mta *mta, int64_t grace_ms, int64_t answer_ms)
{
	mta->is_stopping = true;
	atomic_store(&mta->grace_ms, grace_ms);
	atomic_store(&mta->answer_ms, answer_ms);
	for (unsigned int i = 0; i < mta->workers; i++)
		loop_notify_send(mta->threads[i].stop_notify);
}

/* ---- after actions on the queue ---- */

enum wish {
	WISH_LOOK = 1,
	WISH_RETRY = 2,
	WISH_REROUTE = 4,
	WISH_LOOK_AT_LANES = 8,
};

static void wishes_arrived(void *arg)
{
	struct thread *t = arg;
	struct scheduler *s = t->worker.scheduler;
	unsigned int wishes = atomic_exchange(&t->wishes, 0);

	if (wishes & (WISH_RETRY | WISH_REROUTE)) {
		dns_forget(t->worker.view->dns); /* DNS may have been mended, too */
		scheduler_forget_failures(s);
	}
	if (wishes & WISH_REROUTE)
		scheduler_give_back(s);
	if (wishes & WISH_LOOK_AT_LANES)
		scheduler_look_at_lanes(s);
	if (wishes & (WISH_LOOK | WISH_RETRY | WISH_REROUTE))
		scheduler_look(s);
}

static void wish_one(struct thread *t, enum wish wish)
{
	atomic_fetch_or(&t->wishes, wish);
	loop_notify_send(t->wish_notify);
}

static void health_changed(void *arg)
{
	wish_one(arg, WISH_LOOK_AT_LANES);
}

static void wish_all(struct mta *mta, enum wish wish)
{
	for (unsigned int i = 0; i < mta->workers; i++)
		wish_one(&mta->threads[i], wish);
}

void mta_look(struct mta *mta)
{
	wish_all(mta, WISH_LOOK);
}

void mta_retry(struct mta *mta)
{
	health_retry(mta->health, clock_wall_ms(mta->clock));
	wish_all(mta, WISH_RETRY);
}

void mta_reroute(struct mta *mta)
{
	health_retry(mta->health, clock_wall_ms(mta->clock));
	wish_all(mta, WISH_REROUTE);
}

/* ---- what there is ---- */

struct mta_connections mta_connections(struct mta *mta)
{
	return (struct mta_connections){
		.in = inbound_limits_sessions(mta->limits),
		.out = health_connections(mta->health),
	};
}

void mta_each_next_hop(struct mta *mta,
		       void (*visit)(void *arg, const struct health_report *report), void *arg)
{
	health_each(mta->health, visit, arg);
}

/* ---- reloading ---- */

static void take_step(struct loop_task *task)
{
	struct thread *t = CONTAINER_OF(task, struct thread, step_task);
	struct mta *mta = t->mta;

	mta->step(t);
	pthread_mutex_lock(&mta->mutex);
	if (--mta->steps_left == 0)
		pthread_cond_signal(&mta->stepped);
	pthread_mutex_unlock(&mta->mutex);
}

static void all_take(struct mta *mta, void (*step)(struct thread *t))
{
	pthread_mutex_lock(&mta->mutex);
	mta->step = step;
	mta->steps_left = mta->workers;
	for (unsigned int i = 0; i < mta->workers; i++)
		loop_post(mta->threads[i].worker.loop, &mta->threads[i].step_task);
	while (mta->steps_left > 0)
		pthread_cond_wait(&mta->stepped, &mta->mutex);
	pthread_mutex_unlock(&mta->mutex);
}

static void prepare(struct thread *t)
{
	struct mta_snapshot *snapshot = t->mta->snapshot;
	struct mta_worker *w = &t->worker;

	t->result = mta_view_new(snapshot, w->loop, &t->next_view, &t->error);
	if (t->result == 0)
		t->result = doors_new(w, &snapshot->options, t->doors, &t->next_doors, &t->error);
}

static void discard(struct thread *t)
{
	doors_free(t->next_doors);
	mta_view_unref(t->next_view);
	t->next_doors = NULL;
	t->next_view = NULL;
}

static void change_over(struct thread *t)
{
	struct mta_worker *w = &t->worker;
	struct mta_view *view = w->view;
	struct doors *doors = t->doors;

	w->view = t->next_view;
	w->options = w->view->options;
	t->doors = t->next_doors;
	t->next_doors = NULL;
	t->next_view = NULL;
	doors_enter(t->doors);
	doors_free(doors);
	scheduler_reload(w->scheduler);
	mta_view_unref(view);
}

int mta_reload(struct mta *mta, const struct mta_options *options, void (*released)(void *arg),
	       void *arg, struct error *err)
{
	struct mta_snapshot *old = mta->snapshot;

	assert(options->workers == mta->workers);
	assert(options->queue == old->options.queue && options->log == old->options.log);
	if (mta->is_stopping)
		return error_set(err, -EBUSY, "the server is stopping");

	mta->snapshot = mta_snapshot_new(options);
	all_take(mta, prepare);
	for (unsigned int i = 0; i < mta->workers; i++) {
		struct thread *t = &mta->threads[i];

		if (t->result == 0)
			continue;
		*err = t->error;
		all_take(mta, discard);
		mta_snapshot_unref(mta->snapshot);
		mta->snapshot = old;
		return t->result;
	}
	all_take(mta, change_over);
	health_retry(mta->health, clock_wall_ms(mta->clock)); /* they may have been mended */
	old->released = released;
	old->released_arg = arg;
	mta_snapshot_unref(old);
	return 0;
}

bool mta_forget_address(struct mta *mta, const char *address)
{
	return verify_forget(mta->verify, address);
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
	pickup_start(t->pickup);
	loop_run(t->worker.loop);
	tls_thread_done();
	if (atomic_fetch_sub(&mta->running, 1) == 1)
		mta->stopped(mta->stopped_arg);
	return NULL;
}

static int thread_init(struct thread *t, struct mta *mta, unsigned int index, struct error *err)
{
	const struct mta_options *options = &mta->snapshot->options;
	struct mta_worker *w = &t->worker;
	int r;

	t->mta = mta;
	t->step_task.run = take_step;
	w->options = options;
	w->limits = mta->limits;
	w->health = mta->health;
	w->rates = mta->rates;
	w->slowdown = mta->slowdown;
	w->verify = mta->verify;
	w->mta = mta;
	w->index = index;
	list_init(&w->sessions);

	r = loop_new(&w->loop, err);
	if (r < 0)
		return r;
	t->port_notify = loop_notify_new(w->loop, port_ready, t);
	t->stop_notify = loop_notify_new(w->loop, stop_wanted, t);
	t->wish_notify = loop_notify_new(w->loop, wishes_arrived, t);
	t->stop_timer = loop_timer_new(w->loop, stop_tick, t);
	w->port = queue_port_new(options->queue, port_wake, t);
	r = mta_view_new(mta->snapshot, w->loop, &w->view, err);
	if (r < 0)
		return r;
	w->scheduler = scheduler_new(w);
	w->verifier = verifier_new(w);
	t->pickup = index == 0 ? pickup_new(w) : NULL;
	health_listen(mta->health, health_changed, t);
	return doors_new(w, options, NULL, &t->doors, err);
}

static void thread_done(struct thread *t)
{
	struct mta_worker *w = &t->worker;

	if (t->started)
		pthread_join(t->id, NULL);
	if (!w->loop)
		return;
	doors_free(t->doors);
	verifier_free(w->verifier);
	pickup_free(t->pickup);
	scheduler_free(w->scheduler);
	mta_view_unref(w->view);
	queue_port_free(w->port);
	loop_notify_free(t->port_notify);
	loop_notify_free(t->stop_notify);
	loop_notify_free(t->wish_notify);
	loop_timer_free(t->stop_timer);
	loop_free(w->loop);
}

int mta_new(const struct mta_options *options, struct mta **ret_mta, struct error *err)
{
	struct mta *mta = memory_zeroed(sizeof(*mta));
	int r;

	mta->snapshot = mta_snapshot_new(options);
	mta->workers = options->workers;
	pthread_mutex_init(&mta->mutex, NULL);
	pthread_cond_init(&mta->stepped, NULL);
	mta->limits = inbound_limits_new();
	mta->rates = rates_new();
	mta->slowdown = slowdown_new();
	mta->health = health_new();
	mta->verify = verify_new(queue_directory(options->queue), options->log);
	mta->clock = options->clock;
	mta->threads = memory_zeroed(options->workers * sizeof(*mta->threads));
	for (unsigned int i = 0; i < mta->workers; i++) {
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
	atomic_store(&mta->running, mta->workers);
	for (unsigned int i = 0; i < mta->workers; i++) {
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
	for (unsigned int i = 0; i < mta->workers; i++)
		thread_done(&mta->threads[i]);
	verify_free(mta->verify);
	health_free(mta->health);
	rates_free(mta->rates);
	slowdown_free(mta->slowdown);
	inbound_limits_free(mta->limits);
	mta_snapshot_unref(mta->snapshot);
	pthread_mutex_destroy(&mta->mutex);
	pthread_cond_destroy(&mta->stepped);
	free(mta->threads);
	free(mta);
}
