/*
 * test_sync - a sync that fails, once, at every point where the queue syncs
 *
 * What was written since the last sync of that file is taken back then, as a
 * kernel does that drops pages which it could not write and calls the file
 * clean. A child goes on as if the disk were well again, tells what became of
 * each message, and is killed. Whatever was stored must be there, and nothing
 * that was refused may come back.
 */
#include "queue/test_support.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"

#define MESSAGES 24
#define SIZE	 20000

/* One write that was not synced, and what was there before. */
struct undo {
	int fd;
	off64_t offset, file_size;
	size_t len;
	char *bytes;
};

static struct {
	pthread_mutex_t mutex;
	struct undo *undos;
	size_t count;
	atomic_int syncs, failing; /* failing 0: none */
	bool keeps;		   /* what was written is there although the sync has failed */
} disk = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void note_write(int fd, size_t len, off64_t offset)
{
	struct undo *u;
	struct stat st;

	pthread_mutex_lock(&disk.mutex);
	disk.undos = memory_grow(disk.undos, (disk.count + 1) * sizeof(*disk.undos));
	u = &disk.undos[disk.count++];
	fstat(fd, &st);
	*u = (struct undo){ fd, offset, st.st_size, len, memory_zeroed(len) };
	(void)!syscall(SYS_pread64, fd, u->bytes, len, offset);
	pthread_mutex_unlock(&disk.mutex);
}

/* The file is synced, or what was written is lost. */
static void end_writes(int fd, bool is_lost)
{
	size_t kept = disk.count;

	pthread_mutex_lock(&disk.mutex);
	for (size_t i = disk.count; i-- > 0;) {
		struct undo *u = &disk.undos[i];

		if (u->fd != fd)
			continue;
		if (is_lost && !disk.keeps) {
			(void)!syscall(SYS_pwrite64, fd, u->bytes, u->len, u->offset);
			(void)!ftruncate(fd, u->file_size);
		}
		free(u->bytes);
		memmove(u, u + 1, (--kept - i) * sizeof(*u));
	}
	disk.count = kept;
	pthread_mutex_unlock(&disk.mutex);
}

static int run_sync(int fd, long number)
{
	int later = atomic_fetch_add(&disk.syncs, 1) + 1 - atomic_load(&disk.failing);
	bool is_lost =
		later >= 0 && later <= disk.keeps; /* then two, or the second try stores it */

	end_writes(fd, is_lost);
	if (!is_lost)
		return (int)syscall(number, fd);
	errno = EIO;
	return -1;
}

int fdatasync(int fd)
{
	return run_sync(fd, SYS_fdatasync);
}

int fsync(int fd)
{
	return run_sync(fd, SYS_fsync);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
	note_write(fd, len, offset);
	return syscall(SYS_pwrite64, fd, bytes, len, offset);
}

/* ---- the child ---- */

struct news {
	int64_t id; /* 0: the queue could not be opened */
	bool is_stored, is_end;
};

static void tell(int fd, int64_t id, bool is_stored, bool is_end)
{
	struct news news = { .id = id, .is_stored = is_stored, .is_end = is_end };

	if (write(fd, &news, sizeof(news)) != sizeof(news))
		_exit(3);
}

static bool store(struct tester *t, int fd)
{
	struct queue_message *m = tester_message(t, SIZE, 1);
	int r = tester_append(t, m, NULL);

	tell(fd, m->id, r == 0, false);
	queue_message_free(m);
	return r == 0;
}

static void run_child(struct tester *t, int fd, int failing)
{
	struct error err;
	int stored = 0;

	atomic_store(&disk.syncs, 0);
	atomic_store(&disk.failing, failing);
	if (tester_try_open(t, &err) < 0) {
		tell(fd, 0, false, false);
		_exit(0);
	}
	while (stored < MESSAGES)
		stored += store(t, fd);
	tell(fd, 0, false, atomic_load(&disk.syncs) < failing);
	raise(SIGKILL);
}

/* Nothing is stored any more after the failure: its message is the last in the log. */
static void run_child_that_keeps(struct tester *t, int fd, int failing)
{
	disk.keeps = true;
	atomic_store(&disk.syncs, 0);
	atomic_store(&disk.failing, failing);
	tester_open(t);
	while (atomic_load(&disk.syncs) < failing)
		store(t, fd);
	tester_wait_warning(t, "renewed");
	raise(SIGKILL);
}

/* ---- what it has left ---- */

static void check_message(struct tester *t, const struct news *news, int failing)
{
	char text[128];

	snprintf(text, sizeof(text), "SELECT count(*) FROM q_message WHERE id = %lld",
		 (long long)news->id);
	if (tester_query(t, text) != news->is_stored)
		fail_msg("sync %d: message %llX was %s, and now it is not so", failing,
			 (unsigned long long)news->id, news->is_stored ? "stored" : "refused");
}

/* Returns whether there was no such sync any more. */
static bool check_left(struct tester *t, int fd, int failing)
{
	bool is_end = false;
	struct news news;

	tester_open(t);
	while (read(fd, &news, sizeof(news)) == sizeof(news)) {
		is_end |= news.is_end;
		if (news.id)
			check_message(t, &news, failing);
	}
	assert_int_equal(tester_query(t, "SELECT count(*) FROM pragma_integrity_check WHERE "
					 "integrity_check != 'ok'"),
			 0);
	tester_check_counts(t);
	tester_close(t);
	return is_end;
}

static bool fail_sync(void (*child)(struct tester *t, int fd, int failing), int failing)
{
	struct tester *t = tester_new("/dev/shm");
	int fds[2], status;
	bool is_end;
	pid_t pid;

	t->ballast_bytes = 512 << 10; /* so the log is moved after 64 pages */
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		child(t, fds[1], failing);
	close(fds[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) ? WTERMSIG(status) == SIGKILL : WEXITSTATUS(status) == 0);
	is_end = check_left(t, fds[0], failing);
	close(fds[0]);
	tester_free(t);
	return is_end;
}

static void test_writes_lost(void **state)
{
	int failing = 1;

	(void)state;
	while (!fail_sync(run_child, failing))
		failing++;
	assert_true(failing > 40); /* else our functions were not the ones that were called */
}

/* What was refused is whole in the log: it must not be found there after a crash. */
static void test_writes_kept(void **state)
{
	(void)state;
	for (int failing = 30; failing < 34; failing++)
		fail_sync(run_child_that_keeps, failing);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes_lost),
		cmocka_unit_test(test_writes_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
