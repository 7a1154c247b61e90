/*
 * test_carrier - mailboxes of others, and what a server that was taken over may ask for
 *
 * As root alone: the carrier becomes others.
 */

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
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/macros.h"
#include "edge/carrier_frame.h"
#include "edge/maildir.h"
#include "queue/queue.h"

#define OWNER 54321
#define GROUP 54322

struct fixture {
	char dir[40], base[60], queue_dir[60];
	struct queue *queue;
	struct carrier *carrier;
};

/* Syncs of the carrier, which is another process; NULL: nobody wants to know. */
static atomic_uint *sync_count;
static pid_t our_pid;

/* Comes before that of libc. */
int fsync(int fd)
{
	if (sync_count && getpid() != our_pid)
		atomic_fetch_add(sync_count, 1);
	return (int)syscall(SYS_fsync, fd);
}

static void forget(void *arg)
{
	(void)arg;
}

/* As in a server: the queue, and with it another thread, is there after the fork only. */
static void start(struct fixture *f, const struct carrier_rights *rights)
{
	struct queue_options options = { .clock = &clock_system, .directory = f->queue_dir };
	struct carrier_rights all = *rights;
	struct error err;

	all.hostname = "h";
	all.mailbox_base = f->base;
	carrier_stop(f->carrier);
	f->carrier = NULL;
	queue_close(f->queue);
	f->queue = NULL;
	if (carrier_start(&all, forget, NULL, &f->carrier, &err) < 0 ||
	    queue_open(&options, &f->queue, &err) < 0)
		fail_msg("%s", err.text);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/carrier.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	assert_return_code(chmod(f->dir, 0755), 0);
	snprintf(f->base, sizeof(f->base), "%s/mail", f->dir);
	snprintf(f->queue_dir, sizeof(f->queue_dir), "%s/queue", f->dir);
	assert_return_code(mkdir(f->base, 0700), 0);
	assert_return_code(chown(f->base, OWNER, GROUP), 0);
	start(f, &(struct carrier_rights){ .minimum_uid = 1000, .home_mailbox = "Maildir/" });
	*state = f;
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
	struct fixture *f = *state;

	carrier_stop(f->carrier);
	queue_close(f->queue);
	nftw(f->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(f);
	return 0;
}

static void deliver(struct fixture *f, struct carrier_mail *mails, size_t count, size_t size)
{
	struct queue_message *m = queue_message_new(f->queue);
	struct error err;

	queue_body_append(m->body, SLICE("\r\n"));
	for (size_t i = 1; i < size; i++)
		queue_body_append(m->body, SLICE("x"));
	if (queue_body_must_spill(m->body))
		assert_return_code(queue_body_spill(m->body, &err), 0);
	assert_return_code(queue_body_finish(m->body, &err), 0);
	for (size_t i = 0; i < count; i++)
		mails[i].text = (struct mail_text){ .header = SLICE("A: b\n"), .body = m->body };
	carrier_deliver(f->carrier, mails, count);
	queue_message_free(m);
}

/* The only file in new/ of a Maildir below the base. */
static void find_mail(const struct fixture *f, const char *path, struct stat *ret)
{
	char folder[200];
	struct dirent *entry;
	unsigned int count = 0;
	DIR *dir;

	snprintf(folder, sizeof(folder), "%s/%snew", f->base, path);
	dir = opendir(folder);
	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.') {
			assert_return_code(fstatat(dirfd(dir), entry->d_name, ret, 0), 0);
			count++;
		}
	closedir(dir);
	assert_int_equal(count, 1);
}

static void test_owner(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "vm1.vm/alice/", .uid = OWNER, .gid = GROUP };
	char folder[100];
	struct stat st;

	deliver(f, &mail, 1, 300000);
	if (mail.result < 0)
		fail_msg("%s", mail.error.text);
	find_mail(f, "vm1.vm/alice/", &st);
	assert_int_equal(st.st_uid, OWNER);
	assert_int_equal(st.st_gid, GROUP);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(st.st_size, 300005);
	snprintf(folder, sizeof(folder), "%s/vm1.vm/alice", f->base);
	assert_return_code(stat(folder, &st), 0);
	assert_int_equal(st.st_uid, OWNER);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* A Maildir that is there is not made again for each mail: the file and new/ are synced. */
static void test_syncs(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "a/", .uid = OWNER, .gid = GROUP };

	our_pid = getpid();
	sync_count = mmap(NULL, sizeof(*sync_count), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(sync_count != MAP_FAILED);
	start(f, &(struct carrier_rights){ .minimum_uid = 1000 });
	deliver(f, &mail, 1, 10);
	assert_int_equal(mail.result, 0);
	atomic_store(sync_count, 0);
	deliver(f, &mail, 1, 10);
	assert_int_equal(mail.result, 0);
	assert_int_equal(atomic_load(sync_count), 2);
	carrier_stop(f->carrier);
	f->carrier = NULL;
	munmap(sync_count, sizeof(*sync_count));
	sync_count = NULL;
}

/* Each gets its own result, and those that fail harm no other. */
static void test_together(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mails[] = {
		{ .path = "a/", .uid = OWNER, .gid = GROUP },
		{ .path = "b/", .uid = OWNER + 5, .gid = GROUP + 5 }, /* may not enter the base */
		{ .path = "c/", .uid = OWNER, .gid = GROUP },
		{ .path = "d/", .uid = OWNER, .gid = GROUP, .limit_bytes = 10 },
		{ .path = "e/", .uid = OWNER, .gid = GROUP },
		{ .path = "f/", .uid = OWNER, .gid = GROUP },
	};
	const int want[] = { 0, -EACCES, 0, -EDQUOT, 0, 0 };
	struct stat st;

	deliver(f, mails, ARRAY_SIZE(mails), 100);
	for (size_t i = 0; i < ARRAY_SIZE(mails); i++)
		if (mails[i].result != want[i])
			fail_msg("%s: %d, %s", mails[i].path, mails[i].result, mails[i].error.text);
	find_mail(f, "f/", &st);
}

static const struct {
	const char *label;
	struct carrier_rights rights;
	struct carrier_mail mail;
	int want;
} forged[] = {
	{ "root", { .minimum_uid = 1 }, { .path = "a/", .uid = 0, .gid = GROUP }, -EPERM },
	{ "root's group", { .minimum_uid = 1 }, { .path = "a/", .uid = OWNER }, -EPERM },
	{ "nobody at all",
	  { .minimum_uid = 1 },
	  { .path = "a/", .uid = -1, .gid = GROUP },
	  -EPERM },
	{ "no group at all",
	  { .minimum_uid = 1 },
	  { .path = "a/", .uid = OWNER, .gid = -1 },
	  -EPERM },
	{ "below the minimum",
	  { .minimum_uid = OWNER + 1 },
	  { .path = "a/", .uid = OWNER, .gid = GROUP },
	  -EPERM },
	{ "another user",
	  { .minimum_uid = 1, .only_uid = OWNER + 1 },
	  { .path = "a/", .uid = OWNER, .gid = GROUP },
	  -EPERM },
	{ "another group",
	  { .minimum_uid = 1, .only_gid = GROUP + 1 },
	  { .path = "a/", .uid = OWNER, .gid = GROUP },
	  -EPERM },
	{ "the one user and group",
	  { .minimum_uid = 1, .only_uid = OWNER, .only_gid = GROUP },
	  { .path = "a/", .uid = OWNER, .gid = GROUP },
	  0 },
	{ "out of the base",
	  { .minimum_uid = 1 },
	  { .path = "../../tmp/", .uid = OWNER, .gid = GROUP },
	  -EPERM },
	{ "absolute",
	  { .minimum_uid = 1 },
	  { .path = "/tmp/", .uid = OWNER, .gid = GROUP },
	  -EPERM },
	{ "no path", { .minimum_uid = 1 }, { .path = "", .uid = OWNER, .gid = GROUP }, -EPERM },
	{ "a home, without home_mailbox", { .minimum_uid = 1 }, { .user = "nobody" }, -EPERM },
	{ "root's home", { .minimum_uid = 1, .home_mailbox = "m/" }, { .user = "root" }, -EPERM },
	{ "a home that is none",
	  { .minimum_uid = 1, .home_mailbox = "m/" },
	  { .user = "no-such-user" },
	  -ENOENT },
	{ "a path as a user",
	  { .minimum_uid = 1, .home_mailbox = "m/" },
	  { .user = "../../etc/passwd" },
	  -ENOENT },
};

/* The server may have been taken over; what it may not do the carrier does not do for it. */
static void test_forged(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(forged); i++) {
		struct carrier_mail mail = forged[i].mail;

		start(f, &forged[i].rights);
		deliver(f, &mail, 1, 10);
		if (mail.result != forged[i].want)
			fail_msg("%s: %d, %s", forged[i].label, mail.result,
				 mail.result ? mail.error.text : "");
	}
}

/* A link below the base leads nowhere, whoever owns it. */
static void test_links(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "link/", .uid = OWNER, .gid = GROUP };
	char link[100];

	snprintf(link, sizeof(link), "%s/link", f->base);
	assert_return_code(symlink("/tmp", link), 0);
	deliver(f, &mail, 1, 10);
	assert_int_equal(mail.result, -ENOTDIR);
}

static void forge(const struct fixture *f, uint32_t kind, const char *text, size_t len)
{
	const struct carrier_frame frame = { .kind = kind, .uid = OWNER, .gid = GROUP };

	carrier_send(f->carrier->fd, &frame, slice_of(text, len));
}

/* It ends: nothing comes but the end. */
static void expect_end(struct fixture *f, const char *label)
{
	static char text[CARRIER_TEXT_MAX];
	struct carrier_frame frame;
	size_t len;
	int r = carrier_receive(f->carrier->fd, &frame, text, &len);

	if (r != -ECONNRESET)
		fail_msg("%s: got %d", label, r);
	carrier_stop(f->carrier);
	f->carrier = NULL;
	start(f, &(struct carrier_rights){ .minimum_uid = 1000 });
}

static void test_frames(void **state)
{
	struct fixture *f = *state;

	forge(f, CARRIER_DATA, "x", 1);
	expect_end(f, "data of no mail");
	forge(f, CARRIER_FAIL, "", 0);
	expect_end(f, "the end of no mail");
	forge(f, CARRIER_RESULT, "", 0);
	expect_end(f, "what it says itself");
	forge(f, 77, "", 0);
	expect_end(f, "an unknown kind");
	forge(f, CARRIER_MAIL_VIRTUAL, "a/\0b/", 5);
	expect_end(f, "a path with a NUL");
	assert_int_equal(send(f->carrier->fd, "short", 5, MSG_NOSIGNAL), 5);
	expect_end(f, "half of a frame");
	for (unsigned int i = 0; i < MAILDIR_COMMIT_MAX + 1; i++)
		forge(f, CARRIER_MAIL_VIRTUAL, "../", 3);
	expect_end(f, "too many mails");
}

static unsigned int count_files(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;
	unsigned int count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

/* The server was killed: what was on its way is gone, and the carrier too. */
static void test_server_dies(void **state)
{
	struct fixture *f = *state;
	char folder[100];

	forge(f, CARRIER_MAIL_VIRTUAL, "a/", 2);
	forge(f, CARRIER_DATA, "half of it", 10);
	carrier_stop(f->carrier); /* and waits for its end */
	f->carrier = NULL;
	snprintf(folder, sizeof(folder), "%s/a/tmp", f->base);
	assert_int_equal(count_files(folder), 0);
	snprintf(folder, sizeof(folder), "%s/a/new", f->base);
	assert_int_equal(count_files(folder), 0);
}

/* Mail waits then, and the log says what to do. */
static void test_carrier_dies(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "a/", .uid = OWNER, .gid = GROUP };

	assert_return_code(kill(f->carrier->pid, SIGKILL), 0);
	deliver(f, &mail, 1, 100000);
	assert_int_equal(mail.result, -EPIPE);
	assert_non_null(strstr(mail.error.text, "restart"));
}

/* A map may say anything. One mail is refused for that, and no other suffers. */
static void test_long_path(void **state)
{
	struct fixture *f = *state;
	static char path[2 * CARRIER_TEXT_MAX];
	struct carrier_mail mails[] = {
		{ .path = path, .uid = OWNER, .gid = GROUP },
		{ .user = path },
		{ .path = "a/", .uid = OWNER, .gid = GROUP },
	};

	for (size_t i = 0; i < sizeof(path) - 1; i++)
		path[i] = i % 2 ? '/' : 'a';
	deliver(f, mails, ARRAY_SIZE(mails), 10);
	assert_int_equal(mails[0].result, -ENAMETOOLONG);
	assert_int_equal(mails[1].result, -ENAMETOOLONG);
	assert_int_equal(mails[2].result, 0);
	path[PATH_MAX] = '\0';
	deliver(f, mails, ARRAY_SIZE(mails), 10);
	assert_int_equal(mails[0].result, -ENAMETOOLONG);
	assert_int_equal(mails[2].result, 0);
}

/* A SIGTERM to the whole group is the server's business. */
static void test_signals(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "a/", .uid = OWNER, .gid = GROUP };
	const int signals[] = { SIGTERM, SIGINT, SIGHUP };

	deliver(f, &mail, 1, 10);
	assert_int_equal(mail.result, 0);
	for (size_t i = 0; i < ARRAY_SIZE(signals); i++)
		assert_return_code(kill(f->carrier->pid, signals[i]), 0);
	mail.path = "b/";
	deliver(f, &mail, 1, 10);
	assert_int_equal(mail.result, 0);
}

/* Nothing of root's is left but to become others, and nothing of the server's is open. */
static void test_rights(void **state)
{
	struct fixture *f = *state;
	struct carrier_mail mail = { .path = "a/", .uid = OWNER, .gid = GROUP };
	char path[100], line[200];
	bool has_caps = false;
	FILE *status;

	deliver(f, &mail, 1, 10);
	snprintf(path, sizeof(path), "/proc/%ld/status", (long)f->carrier->pid);
	status = fopen(path, "re");
	assert_non_null(status);
	while (fgets(line, sizeof(line), status))
		if (strncmp(line, "CapPrm:", 7) == 0) {
			assert_string_equal(line, "CapPrm:\t00000000000000c0\n");
			has_caps = true;
		}
	fclose(status);
	assert_true(has_caps);
	snprintf(path, sizeof(path), "/proc/%ld/fd", (long)f->carrier->pid);
	assert_int_equal(count_files(path), 2); /* the socket, standard error */
	snprintf(path, sizeof(path), "/proc/%ld/cwd", (long)f->carrier->pid);
	assert_int_equal(readlink(path, line, sizeof(line)), 1);
	assert_int_equal(line[0], '/');
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(test_syncs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_together, setup, teardown),
		cmocka_unit_test_setup_teardown(test_forged, setup, teardown),
		cmocka_unit_test_setup_teardown(test_links, setup, teardown),
		cmocka_unit_test_setup_teardown(test_frames, setup, teardown),
		cmocka_unit_test_setup_teardown(test_server_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_carrier_dies, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_signals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_rights, setup, teardown),
	};

	if (geteuid() != 0) {
		puts("only root can become others: skipped");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
