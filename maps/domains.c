/*
 * domains - entries in the order of the list; the first that matches decides
 */
#include <errno.h>

#include "base/escape.h"
#include "maps/internal.h"

struct entry {
	bool is_excluded;  /* "!" */
	struct slice name; /* plain, in the arena; ".name" for subdomains */
	struct map *map;   /* or NULL */
};

struct domains {
	struct arena arena;
	struct entry *entries;
	size_t count;
};

/* "[192.0.2.1]" and "[IPv6:2001:db8::1]" are address literals, not maps. */
static bool is_map(struct slice item)
{
	return item.ptr[0] != '[' && slice_find(item, ':') != item.len;
}

static int parse_entry(struct domains *domains, struct slice item, const char *directory,
		       struct entry *ret, struct error *err)
{
	char shown[64];

	escape_cstr(item, shown, sizeof(shown));
	*ret = (struct entry){ 0 };
	if (item.ptr[0] == '!') {
		ret->is_excluded = true;
		item = slice_skip(item, 1);
	}
	if (item.len && is_map(item))
		return map_open(item, directory, &ret->map, err);
	if (item.len == 0 || slice_equal(item, SLICE(".")) || slice_find(item, '@') != item.len ||
	    slice_find(item, '*') != item.len || slice_find(item, '/') != item.len)
		return error_set(err, -EINVAL,
				 "\"%s\": expected a domain, .domain for its subdomains, or a map",
				 shown);
	ret->name = slice_of(arena_slicedup(&domains->arena, item), item.len);
	return 0;
}

static int add_entry(struct domains *domains, struct slice item, const char *directory,
		     struct error *err)
{
	struct entry *grown = realloc(domains->entries, (domains->count + 1) * sizeof(*grown));
	int r;

	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	domains->entries = grown;
	r = parse_entry(domains, item, directory, &grown[domains->count], err);
	if (r >= 0)
		domains->count++;
	return r;
}

int domains_open(struct slice list, const char *directory, struct domains **ret_domains,
		 struct error *err)
{
	CLEANUP(domains_freep) struct domains *domains = calloc(1, sizeof(*domains));
	struct slice item;
	int r;

	if (!domains)
		return error_set(err, -ENOMEM, "out of memory");
	while ((r = map_list_next(&list, &item, err)) > 0) {
		r = add_entry(domains, item, directory, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret_domains = domains;
	domains = NULL;
	return 0;
}

void domains_free(struct domains *domains)
{
	if (!domains)
		return;
	for (size_t i = 0; i < domains->count; i++)
		map_free(domains->entries[i].map);
	free(domains->entries);
	arena_done(&domains->arena);
	free(domains);
}

size_t domains_map_count(const struct domains *domains)
{
	size_t count = 0;

	for (size_t i = 0; i < domains->count; i++)
		count += domains->entries[i].map != NULL;
	return count;
}

struct map *domains_map_at(const struct domains *domains, size_t index)
{
	for (size_t i = 0; i < domains->count; i++)
		if (domains->entries[i].map && index-- == 0)
			return domains->entries[i].map;
	return NULL;
}

int domains_visit(struct domains *domains,
		  int (*visit)(void *arg, const char *key, const char *value, const char *source),
		  void *arg)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < domains->count; i++) {
		const struct entry *entry = &domains->entries[i];

		if (entry->is_excluded)
			continue;
		if (!entry->map)
			r = visit(arg, entry->name.ptr, "", NULL);
		else if (!map_is_pattern(entry->map) && !map_has_every_key(entry->map))
			r = map_visit(entry->map, visit, arg);
	}
	return r;
}

/* The domain itself, then ".parent" for each of its parents. */
static int match_map(struct map *map, struct slice domain, struct error *err)
{
	int r = map_has(map, domain, err);
	bool has_parts = !map_is_pattern(map) && domain.len && domain.ptr[0] != '[';

	while (r == MAP_NOT_FOUND && has_parts) {
		size_t dot = 1 + slice_find(slice_skip(domain, 1), '.');

		domain = slice_skip(domain, dot);
		if (domain.len < 2)
			break;
		r = map_has(map, domain, err);
	}
	return r;
}

static int match_name(struct slice name, struct slice domain)
{
	if (name.ptr[0] == '.' && domain.len > name.len)
		domain = slice_skip(domain, domain.len - name.len);
	return slice_equal_nocase(name, domain) ? MAP_FOUND : MAP_NOT_FOUND;
}

int domains_match(struct domains *domains, struct slice domain, struct error *err)
{
	for (size_t i = 0; domain.len && i < domains->count; i++) {
		const struct entry *entry = &domains->entries[i];
		int r = entry->map ? match_map(entry->map, domain, err)
				   : match_name(entry->name, domain);

		if (r == MAP_FOUND && entry->is_excluded)
			return MAP_NOT_FOUND;
		if (r != MAP_NOT_FOUND)
			return r;
	}
	return MAP_NOT_FOUND;
}

int domains_match_exactly(struct domains *domains, struct slice domain, struct error *err)
{
	for (size_t i = 0; i < domains->count; i++) {
		const struct entry *entry = &domains->entries[i];
		int r = MAP_NOT_FOUND;

		if (entry->map)
			r = map_has(entry->map, domain, err);
		else if (slice_equal_nocase(entry->name, domain))
			r = MAP_FOUND;
		if (r == MAP_FOUND && entry->is_excluded)
			return MAP_NOT_FOUND;
		if (r != MAP_NOT_FOUND)
			return r;
	}
	return MAP_NOT_FOUND;
}

int domains_refresh(struct domains *domains, struct error *err)
{
	struct error other;
	int result = MAP_NOT_CHANGED;

	for (size_t i = 0; i < domains->count; i++) {
		struct map *map = domains->entries[i].map;
		int r = map ? map_refresh(map, result < 0 ? &other : err) : MAP_NOT_CHANGED;

		if (r < 0 && result >= 0)
			result = r;
		else if (r == 0 && result == MAP_NOT_CHANGED)
			result = 0;
	}
	return result;
}

void domains_diagnose(struct slice list, const char *directory, map_report *report, void *arg)
{
	struct domains scratch = { 0 };
	struct slice item, whole = list;
	struct error error = { 0 };
	struct entry entry;
	char shown[128];
	int r;

	while ((r = map_list_next(&list, &item, &error)) > 0) {
		struct slice name = slice_skip(item, item.ptr[0] == '!');

		if (name.len && is_map(name))
			map_diagnose(name, false, directory, report, arg);
		else if (parse_entry(&scratch, item, directory, &entry, &error) < 0)
			report(arg, true, escape_cstr(item, shown, sizeof(shown)), error.text);
	}
	if (r < 0)
		report(arg, true, escape_cstr(whole, shown, sizeof(shown)), error.text);
	arena_done(&scratch.arena);
}
