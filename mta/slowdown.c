/*
 * Three tables of fixed size, in sets of a few entries, where a key can only be
 * in one set: addresses, accounts, and pairs of both that have logged in. An
 * entry knows how much has failed, and when its next attempt may be judged.
 * Only who logs in gets into the table of pairs, so a stranger drives nobody
 * out of it.
 *
 * An attempt waits its turn whether it would succeed or not: who hung up when
 * the answer is slow would otherwise have learned from the time alone.
 */
#include "mta/slowdown.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <xxhash.h>

#include "base/macros.h"
#include "base/memory.h"

#define SETS 4096
#define WAYS 4

#define HALF_LIFE_MS	   (5 * 60 * 1000)
#define PAIR_LIFE_MS	   (INT64_C(14) * 24 * 3600 * 1000) /* since its last success */
#define FREE_OF_ADDRESS	   3  /* failures that cost nothing; of a pair, too */
#define FREE_OF_ACCOUNT	   10 /* from anywhere */
#define FAILURES_MAX	   1000
#define FIRST_INTERVAL_MS  1000
#define QUEUE_LIMITS	   4 /* of waiting attempts of one address, in limits */
#define ACCOUNT_LIMIT_PART 3 /* of the limit, for an account */

struct entry {
	uint64_t key;	    /* 0: free */
	unsigned int count; /* of failures */
	int64_t as_of_ms;   /* when the count was halved last */
	int64_t next_ms;    /* no attempt is judged before */
	int64_t until_ms;   /* of a pair: how long it counts */
};

struct table {
	struct entry entries[SETS][WAYS];
};

struct slowdown {
	pthread_mutex_t mutex;
	uint64_t seed;
	struct table addresses, accounts, pairs;
};

struct slowdown *slowdown_new(void)
{
	struct slowdown *slowdown = memory_zeroed(sizeof(*slowdown));

	pthread_mutex_init(&slowdown->mutex, NULL);
	if (getrandom(&slowdown->seed, sizeof(slowdown->seed), 0) != sizeof(slowdown->seed))
		slowdown->seed =
			(uint64_t)(uintptr_t)slowdown; /* early at boot; better than none */
	return slowdown;
}

void slowdown_free(struct slowdown *slowdown)
{
	if (!slowdown)
		return;
	pthread_mutex_destroy(&slowdown->mutex);
	free(slowdown);
}

/* ---- keys ---- */

struct keys {
	uint64_t address, account, pair; /* 0: none */
};

static uint64_t hash(const struct slowdown *slowdown, const void *bytes, size_t len, uint64_t salt)
{
	uint64_t key = XXH3_64bits_withSeed(bytes, len, slowdown->seed + salt);

	return key ? key : 1;
}

/* Whoever has one address of IPv6 has the network that it is in. */
static uint64_t hash_address(const struct slowdown *slowdown, const struct net_address *address)
{
	char text[NET_ADDRESS_TEXT_SIZE];

	net_address_ip(address, text);
	if (address->sa.sa_family == AF_INET6 && slice_find(slice_from(text), ':') < strlen(text))
		return hash(slowdown, &address->in6.sin6_addr, 8, 0);
	return hash(slowdown, text, strlen(text), 0);
}

static struct keys keys_of(const struct slowdown *slowdown, const struct slowdown_attempt *attempt)
{
	struct keys keys = { 0 };

	keys.account = hash(slowdown, attempt->account.ptr ? attempt->account.ptr : "",
			    attempt->account.len, 1);
	if (attempt->address) {
		keys.address = hash_address(slowdown, attempt->address);
		keys.pair = hash(slowdown, &keys, sizeof(keys), 2);
	}
	return keys;
}

/* ---- entries ---- */

static struct entry *find(struct table *table, uint64_t key)
{
	struct entry *set = table->entries[key % SETS];

	for (size_t i = 0; key && i < WAYS; i++)
		if (set[i].key == key)
			return &set[i];
	return NULL;
}

static void forget_half(struct entry *e, int64_t now_ms)
{
	for (; e->count > 0 && now_ms - e->as_of_ms >= HALF_LIFE_MS; e->as_of_ms += HALF_LIFE_MS)
		e->count /= 2;
	if (e->count == 0)
		e->as_of_ms = now_ms;
}

/* The one of a set that is least missed: of pairs the oldest, else the one that has failed least. */
static struct entry *find_or_make(struct table *table, uint64_t key, int64_t now_ms)
{
	struct entry *set = table->entries[key % SETS], *e = find(table, key);

	if (e)
		return e;
	e = &set[0];
	for (size_t i = 0; i < WAYS; i++) {
		forget_half(&set[i], now_ms);
		if (set[i].until_ms < e->until_ms ||
		    (set[i].until_ms == e->until_ms && set[i].count < e->count))
			e = &set[i];
	}
	*e = (struct entry){ .key = key, .as_of_ms = now_ms };
	return e;
}

static int64_t interval_ms(const struct entry *e, unsigned int free, int64_t limit_ms)
{
	unsigned int doublings = e->count > free ? e->count - free - 1 : 0;

	if (e->count <= free)
		return 0;
	return doublings > 20 ? limit_ms : MIN((int64_t)FIRST_INTERVAL_MS << doublings, limit_ms);
}

/* Sets the time aside, of at most queue_ms; more than that is answered with it, and takes none. */
static int64_t queue_up(struct entry *e, unsigned int free, int64_t limit_ms, int64_t queue_ms,
			int64_t now_ms)
{
	int64_t wait_ms;

	if (!e)
		return 0;
	forget_half(e, now_ms);
	e->next_ms = MAX(e->next_ms, now_ms);
	wait_ms = e->next_ms - now_ms;
	if (wait_ms > queue_ms)
		return wait_ms;
	e->next_ms += interval_ms(e, free, limit_ms);
	return wait_ms;
}

/* ---- attempts ---- */

static struct entry *known_pair(struct slowdown *slowdown, const struct keys *keys, int64_t now_ms)
{
	struct entry *pair = find(&slowdown->pairs, keys->pair);

	return pair && pair->until_ms > now_ms ? pair : NULL;
}

static int64_t wait_for_others(struct slowdown *slowdown, const struct keys *keys, int64_t limit_ms,
			       int64_t now_ms)
{
	int64_t queue_ms = QUEUE_LIMITS * limit_ms, account_ms = limit_ms / ACCOUNT_LIMIT_PART;
	int64_t address_wait_ms, account_wait_ms;

	address_wait_ms = queue_up(find(&slowdown->addresses, keys->address), FREE_OF_ADDRESS,
				   limit_ms, queue_ms, now_ms);
	if (address_wait_ms > queue_ms)
		return SLOWDOWN_REFUSED;
	account_wait_ms = queue_up(find(&slowdown->accounts, keys->account), FREE_OF_ACCOUNT,
				   account_ms, account_ms, now_ms);
	return MAX(address_wait_ms, MIN(account_wait_ms, account_ms));
}

int64_t slowdown_wait(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
		      int64_t now_ms)
{
	struct keys keys = keys_of(slowdown, attempt);
	int64_t limit_ms = attempt->limit_ms, wait_ms;
	struct entry *pair;

	if (limit_ms == 0)
		return 0;
	pthread_mutex_lock(&slowdown->mutex);
	pair = known_pair(slowdown, &keys, now_ms);
	if (!pair) {
		wait_ms = wait_for_others(slowdown, &keys, limit_ms, now_ms);
	} else {
		wait_ms =
			queue_up(pair, FREE_OF_ADDRESS, limit_ms, QUEUE_LIMITS * limit_ms, now_ms);
		if (wait_ms > QUEUE_LIMITS * limit_ms)
			wait_ms = SLOWDOWN_REFUSED;
	}
	pthread_mutex_unlock(&slowdown->mutex);
	return wait_ms;
}

static void count_failure(struct entry *e, unsigned int free, int64_t limit_ms, int64_t now_ms)
{
	forget_half(e, now_ms);
	e->count = MIN(e->count + 1, FAILURES_MAX);
	e->next_ms = MAX(e->next_ms, now_ms + interval_ms(e, free, limit_ms));
}

void slowdown_failed(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
		     int64_t now_ms)
{
	struct keys keys = keys_of(slowdown, attempt);
	int64_t limit_ms = attempt->limit_ms;
	struct entry *pair;

	if (limit_ms == 0)
		return;
	pthread_mutex_lock(&slowdown->mutex);
	pair = known_pair(slowdown, &keys, now_ms);
	if (pair)
		count_failure(pair, FREE_OF_ADDRESS, limit_ms, now_ms);
	if (keys.address)
		count_failure(find_or_make(&slowdown->addresses, keys.address, now_ms),
			      FREE_OF_ADDRESS, limit_ms, now_ms);
	count_failure(find_or_make(&slowdown->accounts, keys.account, now_ms), FREE_OF_ACCOUNT,
		      limit_ms / ACCOUNT_LIMIT_PART, now_ms);
	pthread_mutex_unlock(&slowdown->mutex);
}

/*
 * The failures of an address are not forgiven by a success: who has one account
 * could go on with those of others.
 */
void slowdown_succeeded(struct slowdown *slowdown, const struct slowdown_attempt *attempt,
			int64_t now_ms)
{
	struct keys keys = keys_of(slowdown, attempt);
	struct entry *pair;

	if (attempt->limit_ms == 0 || !keys.pair)
		return;
	pthread_mutex_lock(&slowdown->mutex);
	pair = find_or_make(&slowdown->pairs, keys.pair, now_ms);
	pair->count = 0;
	pair->next_ms = now_ms;
	pair->until_ms = now_ms + PAIR_LIFE_MS;
	pthread_mutex_unlock(&slowdown->mutex);
}
