/*
 * reader - the store, opened read-only, in small steps
 *
 * A list takes the ids of a page and loads their messages in one snapshot,
 * ends it, and only then shows them: whoever prints them may take its time.
 * The ids are those of the filter; or come from a walk over the recipients,
 * which looks at so many rows in a page; or, if all are wanted, from a walk
 * over the messages, which sees damaged ones too.
 */
#include "queue/reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "queue/private.h"
#include "queue/reader_private.h"

#define PAGE_MESSAGES	256
#define PAGE_RECIPIENTS 4096  /* then the page ends early */
#define PAGE_LOOKS	65536 /* at recipients that the filter may not name */
#define PATH_SIZE	4096

int queue_reader_open(const char *directory, struct queue_reader **ret_reader, struct error *err)
{
	CLEANUP(queue_reader_closep) struct queue_reader *r = memory_new(sizeof(*r));
	char path[PATH_SIZE];
	struct stat st;
	int len, result;

	*r = (struct queue_reader){ .bodies = { .fd = -1 } };
	len = snprintf(path, sizeof(path), "%s/queue.db", directory);
	if (len < 0 || (size_t)len >= sizeof(path))
		return error_set(err, -ENAMETOOLONG, "%s: name too long", directory);
	if (stat(path, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));

	result = queue_store_open(path, true, &r->store, err);
	if (result == 0)
		result = queue_bodies_open_existing(directory, &r->bodies, err);
	if (result < 0)
		return result;
	*ret_reader = r;
	r = NULL;
	return 0;
}

void queue_reader_close(struct queue_reader *r)
{
	if (!r)
		return;
	queue_store_close(r->store);
	queue_bodies_done(&r->bodies);
	free(r);
}

static bool is_claimed(const void *arg, int64_t id)
{
	const struct queue_reader *r = arg;
	size_t low = 0, high = r->active_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (r->active_ids[middle] == id)
			return true;
		if (r->active_ids[middle] < id)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

void queue_reader_set_active(struct queue_reader *r, const int64_t *ids, size_t count,
			     int64_t now_ms)
{
	r->active_ids = ids;
	r->active_count = count;
	r->activity = (struct queue_activity){ now_ms, is_claimed, r };
}

bool queue_reader_is_active(const struct queue_reader *r, const struct queue_message *m,
			    const struct queue_recipient *recipient)
{
	return queue_activity_has(&r->activity, m->id, recipient->status, recipient->due_ms);
}

/* A list under way. */
struct listing {
	struct queue_reader *reader;
	const struct queue_filter *filter; /* NULL: all */
	int64_t *ids;			   /* of the filter, sorted; NULL: any */
	size_t id_count, id_next;
	int64_t last; /* id that was looked at */
};

struct page {
	struct queue_message *messages[PAGE_MESSAGES];
	int count;
	bool is_last;
	int damage; /* the first error about a message that could not be shown */
	struct error error;
};

static bool is_wanted(const struct listing *l, const struct queue_message *m,
		      const struct queue_recipient *recipient)
{
	if (!queue_status_is_pending(recipient->status))
		return false;
	return !l->filter ||
	       (queue_filter_has_message(l->filter, m->sender, m->arrived_ms) &&
		queue_filter_has_recipient(l->filter, recipient->address, recipient->next_hop,
					   recipient->status,
					   queue_reader_is_active(l->reader, m, recipient)));
}

/* A list shows what is still to do; queue_reader_load() shows the rest. */
static void keep_wanted(const struct listing *l, struct queue_message *m)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (is_wanted(l, m, &m->recipients[i]))
			m->recipients[kept++] = m->recipients[i];
	m->recipient_count = kept;
}

static bool is_damage(int result)
{
	return result == -EBADMSG || result == -EUCLEAN;
}

/* One that is damaged does not hide the others: the list goes on, and fails in the end. */
static int add_message(struct listing *l, int64_t id, struct page *page, struct error *err)
{
	struct queue_stored_body body;
	struct queue_message *m;
	char name[QUEUE_ID_SIZE];
	struct error reason;
	int result;

	result = queue_store_load(l->reader->store, id, &m, &body, &reason);
	if (result == 0) {
		keep_wanted(l, m);
		if (m->recipient_count > 0)
			page->messages[page->count++] = m;
		else
			queue_message_free(m);
		return 0;
	}
	if (result == QUEUE_STORE_NOT_FOUND)
		return 0;
	if (!is_damage(result))
		return error_set(err, result, "%s", reason.text);
	if (page->damage == 0) {
		queue_id_format(id, name);
		error_prefix(&reason, "%s", name);
		page->damage = result;
		page->error = reason;
	}
	return 0;
}

/* The next ids of a filter that names some. */
static int take_ids(struct listing *l, int64_t ids[PAGE_MESSAGES])
{
	int count = 0;

	while (count < PAGE_MESSAGES && l->id_next < l->id_count)
		ids[count++] = l->ids[l->id_next++];
	return count;
}

static bool names_pending(const struct listing *l, const struct queue_pending *p)
{
	bool is_active = queue_activity_has(&l->reader->activity, p->id, p->status, p->due_ms);

	return queue_filter_has_message(l->filter, p->sender, p->arrived_ms) &&
	       queue_filter_has_recipient(l->filter, p->address, p->next_hop, p->status, is_active);
}

/* The next ids of messages with a recipient that the filter names. *ret_end: there are no more. */
static int search_ids(struct listing *l, int64_t ids[PAGE_MESSAGES], bool *ret_end,
		      struct error *err)
{
	struct queue_store *store = l->reader->store;
	struct queue_pending p;
	int count = 0, looks = 0, result;

	result = queue_store_pending_begin(store, l->last + 1, INT64_MAX, err);
	if (result < 0)
		return result;
	while ((result = queue_store_pending_next(store, &p, err)) > 0) {
		/* Between messages only, as the next page begins with another one. */
		if (p.id != l->last && (count == PAGE_MESSAGES || looks++ == PAGE_LOOKS))
			break;
		l->last = p.id;
		if ((count == 0 || ids[count - 1] != p.id) && names_pending(l, &p))
			ids[count++] = p.id;
	}
	queue_store_pending_end(store);
	*ret_end = result == 0;
	return result < 0 ? result : count;
}

static int next_ids(struct listing *l, int64_t ids[PAGE_MESSAGES], bool *ret_end, struct error *err)
{
	int count;

	if (l->filter && !l->ids)
		return search_ids(l, ids, ret_end, err);
	count = l->ids ? take_ids(l, ids)
		       : queue_store_list(l->reader->store, l->last, ids, PAGE_MESSAGES, err);
	*ret_end = count == 0;
	if (count > 0)
		l->last = ids[count - 1];
	return count;
}

/* Some ids are left for the next page where these messages have many recipients. */
static void put_back(struct listing *l, const int64_t *ids, int count)
{
	if (count == 0)
		return;
	if (l->ids)
		l->id_next -= (size_t)count;
	else
		l->last = ids[0] - 1;
}

static int fill_page(struct listing *l, struct page *page, struct error *err)
{
	int64_t ids[PAGE_MESSAGES];
	unsigned int recipients = 0;
	int count, i, result = 0;

	count = next_ids(l, ids, &page->is_last, err);
	for (i = 0; i < count && recipients < PAGE_RECIPIENTS && result == 0; i++) {
		int before = page->count;

		result = add_message(l, ids[i], page, err);
		if (page->count > before)
			recipients += page->messages[before]->recipient_count;
	}
	if (i < count) {
		put_back(l, &ids[i], count - i);
		page->is_last = false;
	}
	return MIN(count, 0) + result;
}

static int load_page(struct listing *l, struct page *page, struct error *err)
{
	int result = queue_store_snapshot_begin(l->reader->store, err);

	if (result < 0)
		return result;
	result = fill_page(l, page, err);
	queue_store_snapshot_end(l->reader->store);
	return result;
}

/* Frees all of them, shows them up to the first non-zero result. */
static int show_page(struct page *page, int (*visit)(void *arg, const struct queue_message *m),
		     void *arg, int result)
{
	for (int i = 0; i < page->count; i++) {
		if (result == 0)
			result = visit(arg, page->messages[i]);
		queue_message_free(page->messages[i]);
	}
	page->count = 0;
	return result;
}

static void take_filter(struct listing *l, const struct queue_filter *filter)
{
	l->filter = filter;
	if (!filter || !filter->ids)
		return;
	l->ids = memory_new(MAX(filter->id_count, 1) * sizeof(*l->ids));
	memcpy(l->ids, filter->ids, filter->id_count * sizeof(*l->ids));
	l->id_count = queue_filter_sort_ids(l->ids, filter->id_count);
}

int queue_reader_list(struct queue_reader *r, const struct queue_filter *filter,
		      int (*visit)(void *arg, const struct queue_message *m), void *arg,
		      struct error *err)
{
	struct listing l = { .reader = r };
	struct page page = { .count = 0 };
	int result;

	take_filter(&l, filter);
	do {
		result = load_page(&l, &page, err);
		result = show_page(&page, visit, arg, result);
	} while (result == 0 && !page.is_last);
	free(l.ids);
	if (result == 0 && page.damage < 0)
		return error_set(err, page.damage, "%s", page.error.text);
	return result;
}

static int load_whole(struct queue_reader *r, int64_t id, struct queue_message **ret_message,
		      struct error *err)
{
	CLEANUP(queue_message_freep) struct queue_message *m = NULL;
	struct queue_stored_body body;
	struct error reason;
	int result;

	result = queue_store_load(r->store, id, &m, &body, err);
	if (result != 0)
		return result == QUEUE_STORE_NOT_FOUND ? QUEUE_READER_NOT_FOUND : result;

	/* The envelope of a message with a damaged body can still be shown: it has none then. */
	result = queue_store_load_body(r->store, &r->bodies, &body, m, &reason);
	if (result < 0 && !is_damage(result))
		return error_set(err, result, "%s", reason.text);
	*ret_message = m;
	m = NULL;
	return 0;
}

int queue_reader_load(struct queue_reader *r, int64_t id, struct queue_message **ret_message,
		      struct error *err)
{
	int result = queue_store_snapshot_begin(r->store, err);

	if (result < 0)
		return result;
	result = load_whole(r, id, ret_message, err);
	queue_store_snapshot_end(r->store);
	return result;
}
