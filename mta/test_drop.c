/* test_drop - what sendmail writes is what the server reads, and nothing else is */

#include "mta/drop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	char path[64];
	int fd;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/posthouse-drop-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->fd = open(p->path, O_RDONLY | O_DIRECTORY);
	assert_true(p->fd >= 0);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	DIR *directory = fdopendir(p->fd);
	const struct dirent *entry;

	while ((entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
	rmdir(p->path);
	free(p);
	return 0;
}

static unsigned int count_files(const struct place *p)
{
	DIR *directory = opendir(p->path);
	unsigned int count = 0;

	while (readdir(directory))
		count++;
	closedir(directory);
	return count - 2;
}

static const char *recipients[] = { "bob@example.net", "\"a b\"@[192.0.2.1]",
				    "j\xc3\xb6rg@b\xc3\xbc.example" };

static const struct drop_envelope envelope = {
	.sender = "alice@example.com",
	.full_name = "Alice = B\xc3\xb6",
	.envelope_id = "id+1",
	.returning = SMTP_RETURN_HEADERS,
	.notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY,
	.body_8bit = true,
	.is_relayed = true,
	.recipients = recipients,
	.recipient_count = 3,
};

static int open_one(struct place *p, const char *name, uint64_t max, struct drop_envelope *e,
		    struct arena *arena, int *fd, uint64_t *size, struct error *err)
{
	uid_t uid;

	return drop_open(p->fd, name, getegid(), max, arena, e, &uid, fd, size, err);
}

static void write_one(struct place *p, const struct drop_envelope *e, struct slice text,
		      char name[DROP_NAME_SIZE])
{
	struct drop_writer *w = NULL;
	struct error err;

	assert_int_equal(drop_create(p->path, e, &w, &err), 0);
	assert_int_equal(drop_write(w, text, &err), 0);
	assert_int_equal(drop_commit(w, name, &err), 0);
	drop_free(w);
}

static void test_round_trip(void **state)
{
	struct place *p = *state;
	struct arena arena = { 0 };
	struct drop_envelope e;
	struct error err;
	char name[DROP_NAME_SIZE], text[8];
	struct stat st;
	uint64_t size;
	int fd;

	write_one(p, &envelope, SLICE("hello\r\n"), name);
	assert_int_equal(fstatat(p->fd, name, &st, 0), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(open_one(p, name, 7, &e, &arena, &fd, &size, &err), 0);
	assert_string_equal(e.sender, envelope.sender);
	assert_string_equal(e.full_name, envelope.full_name);
	assert_string_equal(e.envelope_id, envelope.envelope_id);
	assert_int_equal(e.returning, envelope.returning);
	assert_int_equal(e.notify, envelope.notify);
	assert_true(e.body_8bit && e.is_relayed);
	assert_int_equal(e.recipient_count, 3);
	for (size_t i = 0; i < 3; i++)
		assert_string_equal(e.recipients[i], recipients[i]);
	assert_int_equal(size, 7);
	assert_int_equal(read(fd, text, sizeof(text)), 7);
	assert_memory_equal(text, "hello\r\n", 7);
	close(fd);
	assert_int_equal(open_one(p, name, 6, &e, &arena, &fd, &size, &err), DROP_BAD_FILE);
	assert_non_null(strstr(err.text, "message_size_limit"));
	arena_done(&arena);
}

static void test_null_sender(void **state)
{
	struct place *p = *state;
	struct drop_envelope null = envelope, e;
	struct arena arena = { 0 };
	struct error err;
	char name[DROP_NAME_SIZE];
	uint64_t size;
	int fd;

	null.sender = null.full_name = null.envelope_id = "";
	write_one(p, &null, SLICE(""), name);
	assert_int_equal(open_one(p, name, 0, &e, &arena, &fd, &size, &err), 0);
	assert_string_equal(e.sender, "");
	assert_int_equal(size, 0);
	close(fd);
	arena_done(&arena);
}

/* Whoever is killed, or gives up, leaves nothing that looks like a message. */
static void test_given_up(void **state)
{
	struct place *p = *state;
	struct drop_writer *w = NULL;
	struct error err;

	assert_int_equal(drop_create(p->path, &envelope, &w, &err), 0);
	assert_int_equal(drop_write(w, SLICE("half\r\n"), &err), 0);
	assert_int_equal(count_files(p), 1);
	drop_free(w);
	assert_int_equal(count_files(p), 0);
	assert_int_equal(drop_create("/nowhere", &envelope, &w, &err), -ENOENT);
}

/* Root sends mail too, and the server's account, taken over, could have put a link there. */
static void test_link(void **state)
{
	struct place *p = *state;
	struct drop_writer *w = NULL;
	char link[sizeof(p->path) + 8];
	struct error err;

	snprintf(link, sizeof(link), "%s/link", p->path);
	assert_return_code(symlink(p->path, link), 0);
	assert_int_equal(drop_create(link, &envelope, &w, &err), -ENOTDIR);
}

static void put(struct place *p, const char *name, struct slice text)
{
	int fd;

	unlinkat(p->fd, name, 0); /* not O_TRUNC, after which file systems sync */
	fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_EXCL, 0640);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text.ptr, text.len), text.len);
	close(fd);
}

static void check_text(const char *text)
{
	for (const char *c = text; *c; c++)
		assert_true((unsigned char)*c >= ' ' && *c != 127);
}

/* Bytes of a good file are changed: it is refused, or read as something that is harmless. */
static void test_changed_bytes(void **state)
{
	static const char bytes[] = "\n\r \0<>@\x1b:9z";
	struct place *p = *state;
	char name[DROP_NAME_SIZE], good[1024];
	unsigned int accepted = 0;
	ssize_t len;
	int in;

	write_one(p, &envelope, SLICE("hello\r\n"), name);
	in = openat(p->fd, name, O_RDONLY);
	len = read(in, good, sizeof(good));
	close(in);
	assert_true(len > 100 && len < (ssize_t)sizeof(good));
	for (ssize_t at = 0; at < len; at++) {
		for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
			struct arena arena = { 0 };
			struct drop_envelope e;
			struct error err;
			char old = good[at];
			uint64_t size;
			int fd;

			good[at] = bytes[i];
			put(p, "changed", slice_of(good, (size_t)len));
			good[at] = old;
			if (open_one(p, "changed", 100, &e, &arena, &fd, &size, &err) == 0) {
				accepted++;
				check_text(e.sender);
				check_text(e.full_name);
				check_text(e.envelope_id);
				for (size_t n = 0; n < e.recipient_count; n++)
					check_text(e.recipients[n]);
				close(fd);
			}
			arena_done(&arena);
		}
	}
	assert_true(accepted > 0);
}

static void test_cut_files(void **state)
{
	struct place *p = *state;
	char name[DROP_NAME_SIZE], good[1024];
	struct error err;
	ssize_t len;
	int in;

	write_one(p, &envelope, SLICE("hello\r\n"), name);
	in = openat(p->fd, name, O_RDONLY);
	len = read(in, good, sizeof(good));
	close(in);
	for (ssize_t n = 0; n < len; n++) {
		struct arena arena = { 0 };
		struct drop_envelope e;
		uint64_t size;
		int fd;

		put(p, "cut", slice_of(good, (size_t)n));
		assert_int_equal(open_one(p, "cut", 0, &e, &arena, &fd, &size, &err),
				 DROP_BAD_FILE);
		arena_done(&arena);
	}
}

/* A lease would make whoever opens the file wait for its owner. */
static void test_lease(void **state)
{
	struct place *p = *state;
	struct arena arena = { 0 };
	struct drop_envelope e;
	struct error err;
	char name[DROP_NAME_SIZE];
	uint64_t size;
	int holder, fd;

	write_one(p, &envelope, SLICE("hello\r\n"), name);
	holder = openat(p->fd, name, O_RDWR);
	assert_true(holder >= 0);
	if (fcntl(holder, F_SETSIG, SIGURG) < 0 || fcntl(holder, F_SETLEASE, F_WRLCK) < 0) {
		close(holder);
		skip(); /* not every file system has them */
	}
	assert_int_equal(open_one(p, name, 0, &e, &arena, &fd, &size, &err), DROP_NOT_NOW);
	fcntl(holder, F_SETLEASE, F_UNLCK);
	close(holder);
	assert_int_equal(open_one(p, name, 0, &e, &arena, &fd, &size, &err), 0);
	close(fd);
	arena_done(&arena);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip), TEST(test_null_sender),	 TEST(test_given_up),
		TEST(test_link),       TEST(test_changed_bytes), TEST(test_cut_files),
		TEST(test_lease),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
