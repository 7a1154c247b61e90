/*
 * reader_ledger - the ledger, block by block
 *
 * The rows of a page are read in one snapshot, which ends before anything is
 * shown. An address is looked for block by block: what is noted of a block says
 * mostly that it is not there, so a million rows take some milliseconds.
 *
 * The chain is followed a page of rows at a time, too. Between two pages the
 * first rows may expire and others be added: then the walk goes on from the new
 * anchor, and up to the new end.
 */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "queue/private.h"
#include "queue/reader_private.h"

#define WALK_ROWS 4096

struct block {
	struct queue_ledger_entry *entries;
	size_t count, size;
	struct arena arena; /* their texts */
};

static void block_done(struct block *b)
{
	free(b->entries);
	arena_done(&b->arena);
}

static void keep(struct block *b, const struct queue_ledger_entry *entry)
{
	if (b->count == b->size) {
		b->size = MAX(2 * b->size, 64);
		b->entries = memory_grow(b->entries, b->size * sizeof(*b->entries));
	}
	b->entries[b->count] = *entry;
	queue_ledger_keep(&b->arena, &b->entries[b->count++]);
}

/* ---- lists ---- */

/* A pattern that names one address. The index knows those. */
static bool is_exact(const char *pattern)
{
	return pattern && pattern[0] && !strchr("@<", pattern[0]) && !strchr(pattern, '*');
}

static void choose_key(const struct queue_ledger_filter *filter, struct queue_ledger_query *ret)
{
	const struct queue_filter *f = &filter->filter;

	*ret = (struct queue_ledger_query){
		.since_ms = filter->since_ms,
		.in_clear = filter->in_clear,
	};
	if (is_exact(f->recipient)) {
		ret->key = QUEUE_LEDGER_RECIPIENT;
		ret->address = f->recipient;
	} else if (is_exact(f->sender)) {
		ret->key = QUEUE_LEDGER_SENDER;
		ret->address = f->sender;
	}
}

static bool is_wanted(const struct queue_ledger_filter *filter, const struct queue_ledger_entry *e)
{
	const struct queue_filter *f = &filter->filter;

	return e->row.kind == QUEUE_LEDGER_ATTEMPT && e->row.time_ms >= filter->since_ms &&
	       (e->row.in_clear || !filter->in_clear) &&
	       queue_filter_has_message(f, e->sender, e->arrived_ms) &&
	       queue_filter_has_recipient(f, e->recipient, e->row.next_hop, e->status, false);
}

static int add_block(struct queue_reader *r, const struct queue_ledger_query *query,
		     const struct queue_ledger_filter *filter, struct block *b, struct error *err)
{
	struct queue_ledger_entry entry;
	int result = 1;

	if (query->key != QUEUE_LEDGER_ANY)
		result = queue_store_block_may_have(r->store, query->first, query->address, err);
	if (result <= 0)
		return result;
	result = queue_store_ledger_begin(r->store, query, err);
	if (result < 0)
		return result;
	while ((result = queue_store_ledger_next(r->store, &entry, err)) > 0)
		if (!filter || is_wanted(filter, &entry))
			keep(b, &entry);
	queue_store_ledger_end(r->store);
	return result;
}

static void clear(struct block *b)
{
	b->count = 0;
	arena_reset(&b->arena);
}

/* The first row that can be of this time, and the last there is. */
static int find_range(struct queue_reader *r, int64_t since_ms, int64_t *ret_first,
		      int64_t *ret_last, struct error *err)
{
	struct queue_ledger_ends ends;
	int result = queue_store_ledger_ends(r->store, &ends, err);

	if (result == 0)
		result = queue_store_ledger_find(r->store, since_ms, ret_first, err);
	if (result < 0)
		return result;
	*ret_last = ends.head.row;
	return 0;
}

int queue_reader_ledger(struct queue_reader *r, const struct queue_ledger_filter *filter,
			int (*visit)(void *arg, const struct queue_ledger_entry *entry), void *arg,
			struct error *err)
{
	struct block block = { .count = 0 };
	struct queue_ledger_query query;
	int64_t last = 0, step;
	int result;

	choose_key(filter, &query);
	step = query.key == QUEUE_LEDGER_ANY ? QUEUE_LEDGER_PAGE : QUEUE_LEDGER_BLOCK;
	result = find_range(r, filter->since_ms, &query.first, &last, err);
	for (; result == 0 && query.first <= last; query.first += step) {
		clear(&block);
		result = add_block(r, &query, filter, &block, err);
		for (size_t i = 0; i < block.count && result == 0; i++)
			result = visit(arg, &block.entries[i]);
	}
	block_done(&block);
	return result;
}

static int add_id(int64_t *ids, int count, int64_t id)
{
	for (int i = 0; i < count; i++)
		if (ids[i] == id)
			return count;
	ids[count] = id;
	return count + 1;
}

static int newest_first(const void *a, const void *b)
{
	const struct queue_ledger_entry *left = a, *right = b;

	return (left->number < right->number) - (left->number > right->number);
}

/* Rows to the address, and from it, the newest first. */
static int load_both(struct queue_reader *r, int64_t first, const char *address, struct block *b,
		     struct error *err)
{
	static const enum queue_ledger_key keys[] = { QUEUE_LEDGER_RECIPIENT, QUEUE_LEDGER_SENDER };
	int result = 0;

	clear(b);
	for (size_t k = 0; k < ARRAY_SIZE(keys) && result == 0; k++) {
		struct queue_ledger_query query = {
			.first = first,
			.key = keys[k],
			.address = address,
		};

		result = add_block(r, &query, NULL, b, err);
	}
	if (b->count > 0)
		qsort(b->entries, b->count, sizeof(*b->entries), newest_first);
	return result;
}

int queue_reader_ledger_messages(struct queue_reader *r, const char *address, int64_t *ids, int max,
				 struct error *err)
{
	struct block block = { .count = 0 };
	int64_t first = 0, last = 0;
	int count = 0;
	int result = find_range(r, INT64_MIN, &first, &last, err);

	last &= ~(int64_t)(QUEUE_LEDGER_BLOCK - 1);
	for (; result == 0 && last + QUEUE_LEDGER_BLOCK > first && count < max;
	     last -= QUEUE_LEDGER_BLOCK) {
		result = load_both(r, last, address, &block, err);
		for (size_t i = 0; i < block.count && count < max; i++)
			count = add_id(ids, count, block.entries[i].message);
	}
	block_done(&block);
	return result < 0 ? result : count;
}

/* ---- the chain ---- */

struct inspection {
	struct queue_reader *reader;
	const struct queue_ledger_link *noted;
	void (*show)(void *arg, const struct queue_ledger_entry *gap);
	void *arg;
	struct queue_ledger_verdict *verdict;
	struct queue_ledger_link at; /* up to here all is well */
	struct error *err;
};

static int find_fault(struct inspection *i, enum queue_ledger_fault fault, int64_t first,
		      int64_t last)
{
	i->verdict->fault = fault;
	i->verdict->fault_first = first;
	i->verdict->fault_last = last;
	return 1;
}

static int judge_break(void *arg, const struct queue_ledger_break *gap)
{
	struct inspection *i = arg;
	struct queue_ledger_entry record = { .number = 0 };
	int result = queue_store_ledger_gap(i->reader->store, gap, &record, i->err);

	if (result < 0)
		return result;
	if (result == 0)
		return gap->after == gap->before + 1
			       ? find_fault(i, QUEUE_LEDGER_CHANGED, gap->after, gap->after)
			       : find_fault(i, QUEUE_LEDGER_MISSING, gap->before + 1,
					    gap->after - 1);
	i->verdict->gaps++;
	i->show(i->arg, &record);
	return 0;
}

/* Rows in front of the anchor: from before there was a chain, or somebody has put them there. */
static int judge_first(struct inspection *i)
{
	static const unsigned char none[QUEUE_LEDGER_HASH_SIZE];
	const struct queue_ledger_link *anchor = &i->verdict->ends.anchor;
	bool is_migrated = anchor->row > 0 && memcmp(anchor->hash, none, sizeof(none)) == 0;
	int result = queue_store_ledger_count(i->reader->store, anchor->row, &i->verdict->unchained,
					      i->err);

	if (result == 0 && i->verdict->unchained > 0 && !is_migrated)
		return find_fault(i, QUEUE_LEDGER_ADDED, anchor->row, anchor->row);
	return result;
}

static int judge_last(struct inspection *i)
{
	const struct queue_ledger_link *head = &i->verdict->ends.head;

	if (i->at.row < head->row)
		return find_fault(i, QUEUE_LEDGER_MISSING, i->at.row + 1, head->row);
	if (i->at.row > head->row)
		return find_fault(i, QUEUE_LEDGER_ADDED, head->row + 1, i->at.row);
	if (memcmp(i->at.hash, head->hash, sizeof(head->hash)) != 0)
		return find_fault(i, QUEUE_LEDGER_CHANGED, head->row, head->row);
	return 0;
}

static int judge_note(struct inspection *i)
{
	const struct queue_ledger_link *anchor = &i->verdict->ends.anchor;
	struct queue_ledger_link found = *anchor;
	int result = 1;

	if (!i->noted)
		return 0;
	if (i->noted->row != anchor->row)
		result = queue_store_ledger_link(i->reader->store, i->noted->row, &found, i->err);
	if (result < 0)
		return result;
	if (result == 0)
		i->verdict->note =
			i->noted->row < anchor->row ? QUEUE_NOTE_EXPIRED : QUEUE_NOTE_MISSING;
	else
		i->verdict->note = memcmp(found.hash, i->noted->hash, sizeof(found.hash)) == 0
					   ? QUEUE_NOTE_FOUND
					   : QUEUE_NOTE_DIFFERS;
	return 0;
}

/* A page, in one snapshot. Its end is the end of the ledger unless there is MORE. */
static int inspect_page(struct inspection *i, bool is_first)
{
	struct queue_ledger_ends *ends = &i->verdict->ends;
	int result = queue_store_ledger_ends(i->reader->store, ends, i->err);

	if (result == 0 && is_first)
		result = judge_first(i);
	if (is_first || i->at.row < ends->anchor.row)
		i->at = ends->anchor;
	if (result == 0)
		result = queue_store_ledger_walk(i->reader->store, &i->at, WALK_ROWS, judge_break,
						 i, i->err);
	if (result == 0)
		result = judge_last(i);
	if (result == 0)
		result = judge_note(i);
	return result;
}

int queue_reader_verify(struct queue_reader *r, const struct queue_ledger_link *noted,
			void (*show)(void *arg, const struct queue_ledger_entry *gap), void *arg,
			struct queue_ledger_verdict *ret, struct error *err)
{
	struct inspection i = {
		.reader = r,
		.noted = noted,
		.show = show,
		.arg = arg,
		.verdict = ret,
		.err = err,
	};
	int result = QUEUE_STORE_MORE;

	*ret = (struct queue_ledger_verdict){ .fault = QUEUE_LEDGER_SOUND };
	for (bool is_first = true; result == QUEUE_STORE_MORE; is_first = false) {
		result = queue_store_snapshot_begin(r->store, err);
		if (result < 0)
			return result;
		result = inspect_page(&i, is_first);
		queue_store_snapshot_end(r->store);
	}
	return MIN(result, 0);
}
