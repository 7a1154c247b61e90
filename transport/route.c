/*
 * route - a decision that stays as it is while connections use it
 *
 * A route owns copies of all its strings, in an arena of its own, since the
 * map, the options and the arena that its draft was made of may go first.
 */
#include <assert.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "base/macros.h"
#include "transport/internal.h"
#include "transport/mx.h"

struct owned_route {
	struct transport_route route; /* what users see */
	atomic_uint refs;
	struct arena arena;
};

bool route_follows_domain(const struct transport_route *route)
{
	return type_of(route->kind)->is_smtp && route->hop_count == 0;
}

bool transport_route_is_unix(const struct transport_route *route)
{
	return route->hop_count > 0 && route->hops[0].path;
}

static const struct transport_hop *copy_hops(const struct transport_route *route,
					     struct arena *arena)
{
	struct transport_hop *hops = arena_alloc(arena, route->hop_count * sizeof(*hops));

	for (unsigned int i = 0; i < route->hop_count; i++) {
		hops[i] = route->hops[i];
		hops[i].host = arena_strdup(arena, hops[i].host);
		hops[i].text = arena_strdup(arena, hops[i].text);
		hops[i].path = arena_strdup(arena, hops[i].path);
		hops[i].login = arena_strdup(arena, hops[i].login);
		hops[i].login_key = arena_strdup(arena, hops[i].login_key);
	}
	return hops;
}

static const char *const *copy_strings(const char *const *strings, unsigned int count,
				       struct arena *arena)
{
	const char **copies = arena_alloc(arena, count * sizeof(*copies));

	for (unsigned int i = 0; i < count; i++)
		copies[i] = arena_strdup(arena, strings[i]);
	return copies;
}

static void copy_policy(struct tls_policy *policy, struct arena *arena)
{
	policy->match = copy_strings(policy->match, policy->match_count, arena);
	policy->fingerprints = copy_strings(policy->fingerprints, policy->fingerprint_count, arena);
	policy->servername = arena_strdup(arena, policy->servername);
	policy->source = arena_strdup(arena, policy->source);
}

static void print_policy(const struct tls_policy *policy, struct buf *out)
{
	buf_printf(out, " tls=%s protocols>=%s", tls_level_name(policy->level),
		   policy->min_version == TLS_VERSION_1_3 ? "TLSv1.3" : "TLSv1.2");
	for (unsigned int i = 0; i < policy->match_count; i++)
		buf_printf(out, "%s%s", i == 0 ? " match=" : ",", policy->match[i]);
	for (unsigned int i = 0; i < policy->fingerprint_count; i++)
		buf_printf(out, "%s%s", i == 0 ? " fingerprint=" : "|", policy->fingerprints[i]);
	if (policy->servername)
		buf_printf(out, " servername=%s", policy->servername);
}

/* With their lengths, as a name may hold anything; so each hop that has one is told by its place. */
static void print_logins(const struct transport_route *route, struct buf *out)
{
	for (unsigned int i = 0; i < route->hop_count; i++) {
		const struct transport_hop *hop = &route->hops[i];

		if (hop->login)
			buf_printf(out, " login%u=%zu:%s by %s%zu:%s", i + 1, strlen(hop->login),
				   hop->login, hop->login_is_by_part ? "part " : "",
				   strlen(hop->login_key), hop->login_key);
	}
}

/* "relay:[a]:25,b:25 tls=encrypt protocols>=TLSv1.2": all that tells routes apart. */
static const char *make_lane(const struct transport_route *route, struct arena *arena)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];
	struct buf lane = { 0 };
	const char *copy;

	buf_printf(&lane, "%s:", route->name);
	if (type_of(route->kind)->is_smtp) {
		for (unsigned int i = 0; i < route->hop_count; i++)
			buf_printf(&lane, "%s%s", i == 0 ? "" : ",", route->hops[i].text);
		if (!transport_route_is_unix(route))
			print_policy(&route->tls, &lane);
		if (route->hop_count > 0 && transport_is_own_domain(route))
			buf_append_string(&lane, " of the recipient");
		print_logins(route, &lane);
		if (route->requires_tls)
			buf_append_string(&lane, " requiretls");
	} else if (!transport_route_is_mailbox(route)) {
		buf_printf(&lane, "%d %s %s", route->status.code,
			   smtp_status_enhanced_text(&route->status, enhanced), route->status.text);
	}
	copy = arena_slicedup(arena, buf_slice(&lane));
	buf_done(&lane);
	return copy;
}

const struct transport_route *route_new(const struct transport_route *draft)
{
	struct arena arena = { 0 };
	struct owned_route *owned = arena_alloc(&arena, sizeof(*owned));
	struct transport_route *route = &owned->route;

	atomic_init(&owned->refs, 1);
	*route = *draft;
	route->nexthop = arena_strdup(&arena, draft->nexthop);
	route->hops = copy_hops(draft, &arena);
	copy_policy(&route->tls, &arena);
	route->source = arena_strdup(&arena, draft->source);
	route->lane = make_lane(route, &arena);
	owned->arena = arena;
	return route;
}

const struct transport_route *transport_route_with_logins(const struct transport_route *route,
							  const struct transport_hop *hops)
{
	struct transport_route draft = *route;

	draft.hops = hops;
	return route_new(&draft);
}

const struct transport_route *transport_route_requiring_tls(const struct transport_route *route)
{
	struct transport_route draft = *route;

	draft.requires_tls = true;
	return route_new(&draft);
}

static const struct transport_route *new_with_status(enum transport_kind kind,
						     const struct smtp_status *status)
{
	const struct transport_route draft = {
		.kind = kind,
		.name = type_of(kind)->name,
		.nexthop = status->text,
		.status = *status,
		.source = "",
	};

	return route_new(&draft);
}

const struct transport_route *transport_route_new_retry(const struct smtp_status *status)
{
	return new_with_status(TRANSPORT_RETRY, status);
}

const struct transport_route *transport_route_new_error(const struct smtp_status *status)
{
	return new_with_status(TRANSPORT_ERROR, status);
}

/* Routes are const to everybody but their own counting. */
static struct owned_route *owned_of(const struct transport_route *route)
{
	return CONTAINER_OF(route, struct owned_route, route);
}

const struct transport_route *transport_route_ref(const struct transport_route *route)
{
	atomic_fetch_add_explicit(&owned_of(route)->refs, 1, memory_order_relaxed);
	return route;
}

void transport_route_unref(const struct transport_route *route)
{
	struct arena arena;
	unsigned int refs;

	if (!route)
		return;
	refs = atomic_fetch_sub_explicit(&owned_of(route)->refs, 1, memory_order_acq_rel);
	assert(refs > 0);
	if (refs > 1)
		return;
	arena = owned_of(route)->arena; /* the route lies in it */
	arena_done(&arena);
}
