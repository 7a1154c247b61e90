/*
 * store - the queue's rows, and all of its SQL
 *
 * The narrow waist of the queue: append, record, scan for due work, load,
 * hold, count. Another database would be another store.c, schema.c and
 * sql.c, and nothing else would change. Used by one thread at a time.
 *
 * Writes happen between begin and commit. After any error the caller rolls
 * back; then everything is as it was at begin, the counts included.
 */
#pragma once

#include "base/cleanup.h"
#include "queue/bodies.h"
#include "queue/claims.h"
#include "queue/queue.h"

struct queue_store;

enum queue_store_outcome {
	QUEUE_STORE_NOT_FOUND = 1,
};

/* path: the database, which may be an empty file when it is opened for writing. -EUCLEAN: damaged. */
int queue_store_open(const char *path, bool read_only, struct queue_store **ret_store,
		     struct error *err);
void queue_store_close(struct queue_store *s);

/* Close one that is damaged: its log stays what it is. */
void queue_store_abandon(struct queue_store *s);
DEFINE_CLEANUP(struct queue_store *, queue_store_close);

int queue_store_begin(struct queue_store *s, struct error *err);
int queue_store_commit(struct queue_store *s, struct error *err);
void queue_store_rollback(struct queue_store *s); /* fine without a transaction */

/* As of the last commit. */
struct queue_counts queue_store_counts(const struct queue_store *s);

/* Where the ledger ends, as of the last commit. */
struct queue_ledger_link queue_store_ledger_head(const struct queue_store *s);

/* No id at or above the mark has ever been used. Setting it takes effect with the commit. */
int64_t queue_store_ids_mark(const struct queue_store *s);
void queue_store_set_ids_mark(struct queue_store *s, int64_t mark);

int queue_store_append(struct queue_store *s, const struct queue_message *m, struct error *err);

struct queue_store_recorded {
	bool removed, is_void; /* as in struct queue_record */
	int64_t due_ms;	       /* of the message; QUEUE_NEVER: none */
};

/* The outcomes and ledger rows of a record, not its notifications. */
int queue_store_record(struct queue_store *s, const struct queue_record *record,
		       struct queue_store_recorded *ret, struct error *err);

/* A recipient that is pending, with what an operator may ask about it and its message. */
struct queue_pending {
	int64_t id, arrived_ms, message_due_ms, size; /* of the message */
	bool in_file;
	const char *sender;
	int64_t position, attempts, due_ms; /* of the recipient */
	enum queue_status status;
	bool is_returning;
	const char *address, *next_hop;
};

/*
 * All that are pending of the messages from first_id to last_id, in order. 1
 * with one, whose texts are valid until the next; 0 at the end.
 */
int queue_store_pending_begin(struct queue_store *s, int64_t first_id, int64_t last_id,
			      struct error *err);
int queue_store_pending_next(struct queue_store *s, struct queue_pending *ret, struct error *err);
void queue_store_pending_end(struct queue_store *s);

/*
 * Store status, due_ms and is_returning of a recipient that was pending; the
 * due time of a message; and take a message away that has none pending left.
 */
int queue_store_change(struct queue_store *s, const struct queue_pending *p, struct error *err);
int queue_store_set_due(struct queue_store *s, int64_t id, int64_t due_ms, struct error *err);
int queue_store_remove(struct queue_store *s, int64_t id, int64_t size, bool in_file,
		       struct error *err);

/* All recipients that are pending wait for the operator. 0, NOT_FOUND, or an error. */
int queue_store_hold(struct queue_store *s, int64_t id, const char *reason, struct error *err);

/* Messages that wait, in the order of (due_ms, id), behind a given one. 1 with one, 0 at the end. */
void queue_store_scan_begin(struct queue_store *s, struct queue_due after);
int queue_store_scan_next(struct queue_store *s, struct queue_due *ret, struct error *err);
void queue_store_scan_end(struct queue_store *s);

/* Messages that wait for this, in the order of ids, behind a given one. 1 with one, 0 at the end. */
void queue_store_waiting_begin(struct queue_store *s, int64_t waits_for, int64_t after_id);
int queue_store_waiting_next(struct queue_store *s, int64_t *ret_id, struct error *err);
void queue_store_waiting_end(struct queue_store *s);

/* Where the body of a message is, and what it should be. */
struct queue_stored_body {
	bool in_file;
	uint64_t size, checksum;
};

/*
 * A message with all of its recipients, but without its body (NULL).
 * NOT_FOUND; -EBADMSG where what was read makes no sense; -EUCLEAN where rows
 * are missing, which may be elsewhere in a damaged database.
 */
int queue_store_load(struct queue_store *s, int64_t id, struct queue_message **ret_message,
		     struct queue_stored_body *ret_body, struct error *err);

/* Its body. -EBADMSG when it is damaged, -EUCLEAN when it is missing. */
int queue_store_load_body(struct queue_store *s, const struct queue_bodies *bodies,
			  const struct queue_stored_body *stored, struct queue_message *m,
			  struct error *err);

/* Up to max ids above after, ascending. Returns their number. */
int queue_store_list(struct queue_store *s, int64_t after, int64_t *ids, int max,
		     struct error *err);

/* 1 when the message exists and has its body in a file, else 0. */
int queue_store_has_file(struct queue_store *s, int64_t id, struct error *err);

/* For statistics: one recipient that is pending, in the order of messages. 1, or 0 at the end. */
struct queue_stats_row {
	int64_t id, due_ms;
	enum queue_status status;
	const char *next_hop; /* valid until the next */
};

int queue_store_stats_begin(struct queue_store *s, struct error *err);
int queue_store_stats_next(struct queue_store *s, struct queue_stats_row *ret, struct error *err);
void queue_store_stats_end(struct queue_store *s);

/* When a message arrived. 0 or NOT_FOUND. */
int queue_store_arrived(struct queue_store *s, int64_t id, int64_t *ret_ms, struct error *err);

/* Why the first of a message's recipients in this state still waits, in the arena; see queue_stats. */
int queue_store_reason(struct queue_store *s, int64_t id, enum queue_status status,
		       const char *next_hop, struct arena *arena, const char **ret_reason,
		       struct error *err);

/* Add a row to the ledger; its number is given to it. */
int queue_store_ledger_add(struct queue_store *s, struct queue_ledger_entry *entry,
			   struct error *err);

/* The row of a recipient that the operator deletes, before it is changed. */
int queue_store_ledger_deleted(struct queue_store *s, int64_t id, int64_t position, int64_t now_ms,
			       struct error *err);

/*
 * Remove the first rows of the ledger, up to one written before a time, at
 * most max of them. *ret_more: there are others. In a transaction.
 */
int queue_store_ledger_expire(struct queue_store *s, int64_t before_ms, int max, bool *ret_more,
			      struct error *err);

/* As they are in the database now. */
int queue_store_ledger_ends(struct queue_store *s, struct queue_ledger_ends *ret,
			    struct error *err);

/*
 * Follow the chain from a link on, for so many rows. broken() is asked where it
 * does not hold: 0 goes on with the row as it is, anything else ends the walk
 * there, and is returned. 0: *at is the last row there is; MORE.
 */
enum { QUEUE_STORE_MORE = 2 };
int queue_store_ledger_walk(struct queue_store *s, struct queue_ledger_link *at, int max,
			    int (*broken)(void *arg, const struct queue_ledger_break *gap),
			    void *arg, struct error *err);

/* The hash of a row as it is stored, 1, or 0: there is no such row. */
int queue_store_ledger_link(struct queue_store *s, int64_t row, struct queue_ledger_link *ret,
			    struct error *err);

/* How many rows there are up to a number. */
int queue_store_ledger_count(struct queue_store *s, int64_t last, int64_t *ret, struct error *err);

/* The record of a gap, if there is one that fits. 1 or 0; its texts are valid until the next. */
int queue_store_ledger_gap(struct queue_store *s, const struct queue_ledger_break *gap,
			   struct queue_ledger_entry *ret, struct error *err);

/*
 * In a database that was put together from what could be read of another one:
 * record where the chain does not hold any more, and go on behind it. ends:
 * those of the other database; NULL: nobody knows them. In a transaction.
 */
int queue_store_ledger_mend(struct queue_store *s, const struct queue_ledger_ends *ends,
			    int64_t now_ms, struct error *err);

/* A row in front of which none was written at or after a time, as far as the clock was right. */
int queue_store_ledger_find(struct queue_store *s, int64_t since_ms, int64_t *ret_row,
			    struct error *err);

/*
 * Note which addresses there are in blocks that are full, at most max of them.
 * Returns how many were. In a transaction.
 */
int queue_store_blocks_note(struct queue_store *s, int max, struct error *err);

/* Whether the block with this row may have an address: 0 means that it has not. */
int queue_store_block_may_have(struct queue_store *s, int64_t row, const char *address,
			       struct error *err);

/*
 * Some rows, in order: attempts with numbers from first on, all or those of a
 * time and in clear; or rows of any kind of the block with the row first that
 * have this address as the sender, or the recipient. 1 with one, whose texts
 * are valid until the next; 0 at the end.
 */
#define QUEUE_LEDGER_PAGE  4096 /* numbers that a query for attempts covers */
#define QUEUE_LEDGER_BLOCK 256	/* and one for an address; blocks begin at multiples of this */

enum queue_ledger_key {
	QUEUE_LEDGER_ANY,
	QUEUE_LEDGER_SENDER,
	QUEUE_LEDGER_RECIPIENT,
};

struct queue_ledger_query {
	int64_t first;
	enum queue_ledger_key key;
	const char *address; /* unless ANY; lives until the end of the query */
	int64_t since_ms;    /* of ANY */
	bool in_clear;	     /* the same */
};

int queue_store_ledger_begin(struct queue_store *s, const struct queue_ledger_query *query,
			     struct error *err);
int queue_store_ledger_next(struct queue_store *s, struct queue_ledger_entry *ret,
			    struct error *err);
void queue_store_ledger_end(struct queue_store *s);

/* Rows of the ledger for one message, behind a given one. 1, or 0 at the end. */
int queue_store_history_begin(struct queue_store *s, int64_t id, int64_t after, struct error *err);
int queue_store_history_next(struct queue_store *s, struct queue_ledger_entry *ret,
			     struct error *err); /* its texts are valid until the next */
void queue_store_history_end(struct queue_store *s);

/* Several reads of one state of the database. */
int queue_store_snapshot_begin(struct queue_store *s, struct error *err);
void queue_store_snapshot_end(struct queue_store *s);

/* Housekeeping, between transactions: frames in the log; free pages returned to the file system. */
int queue_store_log_frames(const struct queue_store *s);
int queue_store_checkpoint(struct queue_store *s, struct error *err);
int queue_store_shrink(struct queue_store *s, int64_t pages_kept, int pages_max, bool *ret_more,
		       struct error *err);

/* The log's file is cut to this size when it begins anew. */
void queue_store_limit_log(struct queue_store *s, int64_t bytes);

/* All that was committed goes into the database, and the log is cut to nothing. */
int queue_store_renew_log(struct queue_store *s, struct error *err);
