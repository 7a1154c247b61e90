/* The only state that sessions of different workers share; connecting is rare next to mail. */
#include "mta/inbound_session.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/memory.h"

struct inbound_limits {
	pthread_mutex_t mutex;
	struct strmap connections; /* IP address -> count, as a pointer */
	_Atomic int64_t bytes;
	atomic_uint sessions;
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
	pthread_mutex_destroy(&limits->mutex);
	free(limits);
}

/* Change the count of an address by step; returns the new one. */
static uintptr_t count(struct inbound_limits *limits, const struct net_address *peer, int step)
{
	char text[NET_ADDRESS_TEXT_SIZE];
	struct slice key = slice_from(net_address_ip(peer, text));
	uintptr_t n;

	pthread_mutex_lock(&limits->mutex);
	n = (uintptr_t)strmap_get(&limits->connections, key) + (uintptr_t)(intptr_t)step;
	if (n == 0)
		strmap_remove(&limits->connections, key);
	else
		strmap_put(&limits->connections, key, (void *)n);
	pthread_mutex_unlock(&limits->mutex);
	return n;
}

bool inbound_limits_connect(struct inbound_limits *limits, const struct net_address *peer,
			    unsigned int max)
{
	if (count(limits, peer, 1) <= max || max == 0) {
		atomic_fetch_add(&limits->sessions, 1);
		return true;
	}
	count(limits, peer, -1);
	return false;
}

void inbound_limits_disconnect(struct inbound_limits *limits, const struct net_address *peer)
{
	atomic_fetch_sub(&limits->sessions, 1);
	count(limits, peer, -1);
}

unsigned int inbound_limits_sessions(const struct inbound_limits *limits)
{
	return atomic_load(&limits->sessions);
}

uint64_t inbound_limits_add_bytes(struct inbound_limits *limits, int64_t bytes)
{
	return (uint64_t)(atomic_fetch_add(&limits->bytes, bytes) + bytes);
}
