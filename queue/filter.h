/*
 * filter - which recipients an operator means (struct queue_filter), for the
 * queue's thread, which changes them, and for readers, which show them
 */
#pragma once

#include "queue/action.h"

/* Who is being worked on: active beats queued and deferred, in what is shown and what is meant. */
struct queue_activity {
	int64_t now_ms;
	bool (*is_claimed)(const void *arg, int64_t id); /* NULL: nobody knows, so none is */
	const void *arg;
};

/* Whether it is due, and somebody has its message. */
bool queue_activity_has(const struct queue_activity *a, int64_t id, enum queue_status status,
			int64_t due_ms);

/* What of a message does not depend on the recipient, the ids aside. */
bool queue_filter_has_message(const struct queue_filter *filter, const char *sender,
			      int64_t arrived_ms);

/* One of its recipients, which is pending. */
bool queue_filter_has_recipient(const struct queue_filter *filter, const char *address,
				const char *next_hop, enum queue_status status, bool is_active);

/* Sort, and keep one of each. Returns how many these are. */
size_t queue_filter_sort_ids(int64_t *ids, size_t count);
