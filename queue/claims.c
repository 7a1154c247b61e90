/* claims - open addressing with linear probing; removal closes the gap, so there are no graves */
#include "queue/claims.h"

#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "queue/private.h"

#define SIZE_MINIMUM 64

static size_t home_of(const struct queue_claims *c, int64_t id)
{
	/* Ids are consecutive: the multiplication spreads them (Knuth, TAOCP 6.4). */
	return (size_t)(((uint64_t)id * UINT64_C(0x9E3779B97F4A7C15)) >> 32) & (c->size - 1);
}

/* The slot of id, or the free one where it belongs. */
static size_t find_slot(const struct queue_claims *c, int64_t id)
{
	size_t slot = home_of(c, id);

	while (c->slots[slot].id != 0 && c->slots[slot].id != id)
		slot = (slot + 1) & (c->size - 1);
	return slot;
}

void queue_claims_init(struct queue_claims *c)
{
	*c = (struct queue_claims){ .count = 0 };
	queue_claims_rewind(c);
}

void queue_claims_done(struct queue_claims *c)
{
	free(c->slots);
	queue_claims_init(c);
}

bool queue_claims_has(const struct queue_claims *c, int64_t id)
{
	return c->size > 0 && c->slots[find_slot(c, id)].id == id;
}

int64_t queue_claims_due_ms(const struct queue_claims *c, int64_t id)
{
	return queue_claims_has(c, id) ? c->slots[find_slot(c, id)].due_ms : QUEUE_NEVER;
}

static void grow(struct queue_claims *c)
{
	struct queue_due *old = c->slots;
	size_t old_size = c->size;

	c->size = old_size ? old_size * 2 : SIZE_MINIMUM;
	c->slots = memory_new(c->size * sizeof(*c->slots));
	memset(c->slots, 0, c->size * sizeof(*c->slots));
	for (size_t i = 0; i < old_size; i++)
		if (old[i].id != 0)
			c->slots[find_slot(c, old[i].id)] = old[i];
	free(old);
}

void queue_claims_put(struct queue_claims *c, int64_t id, int64_t due_ms)
{
	size_t slot;

	if (c->count >= c->size / 2)
		grow(c);
	slot = find_slot(c, id);
	if (c->slots[slot].id == 0)
		c->count++;
	c->slots[slot] = (struct queue_due){ due_ms, id };
}

/* Move up what follows a freed slot and would no longer be found behind the gap. */
static void close_gap(struct queue_claims *c, size_t gap)
{
	size_t mask = c->size - 1;

	for (size_t i = (gap + 1) & mask; c->slots[i].id != 0; i = (i + 1) & mask) {
		size_t home = home_of(c, c->slots[i].id);

		if (((i - home) & mask) >= ((i - gap) & mask)) {
			c->slots[gap] = c->slots[i];
			gap = i;
		}
	}
	c->slots[gap] = (struct queue_due){ 0, 0 };
}

void queue_claims_forget(struct queue_claims *c, int64_t id)
{
	size_t slot;

	if (c->size == 0)
		return;
	slot = find_slot(c, id);
	if (c->slots[slot].id == 0)
		return;
	close_gap(c, slot);
	c->count--;
}

static bool is_before(struct queue_due a, struct queue_due b)
{
	return a.due_ms < b.due_ms || (a.due_ms == b.due_ms && a.id < b.id);
}

void queue_claims_release(struct queue_claims *c, int64_t id)
{
	struct queue_due released;

	if (!queue_claims_has(c, id))
		return;
	released = c->slots[find_slot(c, id)];
	queue_claims_forget(c, id);
	released.id--; /* the cursor is the last entry that is passed over */
	if (is_before(released, c->cursor))
		c->cursor = released;
}

void queue_claims_rewind(struct queue_claims *c)
{
	c->cursor = (struct queue_due){ INT64_MIN, 0 };
}

void queue_claims_advance(struct queue_claims *c, struct queue_due seen)
{
	if (is_before(c->cursor, seen))
		c->cursor = seen;
}
