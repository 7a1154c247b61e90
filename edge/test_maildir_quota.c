/* test_maildir_quota - maildirsize as Maildir++ and Dovecot have it */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "edge/maildir.h"
#include "edge/maildir_quota.h"

struct box {
	char path[40];
	int dir;
	atomic_uint counter;
};

static void make(const struct box *box, const char *name)
{
	assert_return_code(mkdirat(box->dir, name, 0700), 0);
}

static int setup(void **state)
{
	struct box *box = calloc(1, sizeof(*box));

	strcpy(box->path, "/tmp/quota.XXXXXX");
	assert_non_null(mkdtemp(box->path));
	box->dir = open(box->path, O_RDONLY | O_DIRECTORY);
	make(box, "tmp");
	make(box, "new");
	make(box, "cur");
	*state = box;
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int teardown(void **state)
{
	struct box *box = *state;

	close(box->dir);
	nftw(box->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(box);
	return 0;
}

static void put(const struct box *box, const char *name, const char *text)
{
	int fd = openat(box->dir, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void expect(const struct box *box, const char *want)
{
	int fd = openat(box->dir, "maildirsize", O_RDONLY);
	char text[8192] = "";

	assert_true(fd >= 0);
	assert_true(read(fd, text, sizeof(text) - 1) >= 0);
	close(fd);
	assert_string_equal(text, want);
}

static void make_old(const struct box *box, time_t seconds)
{
	const struct timespec times[2] = { { .tv_sec = time(NULL) - seconds },
					   { .tv_sec = time(NULL) - seconds } };

	assert_return_code(utimensat(box->dir, "maildirsize", times, 0), 0);
}

static int check(const struct box *box, uint64_t bytes, uint64_t limit)
{
	struct error err = { 0 };
	int r = maildir_quota_check(box->dir, bytes, limit, &err);

	if (r < 0)
		fail_msg("%s", err.text);
	return r;
}

/* A Maildir with two mails of 10 and 5 bytes, whatever its file says. */
static const struct {
	const char *label, *file;
	time_t age_s;
	uint64_t bytes, limit;
	int want;
	const char *after;
} cases[] = {
	{ "believed", "100S\n50 2\n", 0, 50, 100, 0, "100S\n50 2\n" },
	{ "full", "100S\n50 2\n", 0, 51, 100, MAILDIR_FULL, "100S\n50 2\n" },
	{ "lines add up", "100S\n50 2\n30 1\n-40 -1\n", 0, 60, 100, 0,
	  "100S\n50 2\n30 1\n-40 -1\n" },
	{ "full by several lines is counted", "100S\n50 2\n50 1\n", 0, 51, 100, 0, "100S\n15 2\n" },
	{ "full and old is counted", "100S\n99 2\n", MAILDIR_QUOTA_STALE_S + 60, 51, 100, 0,
	  "100S\n15 2\n" },
	{ "not full and old is believed", "100S\n9 2\n", 864000, 51, 100, 0, "100S\n9 2\n" },
	{ "another's limit", "7S,3C\n50 2\n", 0, 50, 100, 0, "7S,3C\n50 2\n" },
	{ "a line that is being written", "100S\n50 2\n9999", 0, 50, 100, 0, "100S\n50 2\n9999" },
	{ "padded, as Dovecot once did", "100S\n          50            2\n", 0, 50, 100, 0,
	  "100S\n          50            2\n" },
	{ "no file", NULL, 0, 85, 100, 0, "100S\n15 2\n" },
	{ "no file, full", NULL, 0, 86, 100, MAILDIR_FULL, "100S\n15 2\n" },
	{ "empty", "", 0, 50, 100, 0, "100S\n15 2\n" },
	{ "limits alone", "100S\n", 0, 50, 100, 0, "100S\n15 2\n" },
	{ "below zero", "100S\n-1 0\n", 0, 50, 100, 0, "100S\n15 2\n" },
	{ "rubbish", "100S\nfoo bar\n", 0, 50, 100, 0, "100S\n15 2\n" },
	{ "overflow", "100S\n9223372036854775807 1\n1 1\n", 0, 50, 100, 0, "100S\n15 2\n" },
	{ "larger than the limit", "100S\n0 0\n", 0, 101, 100, MAILDIR_FULL, "100S\n0 0\n" },
};

static void test_check(void **state)
{
	const struct box *box = *state;

	put(box, "cur/1.a.h,S=10:2,S", "0123456789");
	put(box, "new/2.a.h", "01234");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int r;

		unlinkat(box->dir, "maildirsize", 0);
		if (cases[i].file)
			put(box, "maildirsize", cases[i].file);
		if (cases[i].age_s)
			make_old(box, cases[i].age_s);
		r = check(box, cases[i].bytes, cases[i].limit);
		if (r != cases[i].want)
			fail_msg("%s: got %d", cases[i].label, r);
		expect(box, cases[i].after);
	}
}

/* Maildir++: 5120 bytes are too long. */
static void test_long(void **state)
{
	const struct box *box = *state;
	char text[6000] = "100S\n";

	while (strlen(text) < MAILDIR_QUOTA_BYTES)
		strcat(text, "0 0\n");
	put(box, "maildirsize", text);
	assert_int_equal(check(box, 1, 100), 0);
	expect(box, "100S\n0 0\n");
}

/* All of them, by what their names say; deleted ones and Trash too, as for Dovecot. */
static void test_folders(void **state)
{
	const struct box *box = *state;

	make(box, ".Trash");
	make(box, ".Trash/cur");
	make(box, ".Sent.2026");
	make(box, ".Sent.2026/new");
	make(box, "other");
	make(box, "other/cur");
	put(box, "cur/1.a.h,S=1000,W=1010:2,S", "short");
	put(box, "cur/2.a.h,W=1010,S=200:2,ST", "short");
	put(box, "cur/.hidden,S=5", "x");
	put(box, "tmp/3.a.h,S=7", "x");
	put(box, ".Trash/cur/4.a.h,S=30:2,T", "x");
	put(box, ".Sent.2026/new/5.a.h,S=x", "four");
	put(box, "other/cur/6.a.h,S=9:2,", "x");
	put(box, ".file", "x");
	assert_int_equal(check(box, 1, 5000), 0);
	expect(box, "5000S\n1234 4\n");
}

/* Whoever owns a home may have put anything there; nobody waits for it. */
static void test_not_a_file(void **state)
{
	const struct box *box = *state;

	assert_return_code(mkfifoat(box->dir, "maildirsize", 0600), 0);
	assert_int_equal(check(box, 1, 100), 0);
	expect(box, "100S\n0 0\n");
	assert_return_code(unlinkat(box->dir, "maildirsize", 0), 0);
	assert_return_code(symlinkat("/etc/passwd", box->dir, "maildirsize"), 0);
	maildir_quota_add(box->dir, 5);
	assert_int_equal(check(box, 1, 100), 0);
	expect(box, "100S\n0 0\n");
}

static void test_add(void **state)
{
	const struct box *box = *state;

	maildir_quota_add(box->dir, 5);
	assert_true(faccessat(box->dir, "maildirsize", F_OK, 0) < 0);
	put(box, "maildirsize", "100S\n50 2\n");
	maildir_quota_add(box->dir, 5);
	expect(box, "100S\n50 2\n5 1\n");
}

/* What may be said at RCPT: only what is sure. */
static void test_peek(void **state)
{
	const struct box *box = *state;

	assert_int_equal(maildir_quota_peek(box->path, 100, 100), 0);
	assert_int_equal(maildir_quota_peek(box->path, 101, 100), MAILDIR_FULL);
	put(box, "maildirsize", "100S\n50 2\n");
	assert_int_equal(maildir_quota_peek(box->path, 50, 100), 0);
	assert_int_equal(maildir_quota_peek(box->path, 51, 100), MAILDIR_FULL);
	make_old(box, MAILDIR_QUOTA_STALE_S + 60);
	assert_int_equal(maildir_quota_peek(box->path, 51, 100), 0);
	put(box, "maildirsize", "100S\n50 2\n50 1\n");
	assert_int_equal(maildir_quota_peek(box->path, 51, 100), 0);
	put(box, "maildirsize",
	    "100S,18446744073709551615C\n9223372036854775807 9223372036854775807\n");
	assert_int_equal(maildir_quota_peek(box->path, 51, 100), MAILDIR_FULL);
}

/* ---- several at once ---- */

#define WRITERS 4
#define MAILS	60

static void *deliver_all(void *arg)
{
	struct box *box = arg;
	struct maildir_place place = { .base = "/tmp", .path = box->path + 5, .limit_bytes = 5 };
	char path[40];

	snprintf(path, sizeof(path), "%s/", box->path + 5);
	place.path = path;
	place.limit_bytes = 1000000;
	for (unsigned int i = 0; i < MAILS; i++) {
		struct maildir_mail mail;

		maildir_begin(&mail, &place, "h", &box->counter);
		maildir_write(&mail, SLICE("1234567890"));
		maildir_commit(&mail, 1, &(struct maildir_commit){ .become = NULL });
		if (mail.result < 0)
			fail_msg("%s", mail.error.text);
		if (i % 20 == 7)
			unlinkat(box->dir, "maildirsize", 0); /* as whoever wants it counted anew */
	}
	return NULL;
}

/* Nothing is counted twice, and nothing is missed, also where it is counted anew meanwhile. */
static void test_writers(void **state)
{
	struct box *box = *state;
	pthread_t threads[WRITERS];
	struct error err;

	for (size_t i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, deliver_all, box), 0);
	for (size_t i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(maildir_quota_check(box->dir, 0, WRITERS * MAILS * 10, &err), 0);
	assert_int_equal(maildir_quota_check(box->dir, 1, WRITERS * MAILS * 10, &err),
			 MAILDIR_FULL);
}

/* Those that are committed together count, too. */
static void test_together(void **state)
{
	struct box *box = *state;
	struct maildir_mail mails[6];
	char path[40];
	struct maildir_place place = { .base = "/tmp", .path = path, .limit_bytes = 45 };

	snprintf(path, sizeof(path), "%s/", box->path + 5);
	for (size_t i = 0; i < ARRAY_SIZE(mails); i++) {
		maildir_begin(&mails[i], &place, "h", &box->counter);
		maildir_write(&mails[i], SLICE("1234567890"));
	}
	maildir_commit(mails, ARRAY_SIZE(mails), &(struct maildir_commit){ .become = NULL });
	for (size_t i = 0; i < ARRAY_SIZE(mails); i++)
		assert_int_equal(mails[i].result, i < 4 ? 0 : -EDQUOT);
	expect(box, "45S\n40 4\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long, setup, teardown),
		cmocka_unit_test_setup_teardown(test_folders, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(test_add, setup, teardown),
		cmocka_unit_test_setup_teardown(test_peek, setup, teardown),
		cmocka_unit_test_setup_teardown(test_writers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_together, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
