/*
 * dns_cache - questions to name servers, under way or answered not long ago
 *
 * An entry is one question: a name, a type, and whether its security is asked.
 * Whoever looks at one across callbacks holds a reference, as an entry that
 * grows old or has to make room leaves the cache at any time.
 */
#pragma once

#include "base/strmap.h"
#include "net/dns_message.h"

struct dns_entry {
	struct list link; /* of the cache's known, once it is known */
	unsigned int references;
	char *key;
	bool is_known;	      /* else it is being asked */
	struct list waiters;  /* struct dns_part, which want to be told */
	int failure;	      /* ARES_E...: nothing was found out; 0: records say what there is, */
	bool is_name_unknown; /*   or it is this: NXDOMAIN */
	struct dns_records records;
	int64_t until_ms;
};

struct dns_cache {
	struct strmap entries;
	struct list known; /* what was used last is last */
	size_t known_count, known_max;
};

void dns_cache_init(struct dns_cache *cache, size_t known_max);
void dns_cache_done(struct dns_cache *cache); /* entries that others hold live on */

/* All that is known; what is being asked stays. */
void dns_cache_forget(struct dns_cache *cache);

/* Still asked, or known and good; else NULL. */
struct dns_entry *dns_cache_find(struct dns_cache *cache, const char *key, int64_t now_ms);

/* A new one, to be asked. The key must not be there. */
struct dns_entry *dns_cache_add(struct dns_cache *cache, const char *key);

/* Its fields have been filled in: it is kept for as long as they hold, if there was one. */
void dns_cache_keep(struct dns_cache *cache, struct dns_entry *entry, int64_t now_ms);

struct dns_entry *dns_entry_ref(struct dns_entry *entry);
void dns_entry_unref(struct dns_entry *entry); /* NULL is fine */
