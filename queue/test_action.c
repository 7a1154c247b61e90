/* test_action - what operators do to messages, those that somebody works on included */
#include "queue/test_support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue/action.h"
#include "queue/private.h"

#define SOON (TESTER_START_MS + 60000)

static struct queue_action act(struct tester *t, enum queue_action_kind kind,
			       const struct queue_filter *filter)
{
	static const struct queue_filter all = { 0 };
	struct queue_action action = {
		.request.done = tester_done,
		.kind = kind,
		.filter = filter ? filter : &all,
	};

	queue_submit_action(t->port, &action);
	tester_wait(t, &action.request);
	if (action.request.result < 0)
		fail_msg("%s: %s", queue_action_name(kind), action.request.error.text);
	tester_check_counts(t);
	return action;
}

/* A message that nobody works on, with recipients in these states: "qdh". */
static int64_t store_states(struct tester *t, const char *states, size_t size)
{
	struct queue_message *m = tester_message(t, size, (unsigned int)strlen(states));
	int64_t id = m->id;

	for (size_t i = 0; states[i]; i++) {
		struct queue_recipient *r = &m->recipients[i];

		if (states[i] == 'q')
			continue;
		r->status = states[i] == 'd' ? QUEUE_DEFERRED : QUEUE_HELD;
		r->attempts = states[i] == 'd';
		r->due_ms = SOON;
	}
	assert_int_equal(tester_append(t, m, NULL), 0);
	tester_release(t, id);
	queue_message_free(m);
	return id;
}

/* "status due now", for each recipient of a message; q d h x, upper case when it is due. */
static void check_states(struct tester *t, int64_t id, const char *want)
{
	char query[512];

	snprintf(query, sizeof(query),
		 "SELECT coalesce((SELECT group_concat(s, '') FROM (SELECT "
		 "substr(CASE WHEN due_ms <= %lld THEN 'QDhxxx' ELSE 'qdhxxx' END, status + 1, 1)"
		 "|| CASE WHEN is_returning THEN '!' ELSE '' END AS s "
		 "FROM q_recipient WHERE message = %lld ORDER BY position)), '') = '%s'",
		 (long long)t->now_ms, (long long)id, want);
	if (!tester_query(t, query))
		fail_msg("recipients are not %s", want);
}

static const struct {
	const char *label;
	enum queue_action_kind kind;
	const char *before, *after; /* due ones in upper case */
	int changed;
} transitions[] = {
	{ "hold", QUEUE_HOLD, "qdh", "hhh", 2 },   { "release", QUEUE_RELEASE, "qdh", "QdQ", 1 },
	{ "retry", QUEUE_RETRY, "qdh", "QDh", 2 }, { "bounce", QUEUE_BOUNCE, "qdh", "Q!D!Q!", 3 },
	{ "delete", QUEUE_DELETE, "qdh", "", 3 },  { "reroute", QUEUE_REROUTE, "qdh", "QDh", 2 },
};

static void test_transitions(void **state)
{
	struct tester *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(transitions); i++) {
		int64_t id = store_states(t, transitions[i].before, 100);
		struct queue_filter filter = { .ids = &id, .id_count = 1 };
		struct queue_action a = act(t, transitions[i].kind, &filter);

		if (a.recipients != transitions[i].changed)
			fail_msg("%s: changed %lld", transitions[i].label, (long long)a.recipients);
		assert_int_equal(a.messages, 1);
		assert_int_equal(a.matched, 3);
		assert_int_equal(a.missing_count, 0);
		check_states(t, id, transitions[i].after);
		act(t, QUEUE_DELETE, NULL);
	}
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_body"), 0);
}

/* Held, then released: the attempts say what it was. */
static void test_hold_then_release(void **state)
{
	struct tester *t = *state;
	int64_t ids[2], got[4], id = store_states(t, "qd", 100);

	assert_int_equal(act(t, QUEUE_HOLD, NULL).recipients, 2);
	assert_int_equal(act(t, QUEUE_HOLD, NULL).recipients, 0);
	assert_int_equal(tester_claim_ids(t, 4, got, NULL), 0);
	assert_int_equal(act(t, QUEUE_RELEASE, NULL).recipients, 2);
	check_states(t, id, "QD");
	assert_int_equal(tester_claim_ids(t, 4, ids, NULL), 1);
	assert_int_equal(ids[0], id);
}

/* What becomes due is found, though scans had passed its place. */
static void test_due_behind_cursor(void **state)
{
	static const enum queue_action_kind kinds[] = { QUEUE_RETRY, QUEUE_BOUNCE, QUEUE_REROUTE };
	struct tester *t = *state;
	int64_t got[4], next;

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		int64_t id = store_states(t, "d", 10);

		store_states(t, "q", 10);
		assert_int_equal(tester_claim_ids(t, 4, got, &next),
				 1); /* the cursor is behind it */
		assert_int_equal(next, SOON);
		act(t, kinds[i], NULL);
		assert_int_equal(tester_claim_ids(t, 4, got, NULL), 1);
		assert_int_equal(got[0], id);
		act(t, QUEUE_DELETE, NULL);
		tester_close(t);
		tester_open(t);
	}
}

/* A message with its claim: the release tells when it is due now. */
static void test_due_while_claimed(void **state)
{
	struct tester *t = *state;
	struct queue_release release = { .request.done = tester_done };
	int64_t got[4], id;

	id = store_states(t, "qd", 10);
	assert_int_equal(tester_claim_ids(t, 4, got, NULL), 1);
	act(t, QUEUE_HOLD,
	    &(struct queue_filter){ .statuses = 1 << QUEUE_QUEUED }); /* it is active */
	check_states(t, id, "Qd");
	act(t, QUEUE_HOLD, &(struct queue_filter){ .statuses = QUEUE_FILTER_ACTIVE });
	check_states(t, id, "hd");
	act(t, QUEUE_RETRY, NULL);
	check_states(t, id, "hD");
	assert_int_equal(tester_claim_ids(t, 4, got, NULL), 0);

	release.id = id;
	queue_submit_release(t->port, &release);
	tester_wait(t, &release.request);
	assert_int_equal(release.due_ms, t->now_ms);
	assert_int_equal(tester_claim_ids(t, 4, got, NULL), 1);
}

/* Operators' wishes outlive what a running attempt ends with. */
static void test_outcomes_after_actions(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 10, 2);
	struct queue_outcome outcomes[] = {
		{ .recipient = 0, .status = QUEUE_DEFERRED, .due_ms = SOON, .attempts = 1 },
		{ .recipient = 1, .status = QUEUE_DEFERRED, .due_ms = SOON, .attempts = 1 },
	};
	struct queue_record record = { .message = m, .outcomes = outcomes, .outcome_count = 2 };
	int64_t id = m->id;

	assert_int_equal(tester_append(t, m, NULL), 0);
	act(t, QUEUE_HOLD, &(struct queue_filter){ .recipient = "BOB0@*" });
	act(t, QUEUE_BOUNCE, &(struct queue_filter){ .recipient = "<bob1@vm2.vm>" });
	assert_int_equal(tester_record(t, &record), 0);
	check_states(t, id, "hD!");
	act(t, QUEUE_BOUNCE, NULL);
	check_states(t, id, "D!D!");
	act(t, QUEUE_HOLD, NULL);
	assert_int_equal(tester_record(t, &record), 0);
	check_states(t, id, "h!h!");
	act(t, QUEUE_RELEASE, NULL);
	check_states(t, id, "D!D!");
	assert_true(tester_finish(t, m, QUEUE_BOUNCED, 0));
	tester_check_counts(t);
	queue_message_free(m);
}

/* Deleted while deliveries are on: nobody is told, nothing breaks, and the file stays that long. */
static void test_delete_while_claimed(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 200000, 3), *report = tester_message(t, 10, 1);
	struct queue_outcome outcome = { .recipient = 1, .status = QUEUE_BOUNCED };
	struct queue_record record = {
		.message = m,
		.outcomes = &outcome,
		.outcome_count = 1,
		.notifications = &report,
		.notification_count = 1,
	};

	assert_int_equal(tester_append(t, m, NULL), 0);
	act(t, QUEUE_DELETE, &(struct queue_filter){ .recipient = "bob1@vm2.vm" });
	check_states(t, m->id, "QxQ");
	assert_int_equal(tester_record(t, &record), 0);
	assert_true(record.is_void);
	assert_false(record.removed);

	act(t, QUEUE_DELETE, &(struct queue_filter){ .recipient = "bob0@vm2.vm" });
	outcome = (struct queue_outcome){ .recipient = 2, .status = QUEUE_DELIVERED };
	record.notification_count = 0;
	assert_int_equal(tester_record(t, &record), 0);
	assert_false(record.is_void);
	assert_false(record.removed); /* an attempt for the first may still go on */
	assert_int_equal(tester_query(t, "SELECT count(*) FROM q_message"), 0);
	tester_check_counts(t);
	assert_int_equal(tester_body_files(t), 1);
	tester_check_body(m->body, m->id, 200000);
	tester_release(t, m->id);
	tester_release(t, 1); /* the next request: the file is removed behind a completion */
	assert_int_equal(tester_body_files(t), 0);
	queue_message_free(m);
	queue_message_free(report);
}

static void test_delete_all_while_claimed(void **state)
{
	struct tester *t = *state;
	struct queue_message *m = tester_message(t, 200000, 2);
	struct queue_release release = { .request.done = tester_done, .id = m->id };

	assert_int_equal(tester_append(t, m, NULL), 0);
	store_states(t, "q", 200000);
	assert_int_equal(act(t, QUEUE_DELETE, NULL).messages, 2);
	tester_release(t, 1);
	assert_int_equal(tester_body_files(t), 1);
	tester_check_body(m->body, m->id, 200000);
	assert_false(tester_finish(t, m, QUEUE_DEFERRED, SOON));
	assert_int_equal(tester_body_files(t), 1);
	queue_submit_release(t->port, &release);
	tester_wait(t, &release.request);
	assert_int_equal(release.due_ms, QUEUE_NEVER);
	tester_release(t, 1);
	assert_int_equal(tester_body_files(t), 0);
	tester_check_counts(t);
	queue_message_free(m);
}

static const struct {
	const char *sender, *recipient, *next_hop;
	int matches; /* of the three recipients below */
} patterns[] = {
	{ NULL, NULL, NULL, 3 },
	{ "alice@vm1.vm", NULL, NULL, 2 },
	{ "ALICE@vm1.VM", NULL, NULL, 2 },
	{ "alice@vm1", NULL, NULL, 0 },
	{ "alice*", NULL, NULL, 2 },
	{ "*", NULL, NULL, 3 },
	{ "<*>", NULL, NULL, 3 },
	{ "<>", NULL, NULL, 1 },
	{ "@vm1.vm", NULL, NULL, 2 },
	{ "@*", NULL, NULL, 2 },
	{ "@m1.vm", NULL, NULL, 0 },
	{ NULL, "@vm2.vm", NULL, 2 },
	{ NULL, "*@*", NULL, 3 },
	{ NULL, "*b*b*2*", NULL, 2 },
	{ NULL, "b_b@vm2.vm", NULL, 0 },
	{ NULL, "b%b@vm2.vm", NULL, 1 }, /* is meant as it is written */
	{ NULL, "b[o]b0@vm2.vm", NULL, 0 },
	{ NULL, "\xc3\xb6*@*", NULL, 1 },
	{ NULL, "*@\"@vm3.vm", NULL, 1 },
	{ NULL, "@vm3.vm", NULL, 1 },
	{ NULL, NULL, "[hub.VM]:25", 1 },
	{ NULL, NULL, "*hub*", 2 },
	{ NULL, NULL, "", 1 },
	{ "<>", "*", "*hub*", 1 },
};

static void test_patterns(void **state)
{
	static const struct {
		const char *sender, *address, *next_hop;
	} mail[] = {
		{ "alice@vm1.vm", "bob0@vm2.vm", "[hub.vm]:25" },
		{ "Alice@VM1.vm", "b%b@vm2.vm", "" },
		{ "", "\xc3\xb6\"@\"@vm3.vm", "hub2" },
	};
	struct tester *t = *state;

	for (size_t i = 0; i < ARRAY_SIZE(mail); i++) {
		struct queue_message *m = tester_message(t, 10, 1);

		m->sender = mail[i].sender;
		m->recipients[0].address = mail[i].address;
		m->recipients[0].next_hop = mail[i].next_hop;
		assert_int_equal(tester_append(t, m, NULL), 0);
		queue_message_free(m);
	}
	for (size_t i = 0; i < ARRAY_SIZE(patterns); i++) {
		struct queue_filter filter = { .sender = patterns[i].sender,
					       .recipient = patterns[i].recipient,
					       .next_hop = patterns[i].next_hop };
		int64_t matched = act(t, QUEUE_RELEASE, &filter).matched;

		if (matched != patterns[i].matches)
			fail_msg("pattern %zu: %lld match", i, (long long)matched);
	}
}

/* A long list of ids, in any order, with some twice and most of them unknown. */
static void test_many_ids(void **state)
{
	struct tester *t = *state;
	size_t count = 100000;
	int64_t *ids = malloc(count * sizeof(*ids));
	struct queue_filter filter = { .ids = ids, .id_count = count };
	struct queue_action a;

	for (size_t i = 0; i < count; i++)
		ids[i] = (int64_t)(count - i);
	ids[77] = ids[99] = store_states(t, "dd", 10);
	ids[50000] = store_states(t, "d", 10);
	store_states(t, "d", 10);
	a = act(t, QUEUE_HOLD, &filter);
	assert_int_equal(a.messages, 2);
	assert_int_equal(a.recipients, 3);
	assert_int_equal(a.missing_count, count - 3);
	assert_int_equal(a.missing[0], 1);
	free(a.missing);
	filter.id_count = 0; /* a list of none is not all */
	assert_int_equal(act(t, QUEUE_HOLD, &filter).matched, 0);
	free(ids);
}

static void test_dry_run(void **state)
{
	struct tester *t = *state;
	int64_t id = store_states(t, "qdh", 10);
	struct queue_filter filter = { .arrived_before_ms = TESTER_START_MS + 1 };
	struct queue_action action = { .filter = &filter, .is_dry_run = true };

	for (int kind = QUEUE_HOLD; kind <= QUEUE_REROUTE; kind++) {
		action.kind = (enum queue_action_kind)kind;
		action.request.done = tester_done;
		queue_submit_action(t->port, &action);
		tester_wait(t, &action.request);
		assert_int_equal(action.request.result, 0);
		assert_int_equal(action.matched, 3);
		assert_int_equal(action.messages, 1);
		assert_int_equal(action.recipients, transitions[kind].changed);
		check_states(t, id, "Qdh");
	}
	filter.arrived_before_ms = TESTER_START_MS;
	assert_int_equal(act(t, QUEUE_DELETE, &filter).matched, 0);
}

static void test_active(void **state)
{
	struct tester *t = *state;
	struct queue_active active = { .request.done = tester_done };
	int64_t got[4];

	store_states(t, "d", 10);
	store_states(t, "q", 10);
	store_states(t, "q", 10);
	assert_int_equal(tester_claim_ids(t, 4, got, NULL), 2);
	queue_submit_active(t->port, &active);
	tester_wait(t, &active.request);
	assert_int_equal(active.id_count, 2);
	assert_int_equal(active.ids[0], got[0]);
	assert_int_equal(active.ids[1], got[1]);
	free(active.ids);
}

static void test_names(void **state)
{
	enum queue_action_kind kind;

	(void)state;
	for (int i = QUEUE_HOLD; i <= QUEUE_REROUTE; i++) {
		assert_true(
			queue_action_parse(queue_action_name((enum queue_action_kind)i), &kind));
		assert_int_equal(kind, i);
	}
	assert_false(queue_action_parse("holds", &kind));
	assert_false(queue_action_parse("", &kind));
}

/* ---- many messages, many actions, against a model ---- */

#define MODEL_MESSAGES	 3000
#define MODEL_RECIPIENTS 3
#define MODEL_STEPS	 400

struct model_recipient {
	enum queue_status status;
	unsigned int attempts;
	int64_t due_ms;
	bool is_returning;
};

struct model_message {
	int64_t id;
	struct queue_message *claimed; /* NULL: nobody works on it */
	bool is_gone;
	unsigned int sender;
	struct model_recipient recipients[MODEL_RECIPIENTS];
};

struct model {
	struct tester *t;
	unsigned int random;
	struct model_message messages[MODEL_MESSAGES];
};

static unsigned int roll(struct model *model, unsigned int sides)
{
	model->random = model->random * 1664525 + 1013904223;
	return (model->random >> 16) % sides;
}

static void model_store(struct model *model, struct model_message *mm)
{
	struct queue_message *m = tester_message(model->t, 20, MODEL_RECIPIENTS);

	mm->id = m->id;
	mm->sender = roll(model, 4);
	m->sender = arena_printf(&m->arena, "s%u@vm1.vm", mm->sender);
	for (unsigned int i = 0; i < MODEL_RECIPIENTS; i++) {
		struct model_recipient *r = &mm->recipients[i];

		r->status = (enum queue_status)roll(model, 3);
		r->attempts = roll(model, 2);
		r->due_ms = model->t->now_ms + (int64_t)roll(model, 5) * 10 - 20;
		m->recipients[i].status = r->status;
		m->recipients[i].attempts = r->attempts;
		m->recipients[i].due_ms = r->due_ms;
	}
	assert_int_equal(tester_append(model->t, m, NULL), 0);
	mm->claimed = m;
}

static void model_release(struct model *model, struct model_message *mm)
{
	if (!mm->claimed)
		return;
	tester_release(model->t, mm->id);
	queue_message_free(mm->claimed);
	mm->claimed = NULL;
}

static bool is_pending(const struct model_recipient *r)
{
	return r->status <= QUEUE_HELD;
}

static void model_sweep(struct model_message *mm)
{
	bool is_gone = true;

	for (unsigned int i = 0; i < MODEL_RECIPIENTS; i++)
		if (is_pending(&mm->recipients[i]))
			is_gone = false;
	mm->is_gone = is_gone;
}

static bool model_apply(struct model_recipient *r, enum queue_action_kind kind, int64_t now_ms)
{
	bool is_held = r->status == QUEUE_HELD;

	if (kind == QUEUE_DELETE) {
		r->status = QUEUE_DELETED;
	} else if (kind == QUEUE_HOLD) {
		r->status = QUEUE_HELD;
		return !is_held;
	} else if (is_held != (kind == QUEUE_RELEASE) && kind != QUEUE_BOUNCE) {
		return false;
	} else {
		r->is_returning |= kind == QUEUE_BOUNCE;
		if (is_held)
			r->status = r->attempts ? QUEUE_DEFERRED : QUEUE_QUEUED;
		if (is_held || r->due_ms > now_ms)
			r->due_ms = now_ms;
	}
	return true;
}

static void model_act(struct model *model)
{
	struct tester *t = model->t;
	enum queue_action_kind kind = (enum queue_action_kind)roll(model, QUEUE_REROUTE + 1);
	unsigned int sender = roll(model, 4), recipient = roll(model, MODEL_RECIPIENTS + 1);
	unsigned int statuses = roll(model, 8), changed = 0, touched = 0;
	char sender_text[16], recipient_text[16];
	struct queue_filter filter = { .statuses = statuses, .sender = sender_text };
	struct queue_action a;

	if (roll(model, 3) == 0)
		filter.statuses |= QUEUE_FILTER_ACTIVE;
	if (kind == QUEUE_DELETE && roll(model, 4) > 0)
		return; /* leave some */
	snprintf(sender_text, sizeof(sender_text), "s%u@vm1.vm", sender);
	snprintf(recipient_text, sizeof(recipient_text), "bob%u@*", recipient);
	if (recipient < MODEL_RECIPIENTS)
		filter.recipient = recipient_text;

	a = act(t, kind, &filter);
	for (size_t i = 0; i < MODEL_MESSAGES; i++) {
		struct model_message *mm = &model->messages[i];
		unsigned int before = changed;

		for (unsigned int j = 0; j < MODEL_RECIPIENTS && !mm->is_gone; j++) {
			struct model_recipient *r = &mm->recipients[j];
			bool is_active =
				mm->claimed && r->status < QUEUE_HELD && r->due_ms <= t->now_ms;
			unsigned int bit = is_active ? QUEUE_FILTER_ACTIVE : 1u << r->status;

			if (mm->sender != sender || !is_pending(r) ||
			    (recipient < MODEL_RECIPIENTS && recipient != j) ||
			    (filter.statuses && !(filter.statuses & bit)))
				continue;
			changed += model_apply(r, kind, t->now_ms);
		}
		touched += changed > before;
		model_sweep(mm);
	}
	assert_int_equal(a.recipients, changed);
	assert_int_equal(a.messages, touched);
}

/* An attempt for one recipient of a claimed message ends. */
static void model_record(struct model *model, struct model_message *mm)
{
	static const enum queue_status ends[] = { QUEUE_DEFERRED, QUEUE_DELIVERED, QUEUE_BOUNCED };
	unsigned int index = roll(model, MODEL_RECIPIENTS);
	struct model_recipient *r = &mm->recipients[index];
	struct queue_outcome outcome = {
		.recipient = index,
		.status = ends[roll(model, 3)],
		.attempts = r->attempts + 1,
		.due_ms = model->t->now_ms + 30,
	};
	struct queue_record record = { .message = mm->claimed,
				       .outcomes = &outcome,
				       .outcome_count = 1 };

	if (!mm->claimed)
		return;
	assert_int_equal(tester_record(model->t, &record), 0);
	assert_int_equal(record.is_void, mm->is_gone || !is_pending(r));
	if (!record.is_void) {
		if (r->status != QUEUE_HELD || outcome.status != QUEUE_DEFERRED)
			r->status = outcome.status;
		r->attempts = outcome.attempts;
		r->due_ms = r->is_returning ? MIN(r->due_ms, outcome.due_ms) : outcome.due_ms;
		model_sweep(mm);
	}
	if (record.removed) {
		queue_message_free(mm->claimed);
		mm->claimed = NULL;
	}
}

/* All that is due and free comes, and nothing else. */
static void model_claim(struct model *model)
{
	struct queue_claim claim = {
		.now_ms = model->t->now_ms,
		.max_messages = 20 + roll(model, 40),
		.max_bytes = 1000000,
	};
	unsigned int due = 0, claimed = 0;

	assert_int_equal(tester_claim(model->t, &claim), 0);
	for (size_t i = 0; i < MODEL_MESSAGES; i++) {
		struct model_message *mm = &model->messages[i];
		bool is_due = false;

		for (unsigned int j = 0; j < MODEL_RECIPIENTS; j++)
			is_due |= mm->recipients[j].status < QUEUE_HELD &&
				  mm->recipients[j].due_ms <= model->t->now_ms;
		if (mm->is_gone || mm->claimed || !is_due)
			continue;
		due++;
		for (unsigned int j = 0; j < claim.message_count; j++) {
			if (claim.messages[j]->id != mm->id)
				continue;
			mm->claimed = claim.messages[j];
			claimed++;
		}
	}
	assert_int_equal(claimed, claim.message_count);
	assert_int_equal(claimed, MIN(due, claim.max_messages));
	free(claim.messages);
}

static void model_check(struct model *model)
{
	int64_t sum = 0;

	for (size_t i = 0; i < MODEL_MESSAGES; i++) {
		struct model_message *mm = &model->messages[i];

		for (unsigned int j = 0; j < MODEL_RECIPIENTS && !mm->is_gone; j++) {
			struct model_recipient *r = &mm->recipients[j];

			sum += (int64_t)(i + 1) * (j + 1) *
			       (r->status * 7 + r->attempts * 3 + r->is_returning +
				(r->status < QUEUE_HELD ? r->due_ms % 1000 : 0) * 11);
		}
	}
	assert_int_equal(
		sum,
		tester_query(model->t,
			     "SELECT coalesce(sum((message - (SELECT first FROM temp_first) + 1)"
			     " * (position + 1) * (status * 7 + attempts * 3 + is_returning +"
			     " iif(status < 2, due_ms % 1000, 0) * 11)), 0) FROM q_recipient"));
}

static void test_model(void **state)
{
	struct model *model = calloc(1, sizeof(*model));

	model->t = *state;
	model->random = 20261121;
	for (size_t i = 0; i < MODEL_MESSAGES; i++) {
		model_store(model, &model->messages[i]);
		assert_int_equal(model->messages[i].id, model->messages[0].id + (int64_t)i);
		if (roll(model, 2))
			model_release(model, &model->messages[i]);
		model_sweep(&model->messages[i]);
	}
	tester_sql(model->t, "CREATE TABLE temp_first AS SELECT min(id) AS first FROM q_message");
	for (unsigned int i = 0; i < MODEL_STEPS; i++) {
		for (int j = 0; j < 12; j++)
			model_record(model, &model->messages[roll(model, MODEL_MESSAGES)]);
		for (int j = 0; j < 12; j++)
			model_release(model, &model->messages[roll(model, MODEL_MESSAGES)]);
		if (roll(model, 4) == 0)
			model_claim(model);
		if (roll(model, 4) == 0)
			model->t->now_ms += roll(model, 20);
		if (roll(model, 8) == 0)
			model_act(model);
		if (i % 40 == 0)
			model_check(model);
	}
	model_check(model);
	tester_check_counts(model->t);
	for (size_t i = 0; i < MODEL_MESSAGES; i++)
		queue_message_free(model->messages[i].claimed);
	free(model);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, tester_setup, tester_teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_transitions),
		TEST(test_hold_then_release),
		TEST(test_due_behind_cursor),
		TEST(test_due_while_claimed),
		TEST(test_outcomes_after_actions),
		TEST(test_delete_while_claimed),
		TEST(test_delete_all_while_claimed),
		TEST(test_patterns),
		TEST(test_many_ids),
		TEST(test_dry_run),
		TEST(test_active),
		cmocka_unit_test(test_names),
		TEST(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
