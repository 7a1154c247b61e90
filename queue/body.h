/* body - what the other files of the queue do with a body; message.h has the rest */
#pragma once

#include "queue/bodies.h"

struct queue_body {
	const struct queue_bodies *bodies;
	int64_t id;
	struct buf memory; /* all bytes, or in a file: those that it does not have yet */
	uint64_t size;
	uint64_t checksum; /* XXH3 of all bytes, once finished */
	bool is_finished, in_file;
	bool is_stored; /* a row names the file, so it is not the message's to remove */
	int fd;		/* of the file while it is written, else -1 */
	void *state;	/* of the checksum while the file is written */
};

/* An empty body to write. bodies must outlive it. */
struct queue_body *queue_body_new(const struct queue_bodies *bodies, int64_t id);
void queue_body_free(struct queue_body *b);

/*
 * A body that is stored already: size and checksum are what they should be.
 * -EBADMSG where the bytes, or the file, are found to differ.
 */
int queue_body_load_memory(const struct queue_bodies *bodies, int64_t id, uint64_t checksum,
			   struct slice bytes, struct queue_body **ret_body, struct error *err);
int queue_body_load_file(const struct queue_bodies *bodies, int64_t id, uint64_t size,
			 uint64_t checksum, struct queue_body **ret_body, struct error *err);
