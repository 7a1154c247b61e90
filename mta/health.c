/*
 * What is asked for every delivery is in atomics; what changes with a failure
 * or a recovery is under one lock for all entries, as that is rare. A success
 * of a next hop that is up takes no lock.
 *
 * Entries outlive the lanes that use them, to be remembered and reported,
 * until there are too many.
 */
#include "mta/health.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "mta/backoff.h"

#define UNUSED_KEPT 1000 /* entries; beyond, those that nobody uses are forgotten */
#define DOWN_PART   4	 /* the next probe comes after this part of the time it was down */

struct health {
	pthread_mutex_t mutex;
	struct strmap entries;
	struct {
		void (*changed)(void *arg);
		void *arg;
	} * listeners;
	unsigned int listener_count;
	atomic_uint connections;
};

struct health_entry {
	struct health *health;
	int64_t mail_name;
	atomic_uint turns, connected;
	_Atomic int64_t retry_ms; /* 0: not down */
	_Atomic int64_t last_answer_ms, last_success_ms;
	/* under the mutex */
	char *name, *next_hop;
	struct health_passage *passage; /* NULL: none yet */
	unsigned int users;
	unsigned int failures;
	bool is_probing;
	int64_t down_since_ms, last_error_ms;
	struct smtp_status last_error;
};

struct health *health_new(void)
{
	struct health *h = memory_zeroed(sizeof(*h));

	pthread_mutex_init(&h->mutex, NULL);
	return h;
}

static void free_entry(struct health_entry *e)
{
	free(e->name);
	free(e->next_hop);
	free(e->passage);
	free(e);
}

void health_free(struct health *h)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!h)
		return;
	while ((entry = strmap_next(&h->entries, &cursor)) != NULL) {
		struct health_entry *e = entry->value;

		assert(e->users == 0);
		free_entry(e);
	}
	strmap_done(&h->entries);
	free(h->listeners);
	pthread_mutex_destroy(&h->mutex);
	free(h);
}

void health_listen(struct health *h, void (*changed)(void *arg), void *arg)
{
	pthread_mutex_lock(&h->mutex);
	h->listeners = memory_grow(h->listeners, (h->listener_count + 1) * sizeof(*h->listeners));
	h->listeners[h->listener_count].changed = changed;
	h->listeners[h->listener_count].arg = arg;
	h->listener_count++;
	pthread_mutex_unlock(&h->mutex);
}

static void tell(struct health *h)
{
	for (unsigned int i = 0; i < h->listener_count; i++)
		h->listeners[i].changed(h->listeners[i].arg);
}

static bool is_taken(const struct health *h, int64_t mail_name)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&h->entries, &cursor)) != NULL)
		if (((const struct health_entry *)entry->value)->mail_name == mail_name)
			return true;
	return false;
}

/*
 * FNV-1a: the same after a restart and in every version, as it is stored with
 * what waits. Whoever can choose domains finds two with one hash in a minute: by
 * one name the next hop that is up would be given the mail of the one that is
 * down, over and over.
 */
static int64_t find_mail_name(const struct health *h, const char *text)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * UINT64_C(0x100000001b3);
	while (hash == 0 || is_taken(h, (int64_t)hash))
		hash++;
	return (int64_t)hash;
}

int64_t health_mail_name(const struct health_entry *e)
{
	return e->mail_name;
}

struct health_entry *health_get(struct health *h, const char *name)
{
	struct slice key = slice_from(name);
	struct health_entry *e;

	pthread_mutex_lock(&h->mutex);
	e = strmap_get(&h->entries, key);
	if (!e) {
		e = memory_zeroed(sizeof(*e));
		e->health = h;
		e->mail_name = find_mail_name(h, name);
		e->name = slice_strdup(key);
		e->next_hop = slice_strdup(key);
		strmap_put(&h->entries, key, e);
	}
	e->users++;
	pthread_mutex_unlock(&h->mutex);
	return e;
}

void health_put(struct health_entry *e)
{
	struct health *h;

	if (!e)
		return;
	h = e->health;
	pthread_mutex_lock(&h->mutex);
	assert(e->users > 0);
	if (--e->users == 0 && h->entries.count > UNUSED_KEPT) {
		strmap_remove(&h->entries, slice_from(e->name));
		free_entry(e);
	}
	pthread_mutex_unlock(&h->mutex);
}

void health_set_next_hop(struct health_entry *e, const char *next_hop)
{
	pthread_mutex_lock(&e->health->mutex);
	if (strcmp(e->next_hop, next_hop) != 0) {
		free(e->next_hop);
		e->next_hop = slice_strdup(slice_from(next_hop));
	}
	pthread_mutex_unlock(&e->health->mutex);
}

unsigned int health_turns(const struct health_entry *e)
{
	return atomic_load(&e->turns);
}

bool health_is_down(const struct health_entry *e)
{
	return atomic_load(&e->retry_ms) != 0;
}

int64_t health_retry_ms(const struct health_entry *e)
{
	return atomic_load(&e->retry_ms);
}

void health_opened(struct health_entry *e)
{
	atomic_fetch_add(&e->health->connections, 1);
}

void health_closed(struct health_entry *e)
{
	unsigned int before = atomic_fetch_sub(&e->health->connections, 1);

	assert(before > 0);
}

unsigned int health_connections(const struct health *h)
{
	return atomic_load(&h->connections);
}

void health_connected(struct health_entry *e)
{
	atomic_fetch_add(&e->connected, 1);
}

void health_disconnected(struct health_entry *e)
{
	unsigned int before = atomic_fetch_sub(&e->connected, 1);

	assert(before > 0);
}

enum health_advice health_ask(struct health_entry *e, int64_t now_ms)
{
	enum health_advice advice = HEALTH_DOWN;
	int64_t retry_ms = health_retry_ms(e);

	if (retry_ms == 0)
		return HEALTH_UP;
	if (now_ms < retry_ms)
		return HEALTH_DOWN; /* as each message of a backlog finds it, without the lock */
	pthread_mutex_lock(&e->health->mutex);
	if (!health_is_down(e)) {
		advice = HEALTH_UP;
	} else if (!e->is_probing && now_ms >= health_retry_ms(e)) {
		e->is_probing = true;
		advice = HEALTH_PROBE;
	}
	pthread_mutex_unlock(&e->health->mutex);
	return advice;
}

void health_probe_dropped(struct health_entry *e)
{
	pthread_mutex_lock(&e->health->mutex);
	e->is_probing = false;
	if (health_is_down(e))
		tell(e->health); /* who was told to wait for it may have mail by now */
	pthread_mutex_unlock(&e->health->mutex);
}

void health_answered(struct health_entry *e, int64_t now_ms)
{
	atomic_store(&e->last_answer_ms, now_ms);
	if (!health_is_down(e))
		return;
	pthread_mutex_lock(&e->health->mutex);
	e->failures = 0;
	e->is_probing = false;
	atomic_store(&e->retry_ms, 0);
	atomic_fetch_add(&e->turns, 1);
	tell(e->health);
	pthread_mutex_unlock(&e->health->mutex);
}

void health_succeeded(struct health_entry *e, int64_t now_ms)
{
	atomic_store(&e->last_success_ms, now_ms);
	health_answered(e, now_ms);
}

void health_passed(struct health_entry *e, const struct health_passage *passage)
{
	pthread_mutex_lock(&e->health->mutex);
	if (!e->passage)
		e->passage = memory_new(sizeof(*e->passage));
	*e->passage = *passage;
	pthread_mutex_unlock(&e->health->mutex);
}

/* When to probe again: half and half by what failed how long. */
static int64_t next_probe_ms(const struct health_entry *e, const struct health_failure *f)
{
	int64_t down_s = (f->now_ms - e->down_since_ms) / 1000;
	int64_t wait_s = MIN(MAX(down_s / DOWN_PART, f->minimal_s), f->maximal_s);

	return f->now_ms + backoff_ms(1, wait_s, f->maximal_s, f->random);
}

bool health_failed(struct health_entry *e, const struct health_failure *f)
{
	bool is_down;

	pthread_mutex_lock(&e->health->mutex);
	e->last_error = *f->status;
	e->last_error_ms = f->now_ms;
	is_down = health_is_down(e) || atomic_load(&e->connected) == 0;
	if (is_down && (f->is_probe || !health_is_down(e))) {
		if (e->failures++ == 0)
			e->down_since_ms = f->now_ms;
		e->is_probing = false;
		atomic_store(&e->retry_ms, next_probe_ms(e, f));
		tell(e->health);
	}
	pthread_mutex_unlock(&e->health->mutex);
	return is_down;
}

void health_offer(struct health_entry *e)
{
	pthread_mutex_lock(&e->health->mutex);
	atomic_fetch_add(&e->turns, 1);
	tell(e->health);
	pthread_mutex_unlock(&e->health->mutex);
}

void health_troubled(struct health_entry *e, const struct smtp_status *status, int64_t now_ms)
{
	pthread_mutex_lock(&e->health->mutex);
	e->last_error = *status;
	e->last_error_ms = now_ms;
	pthread_mutex_unlock(&e->health->mutex);
}

void health_last_error(struct health_entry *e, struct smtp_status *ret)
{
	pthread_mutex_lock(&e->health->mutex);
	*ret = e->last_error;
	pthread_mutex_unlock(&e->health->mutex);
}

void health_retry(struct health *h, int64_t now_ms)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	pthread_mutex_lock(&h->mutex);
	while ((entry = strmap_next(&h->entries, &cursor)) != NULL) {
		struct health_entry *e = entry->value;

		if (health_is_down(e))
			atomic_store(&e->retry_ms, now_ms);
	}
	tell(h);
	pthread_mutex_unlock(&h->mutex);
}

void health_hurry(struct health_entry *e, int64_t now_ms, int64_t gap_ms)
{
	int64_t at_ms;

	pthread_mutex_lock(&e->health->mutex);
	at_ms = MAX(now_ms, e->last_error_ms + gap_ms);
	if (health_is_down(e) && !e->is_probing && at_ms < health_retry_ms(e)) {
		atomic_store(&e->retry_ms, at_ms);
		tell(e->health);
	}
	pthread_mutex_unlock(&e->health->mutex);
}

void health_each(struct health *h, void (*visit)(void *arg, const struct health_report *report),
		 void *arg)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	pthread_mutex_lock(&h->mutex);
	while ((entry = strmap_next(&h->entries, &cursor)) != NULL) {
		const struct health_entry *e = entry->value;
		struct health_report report = {
			.name = e->name,
			.next_hop = e->next_hop,
			.is_down = health_is_down(e),
			.is_probing = e->is_probing,
			.is_used = e->users > 0,
			.failures = e->failures,
			.down_since_ms = health_is_down(e) ? e->down_since_ms : 0,
			.retry_ms = health_retry_ms(e),
			.last_answer_ms = atomic_load(&e->last_answer_ms),
			.last_success_ms = atomic_load(&e->last_success_ms),
			.last_error = e->last_error,
			.last_error_ms = e->last_error_ms,
			.passage = e->passage,
		};

		visit(arg, &report);
	}
	pthread_mutex_unlock(&h->mutex);
}
