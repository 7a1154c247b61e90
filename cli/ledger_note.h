/* ledger_note - the end of the ledger goes to the log, where it is out of the database's reach */
#pragma once

#include "base/log.h"
#include "queue/queue.h"

struct ledger_note {
	int64_t noted_ms; /* on the monotonic clock */
	int64_t row;	  /* that was noted last */
};

/* Write a line when the ledger has grown since the last; unless at_once, one an hour. */
void ledger_note_write(struct ledger_note *note, struct queue *queue, struct log *log,
		       bool at_once);

#define LEDGER_LINK_SIZE (20 + 1 + 2 * QUEUE_LEDGER_HASH_SIZE + 1)

/* "17:HEX", as operators note it down; and back, false when it is none. */
void ledger_link_format(const struct queue_ledger_link *link, char out[LEDGER_LINK_SIZE]);
bool ledger_link_parse(const char *text, struct queue_ledger_link *ret);
