/*
 * bodies - the directory of bodies that are too large for the database
 *
 *	bodies/X/ID	X: the last digit of the ID, so that each of the 16
 *			directories holds an equal share
 *
 * A file is complete and synced, and its directory too, before the row that
 * names it is committed; it is removed after the row's removal was committed.
 * So a file without a row is rubbish, and a row without a file is damage.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "queue/message.h"
#include "queue/room.h"

struct queue_bodies {
	int fd;			       /* of bodies/; -1: there is none */
	size_t memory_max;	       /* larger bodies go to files */
	const struct queue_room *room; /* for new files; NULL: nobody makes any */
};

/*
 * Open DIRECTORY/bodies, creating what is missing. *ret was set up by the caller
 * with fd -1 and its room, and is closed by queue_bodies_done().
 */
int queue_bodies_open(const char *directory, size_t memory_max, struct queue_bodies *ret,
		      struct error *err);

/* For readers: creates nothing; no directory is no error. */
int queue_bodies_open_existing(const char *directory, struct queue_bodies *ret, struct error *err);
void queue_bodies_done(struct queue_bodies *b);

/* Open the file of a message, to write a new one or to read. Returns a descriptor or an error. */
int queue_bodies_create_file(const struct queue_bodies *b, int64_t id, struct error *err);
int queue_bodies_open_file(const struct queue_bodies *b, int64_t id, struct error *err);

/* Make the name of a new file durable. */
int queue_bodies_sync_name(const struct queue_bodies *b, int64_t id, struct error *err);

/* Whether the file is there and has this size. Returns 0, or -EBADMSG where it is not so. */
int queue_bodies_check_file(const struct queue_bodies *b, int64_t id, uint64_t size,
			    struct error *err);

/* Remove a file; that there is none is fine. */
int queue_bodies_remove_file(const struct queue_bodies *b, int64_t id, struct error *err);

/* Call visit for each file; it stops at the first negative result. */
int queue_bodies_each(const struct queue_bodies *b,
		      int (*visit)(void *arg, int64_t id, struct error *err), void *arg,
		      struct error *err);

/* A full disk has several names; callers test for -ENOSPC alone. */
int queue_errno(int number);
