/* ids - one atomic counter and a mark that runs ahead of it */
#include "queue/ids.h"

#include "base/macros.h"

#define LOW_WATER (QUEUE_IDS_BLOCK / 2)

void queue_ids_init(struct queue_ids *ids, int64_t mark, int64_t wall_ms)
{
	int64_t first = MAX(mark, 1);

	if (wall_ms < INT64_MAX / 2000)
		first = MAX(first, wall_ms * 1000);
	atomic_init(&ids->next, first);
	atomic_init(&ids->reserved, first);
	atomic_init(&ids->wanted, false);
}

int64_t queue_ids_take(struct queue_ids *ids, bool *ret_wanted)
{
	int64_t id = atomic_fetch_add_explicit(&ids->next, 1, memory_order_relaxed);
	int64_t reserved = atomic_load_explicit(&ids->reserved, memory_order_relaxed);

	*ret_wanted = id + LOW_WATER >= reserved && !atomic_load(&ids->wanted) &&
		      !atomic_exchange(&ids->wanted, true);
	return id;
}

bool queue_ids_take_wanted(struct queue_ids *ids)
{
	return atomic_exchange(&ids->wanted, false);
}

int64_t queue_ids_mark_due(const struct queue_ids *ids)
{
	int64_t next = atomic_load(&ids->next);

	return next + LOW_WATER >= atomic_load(&ids->reserved) ? next + QUEUE_IDS_BLOCK : 0;
}

void queue_ids_reserved(struct queue_ids *ids, int64_t mark)
{
	atomic_store(&ids->reserved, mark);
}

int64_t queue_ids_mark(const struct queue_ids *ids)
{
	return atomic_load(&ids->reserved);
}
