/* store_sql - what store.c, which writes, and load.c, which reads, share */
#pragma once

#include "base/buf.h"
#include "base/macros.h"
#include "queue/sql.h"
#include "queue/store.h"

enum store_statement {
	STORE_BEGIN,
	STORE_BEGIN_READ,
	STORE_COMMIT,
	STORE_ROLLBACK,
	STORE_STATE_LOAD,
	STORE_STATE_SAVE,
	STORE_OLDEST,
	STORE_MESSAGE_INSERT,
	STORE_BODY_INSERT,
	STORE_RECIPIENT_INSERT,
	STORE_RECIPIENT_UPDATE,
	STORE_RECIPIENTS_LEFT,
	STORE_RECIPIENTS_HOLD,
	STORE_MESSAGE_DUE,
	STORE_MESSAGE_DELETE,
	STORE_BODY_DELETE,
	STORE_PENDING_DELETE,
	STORE_RECIPIENTS_DELETE,
	STORE_SCAN_SAME,
	STORE_SCAN_LATER,
	STORE_SCAN_WAITING,
	STORE_MESSAGE_LOAD,
	STORE_RECIPIENTS_LOAD,
	STORE_BODY_LOAD,
	STORE_LIST,
	STORE_HAS_FILE,
	STORE_STATEMENTS, /* their number */
};

/* Prepared when they are first needed. */
enum store_late_statement {
	STORE_LATE_PENDING,
	STORE_LATE_CHANGE,
	STORE_LATE_STATS,
	STORE_LATE_ARRIVED,
	STORE_LATE_REASON,
	STORE_LATE_LEDGER_INSERT,
	STORE_LATE_LEDGER_DELETED,
	STORE_LATE_HISTORY,
	STORE_LATE_LEDGER_ENDS,
	STORE_LATE_LEDGER_WALK,
	STORE_LATE_LEDGER_GAP,
	STORE_LATE_LEDGER_COUNT,
	STORE_LATE_LEDGER_FIND,
	STORE_LATE_LEDGER_BLOCK,
	STORE_LATE_LEDGER_SENDER,
	STORE_LATE_LEDGER_RECIPIENT,
	STORE_LATE_LEDGER_LAST_OLD,
	STORE_LATE_LEDGER_EXPIRE,
	STORE_LATE_BLOCK_LAST,
	STORE_LATE_BLOCK_ROWS,
	STORE_LATE_BLOCK_INSERT,
	STORE_LATE_BLOCK_LOAD,
	STORE_LATE_BLOCK_EXPIRE,
	STORE_LATE_STATEMENTS, /* their number */
};

struct queue_store {
	struct sql sql;
	struct sqlite3_stmt *late[STORE_LATE_STATEMENTS]; /* NULL: not needed yet */
	struct queue_counts counts, committed;
	int64_t ids_mark, committed_ids_mark;
	struct queue_ledger_ends ledger, committed_ledger;
	struct buf chain; /* what is being hashed */
	struct sqlite3_stmt *ledger_query;
	struct queue_due scan_after; /* where the scan began */
	bool scan_is_later;	     /* beyond the due time where it began */
};

int queue_store_prepare_late(struct queue_store *s, enum store_late_statement which,
			     const char *text, struct sqlite3_stmt **ret, struct error *err);

/* store_ledger.c: the row of an outcome that has one. */
int queue_store_ledger_attempt(struct queue_store *s, const struct queue_message *m,
			       const struct queue_outcome *o, struct error *err);

/* ledger_row, ledger_hash, anchor_row, anchor_hash and anchor_ms, from a column on. */
void queue_store_ledger_read_ends(struct sqlite3_stmt *st, int column,
				  struct queue_ledger_ends *ret);

/* A row whose columns are those of QUEUE_LEDGER_NAMES. 1, or -EBADMSG. */
int queue_store_ledger_read(struct sqlite3_stmt *st, struct queue_ledger_entry *ret,
			    struct error *err);

/* store_blocks.c: forget the blocks in front of the one with this row. */
int queue_store_blocks_expire(struct queue_store *s, int64_t row, struct error *err);
