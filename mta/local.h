/*
 * local - deliveries to mailboxes of this host, on the thread pool, a few at a time
 */
#pragma once

#include "mta/delivery.h"

struct local;

struct local *local_new(struct mta_worker *worker);
void local_free(struct local *local); /* nothing may wait or run */
void local_push(struct local *local, struct delivery *d);

/* There are new options: what waits is to be routed anew. */
void local_retire(struct local *local);

/* Drop what waits; what runs is finished. */
void local_stop(struct local *local);
