/*
 * bounce - tells a sender what could not be delivered (RFC 3464, in the
 * multipart/report of RFC 6522)
 */
#pragma once

#include "base/error.h"
#include "mta/mta.h"

struct bounce_recipient {
	const struct queue_recipient *recipient;
	const struct smtp_status *status;
	bool by_peer; /* the status is what relay said, "host[ip]:25"; else what we say */
	const char *relay;
	bool expired; /* tried for maximal_queue_lifetime, and the last answer was temporary */
};

/*
 * Make the notification for m, from the null reverse-path to m's sender, who
 * must not be null. It goes to the queue with the outcomes it reports. Blocks:
 * the message may have to be read from disk. The caller owns *ret.
 */
int bounce_compose(const struct mta_options *options, const struct queue_message *m,
		   const struct bounce_recipient *failed, size_t failed_count,
		   struct queue_message **ret, struct error *err);
