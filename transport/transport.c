/*
 * transport - the lookups in their order, and what they mean for one address
 *
 * Lines are parsed once: the cache is keyed by a line's source and value (and
 * by whether the domain is local, for what the line inherits), so a changed
 * line is another key. Routes to the recipient's domain are cached for each
 * domain too. A resolve allocates from the arena, which is reset each time.
 */
#include <errno.h>

#include "base/escape.h"
#include "smtp/address.h"
#include "transport/internal.h"

struct transport {
	struct transport_options options;
	const struct transport_route *base; /* what is neither in a map nor local */
	const struct transport_route *local;
	struct route_cache cache;
	struct arena arena; /* for one resolve */
};

/* An address on its way through the lookups. */
struct recipient {
	struct slice address, domain; /* folded */
	bool is_local;
	transport_trace *trace; /* NULL: nobody asks */
	void *trace_arg;
};

static const struct transport_route *new_local(void)
{
	const struct transport_route draft = {
		.kind = TRANSPORT_VIRTUAL,
		.name = type_of(TRANSPORT_VIRTUAL)->name,
		.nexthop = "",
		.source = "local",
	};

	return route_new(&draft);
}

int transport_new(const struct transport_options *options, struct transport **ret_transport,
		  struct error *err)
{
	struct transport_route base;
	struct transport *t;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, -ENOMEM, "out of memory");
	t->options = *options;
	r = draft_base(options, &t->arena, &base, err);
	if (r < 0) {
		error_prefix(err, "%s", base_source(options));
		transport_free(t);
		return r;
	}
	t->base = route_new(&base);
	t->local = new_local();
	*ret_transport = t;
	return 0;
}

void transport_free(struct transport *t)
{
	if (!t)
		return;
	cache_done(&t->cache);
	transport_route_unref(t->base);
	transport_route_unref(t->local);
	arena_done(&t->arena);
	free(t);
}

static void tell(const struct recipient *rcpt, const char *parameter, const char *map,
		 const char *key, const struct map_result *line)
{
	const struct transport_lookup lookup = {
		.parameter = parameter,
		.map = map,
		.key = key,
		.value = line ? line->value : NULL,
		.source = line ? line->source : NULL,
	};

	if (rcpt->trace)
		rcpt->trace(rcpt->trace_arg, &lookup);
}

static int look_up(struct transport *t, const struct recipient *rcpt, struct map *map,
		   struct slice key, struct map_result *ret, struct error *err)
{
	int r = map_lookup(map, key, &t->arena, ret, err);

	if (rcpt->trace && r >= 0)
		tell(rcpt, "transport_maps", map_spec(map), arena_slicedup(&t->arena, key),
		     r == MAP_FOUND ? ret : NULL);
	return r;
}

static int find_key(struct transport *t, const struct recipient *rcpt, struct slice key,
		    struct map_result *ret, struct error *err)
{
	struct maps *maps = t->options.transport_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++) {
		struct map *map = maps_at(maps, i);

		/* A map that has every key has none of a local domain's own. */
		if (!rcpt->is_local || !map_has_every_key(map))
			r = look_up(t, rcpt, map, key, ret, err);
	}
	return r;
}

/* ".parent" for each parent, then "*". */
static int find_wide(struct transport *t, const struct recipient *rcpt, struct map_result *ret,
		     struct error *err)
{
	bool is_literal = rcpt->domain.len && rcpt->domain.ptr[0] == '[';
	struct slice rest = slice_skip(rcpt->domain, 1);
	int r = MAP_NOT_FOUND;

	while (r == MAP_NOT_FOUND && !is_literal && rest.len) {
		size_t dot = slice_find(rest, '.');

		rest = slice_skip(rest, dot);
		if (rest.len < 2)
			break;
		r = find_key(t, rcpt, rest, ret, err);
		rest = slice_skip(rest, 1);
	}
	return r == MAP_NOT_FOUND ? find_key(t, rcpt, SLICE("*"), ret, err) : r;
}

static int find_line(struct transport *t, const struct recipient *rcpt, struct map_result *ret,
		     struct error *err)
{
	int r;

	if (!t->options.transport_maps)
		return MAP_NOT_FOUND;
	r = find_key(t, rcpt, rcpt->address, ret, err);
	if (r == MAP_NOT_FOUND && rcpt->domain.len)
		r = find_key(t, rcpt, rcpt->domain, ret, err);
	if (r == MAP_NOT_FOUND && !rcpt->is_local)
		r = find_wide(t, rcpt, ret, err);
	return r;
}

/* A reference to a route that says why it is none. */
static const struct transport_route *unusable(const char *source, const struct error *error)
{
	struct transport_route draft = {
		.kind = TRANSPORT_RETRY,
		.name = type_of(TRANSPORT_RETRY)->name,
		.nexthop = "",
		.source = source,
	};

	smtp_status_set(&draft.status, 451, ESC(4, 3, 5), "%s: %s", source, error->text);
	return route_new(&draft);
}

static const struct transport_route *parse_line(struct transport *t, const struct recipient *rcpt,
						const struct map_result *line)
{
	struct transport_route draft;
	struct error error = { 0 };
	struct rule rule;
	int r;

	r = rule_parse(slice_from(line->value), &rule, &error);
	if (r >= 0)
		r = rule_draft(&rule, &t->options, rcpt->is_local ? t->local : t->base,
			       line->source, &t->arena, &draft, &error);
	return r < 0 ? unusable(line->source, &error) : route_new(&draft);
}

static const struct transport_route *bad_domain(struct slice domain, const char *source)
{
	struct transport_route draft = {
		.kind = TRANSPORT_ERROR,
		.name = type_of(TRANSPORT_ERROR)->name,
		.nexthop = "",
		.source = source,
	};
	char shown[128];

	escape_cstr(domain, shown, sizeof(shown));
	smtp_status_set(&draft.status, 550, ESC(5, 1, 2), "no mail host can have the domain \"%s\"",
			shown);
	return route_new(&draft);
}

/* A name, or an address literal: "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3). */
static bool hop_of_domain(struct slice domain, uint16_t port, struct arena *arena,
			  struct transport_hop *ret)
{
	bool is_literal = domain.len && domain.ptr[0] == '[' && domain.ptr[domain.len - 1] == ']';

	if (!is_literal && slice_find(domain, ':') < domain.len)
		return false; /* that would be a port */
	return hop_parse(domain, port, arena, ret, NULL) >= 0 && hop_is_address(ret) == is_literal;
}

/* A reference to the route with the recipient's domain as its next hop. */
static const struct transport_route *
route_to_domain(struct transport *t, const struct transport_route *route, struct slice domain)
{
	struct transport_route draft = *route;
	struct transport_hop hop;

	if (!hop_of_domain(domain, type_of(route->kind)->port, &t->arena, &hop))
		return bad_domain(domain, route->source);
	draft.hops = &hop;
	draft.hop_count = 1;
	return route_new(&draft);
}

/* The cache's route for this line, and its key there. */
static const struct transport_route *route_of_line(struct transport *t,
						   const struct recipient *rcpt,
						   const struct map_result *line,
						   const char **ret_key)
{
	const char *key = arena_printf(&t->arena, "%c%zu:%s%s", rcpt->is_local ? 'L' : 'R',
				       strlen(line->source), line->source, line->value);
	const struct transport_route *route = cache_get(&t->cache, slice_from(key));

	*ret_key = key;
	if (route)
		return transport_route_ref(route);
	route = parse_line(t, rcpt, line);
	cache_put(&t->cache, slice_from(key), route);
	return route;
}

static const struct transport_route *route_of_domain(struct transport *t,
						     const struct transport_route *route,
						     struct slice domain, const char *line_key)
{
	/* 'D' tells these keys from those of lines; no domain holds a '@'. */
	struct slice key = slice_from(
		arena_printf(&t->arena, "D%s@%.*s", line_key, (int)domain.len, domain.ptr));
	const struct transport_route *found = cache_get(&t->cache, key);

	if (found)
		return transport_route_ref(found);
	found = route_to_domain(t, route, domain);
	cache_put(&t->cache, key, found);
	return found;
}

/* Without the dot of an absolute name, which means the same. */
static struct slice trim_dot(struct slice domain)
{
	if (domain.len > 1 && domain.ptr[domain.len - 1] == '.')
		domain.len--;
	return domain;
}

/* Whether this host delivers for the recipient: 0, or an error. */
static int look_whether_local(struct transport *t, struct recipient *rcpt, struct error *err)
{
	static const struct map_result yes = { .value = "yes", .source = "local" };
	int r;

	if (!t->options.is_local || !rcpt->domain.len)
		return 0;
	r = t->options.is_local(t->options.is_local_arg, rcpt->domain, err);
	if (r < 0)
		return r;
	rcpt->is_local = r == MAP_FOUND;
	if (rcpt->trace)
		tell(rcpt, "local", "", arena_slicedup(&t->arena, rcpt->domain),
		     rcpt->is_local ? &yes : NULL);
	return 0;
}

/* A reference to what there is without a line. */
static const struct transport_route *route_without_line(struct transport *t,
							const struct recipient *rcpt)
{
	bool has_relayhost = draft_has_relayhost(&t->options);
	const struct map_result base = {
		.value = has_relayhost ? t->options.relayhost : t->options.default_transport,
		.source = base_source(&t->options),
	};

	if (rcpt->is_local)
		return transport_route_ref(t->local);
	if (!has_relayhost)
		tell(rcpt, "relayhost", "", "", NULL);
	tell(rcpt, has_relayhost ? "relayhost" : "default_transport", "", "", &base);
	return transport_route_ref(t->base);
}

static void read_address(struct recipient *rcpt, const char *folded)
{
	struct slice domain = trim_dot(smtp_address_domain(folded));

	rcpt->domain = domain;
	rcpt->address = slice_from(folded);
	if (domain.len)
		rcpt->address.len = (size_t)(domain.ptr - folded) + domain.len;
}

int transport_resolve(struct transport *t, const char *address,
		      const struct transport_route **ret_route, struct error *err)
{
	return transport_resolve_traced(t, address, NULL, NULL, ret_route, err);
}

int transport_resolve_traced(struct transport *t, const char *address, transport_trace *trace,
			     void *arg, const struct transport_route **ret_route, struct error *err)
{
	struct recipient rcpt = { .trace = trace, .trace_arg = arg };
	const struct transport_route *route, *found;
	struct map_result line;
	const char *key = "";
	int r;

	arena_reset(&t->arena);
	read_address(&rcpt, smtp_address_fold(&t->arena, address));
	r = look_whether_local(t, &rcpt, err);
	if (r < 0)
		return r;

	r = find_line(t, &rcpt, &line, err);
	if (r < 0)
		return r;
	if (r == MAP_FOUND)
		route = route_of_line(t, &rcpt, &line, &key);
	else
		route = route_without_line(t, &rcpt);
	if (route_follows_domain(route)) {
		found = route_of_domain(t, route, rcpt.domain, key);
		transport_route_unref(route);
		route = found;
	}
	*ret_route = route;
	return 0;
}

/* What a line inherits is looked for only where it inherits. */
static int draft_line(const struct transport_options *options, const char *value,
		      const char *source, struct arena *arena, struct transport_route *ret,
		      struct error *err)
{
	struct transport_route base;
	struct rule rule;
	int r;

	r = rule_parse(slice_from(value), &rule, err);
	if (r < 0)
		return r;
	if (!rule.type) {
		r = draft_base(options, arena, &base, err);
		if (r < 0) {
			error_prefix(err, "%s", base_source(options));
			return r;
		}
	}
	return rule_draft(&rule, options, rule.type ? NULL : &base, source, arena, ret, err);
}

int transport_parse(const struct transport_options *options, const char *value, const char *source,
		    const struct transport_route **ret_route, struct error *err)
{
	struct arena arena = { 0 };
	struct transport_route draft;
	int r;

	r = draft_line(options, value, source, &arena, &draft, err);
	if (r < 0)
		error_prefix(err, "%s", source);
	else
		*ret_route = route_new(&draft);
	arena_done(&arena);
	return r;
}
