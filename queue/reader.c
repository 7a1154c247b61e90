/*
 * reader - the store, opened read-only, in small steps
 *
 * A list takes the ids of a page and loads their messages in one snapshot,
 * ends it, and only then shows them: whoever prints them may take its time.
 */
#include "queue/reader.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "queue/private.h"
#include "queue/store.h"

#define PAGE_MESSAGES	256
#define PAGE_RECIPIENTS 4096 /* then the page ends early */
#define PATH_SIZE	4096

struct queue_reader {
	struct queue_store *store;
	struct queue_bodies bodies;
};

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

struct page {
	struct queue_message *messages[PAGE_MESSAGES];
	int count;
	int64_t last; /* id; 0: nothing was left */
	int damage;   /* the first error about a message that could not be shown */
	struct error error;
};

/* A list shows what is still to do; queue_reader_load() shows the rest. */
static void drop_done(struct queue_message *m)
{
	unsigned int kept = 0;

	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (queue_status_is_pending(m->recipients[i].status))
			m->recipients[kept++] = m->recipients[i];
	m->recipient_count = kept;
}

/* One that is damaged does not hide the others: the list goes on, and fails in the end. */
static int add_message(struct queue_reader *r, int64_t id, struct page *page, struct error *err)
{
	struct queue_stored_body body;
	struct queue_message *m;
	char name[QUEUE_ID_SIZE];
	struct error reason;
	int result;

	page->last = id;
	result = queue_store_load(r->store, id, &m, &body, &reason);
	if (result == 0) {
		drop_done(m);
		page->messages[page->count++] = m;
		return 0;
	}
	if (result != -EBADMSG)
		return error_set(err, result, "%s", reason.text);
	if (page->damage == 0) {
		queue_id_format(id, name);
		error_prefix(&reason, "%s", name);
		page->damage = result;
		page->error = reason;
	}
	return 0;
}

static int fill_page(struct queue_reader *r, struct page *page, struct error *err)
{
	int64_t ids[PAGE_MESSAGES];
	unsigned int recipients = 0;
	int count, result = 0;

	count = queue_store_list(r->store, page->last, ids, PAGE_MESSAGES, err);
	if (count <= 0) {
		page->last = 0;
		return count;
	}
	for (int i = 0; i < count && recipients < PAGE_RECIPIENTS && result == 0; i++) {
		result = add_message(r, ids[i], page, err);
		if (page->count > 0)
			recipients += page->messages[page->count - 1]->recipient_count;
	}
	return result;
}

static int load_page(struct queue_reader *r, struct page *page, struct error *err)
{
	int result = queue_store_snapshot_begin(r->store, err);

	if (result < 0)
		return result;
	result = fill_page(r, page, err);
	queue_store_snapshot_end(r->store);
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

int queue_reader_list(struct queue_reader *r,
		      int (*visit)(void *arg, const struct queue_message *m), void *arg,
		      struct error *err)
{
	struct page page = { .count = 0 };
	int result;

	do {
		result = load_page(r, &page, err);
		result = show_page(&page, visit, arg, result);
	} while (result == 0 && page.last != 0);
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
	if (result < 0 && result != -EBADMSG)
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
