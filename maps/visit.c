/*
 * visit - walking through a map, and what a walk can find fault with
 */
#include <inttypes.h>

#include "base/escape.h"
#include "maps/internal.h"

int map_visit(struct map *map,
	      int (*visit)(void *arg, const char *key, const char *value, const char *source),
	      void *arg)
{
	struct contents contents;
	struct arena arena = { 0 };
	struct map_entry entry;
	int r = 0;

	if (map->kind == KIND_STATIC)
		return visit(arg, "*", map->name, map->spec);
	contents = map_contents(map);
	for (size_t i = 0; r == 0 && map_entry_at(map, &contents, i, &arena, &entry); i++) {
		r = visit(arg, entry.key, entry.value, entry.source);
		arena_reset(&arena);
	}
	arena_done(&arena);
	contents_unref(&contents);
	return r;
}

struct duplicates {
	const struct map *map;
	map_report *report;
	void *arg;
};

/* Of the lines of a file, or of none (0). */
static void report_duplicate(void *arg, const char *text, uint32_t line, uint32_t first_line)
{
	const struct duplicates *d = arg;
	struct arena arena = { 0 };
	const char *what = map_is_pattern(d->map) ? "pattern" : "key";
	char key[128];

	escape_cstr(slice_from(text), key, sizeof(key));
	d->report(d->arg, false, arena_printf(&arena, "%s:%" PRIu32, d->map->name, line),
		  arena_printf(&arena,
			       "duplicate %s \"%s\": %s:%" PRIu32 " counts, this one never does",
			       what, key, d->map->name, first_line));
	arena_done(&arena);
}

static void check_table(struct duplicates *d, const struct table *table)
{
	for (size_t i = 0; i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);
		const char *key = table_key(table, entry);
		const struct table_entry *first = table_find(table, slice_from(key));

		if (first != entry)
			report_duplicate(d, key, entry->line, first->line);
	}
}

void map_check(struct map *map, map_report *report, void *arg)
{
	struct contents contents = map_contents(map);
	struct duplicates d = { map, report, arg };

	if (contents.table)
		check_table(&d, contents.table);
	if (contents.rules)
		rules_find_hidden(contents.rules, report_duplicate, &d);
	contents_unref(&contents);
}
