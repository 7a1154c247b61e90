/*
 * A table of sets of a few entries, as in a processor's cache: a key's hash says
 * in which set it is, and a set that is full gives up the entry that is over,
 * or has the fewest events. Keys are known by their hashes, 64 bits with a
 * secret seed: nobody can choose whose set he comes into, and two keys
 * that share a hash are not to be expected. A part of the table has a lock of
 * its own, and takes no memory before it is used.
 */
#include "mta/rates.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/macros.h"
#include "base/memory.h"

#define PARTS	 64
#define SETS	 128 /* of a part */
#define SET_SIZE 8   /* 64 thousand keys in all, 2.5 MiB */

struct entry {
	uint64_t hash;	/* 0: free */
	int64_t end_ms; /* from then on the counts are void */
	uint32_t counts[RATE_EVENTS];
};

struct part {
	pthread_mutex_t lock;
	struct entry *entries; /* SETS times SET_SIZE; NULL: nobody has come */
};

struct rates {
	uint64_t seed;
	struct part parts[PARTS];
};

struct rates *rates_new(void)
{
	struct rates *rates = memory_zeroed(sizeof(*rates));

	if (getrandom(&rates->seed, sizeof(rates->seed), 0) != sizeof(rates->seed))
		rates->seed = (uint64_t)(uintptr_t)rates; /* as good as it gets */
	for (size_t i = 0; i < PARTS; i++)
		pthread_mutex_init(&rates->parts[i].lock, NULL);
	return rates;
}

void rates_free(struct rates *rates)
{
	if (!rates)
		return;
	for (size_t i = 0; i < PARTS; i++) {
		pthread_mutex_destroy(&rates->parts[i].lock);
		free(rates->parts[i].entries);
	}
	free(rates);
}

static uint64_t total(const struct entry *e)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < RATE_EVENTS; i++)
		sum += e->counts[i];
	return sum;
}

static bool is_over(const struct entry *e, int64_t now_ms)
{
	return e->hash == 0 || now_ms >= e->end_ms;
}

static struct entry *find(struct entry *set, uint64_t hash, int64_t now_ms)
{
	for (size_t i = 0; i < SET_SIZE; i++)
		if (set[i].hash == hash && !is_over(&set[i], now_ms))
			return &set[i];
	return NULL;
}

static struct entry *worst(struct entry *set, int64_t now_ms)
{
	struct entry *least = set;

	for (size_t i = 0; i < SET_SIZE; i++) {
		if (is_over(&set[i], now_ms))
			return &set[i];
		if (total(&set[i]) < total(least))
			least = &set[i];
	}
	return least;
}

static uint64_t hash_of(const struct rates *rates, struct slice key)
{
	return MAX(XXH3_64bits_withSeed(key.ptr, key.len, rates->seed), 1u);
}

static struct entry *set_of(struct part *part, uint64_t hash)
{
	if (!part->entries)
		part->entries = memory_zeroed(SETS * SET_SIZE * sizeof(*part->entries));
	return part->entries + hash / PARTS % SETS * SET_SIZE;
}

unsigned int rates_add(struct rates *rates, struct slice key, enum rate_event event,
		       int64_t unit_ms, int64_t now_ms)
{
	uint64_t hash = hash_of(rates, key);
	struct part *part = &rates->parts[hash % PARTS];
	struct entry *set, *entry;
	unsigned int count;

	pthread_mutex_lock(&part->lock);
	set = set_of(part, hash);
	entry = find(set, hash, now_ms);
	if (!entry) {
		entry = worst(set, now_ms);
		*entry = (struct entry){ .hash = hash, .end_ms = now_ms + unit_ms };
	}
	if (entry->counts[event] < UINT32_MAX)
		entry->counts[event]++;
	count = entry->counts[event];
	pthread_mutex_unlock(&part->lock);
	return count;
}

unsigned int rates_get(struct rates *rates, struct slice key, enum rate_event event, int64_t now_ms)
{
	uint64_t hash = hash_of(rates, key);
	struct part *part = &rates->parts[hash % PARTS];
	const struct entry *entry;
	unsigned int count;

	pthread_mutex_lock(&part->lock);
	entry = find(set_of(part, hash), hash, now_ms);
	count = entry ? entry->counts[event] : 0;
	pthread_mutex_unlock(&part->lock);
	return count;
}
