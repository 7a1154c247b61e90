/*
 * A table of entries, each in one of two lists, in the order of their last use.
 * Texts are cut, as they are for people to read: so 100,000 entries are 30 MB at most.
 */
#include "mta/verify_cache.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "smtp/address.h"

#define TEXT_MAX 160

struct entry {
	struct list link; /* of its kind, the one used last at the end */
	enum verify_verdict verdict;
	int64_t checked_ms;
	bool is_brief;
	int code;
	struct smtp_enhanced enhanced;
	const char *text; /* behind the address */
	char address[];
};

enum kind {
	KIND_GOOD,
	KIND_BAD, /* and unknown */
	KIND_COUNT,
};

struct verify_cache {
	struct strmap entries;
	struct list used[KIND_COUNT];
	size_t count[KIND_COUNT];
};

const char *verify_verdict_name(enum verify_verdict verdict)
{
	static const char *const names[] = {
		[VERIFY_UNKNOWN] = "unknown",
		[VERIFY_DELIVERABLE] = "deliverable",
		[VERIFY_UNDELIVERABLE] = "undeliverable",
	};

	return names[verdict];
}

char *verify_cache_key(struct arena *arena, const char *address)
{
	return smtp_address_quoted(arena,
				   smtp_address_plain(arena, smtp_address_fold(arena, address)));
}

static enum verify_age age_by(int64_t age_ms, int64_t refresh_s, int64_t expire_s)
{
	/* A clock that was put back: nobody knows how old it is. */
	if (age_ms < 0 || age_ms / 1000 >= expire_s)
		return VERIFY_EXPIRED;
	return age_ms / 1000 >= refresh_s ? VERIFY_STALE : VERIFY_CURRENT;
}

enum verify_age verify_fact_age(const struct verify_fact *fact,
				const struct verify_options *options, int64_t now_ms)
{
	int64_t age_ms = now_ms - fact->checked_ms;

	if (fact->is_brief || fact->verdict == VERIFY_UNKNOWN)
		return age_by(age_ms, VERIFY_BRIEF_MS / 1000, VERIFY_BRIEF_MS / 1000);
	if (fact->verdict == VERIFY_DELIVERABLE)
		return age_by(age_ms, options->positive_refresh_s, options->positive_expire_s);
	if (!options->keeps_refusals)
		return VERIFY_EXPIRED;
	return age_by(age_ms, options->negative_refresh_s, options->negative_expire_s);
}

struct verify_cache *verify_cache_new(void)
{
	struct verify_cache *c = memory_zeroed(sizeof(*c));

	for (size_t kind = 0; kind < KIND_COUNT; kind++)
		list_init(&c->used[kind]);
	return c;
}

static enum kind kind_of(const struct entry *e)
{
	return e->verdict == VERIFY_DELIVERABLE ? KIND_GOOD : KIND_BAD;
}

static void drop(struct verify_cache *c, struct entry *e)
{
	c->count[kind_of(e)]--;
	list_remove(&e->link);
	strmap_remove(&c->entries, slice_from(e->address));
	free(e);
}

void verify_cache_free(struct verify_cache *c)
{
	if (!c)
		return;
	for (size_t kind = 0; kind < KIND_COUNT; kind++)
		LIST_FOREACH (item, &c->used[kind])
			drop(c, CONTAINER_OF(item, struct entry, link));
	strmap_done(&c->entries);
	free(c);
}

size_t verify_cache_count(const struct verify_cache *c)
{
	return c->entries.count;
}

static void read_entry(const struct entry *e, struct verify_fact *ret)
{
	ret->verdict = e->verdict;
	ret->checked_ms = e->checked_ms;
	ret->is_brief = e->is_brief;
	smtp_status_set_text(&ret->status, e->code, e->enhanced, slice_from(e->text));
}

bool verify_cache_get(struct verify_cache *c, const char *address, struct verify_fact *ret)
{
	struct entry *e = strmap_get(&c->entries, slice_from(address));

	if (!e)
		return false;
	list_remove(&e->link);
	list_push(&c->used[kind_of(e)], &e->link);
	read_entry(e, ret);
	return true;
}

static struct entry *make_entry(const char *address, const struct verify_fact *fact)
{
	size_t size = strlen(address) + 1, len = strlen(fact->status.text);
	struct entry *e;
	char *text;

	len = MIN(len, TEXT_MAX);
	e = memory_zeroed(sizeof(*e) + size + len + 1);
	e->verdict = fact->verdict;
	e->checked_ms = fact->checked_ms;
	e->is_brief = fact->is_brief;
	e->code = fact->status.code;
	e->enhanced = fact->status.enhanced;
	memcpy(e->address, address, size);
	text = e->address + size;
	memcpy(text, fact->status.text, len);
	e->text = text;
	return e;
}

void verify_cache_put(struct verify_cache *c, const char *address, const struct verify_fact *fact)
{
	struct entry *e = make_entry(address, fact);
	enum kind kind = kind_of(e);

	verify_cache_forget(c, address);
	if (c->count[kind] >= VERIFY_CACHE_MAX)
		drop(c, CONTAINER_OF(c->used[kind].next, struct entry, link));
	strmap_put(&c->entries, slice_from(e->address), e);
	list_push(&c->used[kind], &e->link);
	c->count[kind]++;
}

void verify_cache_forget(struct verify_cache *c, const char *address)
{
	struct entry *e = strmap_get(&c->entries, slice_from(address));

	if (e)
		drop(c, e);
}

void verify_cache_each(const struct verify_cache *c,
		       void (*visit)(void *arg, const char *address,
				     const struct verify_fact *fact),
		       void *arg)
{
	for (size_t kind = 0; kind < KIND_COUNT; kind++) {
		LIST_FOREACH (item, &c->used[kind]) {
			const struct entry *e = CONTAINER_OF(item, struct entry, link);
			struct verify_fact fact;

			read_entry(e, &fact);
			visit(arg, e->address, &fact);
		}
	}
}
