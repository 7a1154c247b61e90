/*
 * reach - domains that a hub takes mail for, and has forgotten to route; those
 * that it is to ask about, and takes no mail for; those that nobody has meant;
 * and whether an edge writes any mailboxes below virtual_mailbox_base itself
 *
 * Without a line their mail goes to their MX, by default_transport: on a hub
 * with a transport map most likely a slip, and one that leads back to itself.
 * The resolver is asked, for an address that nobody has a line for.
 */
#include "config/state.h"

#include <string.h>

#include "base/escape.h"
#include "mta/domain_list.h"

#define TOLD_MAX 10 /* a hub may be the second MX of a thousand domains, on purpose */

struct reach {
	struct config *config;
	struct transport *transport;
	struct arena arena;
	unsigned int lost;
};

static bool is_left_to_mx(struct reach *reach, const char *domain)
{
	const char *source = reach->config->transport.default_transport_source;
	const struct transport_route *route = NULL;
	bool is_left;

	if (transport_resolve(reach->transport,
			      arena_printf(&reach->arena, "check-reach@%s%s",
					   domain[0] == '.' ? "check-reach" : "", domain),
			      &route, NULL) < 0)
		return false;
	is_left = strcmp(route->source, source ? source : "default_transport") == 0 &&
		  route->hop_count > 0 && route->nexthop[0] == '\0';
	transport_route_unref(route);
	return is_left;
}

static void tell(struct reach *reach, const char *domain, const char *source)
{
	char shown[128], text[512];

	escape_cstr(slice_from(domain), shown, sizeof(shown));
	snprintf(text, sizeof(text),
		 "%s has no line in transport_maps, so mail for it goes to its MX, by "
		 "default_transport",
		 shown);
	if (source)
		config_report_source(reach->config, CONFIG_RELAY_DOMAINS, CONFIG_WARNING, source,
				     text);
	else
		config_report_setting(reach->config, CONFIG_RELAY_DOMAINS, CONFIG_WARNING, "%s",
				      text);
}

static int visit_domain(void *arg, const char *domain, const char *value, const char *source)
{
	struct reach *reach = arg;

	(void)value;
	if (is_left_to_mx(reach, domain) && ++reach->lost <= TOLD_MAX)
		tell(reach, domain, source);
	arena_reset(&reach->arena);
	return 0;
}

void config_check_reach(struct config *c)
{
	struct reach reach = { .config = c };

	if (c->mode != CONFIG_HUB || !c->relay_domains || !c->transport_maps ||
	    config_given_value(c, CONFIG_RELAYHOST) ||
	    transport_new(&c->transport, &reach.transport, NULL) < 0)
		return;
	domains_visit(c->relay_domains, visit_domain, &reach);
	if (reach.lost > TOLD_MAX)
		config_report_setting(c, CONFIG_RELAY_DOMAINS, CONFIG_WARNING,
				      "the same holds for %u more", reach.lost - TOLD_MAX);
	transport_free(reach.transport);
	arena_done(&reach.arena);
}

/* ---- all domains there are ---- */

static bool has_every_key(const struct domains *domains)
{
	for (size_t i = 0; i < domains_map_count(domains); i++)
		if (map_has_every_key(domains_map_at(domains, i)))
			return true;
	return false;
}

/* A domain that nobody has (RFC 2606 section 2) is in them if all are. */
void config_check_relay_domains(struct config *c)
{
	if (!c->relay_domains ||
	    domain_list_has(c->relay_domains, SLICE("nobody.invalid"), NULL) != MAP_FOUND)
		return;
	if (has_every_key(c->relay_domains))
		config_report_setting(c, CONFIG_RELAY_DOMAINS, CONFIG_ERROR,
				      "%s: would let anybody relay to any domain",
				      config_value(c, CONFIG_RELAY_DOMAINS));
	else
		config_report_setting(c, CONFIG_RELAY_DOMAINS, CONFIG_WARNING,
				      "%s: seems to let anybody relay to any domain",
				      config_value(c, CONFIG_RELAY_DOMAINS));
}

/* ---- domains that are to be verified ---- */

static int visit_verified(void *arg, const char *domain, const char *value, const char *source)
{
	struct reach *reach = arg;
	struct config *c = reach->config;
	char shown[128], text[256];
	const char *sample =
		arena_printf(&reach->arena, "%s%s", domain[0] == '.' ? "check-reach" : "", domain);

	(void)value;
	if (domain_list_has(c->relay_domains, slice_from(sample), NULL) != MAP_NOT_FOUND ||
	    ++reach->lost > TOLD_MAX)
		return 0;
	escape_cstr(slice_from(domain), shown, sizeof(shown));
	snprintf(text, sizeof(text), "%s is not in relay_domains, so nobody is asked about it",
		 shown);
	if (source)
		config_report_source(c, CONFIG_RELAY_RECIPIENT_VERIFY, CONFIG_WARNING, source,
				     text);
	else
		config_report_setting(c, CONFIG_RELAY_RECIPIENT_VERIFY, CONFIG_WARNING, "%s", text);
	return 0;
}

void config_check_verified(struct config *c)
{
	struct reach reach = { .config = c };

	if (c->relay_domains && c->verified_domains)
		domains_visit(c->verified_domains, visit_verified, &reach);
	arena_done(&reach.arena);
}

/* ---- domains whose mailboxes somebody else writes ---- */

static int visit_mailboxes(void *arg, const char *domain, const char *value, const char *source)
{
	struct reach *reach = arg;
	const struct transport_route *route = NULL;
	bool is_ours;

	(void)value;
	(void)source;
	if (transport_resolve(reach->transport,
			      arena_printf(&reach->arena, "check-reach@%s%s",
					   domain[0] == '.' ? "check-reach" : "", domain),
			      &route, NULL) < 0)
		return 1;
	is_ours = transport_route_is_mailbox(route);
	transport_route_unref(route);
	return is_ours;
}

bool config_has_mailboxes(const struct config *c)
{
	struct reach reach = { 0 };
	bool has;

	if (!c->mailbox_domains || domains_map_count(c->mailbox_domains) > 0 ||
	    transport_new(&c->transport, &reach.transport, NULL) < 0)
		return true; /* what is in maps may change, and be patterns */
	has = domains_visit(c->mailbox_domains, visit_mailboxes, &reach) != 0;
	transport_free(reach.transport);
	arena_done(&reach.arena);
	return has;
}
