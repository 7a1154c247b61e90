/* test_loop - tasks, timers, work, notifications and signals run when and where they should */

#include "net/loop.h"
#include "net/testing.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/macros.h"

struct probe {
	struct loop_task task;
	struct loop *loop;
	struct probe *defers; /* task to defer when run */
	struct probe *cancels;
	unsigned int times, runs; /* run until it ran so often */
	char *order;
	char name;
	bool stops;
};

static void run_probe(struct loop_task *task)
{
	struct probe *p = CONTAINER_OF(task, struct probe, task);

	p->runs++;
	if (p->order)
		strncat(p->order, &p->name, 1);
	if (p->defers && p->runs < p->times)
		loop_defer(p->loop, &p->defers->task);
	if (p->cancels)
		loop_defer_cancel(&p->cancels->task);
	if (p->stops && p->runs >= p->times)
		loop_stop(p->loop);
}

static void test_defer(void **state)
{
	struct loop *loop = test_start();
	char order[16] = "";
	struct probe a = {
		.task = { .run = run_probe }, .loop = loop, .order = order, .name = 'a'
	};
	struct probe b = a, c = a, d = a;

	(void)state;
	b.name = 'b';
	c.name = 'c';
	d.name = 'd';
	b.cancels = &c;
	d.stops = true;

	/* Outside of any callback, so the loop must not go to sleep before them. */
	loop_defer(loop, &a.task);
	loop_defer(loop, &b.task);
	loop_defer(loop, &c.task);
	loop_defer(loop, &a.task);
	loop_defer(loop, &d.task);
	loop_run(loop);
	assert_string_equal(order, "abd");

	loop_defer_cancel(&c.task);
	loop_defer(loop, &c.task);
	test_end(loop, NULL, NULL);
	assert_string_equal(order, "abdc"); /* what is queued runs, by loop_free() at the latest */
}

static void test_defer_from_task(void **state)
{
	struct loop *loop = test_start();
	struct probe again = { .task = { .run = run_probe }, .loop = loop, .times = 1000 };
	struct probe posted = { .task = { .run = run_probe }, .loop = loop, .stops = true };

	(void)state;
	/* Defers itself; nothing else keeps the loop awake, and others get their turn. */
	again.defers = &again;
	loop_defer(loop, &again.task);
	loop_post(loop, &posted.task);
	loop_run(loop);
	assert_int_equal(posted.runs, 1);
	assert_true(again.runs < 1000);

	again.stops = true;
	loop_run(loop);
	assert_int_equal(again.runs, 1000);
	test_end(loop, NULL, NULL);
}

#define THREADS 4
#define POSTS	2000

struct poster {
	pthread_t thread;
	struct loop *loop;
	struct loop_notify *notify;
	struct poster_task {
		struct loop_task task;
		unsigned int *count;
	} tasks[POSTS];
};

static void run_posted_task(struct loop_task *task)
{
	++*CONTAINER_OF(task, struct poster_task, task)->count;
}

static void *post_all(void *arg)
{
	struct poster *p = arg;

	for (size_t i = 0; i < POSTS; i++) {
		loop_post(p->loop, &p->tasks[i].task);
		loop_notify_send(p->notify);
	}
	loop_stop(p->loop);
	return NULL;
}

static void count(void *arg)
{
	++*(unsigned int *)arg;
}

static void test_post(void **state)
{
	static struct poster posters[THREADS];
	struct loop *loop = test_start();
	unsigned int runs = 0, notified = 0;
	struct loop_notify *notify = loop_notify_new(loop, count, &notified);

	(void)state;
	for (size_t i = 0; i < THREADS; i++) {
		posters[i].loop = loop;
		posters[i].notify = notify;
		for (size_t j = 0; j < POSTS; j++)
			posters[i].tasks[j] =
				(struct poster_task){ { .run = run_posted_task }, &runs };
		assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]),
				 0);
	}
	RUN_UNTIL(loop, runs == THREADS * POSTS);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(posters[i].thread, NULL);
	assert_in_range(notified, 1, THREADS * POSTS);
	loop_notify_free(notify);
	test_end(loop, NULL, NULL);
}

struct clock_probe {
	struct loop *loop;
	struct loop_timer *timer;
	int64_t ran_at_ms;
	bool frees;
};

static void on_time(void *arg)
{
	struct clock_probe *p = arg;

	p->ran_at_ms = loop_now_ms(p->loop);
	if (p->frees)
		loop_timer_free(p->timer);
	loop_stop(p->loop);
}

static void test_timer(void **state)
{
	struct loop *loop = test_start();
	struct clock_probe early = { .loop = loop }, late = { .loop = loop, .frees = true };
	int64_t start_ms;

	(void)state;
	early.timer = loop_timer_new(loop, on_time, &early);
	late.timer = loop_timer_new(loop, on_time, &late);

	/* To later while it runs, to sooner, and stopped and started again. */
	loop_timer_start(early.timer, 1);
	start_ms = loop_now_ms(loop);
	loop_timer_start(early.timer, 30);
	loop_timer_start(late.timer, 100000);
	loop_timer_start(late.timer, 50);
	loop_timer_stop(late.timer);
	loop_timer_start(late.timer, 40);

	RUN_UNTIL(loop, late.ran_at_ms);
	assert_true(early.ran_at_ms >= start_ms + 30);
	assert_true(late.ran_at_ms >= start_ms + 40);
	assert_true(early.ran_at_ms <= late.ran_at_ms);

	/* A stopped one stays silent; it is started again after it ran. */
	early.ran_at_ms = 0;
	late.frees = false;
	late.ran_at_ms = 0;
	late.timer = loop_timer_new(loop, on_time, &late);
	loop_timer_start(early.timer, 5);
	loop_timer_stop(early.timer);
	loop_timer_start(late.timer, 20);
	RUN_UNTIL(loop, late.ran_at_ms);
	assert_int_equal(early.ran_at_ms, 0);
	loop_timer_start(early.timer, 0);
	RUN_UNTIL(loop, early.ran_at_ms);

	loop_timer_free(early.timer);
	loop_timer_free(late.timer);
	loop_timer_free(NULL);
	test_end(loop, NULL, NULL);
}

struct job {
	struct loop_work work;
	struct loop *loop;
	pthread_t worked_on, done_on;
	bool is_done;
};

static void do_work(struct loop_work *work)
{
	CONTAINER_OF(work, struct job, work)->worked_on = pthread_self();
}

static void done_work(struct loop_work *work)
{
	struct job *job = CONTAINER_OF(work, struct job, work);

	job->done_on = pthread_self();
	job->is_done = true;
	loop_stop(job->loop);
}

static void test_work(void **state)
{
	struct loop *loop = test_start();
	struct job job = { .work = { .work = do_work, .done = done_work }, .loop = loop };

	(void)state;
	loop_work(loop, &job.work);
	RUN_UNTIL(loop, job.is_done);
	assert_false(pthread_equal(job.worked_on, pthread_self()));
	assert_true(pthread_equal(job.done_on, pthread_self()));

	/* loop_free() waits for it, as its memory is the caller's. */
	job.is_done = false;
	loop_work(loop, &job.work);
	test_end(loop, NULL, NULL);
	assert_true(job.is_done);
}

struct signal_probe {
	struct loop *loop;
	struct loop_signal *handle;
	int got;
};

static void on_signal(void *arg, int signum)
{
	struct signal_probe *p = arg;

	p->got = signum;
	loop_signal_free(p->handle);
	loop_stop(p->loop);
}

static void test_signal(void **state)
{
	struct loop *loop = test_start();
	struct signal_probe p = { .loop = loop };
	struct error err;

	(void)state;
	assert_int_equal(loop_signal_new(loop, SIGUSR1, on_signal, &p, &p.handle, &err), 0);
	raise(SIGUSR1);
	RUN_UNTIL(loop, p.got);
	assert_int_equal(p.got, SIGUSR1);

	p.handle = NULL;
	assert_true(loop_signal_new(loop, SIGKILL, on_signal, &p, &p.handle, &err) < 0);
	assert_null(p.handle);

	raise(SIGPIPE); /* a loop's process survives it */
	test_end(loop, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defer), cmocka_unit_test(test_defer_from_task),
		cmocka_unit_test(test_post),  cmocka_unit_test(test_timer),
		cmocka_unit_test(test_work),  cmocka_unit_test(test_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
