/* salvage_log - the write-ahead log of a database, read without SQLite */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define QUEUE_PAGE_SIZE 4096

struct queue_frame {
	uint32_t page;
	uint32_t size_after; /* of the database in pages, where it ends a commit; else 0 */
	bool is_good;	     /* its checksum is right */
};

struct queue_log {
	int fd; /* -1: there is none */
	struct queue_frame *frames;
	size_t count; /* up to the end of the last commit that counts */

	/*
	 * SQLite would read less of it than was committed. A commit that a power cut
	 * has torn is no damage: nobody was told that it was stored.
	 */
	bool is_damaged;
};

/* No file is an empty log. *ret is released by queue_log_done(), also after an error. */
int queue_log_open(const char *path, struct queue_log *ret, struct error *err);
void queue_log_done(struct queue_log *log);

/* The page of a frame. Returns whether it could be read. */
bool queue_log_read(const struct queue_log *log, size_t frame, unsigned char ret[QUEUE_PAGE_SIZE]);
