/* test_maildir - what lands in a Maildir, byte for byte, and what never may */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "edge/mail_text.h"
#include "edge/maildir.h"
#include "queue/queue.h"

struct fixture {
	char dir[40], queue_dir[60], base[60];
	struct queue *queue;
	atomic_uint counter;
	bool is_binary;
};

/* Paths that were synced, each behind a line feed; NULL: nobody wants to know. */
static struct buf *synced;

static bool is_read_only; /* so it became, after the rename */

/* Comes before that of libc. */
int fsync(int fd)
{
	char link[64], path[256];
	ssize_t len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path));
	if (is_read_only && len > 0 && memmem(path, (size_t)len, "/new", 4)) {
		errno = EROFS;
		return -1;
	}
	if (synced && len > 0)
		buf_printf(synced, "\n%.*s\n", (int)len, path);
	return (int)syscall(SYS_fsync, fd);
}

static const char *bad_name; /* fstat() fails for files whose path has that; NULL: none */
static long file_system;     /* what fstatfs() says that there is; 0: what it is */

int fstat(int fd, struct stat *st)
{
	char link[64], path[256] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	if (bad_name && readlink(link, path, sizeof(path) - 1) > 0 && strstr(path, bad_name)) {
		errno = ESTALE;
		return -1;
	}
	return fstatat(fd, "", st, AT_EMPTY_PATH);
}

int fstatfs(int fd, struct statfs *fs)
{
	int r = (int)syscall(SYS_fstatfs, fd, fs);

	if (is_read_only)
		fs->f_flags |= ST_RDONLY;
	if (file_system)
		fs->f_type = (__typeof__(fs->f_type))file_system;
	return r;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct queue_options options = { .clock = &clock_system };
	struct error err;

	strcpy(f->dir, "/tmp/maildir.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->queue_dir, sizeof(f->queue_dir), "%s/queue", f->dir);
	snprintf(f->base, sizeof(f->base), "%s/mail", f->dir);
	assert_return_code(mkdir(f->base, 0700), 0);
	options.directory = f->queue_dir;
	if (queue_open(&options, &f->queue, &err) < 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	queue_close(f->queue);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

/* The only file of a folder, its contents as a string; NULL when there is none. */
static char *only_file(const char *folder, char *ret_name, size_t name_size)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	char *text = NULL;

	if (!dir)
		return NULL;
	while ((entry = readdir(dir)) != NULL) {
		char path[600];
		FILE *stream;
		size_t n;

		if (entry->d_name[0] == '.')
			continue;
		assert_null(text);
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		snprintf(ret_name, name_size, "%s", entry->d_name);
		stream = fopen(path, "re");
		assert_non_null(stream);
		text = calloc(1, 2 << 20);
		n = fread(text, 1, (2 << 20) - 1, stream);
		assert_true(n > 0);
		fclose(stream);
	}
	closedir(dir);
	return text;
}

static int write_piece(void *arg, struct slice piece, struct error *err)
{
	(void)err;
	maildir_write(arg, piece);
	return 0;
}

static void commit(struct maildir_mail *mails, size_t count)
{
	maildir_commit(mails, count, &(struct maildir_commit){ .become = NULL });
}

static void deliver(struct fixture *f, const char *path, struct slice body, const char *want)
{
	struct queue_message *m = queue_message_new(f->queue);
	struct mail_text mail_text = {
		.header = SLICE("Return-Path: <a@b>\n"),
		.body = m->body,
		.is_binary = f->is_binary,
	};
	struct maildir_place place = { .base = f->base, .path = path };
	struct maildir_mail mail;
	char folder[200], name[300], size[40];
	struct stat st;
	struct error err;
	char *text;

	queue_body_append(m->body, body);
	if (queue_body_must_spill(m->body))
		assert_return_code(queue_body_spill(m->body, &err), 0);
	assert_return_code(queue_body_finish(m->body, &err), 0);
	maildir_begin(&mail, &place, "mta1/vm1", &f->counter);
	assert_return_code(mail_text_read(&mail_text, write_piece, &mail, &err), 0);
	commit(&mail, 1);
	if (mail.result < 0)
		fail_msg("%s", mail.error.text);
	queue_message_free(m);

	snprintf(folder, sizeof(folder), "%s/%stmp", f->base, path);
	assert_null(only_file(folder, name, sizeof(name)));
	snprintf(folder, sizeof(folder), "%s/%snew", f->base, path);
	text = only_file(folder, name, sizeof(name));
	assert_non_null(text);
	assert_string_equal(text, want);
	snprintf(size, sizeof(size), ",S=%zu", strlen(want));
	assert_non_null(strstr(name, size));
	assert_null(strchr(name, '/'));
	snprintf(folder, sizeof(folder), "%s/%s", f->base, path);
	assert_return_code(stat(folder, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	free(text);
}

static void test_deliver(void **state)
{
	struct fixture *f = *state;

	deliver(f, "vm1.vm/alice/", SLICE("A: b\r\n\r\ntext\r\n"),
		"Return-Path: <a@b>\nA: b\n\ntext\n");
	deliver(f, "vm1.vm/empty/", SLICE(""), "Return-Path: <a@b>\n");
	deliver(f, "vm1.vm/cr/", SLICE("A: b\r\n\r\na\rb\r\r\nc\r"),
		"Return-Path: <a@b>\nA: b\n\na\rb\r\nc\r");
}

/* What has no header, or a header that runs into the body, is read as a body all the same. */
static void test_deliver_unseparated(void **state)
{
	struct fixture *f = *state;

	deliver(f, "none/", SLICE("Hi, otus!\r\nHow are you?\r\n"),
		"Return-Path: <a@b>\n\nHi, otus!\nHow are you?\n");
	deliver(f, "runs/", SLICE("A: b\r\n c\r\nhello\r\nD: e\r\n"),
		"Return-Path: <a@b>\nA: b\n c\n\nhello\nD: e\n");
	deliver(f, "one/", SLICE("hello"), "Return-Path: <a@b>\n\nhello");
	deliver(f, "header/", SLICE("A: b\r\n"), "Return-Path: <a@b>\nA: b\n");
	deliver(f, "body/", SLICE("\r\nA: b\r\nc\r\n"), "Return-Path: <a@b>\n\nA: b\nc\n");
}

/* RFC 3030 section 3: a binary message need not be lines, so no line ends are changed. */
static void test_deliver_binary(void **state)
{
	struct fixture *f = *state;

	f->is_binary = true;
	deliver(f, "vm1.vm/binary/", SLICE("A: b\r\n\r\n\n\r\r\n\r"),
		"Return-Path: <a@b>\nA: b\r\n\r\n\n\r\r\n\r");
}

/* Larger than what is kept in memory and than a piece; the CRLFs fall on every place of a piece's end. */
static void test_large(void **state)
{
	struct fixture *f = *state;
	struct buf body = { 0 }, want = { 0 };
	char *text;

	buf_append_string(&body, "\r\n");
	buf_append_string(&want, "Return-Path: <a@b>\n\n");
	for (unsigned int i = 0; buf_len(&body) < 1000000; i++) {
		buf_printf(&body, "%0*u\r\n", (int)(i % 71) + 1, i);
		buf_printf(&want, "%0*u\n", (int)(i % 71) + 1, i);
	}
	text = buf_steal_string(&want);
	deliver(f, "large/", buf_slice(&body), text);
	free(text);
	buf_done(&body);
}

/* A mail of five bytes; the result. */
static int deliver_short(struct fixture *f, const char *path, uint64_t limit_bytes)
{
	struct maildir_place place = { .base = f->base, .path = path, .limit_bytes = limit_bytes };
	struct maildir_mail mail;

	maildir_begin(&mail, &place, "h", &f->counter);
	maildir_write(&mail, SLICE("mail\n"));
	commit(&mail, 1);
	return mail.result;
}

static bool is_synced(const struct fixture *f, const char *path)
{
	struct slice all = buf_slice(synced);
	char line[300];
	int len = snprintf(line, sizeof(line), "\n%s%s\n", f->base, path);

	return memmem(all.ptr, all.len, line, (size_t)len) != NULL;
}

static void make_dirs(const struct fixture *f, const char *a, const char *b, const char *c,
		      const char *d)
{
	const char *const names[] = { a, b, c, d };
	char path[200];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s%s", f->base, names[i]);
		assert_return_code(mkdir(path, 0700), 0);
	}
}

/* A new Maildir survives a power cut with its first message; later ones cost two syncs each. */
static void test_syncs(void **state)
{
	struct fixture *f = *state;
	struct buf paths = { 0 };
	unsigned int count = 0;

	synced = &paths;
	deliver_short(f, "vm1.vm/alice/", 0);
	assert_true(is_synced(f, ""));
	assert_true(is_synced(f, "/vm1.vm"));
	assert_true(is_synced(f, "/vm1.vm/alice"));
	assert_true(is_synced(f, "/vm1.vm/alice/new"));

	buf_clear(&paths);
	deliver_short(f, "vm1.vm/alice/", 0);
	for (struct slice rest = buf_slice(&paths), path; slice_next_word(&rest, "\n", &path);)
		count++;
	assert_int_equal(count, 2);

	/* Made by another thread, or by a process that was killed: not synced yet, for all we know. */
	make_dirs(f, "/vm2.vm", "/vm2.vm/bob", "/vm2.vm/bob/new", "/vm2.vm/bob/cur");
	buf_clear(&paths);
	deliver_short(f, "vm2.vm/bob/", 0);
	assert_true(is_synced(f, ""));
	assert_true(is_synced(f, "/vm2.vm"));
	assert_true(is_synced(f, "/vm2.vm/bob"));
	assert_true(is_synced(f, "/vm2.vm/bob/new"));
	synced = NULL;
	buf_done(&paths);
}

static unsigned int deliver_many(struct fixture *f, int want)
{
	struct maildir_place place = { .base = f->base, .path = "many/" };
	struct maildir_mail mails[8];
	struct buf paths = { 0 };
	unsigned int count = 0;

	synced = &paths;
	for (size_t i = 0; i < ARRAY_SIZE(mails); i++) {
		maildir_begin(&mails[i], &place, "h", &f->counter);
		maildir_write(&mails[i], SLICE("mail\n"));
	}
	commit(mails, ARRAY_SIZE(mails));
	for (size_t i = 0; i < ARRAY_SIZE(mails); i++)
		assert_int_equal(mails[i].result, want);
	synced = NULL;
	for (struct slice rest = buf_slice(&paths), path; slice_next_word(&rest, "\n", &path);)
		count++;
	buf_done(&paths);
	return count;
}

/* FUSE's server, as an example, hears nothing of syncfs(): each file and directory by itself. */
static void test_file_systems(void **state)
{
	deliver_short(*state, "many/", 0);
	file_system = 0xef53; /* ext4 */
	assert_int_equal(deliver_many(*state, 0), 0);
	file_system = 0x65735546; /* FUSE */
	assert_int_equal(deliver_many(*state, 0), 16);
	file_system = 0;
}

/* A disk that breaks: ext4 is read-only from then on, and the new name is on no disk. */
static void test_read_only(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(deliver_short(f, "many/", 0), 0);
	is_read_only = true;
	assert_int_equal(deliver_short(f, "many/", 0), -EROFS);
	file_system = 0xef53;
	deliver_many(f, -EROFS);
	file_system = 0;
	is_read_only = false;
}

/* What cannot be looked at was not synced, and is not delivered. */
static void test_not_synced(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(deliver_short(f, "a/", 0), 0);
	bad_name = "/a/tmp/";
	assert_int_equal(deliver_short(f, "a/", 0), -ESTALE);
	bad_name = "/a/new";
	assert_int_equal(deliver_short(f, "a/", 0), -ESTALE);
	bad_name = NULL;
}

/* Who may read the directory of a mailbox may lock it, for as long as he likes. */
static void test_locked(void **state)
{
	struct fixture *f = *state;
	CLEANUP(close_fdp) int fd = -1;
	char path[100];

	assert_int_equal(deliver_short(f, "a/", 1000), 0);
	snprintf(path, sizeof(path), "%s/a", f->base);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_return_code(flock(fd, LOCK_SH | LOCK_NB), 0);
	assert_int_equal(deliver_short(f, "a/", 1000), 0);
}

static const struct {
	const char *path;
	bool safe;
} paths[] = {
	{ "vm1.vm/alice/", true },
	{ "alice/", true },
	{ "a b/", true },
	{ "a..b/.c/", true },
	{ "vm1.vm/alice", false }, /* a mailbox file */
	{ "", false },
	{ "/", false },
	{ "/etc/", false },
	{ "../x/", false },
	{ "x/../y/", false },
	{ "x/./y/", false },
	{ "x//y/", false },
	{ "x/..", false },
	{ "x\n/", false },
	{ "x\x7f/", false },
};

static void test_paths(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		if (maildir_path_is_safe(paths[i].path) != paths[i].safe)
			fail_msg("\"%s\"", paths[i].path);
}

/* A link that somebody put there does not lead us out of the base. In his home it is its owner's. */
static void test_links(void **state)
{
	struct fixture *f = *state;
	struct maildir_place home = { .base = f->base, .path = "link/", .is_home = true };
	struct maildir_mail mail;
	char link[100], target[100];

	snprintf(link, sizeof(link), "%s/link", f->base);
	snprintf(target, sizeof(target), "%s/target", f->dir);
	assert_return_code(mkdir(target, 0700), 0);
	assert_return_code(symlink(target, link), 0);
	assert_int_equal(deliver_short(f, "link/", 0), -ENOTDIR);
	maildir_begin(&mail, &home, "h", &f->counter);
	commit(&mail, 1);
	assert_int_equal(mail.result, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_deliver, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deliver_unseparated, setup, teardown),
		cmocka_unit_test_setup_teardown(test_deliver_binary, setup, teardown),
		cmocka_unit_test_setup_teardown(test_large, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syncs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_file_systems, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_synced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test(test_paths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
