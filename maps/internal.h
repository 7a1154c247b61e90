/*
 * internal - what the files of this folder share, and its tests
 */
#pragma once

#include <pthread.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "maps/map.h"
#include "maps/rules.h"
#include "maps/sqlite.h"
#include "maps/table.h"

enum map_kind {
	KIND_TEXT,
	KIND_ALIASES, /* the same, in the format of aliases(5) */
	KIND_INLINE,
	KIND_STATIC,
	KIND_REGEXP,
	KIND_CIDR,
	KIND_SQLITE,
	KIND_ACCOUNTS, /* the same for map_select() */
};

/* What a map holds at one time: one of these, or nothing (static:). Shared, never changed. */
struct contents {
	struct table *table; /* text, aliases, inline */
	struct rules *rules; /* regexp, cidr */
	struct sqlite_map *sqlite;
};

struct map {
	struct arena arena; /* for the strings */
	enum map_kind kind;
	const char *spec;
	const char *name; /* behind the type: the file as written, the value of static: */
	const char *path; /* of the file; NULL: it stands in the configuration */
	bool refuses_substitutions;
	map_validate *validate;
	void *validate_arg;

	pthread_mutex_t lock;
	struct contents contents; /* under lock */

	pthread_mutex_t refresh_lock; /* for what follows */
	struct stat stat;
	uint64_t digest;
	bool is_settled; /* digest is that of all that the file with this stat will ever hold */
	bool is_refused; /* a FILE.cf whose fault may be the database's */
	int trouble;	 /* the errno for which it could last not be read, 0: it could */
};

/* Whether s starts with '{' and the brace that closes it is its last character. */
bool list_is_braced(struct slice s);

/* The table of "{ k = v, ... }". */
int inline_parse(struct slice text, struct table **ret_table, struct error *err);

/* "{ {rule}, {rule} }" as lines. */
int inline_lines(struct slice text, struct buf *out, struct error *err);

/*
 * map_open(), or map_open_aliases(), that reports each bad line, not only the
 * first; report may be NULL.
 */
int map_open_reporting(struct slice spec, bool as_aliases, const char *directory,
		       map_report *report, void *arg, struct map **ret_map, struct error *err);

/* Another map with the same contents, which are shared. */
struct map *map_copy(struct map *map);

/* Report each error for which map_open() would fail, or map_open_aliases(). */
void map_diagnose(struct slice spec, bool as_aliases, const char *directory, map_report *report,
		  void *arg);

/* Whether the map has the key: MAP_FOUND, MAP_NOT_FOUND, or an error. */
int map_has(struct map *map, struct slice key, struct error *err);

/* Those of the moment, with a reference for the caller. */
struct contents map_contents(struct map *map);
void contents_unref(struct contents *contents);

/* Makes them of a text, which is taken over (with its one more byte). Errors as in text_parse(). */
int contents_parse(struct map *map, char *text, size_t len, map_report *report, void *arg,
		   struct contents *ret, struct error *err);

/*
 * Entries in the order of the file, until index is out of range; a database
 * shows none. The strings are in the arena, or live as long as the contents.
 */
struct map_entry {
	const char *key, *value, *source;
	bool has_substitutions;
};
bool map_entry_at(const struct map *map, const struct contents *contents, size_t index,
		  struct arena *arena, struct map_entry *ret);

/* An error for the first line with $1 and the like in its result; report may be NULL. */
int map_find_substitutions(const struct map *map, const struct contents *contents,
			   map_report *report, void *arg, struct error *err);

/* domains_match() without ".parent"s and without subdomains. */
int domains_match_exactly(struct domains *domains, struct slice domain, struct error *err);

/* Remember that the file, as map->stat has it, held this text. */
void map_note_version(struct map *map, struct slice text, int64_t wall_ms);

/* map_refresh() at a given time. */
int map_refresh_at(struct map *map, int64_t wall_ms, struct error *err);
