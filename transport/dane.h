/*
 * dane - the addresses of a host of a next hop, and the TLS policy as it holds there
 *
 * At levels dane and dane-only the policy of a route is what DNS says of each
 * host (RFC 7672 section 2.2): asked at _PORT._tcp.HOST, of the name that the
 * host is an alias for first, and only where its addresses are signed, and
 * where there was an MX record, that as well. At other levels this looks up
 * addresses, and no more.
 *
 *	signed records that can be used		dane: the peer is verified by them
 *	signed records, and none can be used	dane is encrypt
 *	none, or not signed			dane is may; encrypt with implicit TLS
 *	no answer, or one with bad signatures	mail waits
 *
 * Where dane would be less dane-only has mail wait.
 */
#pragma once

#include "net/dns.h"
#include "tls/dane.h"
#include "transport/transport.h"

struct transport_found {
	const struct dns_answer
		*addresses; /* valid during the call; none is DNS_FOUND: no policy */
	struct tls_policy policy;

	/* What policy.dane points to, or NULL; the receiver's, to be freed when the policy goes. */
	struct tls_dane *dane;

	/* NULL, or why nothing may be sent there now. Valid during the call. */
	const char *refusal;
};

/*
 * What dane is where DNS has less for a host than it asks for: records of
 * no use, or none. False: mail waits.
 */
enum transport_dane_lack {
	TRANSPORT_DANE_NO_RECORD, /* or none that is signed */
	TRANSPORT_DANE_UNUSABLE,
};

bool transport_dane_level(const struct transport_route *route, enum transport_dane_lack lack,
			  enum tls_level *ret);

struct transport_search;

bool transport_is_dane(const struct transport_route *route);

struct transport_search_options {
	const struct transport_route *route;
	const char *host; /* copied */
	uint16_t port;
	bool is_host_secure; /* the route names it, or MX records that are signed */
};

/* found() is called once, from the loop, and not before this has returned. */
struct transport_search *
transport_search_host(struct dns *dns, const struct transport_search_options *options,
		      void (*found)(void *arg, const struct transport_found *found), void *arg);

/* found() is not called. NULL is fine; inside found() it does nothing. */
void transport_search_cancel(struct transport_search *search);
