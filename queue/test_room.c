/*
 * test_room - when mail is refused, what the ballast does, and when both end
 *
 * The file system is ours to say: fstatvfs() and posix_fallocate() are
 * replaced below, and the clock too.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "queue/room.h"

#define MIB (UINT64_C(1) << 20)

static uint64_t free_mib, total_mib;
static int64_t seconds;
static bool has_quota; /* blocks are free, but not for us */

int fstatvfs(int fd, struct statvfs *st)
{
	(void)fd;
	*st = (struct statvfs){
		.f_frsize = 4096,
		.f_blocks = total_mib * 256,
		.f_bavail = free_mib * 256,
	};
	return 0;
}

int posix_fallocate(int fd, off_t offset, off_t len)
{
	if (has_quota)
		return EDQUOT;
	if (free_mib * MIB < (uint64_t)len)
		return ENOSPC;
	free_mib -= (uint64_t)len / MIB;
	return ftruncate(fd, offset + len) < 0 ? errno : 0;
}

int fstatat(int at, const char *path, struct stat *st, int flags)
{
	int r = (int)syscall(SYS_newfstatat, at, path, st, flags);

	st->st_blocks = st->st_size / 512; /* as if it had been allocated */
	return r;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	(void)clock;
	*now = (struct timespec){ .tv_sec = seconds };
	return 0;
}

struct fixture {
	char directory[64];
	struct queue_room room;
};

static void open_room(struct fixture *f, uint64_t minfree)
{
	struct error err;

	if (queue_room_open(f->directory, minfree * MIB, 0, &f->room, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->directory, "/tmp/posthouse-room-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	free_mib = total_mib = 1000;
	seconds = 1000;
	has_quota = false;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char path[80];

	queue_room_done(&f->room);
	snprintf(path, sizeof(path), "%s/ballast", f->directory);
	unlink(path);
	rmdir(f->directory);
	free(f);
	return 0;
}

static int look(struct fixture *f)
{
	seconds++;
	assert_true(queue_room_is_due(&f->room));
	return queue_room_look(&f->room);
}

/* Between the two bounds nothing changes, so that it is not said with every message. */
static void test_minfree(void **state)
{
	struct fixture *f = *state;

	open_room(f, 100);
	assert_int_equal(look(f), 0);
	assert_int_equal(free_mib, 1000 - 32);
	assert_true(queue_room_has(&f->room, 0));
	free_mib = 99;
	assert_true(queue_room_has(&f->room, 0)); /* nobody has looked */
	assert_int_equal(look(f), QUEUE_ROOM_ENDED);
	assert_int_equal(look(f), 0);
	assert_false(queue_room_has(&f->room, 0));
	assert_false(queue_room_is_spent(&f->room));
	free_mib = 101;
	assert_int_equal(look(f), 0);
	free_mib = 107;
	assert_int_equal(look(f), QUEUE_ROOM_BACK);
	free_mib = 101;
	assert_int_equal(look(f), 0);
	assert_true(queue_room_has(&f->room, 0));
}

/* What the client announces must fit one and a half times (Postfix's smtpd_space_multf). */
static void test_announced_size(void **state)
{
	struct fixture *f = *state;

	open_room(f, 10);
	look(f);
	free_mib = 30;
	look(f);
	assert_true(queue_room_has(&f->room, 0));
	assert_true(queue_room_has(&f->room, 20 * MIB));
	assert_false(queue_room_has(&f->room, 21 * MIB));
	assert_false(queue_room_has(&f->room, UINT64_MAX));
}

static void test_small_file_system(void **state)
{
	struct fixture *f = *state;

	free_mib = total_mib = 8;
	open_room(f, 0);
	assert_int_equal(look(f), 0);
	assert_int_equal(f->room.ballast_bytes, MIB);
	assert_int_equal(free_mib, 7);
}

/* Given up at once; restored only when it leaves something to live on. */
static void test_given_up(void **state)
{
	struct fixture *f = *state;

	open_room(f, 0);
	look(f);
	free_mib = 0;
	assert_int_equal(queue_room_give_up(&f->room), QUEUE_ROOM_ENDED);
	assert_int_equal(queue_room_give_up(&f->room), 0);
	assert_true(queue_room_is_spent(&f->room));
	free_mib = 39;
	seconds += 100;
	assert_int_equal(look(f), 0);
	free_mib = 40;
	assert_int_equal(look(f), QUEUE_ROOM_BACK);
	assert_false(queue_room_is_spent(&f->room));
	assert_int_equal(free_mib, 8);
}

/* A write fails though blocks can be had: the ballast does not come and go every second. */
static void test_patience(void **state)
{
	struct fixture *f = *state;
	int waited = 0;

	open_room(f, 0);
	look(f);
	for (int i = 0; i < 10; i++) {
		free_mib = 900;
		queue_room_give_up(&f->room);
		while (look(f) != QUEUE_ROOM_BACK)
			waited++;
	}
	assert_true(waited > 100);
	seconds += 3600;
	queue_room_give_up(&f->room);
	free_mib = 900;
	assert_int_equal(look(f), QUEUE_ROOM_BACK);
}

/* statvfs() knows nothing of quotas; the ballast does. */
static void test_quota(void **state)
{
	struct fixture *f = *state;

	has_quota = true;
	open_room(f, 0);
	assert_int_equal(look(f), QUEUE_ROOM_ENDED);
	assert_int_equal(look(f), 0);
	has_quota = false;
	assert_int_equal(look(f), QUEUE_ROOM_BACK);
}

/* A start on a full disk finds the ballast that the last run has left. */
static void test_left_by_the_last_run(void **state)
{
	struct fixture *f = *state;

	open_room(f, 0);
	look(f);
	queue_room_done(&f->room);
	free_mib = 0;
	open_room(f, 0);
	has_quota = false;
	free_mib = 32; /* posix_fallocate() does not take blocks twice; ours does */
	assert_int_equal(look(f), 0);
	assert_true(f->room.has_ballast);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_minfree),
		TEST(test_announced_size),
		TEST(test_small_file_system),
		TEST(test_given_up),
		TEST(test_patience),
		TEST(test_quota),
		TEST(test_left_by_the_last_run),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
