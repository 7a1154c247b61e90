/*
 * thread - the only writer: group commit, completions, and chores when idle
 *
 * A batch is everything that has arrived, up to the next claim, and at most
 * batch_max requests and BATCH_BYTES of bodies. It runs in one transaction. If
 * anything in it fails, all of it is rolled back and each request is tried
 * again in a transaction of its own: so only the guilty ones fail, and on a
 * full disk the small ones may still get through. Nothing in memory changes
 * before the commit, and no completion is handed out before it.
 *
 * There are two lines. A client waits for its append, and a delivery holds up
 * what is behind it; but a dead next hop has a hundred thousand deferrals that
 * nobody waits for. So these are patient: while both lines have somebody in
 * them, a batch takes a small share of the patient line. Whichever line
 * got nothing of a batch is first in the next, so neither ever starves.
 * Claims and releases are patient too, because their order counts: a claim
 * has to see what was released, and what was suspended, before it.
 *
 * A claim is served alone, between transactions: it only reads, and what it
 * hands out must be committed. An operator's action is alone too, as it may
 * touch any message.
 */
#include "queue/thread.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "queue/body.h"
#include "queue/private.h"
#include "queue/upkeep.h"

#define BATCH_BYTES (4 << 20) /* of bodies: those in front should not wait for more */
#define IDLE_S	    1	      /* without requests, before the chores */

#define PATIENT_SHARE 8 /* of batch_max one in so many, while others are urgent */

void queue_thread_warn(struct queue *q, const char *format, ...)
{
	char text[640];
	va_list args;

	if (!q->warn)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	q->warn(q->warn_arg, text);
}

static struct queue_request *request_of(struct list *link)
{
	return CONTAINER_OF(link, struct queue_request, link);
}

static struct queue_append *append_of(struct queue_request *request)
{
	return CONTAINER_OF(request, struct queue_append, request);
}

static struct queue_record *record_of(struct queue_request *request)
{
	return CONTAINER_OF(request, struct queue_record, request);
}

static int run_record(struct queue *q, struct queue_record *record, struct error *err)
{
	struct queue_store_recorded recorded;
	int r = queue_store_record(q->store, record, &recorded, err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < record->notification_count && r == 0 && !recorded.is_void; i++)
		r = queue_store_append(q->store, record->notifications[i], err);
	record->removed = recorded.removed;
	record->is_void = recorded.is_void;
	record->request.due_ms = recorded.due_ms;
	return r;
}

/* The rows of one request. Releases have none. */
static int run_write(struct queue *q, struct queue_request *request, struct error *err)
{
	switch (request->kind) {
	case QUEUE_REQUEST_APPEND:
		return queue_store_append(q->store, append_of(request)->message, err);
	case QUEUE_REQUEST_RECORD:
		return run_record(q, record_of(request), err);
	case QUEUE_REQUEST_CLAIM:
	case QUEUE_REQUEST_RELEASE:
	case QUEUE_REQUEST_ACTION:
	case QUEUE_REQUEST_ACTIVE:
		break;
	}
	return 0;
}

/* Begin; ids that were handed out are covered by the mark that this commit writes. */
static int begin(struct queue *q, int64_t *ret_mark, struct error *err)
{
	int r;

	*ret_mark = 0;
	if (!q->store)
		return error_set(err, -EIO, "the queue database is damaged");
	r = queue_upkeep_prepare(q, err);
	if (r == 0)
		r = queue_store_begin(q->store, err);
	*ret_mark = queue_ids_mark_due(&q->ids);
	if (r == 0 && *ret_mark)
		queue_store_set_ids_mark(q->store, *ret_mark);
	return r;
}

/* Commit if all is well up to here (r), or else roll back. */
static int finish(struct queue *q, int64_t mark, int r, struct error *err)
{
	bool in_commit = r == 0;

	if (in_commit)
		r = queue_store_commit(q->store, err);
	if (r < 0) {
		if (q->store)
			queue_store_rollback(q->store);
		queue_upkeep_failed(q, r, in_commit);
	} else if (mark) {
		queue_ids_reserved(&q->ids, mark);
	}
	return r;
}

static int run_together(struct queue *q, struct list *batch, struct error *err)
{
	int64_t mark;
	int r = begin(q, &mark, err);

	LIST_FOREACH (item, batch) {
		if (r == 0 && request_of(item)->result == 0)
			r = run_write(q, request_of(item), err);
	}
	return finish(q, mark, r, err);
}

static int run_alone(struct queue *q, struct queue_request *request, struct error *err)
{
	int64_t mark;
	int r = begin(q, &mark, err);

	if (r == 0)
		r = run_write(q, request, err);
	return finish(q, mark, r, err);
}

static void settle_stored(struct queue *q, struct queue_message *m)
{
	m->body->is_stored = true;
	queue_claims_put(&q->claims, m->id, queue_message_due_ms(m));
}

static void settle_removal(struct queue *q, struct queue_record *record)
{
	const struct queue_message *m = record->message;

	if (queue_claims_has(&q->cut, m->id)) { /* its other deliveries may still read the body */
		queue_claims_put(&q->claims, m->id, QUEUE_NEVER);
		if (m->body->in_file)
			queue_claims_put(&q->cut, m->id, QUEUE_CUT_FILE);
		record->removed = false;
		return;
	}
	queue_claims_forget(&q->claims, m->id);
	if (m->body->in_file)
		buf_append(&q->removed_files, &m->id, sizeof(m->id));
}

static void settle_release(struct queue *q, struct queue_release *release)
{
	release->due_ms = queue_claims_due_ms(&q->claims, release->id);
	queue_claims_release(&q->claims, release->id);
	if (!queue_claims_has(&q->cut, release->id))
		return;
	if (queue_claims_due_ms(&q->cut, release->id) == QUEUE_CUT_FILE)
		buf_append(&q->removed_files, &release->id, sizeof(release->id));
	queue_claims_forget(&q->cut, release->id);
}

static void settle_record(struct queue *q, struct queue_record *record)
{
	struct queue_message *m = record->message;

	for (size_t i = 0; i < record->notification_count && !record->is_void; i++)
		settle_stored(q, record->notifications[i]);
	if (record->removed)
		settle_removal(q, record);
	else if (queue_claims_has(&q->claims, m->id))
		queue_claims_put(&q->claims, m->id, record->request.due_ms);
}

/* What a committed request changes in memory. */
static void settle(struct queue *q, struct queue_request *request)
{
	switch (request->kind) {
	case QUEUE_REQUEST_APPEND:
		settle_stored(q, append_of(request)->message);
		break;
	case QUEUE_REQUEST_RECORD:
		settle_record(q, record_of(request));
		break;
	case QUEUE_REQUEST_RELEASE:
		settle_release(q, CONTAINER_OF(request, struct queue_release, request));
		break;
	case QUEUE_REQUEST_CLAIM:
	case QUEUE_REQUEST_ACTION:
	case QUEUE_REQUEST_ACTIVE:
		break;
	}
}

/* One by one, after they failed together. */
static void run_each(struct queue *q, struct list *batch)
{
	LIST_FOREACH (item, batch) {
		struct queue_request *request = request_of(item);

		if (request->kind != QUEUE_REQUEST_RELEASE && request->result == 0)
			request->result = run_alone(q, request, &request->error);
	}
}

/* The ballast is for mail that leaves: once it is given up, nothing comes in. */
static void refuse_appends(struct queue *q, struct list *batch)
{
	if (!queue_room_is_spent(&q->room))
		return;
	LIST_FOREACH (item, batch) {
		struct queue_request *request = request_of(item);

		if (request->kind == QUEUE_REQUEST_APPEND)
			request->result = error_set(&request->error, -ENOSPC, "the disk is full");
	}
}

static bool has_writes(struct list *batch)
{
	LIST_FOREACH (item, batch) {
		if (request_of(item)->kind != QUEUE_REQUEST_RELEASE &&
		    request_of(item)->result == 0)
			return true;
	}
	return false;
}

static void forget_results(struct queue_record *record)
{
	record->removed = false;
	record->is_void = false;
}

static void run_batch(struct queue *q, struct list *batch)
{
	struct error err = { 0 };
	int r = 0;

	refuse_appends(q, batch);
	if (has_writes(batch))
		r = run_together(q, batch, &err);
	if (queue_upkeep_recover(q, r, &err))
		r = run_together(q, batch, &err);
	if (r < 0) {
		refuse_appends(q, batch);
		run_each(q, batch);
	}
	LIST_FOREACH (item, batch) {
		struct queue_request *request = request_of(item);

		if (request->result == 0)
			settle(q, request);
		else if (request->kind == QUEUE_REQUEST_RECORD)
			forget_results(record_of(request));
	}
}

/* Hand one port all that it has in the batch, so that it is woken once. */
static void complete_port(struct list *batch, struct queue_port *port)
{
	pthread_mutex_lock(&port->mutex);
	LIST_FOREACH (item, batch) {
		if (request_of(item)->port != port)
			continue;
		list_remove(item);
		list_push(&port->completed, item);
	}
	port->wake(port->arg);
	pthread_mutex_unlock(&port->mutex);
}

static void complete(struct list *batch)
{
	while (!list_is_empty(batch)) {
		struct queue_request *first = request_of(batch->next);

		if (first->port) {
			complete_port(batch, first->port);
		} else { /* a release that nobody waits for: our own copy */
			list_remove(&first->link);
			free(CONTAINER_OF(first, struct queue_release, request));
		}
	}
}

static void publish_counts(struct queue *q)
{
	struct queue_ledger_link head;
	struct queue_counts counts;

	if (!q->store)
		return;
	counts = queue_store_counts(q->store);
	head = queue_store_ledger_head(q->store);

	pthread_mutex_lock(&q->mutex);
	q->counts = counts;
	q->ledger_head = head;
	pthread_mutex_unlock(&q->mutex);
}

static bool is_alone(const struct queue_request *request)
{
	return request->kind == QUEUE_REQUEST_CLAIM || request->kind == QUEUE_REQUEST_ACTION ||
	       request->kind == QUEUE_REQUEST_ACTIVE;
}

static void serve(struct queue *q, struct queue_request *request)
{
	if (request->kind == QUEUE_REQUEST_CLAIM)
		queue_thread_claim(q, CONTAINER_OF(request, struct queue_claim, request));
	else if (request->kind == QUEUE_REQUEST_ACTION)
		queue_thread_action(q, CONTAINER_OF(request, struct queue_action, request));
	else
		queue_thread_active(q, CONTAINER_OF(request, struct queue_active, request));
}

/* Once more, if what was in the way is gone. */
static void serve_alone(struct queue *q, struct queue_request *request)
{
	bool had_ballast = q->room.has_ballast;

	serve(q, request);
	if (request->result >= 0)
		return;
	if (request->kind == QUEUE_REQUEST_ACTION)
		queue_upkeep_failed(q, request->result, true);
	if ((had_ballast && !q->room.has_ballast) ||
	    queue_upkeep_recover(q, request->result, &request->error)) {
		request->result = 0;
		serve(q, request);
	}
}

/* There is no database: only claims, which are in memory, can be given up. */
static void fail_all(struct queue *q, struct list *batch, const struct error *err)
{
	LIST_FOREACH (item, batch) {
		struct queue_request *request = request_of(item);

		if (request->kind == QUEUE_REQUEST_RELEASE)
			settle(q, request);
		else
			request->result = error_set(&request->error, -EIO, "%s", err->text);
	}
}

static void run(struct queue *q, struct list *batch)
{
	struct queue_request *first = request_of(batch->next);
	struct error err;

	if (!queue_upkeep_has_store(q, &err))
		fail_all(q, batch, &err);
	else if (is_alone(first))
		serve_alone(q, first);
	else
		run_batch(q, batch);
	publish_counts(q);
	complete(batch);

	/* Nobody waits for what follows. */
	queue_upkeep_after(q);
}

/* Sessions may use up ids without anything being stored. */
static void reserve_ids(struct queue *q)
{
	int64_t mark;
	int r;

	if (!q->store || !queue_ids_mark_due(&q->ids))
		return;
	r = begin(q, &mark, NULL);
	finish(q, mark, r, NULL); /* should it fail, the next message asks again */
}

static uint64_t bytes_in_row(const struct queue_message *m)
{
	return m->body->in_file ? 0 : m->body->size;
}

static uint64_t bytes_of(struct queue_request *request)
{
	const struct queue_record *record;
	uint64_t bytes = 0;

	if (request->kind == QUEUE_REQUEST_APPEND)
		return bytes_in_row(append_of(request)->message);
	if (request->kind != QUEUE_REQUEST_RECORD)
		return 0;
	record = record_of(request);
	for (size_t i = 0; i < record->notification_count; i++)
		bytes += bytes_in_row(record->notifications[i]);
	return bytes;
}

bool queue_thread_is_patient(const struct queue_request *request)
{
	const struct queue_record *record;

	if (request->kind == QUEUE_REQUEST_CLAIM || request->kind == QUEUE_REQUEST_RELEASE)
		return true;
	if (request->kind != QUEUE_REQUEST_RECORD)
		return false;
	record = CONTAINER_OF(request, struct queue_record, request);
	for (size_t i = 0; i < record->outcome_count; i++)
		if (record->outcomes[i].status != QUEUE_DEFERRED)
			return false;
	return true;
}

struct batch {
	struct list *requests;
	unsigned int count;
	uint64_t bytes;
	bool is_closed; /* by one that is served alone */
};

/* Take from one line until there are count_max, or the next is served alone. Returns how many. */
static unsigned int take_from(struct list *line, unsigned int count_max, struct batch *batch)
{
	unsigned int before = batch->count;

	while (!list_is_empty(line) && !batch->is_closed && batch->count < count_max &&
	       batch->bytes < BATCH_BYTES) {
		struct list *item = line->next;

		batch->is_closed = is_alone(request_of(item));
		if (batch->is_closed && batch->count > 0) {
			batch->is_closed = false;
			break;
		}
		list_remove(item);
		list_push(batch->requests, item);
		batch->count++;
		batch->bytes += bytes_of(request_of(item));
	}
	return batch->count - before;
}

/* Both lines have somebody in them. */
static void take_from_both(struct queue *q, struct batch *batch)
{
	unsigned int share = MAX(q->batch_max / PATIENT_SHARE, 1);
	unsigned int taken;

	if (q->is_patients_turn) {
		take_from(&q->patient, share, batch);
		take_from(&q->urgent, q->batch_max, batch);
		q->is_patients_turn = false;
		return;
	}
	take_from(&q->urgent, MAX(q->batch_max - share, 1), batch);
	taken = take_from(&q->patient, MIN(batch->count + share, q->batch_max), batch);
	q->is_patients_turn = taken == 0;
}

/* With the mutex held. */
static void take_batch(struct queue *q, struct list *requests)
{
	struct batch batch = { .requests = requests };

	if (!list_is_empty(&q->urgent) && !list_is_empty(&q->patient)) {
		take_from_both(q, &batch);
	} else {
		take_from(&q->urgent, q->batch_max, &batch);
		take_from(&q->patient, q->batch_max, &batch);
		q->is_patients_turn = false;
	}
}

/* Wait until woken, or for a second: then it returns true. Mutex held. */
static bool wait_for_work(struct queue *q)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_S;
	return pthread_cond_timedwait(&q->arrived, &q->mutex, &until) == ETIMEDOUT;
}

void *queue_thread_run(void *arg)
{
	struct queue *q = arg;
	bool has_chores = true;
	struct list batch;

	list_init(&batch);
	pthread_mutex_lock(&q->mutex);
	for (;;) {
		bool ids_wanted = queue_ids_take_wanted(&q->ids);
		bool is_idle = false;

		take_batch(q, &batch);
		if (list_is_empty(&batch) && !ids_wanted) {
			if (q->is_stopping)
				break;
			is_idle = wait_for_work(q);
			if (!is_idle)
				continue;
		}

		pthread_mutex_unlock(&q->mutex);
		if (ids_wanted)
			reserve_ids(q);
		if (!list_is_empty(&batch))
			run(q, &batch);
		queue_upkeep_look(q);
		queue_upkeep_ledger(q);
		if (!is_idle)
			has_chores = true;
		else if (has_chores)
			has_chores = queue_upkeep_idle(q);
		pthread_mutex_lock(&q->mutex);
	}
	pthread_mutex_unlock(&q->mutex);
	return NULL;
}
