/* test_queue - what happens to messages while nothing goes wrong, restarts included */
#include "queue/test_support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/file.h>
#include <fcntl.h>
#include <unistd.h>

#include "queue/private.h"
#include "queue/reader.h"
#include "queue/thread.h"

static const struct queue_ledger_row ledger_row = {
	.time_ms = TESTER_START_MS + 123,
	.transport = "relay-smtps",
	.next_hop = "[mta2]:465",
	.peer = "192.0.2.1:465",
	.source = "ts:2",
	.reply = "250 2.0.0 Ok",
	.has_tls_policy = true,
	.level = "encrypt",
	.mode = "implicit",
	.protocol = "TLSv1.3",
	.cipher = "TLS_CHACHA20_POLY1305_SHA256",
	.verified = true,
	.peer_name = "mta2.vm2.vm",
	.fingerprint = "sha256:00",
};

/* Append, deliver, gone. */
static void test_deliver(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 4096, 1);
	struct queue_outcome outcome = { .status = QUEUE_DELIVERED, .ledger = &ledger_row };
	struct queue_record record = { .message = m, .outcomes = &outcome, .outcome_count = 1 };

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(m->size, 4096);
	tester_check_counts(t);
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.removed);
	tester_check_counts(t);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_body"), 0);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_recipient"), 0);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_ledger"), 1);
	queue_message_free(m);
}

/* What was stored comes back, all of it, after a restart. */
static void test_restart(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 5000, 3);
	struct queue_claim claim = { .max_messages = 10, .max_bytes = 1 };
	char name[QUEUE_ID_SIZE];

	m->sender = "alice@vm1.vm";
	m->body_8bit = true;
	m->smtputf8 = true;
	m->body_binary = true;
	m->requiretls = true;
	m->envelope_id = "QQ+314159";
	m->returning = SMTP_RETURN_HEADERS;
	m->kind = QUEUE_DOUBLE_BOUNCE;
	m->recipients[0].orcpt = "rfc822;bob@vm3.vm";
	m->recipients[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY;
	m->recipients[1].notify = SMTP_NOTIFY_NEVER;
	m->recipients[1].is_warned = true;
	m->recipients[2].is_returning = true;
	m->origin = (struct queue_origin){ "192.0.2.9", "edge1",   "ESMTPSA",
					   "alice",	"TLSv1.3", "TLS_AES_128_GCM_SHA256" };
	strcpy(name, m->name);
	assert_int_equal(tester_append(t, m, NULL), 0);
	queue_message_free(m);
	tester_close(t);
	tester_open(t);
	tester_check_counts(t);

	claim.now_ms = t->now_ms;
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 1);
	assert_int_equal(claim.next_due_ms, QUEUE_NEVER);
	m = claim.messages[0];
	assert_string_equal(m->name, name);
	assert_int_equal(m->arrived_ms, TESTER_START_MS);
	assert_int_equal(m->size, 5000);
	assert_string_equal(m->sender, "alice@vm1.vm");
	assert_true(m->body_8bit);
	assert_true(m->smtputf8);
	assert_true(m->body_binary);
	assert_true(m->requiretls);
	assert_string_equal(m->envelope_id, "QQ+314159");
	assert_int_equal(m->returning, SMTP_RETURN_HEADERS);
	assert_int_equal(m->kind, QUEUE_DOUBLE_BOUNCE);
	assert_string_equal(m->recipients[0].orcpt, "rfc822;bob@vm3.vm");
	assert_int_equal(m->recipients[0].notify, SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY);
	assert_int_equal(m->recipients[1].notify, SMTP_NOTIFY_NEVER);
	assert_false(m->recipients[0].is_warned);
	assert_true(m->recipients[1].is_warned);
	assert_false(m->recipients[1].is_returning);
	assert_true(m->recipients[2].is_returning);
	assert_string_equal(m->origin.client_ip, "192.0.2.9");
	assert_string_equal(m->origin.hello, "edge1");
	assert_string_equal(m->origin.protocol, "ESMTPSA");
	assert_string_equal(m->origin.auth_user, "alice");
	assert_string_equal(m->origin.tls_protocol, "TLSv1.3");
	assert_string_equal(m->origin.tls_cipher, "TLS_AES_128_GCM_SHA256");
	assert_int_equal(m->recipient_count, 3);
	assert_string_equal(m->recipients[2].address, "bob2@vm2.vm");
	assert_string_equal(m->recipients[2].original, "bob");
	assert_int_equal(m->recipients[2].status, QUEUE_QUEUED);
	assert_string_equal(m->recipients[2].next_hop, "");
	assert_false(queue_body_in_file(m->body));
	tester_check_body(m->body, m->id, 5000);
	assert_true(tester_finish(t, m, QUEUE_DELIVERED, 0));
	queue_message_free(m);
	free(claim.messages);
}

/* Recipients meet different fates; indexes never shift. */
static void test_mixed_fates(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 100, 4);
	struct queue_outcome first[] = {
		{ .recipient = 1, .status = QUEUE_DELIVERED, .attempts = 1, .next_hop = "[a]:25" },
		{ .recipient = 3,
		  .status = QUEUE_DEFERRED,
		  .due_ms = TESTER_START_MS + 5000,
		  .attempts = 1,
		  .next_hop = "[b]:25",
		  .reply_code = 451,
		  .enhanced = "4.7.1",
		  .reason = "greylisted" },
	};
	struct queue_record record = { .message = m, .outcomes = first, .outcome_count = 2 };
	struct queue_outcome rest[] = {
		{ .recipient = 0, .status = QUEUE_DELIVERED },
		{ .recipient = 2, .status = QUEUE_BOUNCED },
	};
	struct queue_outcome last = { .recipient = 3, .status = QUEUE_DELIVERED };
	struct queue_claim claim = { .max_messages = 10, .max_bytes = 1000 };

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_record(t, &record), 0);
	assert_false(record.removed);
	tester_check_counts(t);

	record.outcomes = rest;
	assert_int_equal(tester_record(t, &record), 0);
	assert_false(record.removed);
	tester_check_counts(t);
	tester_release(t, m->id);
	queue_message_free(m);

	/* Not due before the time of the one that is left. */
	claim.now_ms = t->now_ms;
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 0);
	assert_int_equal(claim.next_due_ms, TESTER_START_MS + 5000);

	claim.now_ms = TESTER_START_MS + 5000;
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 1);
	m = claim.messages[0];
	assert_int_equal(m->recipient_count, 4);
	assert_int_equal(m->recipients[0].status, QUEUE_DELIVERED);
	assert_int_equal(m->recipients[1].status, QUEUE_DELIVERED);
	assert_string_equal(m->recipients[1].next_hop, "[a]:25");
	assert_int_equal(m->recipients[2].status, QUEUE_BOUNCED);
	assert_int_equal(m->recipients[3].status, QUEUE_DEFERRED);
	assert_int_equal(m->recipients[3].attempts, 1);
	assert_int_equal(m->recipients[3].reply_code, 451);
	assert_string_equal(m->recipients[3].enhanced, "4.7.1");
	assert_string_equal(m->recipients[3].reason, "greylisted");

	record = (struct queue_record){ .message = m, .outcomes = &last, .outcome_count = 1 };
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.removed);
	tester_check_counts(t);
	queue_message_free(m);
	free(claim.messages);
}

/* A bounce is stored by the same commit that ends what it tells of. */
static void test_notification(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 100, 1);
	struct queue_message *bounce = tester_message(t, 200, 1);
	struct queue_outcome outcome = { .status = QUEUE_BOUNCED };
	struct queue_record record = {
		.message = m,
		.outcomes = &outcome,
		.outcome_count = 1,
		.notifications = &bounce,
		.notification_count = 1,
	};
	int64_t ids[4];

	bounce->sender = "";
	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.removed);
	tester_check_counts(t);
	assert_int_equal(tester_claim_ids(t, 4, ids, NULL), 0); /* claimed by us */
	tester_release(t, bounce->id);
	assert_int_equal(tester_claim_ids(t, 4, ids, NULL), 1);
	assert_int_equal(ids[0], bounce->id);
	assert_true(tester_finish(t, bounce, QUEUE_DELIVERED, 0));
	queue_message_free(m);
	queue_message_free(bounce);
}

/* Several reports in one record; that the sender was warned stays in the row. */
static void test_reports(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 100, 2);
	struct queue_message *reports[] = { tester_message(t, 200, 1), tester_message(t, 300, 1) };
	struct queue_outcome outcomes[] = {
		{ .recipient = 0, .status = QUEUE_BOUNCED },
		{ .recipient = 1, .status = QUEUE_DEFERRED, .is_warned = true },
	};
	struct queue_record record = {
		.message = m,
		.outcomes = outcomes,
		.outcome_count = 2,
		.notifications = reports,
		.notification_count = 2,
	};

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_record(t, &record), 0);
	assert_false(record.removed);
	assert_false(record.is_void);
	tester_check_counts(t);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), 3);
	assert_int_equal(tester_query(t, "SELECT group_concat(is_warned, '') FROM q_recipient "
					 "WHERE is_warned + attempts >= 0 AND message IN "
					 "(SELECT min(message) FROM q_recipient)"),
			 1); /* "01" */

	/* Told once is told. */
	outcomes[1].is_warned = false;
	record =
		(struct queue_record){ .message = m, .outcomes = &outcomes[1], .outcome_count = 1 };
	assert_int_equal(tester_record(t, &record), 0);
	assert_int_equal(tester_query(t, "SELECT sum(is_warned) FROM q_recipient"), 1);
	queue_message_free(m);
	queue_message_free(reports[0]);
	queue_message_free(reports[1]);
}

static void test_large_body(void **state)
{
	struct tester *t = *state;
	struct queue_claim claim = { .max_messages = 1 };
	struct queue_message *m;
	int64_t id = tester_store(t, 700000, 2);

	assert_int_equal(tester_body_files(t), 1);
	tester_close(t);
	tester_open(t);
	assert_int_equal(tester_body_files(t), 1);

	claim.now_ms = t->now_ms;
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 1);
	m = claim.messages[0];
	assert_true(queue_body_in_file(m->body));
	assert_int_equal(m->size, 700000);
	tester_check_body(m->body, id, 700000);
	assert_true(tester_finish(t, m, QUEUE_DELIVERED, 0));
	tester_release(t, 1); /* the next request: the file is removed behind a completion */
	assert_int_equal(tester_body_files(t), 0);
	queue_message_free(m);
	free(claim.messages);
}

/* The longest due first, then the oldest; what was released comes again. */
static void test_claim_order(void **state)
{
	struct tester *t = *state;
	int64_t ids[8], got[8], next;
	struct queue_message *m;

	for (int i = 0; i < 6; i++) {
		m = tester_message(t, 10, 1);
		m->recipients[0].due_ms = TESTER_START_MS + (i % 3 == 0	  ? 100
							     : i % 3 == 1 ? 0
									  : 50);
		ids[i] = m->id;
		assert_int_equal(tester_append(t, m, NULL), 0);
		queue_message_free(m);
		tester_release(t, ids[i]);
	}
	assert_int_equal(tester_claim_ids(t, 8, got, &next), 2);
	assert_int_equal(got[0], ids[1]);
	assert_int_equal(got[1], ids[4]);
	assert_int_equal(next, TESTER_START_MS + 50);

	t->now_ms = TESTER_START_MS + 100;
	assert_int_equal(tester_claim_ids(t, 1, got, &next), 1);
	assert_int_equal(got[0], ids[2]);
	assert_int_equal(next, TESTER_START_MS + 50); /* one more of these is due */
	assert_int_equal(tester_claim_ids(t, 8, got, &next), 3);
	assert_int_equal(got[0], ids[5]);
	assert_int_equal(got[1], ids[0]);
	assert_int_equal(got[2], ids[3]);
	assert_int_equal(next, QUEUE_NEVER);
	assert_int_equal(tester_claim_ids(t, 8, got, &next), 0);

	/* The cursor has passed all of them, and goes back for those that are released. */
	tester_release(t, ids[4]);
	tester_release(t, ids[0]);
	assert_int_equal(tester_claim_ids(t, 8, got, &next), 2);
	assert_int_equal(got[0], ids[4]);
	assert_int_equal(got[1], ids[0]);
	tester_release(t, ids[1]);
	assert_int_equal(tester_claim_ids(t, 8, got, &next), 1);
	assert_int_equal(got[0], ids[1]);
	assert_int_equal(next, QUEUE_NEVER);
}

static void test_claim_bytes(void **state)
{
	struct tester *t = *state;
	struct queue_claim claim = { .max_messages = 10, .max_bytes = 2500 };
	int64_t ids[4];

	for (int i = 0; i < 4; i++)
		ids[i] = tester_store(t, 1000, 1);
	for (int i = 0; i < 4; i++)
		tester_release(t, ids[i]);
	claim.now_ms = t->now_ms;
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 2);
	assert_int_equal(claim.next_due_ms, t->now_ms);
	for (unsigned int i = 0; i < claim.message_count; i++)
		queue_message_free(claim.messages[i]);
	free(claim.messages);

	claim.max_bytes = 10; /* one always comes, or a large one would wait for ever */
	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, 1);
	assert_int_equal(claim.messages[0]->id, ids[2]);
	queue_message_free(claim.messages[0]);
	free(claim.messages);
}

/* A deferral moves a message in the index while it is claimed. */
static void test_defer(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 1);
	int64_t got[2], next;

	assert_int_equal(tester_append(t, m, NULL), 0);
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 0);
	assert_int_equal(next, QUEUE_NEVER); /* all that waits is claimed */
	assert_false(tester_finish(t, m, QUEUE_DEFERRED, t->now_ms + 1000));
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 0);
	assert_int_equal(next, QUEUE_NEVER);
	tester_release(t, m->id);
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 0);
	assert_int_equal(next, t->now_ms + 1000);
	t->now_ms += 1000;
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 1);

	/* Due earlier than the cursor: a fixed clock, say. */
	assert_false(tester_finish(t, m, QUEUE_DEFERRED, t->now_ms - 5000));
	tester_release(t, m->id);
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 1);
	assert_false(tester_finish(t, m, QUEUE_HELD, 0));
	tester_release(t, m->id);
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 0);
	assert_int_equal(next, QUEUE_NEVER);
	tester_check_counts(t);
	queue_message_free(m);
}

/* Defer all recipients of a message that was just stored, for something, and let go of it. */
static int64_t store_waiting(struct tester *t, unsigned int recipients, int64_t waits_for)
{
	struct queue_message *m = tester_message(t, 100, recipients);
	struct queue_outcome outcomes[4] = { 0 };
	struct queue_record record = { .message = m,
				       .outcomes = outcomes,
				       .outcome_count = recipients };
	int64_t id = m->id;

	assert_int_equal(tester_append(t, m, NULL), 0);
	for (unsigned int i = 0; i < recipients; i++)
		outcomes[i] = (struct queue_outcome){
			.recipient = i,
			.status = QUEUE_DEFERRED,
			.due_ms = t->now_ms + 3600000,
			.next_hop = "dead.example",
			.enhanced = "4.4.1",
			.reason = "refused",
			.waits_for = i == 0 ? waits_for : 99,
		};
	assert_int_equal(tester_record(t, &record), 0);
	tester_release(t, id);
	queue_message_free(m);
	return id;
}

/* Claim what waits for this behind *after, expecting count messages; the first one stays with us. */
static struct queue_message *claim_waiting(struct tester *t, int64_t waits_for, int64_t *after,
					   unsigned int max, unsigned int count)
{
	struct queue_claim claim = {
		.now_ms = t->now_ms,
		.waits_for = waits_for,
		.after_id = *after,
		.max_messages = max,
		.max_bytes = 100000,
	};
	struct queue_message *first = NULL;

	assert_int_equal(tester_claim(t, &claim), 0);
	assert_int_equal(claim.message_count, count);
	*after = claim.after_id;
	for (unsigned int i = 0; i < count; i++) {
		if (i == 0)
			first = claim.messages[i];
		else
			queue_message_free(claim.messages[i]);
	}
	free(claim.messages);
	return first;
}

/* What waits for a next hop comes when it is asked for, before its time, and once. */
static void test_waiting(void **state)
{
	struct tester *t = *state;
	int64_t ids[4], got[4], next, after = 0;
	struct queue_message *m;

	for (int i = 0; i < 3; i++)
		ids[i] = store_waiting(t, 2, 7);
	ids[3] = store_waiting(t, 1, 8);
	tester_close(t);
	tester_open(t); /* no matter how long ago that was */
	assert_int_equal(tester_claim_ids(t, 4, got, &next), 0);

	m = claim_waiting(t, 7, &after, 2, 2);
	assert_int_equal(m->id, ids[0]);
	assert_int_equal(after, ids[1]);
	assert_true(m->recipients[0].due_ms <= t->now_ms);
	assert_true(m->recipients[1].due_ms > t->now_ms); /* it waits for something else */
	assert_false(tester_finish(t, m, QUEUE_DEFERRED, t->now_ms + 1000));
	tester_release(t, m->id);
	queue_message_free(m);

	m = claim_waiting(t, 7, &after, 2, 1);
	assert_int_equal(m->id, ids[2]);
	assert_int_equal(after, 0);
	queue_message_free(m);
	assert_null(claim_waiting(t, 7, &after, 2, 0)); /* claimed, or it waits for nothing now */

	tester_sql(t, "UPDATE q_recipient SET status = 2 WHERE waits_for = 8");
	assert_null(claim_waiting(t, 8, &after, 2, 0));
	t->now_ms += 1000;
	assert_int_equal(tester_claim_ids(t, 4, got, &next), 1);
	assert_int_equal(got[0], ids[0]);
}

/* An operator's hold, placed while an attempt is running, outlives a deferral. */
static void test_hold_during_attempt(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 2);
	int64_t got[2], next;

	assert_int_equal(tester_append(t, m, NULL), 0);
	tester_sql(t, "UPDATE q_recipient SET status = 2");
	assert_false(tester_finish(t, m, QUEUE_DEFERRED, t->now_ms));
	tester_release(t, m->id);
	assert_int_equal(tester_claim_ids(t, 2, got, &next), 0);
	assert_true(tester_finish(t, m, QUEUE_DELIVERED, 0));
	queue_message_free(m);
}

/* What the rows say of recipients that were deleted meanwhile holds: nobody is told of them. */
static void test_void(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 100, 3), *report = tester_message(t, 200, 1);
	struct queue_outcome outcomes[] = {
		{ .recipient = 0, .status = QUEUE_BOUNCED },
		{ .recipient = 1, .status = QUEUE_BOUNCED },
		{ .recipient = 2, .status = QUEUE_BOUNCED },
	};
	struct queue_record record = {
		.message = m,
		.outcomes = outcomes,
		.outcome_count = 1,
		.notifications = &report,
		.notification_count = 1,
	};

	assert_int_equal(tester_append(t, m, NULL), 0);
	tester_sql(t, "UPDATE q_recipient SET status = 5 WHERE position = 0");
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.is_void);
	assert_false(record.removed);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), 1);

	/* Two of three are still wanted. */
	record.outcome_count = 3;
	assert_int_equal(tester_record(t, &record), 0);
	assert_false(record.is_void);
	assert_true(record.removed);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_recipient"), 1);
	assert_int_equal(tester_query(t, "SELECT recipients FROM q_state"),
			 2); /* ours behind its back */
	queue_message_free(m);
	queue_message_free(report);
}

/* An operator deleted it while an attempt was running: the outcome still counts. */
static void test_deleted_during_attempt(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 1);
	struct queue_outcome outcome = { .status = QUEUE_BOUNCED, .ledger = &ledger_row };
	struct queue_message *report = tester_message(t, 200, 1);
	struct queue_record record = {
		.message = m,
		.outcomes = &outcome,
		.outcome_count = 1,
		.notifications = &report,
		.notification_count = 1,
	};

	assert_int_equal(tester_append(t, m, NULL), 0);
	tester_sql(t, "DELETE FROM q_message; DELETE FROM q_recipient; DELETE FROM q_body");
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.removed);
	assert_true(record.is_void);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), 0);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_ledger"), 1);
	queue_message_free(m);
	queue_message_free(report);
}

/* Ids only grow, over restarts and whatever the clock does. */
static void test_ids_grow(void **state)
{
	struct tester *t = *state;
	struct queue_message *m;
	int64_t last = 0;

	for (int i = 0; i < 6; i++) {
		m = queue_message_new(t->queue);
		assert_true(m->id > last);
		last = m->id;
		queue_message_free(m);
		tester_close(t);
		t->now_ms += i % 2 ? 3600000 : -7200000;
		tester_open(t);
	}
}

/* Sessions that come to nothing use up ids too: more are reserved in time. */
static void test_ids_without_mail(void **state)
{
	struct tester *t = *state;
	int64_t mark = tester_query(t, "SELECT ids_mark FROM q_state"), last = 0;
	struct queue_message *m;

	while (last < mark) {
		m = queue_message_new(t->queue);
		last = m->id;
		queue_message_free(m);
	}
	tester_store(t, 10, 1); /* comes after the thread has looked at the ids */
	assert_true(tester_query(t, "SELECT ids_mark FROM q_state") > last);
}

static void test_opened_twice(void **state)
{
	struct tester *t = *state;
	struct tester second = *t;
	struct error err;
	char text[64];

	assert_int_equal(tester_try_open(&second, &err), -EBUSY);
	snprintf(text, sizeof(text), "in use by process %ld", (long)getpid());
	assert_non_null(strstr(err.text, text));

	tester_close(t);
	tester_open(t);
}

static mode_t mode_of(struct tester *t, const char *name)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", t->directory, name);
	assert_int_equal(stat(path, &st), 0);
	return st.st_mode & 07777;
}

/* Mail is nobody else's business, whatever the umask. */
static void test_modes(void **state)
{
	static const char *const files[] = { "queue.db", "queue.db-wal", "queue.db-shm",
					     "queue.lock" };
	struct tester *t = *state;
	mode_t old = umask(0);

	tester_close(t);
	tester_sql(t, "VACUUM"); /* any commit */
	tester_open(t);
	tester_store(t, 200000, 1);
	umask(old);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		assert_int_equal(mode_of(t, files[i]), 0600);
	assert_int_equal(mode_of(t, "bodies"), 0700);
	assert_int_equal(mode_of(t, "bodies/0"), 0700);
}

static void test_newer_format(void **state)
{
	struct tester *t = *state;
	struct error err;

	tester_close(t);
	tester_sql(t, "PRAGMA user_version = 99");
	assert_int_equal(tester_try_open(t, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "newer"));
	tester_sql(t, "PRAGMA user_version = 5");
	tester_open(t);
}

/* A queue as the first release made it is brought up to date, and its mail delivered. */
static void test_older_format(void **state)
{
	static const char *const steps[] = {
		"DROP VIEW messages; DROP VIEW recipients; DROP VIEW ledger;",
		"ALTER TABLE q_message DROP COLUMN smtputf8;"
		"ALTER TABLE q_message DROP COLUMN dsn_return;"
		"ALTER TABLE q_message DROP COLUMN kind;"
		"ALTER TABLE q_message DROP COLUMN envelope_id;",
		"ALTER TABLE q_recipient DROP COLUMN notify;"
		"ALTER TABLE q_recipient DROP COLUMN is_warned;"
		"ALTER TABLE q_recipient DROP COLUMN is_returning;"
		"ALTER TABLE q_recipient DROP COLUMN orcpt;",
		"DROP INDEX q_recipient_waiting; ALTER TABLE q_recipient DROP COLUMN waits_for;",
		"ALTER TABLE q_message DROP COLUMN cert_name;"
		"ALTER TABLE q_message DROP COLUMN cert_fingerprint;"
		"ALTER TABLE q_message DROP COLUMN cert_verified;"
		"ALTER TABLE q_message DROP COLUMN body_binary;"
		"ALTER TABLE q_message DROP COLUMN requiretls;",
		"ALTER TABLE q_state DROP COLUMN ledger_row;"
		"ALTER TABLE q_state DROP COLUMN ledger_hash;"
		"ALTER TABLE q_state DROP COLUMN anchor_row;"
		"ALTER TABLE q_state DROP COLUMN anchor_hash;"
		"ALTER TABLE q_state DROP COLUMN anchor_ms;",
		"DROP INDEX q_ledger_message; DROP INDEX q_ledger_time;"
		"DROP INDEX q_ledger_gap; DROP TABLE q_ledger_block;",
		"CREATE TABLE old AS SELECT row, time_ms, message, status, has_tls_policy, "
		"verified,"
		" resumed, sender, recipient, transport, next_hop, peer, source, reply, level, "
		"mode,"
		" protocol, cipher, peer_name, fingerprint FROM q_ledger; DROP TABLE q_ledger;"
		"ALTER TABLE old RENAME TO q_ledger;",
		"INSERT INTO q_ledger SELECT 7, 1000, 5, 3, 0, 0, 0, '', '', '', '', '', '', '', "
		"'',"
		" '', '', '', '', '';",
		"PRAGMA user_version = 1;",
	};
	struct tester *t = *state;
	struct queue_reader *reader;
	struct error err;
	int64_t ids[2], id = tester_store(t, 100, 2);

	tester_close(t);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		tester_sql(t, "%s", steps[i]);
	assert_int_equal(queue_reader_open(t->directory, &reader, &err), -EPROTONOSUPPORT);
	assert_non_null(strstr(err.text, "older"));
	tester_open(t);
	tester_check_counts(t);
	assert_int_equal(tester_query(t, "PRAGMA user_version"), 5);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM messages, recipients"), 2);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM ledger"), 1);
	assert_int_equal(tester_query(t, "SELECT count(*) FROM pragma_index_list('q_ledger')"), 3);
	assert_int_equal(tester_query(t, "SELECT ledger_row + anchor_row FROM q_state"), 14);
	assert_int_equal(tester_claim_ids(t, 2, ids, NULL), 1);
	assert_int_equal(ids[0], id);
	tester_store(t, 100, 1);
}

/* Rubbish of a crash is swept; what is not ours is left alone. */
static void test_sweep(void **state)
{
	struct tester *t = *state;
	struct error err;
	char path[128];
	int fd;

	tester_store(t, 200000, 1);
	fd = queue_bodies_create_file(&t->queue->bodies, 0x1234500, &err);
	assert_true(fd >= 0);
	close(fd);
	snprintf(path, sizeof(path), "%s/bodies/0/README", t->directory);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(tester_body_files(t), 3);
	tester_close(t);
	tester_open(t);
	assert_int_equal(tester_body_files(t), 2);
}

/* The log is merged into the database as it grows. */
static void test_log_is_bounded(void **state)
{
	struct tester *t = *state;
	char path[128];
	struct stat st;

	for (int i = 0; i < 250; i++)
		tester_store(t, 120000, 1); /* 30 MB */
	snprintf(path, sizeof(path), "%s/queue.db-wal", t->directory);
	assert_int_equal(stat(path, &st), 0);
	assert_true(st.st_size < 20 << 20);
}

/* The room that a burst has taken is given back, up to a reserve. */
static void test_shrink(void **state)
{
	struct tester *t = *state;
	struct queue_store *store;
	struct error err;
	char path[128];
	bool has_more = true;

	for (int i = 0; i < 200; i++)
		tester_store(t, 120000, 1);
	tester_sql(t, "DELETE FROM q_body");
	tester_close(t);
	assert_true(tester_query(t, "PRAGMA freelist_count") > 5000);

	snprintf(path, sizeof(path), "%s/queue.db", t->directory);
	assert_int_equal(queue_store_open(path, false, &store, &err), 0);
	while (has_more)
		assert_int_equal(queue_store_shrink(store, 4096, 1024, &has_more, &err), 0);
	queue_store_close(store);
	assert_true(tester_query(t, "PRAGMA freelist_count") <= 4096);
	tester_open(t);
}

/* Without its database, what is in bodies/ is not known to be rubbish. */
static void test_database_gone(void **state)
{
	struct tester *t = *state;
	char path[128];

	tester_store(t, 200000, 1);
	tester_close(t);
	snprintf(path, sizeof(path), "%s/queue.db", t->directory);
	assert_int_equal(unlink(path), 0);
	tester_open(t);
	assert_int_equal(t->warnings, 1);
	assert_int_equal(tester_body_files(t), 0);
	snprintf(path, sizeof(path), "%s/bodies.%lld", t->directory, (long long)t->now_ms);
	assert_int_equal(access(path, F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_deliver),
		TEST(test_restart),
		TEST(test_mixed_fates),
		TEST(test_notification),
		TEST(test_reports),
		TEST(test_large_body),
		TEST(test_claim_order),
		TEST(test_claim_bytes),
		TEST(test_defer),
		TEST(test_waiting),
		TEST(test_hold_during_attempt),
		TEST(test_void),
		TEST(test_deleted_during_attempt),
		TEST(test_ids_grow),
		TEST(test_ids_without_mail),
		TEST(test_opened_twice),
		TEST(test_modes),
		TEST(test_newer_format),
		TEST(test_older_format),
		TEST(test_sweep),
		TEST(test_database_gone),
		TEST(test_log_is_bounded),
		TEST(test_shrink),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
