/*
 * map - opening by type, and lookups in the contents of the moment
 *
 * The contents are immutable, and a refresh swaps them as a whole. Whoever
 * looks something up takes a reference under a lock that is held for these few
 * instructions only, so they live as long as somebody reads them.
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
	{ "hash", KIND_TEXT },	   { "texthash", KIND_TEXT }, { "lmdb", KIND_TEXT },
	{ "btree", KIND_TEXT },	   { "inline", KIND_INLINE }, { "static", KIND_STATIC },
	{ "regexp", KIND_REGEXP }, { "cidr", KIND_CIDR },     { "sqlite", KIND_SQLITE },
};

#define USE_SQLITE "a database is sqlite:FILE.cf, with dbpath and the same query"

static const struct {
	const char *name, *hint;
} of_postfix[] = {
	{ "mysql", USE_SQLITE },
	{ "pgsql", USE_SQLITE },
	{ "proxy", "nothing stands between: write what is behind it" },
};

static int find_type(struct slice name, enum map_kind *ret, struct error *err)
{
	const char *names[ARRAY_SIZE(types)], *near;
	char shown[32];

	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		names[i] = types[i].name;
		if (!slice_equal(name, slice_from(types[i].name)))
			continue;
		*ret = types[i].kind;
		return 0;
	}
	escape_cstr(name, shown, sizeof(shown));
	for (size_t i = 0; i < ARRAY_SIZE(of_postfix); i++)
		if (slice_equal(name, slice_from(of_postfix[i].name)))
			return error_set(err, -EINVAL, "map type \"%s\" is not available; %s",
					 shown, of_postfix[i].hint);
	near = nearest_name(shown, names, ARRAY_SIZE(names));
	if (near)
		return error_set(err, -EINVAL, "unknown map type \"%s\"; did you mean %s?", shown,
				 near);
	return error_set(err, -EINVAL,
			 "unknown map type \"%s\"; known: hash, texthash, lmdb, btree, inline, "
			 "static, regexp, cidr, sqlite",
			 shown);
}

bool map_is_spec(struct slice item)
{
	enum map_kind kind;

	return slice_find(item, ':') < item.len &&
	       find_type(slice_first(item, slice_find(item, ':')), &kind, NULL) == 0;
}

bool map_spec_names_file(struct slice spec)
{
	size_t colon = slice_find(spec, ':');
	struct slice name = slice_trim(slice_skip(spec, colon + 1));
	enum map_kind kind;

	return name.len && slice_find(name, '{') == name.len &&
	       find_type(slice_first(spec, colon), &kind, NULL) == 0 && kind != KIND_INLINE &&
	       kind != KIND_STATIC;
}

static int open_file(struct map *map, const char *directory, map_report *report, void *arg,
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
	return contents_parse(map, text, len, report, arg, &map->contents, err);
}

/* "{ {rule}, {rule} }", each as one line. */
static int open_inline_rules(struct map *map, map_report *report, void *arg, struct error *err)
{
	struct buf text = { 0 };
	size_t len;
	int r = inline_lines(slice_from(map->name), &text, err);

	if (r < 0) {
		buf_done(&text);
		return r;
	}
	map->name = map->kind == KIND_CIDR ? "cidr:{}" : "regexp:{}";
	len = buf_len(&text);
	return contents_parse(map, buf_steal_string(&text), len, report, arg, &map->contents, err);
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
	case KIND_INLINE:
		return inline_parse(slice_from(map->name), &map->contents.table, err);
	case KIND_STATIC:
		return open_static(map, err);
	case KIND_REGEXP:
	case KIND_CIDR:
		if (map->name[0] == '{')
			return open_inline_rules(map, report, arg, err);
		return open_file(map, directory, report, arg, err);
	default:
		return open_file(map, directory, report, arg, err);
	}
}

static struct map *new_map(enum map_kind kind, struct slice spec, struct slice name)
{
	struct map *map = memory_zeroed(sizeof(*map));

	pthread_mutex_init(&map->lock, NULL);
	pthread_mutex_init(&map->refresh_lock, NULL);
	map->kind = kind;
	map->spec = arena_slicedup(&map->arena, spec);
	map->name = arena_slicedup(&map->arena, name);
	return map;
}

int map_open_accounts(const char *file, map_report *report, void *arg, struct map **ret_map,
		      struct error *err)
{
	struct slice name = slice_from(file);
	struct map *map = new_map(KIND_ACCOUNTS, name, name);
	int r = open_file(map, NULL, report, arg, err);

	if (r < 0)
		map_free(map);
	else
		*ret_map = map;
	return r;
}

int map_open_reporting(struct slice spec, bool as_aliases, const char *directory,
		       map_report *report, void *arg, struct map **ret_map, struct error *err)
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

	map = new_map(as_aliases && kind == KIND_TEXT ? KIND_ALIASES : kind, trimmed, name);
	r = open_kind(map, directory, report, arg, err);
	if (r < 0)
		return r;
	*ret_map = map;
	map = NULL;
	return 0;
}

int map_open(struct slice spec, const char *directory, struct map **ret_map, struct error *err)
{
	return map_open_reporting(spec, false, directory, NULL, NULL, ret_map, err);
}

int map_open_aliases(struct slice spec, const char *directory, struct map **ret_map,
		     struct error *err)
{
	return map_open_reporting(spec, true, directory, NULL, NULL, ret_map, err);
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
	copy->contents = map_contents(map);
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
	contents_unref(&map->contents);
	pthread_mutex_destroy(&map->lock);
	pthread_mutex_destroy(&map->refresh_lock);
	arena_done(&map->arena);
	free(map);
}

const char *map_file(const struct map *map)
{
	return map->path;
}

const char *map_spec(const struct map *map)
{
	return map->spec;
}

bool map_has_every_key(const struct map *map)
{
	return map->kind == KIND_STATIC;
}

bool map_is_pattern(const struct map *map)
{
	return map->kind == KIND_REGEXP || map->kind == KIND_CIDR;
}

bool map_lists_keys(const struct map *map)
{
	return map->kind == KIND_TEXT || map->kind == KIND_ALIASES || map->kind == KIND_INLINE;
}

const char *map_database(struct map *map, struct arena *arena)
{
	struct contents contents = map_contents(map);
	const char *path = contents.sqlite ? sqlite_map_database(contents.sqlite) : NULL;

	path = arena_strdup(arena, path);
	contents_unref(&contents);
	return path;
}

static int look_up_table(const struct map *map, const struct table *table, struct slice key,
			 struct arena *arena, struct map_result *ret)
{
	const struct table_entry *entry = table_find(table, key);

	if (!entry)
		return MAP_NOT_FOUND;
	ret->value = arena_strdup(arena, table_value(table, entry));
	ret->source = map->path ? arena_printf(arena, "%s:%" PRIu32, map->name, entry->line)
				: arena_printf(arena, "inline:%s", table_key(table, entry));
	return MAP_FOUND;
}

static int look_up_rules(const struct map *map, const struct rules *rules, struct slice key,
			 struct arena *arena, struct map_result *ret, struct error *err)
{
	uint32_t line;
	int r = rules_lookup(rules, key, arena, &ret->value, &line, err);

	if (r == MAP_FOUND)
		ret->source = arena_printf(arena, "%s:%" PRIu32, map->name, line);
	else if (r < 0 && err)
		error_prefix(err, "%s", map->name);
	return r;
}

static int look_up_sqlite(const struct map *map, struct sqlite_map *sqlite, struct slice key,
			  struct arena *arena, struct map_result *ret, struct error *err)
{
	int r = sqlite_map_lookup(sqlite, key, arena, &ret->value, err);

	if (r == MAP_FOUND)
		ret->source =
			arena_printf(arena, "%s:%" PRIu32, map->name, sqlite_map_line(sqlite));
	return r;
}

int map_lookup(struct map *map, struct slice key, struct arena *arena, struct map_result *ret,
	       struct error *err)
{
	struct contents contents;
	int r;

	if (map->kind == KIND_STATIC) {
		ret->value = arena_strdup(arena, map->name);
		ret->source = arena_strdup(arena, map->spec);
		return MAP_FOUND;
	}
	contents = map_contents(map);
	if (contents.rules)
		r = look_up_rules(map, contents.rules, key, arena, ret, err);
	else if (contents.sqlite)
		r = look_up_sqlite(map, contents.sqlite, key, arena, ret, err);
	else
		r = look_up_table(map, contents.table, key, arena, ret);
	contents_unref(&contents);
	return r;
}

int map_select(struct map *map, struct slice key, struct arena *arena, struct map_row *ret,
	       struct error *err)
{
	struct contents contents = map_contents(map);
	int r = sqlite_map_select(contents.sqlite, key, arena, ret, err);

	ret->source =
		arena_printf(arena, "%s:%" PRIu32, map->name, sqlite_map_line(contents.sqlite));
	contents_unref(&contents);
	return r;
}

void map_row_wipe(struct map_row *row)
{
	for (size_t i = 0; row->values && i < row->count; i++)
		if (row->values[i])
			explicit_bzero((char *)row->values[i], strlen(row->values[i]));
	row->values = NULL;
}

int map_has(struct map *map, struct slice key, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result result;
	int r = map_lookup(map, key, &arena, &result, err);

	arena_done(&arena);
	return r;
}

int map_refuse_substitutions(struct map *map, map_report *report, void *arg)
{
	struct contents contents = map_contents(map);
	int r = map_find_substitutions(map, &contents, report, arg, NULL);

	map->refuses_substitutions = true;
	contents_unref(&contents);
	return r;
}

void map_set_validate(struct map *map, map_validate *validate, void *arg)
{
	map->validate = validate;
	map->validate_arg = arg;
}
