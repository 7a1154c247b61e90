/*
 * mx - the hosts of a next hop, in the order to try them (RFC 5321 section 5.1)
 *
 * A next hop that is not to be looked up for MX is its own only host. Others
 * have those of their MX records, by preference and shuffled among equals, or
 * where there are none themselves. What the operator has named and /etc/hosts
 * knows is not looked up either: it says where that is.
 */
#pragma once

#include "net/dns.h"
#include "transport/transport.h"

enum transport_hosts_outcome {
	TRANSPORT_HOSTS_FOUND = 1, /* one at least */
	TRANSPORT_HOSTS_NULL_MX,   /* the domain takes no mail (RFC 7505) */
	TRANSPORT_HOSTS_NO_DOMAIN, /* the recipient's domain does not exist */
	TRANSPORT_HOSTS_FAILED,	   /* DNS can't tell now */
};

struct transport_host {
	const char *name; /* or an address, as some write in their MX records */
	unsigned int preference;
};

/* Valid during the call. */
struct transport_hosts {
	enum transport_hosts_outcome outcome;
	const struct transport_host *hosts; /* preferences do not fall */
	size_t count;
	bool is_secure; /* nobody on the way can have chosen them; asked at dane and dane-only */
	const char *reason; /* unless TRANSPORT_HOSTS_FOUND, in words */
};

/* Whether the recipient's domain has led there, and not what the operator says. */
bool transport_is_own_domain(const struct transport_route *route);

struct transport_mx;

/* found() is called once, from the loop, and not before this has returned. */
struct transport_mx *
transport_find_hosts(struct dns *dns, const struct transport_route *route,
		     const struct transport_hop *hop,
		     void (*found)(void *arg, const struct transport_hosts *hosts), void *arg);

/* found() is not called. NULL is fine; inside found() it does nothing. */
void transport_mx_cancel(struct transport_mx *mx);
