/* expiry - a reminder, once a day, of certificates that end soon */
#pragma once

#include "base/clock.h"
#include "config/config.h"

struct expiry {
	const struct clock *clock;
	int64_t told_ms; /* monotonic: when it was last told */
};

/* The day begins now: the start has told already. */
void expiry_init(struct expiry *e, const struct clock *clock);

/* To be called now and then. */
void expiry_look(struct expiry *e, const struct config *config,
		 void (*report)(void *arg, const struct config_problem *problem), void *arg);
