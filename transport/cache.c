/*
 * cache - two generations of routes
 *
 * What is used moves into the young one. When that is full it becomes the
 * old one, and what was in the old one and has not been used since is dropped:
 * much of what a list ordered by use would do, at the price of two tables.
 */
#include "transport/internal.h"

#define GENERATION_MAX 1024 /* a route takes some 2 KiB */

static void drop(struct strmap *map)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(map, &cursor)))
		transport_route_unref(entry->value);
	strmap_done(map);
	*map = (struct strmap){ 0 };
}

void cache_done(struct route_cache *cache)
{
	drop(&cache->young);
	drop(&cache->old);
}

/* Takes over the reference. */
static void put(struct route_cache *cache, struct slice key, struct transport_route *route)
{
	if (cache->young.count >= GENERATION_MAX) {
		drop(&cache->old);
		cache->old = cache->young;
		cache->young = (struct strmap){ 0 };
	}
	transport_route_unref(strmap_put(&cache->young, key, route));
}

const struct transport_route *cache_get(struct route_cache *cache, struct slice key)
{
	struct transport_route *route = strmap_get(&cache->young, key);

	if (route)
		return route;
	route = strmap_remove(&cache->old, key);
	if (route)
		put(cache, key, route);
	return route;
}

void cache_put(struct route_cache *cache, struct slice key, const struct transport_route *route)
{
	put(cache, key, (struct transport_route *)transport_route_ref(route));
}
