/*
 * dns_cache - a table by name, and a list by use
 *
 * Only what is known is in the list and counts: how many questions are under
 * way is bounded by those who ask.
 */
#include "net/dns_cache.h"

#include <stdlib.h>

#include "base/macros.h"
#include "net/internal.h"

/* RFC 2308 section 5 finds one to three hours sensible; mail that waits for an operator does not. */
#define FOUND_MAX_S	3600
#define NOT_FOUND_MAX_S 300
#define FAILURE_S	5 /* RFC 2308 section 7: never more than five minutes */

void dns_cache_init(struct dns_cache *cache, size_t known_max)
{
	*cache = (struct dns_cache){ .known_max = known_max };
	list_init(&cache->known);
}

static void forget(struct dns_cache *cache, struct dns_entry *entry)
{
	strmap_remove(&cache->entries, slice_from(entry->key));
	if (entry->is_known) {
		list_remove(&entry->link);
		cache->known_count--;
	}
	dns_entry_unref(entry);
}

void dns_cache_forget(struct dns_cache *cache)
{
	LIST_FOREACH (item, &cache->known)
		forget(cache, CONTAINER_OF(item, struct dns_entry, link));
}

void dns_cache_done(struct dns_cache *cache)
{
	const struct strmap_entry *item;
	size_t cursor = 0;

	while ((item = strmap_next(&cache->entries, &cursor)) != NULL) {
		struct dns_entry *entry = item->value;

		list_remove(&entry->link);
		dns_entry_unref(entry);
	}
	strmap_done(&cache->entries);
}

struct dns_entry *dns_cache_find(struct dns_cache *cache, const char *key, int64_t now_ms)
{
	struct dns_entry *entry = strmap_get(&cache->entries, slice_from(key));

	if (!entry || !entry->is_known)
		return entry;
	if (entry->until_ms <= now_ms) {
		forget(cache, entry);
		return NULL;
	}
	list_remove(&entry->link);
	list_push(&cache->known, &entry->link);
	return entry;
}

struct dns_entry *dns_cache_add(struct dns_cache *cache, const char *key)
{
	struct dns_entry *entry = net_new(sizeof(*entry));

	entry->references = 1;
	entry->key = slice_strdup(slice_from(key));
	list_init(&entry->link);
	list_init(&entry->waiters);
	strmap_put(&cache->entries, slice_from(key), entry);
	return entry;
}

static int64_t lifetime_s(const struct dns_entry *entry)
{
	if (entry->failure)
		return FAILURE_S;
	if (!entry->records.has_ttl)
		return 0; /* RFC 2308 section 5: there was no SOA */
	return MIN(entry->records.ttl_s, entry->records.count ? FOUND_MAX_S : NOT_FOUND_MAX_S);
}

void dns_cache_keep(struct dns_cache *cache, struct dns_entry *entry, int64_t now_ms)
{
	entry->is_known = true;
	entry->until_ms = now_ms + lifetime_s(entry) * 1000;
	list_push(&cache->known, &entry->link);
	cache->known_count++;
	if (entry->until_ms <= now_ms)
		forget(cache, entry);
	else if (cache->known_count > cache->known_max)
		forget(cache, CONTAINER_OF(cache->known.next, struct dns_entry, link));
}

struct dns_entry *dns_entry_ref(struct dns_entry *entry)
{
	entry->references++;
	return entry;
}

void dns_entry_unref(struct dns_entry *entry)
{
	if (!entry || --entry->references > 0)
		return;
	dns_records_done(&entry->records);
	free(entry->key);
	free(entry);
}
