/*
 * map - opening by type, and lookups in the contents of the moment
 *
 * The contents are one immutable table, which a refresh swaps. Whoever looks
 * something up takes a reference under a lock that is held for these few
 * instructions only, so a table lives as long as somebody reads it.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/nearest.h"
#include "maps/internal.h"
#include "maps/text.h"

static const struct {
	const char *name;
	enum map_kind kind;
} types[] = {
	{ "hash", KIND_TEXT },		{ "texthash", KIND_TEXT },
	{ "lmdb", KIND_TEXT },		{ "btree", KIND_TEXT },
	{ "inline", KIND_INLINE },	{ "static", KIND_STATIC },
	{ "regexp", KIND_UNAVAILABLE }, { "cidr", KIND_UNAVAILABLE },
	{ "sqlite", KIND_UNAVAILABLE },
};

static int find_type(struct slice name, enum map_kind *ret, struct error *err)
{
	const char *names[ARRAY_SIZE(types)], *near;
	char shown[32];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		names[i] = types[i].name;
		if (!slice_equal(name, slice_from(types[i].name)))
			continue;
		if (types[i].kind == KIND_UNAVAILABLE)
			return error_set(err, -ENOTSUP,
					 "%s: maps are not available in this version",
					 types[i].name);
		*ret = types[i].kind;
		return 0;
	}
	escape_cstr(name, shown, sizeof(shown));
	near = nearest_name(shown, names, ARRAY_SIZE(names));
	if (near)
		return error_set(err, -EINVAL, "unknown map type \"%s\"; did you mean %s?", shown,
				 near);
	return error_set(err, -EINVAL,
			 "unknown map type \"%s\"; known: hash, texthash, lmdb, btree, inline, "
			 "static",
			 shown);
}

static int open_text(struct map *map, const char *directory, map_report *report, void *arg,
		     struct error *err)
{
	char *text = NULL;
	size_t len = 0;
	int r;

	map->path = map->name[0] == '/' || !directory
			    ? map->name
			    : arena_printf(&map->arena, "%s/%s", directory, map->name);
	r = text_read(map->path, map->name, &text, &len, &map->stat, err);
	if (r == TEXT_CHANGING)
		r = error_set(err, -EAGAIN, "%s: the file is being written", map->name);
	if (r < 0)
		return r;
	map_note_version(map, slice_of(text, len), clock_wall_ms(&clock_system));
	return text_parse(text, len, map->name, report, arg, &map->table, err);
}

static int open_static(struct map *map, struct error *err)
{
	struct slice value = slice_from(map->name);

	if (value.len && value.ptr[0] == '{') {
		if (!list_is_braced(value))
			return error_set(err, -EINVAL, "%s: missing '}'", map->spec);
		value = slice_trim(slice_of(value.ptr + 1, value.len - 2));
	}
	map->name = arena_slicedup(&map->arena, value);
	return 0;
}

static int open_kind(struct map *map, const char *directory, map_report *report, void *arg,
		     struct error *err)
{
	switch (map->kind) {
	case KIND_TEXT:
		return open_text(map, directory, report, arg, err);
	case KIND_INLINE:
		return inline_parse(slice_from(map->name), &map->table, err);
	default:
		return open_static(map, err);
	}
}

int map_open_reporting(struct slice spec, const char *directory, map_report *report, void *arg,
		       struct map **ret_map, struct error *err)
{
	CLEANUP(map_freep) struct map *map = NULL;
	struct slice name, trimmed = slice_trim(spec);
	size_t colon = slice_find(trimmed, ':');
	enum map_kind kind = KIND_TEXT;
	char shown[64];
	int r;

	name = slice_trim(slice_skip(trimmed, colon + 1));
	escape_cstr(trimmed, shown, sizeof(shown));
	if (colon == trimmed.len || slice_find(trimmed, '\0') != trimmed.len)
		return error_set(err, -EINVAL, "\"%s\": expected TYPE:NAME, as in hash:%s", shown,
				 shown);
	r = find_type(slice_first(trimmed, colon), &kind, err);
	if (r < 0)
		return r;
	if (name.len == 0)
		return error_set(err, -EINVAL, "\"%s\": nothing behind the colon", shown);

	map = calloc(1, sizeof(*map));
	if (!map)
		return error_set(err, -ENOMEM, "%s: out of memory", shown);
	pthread_mutex_init(&map->lock, NULL);
	pthread_mutex_init(&map->refresh_lock, NULL);
	map->kind = kind;
	map->spec = arena_slicedup(&map->arena, trimmed);
	map->name = arena_slicedup(&map->arena, name);
	r = open_kind(map, directory, report, arg, err);
	if (r < 0)
		return r;
	*ret_map = map;
	map = NULL;
	return 0;
}

int map_open(struct slice spec, const char *directory, struct map **ret_map, struct error *err)
{
	return map_open_reporting(spec, directory, NULL, NULL, ret_map, err);
}

struct map *map_copy(struct map *map)
{
	struct map *copy = memory_zeroed(sizeof(*copy));

	pthread_mutex_init(&copy->lock, NULL);
	pthread_mutex_init(&copy->refresh_lock, NULL);
	copy->kind = map->kind;
	copy->spec = arena_strdup(&copy->arena, map->spec);
	copy->name = arena_strdup(&copy->arena, map->name);
	copy->path = map->path ? arena_strdup(&copy->arena, map->path) : NULL;
	copy->table = map_table(map);
	pthread_mutex_lock(&map->refresh_lock);
	copy->stat = map->stat;
	copy->digest = map->digest;
	copy->is_settled = map->is_settled;
	copy->trouble = map->trouble;
	pthread_mutex_unlock(&map->refresh_lock);
	return copy;
}

void map_free(struct map *map)
{
	if (!map)
		return;
	table_unref(map->table);
	pthread_mutex_destroy(&map->lock);
	pthread_mutex_destroy(&map->refresh_lock);
	arena_done(&map->arena);
	free(map);
}

const char *map_file(const struct map *map)
{
	return map->kind == KIND_TEXT ? map->path : NULL;
}

const char *map_spec(const struct map *map)
{
	return map->spec;
}

bool map_has_every_key(const struct map *map)
{
	return map->kind == KIND_STATIC;
}

struct table *map_table(struct map *map)
{
	struct table *table;

	pthread_mutex_lock(&map->lock);
	table = map->table ? table_ref(map->table) : NULL;
	pthread_mutex_unlock(&map->lock);
	return table;
}

const char *map_entry_source(const struct map *map, const struct table *table,
			     const struct table_entry *entry, struct arena *arena)
{
	if (map->kind == KIND_TEXT)
		return arena_printf(arena, "%s:%" PRIu32, map->name, entry->line);
	return arena_printf(arena, "inline:%s", table_key(table, entry));
}

int map_lookup(struct map *map, struct slice key, struct arena *arena, struct map_result *ret,
	       struct error *err)
{
	CLEANUP(table_unrefp) struct table *table = NULL;
	const struct table_entry *entry;

	(void)err; /* these types have nothing that can fail */
	if (map->kind == KIND_STATIC) {
		ret->value = arena_strdup(arena, map->name);
		ret->source = arena_strdup(arena, map->spec);
		return MAP_FOUND;
	}
	table = map_table(map);
	entry = table_find(table, key);
	if (!entry)
		return MAP_NOT_FOUND;
	ret->value = arena_strdup(arena, table_value(table, entry));
	ret->source = map_entry_source(map, table, entry, arena);
	return MAP_FOUND;
}

int map_has(struct map *map, struct slice key, struct error *err)
{
	CLEANUP(table_unrefp) struct table *table = NULL;

	(void)err;
	if (map->kind == KIND_STATIC)
		return MAP_FOUND;
	table = map_table(map);
	return table_find(table, key) ? MAP_FOUND : MAP_NOT_FOUND;
}

void map_set_validate(struct map *map, map_validate *validate, void *arg)
{
	map->validate = validate;
	map->validate_arg = arg;
}
