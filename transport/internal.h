/*
 * internal - what the files of this folder share, and its tests
 *
 * A right-hand side becomes a rule (what stands where), then a draft (what it
 * means, its strings anywhere), then a route (a copy that owns its strings).
 */
#pragma once

#include "base/strmap.h"
#include "transport/transport.h"

struct transport_type {
	const char *name;
	enum transport_kind kind;
	bool is_smtp;	   /* has next hops and a TLS policy */
	bool is_available; /* else known, but not in this version */
	uint16_t port;
};

/* A right-hand side, taken apart; slices of it. */
struct rule {
	const struct transport_type *type; /* NULL: inherited */
	struct slice nexthop;		   /* as written, or the text of error: */
	struct slice attributes;
};

const struct transport_type *type_of(enum transport_kind kind);
int rule_parse(struct slice value, struct rule *ret, struct error *err);

/* relayhost may also be next hops alone: these are relay: */
int rule_parse_relayhost(struct slice value, struct rule *ret, struct error *err);

/*
 * What the rule means. What it inherits comes from base; without one (NULL)
 * only its form is checked, as that of a relay:. Strings go to the arena, or
 * are those of base, options and source. hop_count 0: the recipient's domain.
 */
int rule_draft(const struct rule *rule, const struct transport_options *options,
	       const struct transport_route *base, const char *source, struct arena *arena,
	       struct transport_route *ret, struct error *err);

/* Where mail goes that no map speaks of and that is not local: relayhost or default_transport. */
bool draft_has_relayhost(const struct transport_options *options);
const char *base_source(const struct transport_options *options);
int draft_base(const struct transport_options *options, struct arena *arena,
	       struct transport_route *ret, struct error *err);

/* "host", "host:port", "[host]", "[host]:port" */
int hop_parse(struct slice text, uint16_t default_port, struct arena *arena,
	      struct transport_hop *ret, struct error *err);

bool hop_is_address(const struct transport_hop *hop);

/* Whether the route goes to the recipient's domain, which it has yet to be given. */
bool route_follows_domain(const struct transport_route *route);

/* A copy with one reference, and with its lane. */
const struct transport_route *route_new(const struct transport_route *draft);

/* Routes by key, those used last; the cache has a reference to each. */
struct route_cache {
	struct strmap young, old;
};

void cache_done(struct route_cache *cache);
const struct transport_route *cache_get(struct route_cache *cache, struct slice key);
void cache_put(struct route_cache *cache, struct slice key, const struct transport_route *route);
