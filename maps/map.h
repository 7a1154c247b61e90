/*
 * map - a lookup table: "TYPE:NAME" as in Postfix
 *
 * Types: hash, texthash, lmdb and btree all read the text file NAME itself
 * (lines "key value"; '#' comments; continued by leading white space; a key
 * with white space is put in double quotes, which belong to it, as in
 * postmap(1)); static:VALUE; inline:{ k = v, ... } or inline:{ {k = v}, ... };
 * regexp:FILE and cidr:FILE, patterns that are tried in order (maps/rules.h),
 * or regexp:{ {rule}, ... }; sqlite:FILE.cf, a query (maps/sqlite.h).
 * The text files of alias_maps have another format (map_open_aliases()).
 * Where a key stands twice in a file the first line counts, as in Postfix;
 * map_check() tells. In inline: that is an error.
 *
 * A map is shared by all threads. Lookups never block on anything but memory,
 * those of sqlite: on a file for a bounded time; map_refresh() looks whether
 * the file has changed and swaps the new contents in, keeping the old ones when
 * the new do not parse. Keys are compared without regard to (ASCII) case, but
 * where a pattern says otherwise.
 */
#pragma once

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"

struct map;

enum map_outcome {
	MAP_FOUND = 0,
	MAP_NOT_FOUND = 1,
	MAP_NOT_CHANGED = 2,
};

struct map_result {
	const char *value; /* in the arena */
	/* "ts:2": file as written in the configuration, and line; "inline:KEY"; "static:VALUE" */
	const char *source; /* in the arena */
};

/*
 * Takes what a check has found: an error, or else a warning. source is
 * "FILE:LINE", or a map's specification where there is no line.
 */
typedef void map_report(void *arg, bool is_error, const char *source, const char *text);

/* Relative file names are relative to directory. Errors name the file and line. */
int map_open(struct slice spec, const char *directory, struct map **ret_map, struct error *err);

/* The same; but a text file is in the format of aliases(5), "name: value, ...", as of alias_maps. */
int map_open_aliases(struct slice spec, const char *directory, struct map **ret_map,
		     struct error *err);
void map_free(struct map *map);
DEFINE_CLEANUP(struct map *, map_free);
const char *map_spec(const struct map *map);

/* Whether TYPE:NAME names a file, and so is nothing else: no entries that stand there themselves. */
bool map_spec_names_file(struct slice spec);
const char *map_file(const struct map *map); /* what it reads; NULL: no file */

/* The file that the one above sends to: the database; NULL: none. */
const char *map_database(struct map *map, struct arena *arena);

/* Whether it answers any key whatever, as static: does. */
bool map_has_every_key(const struct map *map);

/*
 * Whether its keys are patterns (regexp:, cidr:). Whoever asks for parts of an
 * address or a domain asks such a map for the whole only, as in Postfix.
 */
bool map_is_pattern(const struct map *map);

/* Whether map_visit() shows the very keys that lookups find. */
bool map_lists_keys(const struct map *map);

/*
 * From now on no result may have $1 and the like: a line that has them is
 * reported as an error, and refused in new versions of the file. To be called
 * before the map is shared. 0, or an error when there were some.
 */
int map_refuse_substitutions(struct map *map, map_report *report, void *arg);

/* MAP_FOUND, MAP_NOT_FOUND, or an error: then nothing is known, and mail must wait. */
int map_lookup(struct map *map, struct slice key, struct arena *arena, struct map_result *ret,
	       struct error *err);

/*
 * A query for accounts: a FILE.cf with dbpath, query, domain and
 * default_pass_scheme, and rows of more than one column. It is refreshed and
 * freed as the others, and has no single values to look up. report is given
 * each bad line, and warnings; it may be NULL.
 */
int map_open_accounts(const char *file, map_report *report, void *arg, struct map **ret_map,
		      struct error *err);

/* In the arena, with a secret among the values: map_row_wipe(). */
struct map_row {
	size_t count;
	const char *const *names;
	const char *const *values; /* NULL: there is no row; each NULL where it is so in SQL */
	const char *scheme;	   /* default_pass_scheme; NULL: not given */
	const char *source;	   /* "FILE:LINE" of the query */
};

/* The one row for a key: MAP_FOUND, MAP_NOT_FOUND, or an error; more rows are one. */
int map_select(struct map *map, struct slice key, struct arena *arena, struct map_row *ret,
	       struct error *err);
void map_row_wipe(struct map_row *row);

/*
 * Blocks on the file. 0: changed and taken up; MAP_NOT_CHANGED; or an error,
 * once for each new version (or when the file cannot be read any more). A
 * file that is being written is left for the next call: one that changed
 * while it was read, or is less than a second old and empty or without a
 * newline at its end. New files are best moved into place by rename(2).
 */
int map_refresh(struct map *map, struct error *err);

/*
 * From now on map_refresh() asks about each entry of a new version, and
 * refuses the version where the answer is an error. To be set before the map
 * is shared; arg must outlive the map.
 */
typedef int map_validate(void *arg, const char *value, const char *source, struct error *err);
void map_set_validate(struct map *map, map_validate *validate, void *arg);

/*
 * Call visit for each entry, in the order of the file, until it returns
 * non-zero, which is returned. Entries that lookups never find, because an
 * earlier line has the key, are visited too. The key of static: is "*"; of
 * regexp: and cidr: it is the pattern as written; a database shows nothing.
 */
int map_visit(struct map *map,
	      int (*visit)(void *arg, const char *key, const char *value, const char *source),
	      void *arg);

/* Report the keys or patterns that stand in the map twice, as warnings. */
void map_check(struct map *map, map_report *report, void *arg);

/* Whether it is "TYPE:..." of a type that there is, and not, say, an IPv6 address. */
bool map_is_spec(struct slice item);

/*
 * Take the next map or name from the front of a list; braces hold one
 * together. 1, 0 when there is none, or an error: a brace that is not closed.
 */
int map_list_next(struct slice *rest, struct slice *ret_item, struct error *err);

/*
 * maps - a list of maps, tried in order: "hash:a, static:b"
 */
struct maps;

int maps_open(struct slice specs, const char *directory, struct maps **ret_maps, struct error *err);
int maps_open_aliases(struct slice specs, const char *directory, struct maps **ret_maps,
		      struct error *err); /* as map_open_aliases() */

/* The same maps with what they hold now; refreshing the one leaves the other as it is. */
struct maps *maps_copy(const struct maps *maps);
void maps_free(struct maps *maps);
DEFINE_CLEANUP(struct maps *, maps_free);
size_t maps_count(const struct maps *maps);
struct map *maps_at(const struct maps *maps, size_t index);
int maps_lookup(struct maps *maps, struct slice key, struct arena *arena, struct map_result *ret,
		struct error *err);

/* The same for a key that is a part of what was asked for; maps of patterns are left out. */
int maps_lookup_part(struct maps *maps, struct slice key, struct arena *arena,
		     struct map_result *ret, struct error *err);

/* Refreshes each; returns 0 when any changed, MAP_NOT_CHANGED, or the first error. */
int maps_refresh(struct maps *maps, struct error *err);

/*
 * Report every error for which maps_open() would fail: each bad map, and each
 * bad line of each file, where maps_open() tells but the first.
 */
void maps_diagnose(struct slice specs, const char *directory, map_report *report, void *arg);
void maps_diagnose_aliases(struct slice specs, const char *directory, map_report *report,
			   void *arg);

/*
 * domains - a list of domains and maps: "vm1.vm, .vm2.vm, hash:file"
 *
 * A plain entry matches itself, ".vm2.vm" its subdomains; a map matches when
 * it has the domain as a key (or ".parent" for a subdomain, but for patterns,
 * which are asked for the domain itself only). The first entry
 * that matches decides; "!" in front of an entry makes it decide for "no".
 */
struct domains;

int domains_open(struct slice list, const char *directory, struct domains **ret_domains,
		 struct error *err);
void domains_free(struct domains *domains);
DEFINE_CLEANUP(struct domains *, domains_free);
int domains_match(struct domains *domains, struct slice domain,
		  struct error *err); /* MAP_FOUND, … */
int domains_refresh(struct domains *domains, struct error *err);
size_t domains_map_count(const struct domains *domains);

/*
 * Call visit for each domain that is named: entries (without a value, and with
 * source NULL) and keys of maps, as map_visit() has them; but not for those
 * behind "!", nor for patterns. Until it returns non-zero, which is returned.
 */
int domains_visit(struct domains *domains,
		  int (*visit)(void *arg, const char *key, const char *value, const char *source),
		  void *arg);
struct map *domains_map_at(const struct domains *domains, size_t index);
void domains_diagnose(struct slice list, const char *directory, map_report *report, void *arg);
