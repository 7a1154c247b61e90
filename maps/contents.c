/*
 * contents - what the types of maps hold, told apart in one place
 *
 * A map is a name, a file and its versions (map.c, refresh.c); what a version
 * holds is made, shared, walked through and let go here.
 */
#include <errno.h>
#include <inttypes.h>

#include "maps/aliases.h"
#include "maps/internal.h"
#include "maps/text.h"

struct contents map_contents(struct map *map)
{
	struct contents c;

	pthread_mutex_lock(&map->lock);
	c = map->contents;
	if (c.table)
		table_ref(c.table);
	if (c.rules)
		rules_ref(c.rules);
	if (c.sqlite)
		sqlite_map_ref(c.sqlite);
	pthread_mutex_unlock(&map->lock);
	return c;
}

void contents_unref(struct contents *contents)
{
	table_unref(contents->table);
	rules_unref(contents->rules);
	sqlite_map_unref(contents->sqlite);
	*contents = (struct contents){ 0 };
}

/* Names in FILE.cf start where it is, wherever the configuration is. */
static int parse_sqlite(const struct map *map, struct slice text, map_report *report, void *arg,
			struct contents *ret, struct error *err)
{
	CLEANUP(free_strp) char *directory = slice_strdup(slice_from(map->path));
	char *slash = directory ? strrchr(directory, '/') : NULL;

	if (slash)
		slash[slash == directory] = '\0';
	return sqlite_map_new(text, map->name, slash ? directory : ".", map->kind == KIND_ACCOUNTS,
			      report, arg, &ret->sqlite, err);
}

int contents_parse(struct map *map, char *text, size_t len, map_report *report, void *arg,
		   struct contents *ret, struct error *err)
{
	enum rules_syntax syntax = map->kind == KIND_CIDR ? RULES_CIDR : RULES_REGEXP;
	int r;

	*ret = (struct contents){ 0 };
	if (map->kind == KIND_ALIASES)
		return aliases_parse(text, len, map->name, report, arg, &ret->table, err);
	if (map->kind == KIND_TEXT)
		return text_parse(text, len, map->name, report, arg, &ret->table, err);
	if (map->kind == KIND_SQLITE || map->kind == KIND_ACCOUNTS)
		r = parse_sqlite(map, slice_of(text, len), report, arg, ret, err);
	else
		r = rules_parse(syntax, slice_of(text, len), map->name, report, arg, &ret->rules,
				err);
	free(text);
	return r;
}

static void table_entry(const struct map *map, const struct table *table, size_t index,
			struct arena *arena, struct map_entry *ret)
{
	const struct table_entry *entry = table_at(table, index);

	ret->key = table_key(table, entry);
	ret->value = table_value(table, entry);
	ret->source = map->path ? arena_printf(arena, "%s:%" PRIu32, map->name, entry->line)
				: arena_printf(arena, "inline:%s", ret->key);
}

bool map_entry_at(const struct map *map, const struct contents *contents, size_t index,
		  struct arena *arena, struct map_entry *ret)
{
	struct rules_entry rule;

	*ret = (struct map_entry){ 0 };
	if (contents->table && index < table_count(contents->table)) {
		table_entry(map, contents->table, index, arena, ret);
		return true;
	}
	if (!contents->rules || index >= rules_count(contents->rules))
		return false;
	rules_at(contents->rules, index, &rule);
	ret->key = rule.pattern;
	ret->value = rule.result;
	ret->source = arena_printf(arena, "%s:%" PRIu32, map->name, rule.line);
	ret->has_substitutions = rule.has_substitutions;
	return true;
}

int map_find_substitutions(const struct map *map, const struct contents *contents,
			   map_report *report, void *arg, struct error *err)
{
	static const char text[] =
		"$1 and the like are not allowed here: what a sender writes must not choose a "
		"route or a path";
	struct arena arena = { 0 };
	struct map_entry entry;
	int r = 0;

	for (size_t i = 0; map_entry_at(map, contents, i, &arena, &entry); i++) {
		if (!entry.has_substitutions)
			continue;
		if (r == 0)
			r = error_set(err, -EINVAL, "%s: %s", entry.source, text);
		if (report)
			report(arg, true, entry.source, text);
		arena_reset(&arena);
	}
	arena_done(&arena);
	return r;
}
