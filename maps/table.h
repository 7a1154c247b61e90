/*
 * table - the contents of a map at one time: keys, values and line numbers
 *
 * Filled by one owner, then never changed and shared by reference counting.
 * A table owns the text that its keys and values stand in, so an entry costs
 * its text and some 25 bytes.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/slice.h"

#define TABLE_KEY_MAX 1024

struct table;

struct table_entry {
	uint32_t key;  /* offset in the text; folded; the value follows its NUL */
	uint32_t line; /* 1 is the first; 0: there are no lines */
};

/* Takes over text, from malloc; NULL when out of memory, and text is freed. */
struct table *table_new(char *text, size_t max_entries);
struct table *table_ref(struct table *table);
void table_unref(struct table *table); /* NULL is fine */
DEFINE_CLEANUP(struct table *, table_unref);

/* The text holds a key, NUL, a value, NUL at this offset. No more than max_entries in all. */
void table_add(struct table *table, size_t key_offset, uint32_t line);

/* Ends the filling, with text_len bytes of the text in use. False: out of memory. */
bool table_finish(struct table *table, size_t text_len);

/* The first entry with this key, compared without regard to case, or NULL. */
const struct table_entry *table_find(const struct table *table, struct slice key);

size_t table_count(const struct table *table);
const struct table_entry *table_at(const struct table *table, size_t index);
const char *table_key(const struct table *table, const struct table_entry *entry);
const char *table_value(const struct table *table, const struct table_entry *entry);

/* Lower case for ASCII letters. */
void table_fold(char *out, struct slice s);
