/*
 * intake - takes what waits in the drop directory, as messages for the queue
 *
 * Three steps, of which the first and the last block: collect() takes files
 * and makes messages of them, the caller appends each to the queue, and
 * remove() removes the files of those that the queue has. A crash anywhere
 * between loses nothing and doubles nothing: a file is first renamed to the
 * id that its message will have, so it can be told whether the queue got it.
 */
#pragma once

#include <sys/types.h>

#include "mta/mta.h"

#define INTAKE_MAX	 64   /* messages of one round */
#define INTAKE_FILES_MAX 1024 /* new files, with those that are none: a stop waits for the round */

struct intake_item {
	struct queue_message *message; /* the caller's */
	int64_t id;
	uid_t uid;	/* of whoever has put it there */
	bool is_stored; /* the caller's: the queue has it */
};

struct intake {
	struct intake_item items[INTAKE_MAX];
	unsigned int count;
	unsigned int files; /* that were taken, whatever came of them */
	bool has_more;	    /* a further round at once will find something */
	bool has_delay;	    /* something could not be taken now: recover later */
	/* set by the caller: */
	bool has_waited_long; /* what is delayed may be logged again */
	bool sweeps;	      /* look for what was left by those who died while they wrote */
};

enum intake_kind {
	INTAKE_NEW,	/* what was put into the directory since */
	INTAKE_RECOVER, /* what was taken before, by a process that crashed, or could not be stored */
};

/*
 * ret is zeroed, but for what the caller sets. No other intake of this directory may
 * be under way. What cannot be used is put aside, with a line in the log. An
 * error concerns the directory as a whole: -ENOENT where there is none.
 */
int intake_collect(const struct mta_options *options, enum intake_kind kind, struct intake *ret,
		   struct error *err);

/* Remove the files of what is stored. The others stay for INTAKE_RECOVER. */
void intake_remove(const struct mta_options *options, const struct intake *intake);

/* Frees the messages that are still there. */
void intake_done(struct intake *intake);
