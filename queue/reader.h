/*
 * reader - looking at a queue from another process, while a server runs or not
 *
 * Opens the database read-only. Reads are short, since a reader that stays
 * open keeps the write-ahead log from shrinking.
 */
#pragma once

#include "base/cleanup.h"
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
 * Oldest first. The message has no body (NULL), only recipients that are not
 * done, and is valid during the call. Stops at non-zero, and returns it.
 * Messages that are damaged are left out; then -EBADMSG comes at the end.
 */
int queue_reader_list(struct queue_reader *r,
		      int (*visit)(void *arg, const struct queue_message *m), void *arg,
		      struct error *err);

/*
 * One message, done recipients included, with its body, which is NULL when it
 * is damaged. The caller frees it before the reader is closed. 0, NOT_FOUND,
 * or an error.
 */
int queue_reader_load(struct queue_reader *r, int64_t id, struct queue_message **ret_message,
		      struct error *err);
