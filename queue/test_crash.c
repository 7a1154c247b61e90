/*
 * test_crash - killed at every point where bytes go to disk
 *
 * A child runs a fixed series of steps on a new queue and tells us of each
 * that was completed. The functions by which SQLite and the queue write and
 * sync are replaced below; the child kills itself at the n-th call, for each n
 * until it gets through. Then we open what it has left: all that was
 * completed must be there, and the step in flight either as a whole or not
 * at all.
 */
#include "queue/test_support.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/memory.h"
#include "queue/action.h"

static atomic_int calls, fatal_call, syncs;

static void count_call(void)
{
	if (atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fatal_call))
		raise(SIGKILL);
}

int fdatasync(int fd)
{
	count_call();
	atomic_fetch_add(&syncs, 1);
	return (int)syscall(SYS_fdatasync, fd);
}

/* Paths that were synced or "removed", each behind a line feed; NULL: nobody wants to know. */
static struct buf *synced;

int fsync(int fd)
{
	char link[64], path[256];
	ssize_t len;

	count_call();
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = synced ? readlink(link, path, sizeof(path)) : 0;
	if (len > 0)
		buf_printf(synced, "\n%.*s\n", (int)len, path);
	return (int)syscall(SYS_fsync, fd);
}

int unlinkat(int fd, const char *path, int flags)
{
	count_call();
	if (synced)
		buf_append_string(synced, "\nremoved\n");
	return (int)syscall(SYS_unlinkat, fd, path, flags);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
	count_call();
	return syscall(SYS_pwrite64, fd, bytes, len, offset);
}

/* What is in the queue after each step: size:statuses of each message, and ledger rows. */
static const char *const states[] = {
	"|0",
	"100:00|0",
	"100:00,200000:0|0",
	"100:22,200000:2|0", /* an operator holds all, and lets go again */
	"100:00,200000:0|0",
	"100:31,200000:0|1",
	"100:31|1",
	"300:0|2",
	"300:0,250000:0|2",
	"|4", /* and deletes all */
	"401:0|4",
	"401:0,402:0|4",
	"401:0,402:0,403:0|4",
};

#define STATES	 ((int)ARRAY_SIZE(states))
#define TOGETHER 3 /* the last steps are submitted at once: any number may be in flight */

static const struct queue_ledger_row ledger_row = { .time_ms = 1 };

static void check(int r, const char *what)
{
	if (r < 0) {
		fprintf(stderr, "%s: %s\n", what, strerror(-r));
		_exit(2);
	}
}

static void report(int fd)
{
	if (write(fd, ".", 1) != 1)
		_exit(3);
}

static void record(struct tester *t, struct queue_message *m, unsigned int recipient,
		   enum queue_status status, struct queue_message *notification)
{
	struct queue_outcome outcome = { .recipient = recipient, .status = status };
	struct queue_record record = {
		.message = m,
		.outcomes = &outcome,
		.outcome_count = 1,
		.notifications = &notification,
		.notification_count = notification ? 1 : 0,
	};

	outcome.ledger = recipient == 0 && m->size > 1000 ? NULL : &ledger_row;
	check(tester_record(t, &record), "record");
}

static void record_first(struct tester *t, struct queue_message *m)
{
	struct queue_outcome outcomes[] = {
		{ .recipient = 0, .status = QUEUE_DELIVERED, .ledger = &ledger_row },
		{ .recipient = 1, .status = QUEUE_DEFERRED, .due_ms = 5 },
	};
	struct queue_record record = { .message = m, .outcomes = outcomes, .outcome_count = 2 };

	check(tester_record(t, &record), "record");
}

static void act(struct tester *t, enum queue_action_kind kind, int fd)
{
	const struct queue_filter filter = { 0 };
	struct queue_action action = {
		.request.done = tester_done,
		.kind = kind,
		.filter = &filter,
	};

	queue_submit_action(t->port, &action);
	tester_wait(t, &action.request);
	check(action.request.result, queue_action_name(kind));
	report(fd);
}

static void append_together(struct tester *t, int fd)
{
	struct queue_append appends[TOGETHER] = { 0 };

	for (size_t i = 0; i < TOGETHER; i++) {
		appends[i].request.done = tester_done;
		appends[i].message = tester_message(t, 401 + i, 1);
	}
	for (size_t i = 0; i < TOGETHER; i++)
		queue_submit_append(t->port, &appends[i]);
	for (size_t i = 0; i < TOGETHER; i++) {
		tester_wait(t, &appends[i].request);
		check(appends[i].request.result, "append");
		report(fd);
		queue_message_free(appends[i].message);
	}
}

static void run_steps(struct tester *t, int fd)
{
	struct queue_message *a, *b, *bounce;

	tester_open(t);
	a = tester_message(t, 100, 2);
	check(tester_append(t, a, NULL), "append");
	report(fd);
	b = tester_message(t, 200000, 1);
	check(tester_append(t, b, NULL), "append");
	report(fd);
	act(t, QUEUE_HOLD, fd);
	act(t, QUEUE_RELEASE, fd);
	record_first(t, a);
	report(fd);
	record(t, b, 0, QUEUE_DELIVERED, NULL);
	report(fd);
	queue_message_free(b);
	bounce = tester_message(t, 300, 1);
	record(t, a, 1, QUEUE_BOUNCED, bounce);
	report(fd);
	queue_message_free(bounce);
	queue_message_free(a);
	tester_release(t, tester_store(t, 250000, 1));
	report(fd);
	act(t, QUEUE_DELETE, fd);
	append_together(t, fd);
	tester_close(t);
}

/* Run the steps in a child that dies at the given call. Returns how many it has completed. */
static int run_child(struct tester *t, int fatal, bool *ret_survived)
{
	int pipe_fds[2], status, count = 0;
	char byte;
	pid_t pid;

	assert_int_equal(pipe(pipe_fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		atomic_store(&calls, 0);
		atomic_store(&fatal_call, fatal);
		run_steps(t, pipe_fds[1]);
		_exit(0);
	}
	close(pipe_fds[1]);
	while (read(pipe_fds[0], &byte, 1) == 1)
		count++;
	close(pipe_fds[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	*ret_survived = WIFEXITED(status);
	if (WIFEXITED(status) ? WEXITSTATUS(status) != 0 : WTERMSIG(status) != SIGKILL)
		fail_msg("call %d: the child failed with status %x", fatal, status);
	return count;
}

static bool is_state(struct tester *t, const char *state)
{
	char text[512];

	snprintf(text, sizeof(text),
		 "SELECT coalesce((SELECT group_concat(line) FROM (SELECT m.size || ':' || "
		 "(SELECT group_concat(r.status, '') FROM q_recipient r WHERE r.message = m.id "
		 "ORDER BY r.position) AS line FROM q_message m ORDER BY m.size)), '') "
		 "|| '|' || (SELECT count(*) FROM q_ledger) = '%s'",
		 state);
	return tester_query(t, text) == 1;
}

static void check_left(struct tester *t, int fatal, int completed)
{
	int last = completed >= STATES - 1 - TOGETHER ? STATES - 1 : completed + 1;
	int found = completed;

	while (found <= last && !is_state(t, states[found]))
		found++;
	if (found > last)
		fail_msg("call %d: %d steps were completed, but the queue is in no state that "
			 "allows",
			 fatal, completed);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM pragma_integrity_check WHERE "
					 "integrity_check != 'ok'"),
			 0);
	assert_int_equal(tester_body_files(t),
			 tester_query(t, "SELECT count(*) FROM q_message WHERE in_file"));
	tester_check_counts(t);
}

/* All that is due can be claimed, whole. */
static void check_claims(struct tester *t)
{
	struct queue_claim claim = {
		.now_ms = t->now_ms,
		.max_messages = 10,
		.max_bytes = 1000000,
	};

	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count,
			 tester_query(t, "SELECT count(due_ms) FROM q_message"));
	for (unsigned int i = 0; i < claim.message_count; i++) {
		struct queue_message *m = claim.messages[i];

		tester_check_body(m->body, m->id, m->size);
		queue_message_free(m);
	}
	free(claim.messages);
	assert_int_equal(t->warnings, 0);
}

/*
 * Open it. A row that is missing in what SQLite has read may be back after a power cut, unless
 * the log was synced; so that comes before any file without a row is removed. Returns whether
 * there was one.
 */
static bool open_in_order(struct tester *t)
{
	struct buf events = { 0 };
	const char *removed, *log;
	char path[100];
	bool has_log;

	snprintf(path, sizeof(path), "%s/queue.db-wal", t->directory);
	has_log = access(path, F_OK) == 0;
	synced = &events;
	tester_open(t);
	synced = NULL;
	buf_append(&events, "", 1);
	removed = strstr(buf_slice(&events).ptr, "\nremoved\n");
	log = strstr(buf_slice(&events).ptr, "/queue.db-wal\n");
	if (removed && has_log && (!log || log > removed))
		fail_msg("a body file is removed before the log is synced");
	buf_done(&events);
	return removed && has_log;
}

static void test_killed_anywhere(void **state)
{
	bool survived = false;
	int fatal, swept = 0;

	(void)state;
	for (fatal = 1; !survived; fatal++) {
		struct tester *t = tester_new("/dev/shm");
		int completed = run_child(t, fatal, &survived);

		swept += open_in_order(t);
		check_left(t, fatal, completed);
		check_claims(t);
		tester_close(t);
		tester_free(t);
	}
	assert_true(swept > 0);
	assert_true(fatal > 50); /* else our functions were not the ones that were called */
}

static bool is_synced(const char *path)
{
	struct slice all = buf_slice(synced);
	char line[300];
	int len = snprintf(line, sizeof(line), "\n%s\n", path);

	return memmem(all.ptr, all.len, line, (size_t)len) != NULL;
}

/*
 * Directories that are there need not be on the disk: we, or who made them for us, may have been
 * killed just then. All that is accepted would go with them when the power fails.
 */
static void test_names_are_synced(void **state)
{
	struct tester *t = *state;
	struct buf paths = { 0 };
	char path[300], *slash;

	tester_close(t);
	synced = &paths;
	tester_open(t);
	snprintf(path, sizeof(path), "%s/bodies", t->directory);
	while ((slash = strrchr(path, '/')) != path) {
		if (!is_synced(path))
			fail_msg("%s is not synced", path);
		*slash = '\0';
	}
	synced = NULL;
	buf_done(&paths);
}

#define THREADS	 4
#define MESSAGES 200 /* of each thread */

struct sender {
	struct tester *tester; /* with a port of its own */
	pthread_t thread;
	struct queue_append appends[MESSAGES];
};

static void *send_all(void *arg)
{
	struct sender *sender = arg;

	for (size_t i = 0; i < MESSAGES; i++) {
		sender->appends[i].request.done = tester_done;
		sender->appends[i].message = tester_message(sender->tester, 100, 1);
		queue_submit_append(sender->tester->port, &sender->appends[i]);
	}
	for (size_t i = 0; i < MESSAGES; i++)
		tester_wait(sender->tester, &sender->appends[i].request);
	return NULL;
}

static void check_sender(struct sender *sender)
{
	for (size_t i = 0; i < MESSAGES; i++) {
		assert_int_equal(sender->appends[i].request.result, 0);
		assert_true(tester_finish(sender->tester, sender->appends[i].message,
					  QUEUE_DELIVERED, 0));
		queue_message_free(sender->appends[i].message);
	}
}

/* Many ports at once: each gets its own completions, and far fewer syncs than messages. */
static void test_group_commit(void **state)
{
	struct tester *t = *state;
	struct sender *senders = calloc(THREADS, sizeof(*senders));
	int before = atomic_load(&syncs);

	for (int i = 0; i < THREADS; i++) {
		senders[i].tester = tester_share(t);
		assert_int_equal(pthread_create(&senders[i].thread, NULL, send_all, &senders[i]),
				 0);
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(senders[i].thread, NULL);
	assert_true(atomic_load(&syncs) - before < THREADS * MESSAGES / 4);
	tester_check_counts(t);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), THREADS * MESSAGES);

	for (int i = 0; i < THREADS; i++) {
		check_sender(&senders[i]);
		tester_unshare(senders[i].tester);
	}
	tester_check_counts(t);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), 0);
	free(senders);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_killed_anywhere),
		cmocka_unit_test_setup_teardown(test_names_are_synced, tester_setup,
						tester_teardown),
		cmocka_unit_test_setup_teardown(test_group_commit, tester_setup, tester_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
