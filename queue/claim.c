/*
 * claim - handing out messages that are due
 *
 * One look along the due index from the cursor on: what is claimed is passed
 * over, what is due is loaded, and the first that is not due yet, or does not
 * fit any more, tells when to come again. Damaged messages are put aside on
 * the way and held afterwards, when the index is no longer being read.
 *
 * What waits for something has an index of its own, which is walked in the
 * order of ids; the caller keeps the place.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "queue/private.h"
#include "queue/upkeep.h"

#define FAILURES_MAX 8	   /* of reading in one claim: then it is not a single bad sector */
#define RETRY_MS     60000 /* to read again what could not be read */

struct search {
	struct queue *queue;
	struct queue_claim *claim;
	size_t bytes; /* of bodies in memory */
	unsigned int failures;
	bool is_broken;	    /* something before here is unclaimed: the cursor stays */
	struct buf damaged; /* ids, as int64_t */
};

enum search_outcome {
	SEARCH_FULL = 1, /* the message would pass max_bytes, or max_messages are found */
};

static bool fits(const struct search *s, const struct queue_stored_body *body)
{
	return body->in_file || s->claim->message_count == 0 ||
	       s->bytes + body->size <= s->claim->max_bytes;
}

/* Load one message into the claim's array. Returns 0, FULL, or an error. */
static int take_message(struct search *s, struct queue_due due, struct error *err)
{
	CLEANUP(queue_message_freep) struct queue_message *m = NULL;
	struct queue_store *store = s->queue->store;
	struct queue_claim *claim = s->claim;
	struct queue_stored_body body;
	int r;

	r = queue_store_load(store, due.id, &m, &body, err);
	if (r == QUEUE_STORE_NOT_FOUND)
		return error_set(err, -EUCLEAN, "the due index names a message that is not there");
	if (r < 0)
		return r;
	if (!fits(s, &body))
		return SEARCH_FULL;
	r = queue_store_load_body(store, &s->queue->bodies, &body, m, err);
	if (r < 0)
		return r;

	s->bytes += body.in_file ? 0 : (size_t)body.size;
	if (due.due_ms == QUEUE_NEVER)
		due.due_ms = queue_message_due_ms(m);
	queue_claims_put(&s->queue->claims, due.id, due.due_ms);
	claim->messages[claim->message_count++] = m;
	m = NULL;
	return 0;
}

/* Set a damaged message aside, or skip one that could not be read this time. */
static int put_aside(struct search *s, struct queue_due due, int reason, struct error *err)
{
	char name[QUEUE_ID_SIZE];

	queue_id_format(due.id, name);
	error_prefix(err, "%s", name);
	queue_thread_warn(s->queue, "%s", err->text);
	if (reason == -EBADMSG || reason == -EUCLEAN) {
		/* Claimed, so that it is passed over even if it can't be held. */
		queue_claims_put(&s->queue->claims, due.id, due.due_ms);
		buf_append(&s->damaged, &due.id, sizeof(due.id));
		return 0;
	}
	s->is_broken = true;
	return reason == -ENOMEM || ++s->failures > FAILURES_MAX ? reason : 0;
}

/* The database is damaged, and not a single message: the claim ends, and is made again. */
static bool must_recover(const struct search *s, int r)
{
	return r == -EUCLEAN && queue_upkeep_may_recover(s->queue);
}

/* Look at one entry of the index. Returns 1 when the search is over, 0, or an error. */
static int look_at(struct search *s, struct queue_due due, struct error *err)
{
	struct queue_claim *claim = s->claim;
	int r = 0;

	if (!queue_claims_has(&s->queue->claims, due.id)) {
		if (due.due_ms > claim->now_ms || claim->message_count == claim->max_messages)
			r = SEARCH_FULL;
		else
			r = take_message(s, due, err);
		if (must_recover(s, r))
			return r;
		if (r == SEARCH_FULL) {
			claim->next_due_ms = due.due_ms;
			return 1;
		}
		if (r < 0)
			r = put_aside(s, due, r, err);
	}
	if (r == 0 && !s->is_broken)
		queue_claims_advance(&s->queue->claims, due);
	return r;
}

static int search(struct search *s, struct error *err)
{
	struct queue *q = s->queue;
	struct queue_due due;
	int r, end = 0;

	queue_store_scan_begin(q->store, q->claims.cursor);
	while (end == 0 && (r = queue_store_scan_next(q->store, &due, err)) != 0)
		end = r < 0 ? r : look_at(s, due, err);
	queue_store_scan_end(q->store);
	return MIN(end, 0);
}

/* Of what was asked for by it, the rest is as if it were due. */
static void make_due(struct queue_message *m, const struct queue_claim *claim)
{
	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (m->recipients[i].waits_for == claim->waits_for)
			m->recipients[i].due_ms = MIN(m->recipients[i].due_ms, claim->now_ms);
}

/* Look at one message that waits. Returns 1 when the search is over, 0, or an error. */
static int look_at_waiting(struct search *s, int64_t id, struct error *err)
{
	struct queue_due due = { .due_ms = QUEUE_NEVER, .id = id };
	struct queue_claim *claim = s->claim;
	int r = 0;

	if (!queue_claims_has(&s->queue->claims, id)) {
		if (claim->message_count == claim->max_messages)
			return 1;
		r = take_message(s, due, err);
		if (r == SEARCH_FULL)
			return 1;
		if (must_recover(s, r))
			return r;
		if (r == 0)
			make_due(claim->messages[claim->message_count - 1], claim);
		else
			r = put_aside(s, due, r, err);
	}
	claim->after_id = id;
	return r;
}

static int search_waiting(struct search *s, struct error *err)
{
	struct queue *q = s->queue;
	int64_t id;
	int r, end = 0;

	queue_store_waiting_begin(q->store, s->claim->waits_for, s->claim->after_id);
	while (end == 0 && (r = queue_store_waiting_next(q->store, &id, err)) != 0)
		end = r < 0 ? r : look_at_waiting(s, id, err);
	queue_store_waiting_end(q->store);
	if (end == 0)
		s->claim->after_id = 0;
	return MIN(end, 0);
}

static int hold(struct queue *q, int64_t id, struct error *err)
{
	int r = queue_store_begin(q->store, err);

	if (r == 0)
		r = queue_store_hold(q->store, id, "the stored message is damaged", err);
	if (r == QUEUE_STORE_NOT_FOUND)
		r = error_set(err, -EUCLEAN, "it is in the index alone");
	if (r == 0)
		r = queue_store_commit(q->store, err);
	if (r < 0)
		queue_store_rollback(q->store);
	return r;
}

static void hold_damaged(struct search *s)
{
	char name[QUEUE_ID_SIZE];
	struct error err;
	int64_t id;
	int r;

	while (buf_len(&s->damaged) > 0) {
		memcpy(&id, buf_slice(&s->damaged).ptr, sizeof(id));
		buf_consume(&s->damaged, sizeof(id));
		r = hold(s->queue, id, &err);
		if (r == 0 || must_recover(s, r))
			queue_claims_forget(&s->queue->claims, id);
		if (must_recover(s, r))
			s->claim->request.result =
				error_set(&s->claim->request.error, r, "%s", err.text);
		if (r == 0 || must_recover(s, r))
			continue;
		queue_id_format(id, name);
		queue_thread_warn(s->queue,
				  "%s: set aside until the next start, as it can't be "
				  "held: %s",
				  name, err.text);
	}
	buf_done(&s->damaged);
}

void queue_thread_claim(struct queue *q, struct queue_claim *claim)
{
	struct search s = { .queue = q, .claim = claim };
	struct queue_request *request = &claim->request;

	if (claim->max_messages > 0)
		claim->messages = memory_new(sizeof(struct queue_message *) * claim->max_messages);
	request->result = claim->waits_for ? search_waiting(&s, &request->error)
					   : search(&s, &request->error);
	hold_damaged(&s);

	if (s.failures > 0)
		claim->next_due_ms = MIN(claim->next_due_ms, claim->now_ms + RETRY_MS);

	/* What was claimed before the failure is the caller's; it will meet the failure again. */
	if (request->result < 0 && claim->message_count > 0) {
		request->result = 0;
		claim->next_due_ms = claim->now_ms;
	}
	if (claim->message_count == 0) {
		free(claim->messages);
		claim->messages = NULL;
	}
}
