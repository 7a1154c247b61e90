/*
 * test_salvage - damaged databases: what can be read is delivered or held, and nothing crashes
 *
 * A queue with messages of several sizes is closed, and its database kept in
 * memory. Each test damages a copy in some way, opens it, and looks where
 * each message has gone. With LONG in the environment it does so to every
 * page and at every call, else to some of those that are alike.
 */
#include "queue/test_damaged.h"

#include <dirent.h>
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

#include "base/cleanup.h"
#include "base/memory.h"

#define ROOTS 24 /* pages at the beginning that are unlike each other */

/* ---- dying in the middle of it ---- */

static atomic_int calls, fatal_call; /* 0: none */
static atomic_int full_from;	     /* the call from which on there is no room; 0: none */

static void count_call(void)
{
	if (atomic_fetch_add(&calls, 1) + 1 == atomic_load(&fatal_call))
		raise(SIGKILL);
}

static bool has_room(void)
{
	int full = atomic_load(&full_from);

	if (full == 0 || atomic_load(&calls) < full)
		return true;
	errno = ENOSPC;
	return false;
}

static bool ends_in(const char *path, const char *end)
{
	size_t len = strlen(path);

	return len >= strlen(end) && strcmp(path + len - strlen(end), end) == 0;
}

/* Whether the old log was still to be moved away, after a power cut, when the new database came. */
static atomic_bool is_log_unsynced, is_log_beside;

int fsync(int fd)
{
	count_call();
	atomic_store(&is_log_unsynced, false);
	return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
	count_call();
	if (ends_in(from, "/queue.db-wal"))
		atomic_store(&is_log_unsynced, true);
	if (ends_in(to, "/queue.db") && atomic_load(&is_log_unsynced))
		atomic_store(&is_log_beside, true);
	return (int)syscall(SYS_renameat2, -100, from, -100, to, 0);
}

int link(const char *from, const char *to)
{
	count_call();
	return (int)syscall(SYS_linkat, -100, from, -100, to, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t len, off64_t offset)
{
	count_call();
	return has_room() ? syscall(SYS_pwrite64, fd, bytes, len, offset) : -1;
}

static int64_t count_held(struct fixture *f)
{
	return tester_query(f->t, "SELECT count(*) FROM q_message WHERE EXISTS (SELECT 1 FROM "
				  "q_recipient WHERE message = id AND status = 2)");
}

static bool is_in(struct fixture *f, const char *table, const char *key, int64_t id)
{
	char text[160];

	snprintf(text, sizeof(text), "SELECT count(*) FROM %s WHERE %s = %lld", table, key,
		 (long long)id);
	return tester_query(f->t, text) > 0;
}

/* Each is handed out whole or held; the queue is sound, takes mail, and stays so. */
static void check_all(struct fixture *f, const char *what, long number)
{
	struct fate fate;
	int64_t id;

	drain(f, &fate);
	for (int i = 0; i < MESSAGES; i++)
		if (!fate.is_claimed[i] &&
		    !is_in(f, "q_recipient", "status = 2 AND message", f->ids[i]))
			fail_msg("%s %ld: message %d is neither claimed nor held; %s", what, number,
				 i, f->t->last_warning);
	if (f->t->warnings > 6)
		fail_msg("%s %ld: %u warnings", what, number, f->t->warnings);
	id = tester_store(f->t, 100, 1);
	assert_true(id > f->ids[MESSAGES - 1]);
	if (count_files(f, "queue.db.damaged.") > 0) { /* else nobody has met the damage */
		assert_int_equal(tester_query(f->t, "SELECT count(*) FROM pragma_integrity_check "
						    "WHERE integrity_check != 'ok'"),
				 0);
		tester_check_counts(f->t);
	}
	tester_close(f->t);

	f->t->warnings = 0;
	tester_open(f->t);
	assert_int_equal(f->t->warnings, 0);
	tester_close(f->t);
}

/* ---- tests ---- */

static bool is_long(void)
{
	return getenv("LONG") != NULL;
}

/* Any page: no message loses all of its parts, so none is lost. */
static void overwrite_pages(struct fixture *f, int filler)
{
	char *bytes = memory_new(f->size);

	for (size_t page = 0; page < f->size / PAGE; page++) {
		if (!is_long() && page >= ROOTS && page % 4 > 0)
			continue;
		memcpy(bytes, f->database, f->size);
		for (size_t i = 0; i < PAGE; i++)
			bytes[page * PAGE + i] =
				(char)(filler >= 0 ? filler : (int)(i * 31 + page * 7 + i / 5));
		open_damaged(f, bytes, f->size);
		check_all(f, "page", (long)page + 1);
	}
	free(bytes);
}

static void test_page_zeroed(void **state)
{
	overwrite_pages(*state, 0);
}

static void test_page_of_noise(void **state)
{
	overwrite_pages(*state, -1);
}

/* The root page of a table or index, as the schema has it. */
static size_t root_of(struct fixture *f, const char *name)
{
	char text[128];

	snprintf(text, sizeof(text), "SELECT rootpage FROM sqlite_schema WHERE name = '%s'", name);
	return (size_t)tester_query(f->t, text);
}

static void spoil(char *bytes, size_t page)
{
	memset(bytes + (page - 1) * PAGE, 0x5a, PAGE);
}

static void test_index_alone(void **state)
{
	struct fixture *f = *state;
	struct fate fate;

	spoil(f->database, root_of(f, "q_message_due"));
	open_damaged(f, f->database, f->size);
	drain(f, &fate);
	assert_int_equal(fate.claimed, MESSAGES);
	assert_int_equal(f->t->warnings, 2); /* all messages, and the number of pages */
	assert_int_equal(count_held(f), 0);
	assert_true(count_files(f, "queue.db.damaged.") > 0);
}

/* A page that was written to the place of another's root: SQLite takes these rows for the table's. */
static void test_page_of_another_table(void **state)
{
	static const char *const names[][2] = {
		{ "q_body", "q_message" },	    { "q_message", "q_body" },
		{ "q_ledger", "q_message" },	    { "q_message_due", "q_recipient" },
		{ "q_recipient", "q_message_due" }, { "q_ledger_message", "q_message_due" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char *bytes = memory_new(f->size);
		struct fate fate;

		put_database(f, f->database, f->size);
		memcpy(bytes, f->database, f->size);
		memcpy(bytes + (root_of(f, names[i][1]) - 1) * PAGE,
		       f->database + (root_of(f, names[i][0]) - 1) * PAGE, PAGE);
		open_damaged(f, bytes, f->size);
		drain(f, &fate);
		assert_true(count_files(f, "queue.db.damaged.") > 0);
		check_all(f, "page of another table", (long)i);
		free(bytes);
	}
}

/* Whoever is served when damage is found gets what he asked for. */
static void test_found_by_append(void **state)
{
	struct fixture *f = *state;

	spoil(f->database, root_of(f, "q_body"));
	open_damaged(f, f->database, f->size);
	tester_store(f->t, 100, 1);
	assert_int_equal(count_files(f, "queue.db.damaged."), 2); /* with its log */
	assert_false(atomic_load(&is_log_beside));
	check_all(f, "append", 0);
}

static void test_cut(void **state)
{
	const size_t step = (is_long() ? 3 : 13) * PAGE + 7;
	struct fixture *f = *state;
	struct fate fate;

	for (size_t size = f->size - PAGE / 2; size > 4 * PAGE && size < f->size; size -= step) {
		open_damaged(f, f->database, size);
		drain(f, &fate);
		tester_check_counts(f->t);
		assert_true(f->t->warnings < 7);
		tester_close(f->t);
	}
}

/* Nothing is left but its file: that is kept. */
static void test_bodies_kept(void **state)
{
	struct fixture *f = *state;

	put_database(f, f->database, f->size);
	tester_open(f->t);
	tester_store(f->t, 200000, 1);
	tester_close(f->t);
	open_damaged(f, f->database, 3 * PAGE);
	tester_close(f->t);
	assert_int_equal(count_files(f, "bodies.damaged."), 1);
	assert_int_equal(count_files(f, "queue.db.damaged."), 1);
}

/* The row is lost, the file is not: it is held with its body. */
static void test_body_file(void **state)
{
	struct fixture *f = *state;
	int64_t id;

	put_database(f, f->database, f->size);
	tester_open(f->t);
	id = tester_store(f->t, 200000, 1);
	tester_close(f->t);
	free(f->database);
	f->database = read_database(f);
	spoil(f->database, page_of(f, id, PART_MESSAGE));
	open_damaged(f, f->database, f->size);
	assert_true(is_in(f, "q_message", "in_file = 1 AND size = 200000 AND id", id));
	assert_true(is_in(f, "q_recipient", "status = 2 AND message", id));
	assert_int_equal(tester_body_files(f->t), 1);
}

static void test_not_a_database(void **state)
{
	struct fixture *f = *state;
	char noise[20000];

	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * 7 + i / 3);
	open_damaged(f, noise, sizeof(noise));
	tester_store(f->t, 100, 1);
	tester_check_counts(f->t);
	tester_close(f->t);
	assert_int_equal(count_files(f, "queue.db.damaged."), 1);
}

/* Somebody else's database is not touched. */
static void test_foreign(void **state)
{
	struct fixture *f = *state;
	struct error err;

	put_database(f, "", 0);
	tester_sql(f->t, "CREATE TABLE a (b); INSERT INTO a VALUES (7)");
	assert_int_equal(tester_try_open(f->t, &err), -EINVAL);
	tester_close(f->t);
	assert_int_equal(tester_query(f->t, "SELECT b FROM a"), 7);
}

static void test_empty(void **state)
{
	struct fixture *f = *state;

	put_database(f, f->database, f->size);
	tester_open(f->t);
	tester_store(f->t, 200000, 1);
	tester_close(f->t);
	open_damaged(f, "", 0);
	tester_store(f->t, 100, 1);
	assert_int_equal(f->t->warnings, 1);
	tester_close(f->t);
	assert_int_equal(count_files(f, "bodies."), 1);
}

static void store_and_die(struct fixture *f)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		tester_open(f->t);
		tester_store(f->t, 200000, 1);
		tester_store(f->t, 100, 1);
		raise(SIGKILL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void write_log(struct fixture *f, long offset, const char *bytes, size_t len)
{
	char path[160];
	CLEANUP(close_filep) FILE *file = fopen(path_of(f, "queue.db-wal", path), "r+e");

	assert_non_null(file);
	assert_int_equal(fseek(file, offset, SEEK_SET), 0);
	assert_int_equal(fwrite(bytes, 1, len, file), len);
}

/* SQLite would take it for empty, and forget what was stored last. */
static void test_log_header(void **state)
{
	static const char zeros[32];
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		put_database(f, f->database, f->size);
		store_and_die(f);
		write_log(f, 0, i == 0 ? "noise" : zeros, i == 0 ? 5 : i == 1 ? 32 : 8);
		f->t->warnings = 0;
		tester_open(f->t);
		assert_true(f->t->warnings >= 1);
		assert_int_equal(count_files(f, "queue.db.damaged."), 2); /* with its log */
		check_all(f, "log header", i);
	}
}

/* Behind a frame that is wrong there are commits: only the page of that frame is an old one. */
static void test_log_damaged_within(void **state)
{
	struct fixture *f = *state;

	put_database(f, f->database, f->size);
	store_and_die(f);
	write_log(f, 32 + 24 + 100, "noise noise noise", 17);
	f->t->warnings = 0;
	tester_open(f->t);
	assert_true(f->t->warnings >= 1);
	assert_int_equal(count_files(f, "queue.db.damaged."), 2);
	check_all(f, "log", 0);
}

/* The end of a log that a power cut has torn is no damage. */
static void test_log_torn(void **state)
{
	struct fixture *f = *state;
	char path[160];
	struct stat st;

	put_database(f, f->database, f->size);
	store_and_die(f);
	assert_int_equal(stat(path_of(f, "queue.db-wal", path), &st), 0);
	write_log(f, (long)st.st_size - 4000, "noise noise noise", 17);
	f->t->warnings = 0;
	tester_open(f->t);
	assert_int_equal(f->t->warnings, 0);
	check_all(f, "log", 1);
}

static void test_log_gone(void **state)
{
	struct fixture *f = *state;
	char path[160];

	put_database(f, f->database, f->size);
	store_and_die(f);
	assert_int_equal(unlink(path_of(f, "queue.db-wal", path)), 0);
	tester_open(f->t);
	check_all(f, "log", 2);
}

/* Killed at every write, sync and rename of a salvage: the next start has all of it. */
static void test_killed_while_salvaging(void **state)
{
	struct fixture *f = *state;
	bool survived = false;
	int fatal, status;

	spoil(f->database, root_of(f, "q_state"));
	spoil(f->database, root_of(f, "q_recipient_waiting"));
	for (fatal = 1; !survived; fatal += is_long() ? 1 : 7) {
		pid_t pid;

		put_database(f, f->database, f->size);
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			atomic_store(&calls, 0);
			atomic_store(&fatal_call, fatal);
			tester_open(f->t);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		survived = WIFEXITED(status);
		f->t->warnings = 0;
		tester_open(f->t);
		check_all(f, "killed at call", fatal);
	}
	assert_true(fatal > 60);
}

/* Salvage it with no room from some call on. Returns the number of calls. */
static int salvage_full(struct fixture *f, int full)
{
	struct error err;

	put_database(f, f->database, f->size);
	atomic_store(&calls, 0);
	atomic_store(&full_from, full);
	tester_try_open(f->t, &err);
	tester_close(f->t);
	atomic_store(&full_from, 0);
	return atomic_load(&calls);
}

/* Whatever was done until then, nothing is lost when there is room again. */
static void test_full_while_salvaging(void **state)
{
	struct fixture *f = *state;
	int count, full;

	spoil(f->database, root_of(f, "q_state"));
	count = salvage_full(f, 0);
	assert_true(count > 60);
	for (full = 1; full <= count; full += is_long() || full > count - 30 ? 1 : 11) {
		salvage_full(f, full);
		f->t->warnings = 0;
		tester_open(f->t);
		check_all(f, "full at call", full);
	}
}

/* ---- what chance does not do ---- */

static void put_number(char *bytes, size_t offset, unsigned char number)
{
	memset(bytes + offset, 0, 3);
	bytes[offset + 3] = (char)number;
}

/* Format of the schema and mark of whose it is: SQLite refuses the one, and we don't know the other. */
static void test_header_marks(void **state)
{
	struct fixture *f = *state;

	put_number(f->database, 44, 77);
	put_number(f->database, 68, 77);
	open_damaged(f, f->database, f->size);
	assert_true(count_files(f, "queue.db.damaged.") > 0);
	check_all(f, "header", 0);
}

/* SQLite would take the map for free, and so did whoever asked the map what it says of itself. */
static void test_map_in_free_list(void **state)
{
	struct fixture *f = *state;
	size_t trunk = f->size / PAGE;

	memset(f->database + (trunk - 1) * PAGE, 0, PAGE);
	put_number(f->database, 32, (unsigned char)trunk);
	put_number(f->database, 36, 2);
	put_number(f->database + (trunk - 1) * PAGE, 4, 1);
	put_number(f->database + (trunk - 1) * PAGE, 8, 2);
	open_damaged(f, f->database, f->size);
	check_all(f, "free list", 0);
}

/* Whoever can write the database: nothing of what he writes is run, and no number leads astray. */
static void test_hostile_rows(void **state)
{
	static const char *const texts[] = {
		"UPDATE q_message SET size = 9223372036854775807 WHERE id % 20 = 7",
		"UPDATE q_message SET due_ms = -9223372036854775807",
		"UPDATE q_state SET messages = -9223372036854775807 - 1",
		"UPDATE q_state SET ledger_row = 9223372036854775807, ids_mark = ledger_row",
		"UPDATE q_state SET anchor_row = -9223372036854775807 - 1, ids_mark = anchor_row",
		"UPDATE q_ledger SET row = 9223372036854775807 WHERE row = 1",
		"UPDATE q_ledger SET row = -row, status = 77, message = -message",
		"UPDATE q_recipient SET status = 77",
		"UPDATE q_recipient SET position = 99999 WHERE message % 4 = 0 AND position = 1",
		"INSERT INTO q_body VALUES (9223372036854775807, x''), (-1, x'')",
		"PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE TABLE q_body "
		"AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM "
		"n' WHERE name = 'q_body'",
	};
	struct fixture *f = *state;
	size_t root = root_of(f, "q_message_due");

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct fate fate;
		char *bytes;

		put_database(f, f->database, f->size);
		tester_sql(f->t, "%s", texts[i]);
		bytes = read_database(f);
		spoil(bytes, root);
		open_damaged(f, bytes, f->size);
		free(bytes);
		drain(f, &fate);
		assert_true(count_files(f, "queue.db.damaged.") > 0);
		assert_int_equal(tester_query(f->t, "SELECT count(*) FROM q_recipient WHERE status "
						    "NOT BETWEEN 0 AND 5"),
				 0);
		check_all(f, "hostile", (long)i);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, damaged_setup, damaged_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_page_zeroed),
		TEST(test_page_of_noise),
		TEST(test_index_alone),
		TEST(test_page_of_another_table),
		TEST(test_found_by_append),
		TEST(test_cut),
		TEST(test_bodies_kept),
		TEST(test_body_file),
		TEST(test_not_a_database),
		TEST(test_foreign),
		TEST(test_empty),
		TEST(test_log_header),
		TEST(test_log_damaged_within),
		TEST(test_log_torn),
		TEST(test_log_gone),
		TEST(test_killed_while_salvaging),
		TEST(test_full_while_salvaging),
		TEST(test_header_marks),
		TEST(test_map_in_free_list),
		TEST(test_hostile_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
