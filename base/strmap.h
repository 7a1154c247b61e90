/*
 * strmap - hash table from byte strings to pointers
 *
 * Keys are copied. The hash is keyed by a random seed for each table, since
 * remote hosts choose some of the keys. A zeroed struct is an empty table.
 */
#pragma once

#include "base/slice.h"

struct strmap_entry {
	char *key; /* NULL: free slot; the terminated copy belongs to the table */
	size_t key_len;
	size_t hash;
	void *value;
};

struct strmap {
	struct strmap_entry *entries;
	size_t count, size; /* size: slots, 0 or a power of two */
	size_t seed;
};

void strmap_done(struct strmap *map);			      /* frees keys, not values */
void *strmap_get(const struct strmap *map, struct slice key); /* NULL when absent */

/* value must not be NULL. Returns the value that was there before, or NULL. */
void *strmap_put(struct strmap *map, struct slice key, void *value);
void *strmap_remove(struct strmap *map, struct slice key); /* returns what was there */

/* Next entry from slot *cursor on (start with 0), or NULL. The table must not change meanwhile. */
const struct strmap_entry *strmap_next(const struct strmap *map, size_t *cursor);
