/* list - intrusive doubly linked list; the head is a struct list too */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/macros.h"

struct list {
	struct list *prev, *next;
};

static inline void list_init(struct list *head)
{
	head->prev = head->next = head;
}

static inline bool list_is_empty(const struct list *head)
{
	return head->next == head;
}

static inline void list_push(struct list *head, struct list *item) /* at the end */
{
	item->prev = head->prev;
	item->next = head;
	head->prev->next = item;
	head->prev = item;
}

static inline void list_push_front(struct list *head, struct list *item)
{
	list_push(head->next, item);
}

/* Leaves the item pointing at itself, so that removing it twice does no harm. */
static inline void list_remove(struct list *item)
{
	item->prev->next = item->next;
	item->next->prev = item->prev;
	list_init(item);
}

/* All items of from become those of to, which is initialized. */
static inline void list_move(struct list *to, struct list *from)
{
	list_init(to);
	if (list_is_empty(from))
		return;
	*to = *from;
	to->next->prev = to;
	to->prev->next = to;
	list_init(from);
}

/* First item, removed, or NULL. */
static inline struct list *list_pop(struct list *head)
{
	struct list *item = head->next;

	if (item == head)
		return NULL;
	list_remove(item);
	return item;
}

/* The body may remove the current item. */
#define LIST_FOREACH(item, head)                                                                   \
	for (struct list *item = (head)->next, *item##_next = item->next; item != (head);          \
	     item = item##_next, item##_next = item->next)
