/*
 * pickup - the drop directory of a running server: what programs of this host
 * leave there by `sendmail` is queued at once
 *
 * One worker has it. It hears of new files by the kernel, and looks once a
 * second in case that it does not.
 */
#pragma once

#include "mta/worker.h"

struct pickup;

/* Of the worker's options->drop_directory. NULL where they name none. */
struct pickup *pickup_new(struct mta_worker *worker);
void pickup_free(struct pickup *pickup); /* must be idle; NULL is fine, here and below */

/* On the worker's thread: take what waits, and what comes. */
void pickup_start(struct pickup *pickup);

/* Take nothing more. What has been taken is queued; idle() says when it is. */
void pickup_stop(struct pickup *pickup);
bool pickup_is_idle(const struct pickup *pickup);
