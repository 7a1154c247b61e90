/*
 * table - an array of entries, and over it a hash index with open addressing
 *
 * A slot holds the hash beside the entry's number, so a miss seldom leaves
 * the index, and at most two thirds of the slots are taken. Entries with a
 * key that is there already stay out of the index: the first one counts.
 */
#include "maps/table.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/macros.h"

struct slot {
	uint32_t hash;
	uint32_t number; /* of the entry, from 1; 0: free */
};

struct table {
	atomic_uint refs;
	char *text;
	struct table_entry *entries;
	size_t count, max_count;
	struct slot *slots; /* a power of two */
	size_t mask;
};

struct table *table_new(char *text, size_t max_entries)
{
	struct table *table = calloc(1, sizeof(*table));

	if (table)
		table->entries = malloc(MAX(max_entries, 1) * sizeof(*table->entries));
	if (!table || !table->entries) {
		free(table);
		free(text);
		return NULL;
	}
	atomic_init(&table->refs, 1);
	table->text = text;
	table->max_count = max_entries;
	return table;
}

struct table *table_ref(struct table *table)
{
	atomic_fetch_add_explicit(&table->refs, 1, memory_order_relaxed);
	return table;
}

void table_unref(struct table *table)
{
	if (!table || atomic_fetch_sub_explicit(&table->refs, 1, memory_order_acq_rel) != 1)
		return;
	free(table->slots);
	free(table->entries);
	free(table->text);
	free(table);
}

void table_fold(char *out, struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		out[i] = (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
	}
}

void table_add(struct table *table, size_t key_offset, uint32_t line)
{
	assert(table->count < table->max_count && key_offset <= UINT32_MAX && !table->slots);
	table->entries[table->count++] =
		(struct table_entry){ .key = (uint32_t)key_offset, .line = line };
}

static uint32_t hash_of(const char *key, size_t len)
{
	return (uint32_t)XXH3_64bits(key, len);
}

/* The slot with this folded key, or the free one where it belongs. */
static struct slot *find_slot(const struct table *table, const char *key, size_t len, uint32_t hash)
{
	for (size_t i = hash & table->mask;; i = (i + 1) & table->mask) {
		struct slot *slot = &table->slots[i];
		const char *other;

		if (slot->number == 0)
			return slot;
		if (slot->hash != hash)
			continue;
		other = table->text + table->entries[slot->number - 1].key;
		if (strlen(other) == len && memcmp(other, key, len) == 0)
			return slot;
	}
}

/* What was reserved for lines that turned out to hold nothing is given back. */
static void shrink(struct table *table, size_t text_len)
{
	char *text = realloc(table->text, MAX(text_len, 1));
	struct table_entry *entries =
		realloc(table->entries, MAX(table->count, 1) * sizeof(*entries));

	if (text)
		table->text = text;
	if (entries)
		table->entries = entries;
}

bool table_finish(struct table *table, size_t text_len)
{
	size_t size = 8;

	while (size < table->count + table->count / 2)
		size *= 2;
	table->slots = calloc(size, sizeof(*table->slots));
	if (!table->slots)
		return false;
	table->mask = size - 1;
	shrink(table, text_len);

	for (size_t i = 0; i < table->count; i++) {
		const char *key = table->text + table->entries[i].key;
		size_t len = strlen(key);
		uint32_t hash = hash_of(key, len);
		struct slot *slot = find_slot(table, key, len, hash);

		if (slot->number == 0)
			*slot = (struct slot){ .hash = hash, .number = (uint32_t)(i + 1) };
	}
	return true;
}

const struct table_entry *table_find(const struct table *table, struct slice key)
{
	char folded[TABLE_KEY_MAX];
	const struct slot *slot;

	if (key.len > sizeof(folded))
		return NULL;
	table_fold(folded, key);
	slot = find_slot(table, folded, key.len, hash_of(folded, key.len));
	return slot->number ? &table->entries[slot->number - 1] : NULL;
}

size_t table_count(const struct table *table)
{
	return table->count;
}

const struct table_entry *table_at(const struct table *table, size_t index)
{
	assert(index < table->count);
	return &table->entries[index];
}

const char *table_key(const struct table *table, const struct table_entry *entry)
{
	return table->text + entry->key;
}

const char *table_value(const struct table *table, const struct table_entry *entry)
{
	const char *key = table_key(table, entry);

	return key + strlen(key) + 1;
}
