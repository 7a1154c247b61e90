/*
 * transport - the lookups in their order, and what they mean for one address
 *
 * Lines are parsed once: the cache is keyed by a line's source and value (and
 * by whether the domain is local, for what the line inherits), so a changed
 * line is another key; so is the entry of smtp_tls_policy_maps that goes with
 * it. Routes to the recipient's domain are cached for each domain too. A
 * resolve allocates from the arena, which is reset each time.
 */
#include <errno.h>

#include "base/escape.h"
#include "smtp/address.h"
#include "transport/internal.h"

struct transport {
	struct transport_options options;
	const struct transport_route *base;  /* what is neither in a map nor local */
	const struct transport_route *local; /* mailboxes of virtual users, */
	const struct transport_route *home;  /*   and of the system's */
	struct route_cache cache;
	struct arena arena; /* for one resolve */
};

static const struct transport_route *new_local(enum transport_kind kind)
{
	const struct transport_route draft = {
		.kind = kind,
		.name = type_of(kind)->name,
		.nexthop = "",
		.source = "local",
	};

	return route_new(&draft);
}

int transport_new(const struct transport_options *options, struct transport **ret_transport,
		  struct error *err)
{
	struct drafting how = { .options = options, .may_lack = options->tls_policy_maps };
	struct transport_route base;
	struct transport *t;
	int r;

	t = calloc(1, sizeof(*t));
	if (!t)
		return error_set(err, -ENOMEM, "out of memory");
	t->options = *options;
	how.arena = &t->arena;
	r = draft_base(&how, NULL, &base, err);
	if (r < 0) {
		error_prefix(err, "%s", base_source(options));
		transport_free(t);
		return r;
	}
	t->base = route_new(&base);
	t->local = new_local(TRANSPORT_VIRTUAL);
	t->home = new_local(TRANSPORT_LOCAL);
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
	transport_route_unref(t->home);
	arena_done(&t->arena);
	free(t);
}

/* What there is without a line. */
static const struct transport_route *route_without_line(const struct transport *t,
							const struct lookup *l)
{
	if (!l->is_local)
		return t->base;
	return l->is_home ? t->home : t->local;
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

/* What decides for an address: a line, or where there is none the base, and a TLS policy. */
struct decision {
	bool is_base;
	struct map_result line;
	bool has_policy;
	struct map_result policy;
};

/* False: nothing is sent by it, or through a socket. nexthop "": the recipient's domain. */
static bool find_nexthop(const struct transport *t, const struct lookup *l,
			 const struct decision *d, enum transport_kind *ret_kind, struct slice *ret)
{
	const struct transport_route *base = route_without_line(t, l);
	struct rule rule = { 0 };

	if (!d->is_base && rule_parse(slice_from(d->line.value), &rule, NULL) < 0)
		return false;
	*ret = rule.type || rule.nexthop.len ? rule.nexthop : slice_from(base->nexthop);
	*ret_kind = rule.type ? rule.type->kind : base->kind;
	return type_of(*ret_kind)->is_smtp && !hop_text_is_unix(*ret);
}

/* 0, LOOKUP_MIXED, or an error. */
static int find_policy(const struct transport *t, const struct lookup *l, struct decision *d,
		       struct error *err)
{
	enum transport_kind kind;
	struct slice nexthop;
	int r = MAP_NOT_FOUND;

	if (t->options.tls_policy_maps && find_nexthop(t, l, d, &kind, &nexthop))
		r = lookup_policy(l, kind, nexthop, &d->policy, err);
	d->has_policy = r == MAP_FOUND;
	return r == MAP_NOT_FOUND ? 0 : r;
}

/* ":" has the policy of what it stands for, which depends on the recipient where there are maps. */
static int draft_decision(struct transport *t, const struct lookup *l, const struct decision *d,
			  struct transport_route *ret, struct error *err)
{
	const struct drafting how = {
		.options = &t->options,
		.arena = &t->arena,
		.policy = d->has_policy ? &d->policy : NULL,
	};
	struct transport_route base = *route_without_line(t, l);
	struct rule rule;
	int r;

	if (d->is_base)
		return draft_base(&how, NULL, ret, err);
	r = rule_parse(slice_from(d->line.value), &rule, err);
	if (r == 0 && t->options.tls_policy_maps && !l->is_local && !rule.type && !rule.nexthop.len)
		r = draft_base(&how, NULL, &base, err);
	return r < 0 ? r : rule_draft(&how, &rule, &base, d->line.source, ret, err);
}

static const struct transport_route *make_route(struct transport *t, const struct lookup *l,
						const struct decision *d)
{
	struct transport_route draft;
	struct error error = { 0 };

	return draft_decision(t, l, d, &draft, &error) < 0 ? unusable(d->line.source, &error)
							   : route_new(&draft);
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
	if (route->kind == TRANSPORT_LMTP) {
		hop.mx = false;
		hop.text = arena_printf(&t->arena, "[%s]:%u", hop.host, hop.port);
	}
	draft.hops = &hop;
	draft.hop_count = 1;
	return route_new(&draft);
}

/* All that a route is made from. */
static const char *key_of(const struct lookup *l, const struct decision *d)
{
	const char *line = arena_printf(l->arena, "%c%zu:%s%s",
					d->is_base    ? 'B'
					: l->is_home  ? 'H'
					: l->is_local ? 'L'
						      : 'R',
					strlen(d->line.source), d->line.source, d->line.value);

	if (!d->has_policy)
		return line;
	return arena_printf(l->arena, "P%zu:%s%zu:%s%s", strlen(line), line,
			    strlen(d->policy.source), d->policy.source, d->policy.value);
}

/* The cache's route, and its key there. */
static const struct transport_route *route_of_decision(struct transport *t, const struct lookup *l,
						       const struct decision *d,
						       const char **ret_key)
{
	const char *key = key_of(l, d);
	const struct transport_route *route = cache_get(&t->cache, slice_from(key));

	*ret_key = key;
	if (route)
		return transport_route_ref(route);
	route = make_route(t, l, d);
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
static int look_whether_local(struct lookup *l, struct error *err)
{
	static const struct map_result yes = { .value = "yes", .source = "local" };
	int r;

	if (!l->options->is_local || !l->domain.len)
		return 0;
	r = l->options->is_local(l->options->is_local_arg, l->domain, err);
	if (r < 0)
		return r;
	l->is_local = r == MAP_FOUND;
	if (l->is_local && l->options->is_home)
		r = l->options->is_home(l->options->is_local_arg, l->domain, err);
	if (r < 0)
		return r;
	l->is_home = l->is_local && l->options->is_home && r == MAP_FOUND;
	if (l->trace)
		lookup_tell(l, "local", "", arena_slicedup(l->arena, l->domain),
			    l->is_local ? &yes : NULL);
	return 0;
}

/* What there is without a line, for those that this host does not deliver for. */
static void decide_base(const struct lookup *l, struct decision *d)
{
	bool has_relayhost = draft_has_relayhost(l->options);

	d->is_base = true;
	d->line.value = has_relayhost ? l->options->relayhost : l->options->default_transport;
	d->line.source = base_source(l->options);
	if (!has_relayhost)
		lookup_tell(l, "relayhost", "", "", NULL);
	lookup_tell(l, has_relayhost ? "relayhost" : "default_transport", "", "", &d->line);
}

/* A reference to the route as the lines have it, and its key in the cache; or an error. */
static int decide(struct transport *t, struct lookup *l, const struct transport_route **ret_route,
		  const char **ret_key, struct error *err)
{
	struct decision d = { 0 };
	struct error mixed = { 0 };
	int r;

	r = look_whether_local(l, err);
	if (r == 0)
		r = lookup_route(l, &d.line, err);
	if (r < 0)
		return r;
	*ret_key = "";
	if (r == MAP_NOT_FOUND && l->is_local) {
		*ret_route = transport_route_ref(route_without_line(t, l));
		return 0;
	}
	if (r == MAP_NOT_FOUND)
		decide_base(l, &d);
	r = find_policy(t, l, &d, &mixed);
	if (r < 0)
		return error_set(err, r, "%s", mixed.text);
	if (r == LOOKUP_MIXED)
		*ret_route = unusable(d.line.source, &mixed);
	else if (d.is_base && !t->options.tls_policy_maps)
		*ret_route = transport_route_ref(t->base);
	else
		*ret_route = route_of_decision(t, l, &d, ret_key);
	return 0;
}

/* A plain address as it is looked up: quoted, and then plain where that is another key. */
static void read_key(struct lookup *l, const char *plain, struct slice *ret_key,
		     struct slice *ret_plain)
{
	*ret_key = slice_from(smtp_address_quoted(l->arena, plain));
	*ret_plain = slice_from(plain);
	if (slice_equal(*ret_key, *ret_plain))
		*ret_plain = SLICE("");
}

static void read_address(struct lookup *l, const char *folded)
{
	const char *delimiters = l->options->recipient_delimiter, *plain, *bare = NULL;

	l->domain = trim_dot(smtp_address_domain(folded));
	l->address = slice_from(folded);
	if (!l->domain.len)
		return;
	l->address.len = (size_t)(l->domain.ptr - folded) + l->domain.len;
	plain = smtp_address_plain(l->arena, arena_slicedup(l->arena, l->address));
	read_key(l, plain, &l->address, &l->plain);
	if (delimiters && delimiters[0])
		bare = smtp_address_without_extension(l->arena, plain, delimiters);
	if (bare)
		read_key(l, bare, &l->bare, &l->bare_plain);
}

int transport_resolve(struct transport *t, const char *address,
		      const struct transport_route **ret_route, struct error *err)
{
	return transport_resolve_traced(t, address, NULL, NULL, ret_route, err);
}

int transport_resolve_traced(struct transport *t, const char *address, transport_trace *trace,
			     void *arg, const struct transport_route **ret_route, struct error *err)
{
	struct lookup l = {
		.options = &t->options,
		.arena = &t->arena,
		.trace = trace,
		.trace_arg = arg,
	};
	const struct transport_route *route, *found;
	const char *key;
	int r;

	arena_reset(&t->arena);
	read_address(&l, smtp_address_fold(&t->arena, address));
	r = decide(t, &l, &route, &key, err);
	if (r < 0)
		return r;
	if (route_follows_domain(route)) {
		found = route_of_domain(t, route, l.domain, key);
		transport_route_unref(route);
		route = found;
	}
	*ret_route = route;
	return 0;
}

/* What a line inherits is looked for only where it inherits. */
static int draft_line(const struct drafting *how, const char *value, const char *source,
		      struct transport_route *ret, struct error *err)
{
	struct transport_route base;
	struct rule rule;
	int r;

	r = rule_parse(slice_from(value), &rule, err);
	if (r < 0)
		return r;
	if (!rule.type) {
		r = draft_base(how, NULL, &base, err);
		if (r < 0) {
			error_prefix(err, "%s", base_source(how->options));
			return r;
		}
	}
	return rule_draft(how, &rule, rule.type ? NULL : &base, source, ret, err);
}

int transport_parse(const struct transport_options *options, const char *value, const char *source,
		    const struct transport_route **ret_route, struct error *err)
{
	struct arena arena = { 0 };
	const struct drafting how = {
		.options = options,
		.arena = &arena,
		.may_lack = options->tls_policy_maps,
	};
	struct transport_route draft;
	int r;

	r = draft_line(&how, value, source, &draft, err);
	if (r < 0)
		error_prefix(err, "%s", source);
	else
		*ret_route = route_new(&draft);
	arena_done(&arena);
	return r;
}
