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
 */
#include <errno.h>
#include <xxhash.h>

#include "base/clock.h"
#include "maps/internal.h"
#include "maps/text.h"

#define SETTLED_MS 1000

/* Nothing can be said about the age of a file whose last change is in the future. */
static bool is_settled(const struct stat *st, int64_t wall_ms)
{
	int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;

	return wall_ms < changed_ms || wall_ms - changed_ms > SETTLED_MS;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && text_is_unchanged(a, b);
}

void map_note_version(struct map *map, struct slice text, int64_t wall_ms)
{
	map->digest = XXH3_64bits(text.ptr, text.len);
	map->is_settled = is_settled(&map->stat, wall_ms);
}

/* The same trouble with the file is told but once. */
static int file_trouble(struct map *map, int r, struct error *err)
{
	if (map->trouble == r)
		return MAP_NOT_CHANGED;
	map->trouble = r;
	return error_set(err, r, "%s: %s; keeping what it held before", map->name, strerror(-r));
}

static int ask_about_each(struct map *map, const struct table *table, struct error *err)
{
	struct arena arena = { 0 };
	int r = 0;

	for (size_t i = 0; map->validate && r >= 0 && i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);

		arena_reset(&arena);
		r = map->validate(map->validate_arg, table_value(table, entry),
				  map_entry_source(map, table, entry, &arena), err);
	}
	arena_done(&arena);
	return r < 0 ? r : 0;
}

/* Takes over the text. */
static int take_up(struct map *map, char *text, size_t len, struct error *err)
{
	CLEANUP(table_unrefp) struct table *table = NULL;
	struct table *old;
	int r;

	r = text_parse(text, len, map->name, NULL, NULL, &table, err);
	if (r >= 0)
		r = ask_about_each(map, table, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&map->lock);
	old = map->table;
	map->table = table;
	pthread_mutex_unlock(&map->lock);
	table = old; /* and is let go on return */
	return 0;
}

static int refresh(struct map *map, int64_t wall_ms, struct error *err)
{
	CLEANUP(free_strp) char *text = NULL;
	struct stat st;
	uint64_t old_digest = map->digest;
	size_t len = 0;
	int r;

	if (stat(map->path, &st) < 0)
		return file_trouble(map, -errno, err);
	if (map->trouble == 0 && map->is_settled && is_same_file(&st, &map->stat))
		return MAP_NOT_CHANGED;
	r = text_read(map->path, map->name, &text, &len, &st, NULL);
	if (r < 0)
		return file_trouble(map, r, err);
	map->trouble = 0;
	if (r == TEXT_CHANGING)
		return MAP_NOT_CHANGED;
	if (!is_settled(&st, wall_ms) && (len == 0 || text[len - 1] != '\n'))
		return MAP_NOT_CHANGED;

	map->stat = st;
	map_note_version(map, slice_of(text, len), wall_ms);
	if (map->digest == old_digest)
		return MAP_NOT_CHANGED;
	r = take_up(map, text, len, err);
	text = NULL;
	return r;
}

int map_refresh_at(struct map *map, int64_t wall_ms, struct error *err)
{
	int r;

	if (map->kind != KIND_TEXT)
		return MAP_NOT_CHANGED;
	pthread_mutex_lock(&map->refresh_lock);
	r = refresh(map, wall_ms, err);
	pthread_mutex_unlock(&map->refresh_lock);
	return r;
}

int map_refresh(struct map *map, struct error *err)
{
	return map_refresh_at(map, clock_wall_ms(&clock_system), err);
}
