/*
 * loop - one event loop, the home of everything that a worker thread owns
 *
 * All functions are for the loop's own thread, except those that say
 * otherwise. Callbacks run on the loop's thread and must not block: what
 * blocks goes to loop_work(). A callback must not free the object that it runs
 * on; it uses loop_defer() for that. (libuv stays inside net/.)
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/list.h"

struct loop;

int loop_new(struct loop **ret_loop, struct error *err);

/*
 * Everything that was made on the loop must have been freed. Tasks that are
 * queued and work on the pool still run to their end; streams that linger are
 * cut off. NULL is fine.
 */
void loop_free(struct loop *loop);

void loop_run(struct loop *loop);  /* until loop_stop() */
void loop_stop(struct loop *loop); /* from any thread; what it has posted before runs first */

/* Monotonic, as of the start of this round of the loop. */
int64_t loop_now_ms(const struct loop *loop);

/* A piece of work to run on the loop. The caller owns it; zero it before first use. */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct list link; /* the loop's, while queued */
};

/* Run the task on the loop as soon as it can. From any thread. Not while it is still queued. */
void loop_post(struct loop *loop, struct loop_task *task);

/*
 * Run the task when the callback that runs now has returned; when a deferred
 * task asks for it, after the next callback or before the loop sleeps. Queued
 * twice, it runs once.
 */
void loop_defer(struct loop *loop, struct loop_task *task);
void loop_defer_cancel(struct loop_task *task);

/*
 * Work that blocks: work() runs on a thread of the pool and touches nothing
 * but what the caller put beside the struct; done() runs on the loop after.
 * There is no cancelling: the memory must live until done() was called.
 */
struct loop_work {
	void (*work)(struct loop_work *work);
	void (*done)(struct loop_work *work);
	void *request; /* the loop's */
};

void loop_work(struct loop *loop, struct loop_work *work);

/* Wake-ups from other threads; several before the callback runs count as one. */
struct loop_notify;

struct loop_notify *loop_notify_new(struct loop *loop, void (*run)(void *arg), void *arg);
void loop_notify_send(struct loop_notify *notify); /* from any thread, also a signal handler */
void loop_notify_free(struct loop_notify *notify); /* NULL is fine */

/* One-shot timers. */
struct loop_timer;

struct loop_timer *loop_timer_new(struct loop *loop, void (*run)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *timer, int64_t delay_ms); /* also moves a running one */
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_free(struct loop_timer *timer); /* NULL is fine; safe inside run() */

/* Signals, delivered on this loop. */
struct loop_signal;

int loop_signal_new(struct loop *loop, int signum, void (*run)(void *arg, int signum), void *arg,
		    struct loop_signal **ret_signal, struct error *err);
void loop_signal_free(struct loop_signal *signal); /* NULL is fine; safe inside run() */
