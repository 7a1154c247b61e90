/*
 * dane - one question after the other: addresses, TLSA of the alias, TLSA of the host
 *
 * Names that are not signed are not asked for TLSA: some of their servers fail
 * at unknown types, and that failure would look like an attack (RFC 7672
 * section 2.2.2).
 */
#include "transport/dane.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"

struct transport_search {
	struct dns *dns;
	const struct transport_route *route;
	char *host;
	uint16_t port;
	bool is_host_secure;
	void (*found)(void *arg, const struct transport_found *found);
	void *arg;
	struct dns_query *query;
	bool is_answering;

	struct net_address *addresses; /* while TLSA records are looked for */
	size_t count;
	char *base; /* the name whose TLSA records are asked for */
};

bool transport_is_dane(const struct transport_route *route)
{
	return route->tls.level == TLS_LEVEL_DANE || route->tls.level == TLS_LEVEL_DANE_ONLY;
}

static void search_free(struct transport_search *s)
{
	transport_route_unref(s->route);
	free(s->addresses);
	free(s->base);
	free(s->host);
	free(s);
}

static void report(struct transport_search *s, struct transport_found *found)
{
	const struct dns_answer addresses = {
		.outcome = DNS_FOUND,
		.addresses = s->addresses,
		.count = s->count,
	};

	if (!found->addresses)
		found->addresses = &addresses;
	s->is_answering = true;
	s->query = NULL;
	s->found(s->arg, found);
	search_free(s);
}

static void refuse(struct transport_search *s, const char *why)
{
	struct transport_found found = { .policy = s->route->tls };
	char text[600];

	snprintf(text, sizeof(text), "level %s: %s", tls_level_name(s->route->tls.level), why);
	found.refusal = text;
	report(s, &found);
}

bool transport_dane_level(const struct transport_route *route, enum transport_dane_lack lack,
			  enum tls_level *ret)
{
	if (route->tls.level == TLS_LEVEL_DANE_ONLY)
		return false;
	*ret = lack == TRANSPORT_DANE_UNUSABLE || route->mode == TLS_MODE_IMPLICIT
		       ? TLS_LEVEL_ENCRYPT
		       : TLS_LEVEL_MAY;
	return true;
}

/* There is less than dane promises at best. */
static void weaken(struct transport_search *s, enum transport_dane_lack lack, const char *why)
{
	struct transport_found found = { .policy = s->route->tls };

	if (transport_dane_level(s->route, lack, &found.policy.level))
		report(s, &found);
	else
		refuse(s, why);
}

static void ask_tlsa(struct transport_search *s);

static void on_tlsa(void *arg, const struct dns_tlsa_answer *answer)
{
	struct transport_search *s = arg;
	struct transport_found found = { .policy = s->route->tls };
	char why[400];

	s->query = NULL;
	if (answer->outcome == DNS_FAILED) {
		refuse(s, answer->reason);
		return;
	}
	if (answer->outcome == DNS_NOT_FOUND || !answer->is_secure) {
		if (strcasecmp(s->base, s->host) != 0) {
			free(s->base);
			s->base = strdup(s->host);
			ask_tlsa(s);
			return;
		}
		snprintf(why, sizeof(why), "%s has no %sTLSA record for port %u", s->host,
			 answer->outcome == DNS_FOUND ? "signed " : "", s->port);
		weaken(s, TRANSPORT_DANE_NO_RECORD, why);
		return;
	}
	found.dane = tls_dane_new(answer->records, answer->count, s->base);
	found.policy.dane = found.dane;
	if (found.dane) {
		report(s, &found);
		return;
	}
	snprintf(why, sizeof(why), "no TLSA record of %s for port %u can be used", s->base,
		 s->port);
	weaken(s, TRANSPORT_DANE_UNUSABLE, why);
}

static void ask_tlsa(struct transport_search *s)
{
	char name[300];

	if (!s->base) {
		refuse(s, "out of memory");
		return;
	}
	snprintf(name, sizeof(name), "_%u._tcp.%s", s->port, s->base);
	s->query = dns_tlsa(s->dns, name, on_tlsa, s);
}

static void on_addresses(void *arg, const struct dns_answer *answer)
{
	struct transport_search *s = arg;
	struct transport_found found = { .policy = s->route->tls, .addresses = answer };
	char why[400];

	s->query = NULL;
	if (answer->outcome != DNS_FOUND || !transport_is_dane(s->route)) {
		report(s, &found);
		return;
	}
	s->addresses = memory_new(answer->count * sizeof(*s->addresses));
	memcpy(s->addresses, answer->addresses, answer->count * sizeof(*s->addresses));
	s->count = answer->count;
	if (!s->is_host_secure || !answer->is_secure) {
		snprintf(why, sizeof(why), "the %s %s are not signed in DNS",
			 s->is_host_secure ? "addresses of" : "MX records that name", s->host);
		weaken(s, TRANSPORT_DANE_NO_RECORD, why);
		return;
	}
	s->base = strdup(answer->canonical);
	ask_tlsa(s);
}

struct transport_search *
transport_search_host(struct dns *dns, const struct transport_search_options *options,
		      void (*found)(void *arg, const struct transport_found *found), void *arg)
{
	struct transport_search *s = memory_zeroed(sizeof(*s));

	s->dns = dns;
	s->route = transport_route_ref(options->route);
	s->host = slice_strdup(slice_from(options->host));
	s->port = options->port;
	s->is_host_secure = options->is_host_secure;
	s->found = found;
	s->arg = arg;
	s->query = transport_is_dane(s->route) && s->is_host_secure
			   ? dns_secure_addresses(dns, s->host, on_addresses, s)
			   : dns_addresses(dns, s->host, on_addresses, s);
	return s;
}

void transport_search_cancel(struct transport_search *search)
{
	if (!search || search->is_answering)
		return;
	dns_cancel(search->query);
	search_free(search);
}
