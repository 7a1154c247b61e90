/* schema - the tables of the queue database, and whether a database is one that we know */
#pragma once

#include "queue/sql.h"

/* Create the tables in an empty database, and set what a writer's connection needs. */
int queue_schema_prepare(struct sql *sql, struct error *err);

/*
 * Whether the database is a queue that this version understands. Returns 0;
 * -ENOENT when it is still empty; -EPROTONOSUPPORT when a newer version made it.
 */
int queue_schema_check(struct sql *sql, struct error *err);
