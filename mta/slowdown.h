/*
 * slowdown - who has failed to log in waits before the next attempt is judged
 *
 * Failures are counted for each address (an IPv6 network of 64 bits) and for
 * each account, known or not, in all workers together, and forgotten by half
 * every five minutes. The first few cost nothing, as people mistype; then attempts from one
 * address are judged one at a time, and the time between them doubles up to a
 * limit. Attempts at one account from anywhere wait less, as its owner is among
 * those who wait. So that nobody locks others out, who has logged in to an
 * account from an address waits there for neither: of those the failures of
 * just this pair count.
 *
 * All memory is taken at the start: who fails with many names, or from many
 * addresses, drives out what has failed least. Names are kept as keyed hashes.
 * Safe on all threads; times are of a monotonic clock, in milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"
#include "net/address.h"

struct slowdown;

struct slowdown *slowdown_new(void);
void slowdown_free(struct slowdown *slowdown); /* NULL is fine */

struct slowdown_attempt {
	const struct net_address
		*address;     /* NULL: one whose failures are not its own, as a webmail's */
	struct slice account; /* folded, completed: one spelling for one account */
	int64_t limit_ms;     /* the longest time between two attempts; 0: no slowing */
};

#define SLOWDOWN_REFUSED (-1)

/*
 * How long to wait before the attempt is judged, or SLOWDOWN_REFUSED: so many
 * others of this address wait that it would be longer than four limits; the
 * client is to come back later. The time is set aside for this attempt.
 */
int64_t slowdown_wait(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
		      int64_t now_ms);

/* What became of it. */
void slowdown_failed(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
		     int64_t now_ms);
void slowdown_succeeded(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
			int64_t now_ms);
