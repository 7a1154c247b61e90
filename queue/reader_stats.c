/*
 * reader_stats - sums over the queue, and the history of a message
 *
 * Statistics read the recipients' whole table once, which takes a fifth of a
 * second for a million; so no index has to be kept for them. A message's rows
 * are next to each other: it is new to a group unless it was the last there.
 */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "queue/private.h"
#include "queue/reader_private.h"

#define PENDING_STATUSES (QUEUE_HELD + 1)
#define PAGE_ROWS	 256

struct group {
	struct queue_stats stats;
	int64_t oldest_id, last_id;
};

/* All groups of one next hop. */
struct hop {
	struct group groups[PENDING_STATUSES];
};

struct sums {
	struct strmap hops; /* struct hop */
	struct arena arena;
};

static struct hop *find_hop(struct sums *sums, const char *next_hop)
{
	struct slice key = slice_from(next_hop);
	struct hop *hop = strmap_get(&sums->hops, key);

	if (hop)
		return hop;
	hop = arena_alloc(&sums->arena, sizeof(*hop));
	for (int i = 0; i < PENDING_STATUSES; i++)
		hop->groups[i].stats = (struct queue_stats){
			.next_hop = arena_strdup(&sums->arena, next_hop),
			.status = (enum queue_status)i,
			.next_due_ms = QUEUE_NEVER,
		};
	strmap_put(&sums->hops, key, hop);
	return hop;
}

static void add_row(const struct queue_reader *r, struct sums *sums,
		    const struct queue_stats_row *row)
{
	struct group *g = &find_hop(sums, row->next_hop)->groups[row->status];

	if (g->stats.recipients++ == 0)
		g->oldest_id = row->id; /* ids grow with time */
	if (g->last_id != row->id)
		g->stats.messages++;
	g->last_id = row->id;
	if (row->status != QUEUE_HELD)
		g->stats.next_due_ms = MIN(g->stats.next_due_ms, row->due_ms);
	g->stats.active += queue_activity_has(&r->activity, row->id, row->status, row->due_ms);
}

static int add_all(struct queue_reader *r, struct sums *sums, struct error *err)
{
	struct queue_stats_row row;
	int result = queue_store_stats_begin(r->store, err);

	if (result < 0)
		return result;
	while ((result = queue_store_stats_next(r->store, &row, err)) > 0)
		add_row(r, sums, &row);
	queue_store_stats_end(r->store);
	return result;
}

static int look_at_oldest(struct queue_reader *r, struct sums *sums, struct group *g,
			  struct error *err)
{
	int result = queue_store_arrived(r->store, g->oldest_id, &g->stats.oldest_ms, err);

	if (result < 0)
		return result;
	return queue_store_reason(r->store, g->oldest_id, g->stats.status, g->stats.next_hop,
				  &sums->arena, &g->stats.reason, err);
}

static int find_oldest(struct queue_reader *r, struct sums *sums, struct error *err)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;
	int result;

	while ((entry = strmap_next(&sums->hops, &cursor)) != NULL) {
		struct hop *hop = entry->value;

		for (int i = 0; i < PENDING_STATUSES; i++) {
			struct group *g = &hop->groups[i];

			if (g->stats.recipients == 0)
				continue;
			result = look_at_oldest(r, sums, g, err);
			if (result < 0)
				return result;
		}
	}
	return 0;
}

static int collect(struct queue_reader *r, struct sums *sums, struct error *err)
{
	int result = queue_store_snapshot_begin(r->store, err);

	if (result < 0)
		return result;
	result = add_all(r, sums, err);
	if (result == 0)
		result = find_oldest(r, sums, err);
	queue_store_snapshot_end(r->store);
	return result;
}

static int compare_hops(const void *a, const void *b)
{
	const struct hop *const *left = a, *const *right = b;

	return strcmp((*left)->groups[0].stats.next_hop, (*right)->groups[0].stats.next_hop);
}

static int show(const struct sums *sums, int (*visit)(void *arg, const struct queue_stats *stats),
		void *arg)
{
	const struct hop **hops = memory_new(MAX(sums->hops.count, 1) * sizeof(const struct hop *));
	const struct strmap_entry *entry;
	size_t cursor = 0, count = 0;
	int result = 0;

	while ((entry = strmap_next(&sums->hops, &cursor)) != NULL)
		hops[count++] = entry->value;
	qsort(hops, count, sizeof(*hops), compare_hops);
	for (size_t i = 0; i < count * PENDING_STATUSES && result == 0; i++) {
		const struct group *g = &hops[i / PENDING_STATUSES]->groups[i % PENDING_STATUSES];

		if (g->stats.recipients > 0)
			result = visit(arg, &g->stats);
	}
	free(hops);
	return result;
}

int queue_reader_stats(struct queue_reader *r,
		       int (*visit)(void *arg, const struct queue_stats *stats), void *arg,
		       struct error *err)
{
	struct sums sums = { 0 };
	int result = collect(r, &sums, err);

	if (result == 0)
		result = show(&sums, visit, arg);
	strmap_done(&sums.hops);
	arena_done(&sums.arena);
	return result;
}

/* ---- history ---- */

struct attempts {
	struct queue_ledger_entry entries[PAGE_ROWS];
	int count;
	struct arena arena;
};

static int load_attempts(struct queue_reader *r, int64_t id, int64_t after, struct attempts *page,
			 struct error *err)
{
	struct queue_ledger_entry entry;
	int result = queue_store_history_begin(r->store, id, after, err);

	page->count = 0;
	arena_reset(&page->arena);
	if (result < 0)
		return result;
	while (page->count < PAGE_ROWS &&
	       (result = queue_store_history_next(r->store, &entry, err)) > 0) {
		queue_ledger_keep(&page->arena, &entry);
		page->entries[page->count++] = entry;
	}
	queue_store_history_end(r->store);
	return MIN(result, 0);
}

int queue_reader_history(struct queue_reader *r, int64_t id,
			 int (*visit)(void *arg, const struct queue_ledger_entry *entry), void *arg,
			 struct error *err)
{
	struct attempts *page = memory_zeroed(sizeof(*page));
	int64_t after = 0;
	int result;

	do {
		result = load_attempts(r, id, after, page, err);
		for (int i = 0; i < page->count && result == 0; i++) {
			after = page->entries[i].number;
			result = visit(arg, &page->entries[i]);
		}
	} while (result == 0 && page->count == PAGE_ROWS);
	arena_done(&page->arena);
	free(page);
	return result;
}
