/*
 * reader - looking at a queue from another process, while a server runs or not
 *
 * Opens the database read-only. Reads are short, since a reader that stays
 * open keeps the write-ahead log from shrinking: what is shown was read in
 * steps, each of which is one state of the queue.
 */
#pragma once

#include "base/cleanup.h"
#include "queue/action.h"
#include "queue/ledger.h"
#include "queue/message.h"

struct queue_reader;

enum queue_reader_outcome {
	QUEUE_READER_NOT_FOUND = 1,
};

/* directory as in queue_options. -ENOENT: there is no queue yet. */
int queue_reader_open(const char *directory, struct queue_reader **ret_reader, struct error *err);
void queue_reader_close(struct queue_reader *r);
DEFINE_CLEANUP(struct queue_reader *, queue_reader_close);

/*
 * Which messages somebody works on, in ascending order (struct queue_active of
 * a running server), and what time it is: without this nobody is active. The
 * ids stay the caller's, and are used until the reader is closed.
 */
void queue_reader_set_active(struct queue_reader *r, const int64_t *ids, size_t count,
			     int64_t now_ms);

/* Whether somebody works on the recipient. Its status is then shown as "active". */
bool queue_reader_is_active(const struct queue_reader *r, const struct queue_message *m,
			    const struct queue_recipient *recipient);

/*
 * Oldest first. The message has no body (NULL), only recipients that are not
 * done and that the filter names (NULL: all), and is valid during the call.
 * Stops at non-zero, and returns it. Messages that are damaged are left out;
 * then -EBADMSG comes at the end.
 */
int queue_reader_list(struct queue_reader *r, const struct queue_filter *filter,
		      int (*visit)(void *arg, const struct queue_message *m), void *arg,
		      struct error *err);

/*
 * One message, done recipients included, with its body, which is NULL when it
 * is damaged. The caller frees it before the reader is closed. 0, NOT_FOUND,
 * or an error.
 */
int queue_reader_load(struct queue_reader *r, int64_t id, struct queue_message **ret_message,
		      struct error *err);

/* What is not done yet for one next hop, in one state. */
struct queue_stats {
	const char *next_hop; /* of the last attempt; "": there was none */
	enum queue_status status;
	int64_t recipients, messages; /* a message counts wherever one of its recipients does */
	int64_t active;		      /* of the recipients */
	int64_t oldest_ms;	      /* arrival of the oldest of these messages */
	int64_t next_due_ms;	      /* the first next attempt; INT64_MAX: all are held */
	const char
		*reason; /* of the last attempt of the oldest: "4.4.1 TEXT"; "": there was none */
};

/* In the order of next hops, then states. Stops at non-zero, and returns it. */
int queue_reader_stats(struct queue_reader *r,
		       int (*visit)(void *arg, const struct queue_stats *stats), void *arg,
		       struct error *err);

/*
 * What the ledger has of one message, oldest first, also when it is gone from
 * the queue; all is valid during the call. Stops at non-zero, and returns it.
 */
int queue_reader_history(struct queue_reader *r, int64_t id,
			 int (*visit)(void *arg, const struct queue_ledger_entry *entry), void *arg,
			 struct error *err);

/* Which attempts somebody wants to see. */
struct queue_ledger_filter {
	int64_t since_ms;
	bool in_clear;		    /* only those */
	struct queue_filter filter; /* sender, recipient, next_hop and statuses of it */
};

/* Attempts, oldest first; all is valid during the call. Stops at non-zero, and returns it. */
int queue_reader_ledger(struct queue_reader *r, const struct queue_ledger_filter *filter,
			int (*visit)(void *arg, const struct queue_ledger_entry *entry), void *arg,
			struct error *err);

/*
 * The last messages, up to max, that the ledger knows from an address or to
 * it; newest first. Returns their number.
 */
int queue_reader_ledger_messages(struct queue_reader *r, const char *address, int64_t *ids, int max,
				 struct error *err);

enum queue_ledger_fault {
	QUEUE_LEDGER_SOUND,
	QUEUE_LEDGER_CHANGED, /* row first, or the end of the ledger before it */
	QUEUE_LEDGER_MISSING, /* rows first to last */
	QUEUE_LEDGER_ADDED,   /* row first, by another than the queue */
};

enum queue_ledger_note {
	QUEUE_NOTE_NONE, /* nothing was noted */
	QUEUE_NOTE_FOUND,
	QUEUE_NOTE_DIFFERS, /* the row has another hash now */
	QUEUE_NOTE_MISSING, /* there is no such row yet, or any more */
	QUEUE_NOTE_EXPIRED, /* the row has gone, as it may */
};

struct queue_ledger_verdict {
	enum queue_ledger_fault fault; /* the first there is */
	int64_t fault_first, fault_last;
	int64_t unchained;	       /* that are older than the chain, and so prove nothing */
	struct queue_ledger_ends ends; /* as they were in the end */
	int64_t gaps;		       /* that were recorded when a damaged database was mended */
	enum queue_ledger_note note;
};

/*
 * Follow the chain from the first row to the last. noted: an end that somebody
 * has written down before; NULL: none. show() gets the record of each gap.
 */
int queue_reader_verify(struct queue_reader *r, const struct queue_ledger_link *noted,
			void (*show)(void *arg, const struct queue_ledger_entry *gap), void *arg,
			struct queue_ledger_verdict *ret, struct error *err);
