/*
 * listen - where to accept connections: "smtp://192.0.2.1:25 submissions://[::1]:465"
 */
#pragma once

#include "base/arena.h"
#include "mta/mta.h"

struct config_listener {
	enum mta_service_kind kind;
	struct net_address address; /* port 0: any free one */

	/*
	 * The IPv6 half of "*", behind its IPv4 half. A host without IPv6 does
	 * without it; when the port is 0, it should have that of the other half.
	 */
	bool is_second_half;
};

/*
 * Parse a list, separated by commas or white space. A port that is left out
 * is the usual one of its service. The array belongs to the arena.
 */
int config_listen_parse(struct slice text, struct arena *arena,
			const struct config_listener **ret_listeners, unsigned int *ret_count,
			struct error *err);

/* Whether such a listener is of no use without a certificate, or without accounts. */
bool config_listen_needs_tls(enum mta_service_kind kind);
bool config_listen_needs_accounts(enum mta_service_kind kind);
