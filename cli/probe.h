/*
 * probe - a delivery to one next hop up to where the envelope would come
 *
 * Connects, says EHLO, does the handshake with the client's TLS context and
 * the policy of the route, says QUIT. Addresses of the next hop are tried in
 * order until one would do, as delivery tries them. Sessions are not resumed,
 * so every peer has to show its certificate. Where mail logs in, the server has
 * to offer a mechanism for that; no password is sent to it.
 */
#pragma once

#include "mta/dial.h"
#include "mta/mta.h"
#include "tls/session.h"

struct probe_result {
	bool ok; /* mail would be sent: the policy permits the connection as it was */
	bool encrypted;
	enum tls_level level;	   /* at this next hop: with DANE that is for DNS to say */
	char peer[DIAL_PEER_SIZE]; /* as of the dialler; "": it never came to an address */
	char exchanger[256];	   /* the host that MX has led to; "": the next hop itself */
	struct tls_facts tls;	   /* after a failed handshake: as far as it came */
	struct tls_chain chain;
	char error[600]; /* what is wrong, even where mail would be sent all the same; "" */
};

/*
 * Blocks: for each address at most timeout_ms to connect, and as long again for
 * what follows. Negative: no probe could be
 * made, the fault is here. The result is to be ended in either case.
 */
int probe_next_hop(const struct mta_options *options, const struct transport_route *route,
		   unsigned int hop, bool logs_in, int64_t timeout_ms, struct probe_result *ret,
		   struct error *err);
void probe_result_done(struct probe_result *result);
