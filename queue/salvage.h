/*
 * salvage - a queue whose database is damaged: what can be read goes into a new one
 *
 * Nobody may have the database open meanwhile but readers. Nothing that was
 * read is lost if we crash: the next start finds the new database whole and
 * takes it, or begins again with the old one.
 */
#pragma once

#include "queue/bodies.h"

struct queue_salvage {
	const char *directory;		   /* of the queue */
	const struct queue_bodies *bodies; /* open */
	int64_t now_ms;
	int64_t ids_mark; /* no id below was unused; 0: only the old database knows */
	void (*warn)(void *arg, const char *text); /* what was lost, and where the old one is */
	void *warn_arg;
};

/* Before the database is opened: finish what a crash has interrupted. */
int queue_salvage_resume(const char *directory, struct error *err);

/*
 * Make a new database, and set the old one aside as queue.db.damaged.TIME. The
 * files of bodies that no message of the new one names are kept, too.
 */
int queue_salvage(const struct queue_salvage *salvage, const char *reason, struct error *err);

/*
 * Before SQLite opens it: -EUCLEAN for damage that it would not see. It would
 * take a damaged log for the end of a whole one, and forget what was committed
 * behind; and use pages of a damaged list of free ones.
 */
int queue_salvage_check(const char *directory, struct error *err);
