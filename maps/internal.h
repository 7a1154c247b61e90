/*
 * internal - what the files of this folder share, and its tests
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "maps/map.h"
#include "maps/table.h"

enum map_kind {
	KIND_TEXT,
	KIND_INLINE,
	KIND_STATIC,
	KIND_UNAVAILABLE,
};

struct map {
	struct arena arena; /* for the strings */
	enum map_kind kind;
	const char *spec;
	const char *name; /* behind the type: the file as written, the value of static: */
	const char *path; /* of the file */
	map_validate *validate;
	void *validate_arg;

	pthread_mutex_t lock;
	struct table *table; /* under lock; NULL for static: */

	pthread_mutex_t refresh_lock; /* for what follows */
	struct stat stat;
	uint64_t digest;
	bool is_settled; /* digest is that of all that the file with this stat will ever hold */
	int trouble;	 /* the errno for which it could last not be read, 0: it could */
};

/* Whether s starts with '{' and the brace that closes it is its last character. */
bool list_is_braced(struct slice s);

/* The table of "{ k = v, ... }". */
int inline_parse(struct slice text, struct table **ret_table, struct error *err);

/* map_open() that reports each bad line, not only the first; report may be NULL. */
int map_open_reporting(struct slice spec, const char *directory, map_report *report, void *arg,
		       struct map **ret_map, struct error *err);

/* Another map with the same contents, which are shared. */
struct map *map_copy(struct map *map);

/* Report each error for which map_open() would fail. */
void map_diagnose(struct slice spec, const char *directory, map_report *report, void *arg);

/* Whether the map has the key: MAP_FOUND, MAP_NOT_FOUND, or an error. */
int map_has(struct map *map, struct slice key, struct error *err);

/* The table of the moment, with a reference for the caller; NULL for static:. */
struct table *map_table(struct map *map);
const char *map_entry_source(const struct map *map, const struct table *table,
			     const struct table_entry *entry, struct arena *arena);

/* Remember that the file, as map->stat has it, held this text. */
void map_note_version(struct map *map, struct slice text, int64_t wall_ms);

/* map_refresh() at a given time. */
int map_refresh_at(struct map *map, int64_t wall_ms, struct error *err);
