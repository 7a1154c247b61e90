/* test_ledger - the chain of hashes, what breaks it, and what may not */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "queue/ledger_columns.h"
#include "queue/reader.h"
#include "queue/store.h"
#include "queue/test_support.h"

static struct queue_store *open_store(struct tester *t)
{
	struct queue_store *s;
	struct error err;
	char path[256];

	tester_close(t);
	snprintf(path, sizeof(path), "%s/queue.db", t->directory);
	if (queue_store_open(path, false, &s, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(queue_store_begin(s, &err), 0);
	return s;
}

static void close_store(struct tester *t, struct queue_store *s)
{
	struct error err;

	if (queue_store_commit(s, &err) < 0)
		fail_msg("%s", err.text);
	queue_store_close(s);
	tester_open(t);
}

/* Every column has a value, so that each counts in the hash. */
static struct queue_ledger_entry entry_of(int64_t time_ms)
{
	struct queue_ledger_entry entry = { .number = 0 };

	for (size_t i = 0; i < ARRAY_SIZE(queue_ledger_columns); i++) {
		const struct queue_ledger_column *column = &queue_ledger_columns[i];

		if (column->type == QUEUE_LEDGER_TEXT)
			queue_ledger_set_text(&entry, column, column->name);
		else
			queue_ledger_set_number(&entry, column, 1);
	}
	entry.row.kind = QUEUE_LEDGER_ATTEMPT;
	entry.row.time_ms = time_ms;
	return entry;
}

static void add_rows(struct tester *t, int64_t count, int64_t first_ms, int64_t step_ms)
{
	struct queue_store *s = open_store(t);
	struct error err;

	for (int64_t i = 0; i < count; i++) {
		struct queue_ledger_entry entry = entry_of(first_ms + i * step_ms);

		assert_int_equal(queue_store_ledger_add(s, &entry, &err), 0);
	}
	close_store(t, s);
}

static void count_gap(void *arg, const struct queue_ledger_entry *gap)
{
	int *count = arg;

	assert_int_equal(gap->row.kind, QUEUE_LEDGER_GAP);
	assert_non_null(strstr(gap->row.reply, "lost with a damaged database"));
	++*count;
}

static struct queue_ledger_verdict verify_noted(struct tester *t,
						const struct queue_ledger_link *noted)
{
	struct queue_ledger_verdict verdict;
	struct queue_reader *r;
	struct error err;
	int gaps = 0;

	if (queue_reader_open(t->directory, &r, &err) < 0 ||
	    queue_reader_verify(r, noted, count_gap, &gaps, &verdict, &err) < 0)
		fail_msg("%s", err.text);
	queue_reader_close(r);
	if (verdict.fault == QUEUE_LEDGER_SOUND)
		assert_int_equal(verdict.gaps, gaps);
	return verdict;
}

static void expect(struct tester *t, const char *label, enum queue_ledger_fault fault,
		   int64_t first, int64_t last)
{
	struct queue_ledger_verdict v = verify_noted(t, NULL);

	if (v.fault != fault || v.fault_first != first || v.fault_last != last)
		fail_msg("%s: got fault %d, rows %lld to %lld", label, v.fault,
			 (long long)v.fault_first, (long long)v.fault_last);
}

static void expect_sound(struct tester *t, const char *label, int64_t gaps)
{
	struct queue_ledger_verdict v = verify_noted(t, NULL);

	if (v.fault != QUEUE_LEDGER_SOUND || v.gaps != gaps)
		fail_msg("%s: got fault %d at row %lld, %lld gaps", label, v.fault,
			 (long long)v.fault_first, (long long)v.gaps);
}

/* ---- tests ---- */

static void test_empty(void **state)
{
	expect_sound(*state, "empty", 0);
}

/* What the queue itself writes; and it goes on where it was after a restart. */
static void test_rows_of_the_queue(void **state)
{
	struct tester *t = *state;

	for (int i = 0; i < 3; i++) {
		struct queue_message *m = tester_message(t, 10, 2);
		struct queue_ledger_row row = { .time_ms = 1, .reply = "250 fine" };
		struct queue_outcome outcomes[] = {
			{ .recipient = 0, .status = QUEUE_DELIVERED, .ledger = &row },
			{ .recipient = 1, .status = QUEUE_DELIVERED, .ledger = &row },
		};
		struct queue_record record = { .message = m,
					       .outcomes = outcomes,
					       .outcome_count = 2 };

		m->origin.client_ip = "192.0.2.9";
		assert_int_equal(tester_append(t, m, NULL), 0);
		assert_int_equal(tester_record(t, &record), 0);
		queue_message_free(m);
		tester_close(t);
		tester_open(t);
	}
	expect_sound(t, "six rows", 0);
	assert_int_equal(tester_query(t, "SELECT max(row) FROM q_ledger"), 6);
	assert_int_equal(
		tester_query(t, "SELECT count(*) FROM q_ledger WHERE client_ip = '192.0.2.9'"), 6);
	tester_sql(t, "UPDATE q_ledger SET reply = '250 Fine' WHERE row = 4");
	expect(t, "changed", QUEUE_LEDGER_CHANGED, 4, 4);
}

static void test_every_column(void **state)
{
	struct tester *t = *state;

	add_rows(t, 5, 1000, 1);
	expect_sound(t, "before", 0);
	for (size_t i = 0; i < ARRAY_SIZE(queue_ledger_columns); i++) {
		const char *name = queue_ledger_columns[i].name;
		bool is_text = queue_ledger_columns[i].type == QUEUE_LEDGER_TEXT;

		assert_non_null(name);
		if (!name || strcmp(name, "row") == 0)
			continue;
		tester_sql(t, "UPDATE q_ledger SET %s = %s %s WHERE row = 3", name, name,
			   is_text ? "|| 'x'" : "+ 2");
		expect(t, name, QUEUE_LEDGER_CHANGED, 3, 3);
		tester_sql(t, "UPDATE q_ledger SET %s = %s WHERE row = 3", name,
			   is_text ? "''" : "0");
		if (strcmp(name, "kind") != 0)
			expect(t, name, QUEUE_LEDGER_CHANGED, 3, 3);
		tester_sql(t,
			   "UPDATE q_ledger SET %s = (SELECT %s FROM q_ledger WHERE row = %d)"
			   " WHERE row = 3",
			   name, name, 2);
		if (strcmp(name, "time_ms") == 0)
			tester_sql(t, "UPDATE q_ledger SET time_ms = 1002 WHERE row = 3");
		expect_sound(t, name, 0);
	}
	tester_sql(t, "UPDATE q_ledger SET hash = zeroblob(32) WHERE row = 3");
	expect(t, "hash", QUEUE_LEDGER_CHANGED, 3, 3);
	tester_sql(t, "UPDATE q_ledger SET hash = x'' WHERE row = 3");
	expect(t, "no hash", QUEUE_LEDGER_CHANGED, 3, 3);
}

/* Texts that flow into each other, and what stands behind a NUL, are not the same. */
static void test_borders(void **state)
{
	struct tester *t = *state;

	add_rows(t, 3, 1000, 1);
	tester_sql(t, "UPDATE q_ledger SET sender = 'sende', recipient = 'rrecipient'"
		      " WHERE row = 2");
	expect(t, "moved", QUEUE_LEDGER_CHANGED, 2, 2);
	tester_sql(t, "UPDATE q_ledger SET sender = 'sender', recipient = 'recipient'"
		      " WHERE row = 2");
	expect_sound(t, "back", 0);
	tester_sql(t, "UPDATE q_ledger SET sender = 'sender' || char(0) || 'x' WHERE row = 2");
	expect(t, "behind a NUL", QUEUE_LEDGER_CHANGED, 2, 2);
}

static void test_missing(void **state)
{
	static const struct {
		const char *label, *sql;
		enum queue_ledger_fault fault;
		int64_t first, last;
	} cases[] = {
		{ "first", "DELETE FROM q_ledger WHERE row = 1", QUEUE_LEDGER_MISSING, 1, 1 },
		{ "middle", "DELETE FROM q_ledger WHERE row IN (3, 4)", QUEUE_LEDGER_MISSING, 3,
		  4 },
		{ "last", "DELETE FROM q_ledger WHERE row > 5", QUEUE_LEDGER_MISSING, 6, 6 },
		{ "all", "DELETE FROM q_ledger", QUEUE_LEDGER_MISSING, 1, 6 },
		{ "swapped",
		  "UPDATE q_ledger SET row = 99 WHERE row = 2;"
		  "UPDATE q_ledger SET row = 2 WHERE row = 3;"
		  "UPDATE q_ledger SET row = 3 WHERE row = 99",
		  QUEUE_LEDGER_CHANGED, 2, 2 },
		{ "closed up",
		  "DELETE FROM q_ledger WHERE row = 3;"
		  "UPDATE q_ledger SET row = row - 1 WHERE row > 3",
		  QUEUE_LEDGER_CHANGED, 3, 3 },
		{ "added",
		  "CREATE TEMP TABLE x AS SELECT * FROM q_ledger WHERE row = 6;"
		  "UPDATE x SET row = 7; INSERT INTO q_ledger SELECT * FROM x",
		  QUEUE_LEDGER_CHANGED, 7, 7 },
		{ "added in front",
		  "CREATE TEMP TABLE x AS SELECT * FROM q_ledger WHERE row = 6;"
		  "UPDATE x SET row = -7; INSERT INTO q_ledger SELECT * FROM x",
		  QUEUE_LEDGER_ADDED, 0, 0 },
		{ "the end moved back",
		  "UPDATE q_state SET ledger_row = 5,"
		  " ledger_hash = (SELECT hash FROM q_ledger WHERE row = 5)",
		  QUEUE_LEDGER_ADDED, 6, 6 },
		{ "another end", "UPDATE q_state SET ledger_hash = zeroblob(32)",
		  QUEUE_LEDGER_CHANGED, 6, 6 },
		{ "an end that is none", "UPDATE q_state SET ledger_hash = x'00'",
		  QUEUE_LEDGER_CHANGED, 6, 6 },
	};
	struct tester *t = *state;

	add_rows(t, 6, 1000, 1);
	tester_sql(t, "CREATE TABLE saved AS SELECT * FROM q_ledger;"
		      "CREATE TABLE saved_state AS SELECT ledger_row, ledger_hash FROM q_state");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tester_sql(t, "%s", cases[i].sql);
		expect(t, cases[i].label, cases[i].fault, cases[i].first, cases[i].last);
		tester_sql(t, "DELETE FROM q_ledger; INSERT INTO q_ledger SELECT * FROM saved;"
			      "UPDATE q_state SET (ledger_row, ledger_hash) ="
			      " (SELECT * FROM saved_state)");
		expect_sound(t, cases[i].label, 0);
	}
}

/* A few rows more than a page of the walk, and a block of a list. */
static void test_long(void **state)
{
	struct tester *t = *state;

	add_rows(t, 9000, 1000, 1);
	expect_sound(t, "long", 0);
	tester_sql(t, "UPDATE q_ledger SET verified = 0 WHERE row = 8500");
	expect(t, "far behind", QUEUE_LEDGER_CHANGED, 8500, 8500);
}

static bool expire(struct tester *t, int64_t before_ms, int max)
{
	struct queue_store *s = open_store(t);
	struct error err;
	bool has_more;

	assert_int_equal(queue_store_ledger_expire(s, before_ms, max, &has_more, &err), 0);
	close_store(t, s);
	return has_more;
}

static void test_expiry(void **state)
{
	struct tester *t = *state;
	struct queue_ledger_link old, noted;

	add_rows(t, 100, 1000, 10);
	old = verify_noted(t, NULL).ends.head;
	assert_false(expire(t, 1000, 30));
	assert_true(expire(t, 1500, 30));
	assert_int_equal(tester_query(t, "SELECT min(row) FROM q_ledger"), 31);
	expect_sound(t, "first step", 0);
	assert_true(expire(t, 1500, 30));
	assert_int_equal(tester_query(t, "SELECT min(row) FROM q_ledger"), 51);
	assert_false(expire(t, 1500, 30));
	expect_sound(t, "second step", 0);
	assert_int_equal(verify_noted(t, NULL).ends.anchor.row, 50);
	assert_int_equal(verify_noted(t, NULL).ends.anchor_ms, 1490);
	assert_int_equal(verify_noted(t, &old).note, QUEUE_NOTE_FOUND);

	noted = old;
	noted.hash[31] ^= 1;
	assert_int_equal(verify_noted(t, &noted).note, QUEUE_NOTE_DIFFERS);
	noted.row = 20;
	assert_int_equal(verify_noted(t, &noted).note, QUEUE_NOTE_EXPIRED);
	noted.row = 101;
	assert_int_equal(verify_noted(t, &noted).note, QUEUE_NOTE_MISSING);

	/* All of them: numbers go on, and the last one's hash is still known. */
	assert_true(expire(t, 1 << 20, 1000));
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_ledger"), 0);
	expect_sound(t, "nothing left", 0);
	assert_int_equal(verify_noted(t, &old).note, QUEUE_NOTE_FOUND);
	add_rows(t, 2, 5000, 1);
	assert_int_equal(tester_query(t, "SELECT min(row) FROM q_ledger"), 101);
	expect_sound(t, "and on", 0);
	tester_sql(t, "DELETE FROM q_ledger WHERE row = 101");
	expect(t, "that is no expiry", QUEUE_LEDGER_MISSING, 101, 101);
}

/* One row with a time of the future keeps no others. */
static void test_expiry_with_a_wrong_clock(void **state)
{
	struct tester *t = *state;

	add_rows(t, 3, 1000, 1);
	add_rows(t, 1, INT64_C(1) << 50, 1);
	add_rows(t, 3, 2000, 1);
	assert_true(expire(t, 2001, 100));
	assert_int_equal(tester_query(t, "SELECT min(row) FROM q_ledger"), 6);
	expect_sound(t, "expired", 0);
}

/* By the queue's own thread, beside its other work. */
static void test_lifetime(void **state)
{
	struct tester *t = *state;

	add_rows(t, 3, t->now_ms - 11000, 1);
	add_rows(t, 3, t->now_ms - 9000, 1);
	queue_keep_ledger(t->queue, 10);
	while (tester_query(t, "SELECT count(*) FROM q_ledger") == 6)
		tester_store(t, 10, 1);
	assert_int_equal(tester_query(t, "SELECT min(row) FROM q_ledger"), 4);
	expect_sound(t, "expired", 0);
}

static void test_deleted(void **state)
{
	struct queue_filter filter = { .sender = NULL };
	struct queue_action action = {
		.request.done = tester_done,
		.kind = QUEUE_DELETE,
		.filter = &filter,
	};
	struct tester *t = *state;
	struct queue_ledger_link head;

	tester_store(t, 10, 2);
	tester_store(t, 200000, 1);
	queue_submit_action(t->port, &action);
	tester_wait(t, &action.request);
	assert_int_equal(action.request.result, 0);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_ledger WHERE kind = 2 AND"
					 " status = 5 AND recipient LIKE 'bob%' AND size > 0"),
			 3);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM ledger"), 0);
	expect_sound(t, "deleted", 0);
	tester_store(t, 10, 1); /* so that what was committed is known */
	queue_ledger_head(t->queue, &head);
	assert_int_equal(head.row, 3);
	assert_memory_equal(head.hash, verify_noted(t, NULL).ends.head.hash, sizeof(head.hash));
}

/* ---- lists ---- */

/* As upkeep does it; full blocks only. */
static int note_blocks(struct tester *t, int max)
{
	struct queue_store *s = open_store(t);
	struct error err;
	int count = queue_store_blocks_note(s, max, &err);

	close_store(t, s);
	return count;
}

struct found {
	int count;
	int64_t first, last;
};

static int find_row(void *arg, const struct queue_ledger_entry *entry)
{
	struct found *f = arg;

	if (f->count++ == 0)
		f->first = entry->number;
	f->last = entry->number;
	assert_string_equal(entry->row.cipher, "cipher");
	return 0;
}

static struct found list_rows(struct tester *t, const struct queue_ledger_filter *filter)
{
	struct found found = { .count = 0 };
	struct queue_reader *r;
	struct error err;

	if (queue_reader_open(t->directory, &r, &err) < 0 ||
	    queue_reader_ledger(r, filter, find_row, &found, &err) < 0)
		fail_msg("%s", err.text);
	queue_reader_close(r);
	return found;
}

static void test_lists(void **state)
{
	static const struct {
		const char *label;
		struct queue_ledger_filter filter;
		struct found want;
	} cases[] = {
		{ "all", { .since_ms = 0 }, { 9999, 1, 10000 } },
		{ "since", { .since_ms = 10998 }, { 2, 9999, 10000 } },
		{ "nothing so new", { .since_ms = 11000 }, { 0, 0, 0 } },
		{ "one address", { .filter.recipient = "Bob@VM1.vm" }, { 2, 5000, 9999 } },
		{ "a domain", { .filter.recipient = "@vm1.vm" }, { 2, 5000, 9999 } },
		{ "a sender", { .filter.sender = "anna@vm1.vm" }, { 1, 4095, 4095 } },
		{ "both",
		  { .filter = { .sender = "sender", .recipient = "bob@vm1.vm" } },
		  { 2, 5000, 9999 } },
		{ "neither",
		  { .filter = { .sender = "no", .recipient = "bob@vm1.vm" } },
		  { 0, 0, 0 } },
		{ "in clear", { .in_clear = true }, { 1, 7, 7 } },
		{ "a state", { .filter.statuses = 1u << QUEUE_BOUNCED }, { 1, 8, 8 } },
		{ "a next hop", { .filter.next_hop = "[hub]*" }, { 1, 9, 9 } },
		{ "address and time",
		  { .since_ms = 6000, .filter.recipient = "bob@vm1.vm" },
		  { 1, 9999, 9999 } },
	};
	struct tester *t = *state;

	add_rows(t, 10000, 1000, 1);
	tester_sql(t, "UPDATE q_ledger SET in_clear = row = 7;"
		      "UPDATE q_ledger SET status = 4 WHERE row = 8;"
		      "UPDATE q_ledger SET next_hop = '[hub]:25' WHERE row = 9;"
		      "UPDATE q_ledger SET kind = 2 WHERE row = 10;"
		      "UPDATE q_ledger SET recipient = 'bob@vm1.vm' WHERE row IN (5000, 9999);"
		      "UPDATE q_ledger SET sender = 'anna@vm1.vm' WHERE row = 4095");
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		size_t n = i % ARRAY_SIZE(cases);
		struct found got;

		if (i == 0)
			tester_sql(t, "DELETE FROM q_ledger_block");
		if (i == ARRAY_SIZE(cases)) /* what is noted of the blocks changes nothing */
			assert_true(note_blocks(t, 39) > 0);
		got = list_rows(t, &cases[n].filter);
		if (memcmp(&got, &cases[n].want, sizeof(got)) != 0)
			fail_msg("%s: got %d rows, %lld to %lld", cases[n].label, got.count,
				 (long long)got.first, (long long)got.last);
	}
}

static void test_messages_of_an_address(void **state)
{
	struct tester *t = *state;
	struct queue_reader *r;
	struct error err;
	int64_t ids[3];

	add_rows(t, 9000, 1000, 1);
	tester_sql(t,
		   "UPDATE q_ledger SET recipient = 'bob@vm1.vm', message = row + 10"
		   " WHERE row IN (1, 2, 8999);"
		   "UPDATE q_ledger SET recipient = 'bob@vm1.vm', message = 9009 WHERE row = 9000;"
		   "UPDATE q_ledger SET sender = 'BOB@vm1.vm', message = 77 WHERE row = 4000");
	assert_int_equal(queue_reader_open(t->directory, &r, &err), 0);
	assert_int_equal(queue_reader_ledger_messages(r, "bob@vm1.vm", ids, 3, &err), 3);
	assert_int_equal(ids[0], 9009);
	assert_int_equal(ids[1], 77);
	assert_int_equal(ids[2], 12);
	assert_int_equal(queue_reader_ledger_messages(r, "nobody@vm1.vm", ids, 3, &err), 0);
	queue_reader_close(r);

	/* What is noted is believed: so it is seen to be used. */
	tester_sql(t, "DELETE FROM q_ledger_block");
	while (note_blocks(t, 10) > 0)
		;
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_ledger_block"), 9001 / 256);
	tester_sql(t, "UPDATE q_ledger_block SET addresses = x'' WHERE block = 4000 >> 8");
	assert_int_equal(queue_reader_open(t->directory, &r, &err), 0);
	assert_int_equal(queue_reader_ledger_messages(r, "BOB@VM1.vm", ids, 3, &err), 3);
	assert_int_equal(ids[0], 9009);
	assert_int_equal(ids[1], 12);
	assert_int_equal(ids[2], 11);
	queue_reader_close(r);
	expire(t, 1000 + 600, 1000);
	assert_int_equal(tester_query(t, "SELECT min(block) FROM q_ledger_block"), 600 >> 8);
}

/* ---- after damage ---- */

static void mend(struct tester *t, bool are_ends_known)
{
	struct queue_store *s = open_store(t);
	struct queue_ledger_ends ends;
	struct error err;

	assert_int_equal(queue_store_ledger_ends(s, &ends, &err), 0);
	if (queue_store_ledger_mend(s, are_ends_known ? &ends : NULL, 9000, &err) < 0)
		fail_msg("%s", err.text);
	close_store(t, s);
}

static void test_mended(void **state)
{
	static const struct {
		const char *label, *sql;
		int64_t gaps, gaps_of_unknown; /* where the old ends are known, and where not */
	} cases[] = {
		{ "nothing lost", "SELECT 1", 0, 0 },
		{ "in the middle", "DELETE FROM q_ledger WHERE row IN (3, 4)", 1, 1 },
		{ "changed", "UPDATE q_ledger SET reply = '' WHERE row = 4", 1, 1 },
		{ "two places", "DELETE FROM q_ledger WHERE row IN (3, 7)", 2, 2 },
		{ "at the end", "DELETE FROM q_ledger WHERE row > 8", 1, 0 },
		{ "the first", "DELETE FROM q_ledger WHERE row = 1", 1, 1 },
		{ "all", "DELETE FROM q_ledger", 1, 0 },
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool is_known = i % 2;
		int64_t gaps = is_known ? cases[i / 2].gaps : cases[i / 2].gaps_of_unknown;
		void *own = NULL;
		struct tester *t;

		tester_setup(&own);
		t = own;
		add_rows(t, 10, 1000, 1);
		tester_sql(t, "%s", cases[i / 2].sql);
		mend(t, is_known);
		expect_sound(t, cases[i / 2].label, gaps);
		add_rows(t, 3, 2000, 1);
		expect_sound(t, cases[i / 2].label, gaps);

		/* Again, as nothing is recorded twice. */
		mend(t, true);
		expect_sound(t, cases[i / 2].label, gaps);
		tester_sql(t, "UPDATE q_ledger SET reply = 'changed since' WHERE row ="
			      " (SELECT min(row) FROM q_ledger)");
		if (verify_noted(t, NULL).fault == QUEUE_LEDGER_SOUND)
			fail_msg("%s: a change was not found", cases[i / 2].label);
		tester_teardown(&own);
	}
}

/* The row behind a gap is held by the gap's record. */
static void test_behind_a_gap(void **state)
{
	struct tester *t = *state;

	add_rows(t, 10, 1000, 1);
	tester_sql(t, "DELETE FROM q_ledger WHERE row = 5");
	mend(t, true);
	expect_sound(t, "mended", 1);
	tester_sql(t, "UPDATE q_ledger SET reply = 'x' WHERE row = 6");
	expect(t, "behind it", QUEUE_LEDGER_MISSING, 5, 5);
	tester_sql(t, "UPDATE q_ledger SET reply = 'reply' WHERE row = 6");
	expect_sound(t, "back", 1);
	tester_sql(t, "DELETE FROM q_ledger WHERE row = 4");
	expect(t, "in front of it", QUEUE_LEDGER_MISSING, 4, 5);
}

/* Rows of a format without a chain stay, prove nothing, and go. */
static void test_older_than_the_chain(void **state)
{
	struct tester *t = *state;

	add_rows(t, 4, 1000, 10);
	tester_sql(t, "UPDATE q_ledger SET hash = x'';"
		      "UPDATE q_state SET anchor_row = 4, ledger_hash = zeroblob(32)");
	expect_sound(t, "old rows", 0);
	assert_int_equal(verify_noted(t, NULL).unchained, 4);
	add_rows(t, 4, 2000, 10);
	expect_sound(t, "and new ones", 0);
	assert_true(expire(t, 1015, 100));
	expect_sound(t, "some gone", 0);
	assert_int_equal(verify_noted(t, NULL).unchained, 2);
	assert_true(expire(t, 2015, 100));
	expect_sound(t, "all gone", 0);
	assert_int_equal(verify_noted(t, NULL).unchained, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_empty),
		TEST(test_rows_of_the_queue),
		TEST(test_every_column),
		TEST(test_borders),
		TEST(test_missing),
		TEST(test_long),
		TEST(test_expiry),
		TEST(test_expiry_with_a_wrong_clock),
		TEST(test_lifetime),
		TEST(test_deleted),
		TEST(test_lists),
		TEST(test_messages_of_an_address),
		cmocka_unit_test(test_mended),
		TEST(test_behind_a_gap),
		TEST(test_older_than_the_chain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
