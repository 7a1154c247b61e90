/*
 * rates - how often clients and users do what has a limit, all workers together
 *
 * What Postfix's anvil counts: events of one key (a client's network, a user)
 * within a time unit that begins with the first of them. Memory is fixed,
 * however many keys there are: where there are more than fit, those with the
 * fewest events are forgotten first, so nobody gets rid of a count by making
 * others. From any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

enum rate_event {
	RATE_CONNECTION,
	RATE_TLS_SESSION, /* new, not resumed */
	RATE_AUTH,
	RATE_MESSAGE,
	RATE_RECIPIENT,
	RATE_EVENTS,
};

struct rates;

struct rates *rates_new(void);
void rates_free(struct rates *rates);

/* Counts one event; returns how many there are now within unit_ms. Times are of the loop's clock. */
unsigned int rates_add(struct rates *rates, struct slice key, enum rate_event event,
		       int64_t unit_ms, int64_t now_ms);

/* The same without counting one. */
unsigned int rates_get(struct rates *rates, struct slice key, enum rate_event event,
		       int64_t now_ms);
