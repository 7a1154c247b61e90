/*
 * networks - mynetworks: clients that are trusted for their address alone
 */
#pragma once

#include "maps/map.h"
#include "net/address.h"

struct networks {
	const struct net_prefix *prefixes;
	unsigned int count;
	struct maps *maps; /* NULL: none. Asked for the address, without brackets */
};

/* MAP_FOUND, MAP_NOT_FOUND, or an error: then nobody knows. */
int networks_have(const struct networks *networks, const struct net_address *address,
		  struct error *err);
