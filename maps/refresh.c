/*
 * refresh - whether a map's file has changed, and taking up the new contents
 *
 * A version of the file is known by its stat, and by a digest of its bytes.
 * The digest is needed because a file system's clock is coarse: a file
 * written twice within a tick has the same stat. So a version that was young
 * when it was read is read once more when it has settled. The digest also
 * keeps a bad version from being reported twice, and a touched file from
 * counting as a change.
 *
 * A file that an editor or a script writes in place is for a moment empty, or
 * ends in the middle of a line. Taken up as it is, it would send mail another
 * way; so such a file must have settled first.
 *
 * A FILE.cf may be refused for its database, which may come a moment later; so
 * it is tried again each time, and told once.
 */
#include <errno.h>
#include <xxhash.h>

#include "base/clock.h"
#include "maps/internal.h"
#include "maps/text.h"

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && text_is_unchanged(a, b);
}

void map_note_version(struct map *map, struct slice text, int64_t wall_ms)
{
	map->digest = XXH3_64bits(text.ptr, text.len);
	map->is_settled = text_is_settled(&map->stat, wall_ms);
}

/* The same trouble with the file is told but once. */
static int file_trouble(struct map *map, int r, struct error *err)
{
	if (map->trouble == r)
		return MAP_NOT_CHANGED;
	map->trouble = r;
	return error_set(err, r, "%s: %s; keeping what it held before", map->name, strerror(-r));
}

/* A result with $1 in it can be judged only when it has come out. */
static int ask_about_each(struct map *map, const struct contents *contents, struct error *err)
{
	struct arena arena = { 0 };
	struct map_entry entry;
	int r = 0;

	if (!map->validate)
		return 0;
	for (size_t i = 0; r >= 0 && map_entry_at(map, contents, i, &arena, &entry); i++) {
		if (!entry.has_substitutions)
			r = map->validate(map->validate_arg, entry.value, entry.source, err);
		arena_reset(&arena);
	}
	arena_done(&arena);
	return r < 0 ? r : 0;
}

/* Takes over the text. */
static int take_up(struct map *map, char *text, size_t len, struct error *err)
{
	struct contents contents, old;
	int r;

	r = contents_parse(map, text, len, NULL, NULL, &contents, err);
	if (r >= 0 && map->refuses_substitutions)
		r = map_find_substitutions(map, &contents, NULL, NULL, err);
	if (r >= 0)
		r = ask_about_each(map, &contents, err);
	if (r < 0) {
		contents_unref(&contents);
		return r;
	}
	pthread_mutex_lock(&map->lock);
	old = map->contents;
	map->contents = contents;
	pthread_mutex_unlock(&map->lock);
	contents_unref(&old);
	return 0;
}

static int refresh(struct map *map, int64_t wall_ms, struct error *err)
{
	CLEANUP(free_strp) char *text = NULL;
	struct stat st;
	uint64_t old_digest = map->digest;
	size_t len = 0;
	bool is_known;
	int r;

	if (stat(map->path, &st) < 0)
		return file_trouble(map, -errno, err);
	if (map->trouble == 0 && map->is_settled && !map->is_refused &&
	    is_same_file(&st, &map->stat))
		return MAP_NOT_CHANGED;
	r = text_read(map->path, map->name, &text, &len, &st, NULL);
	if (r < 0)
		return file_trouble(map, r, err);
	map->trouble = 0;
	if (r == TEXT_CHANGING)
		return MAP_NOT_CHANGED;
	if (text_is_part(&st, slice_of(text, len), wall_ms))
		return MAP_NOT_CHANGED;

	map->stat = st;
	map_note_version(map, slice_of(text, len), wall_ms);
	is_known = map->digest == old_digest;
	if (is_known && !map->is_refused)
		return MAP_NOT_CHANGED;
	r = take_up(map, text, len, is_known ? NULL : err);
	text = NULL;
	map->is_refused = r < 0 && (map->kind == KIND_SQLITE || map->kind == KIND_ACCOUNTS);
	return r < 0 && is_known ? MAP_NOT_CHANGED : r;
}

/* The maps that a FILE.cf names for its domains. */
static int refresh_domains(struct map *map, struct error *err)
{
	struct contents contents = map_contents(map);
	int r = contents.sqlite ? sqlite_map_refresh(contents.sqlite, err) : MAP_NOT_CHANGED;

	contents_unref(&contents);
	return r;
}

int map_refresh_at(struct map *map, int64_t wall_ms, struct error *err)
{
	int r;

	if (!map->path)
		return MAP_NOT_CHANGED;
	pthread_mutex_lock(&map->refresh_lock);
	r = refresh(map, wall_ms, err);
	if (r == MAP_NOT_CHANGED)
		r = refresh_domains(map, err);
	pthread_mutex_unlock(&map->refresh_lock);
	return r;
}

int map_refresh(struct map *map, struct error *err)
{
	return map_refresh_at(map, clock_wall_ms(&clock_system), err);
}
