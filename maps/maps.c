/*
 * maps - a list of maps, and how lists are taken apart
 */
#include <errno.h>

#include "base/escape.h"
#include "base/memory.h"
#include "maps/internal.h"

static bool is_separator(char c)
{
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

int map_list_next(struct slice *rest, struct slice *ret_item, struct error *err)
{
	struct slice s = *rest;
	size_t depth = 0, n = 0;
	char shown[64];

	while (s.len && is_separator(s.ptr[0]))
		s = slice_skip(s, 1);
	for (; n < s.len && (depth > 0 || !is_separator(s.ptr[n])); n++) {
		if (s.ptr[n] == '{')
			depth++;
		else if (s.ptr[n] == '}' && depth > 0)
			depth--;
	}
	*rest = slice_skip(s, n);
	if (depth > 0)
		return error_set(err, -EINVAL, "missing '}' in \"%s\"",
				 escape_cstr(s, shown, sizeof(shown)));
	*ret_item = slice_first(s, n);
	return n > 0;
}

bool list_is_braced(struct slice s)
{
	size_t depth = 0;

	if (s.len < 2 || s.ptr[0] != '{')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		if (s.ptr[i] == '{')
			depth++;
		else if (s.ptr[i] == '}' && --depth == 0)
			return i == s.len - 1;
	}
	return false;
}

struct maps {
	struct map **maps;
	size_t count;
};

static int add_map(struct maps *maps, struct slice spec, bool as_aliases, const char *directory,
		   struct error *err)
{
	struct map **grown = realloc(maps->maps, (maps->count + 1) * sizeof(*grown));
	int r;

	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	maps->maps = grown;
	r = map_open_reporting(spec, as_aliases, directory, NULL, NULL, &maps->maps[maps->count],
			       err);
	if (r >= 0)
		maps->count++;
	return r;
}

static int open_all(struct slice specs, bool as_aliases, const char *directory,
		    struct maps **ret_maps, struct error *err)
{
	CLEANUP(maps_freep) struct maps *maps = calloc(1, sizeof(*maps));
	struct slice spec;
	int r;

	if (!maps)
		return error_set(err, -ENOMEM, "out of memory");
	while ((r = map_list_next(&specs, &spec, err)) > 0) {
		r = add_map(maps, spec, as_aliases, directory, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_maps = maps;
	maps = NULL;
	return 0;
}

int maps_open(struct slice specs, const char *directory, struct maps **ret_maps, struct error *err)
{
	return open_all(specs, false, directory, ret_maps, err);
}

int maps_open_aliases(struct slice specs, const char *directory, struct maps **ret_maps,
		      struct error *err)
{
	return open_all(specs, true, directory, ret_maps, err);
}

struct maps *maps_copy(const struct maps *maps)
{
	struct maps *copy = memory_zeroed(sizeof(*copy));

	copy->maps = memory_zeroed(maps->count * sizeof(struct map *));
	for (; copy->count < maps->count; copy->count++)
		copy->maps[copy->count] = map_copy(maps->maps[copy->count]);
	return copy;
}

void maps_free(struct maps *maps)
{
	if (!maps)
		return;
	for (size_t i = 0; i < maps->count; i++)
		map_free(maps->maps[i]);
	free(maps->maps);
	free(maps);
}

size_t maps_count(const struct maps *maps)
{
	return maps->count;
}

struct map *maps_at(const struct maps *maps, size_t index)
{
	return maps->maps[index];
}

int maps_lookup(struct maps *maps, struct slice key, struct arena *arena, struct map_result *ret,
		struct error *err)
{
	for (size_t i = 0; i < maps->count; i++) {
		int r = map_lookup(maps->maps[i], key, arena, ret, err);

		if (r != MAP_NOT_FOUND)
			return r;
	}
	return MAP_NOT_FOUND;
}

int maps_lookup_part(struct maps *maps, struct slice key, struct arena *arena,
		     struct map_result *ret, struct error *err)
{
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps->count && r == MAP_NOT_FOUND; i++)
		if (!map_is_pattern(maps->maps[i]))
			r = map_lookup(maps->maps[i], key, arena, ret, err);
	return r;
}

int maps_refresh(struct maps *maps, struct error *err)
{
	struct error other;
	int result = MAP_NOT_CHANGED;

	for (size_t i = 0; i < maps->count; i++) {
		int r = map_refresh(maps->maps[i], result < 0 ? &other : err);

		if (r < 0 && result >= 0)
			result = r;
		else if (r == 0 && result == MAP_NOT_CHANGED)
			result = 0;
	}
	return result;
}

/* Passes reports on, and notes that there were some. */
struct witness {
	map_report *report;
	void *arg;
	bool has_reported;
};

static void note_report(void *arg, bool is_error, const char *source, const char *text)
{
	struct witness *witness = arg;

	witness->has_reported = true;
	witness->report(witness->arg, is_error, source, text);
}

void map_diagnose(struct slice spec, bool as_aliases, const char *directory, map_report *report,
		  void *arg)
{
	CLEANUP(map_freep) struct map *map = NULL;
	struct witness witness = { .report = report, .arg = arg };
	struct error error = { 0 };
	char shown[128];

	if (map_open_reporting(spec, as_aliases, directory, note_report, &witness, &map, &error) <
		    0 &&
	    !witness.has_reported)
		report(arg, true, escape_cstr(spec, shown, sizeof(shown)), error.text);
}

static void diagnose_all(struct slice specs, bool as_aliases, const char *directory,
			 map_report *report, void *arg)
{
	struct slice spec, whole = specs;
	struct error error = { 0 };
	char shown[128];
	int r;

	while ((r = map_list_next(&specs, &spec, &error)) > 0)
		map_diagnose(spec, as_aliases, directory, report, arg);
	if (r < 0)
		report(arg, true, escape_cstr(whole, shown, sizeof(shown)), error.text);
}

void maps_diagnose(struct slice specs, const char *directory, map_report *report, void *arg)
{
	diagnose_all(specs, false, directory, report, arg);
}

void maps_diagnose_aliases(struct slice specs, const char *directory, map_report *report, void *arg)
{
	diagnose_all(specs, true, directory, report, arg);
}
