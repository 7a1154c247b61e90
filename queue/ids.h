/*
 * ids - numbers for messages, of which none is ever used twice
 *
 * Ids count up from the time of the start in microseconds, or from where the
 * last run stopped if that is later (a clock that was set back). Those that
 * may be handed out are reserved on disk ahead of time, so the ids of a run
 * that crashed are behind the mark that the next run finds.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define QUEUE_IDS_BLOCK 131072 /* reserved at once; an eighth of a second of the clock */

struct queue_ids {
	_Atomic int64_t next;	  /* the id that comes next */
	_Atomic int64_t reserved; /* ids below are covered by the mark on disk */
	atomic_bool wanted;	  /* somebody asked the queue's thread for more */
};

/* mark: the one found on disk, 0 for a new queue. Nothing is reserved yet. */
void queue_ids_init(struct queue_ids *ids, int64_t mark, int64_t wall_ms);

/*
 * The next id; from any thread. *ret_wanted: this caller is the one to wake
 * whoever reserves, as half a block is left. It never waits: an id beyond the
 * mark may be used, and a message with it is stored together with a new mark.
 */
int64_t queue_ids_take(struct queue_ids *ids, bool *ret_wanted);

/* Whether somebody was told to wake us since the last call. */
bool queue_ids_take_wanted(struct queue_ids *ids);

/* The mark to store now, or 0 if enough is reserved. */
int64_t queue_ids_mark_due(const struct queue_ids *ids);

/* The mark is on disk. */
void queue_ids_reserved(struct queue_ids *ids, int64_t mark);

/* The mark that is on disk. */
int64_t queue_ids_mark(const struct queue_ids *ids);
