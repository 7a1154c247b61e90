/*
 * self - whether a connection would lead to this very server
 *
 * Mail that is sent there comes back, and goes round until its hops are
 * counted. Asked before connecting, of names and addresses that DNS or a
 * route has; what stands between (a NAT's outer address) is not seen.
 */
#pragma once

#include "mta/mta.h"

struct self {
	const char *hostname;		    /* myhostname */
	const struct mta_service *services; /* descriptors do not matter here */
	unsigned int service_count;
};

struct self self_of(const struct mta_options *options);

/* A mail exchanger with our name is us, whatever its address. */
bool self_has_name(const struct self *self, const char *name);

/* Whether one of our listeners answers there; the address has a port. */
bool self_answers_at(const struct self *self, const struct net_address *address);
