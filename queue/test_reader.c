/* test_reader - looking at a queue that is closed, open, busy, crashed, or not there */
#include "queue/test_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "queue/reader.h"

static struct queue_reader *open_reader(struct tester *t)
{
	struct queue_reader *r;
	struct error err;

	if (queue_reader_open(t->directory, &r, &err) < 0)
		fail_msg("reader: %s", err.text);
	return r;
}

static int count_one(void *arg, const struct queue_message *m)
{
	(void)m;
	++*(unsigned int *)arg;
	return 0;
}

static unsigned int count_all(struct tester *t)
{
	struct queue_reader *r = open_reader(t);
	unsigned int count = 0;
	struct error err;

	if (queue_reader_list(r, NULL, count_one, &count, &err) != 0)
		fail_msg("list: %s", err.text);
	queue_reader_close(r);
	return count;
}

static void test_absent(void **state)
{
	struct queue_reader *r;
	struct error err;

	(void)state;
	assert_int_equal(queue_reader_open("/nowhere", &r, &err), -ENOENT);
	queue_reader_close(NULL);
}

static void check_oldest(struct tester *t, int64_t id)
{
	struct queue_reader *r = open_reader(t);
	struct queue_message *m;
	struct error err;

	assert_int_equal(queue_reader_load(r, id, &m, &err), 0);
	assert_string_equal(m->sender, "alice@vm1.vm");
	assert_int_equal(m->recipient_count, 2);
	tester_check_body(m->body, id, 3000);
	queue_message_free(m);
	assert_int_equal(queue_reader_load(r, id + 1000, &m, &err), QUEUE_READER_NOT_FOUND);
	queue_reader_close(r);
}

/* With a server, without one, and with one again. */
static void test_open_and_closed(void **state)
{
	struct tester *t = *state;
	int64_t id;

	assert_int_equal(count_all(t), 0);
	id = tester_store(t, 3000, 2);
	check_oldest(t, id);
	assert_int_equal(count_all(t), 1);

	tester_close(t);
	check_oldest(t, id);
	assert_int_equal(count_all(t), 1);

	tester_open(t);
	tester_store(t, 10, 1);
	check_oldest(t, id);
	assert_int_equal(count_all(t), 2);
}

/* A process that died left a log that nobody has merged yet. */
static void test_after_crash(void **state)
{
	struct tester *t = *state;
	int status;
	pid_t pid;

	tester_close(t);
	pid = fork();
	if (pid == 0) {
		tester_open(t);
		tester_store(t, 3000, 2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(count_all(t), 1);
	assert_int_equal(count_all(t), 1);
	tester_open(t);
	assert_int_equal(count_all(t), 1);
}

static void test_large_body(void **state)
{
	struct tester *t = *state;
	int64_t id = tester_store(t, 400000, 1);
	struct queue_reader *r = open_reader(t);
	struct queue_message *m;
	struct error err;

	assert_int_equal(queue_reader_load(r, id, &m, &err), 0);
	assert_true(queue_body_in_file(m->body));
	tester_check_body(m->body, id, 400000);
	queue_message_free(m);
	assert_int_equal(tester_body_files(t), 1); /* a reader removes nothing */
	queue_reader_close(r);
}

struct walk {
	struct tester *tester;
	int64_t last;
	unsigned int count, stop_at;
};

/* Mail comes in while the list is being printed. */
static int visit(void *arg, const struct queue_message *m)
{
	struct walk *walk = arg;

	assert_true(m->id > walk->last);
	assert_null(m->body);
	assert_int_equal(m->recipient_count, 1);
	walk->last = m->id;
	if (walk->count++ % 100 == 0)
		tester_store(walk->tester, 10, 1);
	return walk->count == walk->stop_at ? 7 : 0;
}

static void test_list_pages(void **state)
{
	struct tester *t = *state;
	struct queue_append appends[700] = { 0 };
	struct walk walk = { .tester = t };
	struct queue_reader *r;
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		appends[i].request.done = tester_done;
		appends[i].message = tester_message(t, 10, 1);
		queue_submit_append(t->port, &appends[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(appends); i++) {
		tester_wait(t, &appends[i].request);
		assert_int_equal(appends[i].request.result, 0);
		queue_message_free(appends[i].message);
	}

	r = open_reader(t);
	assert_int_equal(queue_reader_list(r, NULL, visit, &walk, &err), 0);
	assert_true(walk.count >= 700);

	walk = (struct walk){ .tester = t, .stop_at = 300 };
	assert_int_equal(queue_reader_list(r, NULL, visit, &walk, &err), 7);
	assert_int_equal(walk.count, 300);
	queue_reader_close(r);
}

static int check_pending(void *arg, const struct queue_message *m)
{
	(void)arg;
	assert_int_equal(m->recipient_count, 1);
	assert_string_equal(m->recipients[0].address, "bob1@vm2.vm");
	return 0;
}

/* list leaves out recipients that are done, load shows them. */
static void test_done_recipients(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 2);
	struct queue_outcome outcome = { .status = QUEUE_DELIVERED };
	struct queue_record record = { .message = m, .outcomes = &outcome, .outcome_count = 1 };
	struct queue_reader *r;
	struct error err;
	int64_t id = m->id;

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_record(t, &record), 0);
	queue_message_free(m);

	r = open_reader(t);
	assert_int_equal(queue_reader_list(r, NULL, check_pending, NULL, &err), 0);
	assert_int_equal(queue_reader_load(r, id, &m, &err), 0);
	assert_int_equal(m->recipient_count, 2);
	assert_int_equal(m->recipients[0].status, QUEUE_DELIVERED);
	queue_message_free(m);
	queue_reader_close(r);
}

/* One damaged message hides no other. */
static void test_damaged(void **state)
{
	struct tester *t = *state;
	int64_t id = tester_store(t, 10, 1);
	struct queue_message *m;
	struct queue_reader *r;
	unsigned int count = 0;
	char name[QUEUE_ID_SIZE];
	struct error err;

	tester_store(t, 10, 1);
	tester_sql(t, "UPDATE q_body SET bytes = x'00010203040506070809' WHERE message = %lld",
		   (long long)id);
	r = open_reader(t);
	assert_int_equal(queue_reader_load(r, id, &m, &err), 0);
	assert_null(m->body);
	queue_message_free(m);

	tester_sql(t, "UPDATE q_recipient SET status = 77 WHERE message = %lld", (long long)id);
	assert_int_equal(queue_reader_load(r, id, &m, &err), -EBADMSG);
	assert_int_equal(queue_reader_list(r, NULL, count_one, &count, &err), -EBADMSG);
	assert_int_equal(count, 1);
	queue_id_format(id, name);
	assert_non_null(strstr(err.text, name));
	queue_reader_close(r);
}

static void check_view(struct tester *t, const char *condition)
{
	char text[512];

	snprintf(text, sizeof(text), "SELECT count(*) FROM %s", condition);
	if (tester_query(t, text) != 1)
		fail_msg("not one row: %s", text);
}

/* What operators query, in the words of the contract. */
static void test_views(void **state)
{
	static const struct queue_ledger_row secure = {
		.time_ms = TESTER_START_MS + 7,
		.transport = "relay",
		.next_hop = "[mta2]:25",
		.peer = "192.0.2.1:25",
		.reply = "451 4.7.1 later",
		.by_peer = true,
		.has_tls_policy = true,
		.level = "verify",
		.mode = "starttls",
		.protocol = "TLSv1.2",
		.cipher = "C",
		.verified = true,
	};
	static const struct queue_ledger_row local = { .time_ms = TESTER_START_MS,
						       .transport = "virtual" };
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 77, 2);
	struct queue_outcome outcomes[] = {
		{ .recipient = 0,
		  .status = QUEUE_DEFERRED,
		  .due_ms = TESTER_START_MS + 60123,
		  .attempts = 1,
		  .next_hop = "[mta2]:25",
		  .enhanced = "4.7.1",
		  .reason = "later",
		  .ledger = &secure },
		{ .recipient = 1, .status = QUEUE_DELIVERED, .ledger = &local },
	};
	struct queue_record record = { .message = m, .outcomes = outcomes, .outcome_count = 2 };
	char condition[256];

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_record(t, &record), 0);
	snprintf(condition, sizeof(condition),
		 "messages WHERE id = '%s' AND arrived_at = '2026-11-21T07:12:01.000Z' AND "
		 "size = 77 AND sender = 'alice@vm1.vm'",
		 m->name);
	check_view(t, condition);
	check_view(t, "recipients WHERE address = 'bob0@vm2.vm' AND status = 'deferred' AND "
		      "attempts = 1 AND next_attempt_at = '2026-11-21T07:13:01.123Z' AND "
		      "next_hop = '[mta2]:25' AND enhanced_status = '4.7.1' AND reason = 'later'");
	check_view(t, "recipients WHERE status = 'delivered' AND next_attempt_at IS NULL");
	check_view(t, "ledger WHERE row = 1 AND time = '2026-11-21T07:12:01.007Z' AND "
		      "status = 'deferred' AND recipient = 'bob0@vm2.vm' AND tls_level = 'verify' "
		      "AND tls_mode = 'starttls' AND tls_protocol = 'TLSv1.2' AND tls_cipher = 'C' "
		      "AND tls_verified = 1 AND tls_resumed = 0 AND by_peer = 1");
	check_view(t, "ledger WHERE row = 2 AND transport = 'virtual' AND status = 'delivered' "
		      "AND tls_level IS NULL AND tls_verified IS NULL");
	queue_message_free(m);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_absent),
		TEST(test_open_and_closed),
		TEST(test_after_crash),
		TEST(test_large_body),
		TEST(test_list_pages),
		TEST(test_done_recipients),
		TEST(test_damaged),
		TEST(test_views),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
