/*
 * lookup - the keys of transport_maps and of smtp_tls_policy_maps, in their order
 *
 * Each key is asked for in all maps before the next one, as in Postfix. Maps
 * of patterns are asked for the keys for which Postfix asks them: of routes the
 * address alone, of policies all but a next hop without its port.
 */
#include <errno.h>

#include "base/escape.h"
#include "smtp/domain.h"
#include "transport/internal.h"

void lookup_tell(const struct lookup *l, const char *parameter, const char *map, const char *key,
		 const struct map_result *line)
{
	const struct transport_lookup lookup = {
		.parameter = parameter,
		.map = map,
		.key = key,
		.value = line ? line->value : NULL,
		.source = line ? line->source : NULL,
	};

	if (l->trace)
		l->trace(l->trace_arg, &lookup);
}

/* Tells of a lookup that was made, unless it failed. */
static int tell(const struct lookup *l, const char *parameter, struct map *map, struct slice key,
		int r, const struct map_result *line)
{
	if (l->trace && r >= 0)
		lookup_tell(l, parameter, map_spec(map), arena_slicedup(l->arena, key),
			    r == MAP_FOUND ? line : NULL);
	return r;
}

#define NOBODY "nobody@nobody.invalid"

/* Whether what was found is for whoever asks. Patterns and databases show it by an answer only. */
static bool is_for_everybody(const struct lookup *l, struct map *map, const struct map_result *line)
{
	struct map_result other;

	return !map_lists_keys(map) &&
	       map_lookup(map, SLICE(NOBODY), l->arena, &other, NULL) == MAP_FOUND &&
	       strcmp(other.source, line->source) == 0 && strcmp(other.value, line->value) == 0;
}

/* What is for everybody is no key of a local domain's own: static:, a pattern like "/./". */
static int find_in_map(const struct lookup *l, struct map *map, struct slice key,
		       struct map_result *ret, struct error *err)
{
	int r;

	if (l->is_local && map_has_every_key(map))
		return MAP_NOT_FOUND;
	r = map_lookup(map, key, l->arena, ret, err);
	if (r == MAP_FOUND && l->is_local && is_for_everybody(l, map, ret))
		r = MAP_NOT_FOUND;
	return tell(l, "transport_maps", map, key, r, ret);
}

static int find_route_address(const struct lookup *l, struct slice key, struct map_result *ret,
			      struct error *err)
{
	struct maps *maps = l->options->transport_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++)
		r = find_in_map(l, maps_at(maps, i), key, ret, err);
	return r;
}

/* Patterns are for whole addresses (transport(5), REGULAR EXPRESSION TABLES). */
static int find_route_key(const struct lookup *l, struct slice key, struct map_result *ret,
			  struct error *err)
{
	struct maps *maps = l->options->transport_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++)
		if (!map_is_pattern(maps_at(maps, i)))
			r = find_in_map(l, maps_at(maps, i), key, ret, err);
	return r;
}

static int find_policy_in(const struct lookup *l, struct map *map, struct slice key,
			  struct map_result *ret, struct error *err)
{
	int r = map_lookup(map, key, l->arena, ret, err);

	return tell(l, "smtp_tls_policy_maps", map, key, r, ret);
}

static int find_policy_key(const struct lookup *l, struct slice key, struct map_result *ret,
			   struct error *err)
{
	struct maps *maps = l->options->tls_policy_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++)
		r = find_policy_in(l, maps_at(maps, i), key, ret, err);
	return r;
}

/* Of a next hop without its port, for which Postfix never asks: "!/:26$/" would match it. */
static int find_policy_host(const struct lookup *l, struct slice key, struct map_result *ret,
			    struct error *err)
{
	struct maps *maps = l->options->tls_policy_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++)
		if (!map_is_pattern(maps_at(maps, i)))
			r = find_policy_in(l, maps_at(maps, i), key, ret, err);
	return r;
}

typedef int find_key(const struct lookup *l, struct slice key, struct map_result *ret,
		     struct error *err);

/* A key, then the same with the other spelling of its domain (smtp/domain.h). */
static int find_either(const struct lookup *l, find_key *find, struct slice key,
		       struct map_result *ret, struct error *err)
{
	int r = find(l, key, ret, err);
	const char *other = r == MAP_NOT_FOUND ? smtp_domain_respell(l->arena, key) : NULL;

	return other ? find(l, slice_from(other), ret, err) : r;
}

/* ".parent" for each parent of the domain. */
static int find_parent(const struct lookup *l, find_key *find, struct map_result *ret,
		       struct error *err)
{
	bool is_literal = l->domain.len && l->domain.ptr[0] == '[';
	struct slice rest = slice_skip(l->domain, 1);
	int r = MAP_NOT_FOUND;

	while (r == MAP_NOT_FOUND && !is_literal && rest.len) {
		size_t dot = slice_find(rest, '.');

		rest = slice_skip(rest, dot);
		if (rest.len < 2)
			break;
		r = find_either(l, find, rest, ret, err);
		rest = slice_skip(rest, 1);
	}
	return r;
}

/* In both of its forms; then without its extension, which is less than the whole. */
static int find_address(const struct lookup *l, struct map_result *ret, struct error *err)
{
	int r = find_either(l, find_route_address, l->address, ret, err);

	if (r == MAP_NOT_FOUND && l->plain.len)
		r = find_either(l, find_route_address, l->plain, ret, err);
	if (r == MAP_NOT_FOUND && l->bare.len)
		r = find_either(l, find_route_key, l->bare, ret, err);
	if (r == MAP_NOT_FOUND && l->bare_plain.len)
		r = find_either(l, find_route_key, l->bare_plain, ret, err);
	return r;
}

int lookup_route(const struct lookup *l, struct map_result *ret, struct error *err)
{
	int r;

	if (!l->options->transport_maps)
		return MAP_NOT_FOUND;
	r = find_address(l, ret, err);
	if (r == MAP_NOT_FOUND && l->domain.len)
		r = find_either(l, find_route_key, l->domain, ret, err);
	if (r == MAP_NOT_FOUND && !l->is_local)
		r = find_parent(l, find_route_key, ret, err);
	if (r == MAP_NOT_FOUND && !l->is_local)
		r = find_route_key(l, SLICE("*"), ret, err);
	return r;
}

/* "[host]" of "[host]:port", "host" of "host:port"; as it is without a port. */
static struct slice without_port(struct slice hop)
{
	size_t close = hop.len && hop.ptr[0] == '[' ? slice_find(hop, ']') + 1 : 0;

	return slice_first(hop, close ? close : slice_find(hop, ':'));
}

static int find_hop_spelled(const struct lookup *l, struct slice hop, struct map_result *ret,
			    struct error *err)
{
	struct slice host = without_port(hop);
	int r = find_policy_key(l, hop, ret, err);

	return r == MAP_NOT_FOUND && host.len < hop.len ? find_policy_host(l, host, ret, err) : r;
}

/* Its host may be in either spelling, too: an entry that is missed could mean less TLS. */
static int find_hop(const struct lookup *l, struct slice hop, struct map_result *ret,
		    struct error *err)
{
	int r = find_hop_spelled(l, hop, ret, err);
	size_t start = hop.len && hop.ptr[0] == '[';
	struct slice host = slice_skip(without_port(hop), start);
	const char *other;

	host.len -= start && host.len && host.ptr[host.len - 1] == ']';
	other = r == MAP_NOT_FOUND ? smtp_domain_respell(l->arena, host) : NULL;
	if (!other)
		return r;
	hop = slice_from(arena_printf(l->arena, "%s%s%.*s", start ? "[" : "", other,
				      (int)(hop.len - start - host.len), host.ptr + host.len));
	return find_hop_spelled(l, hop, ret, err);
}

static int refuse_mixture(struct slice hop, const struct map_result *entry,
			  const struct map_result *first, struct error *err)
{
	char shown[128];

	escape_cstr(hop, shown, sizeof(shown));
	error_set(err, -EINVAL,
		  "the next hops of a route have one TLS policy, but smtp_tls_policy_maps has %s "
		  "for %s, and %s for those in front of it",
		  entry ? entry->source : "nothing", shown, first ? first->source : "nothing");
	return LOOKUP_MIXED;
}

/* A connection may go to any of the next hops, so what one has all must have. */
static int find_hops(const struct lookup *l, enum transport_kind kind, struct slice nexthop,
		     struct map_result *ret, struct error *err)
{
	struct map_result entry;
	int first = MAP_NOT_FOUND;
	struct slice hop;

	for (bool is_first = true; slice_next_word(&nexthop, ", \t\r\n", &hop); is_first = false) {
		bool is_inet =
			kind == TRANSPORT_LMTP && slice_equal(slice_first(hop, 5), SLICE("inet:"));
		int r = find_hop(l, slice_skip(hop, is_inet ? 5 : 0), is_first ? ret : &entry, err);

		if (r < 0)
			return r;
		if (is_first)
			first = r;
		else if (r != first || (r == MAP_FOUND && strcmp(entry.value, ret->value) != 0))
			return refuse_mixture(hop, r == MAP_FOUND ? &entry : NULL,
					      first == MAP_FOUND ? ret : NULL, err);
	}
	return first;
}

int lookup_policy(const struct lookup *l, enum transport_kind kind, struct slice nexthop,
		  struct map_result *ret, struct error *err)
{
	int r;

	if (!l->options->tls_policy_maps)
		return MAP_NOT_FOUND;
	r = find_hops(l, kind, nexthop, ret, err);
	if (r == MAP_NOT_FOUND && l->domain.len)
		r = find_either(l, find_policy_key, l->domain, ret, err);
	if (r == MAP_NOT_FOUND)
		r = find_parent(l, find_policy_key, ret, err);
	return r;
}
