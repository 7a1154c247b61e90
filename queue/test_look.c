/* test_look - lists by filter, sums, and histories, as operators ask for them */
#include "queue/test_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/private.h"
#include "queue/reader.h"

#define SOON (TESTER_START_MS + 60000)

static struct queue_reader *open_reader(struct tester *t)
{
	struct queue_reader *r;
	struct error err;

	if (queue_reader_open(t->directory, &r, &err) < 0)
		fail_msg("reader: %s", err.text);
	return r;
}

/* A message with one recipient for each letter: queued, deferred or held; it is not claimed. */
static int64_t store(struct tester *t, const char *states, const char *next_hop)
{
	struct queue_message *m = tester_message(t, 10, (unsigned int)strlen(states));
	int64_t id = m->id;

	for (size_t i = 0; states[i]; i++) {
		struct queue_recipient *r = &m->recipients[i];

		if (states[i] == 'q')
			continue;
		r->status = states[i] == 'd' ? QUEUE_DEFERRED : QUEUE_HELD;
		r->due_ms = SOON + (int64_t)i;
		r->next_hop = next_hop;
	}
	assert_int_equal(tester_append(t, m, NULL), 0);
	tester_release(t, id);
	queue_message_free(m);
	return id;
}

/* What a list shows: "position of the message in ids:recipients " each. */
struct shown {
	const int64_t *ids;
	size_t count;
	char text[256];
};

static int show(void *arg, const struct queue_message *m)
{
	struct shown *shown = arg;
	size_t i = 0, len = strlen(shown->text);

	while (i < shown->count && shown->ids[i] != m->id)
		i++;
	len += (size_t)snprintf(shown->text + len, sizeof(shown->text) - len, "%zu:", i);
	for (unsigned int j = 0; j < m->recipient_count; j++)
		len += (size_t)snprintf(shown->text + len, sizeof(shown->text) - len, "%c",
					m->recipients[j].address[3]); /* bob0@… */
	snprintf(shown->text + len, sizeof(shown->text) - len, " ");
	return 0;
}

static void test_list_filtered(void **state)
{
	struct tester *t = *state;
	struct queue_reader *r;
	struct error err;
	int64_t ids[4], some[4], claimed[4];
	const struct {
		struct queue_filter filter;
		const char *want;
	} cases[] = {
		{ { 0 }, "0:012 1:01 2:0 3:0 " },
		{ { .statuses = 1 << QUEUE_QUEUED }, "0:0 " },
		{ { .statuses = 1 << QUEUE_HELD | 1 << QUEUE_DEFERRED }, "0:12 1:01 " },
		{ { .statuses = QUEUE_FILTER_ACTIVE }, "2:0 3:0 " },
		{ { .recipient = "bob1@*" }, "0:1 1:1 " },
		{ { .next_hop = "*2" }, "1:01 " },
		{ { .sender = "@nowhere" }, "" },
		{ { .arrived_before_ms = TESTER_START_MS }, "" },
		{ { .ids = some, .id_count = 4 }, "0:012 3:0 " },
		{ { .ids = some, .id_count = 4, .recipient = "bob2@*" }, "0:2 " },
		{ { .ids = some, .id_count = 0 }, "" },
	};

	ids[0] = store(t, "qdh", "hub1");
	ids[1] = store(t, "dd", "hub2");
	assert_int_equal(tester_claim_ids(t, 4, claimed, NULL), 1); /* the first */
	tester_release(t, ids[0]);
	ids[2] = store(t, "q", "");
	ids[3] = store(t, "q", "");
	some[0] = some[2] = ids[3];
	some[1] = 17;
	some[3] = ids[0];

	r = open_reader(t);
	queue_reader_set_active(r, &ids[2], 2, t->now_ms);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct shown shown = { .ids = ids, .count = 4 };

		assert_int_equal(queue_reader_list(r, &cases[i].filter, show, &shown, &err), 0);
		if (strcmp(shown.text, cases[i].want) != 0)
			fail_msg("case %zu: %s", i, shown.text);
	}
	queue_reader_close(r);
}

/* Whoever looks sees what an action would change: the same recipients, on every page. */
struct tally {
	int64_t messages, recipients, last;
};

static int add(void *arg, const struct queue_message *m)
{
	struct tally *tally = arg;

	assert_true(m->id > tally->last); /* oldest first, each once */
	tally->last = m->id;
	tally->messages++;
	tally->recipients += m->recipient_count;
	return 0;
}

static void test_list_as_action(void **state)
{
	static const struct queue_filter filters[] = {
		{ 0 },
		{ .recipient = "bob1*@*" },
		{ .statuses = 1 << QUEUE_DEFERRED },
		{ .next_hop = "hub7" },
		{ .sender = "alice@*", .statuses = 1 << QUEUE_HELD },
	};
	struct tester *t = *state;
	struct queue_reader *r;
	struct error err;

	for (int i = 0; i < 700; i++)
		store(t, i % 3 == 0 ? "qdh" : i % 3 == 1 ? "qq" : "hhd", i % 50 ? "hub" : "hub7");
	for (int i = 0; i < 2; i++) {
		struct queue_message *m = tester_message(t, 10, 5000); /* a page of its own */

		assert_int_equal(tester_append(t, m, NULL), 0);
		tester_release(t, m->id);
		queue_message_free(m);
	}
	r = open_reader(t);
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		struct queue_action action = {
			.request.done = tester_done,
			.kind = QUEUE_DELETE,
			.filter = &filters[i],
			.is_dry_run = true,
		};
		struct tally tally = { 0 };

		queue_submit_action(t->port, &action);
		tester_wait(t, &action.request);
		assert_int_equal(queue_reader_list(r, &filters[i], add, &tally, &err), 0);
		assert_int_equal(tally.messages, action.messages);
		assert_int_equal(tally.recipients, action.recipients);
		assert_true(tally.messages > 0);
	}
	queue_reader_close(r);
}

/* A message that is damaged is told of where the filter could mean it, and hides no other. */
static void test_list_damaged(void **state)
{
	struct tester *t = *state;
	struct queue_filter filter = { .statuses = 1 << QUEUE_DEFERRED | 1 << QUEUE_QUEUED };
	struct queue_reader *r;
	struct tally tally = { 0 };
	struct error err;
	int64_t id;

	store(t, "d", "hub");
	id = store(t, "dd", "hub");
	store(t, "d", "hub");
	tester_sql(t, "UPDATE q_recipient SET notify = 99 WHERE message = %lld", (long long)id);
	r = open_reader(t);
	assert_int_equal(queue_reader_list(r, &filter, add, &tally, &err), -EBADMSG);
	assert_int_equal(tally.messages, 2);
	queue_reader_close(r);
}

struct groups {
	char text[512];
	int stop_after;
};

static int show_group(void *arg, const struct queue_stats *s)
{
	struct groups *groups = arg;
	size_t len = strlen(groups->text);

	snprintf(groups->text + len, sizeof(groups->text) - len,
		 "%s %s %lld/%lld/%lld %lld %lld%s\n", s->next_hop, queue_status_name(s->status),
		 (long long)s->recipients, (long long)s->messages, (long long)s->active,
		 (long long)(s->oldest_ms - TESTER_START_MS),
		 s->next_due_ms == INT64_MAX ? -1 : (long long)(s->next_due_ms - TESTER_START_MS),
		 s->reason);
	return --groups->stop_after == 0 ? 9 : 0;
}

static void test_stats(void **state)
{
	struct tester *t = *state;
	struct groups groups = { 0 }, first = { .stop_after = 1 };
	struct queue_reader *r = open_reader(t);
	struct error err;
	int64_t id;

	assert_int_equal(queue_reader_stats(r, show_group, &groups, &err), 0);
	assert_string_equal(groups.text, "");

	store(t, "dqd", "hub2");
	t->now_ms += 5;
	id = store(t, "qdhh", "hub1");
	t->now_ms += 5;
	store(t, "dq", "hub2");
	queue_reader_set_active(r, &id, 1, t->now_ms);
	assert_int_equal(queue_reader_stats(r, show_group, &groups, &err), 0);
	assert_string_equal(groups.text, " queued 3/3/1 0 0\n"
					 "hub1 deferred 1/1/0 5 60001\n"
					 "hub1 held 2/1/0 5 -1\n"
					 "hub2 deferred 3/2/0 0 60000\n");
	assert_int_equal(queue_reader_stats(r, show_group, &first, &err), 9);
	queue_reader_close(r);
}

static int count_attempt(void *arg, const struct queue_ledger_entry *attempt)
{
	int *count = arg;

	assert_int_equal(attempt->row.time_ms, *count + 1);
	assert_string_equal(attempt->recipient, "bob0@vm2.vm");
	assert_string_equal(attempt->row.next_hop, "[hub]:25");
	assert_true(attempt->row.verified);
	assert_int_equal(attempt->status, *count == 299 ? QUEUE_DELIVERED : QUEUE_DEFERRED);
	return ++*count == 1000 ? 1 : 0;
}

/* More than a page of attempts; and it is there when the message is gone. */
static void test_history(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 1), *other = tester_message(t, 10, 1);
	struct queue_reader *r;
	struct error err;
	int count = 0;

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_append(t, other, NULL), 0);
	for (int i = 0; i < 300; i++) {
		struct queue_ledger_row row = { .time_ms = i + 1,
						.next_hop = "[hub]:25",
						.verified = true };
		struct queue_outcome outcome = { .status = i == 299 ? QUEUE_DELIVERED
								    : QUEUE_DEFERRED,
						 .ledger = &row };
		struct queue_record record = { .outcomes = &outcome, .outcome_count = 1 };

		record.message = m;
		assert_int_equal(tester_record(t, &record), 0);
		record.message = other;
		if (i % 50 == 0)
			assert_int_equal(tester_record(t, &record), 0);
	}
	r = open_reader(t);
	assert_int_equal(queue_reader_history(r, m->id, count_attempt, &count, &err), 0);
	assert_int_equal(count, 300);
	count = 0;
	assert_int_equal(queue_reader_history(r, 1, count_attempt, &count, &err), 0);
	assert_int_equal(count, 0);
	tester_sql(t, "UPDATE q_ledger SET status = 17 WHERE message = %lld", (long long)m->id);
	assert_int_equal(queue_reader_history(r, m->id, count_attempt, &count, &err), -EBADMSG);
	queue_reader_close(r);
	queue_message_free(m);
	queue_message_free(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_list_filtered), TEST(test_list_as_action), TEST(test_list_damaged),
		TEST(test_stats),	  TEST(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
