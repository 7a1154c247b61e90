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
	bool is_smtp; /* has next hops and, but for UNIX sockets, a TLS policy */
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

/* What lookups are about, and who wants to know of them. */
struct lookup {
	const struct transport_options *options;
	struct arena *arena;
	struct slice address, domain;  /* folded; of the domain alone there may be no address */
	struct slice plain;	       /* the address without quotes; empty: it has none */
	struct slice bare, bare_plain; /* both without the extension; empty: it has none */
	bool is_local;		       /* this host delivers for the domain, */
	bool is_home;		       /*   to accounts of the system */
	transport_trace *trace;	       /* NULL: nobody asks */
	void *trace_arg;
};

/* The values are NULL or in the arena. */
void lookup_tell(const struct lookup *l, const char *parameter, const char *map, const char *key,
		 const struct map_result *line);

/* The line of transport_maps: MAP_FOUND, MAP_NOT_FOUND, or an error. */
int lookup_route(const struct lookup *l, struct map_result *ret, struct error *err);

#define LOOKUP_MIXED 3 /* the next hops have different entries; err says which */

/*
 * The entry of smtp_tls_policy_maps for these next hops (as written, but for
 * "inet:" of lmtp:; "": the domain) and this domain: as above, or LOOKUP_MIXED.
 */
int lookup_policy(const struct lookup *l, enum transport_kind kind, struct slice nexthop,
		  struct map_result *ret, struct error *err);

/* What a draft is made from, besides its rule. */
struct drafting {
	const struct transport_options *options;
	struct arena *arena;
	const struct map_result *policy; /* the entry of smtp_tls_policy_maps; NULL: none */
	bool may_lack; /* what a level needs may be in an entry that is not known here */
};

/*
 * What the rule means. What it inherits comes from base; without one (NULL)
 * only its form is checked, as that of a relay: (of a UNIX socket, lmtp:). Strings go to the arena, or
 * are those of base, options and source. hop_count 0: the recipient's domain.
 */
int rule_draft(const struct drafting *d, const struct rule *rule,
	       const struct transport_route *base, const char *source, struct transport_route *ret,
	       struct error *err);

/* The policy that such an entry makes of the general one. Errors start with its source. */
int policy_draft(const struct drafting *d, struct tls_policy *ret, struct error *err);

/* What a level tells good peers by must be there. */
int require_means(const struct transport_options *options, const struct tls_policy *tls,
		  struct error *err);

/* Where mail goes that no map speaks of and that is not local: relayhost or default_transport. */
bool draft_has_relayhost(const struct transport_options *options);
const char *base_source(const struct transport_options *options);
int draft_base(const struct drafting *d, struct rule *ret_rule, struct transport_route *ret,
	       struct error *err);

/* "host", "host:port", "[host]", "[host]:port" */
int hop_parse(struct slice text, uint16_t default_port, struct arena *arena,
	      struct transport_hop *ret, struct error *err);

/* The same behind "inet:" or nothing, never with MX; or "unix:PATH". */
int hop_parse_lmtp(struct slice text, const struct transport_options *options, struct arena *arena,
		   struct transport_hop *ret, struct error *err);

/* "unix:PATH", the first of them if there are several. */
bool hop_text_is_unix(struct slice text);

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
