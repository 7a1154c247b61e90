/* schema - the tables of the queue database, and whether a database is one that we know */
#pragma once

#include "queue/sql.h"

#define QUEUE_APPLICATION_ID 1349481332 /* "Post" */

/*
 * Create the tables in an empty database, or bring those of an older version
 * up to ours, and set what a writer's connection needs.
 */
int queue_schema_prepare(struct sql *sql, struct error *err);

/*
 * For readers: whether the database is a queue of our version. Returns 0;
 * -ENOENT when it is still empty; -EPROTONOSUPPORT when another version made it.
 */
int queue_schema_check(struct sql *sql, struct error *err);
