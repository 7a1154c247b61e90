/*
 * loop - a uv_loop_t, and two queues of tasks around it
 *
 * Posted tasks come from other threads: a list under a lock, and a uv_async_t
 * that is rung when the list was empty before. Deferred tasks are the loop's
 * own: they run at the end of the callback of libuv that deferred them
 * (loop_settle()), and those deferred elsewhere, as before loop_run(), run in
 * the prepare handle, right before the loop would sleep. A task that defers
 * itself or others again does not run them in the same go, so that a chain of
 * them never starves the sockets; an idle handle keeps the loop from sleeping
 * meanwhile.
 *
 * Handles are heap blocks of their own, since libuv gives them back later, in
 * their close callback.
 */
#include "net/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/memory.h"
#include "net/internal.h"

struct loop {
	uv_loop_t uv;
	uv_async_t wake;
	uv_prepare_t prepare;
	uv_idle_t idle;
	bool is_running;

	struct list deferred; /* struct loop_task */
	struct list guests;   /* struct loop_guest */

	uv_mutex_t lock;
	struct list posted; /* struct loop_task; under lock */
	atomic_bool stop_asked;
};

void *net_new(size_t size)
{
	void *mem = memory_new(size);

	memset(mem, 0, size);
	return mem;
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
	return &loop->uv;
}

/* Tasks and guests */

static bool is_linked(const struct list *link)
{
	return link->next && !list_is_empty(link);
}

void loop_settle(struct loop *loop)
{
	struct list *item, tasks;

	if (list_is_empty(&loop->deferred))
		return;

	/* A task may cancel another one, which then leaves this list. */
	list_move(&tasks, &loop->deferred);
	while ((item = list_pop(&tasks))) {
		struct loop_task *task = CONTAINER_OF(item, struct loop_task, link);

		task->run(task);
	}
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
	if (!is_linked(&task->link))
		list_push(&loop->deferred, &task->link);
}

void loop_defer_cancel(struct loop_task *task)
{
	if (is_linked(&task->link))
		list_remove(&task->link);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
	bool was_empty;

	assert(!is_linked(&task->link));

	uv_mutex_lock(&loop->lock);
	was_empty = list_is_empty(&loop->posted);
	list_push(&loop->posted, &task->link);
	uv_mutex_unlock(&loop->lock);

	if (was_empty)
		uv_async_send(&loop->wake);
}

static void run_posted(struct loop *loop)
{
	struct list *item, tasks;

	uv_mutex_lock(&loop->lock);
	list_move(&tasks, &loop->posted);
	uv_mutex_unlock(&loop->lock);

	while ((item = list_pop(&tasks))) {
		struct loop_task *task = CONTAINER_OF(item, struct loop_task, link);

		task->run(task);
		loop_settle(loop);
	}
}

void loop_guest_add(struct loop *loop, struct loop_guest *guest)
{
	list_push(&loop->guests, &guest->link);
}

void loop_guest_remove(struct loop_guest *guest)
{
	if (is_linked(&guest->link))
		list_remove(&guest->link);
}

/* The loop */

static void on_wake(uv_async_t *wake)
{
	struct loop *loop = CONTAINER_OF(wake, struct loop, wake);
	bool stop;

	/* Asked first: a thread that posts and then stops has its tasks run before. */
	stop = atomic_exchange(&loop->stop_asked, false);
	run_posted(loop);
	if (stop)
		uv_stop(&loop->uv);
}

static void on_idle(uv_idle_t *idle)
{
	(void)idle; /* being active is all that it is for */
}

static void on_prepare(uv_prepare_t *prepare)
{
	struct loop *loop = CONTAINER_OF(prepare, struct loop, prepare);

	loop_settle(loop);
	if (list_is_empty(&loop->deferred))
		uv_idle_stop(&loop->idle);
	else
		uv_idle_start(&loop->idle, on_idle);
}

int loop_new(struct loop **ret_loop, struct error *err)
{
	struct loop *loop;
	int r;

	/*
	 * A peer that has gone must not end the process. Streams send with
	 * MSG_NOSIGNAL, but c-ares writes to TCP sockets without it.
	 */
	signal(SIGPIPE, SIG_IGN);

	loop = net_new(sizeof(*loop));
	list_init(&loop->deferred);
	list_init(&loop->guests);
	list_init(&loop->posted);

	r = uv_loop_init(&loop->uv);
	if (r < 0) {
		free(loop);
		return error_set(err, r, "event loop: %s", strerror(-r));
	}
	r = uv_async_init(&loop->uv, &loop->wake, on_wake);
	if (r < 0) {
		uv_loop_close(&loop->uv);
		free(loop);
		return error_set(err, r, "event loop: %s", strerror(-r));
	}
	uv_prepare_init(&loop->uv, &loop->prepare);
	uv_prepare_start(&loop->prepare, on_prepare);
	uv_idle_init(&loop->uv, &loop->idle);
	uv_mutex_init(&loop->lock);
	*ret_loop = loop;
	return 0;
}

void loop_run(struct loop *loop)
{
	loop->is_running = true;
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	loop->is_running = false;
}

void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop_asked, true);
	uv_async_send(&loop->wake);
}

int64_t loop_now_ms(const struct loop *loop)
{
	return (int64_t)uv_now(&loop->uv);
}

static void assert_freed(uv_handle_t *handle, void *arg)
{
	struct loop *loop = arg;

	assert(uv_is_closing(handle) || handle == (uv_handle_t *)&loop->wake ||
	       handle == (uv_handle_t *)&loop->prepare || handle == (uv_handle_t *)&loop->idle);
}

/* What was queued is always run: its owner may wait for it to free itself. */
static void run_leftovers(struct loop *loop)
{
	struct list *item;

	do {
		run_posted(loop);
		loop_settle(loop);
	} while (!list_is_empty(&loop->deferred));

	while ((item = list_pop(&loop->guests))) {
		struct loop_guest *guest = CONTAINER_OF(item, struct loop_guest, link);

		guest->leave(guest);
	}
}

void loop_free(struct loop *loop)
{
	int r;

	if (!loop)
		return;

	run_leftovers(loop);
	uv_walk(&loop->uv, assert_freed, loop);

	/* Ends when closing handles are closed and work on the pool is done. */
	uv_unref((uv_handle_t *)&loop->wake);
	uv_unref((uv_handle_t *)&loop->prepare);
	uv_unref((uv_handle_t *)&loop->idle);
	while (uv_loop_alive(&loop->uv)) {
		uv_run(&loop->uv, UV_RUN_DEFAULT);
		run_leftovers(loop);
	}

	uv_close((uv_handle_t *)&loop->wake, NULL);
	uv_close((uv_handle_t *)&loop->prepare, NULL);
	uv_close((uv_handle_t *)&loop->idle, NULL);
	uv_run(&loop->uv, UV_RUN_DEFAULT);
	r = uv_loop_close(&loop->uv);
	assert(r == 0);
	uv_mutex_destroy(&loop->lock);
	free(loop);
}

/* Work on the thread pool */

struct work_request {
	uv_work_t uv;
	struct loop *loop;
	struct loop_work *work;
};

static void on_work(uv_work_t *uv)
{
	struct work_request *request = CONTAINER_OF(uv, struct work_request, uv);

	request->work->work(request->work);
}

static void on_work_done(uv_work_t *uv, int status)
{
	struct work_request *request = CONTAINER_OF(uv, struct work_request, uv);
	struct loop *loop = request->loop;
	struct loop_work *work = request->work;

	(void)status; /* nothing is ever cancelled */
	free(request);
	work->request = NULL;
	work->done(work);
	loop_settle(loop);
}

/* The first piece of work makes the threads of the pool. Signals are not theirs to take. */
void loop_work(struct loop *loop, struct loop_work *work)
{
	struct work_request *request = net_new(sizeof(*request));
	sigset_t all, old;

	request->loop = loop;
	request->work = work;
	work->request = request;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	uv_queue_work(&loop->uv, &request->uv, on_work, on_work_done);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Notifications */

struct loop_notify {
	uv_async_t uv;
	struct loop *loop;
	void (*run)(void *arg);
	void *arg;
};

static void on_notify(uv_async_t *uv)
{
	struct loop_notify *notify = CONTAINER_OF(uv, struct loop_notify, uv);
	struct loop *loop = notify->loop;

	notify->run(notify->arg);
	loop_settle(loop);
}

struct loop_notify *loop_notify_new(struct loop *loop, void (*run)(void *arg), void *arg)
{
	struct loop_notify *notify = net_new(sizeof(*notify));
	int r;

	/* Can fail for the first one of a loop only, and that is the loop's own. */
	r = uv_async_init(&loop->uv, &notify->uv, on_notify);
	assert(r == 0);
	notify->loop = loop;
	notify->run = run;
	notify->arg = arg;
	return notify;
}

void loop_notify_send(struct loop_notify *notify)
{
	uv_async_send(&notify->uv);
}

static void on_notify_closed(uv_handle_t *uv)
{
	free(CONTAINER_OF(uv, struct loop_notify, uv));
}

void loop_notify_free(struct loop_notify *notify)
{
	if (notify)
		uv_close((uv_handle_t *)&notify->uv, on_notify_closed);
}

/*
 * Timers
 *
 * A session moves its timer with each input, and nearly always to later. Then
 * libuv's heap is left alone: the timer fires at the old time, sees that it is
 * early, and only then is put in for the rest. A stopped one stays in likewise.
 */

#define NEVER INT64_MAX

struct loop_timer {
	uv_timer_t uv;
	struct loop *loop;
	void (*run)(void *arg);
	void *arg;
	int64_t due_ms;	  /* when to run; NEVER: stopped */
	int64_t armed_ms; /* when libuv will call; NEVER: it won't */
};

struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *arg), void *arg)
{
	struct loop_timer *timer = net_new(sizeof(*timer));

	uv_timer_init(&loop->uv, &timer->uv);
	timer->loop = loop;
	timer->run = run;
	timer->arg = arg;
	timer->due_ms = timer->armed_ms = NEVER;
	return timer;
}

static void on_timer(uv_timer_t *uv);

static void timer_arm(struct loop_timer *timer)
{
	timer->armed_ms = timer->due_ms;
	uv_timer_start(&timer->uv, on_timer, (uint64_t)(timer->due_ms - loop_now_ms(timer->loop)),
		       0);
}

static void on_timer(uv_timer_t *uv)
{
	struct loop_timer *timer = CONTAINER_OF(uv, struct loop_timer, uv);
	struct loop *loop = timer->loop;

	timer->armed_ms = NEVER;
	if (timer->due_ms == NEVER)
		return;
	if (timer->due_ms > loop_now_ms(loop)) {
		timer_arm(timer);
		return;
	}
	timer->due_ms = NEVER;
	timer->run(timer->arg);
	loop_settle(loop);
}

void loop_timer_start(struct loop_timer *timer, int64_t delay_ms)
{
	/* Between two rounds the time stands still; before loop_run() that may be long. */
	if (!timer->loop->is_running)
		uv_update_time(&timer->loop->uv);

	timer->due_ms = loop_now_ms(timer->loop) + MAX(delay_ms, 0);
	if (timer->due_ms < timer->armed_ms)
		timer_arm(timer);
}

void loop_timer_stop(struct loop_timer *timer)
{
	timer->due_ms = NEVER;
}

static void on_timer_closed(uv_handle_t *uv)
{
	free(CONTAINER_OF(uv, struct loop_timer, uv));
}

void loop_timer_free(struct loop_timer *timer)
{
	if (timer)
		uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

/* Signals */

struct loop_signal {
	uv_signal_t uv;
	struct loop *loop;
	void (*run)(void *arg, int signum);
	void *arg;
};

static void on_signal(uv_signal_t *uv, int signum)
{
	struct loop_signal *sig = CONTAINER_OF(uv, struct loop_signal, uv);
	struct loop *loop = sig->loop;

	sig->run(sig->arg, signum);
	loop_settle(loop);
}

static void on_signal_closed(uv_handle_t *uv)
{
	free(CONTAINER_OF(uv, struct loop_signal, uv));
}

int loop_signal_new(struct loop *loop, int signum, void (*run)(void *arg, int signum), void *arg,
		    struct loop_signal **ret_signal, struct error *err)
{
	struct loop_signal *sig = net_new(sizeof(*sig));
	int r;

	r = uv_signal_init(&loop->uv, &sig->uv);
	if (r < 0) {
		free(sig);
		return error_set(err, r, "signal %d: %s", signum, strerror(-r));
	}
	sig->loop = loop;
	sig->run = run;
	sig->arg = arg;

	r = uv_signal_start(&sig->uv, on_signal, signum);
	if (r < 0) {
		loop_signal_free(sig);
		return error_set(err, r, "signal %d: %s", signum, strerror(-r));
	}
	*ret_signal = sig;
	return 0;
}

void loop_signal_free(struct loop_signal *signal)
{
	if (signal)
		uv_close((uv_handle_t *)&signal->uv, on_signal_closed);
}
