/* The only state that sessions of different workers share; connecting is rare next to mail. */
#include "mta/inbound_session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

#define ETRN_AGAIN_MS 10000 /* for the same domain */
#define ETRN_DEBT_MS  1000  /* of looking through the queue; of that much nobody need wait */
#define ETRN_SHARE    10    /* the debt is paid off by this part of the time that goes by */
#define ETRN_DOMAINS  1000  /* are remembered */

struct inbound_limits {
	pthread_mutex_t mutex;
	struct strmap connections; /* network -> count, as a pointer */
	_Atomic int64_t bytes;
	atomic_uint sessions;
	bool has_etrn;			    /* somebody looks through the queue */
	int64_t etrn_debt_ms, etrn_paid_ms; /* as of when */
	struct strmap etrn_domains;	    /* the last that were asked for -> when, as a pointer */
};

struct inbound_limits *inbound_limits_new(void)
{
	struct inbound_limits *limits = memory_zeroed(sizeof(*limits));

	pthread_mutex_init(&limits->mutex, NULL);
	return limits;
}

void inbound_limits_free(struct inbound_limits *limits)
{
	if (!limits)
		return;
	strmap_done(&limits->connections);
	strmap_done(&limits->etrn_domains);
	pthread_mutex_destroy(&limits->mutex);
	free(limits);
}

/* Change the count of a network by step; returns the new one. */
static uintptr_t count(struct inbound_limits *limits, const char *network, int step)
{
	struct slice key = slice_from(network);
	uintptr_t n;

	if (!network[0])
		return 0;
	pthread_mutex_lock(&limits->mutex);
	n = (uintptr_t)strmap_get(&limits->connections, key) + (uintptr_t)(intptr_t)step;
	if (n == 0)
		strmap_remove(&limits->connections, key);
	else
		strmap_put(&limits->connections, key, (void *)n);
	pthread_mutex_unlock(&limits->mutex);
	return n;
}

bool inbound_limits_connect(struct inbound_limits *limits, const char *network, unsigned int max)
{
	if (count(limits, network, 1) <= max || max == 0) {
		atomic_fetch_add(&limits->sessions, 1);
		return true;
	}
	count(limits, network, -1);
	return false;
}

void inbound_limits_disconnect(struct inbound_limits *limits, const char *network)
{
	atomic_fetch_sub(&limits->sessions, 1);
	count(limits, network, -1);
}

unsigned int inbound_limits_sessions(const struct inbound_limits *limits)
{
	return atomic_load(&limits->sessions);
}

uint64_t inbound_limits_add_bytes(struct inbound_limits *limits, int64_t bytes)
{
	return (uint64_t)(atomic_fetch_add(&limits->bytes, bytes) + bytes);
}

static bool was_asked_lately(struct inbound_limits *limits, struct slice domain, int64_t now_ms)
{
	intptr_t last_ms = (intptr_t)strmap_get(&limits->etrn_domains, domain);

	return last_ms != 0 && now_ms < last_ms + ETRN_AGAIN_MS;
}

static int64_t etrn_debt_ms(struct inbound_limits *limits, int64_t now_ms)
{
	int64_t paid_ms = (now_ms - limits->etrn_paid_ms) / ETRN_SHARE;

	limits->etrn_debt_ms = MAX(limits->etrn_debt_ms - paid_ms, 0);
	limits->etrn_paid_ms += paid_ms * ETRN_SHARE;
	return limits->etrn_debt_ms;
}

enum inbound_turn inbound_limits_etrn_begin(struct inbound_limits *limits, const char *domain,
					    int64_t now_ms)
{
	struct slice key = slice_from(domain);
	enum inbound_turn turn = INBOUND_TURN_NOW;

	pthread_mutex_lock(&limits->mutex);
	if (was_asked_lately(limits, key, now_ms)) {
		turn = INBOUND_TURN_LATELY;
	} else if (limits->has_etrn || etrn_debt_ms(limits, now_ms) > ETRN_DEBT_MS) {
		turn = INBOUND_TURN_BUSY;
	} else {
		limits->has_etrn = true;
		if (limits->etrn_domains.count >=
		    ETRN_DOMAINS) /* then the rest is what bounds it */
			strmap_done(&limits->etrn_domains);
		strmap_put(&limits->etrn_domains, key, (void *)(intptr_t)now_ms);
	}
	pthread_mutex_unlock(&limits->mutex);
	return turn;
}

void inbound_limits_etrn_end(struct inbound_limits *limits, int64_t took_ms)
{
	pthread_mutex_lock(&limits->mutex);
	limits->has_etrn = false;
	limits->etrn_debt_ms += took_ms;
	pthread_mutex_unlock(&limits->mutex);
}
