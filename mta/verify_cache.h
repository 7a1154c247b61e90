/*
 * verify_cache - what is known of addresses behind us: whether their next hop
 * takes mail for them, as of when, and in which words
 *
 * Bounded: of what is deliverable and of what is not, each on its own, the
 * VERIFY_CACHE_MAX used last are kept. So whoever tries a million names that
 * nobody has pushes out none of those that somebody has.
 *
 * Not for several threads at once: who shares it (mta/verify.h) has the lock.
 * Addresses are keys of verify_cache_key(). Times are Unix milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "smtp/status.h"

#define VERIFY_CACHE_MAX 50000
#define VERIFY_BRIEF_MS	 60000

enum verify_verdict {
	VERIFY_UNKNOWN, /* nobody could say: the next hop is down, or wants to be asked later */
	VERIFY_DELIVERABLE,
	VERIFY_UNDELIVERABLE,
};

const char *verify_verdict_name(enum verify_verdict verdict); /* "unknown", "deliverable", … */

struct verify_fact {
	enum verify_verdict verdict;
	int64_t checked_ms;
	bool is_brief; /* good for VERIFY_BRIEF_MS alone, and in memory; unknown ones always are */
	struct smtp_status status;
};

/* The parameters of Postfix with these names; and what clients are told (mta/inbound_verify.c). */
struct verify_options {
	const char *sender; /* of probes; "": the null reverse-path */
	int64_t positive_expire_s, positive_refresh_s;
	int64_t negative_expire_s, negative_refresh_s;
	bool keeps_refusals; /* address_verify_negative_cache */
	int64_t wait_ms;     /* how long a client waits for an answer */
	int reject_code, defer_code;
	bool takes_unknown; /* mail for whom nobody can ask about now */
};

enum verify_age {
	VERIFY_CURRENT,
	VERIFY_STALE, /* still good, and to be asked for again meanwhile */
	VERIFY_EXPIRED,
};

enum verify_age verify_fact_age(const struct verify_fact *fact,
				const struct verify_options *options, int64_t now_ms);

/* What the cache has an address by: one for all spellings of a mailbox. */
char *verify_cache_key(struct arena *arena, const char *address);

struct verify_cache;

struct verify_cache *verify_cache_new(void);
void verify_cache_free(struct verify_cache *c);
size_t verify_cache_count(const struct verify_cache *c);

/* False: nothing is known. */
bool verify_cache_get(struct verify_cache *c, const char *address, struct verify_fact *ret);
void verify_cache_put(struct verify_cache *c, const char *address, const struct verify_fact *fact);
void verify_cache_forget(struct verify_cache *c, const char *address);

/* Those used longest ago first; visit() must not change the cache. */
void verify_cache_each(const struct verify_cache *c,
		       void (*visit)(void *arg, const char *address,
				     const struct verify_fact *fact),
		       void *arg);
