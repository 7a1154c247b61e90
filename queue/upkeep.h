/*
 * upkeep - what the queue's thread does for its files, beside writing mail
 *
 * The log is moved into the database, body files of removed messages go, free
 * pages return to the file system, and the room on the disk is watched. All
 * of it on the queue's thread.
 */
#pragma once

#include "queue/thread.h"

/* Before the database is opened: look how much room there is, and have a ballast. */
int queue_upkeep_open_room(struct queue *q, const struct queue_options *options, struct error *err);

/* And behind it: the ballast must suffice for the log and what is made of it. */
void queue_upkeep_start(struct queue *q);

/* Open the database; one that is damaged is salvaged first. */
int queue_upkeep_open_store(struct queue *q, struct error *err);

/* Whether a request that found damage (-EUCLEAN) may have it repaired: not too often. */
bool queue_upkeep_may_recover(const struct queue *q);

/*
 * A request has failed with r: repair the database if that is why. True: the
 * request is worth another try.
 */
bool queue_upkeep_recover(struct queue *q, int r, const struct error *err);

/* Before requests are served: whether there is a database. */
bool queue_upkeep_has_store(struct queue *q, struct error *err);

/* A write has failed with r, in its commit or before. */
void queue_upkeep_failed(struct queue *q, int r, bool in_commit);

/*
 * Before a write. After a commit that could not be synced nothing is written
 * until the log was renewed; then this is an error.
 */
int queue_upkeep_prepare(struct queue *q, struct error *err);

/* Behind a batch, when its completions have been handed out. */
void queue_upkeep_after(struct queue *q);

/* Once a second at most, whether there is work or not. */
void queue_upkeep_look(struct queue *q);

/* A few rows of the ledger that are too old go, and those of full blocks are noted; the same. */
void queue_upkeep_ledger(struct queue *q);

/* When nothing has come for a while. Returns whether there is more to do. */
bool queue_upkeep_idle(struct queue *q);
