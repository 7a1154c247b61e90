/*
 * verify_probe - asks next hops about addresses, by deliveries without a message
 *
 * A probe takes the route that mail would take, with its TLS policy, its login
 * and its connections, through the same lane (mta/lane.h): so a next hop that
 * is down is not asked, and not one byte of a probe goes where mail would not.
 * At most PROBES of a worker are on to one next hop; what is to be asked
 * meanwhile goes together in the next one.
 */
#pragma once

#include "mta/worker.h"

struct prober;
struct verifier;

struct prober *prober_new(struct mta_worker *worker, struct verifier *verifier);
void prober_free(struct prober *p);

/* verifier_conclude() will be called, perhaps before this returns. */
void prober_ask(struct prober *p, const char *address);

/* What has not begun ends, as unknown. */
void prober_stop(struct prober *p);
bool prober_is_idle(const struct prober *p);
