/*
 * room - whether the disk has room for more mail, and a reserve for the mail that is there
 *
 * A database needs room to delete too. So the queue directory holds a file,
 * `ballast`, whose blocks are really allocated. When a write finds no room it
 * is given up: then only what makes mail leave is written, and the ballast is
 * made again when there is room for it.
 *
 * While the ballast is gone, or less than minfree_bytes are free, mail is
 * refused. One thread looks, gives up and restores; any thread may ask.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct queue_room {
	int fd; /* of the queue directory */
	uint64_t minfree_bytes, ballast_bytes;
	bool has_ballast;
	int64_t looked_ms;   /* monotonic */
	int64_t patience_ms; /* before the ballast is restored: grows when it did not last */
	int64_t given_up_ms, restored_ms;

	/* for any thread */
	_Atomic uint64_t free_bytes; /* when somebody last looked */
	atomic_bool is_open;	     /* mail may be taken */
	atomic_bool is_spent;	     /* the ballast is gone */
};

enum queue_room_change {
	QUEUE_ROOM_ENDED = 1, /* from here on mail is refused */
	QUEUE_ROOM_BACK,      /* it is taken again */
};

/*
 * Look at the file system of a directory, and make the ballast if there is
 * room for it. ballast_bytes 0: 32 MiB, or an eighth of a smaller file system.
 */
int queue_room_open(const char *directory, uint64_t minfree_bytes, uint64_t ballast_bytes,
		    struct queue_room *ret, struct error *err);
void queue_room_done(struct queue_room *room);

/*
 * Whether a message of this size (0: not known) may be taken. Asks no system:
 * what it knows is a second old at most.
 */
bool queue_room_has(const struct queue_room *room, uint64_t size);

/* Only what makes mail leave may be written now. */
bool queue_room_is_spent(const struct queue_room *room);

int64_t queue_room_now_ms(void); /* the monotonic clock */

/* It is time to look again: once a second. */
bool queue_room_is_due(const struct queue_room *room);

/* Look again; restore the ballast if there is room. Returns 0 or a change. */
int queue_room_look(struct queue_room *room);

/* A write found no room. Returns 0, or ENDED if mail was taken until now. */
int queue_room_give_up(struct queue_room *room);
