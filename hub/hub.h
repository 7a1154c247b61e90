/*
 * hub - the server in the middle: no accounts, forwards for relay_domains
 *
 * Anybody may send to relay_domains; trusted networks, and clients with a
 * certificate of relay_clientcerts, may send anywhere; everything else is
 * refused with 554 5.7.1. So is, from those who may not send anywhere, a local
 * part with a route in it: an "@", "%" or "!". Anybody may also ask by ETRN for what waits for relay_domains.
 *
 * Where relay_recipient_maps has something in it, recipients in relay_domains
 * that are in none of them are refused with 550 5.1.1, whoever sends: what a hub
 * has taken it must return, and most senders of mail for nobody are forged. For
 * those of relay_domains that are in relay_recipient_verify, too, the next hop is
 * asked (mta/verify.h).
 */
#pragma once

#include "base/log.h"
#include "maps/map.h"
#include "mta/networks.h"
#include "mta/policy.h"

struct hub;

struct hub_options {
	struct domains *relay_domains;
	struct domains *verified_domains;  /* relay_recipient_verify; NULL: nobody is asked for */
	struct maps *relay_recipient_maps; /* NULL: every recipient is taken */
	const char *recipient_delimiter;   /* NULL or "": addresses have no extensions */
	struct networks networks;	   /* mynetworks */
	struct log *log;		   /* for lookups that fail; NULL: silent */
};

/* Domains and maps stay the caller's and outlive the hub. */
int hub_new(const struct hub_options *options, struct hub **ret_hub, struct error *err);
void hub_free(struct hub *hub);

/*
 * The entry of relay_recipient_maps that has the recipient; the domain is not
 * looked at. Keys as in Postfix: the address, the address without its
 * extension, @domain. MAP_FOUND (without maps, too: ret->source is "" then),
 * MAP_NOT_FOUND, or an error.
 */
int hub_find_recipient(struct hub *hub, const char *recipient, struct arena *arena,
		       struct map_result *ret, struct error *err);

/* The policy of a hub; its arg is the struct hub. */
extern const struct mta_policy hub_policy;
