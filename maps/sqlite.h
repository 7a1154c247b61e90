/*
 * sqlite - the contents of a sqlite: map: a query, and connections to ask it by
 *
 * Made from one version of FILE.cf, then shared by reference counting. A
 * lookup runs on the caller's thread, which may be one that serves others; so
 * it waits for another program's lock only some tens of milliseconds, and a
 * query that takes long is cut off. Both are errors, as is a database that is
 * missing, unreadable or damaged: then nothing is known, and mail waits.
 *
 * Keys longer than SQLITE_KEY_MAX bytes are an error too. Those that are not
 * UTF-8 are not found, as in Postfix.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "maps/map.h"

#define SQLITE_KEY_MAX	  1024
#define SQLITE_BUSY_MS	  50
#define SQLITE_CPU_MS	  200  /* of one query */
#define SQLITE_WALL_MS	  1000 /* the same, by the clock on the wall */
#define SQLITE_RESULT_MAX 65536

struct sqlite_map;

/*
 * Reads the text of FILE.cf, opens the database and prepares the query once,
 * so that what is wrong with them is an error with its line. A database that
 * is just locked is none. directory: that of FILE.cf, where relative names
 * start. Errors as those of text_parse().
 */
int sqlite_map_new(struct slice text, const char *name, const char *directory, bool is_of_accounts,
		   map_report *report, void *arg, struct sqlite_map **ret_map, struct error *err);
struct sqlite_map *sqlite_map_ref(struct sqlite_map *map);
void sqlite_map_unref(struct sqlite_map *map); /* NULL is fine */
DEFINE_CLEANUP(struct sqlite_map *, sqlite_map_unref);

const char *sqlite_map_database(const struct sqlite_map *map); /* its path */
uint32_t sqlite_map_line(const struct sqlite_map *map);	       /* of the query in FILE.cf */

/* MAP_FOUND with the value (in the arena), MAP_NOT_FOUND, or an error that names FILE.cf. */
int sqlite_map_lookup(struct sqlite_map *map, struct slice key, struct arena *arena,
		      const char **ret_value, struct error *err);

/*
 * The row for the key: MAP_FOUND, MAP_NOT_FOUND, or an error, which more than one
 * row is as well. The names of the columns are there also when it is not found.
 */
int sqlite_map_select(struct sqlite_map *map, struct slice key, struct arena *arena,
		      struct map_row *ret, struct error *err);

/* Looks after the maps of the "domain" setting; as map_refresh(). */
int sqlite_map_refresh(struct sqlite_map *map, struct error *err);
