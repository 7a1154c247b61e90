/*
 * strmap - open addressing with linear probing, at most three quarters full
 *
 * Removing an entry moves later ones of its run back into the gap, so there
 * are no tombstones and a table that lives long stays as fast as a new one.
 * The hash is SipHash-1-3 (Aumasson and Bernstein, 2012): who does not know
 * the seed cannot choose keys that collide.
 */
#include "base/strmap.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "base/memory.h"

#define SIZE_MINIMUM 8

static inline uint64_t rotate(uint64_t x, unsigned int bits)
{
	return x << bits | x >> (64 - bits);
}

static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = rotate(v[1], 13) ^ v[0];
	v[0] = rotate(v[0], 32);
	v[2] += v[3];
	v[3] = rotate(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = rotate(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = rotate(v[1], 17) ^ v[2];
	v[2] = rotate(v[2], 32);
}

static size_t hash_of(size_t seed, struct slice key)
{
	const uint64_t k0 = seed, k1 = ~(uint64_t)seed;
	uint64_t v[4] = { k0 ^ 0x736f6d6570736575, k1 ^ 0x646f72616e646f6d, k0 ^ 0x6c7967656e657261,
			  k1 ^ 0x7465646279746573 };
	size_t left = key.len;
	const char *p = key.ptr;
	uint64_t word;

	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&word, p, 8);
		v[3] ^= word;
		sip_round(v);
		v[0] ^= word;
	}
	word = 0;
	if (left)
		memcpy(&word, p, left);
	word ^= (uint64_t)key.len << 56; /* the words of a table need no byte order */
	v[3] ^= word;
	sip_round(v);
	v[0] ^= word;

	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return (size_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static size_t make_seed(const struct strmap *map)
{
	struct timespec ts;
	size_t seed;

	if (getrandom(&seed, sizeof(seed), 0) == (ssize_t)sizeof(seed))
		return seed;

	/* A sandbox that forbids it: hard to guess from afar is the best there is. */
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (size_t)ts.tv_nsec * 0x9e3779b1u ^ (size_t)ts.tv_sec ^ (size_t)(uintptr_t)map;
}

/* The entry of key, or the free slot where it belongs. The table has a free slot. */
static struct strmap_entry *find(const struct strmap *map, size_t hash, struct slice key)
{
	size_t mask = map->size - 1;

	for (size_t i = hash & mask;; i = (i + 1) & mask) {
		struct strmap_entry *e = &map->entries[i];

		if (!e->key)
			return e;
		if (e->hash == hash && slice_equal(slice_of(e->key, e->key_len), key))
			return e;
	}
}

static void grow(struct strmap *map)
{
	struct strmap_entry *old = map->entries;
	size_t old_size = map->size, mask;

	assert(old_size <= SIZE_MAX / 4 / sizeof(*old));
	map->size = old_size ? old_size * 2 : SIZE_MINIMUM;
	map->entries = memory_new(map->size * sizeof(*old));
	memset(map->entries, 0, map->size * sizeof(*old));
	mask = map->size - 1;

	for (size_t i = 0; i < old_size; i++) {
		size_t slot = old[i].hash & mask;

		if (!old[i].key)
			continue;
		while (map->entries[slot].key)
			slot = (slot + 1) & mask;
		map->entries[slot] = old[i];
	}
	free(old);
}

void strmap_done(struct strmap *map)
{
	for (size_t i = 0; i < map->size; i++)
		free(map->entries[i].key);
	free(map->entries);
	*map = (struct strmap){ 0 };
}

void *strmap_get(const struct strmap *map, struct slice key)
{
	return map->count ? find(map, hash_of(map->seed, key), key)->value : NULL;
}

void *strmap_put(struct strmap *map, struct slice key, void *value)
{
	struct strmap_entry *e;
	void *before;
	size_t hash;

	assert(value);
	if (map->size == 0)
		map->seed = make_seed(map);
	if (map->count >= map->size - map->size / 4)
		grow(map);

	hash = hash_of(map->seed, key);
	e = find(map, hash, key);
	before = e->value;
	if (!e->key) {
		e->key = memory_new(key.len + 1);
		if (key.len)
			memcpy(e->key, key.ptr, key.len);
		e->key[key.len] = '\0';
		e->key_len = key.len;
		e->hash = hash;
		map->count++;
	}
	e->value = value;
	return before;
}

/* Move the entries behind the free slot that probing would no longer reach. */
static void close_gap(struct strmap *map, size_t gap)
{
	size_t mask = map->size - 1;

	for (size_t i = (gap + 1) & mask; map->entries[i].key; i = (i + 1) & mask) {
		size_t distance = (i - map->entries[i].hash) & mask;

		if (distance < ((i - gap) & mask))
			continue; /* it belongs behind the gap */
		map->entries[gap] = map->entries[i];
		gap = i;
	}
	map->entries[gap] = (struct strmap_entry){ 0 };
}

void *strmap_remove(struct strmap *map, struct slice key)
{
	struct strmap_entry *e;
	void *value;

	if (map->count == 0)
		return NULL;
	e = find(map, hash_of(map->seed, key), key);
	if (!e->key)
		return NULL;

	value = e->value;
	free(e->key);
	close_gap(map, (size_t)(e - map->entries));
	map->count--;
	return value;
}

const struct strmap_entry *strmap_next(const struct strmap *map, size_t *cursor)
{
	while (*cursor < map->size) {
		const struct strmap_entry *e = &map->entries[(*cursor)++];

		if (e->key)
			return e;
	}
	return NULL;
}
