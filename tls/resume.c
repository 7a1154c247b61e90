/* resume - a hash table and a list in the order of use, under one lock */
#include "tls/resume.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/strmap.h"

#define ENTRIES_MAX 1024 /* each some 3 KiB */

struct tls_resume {
	pthread_mutex_t lock;
	struct strmap map;
	struct list order; /* least recently used first */
};

struct entry {
	struct list order;
	struct tls_resumable resumable; /* its session points to bytes[] */
	size_t key_len;
	char *key;
	char bytes[];
};

struct tls_resume *tls_resume_new(void)
{
	struct tls_resume *resume = calloc(1, sizeof(*resume));

	if (!resume)
		return NULL;
	pthread_mutex_init(&resume->lock, NULL);
	list_init(&resume->order);
	return resume;
}

static void entry_free(struct entry *entry)
{
	list_remove(&entry->order);
	explicit_bzero(entry->bytes, entry->resumable.session.len);
	free(entry);
}

void tls_resume_free(struct tls_resume *resume)
{
	if (!resume)
		return;
	LIST_FOREACH (item, &resume->order)
		entry_free(CONTAINER_OF(item, struct entry, order));
	strmap_done(&resume->map);
	pthread_mutex_destroy(&resume->lock);
	free(resume);
}

static void forget(struct tls_resume *resume, struct slice key)
{
	struct entry *entry = strmap_remove(&resume->map, key);

	if (entry)
		entry_free(entry);
}

static struct entry *entry_new(struct slice key, const struct tls_resumable *resumable)
{
	size_t len = resumable->session.len;
	struct entry *entry = calloc(1, sizeof(*entry) + len + key.len);

	if (!entry)
		return NULL;
	list_init(&entry->order);
	memcpy(entry->bytes, resumable->session.ptr, len);
	entry->resumable = *resumable;
	entry->resumable.session = slice_of(entry->bytes, len);
	entry->key = entry->bytes + len;
	entry->key_len = key.len;
	memcpy(entry->key, key.ptr, key.len);
	return entry;
}

void tls_resume_put(struct tls_resume *resume, struct slice key,
		    const struct tls_resumable *resumable)
{
	struct entry *entry = entry_new(key, resumable), *oldest;

	if (!entry)
		return; /* then there is no resumption, which does no harm */
	pthread_mutex_lock(&resume->lock);
	forget(resume, key);
	if (resume->map.count >= ENTRIES_MAX) {
		oldest = CONTAINER_OF(resume->order.next, struct entry, order);
		forget(resume, slice_of(oldest->key, oldest->key_len));
	}
	strmap_put(&resume->map, key, entry);
	list_push(&resume->order, &entry->order);
	pthread_mutex_unlock(&resume->lock);
}

static bool get(struct tls_resume *resume, struct slice key, int64_t now_s, struct buf *session,
		struct tls_resumable *ret)
{
	struct entry *entry = strmap_get(&resume->map, key);

	if (!entry)
		return false;
	if (entry->resumable.until_s <= now_s) {
		forget(resume, key);
		return false;
	}
	list_remove(&entry->order);
	list_push(&resume->order, &entry->order);
	buf_append_slice(session, entry->resumable.session);
	*ret = entry->resumable;
	ret->session = buf_slice(session);
	return true;
}

bool tls_resume_get(struct tls_resume *resume, struct slice key, int64_t now_s, struct buf *session,
		    struct tls_resumable *ret)
{
	bool found;

	pthread_mutex_lock(&resume->lock);
	found = get(resume, key, now_s, session, ret);
	pthread_mutex_unlock(&resume->lock);
	return found;
}

void tls_resume_forget(struct tls_resume *resume, struct slice key)
{
	pthread_mutex_lock(&resume->lock);
	forget(resume, key);
	pthread_mutex_unlock(&resume->lock);
}
