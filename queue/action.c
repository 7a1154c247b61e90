/*
 * action - one transaction over all that a filter names
 *
 * Pages of recipients are read, judged in memory and changed, message by
 * message, so that the new due time of a message, or that nothing is left of
 * it, is known without another look at its rows. What has to change in memory
 * is collected, and done after the commit:
 *
 * - A message that somebody works on gets its new due time in the claims, so
 *   that its release finds the right place; the cursor goes back to the start,
 *   as messages may now be due in front of it.
 * - Of a message that somebody works on, the body's file stays until he lets
 *   go of it. It is noted in queue.cut, also where only some recipients were
 *   deleted: the outcomes of the others may remove the message while the
 *   attempt for a deleted one still goes on.
 */
#include "queue/action.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "queue/filter.h"
#include "queue/private.h"
#include "queue/upkeep.h"

#define PAGE_RECIPIENTS 1024

static const char *const names[] = {
	[QUEUE_HOLD] = "hold",	   [QUEUE_RELEASE] = "release", [QUEUE_RETRY] = "retry",
	[QUEUE_BOUNCE] = "bounce", [QUEUE_DELETE] = "delete",	[QUEUE_REROUTE] = "reroute",
};

const char *queue_action_name(enum queue_action_kind kind)
{
	return names[kind];
}

bool queue_action_parse(const char *name, enum queue_action_kind *ret)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcmp(name, names[i]) == 0) {
			*ret = (enum queue_action_kind)i;
			return true;
		}
	}
	return false;
}

/* A recipient of a page. Its texts are not valid any more. */
struct target {
	struct queue_pending pending;
	bool is_meant;
};

/* What is done, for one action. */
struct run {
	struct queue *queue;
	struct queue_action *action;
	struct queue_activity activity;
	struct target *page;
	size_t count, size;
	struct buf moved;   /* struct queue_due: claimed messages and their new due times */
	struct buf cut;	    /* struct queue_due: claimed messages; due_ms is an enum queue_cut */
	struct buf files;   /* int64_t: ids of messages that are gone, with a file */
	struct buf missing; /* int64_t */
};

static bool is_claimed(const void *arg, int64_t id)
{
	return queue_claims_has(arg, id);
}

/* ---- what the actions do to one recipient ---- */

static enum queue_status waiting_status(const struct queue_pending *p)
{
	return p->attempts == 0 ? QUEUE_QUEUED : QUEUE_DEFERRED;
}

/* Returns false where the action has nothing to say to it. */
static bool change(struct queue_pending *p, enum queue_action_kind kind, int64_t now_ms)
{
	bool is_held = p->status == QUEUE_HELD;

	switch (kind) {
	case QUEUE_HOLD:
		p->status = QUEUE_HELD;
		return !is_held;
	case QUEUE_RETRY:
	case QUEUE_REROUTE:
		if (is_held)
			return false;
		break;
	case QUEUE_RELEASE:
		if (!is_held)
			return false;
		break;
	case QUEUE_BOUNCE:
		p->is_returning = true;
		break;
	case QUEUE_DELETE:
		p->status = QUEUE_DELETED;
		return true;
	}
	/* Due now; what has been due already keeps its place in front. */
	p->due_ms = is_held ? now_ms : MIN(p->due_ms, now_ms);
	if (is_held)
		p->status = waiting_status(p);
	return true;
}

/* ---- one message ---- */

static int change_recipient(struct run *run, struct queue_pending *p, bool *ret_changed,
			    struct error *err)
{
	struct queue_pending before = *p;
	int r = 0;

	run->action->matched++;
	if (!change(p, run->action->kind, run->activity.now_ms))
		return 0;
	*ret_changed = true;
	run->action->recipients++;
	if (run->action->is_dry_run || (p->status == before.status && p->due_ms == before.due_ms &&
					p->is_returning == before.is_returning))
		return 0;
	if (run->action->kind == QUEUE_DELETE)
		r = queue_store_ledger_deleted(run->queue->store, p->id, p->position,
					       run->activity.now_ms, err);
	return r < 0 ? r : queue_store_change(run->queue->store, p, err);
}

static void note_due(struct run *run, const struct queue_pending *p, int64_t due_ms)
{
	struct queue_due due = { .due_ms = due_ms, .id = p->id };

	if (is_claimed(&run->queue->claims, p->id))
		buf_append(&run->moved, &due, sizeof(due));
}

static void note_deleted(struct run *run, const struct queue_pending *p, bool is_gone)
{
	struct queue_due cut = { .due_ms = is_gone && p->in_file ? QUEUE_CUT_FILE : QUEUE_CUT,
				 .id = p->id };

	if (is_claimed(&run->queue->claims, p->id))
		buf_append(&run->cut, &cut, sizeof(cut));
	else if (is_gone && p->in_file)
		buf_append(&run->files, &p->id, sizeof(p->id));
}

/* targets: all of its recipients that were pending. */
static int change_message(struct run *run, struct target *targets, size_t count, struct error *err)
{
	const struct queue_pending *first = &targets[0].pending;
	struct queue_store *store = run->queue->store;
	int64_t due_ms = QUEUE_NEVER;
	bool changed = false;
	size_t left = 0;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		struct queue_pending *p = &targets[i].pending;

		if (targets[i].is_meant)
			r = change_recipient(run, p, &changed, err);
		left += queue_status_is_pending(p->status);
		if (p->status == QUEUE_QUEUED || p->status == QUEUE_DEFERRED)
			due_ms = MIN(due_ms, p->due_ms);
	}
	run->action->messages += changed;
	if (r < 0 || !changed || run->action->is_dry_run)
		return r;

	if (run->action->kind == QUEUE_DELETE)
		note_deleted(run, first, left == 0);
	if (left == 0)
		r = queue_store_remove(store, first->id, first->size, first->in_file, err);
	else if (due_ms != first->message_due_ms)
		r = queue_store_set_due(store, first->id, due_ms, err);
	if (r == 0 && due_ms != first->message_due_ms)
		note_due(run, first, due_ms);
	return r;
}

static int change_page(struct run *run, struct error *err)
{
	size_t end;
	int r = 0;

	for (size_t i = 0; i < run->count && r == 0; i = end) {
		for (end = i; end < run->count; end++)
			if (run->page[end].pending.id != run->page[i].pending.id)
				break;
		r = change_message(run, &run->page[i], end - i, err);
	}
	return r;
}

/* ---- pages ---- */

static bool is_meant(const struct run *run, const struct queue_pending *p)
{
	const struct queue_filter *filter = run->action->filter;
	bool is_active = queue_activity_has(&run->activity, p->id, p->status, p->due_ms);

	return queue_filter_has_message(filter, p->sender, p->arrived_ms) &&
	       queue_filter_has_recipient(filter, p->address, p->next_hop, p->status, is_active);
}

static void add_target(struct run *run, const struct queue_pending *p)
{
	if (run->count == run->size) {
		run->size = MAX(2 * run->size, PAGE_RECIPIENTS);
		run->page = memory_grow(run->page, run->size * sizeof(*run->page));
	}
	run->page[run->count++] = (struct target){ .pending = *p, .is_meant = is_meant(run, p) };
}

/* Whole messages, up to a page full. *ret_next: where to go on; 0: at the end. */
static int fill_page(struct run *run, int64_t first_id, int64_t last_id, int64_t *ret_next,
		     struct error *err)
{
	struct queue_store *store = run->queue->store;
	struct queue_pending p;
	int64_t last = 0;
	int r;

	run->count = 0;
	*ret_next = 0;
	r = queue_store_pending_begin(store, first_id, last_id, err);
	if (r < 0)
		return r;
	while ((r = queue_store_pending_next(store, &p, err)) > 0) {
		if (p.id != last && run->count >= PAGE_RECIPIENTS) {
			*ret_next = p.id;
			break;
		}
		last = p.id;
		add_target(run, &p);
	}
	queue_store_pending_end(store);
	return MIN(r, 0);
}

static int change_ids(struct run *run, struct error *err)
{
	const struct queue_filter *filter = run->action->filter;
	int64_t *ids = memory_new(MAX(filter->id_count, 1) * sizeof(*ids));
	size_t count;
	int64_t next;
	int r = 0;

	memcpy(ids, filter->ids, filter->id_count * sizeof(*ids));
	count = queue_filter_sort_ids(ids, filter->id_count);
	for (size_t i = 0; i < count && r == 0; i++) {
		r = fill_page(run, ids[i], ids[i], &next, err);
		if (r == 0 && run->count == 0)
			buf_append(&run->missing, &ids[i], sizeof(ids[i]));
		if (r == 0)
			r = change_page(run, err);
	}
	free(ids);
	return r;
}

static int change_range(struct run *run, struct error *err)
{
	int64_t next = INT64_MIN;
	int r;

	do {
		r = fill_page(run, next, INT64_MAX, &next, err);
		if (r == 0)
			r = change_page(run, err);
	} while (r == 0 && next != 0);
	return r;
}

/* ---- memory, after the commit ---- */

static bool take(struct buf *from, void *item, size_t size)
{
	if (buf_len(from) == 0)
		return false;
	memcpy(item, buf_slice(from).ptr, size);
	buf_consume(from, size);
	return true;
}

static void settle(struct run *run)
{
	struct queue *q = run->queue;
	struct queue_due due;

	while (take(&run->moved, &due, sizeof(due)))
		queue_claims_put(&q->claims, due.id, due.due_ms);
	while (take(&run->cut, &due, sizeof(due)))
		queue_claims_put(&q->cut, due.id, due.due_ms);
	buf_append_slice(&q->removed_files, buf_slice(&run->files));
	queue_claims_rewind(&q->claims);
}

static void give_missing(struct run *run)
{
	struct slice bytes = buf_slice(&run->missing);

	if (bytes.len == 0)
		return;
	run->action->missing = memory_new(bytes.len);
	memcpy(run->action->missing, bytes.ptr, bytes.len);
	run->action->missing_count = bytes.len / sizeof(int64_t);
}

static void forget_results(struct queue_action *action)
{
	action->messages = action->recipients = action->matched = 0;
}

void queue_thread_action(struct queue *q, struct queue_action *action)
{
	struct run run = {
		.queue = q,
		.action = action,
		.activity = { clock_wall_ms(q->clock), is_claimed, &q->claims },
	};
	struct error *err = &action->request.error;
	int r = 0;

	if (!action->is_dry_run)
		r = queue_upkeep_prepare(q, err);
	if (r == 0 && !action->is_dry_run)
		r = queue_store_begin(q->store, err);
	if (r == 0)
		r = action->filter->ids ? change_ids(&run, err) : change_range(&run, err);
	if (r == 0 && !action->is_dry_run)
		r = queue_store_commit(q->store, err);
	if (r < 0) {
		queue_store_rollback(q->store);
		forget_results(action);
	} else {
		settle(&run);
		give_missing(&run);
	}
	action->request.result = r;
	free(run.page);
	buf_done(&run.moved);
	buf_done(&run.cut);
	buf_done(&run.files);
	buf_done(&run.missing);
}

void queue_thread_active(struct queue *q, struct queue_active *active)
{
	const struct queue_claims *c = &q->claims;

	active->ids = memory_new(MAX(c->count, 1) * sizeof(*active->ids));
	for (size_t i = 0; i < c->size; i++)
		if (c->slots[i].id != 0)
			active->ids[active->id_count++] = c->slots[i].id;
	active->id_count = queue_filter_sort_ids(active->ids, active->id_count);
}
