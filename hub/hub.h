/*
 * hub - the server in the middle: no accounts, forwards for relay_domains
 *
 * Anybody may send to relay_domains; trusted networks, and clients with a
 * certificate of relay_clientcerts, may send anywhere; everything else is
 * refused with 554 5.7.1. So is, from those who may not send anywhere, a local
 * part with a route in it: an "@", "%" or "!". Anybody may also ask by ETRN for what waits for relay_domains.
 */
#pragma once

#include "base/log.h"
#include "maps/map.h"
#include "mta/networks.h"
#include "mta/policy.h"

struct hub;

struct hub_options {
	struct domains *relay_domains;
	struct networks networks; /* mynetworks */
	struct log *log;	  /* for lookups that fail; NULL: silent */
};

/* Domains stay the caller's and outlive the hub. */
int hub_new(const struct hub_options *options, struct hub **ret_hub, struct error *err);
void hub_free(struct hub *hub);

/* The policy of a hub; its arg is the struct hub. */
extern const struct mta_policy hub_policy;
