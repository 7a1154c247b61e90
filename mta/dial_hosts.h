/*
 * dial_hosts - the hosts of one next hop as the dialler tries them: those of
 * equal preference together, as candidates with an address and a TLS policy
 *
 * Where one of them is this very server, it and all that are not preferred to
 * it are left out (RFC 5321 section 5.1: mail goes towards the best host,
 * never back). What cannot be tried is told with a status.
 */
#pragma once

#include "mta/self.h"
#include "transport/dane.h"

struct dial_hosts;

struct dial_candidate {
	const char *host;
	struct net_address address; /* with the port of the hop */
	const struct tls_policy *policy;
	bool is_tried;
};

struct dial_hosts_options {
	struct loop *loop;
	struct dns *dns;
	const struct transport_route *route;
	const struct transport_hop *hop;
	struct self self;
};

/* Called from the loop, each as the last thing that its caller does. */
struct dial_hosts_events {
	/* These are next; there may be none. Valid until dial_hosts_next() or dial_hosts_free(). */
	void (*ready)(void *arg, struct dial_candidate *candidates, size_t count);

	/* host: NULL where it is the hop as a whole that failed. More comes. */
	void (*failed)(void *arg, const char *host, const struct smtp_status *why);

	/* There are no more. */
	void (*over)(void *arg);
};

struct dial_hosts *dial_hosts_new(const struct dial_hosts_options *options,
				  const struct dial_hosts_events *events, void *arg);
void dial_hosts_free(struct dial_hosts *h); /* from anywhere; NULL is fine */

/* ready() or over() follows, and not before this has returned. */
void dial_hosts_next(struct dial_hosts *h);
