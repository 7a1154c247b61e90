/*
 * salvage_mend - make a queue again of the rows that were saved
 *
 * Rows of one message may be there in part. What is proved to be done leaves;
 * what is whole is delivered; what is missing is put in place, and waits for
 * the operator.
 */
#pragma once

#include "base/buf.h"
#include "queue/bodies.h"
#include "queue/salvage_rows.h"
#include "queue/salvage_tables.h"

/* Of the connection: messages of which rows may be old copies. */
#define QUEUE_MEND_TEMPORARY "CREATE TEMP TABLE uncertain (id INTEGER PRIMARY KEY);"

/* Ids and rows of the ledger; nobody counts that far. */
#define QUEUE_MEND_KEY_MAX (INT64_MAX / 2)

struct queue_mend {
	struct sql *sql; /* in a transaction */
	struct queue_tables *tables;
	const struct queue_bodies *bodies;
	int64_t ids_mark, now_ms;
	struct buf doubtful; /* int64_t: messages that may have had more recipients */
	struct queue_salvaged *result;
};

int queue_mend(struct queue_mend *mend, struct error *err);
