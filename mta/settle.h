/*
 * settle - what has become of a delivery goes to the log, the ledger and the
 * queue, and a notification to the sender when there is bad news
 *
 * Nothing is lost when the queue cannot write (a full disk): the record is
 * tried again until it can, or until the server has no more time.
 */
#pragma once

#include "mta/delivery.h"

struct settler;

struct settler *settler_new(struct mta_worker *worker);
void settler_free(struct settler *settler); /* must be idle */

/* Takes over d, all of whose recipients have a status; its owner gets it back settled. */
void settler_add(struct settler *settler, struct delivery *d);

/* Try no record again that fails, or has failed: such a delivery is dropped. */
void settler_abort(struct settler *settler);

/* Deliveries that have not come back yet. */
unsigned int settler_pending(const struct settler *settler);
