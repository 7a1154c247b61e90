/*
 * visit - walking through a map, and what a walk can find fault with
 */
#include "base/escape.h"
#include "maps/internal.h"

int map_visit(struct map *map,
	      int (*visit)(void *arg, const char *key, const char *value, const char *source),
	      void *arg)
{
	CLEANUP(table_unrefp) struct table *table = NULL;
	struct arena arena = { 0 };
	int r = 0;

	if (map->kind == KIND_STATIC)
		return visit(arg, "*", map->name, map->spec);
	table = map_table(map);
	for (size_t i = 0; r == 0 && i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);

		arena_reset(&arena);
		r = visit(arg, table_key(table, entry), table_value(table, entry),
			  map_entry_source(map, table, entry, &arena));
	}
	arena_done(&arena);
	return r;
}

static void report_duplicate(const struct map *map, const struct table *table,
			     const struct table_entry *entry, const struct table_entry *first,
			     map_report *report, void *arg)
{
	struct arena arena = { 0 };
	char key[128];

	escape_cstr(slice_from(table_key(table, entry)), key, sizeof(key));
	report(arg, false, map_entry_source(map, table, entry, &arena),
	       arena_printf(&arena, "duplicate key \"%s\": %s counts, this one never does", key,
			    map_entry_source(map, table, first, &arena)));
	arena_done(&arena);
}

void map_check(struct map *map, map_report *report, void *arg)
{
	CLEANUP(table_unrefp) struct table *table = map_table(map);

	for (size_t i = 0; table && i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);
		const struct table_entry *first =
			table_find(table, slice_from(table_key(table, entry)));

		if (first != entry)
			report_duplicate(map, table, entry, first, report, arg);
	}
}
