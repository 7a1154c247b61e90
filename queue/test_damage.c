/* test_damage - flipped bits, lost files, full disks: what is affected, and that nothing else is */
#include "queue/test_support.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static void path_of(struct tester *t, int64_t id, char *out, size_t size)
{
	char name[QUEUE_ID_SIZE];

	queue_id_format(id, name);
	snprintf(out, size, "%s/bodies/%X/%s", t->directory, (unsigned int)(id % 16), name);
}

/* Three messages that are free to be claimed; the second is about to be damaged. */
static void store_three(struct tester *t, size_t size, int64_t ids[3])
{
	for (int i = 0; i < 3; i++)
		ids[i] = tester_store(t, size, 2);
	for (int i = 0; i < 3; i++)
		tester_release(t, ids[i]);
}

/* A claim may end in front of what is damaged; the next one goes on from there. */
static unsigned int claim_all(struct tester *t, int64_t got[4])
{
	unsigned int count = 0, n;

	while ((n = tester_claim_ids(t, 4 - count, got + count, NULL)) > 0)
		count += n;
	return count;
}

/* The second is held and named in a warning; the others come as ever, also after a restart. */
static void check_others(struct tester *t, const int64_t ids[3], unsigned int warnings)
{
	char name[QUEUE_ID_SIZE];
	int64_t got[4];

	queue_id_format(ids[1], name);
	for (int round = 1; round <= 2; round++) {
		assert_int_equal(claim_all(t, got), 2);
		assert_int_equal(got[0], ids[0]);
		assert_int_equal(got[1], ids[2]);
		assert_int_equal(t->warnings, warnings);
		assert_non_null(strstr(t->last_warning, name));
		tester_close(t);
		tester_open(t);
	}
	tester_check_counts(t);
}

static void check_held(struct tester *t)
{
	assert_int_equal(tester_query(t, "SELECT count(*) FROM recipients WHERE status = 'held' "
					 "AND reason LIKE '%damaged%'"),
			 2);
}

static void test_body_flipped(void **state)
{
	struct tester *t = *state;
	int64_t ids[3];

	store_three(t, 3000, ids);
	tester_sql(t,
		   "UPDATE q_body SET bytes = CAST(substr(bytes, 1, 1000) || x'aa' || "
		   "substr(bytes, 1002) AS BLOB) WHERE message = %lld",
		   (long long)ids[1]);
	check_others(t, ids, 1);
	check_held(t);
}

/* Where a row is missing the whole database is looked through for it. */
static void test_body_gone(void **state)
{
	struct tester *t = *state;
	int64_t ids[3];

	store_three(t, 3000, ids);
	tester_sql(t, "DELETE FROM q_body WHERE message = %lld", (long long)ids[1]);
	check_others(t, ids, 2);
	check_held(t);
}

static void test_body_file_gone(void **state)
{
	struct tester *t = *state;
	char path[128];
	int64_t ids[3];

	store_three(t, 200000, ids);
	path_of(t, ids[1], path, sizeof(path));
	assert_int_equal(unlink(path), 0);
	check_others(t, ids, 1);
	check_held(t);
}

static void test_body_file_cut(void **state)
{
	struct tester *t = *state;
	char path[128];
	int64_t ids[3];

	store_three(t, 200000, ids);
	path_of(t, ids[1], path, sizeof(path));
	assert_int_equal(truncate(path, 199999), 0);
	check_others(t, ids, 1);
	check_held(t);
}

static void test_recipients_senseless(void **state)
{
	static const char *const changes[] = {
		"UPDATE q_recipient SET status = -1 WHERE message = %lld AND position = 1",
		"UPDATE q_recipient SET attempts = -1 WHERE message = %lld",
		"UPDATE q_recipient SET notify = 16 WHERE message = %lld",
		"UPDATE q_recipient SET notify = 3 WHERE message = %lld", /* NEVER is alone */
		"UPDATE q_recipient SET notify = -1 WHERE message = %lld",
		"UPDATE q_message SET dsn_return = 3 WHERE id = %lld",
		"UPDATE q_message SET kind = -1 WHERE id = %lld",
	};
	struct tester *t = *state;
	int64_t ids[3];

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		char text[128];

		store_three(t, 100, ids);
		snprintf(text, sizeof(text), changes[i], (long long)ids[1]);
		tester_sql(t, "%s", text);
		check_others(t, ids, 1);

		tester_close(t);
		tester_sql(t, "DELETE FROM q_message; DELETE FROM q_recipient; DELETE FROM q_body;"
			      "UPDATE q_state SET messages = 0, recipients = 0, bytes = 0");
		t->warnings = 0;
		tester_open(t);
	}
}

static void test_recipients_gone(void **state)
{
	struct tester *t = *state;
	int64_t ids[3], got[4];

	store_three(t, 100, ids);
	tester_sql(t, "DELETE FROM q_recipient WHERE message = %lld", (long long)ids[1]);
	assert_int_equal(claim_all(t, got), 2);
	assert_int_equal(t->warnings, 2);
}

/* The index names a message that is not there: of that nothing is left in a new one. */
static void test_message_gone(void **state)
{
	struct tester *t = *state;
	int64_t ids[3], got[4];

	store_three(t, 100, ids);
	tester_sql(t, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX "
		      "q_message_due ON q_message (due_ms) WHERE due_ms IS NULL' WHERE name = "
		      "'q_message_due'");
	tester_sql(t, "DELETE FROM q_message WHERE id = %lld", (long long)ids[1]);
	tester_sql(t, "PRAGMA writable_schema = ON; UPDATE sqlite_schema SET sql = 'CREATE INDEX "
		      "q_message_due ON q_message (due_ms) WHERE due_ms IS NOT NULL' WHERE name = "
		      "'q_message_due'");
	tester_close(t);
	tester_open(t);
	assert_int_equal(claim_all(t, got), 2);
	assert_int_equal(t->warnings, 2);
	tester_release(t, ids[0]);
	assert_int_equal(claim_all(t, got), 1);
	assert_int_equal(t->warnings, 2);
}

/* No file may grow beyond this: to a process that looks much like a full disk. */
static void limit_files(rlim_t bytes)
{
	struct rlimit limit;

	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static off_t log_size(struct tester *t)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/queue.db-wal", t->directory);
	assert_int_equal(stat(path, &st), 0);
	return st.st_size;
}

/* -ENOSPC for who comes while it is full, nothing lost of what was there, and then it works again. */
static void test_disk_full(void **state)
{
	struct tester *t = *state;
	struct queue_append appends[20] = { 0 };
	unsigned int stored = 0, refused = 0;
	struct error err;
	int64_t got[40];

	signal(SIGXFSZ, SIG_IGN);
	tester_store(t, 4000, 1);
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		appends[i].request.done = tester_done;
		appends[i].message = tester_message(t, 4000, 1);
	}
	limit_files((rlim_t)log_size(t) + 60000);
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++)
		queue_submit_append(t->port, &appends[i]);
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		tester_wait(t, &appends[i].request);
		stored += appends[i].request.result == 0;
		refused += appends[i].request.result == -ENOSPC;
	}
	limit_files(RLIM_INFINITY);
	assert_int_equal(stored + refused, ARRAY_SIZE(appends));
	assert_true(refused > 0);
	assert_int_equal(t->warnings, 1);
	tester_wait_warning(t, "there is room for mail again");

	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		if (appends[i].request.result < 0)
			assert_int_equal(tester_append(t, appends[i].message, &err), 0);
		queue_message_free(appends[i].message);
	}
	tester_check_counts(t);
	tester_close(t);
	tester_open(t);
	assert_int_equal(tester_claim_ids(t, 40, got, NULL), 21);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM pragma_integrity_check "
					 "WHERE integrity_check != 'ok'"),
			 0);
}

/* A large body that finds no room leaves nothing behind. */
static void test_disk_full_body(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = queue_message_new(t->queue);
	char bytes[200000] = "";
	struct error err;

	signal(SIGXFSZ, SIG_IGN);
	queue_body_append(m->body, slice_of(bytes, sizeof(bytes)));
	assert_true(queue_body_must_spill(m->body));
	limit_files(100000);
	assert_int_equal(queue_body_spill(m->body, &err), -ENOSPC);
	limit_files(RLIM_INFINITY);
	assert_int_equal(tester_body_files(t), 1);
	queue_message_free(m);
	assert_int_equal(tester_body_files(t), 0);
}

/* One that can't be stored (its id exists) does not take its companions down. */
static void test_guilty_alone(void **state)
{
	struct tester *t = *state;
	struct queue_append appends[10] = { 0 };
	struct queue_message *twin;
	int64_t id = tester_store(t, 10, 1);

	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		appends[i].request.done = tester_done;
		appends[i].message = tester_message(t, 10, 1);
	}
	twin = appends[5].message;
	twin->id = id;
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++)
		queue_submit_append(t->port, &appends[i]);
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		tester_wait(t, &appends[i].request);
		assert_int_equal(appends[i].request.result, i == 5 ? -EEXIST : 0);
		queue_message_free(appends[i].message);
	}
	tester_check_counts(t);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_body_flipped),	 TEST(test_body_gone),
		TEST(test_body_file_gone),	 TEST(test_body_file_cut),
		TEST(test_recipients_senseless), TEST(test_recipients_gone),
		TEST(test_message_gone),	 TEST(test_disk_full),
		TEST(test_disk_full_body),	 TEST(test_guilty_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
