/*
 * A value is copied into one buffer, user and password each with a NUL behind,
 * which is wiped as a whole; and so is the map's copy of it in the arena.
 */
#include "mta/credentials.h"

#include <stdint.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "smtp/address.h"
#include "smtp/domain.h"

static const char parameter[] = "smtp_sasl_password_maps";

struct search {
	const struct credentials_options *options;
	struct arena arena;
	transport_trace *trace;
	void *trace_arg;
	struct credentials *found;
	struct error *err;
};

void credentials_done(struct credentials *c)
{
	buf_wipe(&c->memory);
	*c = (struct credentials){ 0 };
}

bool credentials_may_apply(const struct credentials_options *options,
			   const struct transport_route *route)
{
	return options->password_maps && route->hop_count > 0 && route->kind != TRANSPORT_LMTP;
}

bool credentials_are_complete(const char *value)
{
	const char *colon = strchr(value, ':');

	return colon && colon > value && colon[1] != '\0';
}

/* Offsets, as the memory may move until all is in it. */
static size_t add_string(struct buf *memory, struct slice string)
{
	size_t at = buf_len(memory);

	buf_append_slice(memory, string);
	buf_append(memory, "", 1);
	return at;
}

/* That of static: is the value itself. */
static const char *source_of(const struct map_result *line)
{
	return slice_starts_nocase(slice_from(line->source), SLICE("static:")) ? "static:"
									       : line->source;
}

/* So is what maps without a file are called. */
static const char *name_of(struct map *map, struct arena *arena)
{
	struct slice spec = slice_from(map_spec(map));

	return map_file(map) ? map_spec(map)
			     : arena_slicedup(arena, slice_first(spec, slice_find(spec, ':') + 1));
}

static void take(struct credentials *c, const char *key, bool is_part,
		 const struct map_result *line)
{
	const char *source = source_of(line);
	struct slice value = slice_from(line->value);
	struct slice user = slice_first(value, slice_find(value, ':'));
	size_t password_at, key_at, source_at;
	const char *mem;

	/* At once, lest growing leaves copies behind. */
	buf_reserve(&c->memory, value.len + strlen(key) + strlen(source) + 4);
	add_string(&c->memory, user);
	password_at = add_string(&c->memory, slice_skip(value, user.len + 1));
	key_at = add_string(&c->memory, slice_from(key));
	source_at = add_string(&c->memory, slice_from(source));
	mem = buf_slice(&c->memory).ptr;
	c->user = mem;
	c->password = mem + password_at;
	c->key = mem + key_at;
	c->is_by_part = is_part;
	c->source = mem + source_at;
}

static void tell(struct search *s, struct map *map, const char *key, const struct map_result *line)
{
	struct transport_lookup lookup = {
		.parameter = parameter,
		.key = key,
	};

	if (!s->trace)
		return;
	lookup.map = name_of(map, &s->arena);
	if (line) {
		lookup.value = s->found->user ? s->found->user : "nobody";
		lookup.source = source_of(line);
	}
	s->trace(s->trace_arg, &lookup);
}

/* It is in our arena, a copy of what the map has. */
static void wipe(const struct map_result *line)
{
	explicit_bzero((void *)(uintptr_t)line->value, strlen(line->value));
}

/* MAP_FOUND also where the entry says that nobody logs in: then there is no user. */
static int find_key(struct search *s, const char *key, bool is_part)
{
	struct maps *maps = s->options->password_maps;
	int r = MAP_NOT_FOUND;

	for (size_t i = 0; i < maps_count(maps) && r == MAP_NOT_FOUND; i++) {
		struct map *map = maps_at(maps, i);
		struct map_result line;

		if (is_part && map_is_pattern(map))
			continue; /* it has been asked for the whole */
		r = map_lookup(map, slice_from(key), &s->arena, &line, s->err);
		if (r == MAP_FOUND && credentials_are_complete(line.value))
			take(s->found, key, is_part, &line);
		if (r >= 0)
			tell(s, map, key, r == MAP_FOUND ? &line : NULL);
		if (r == MAP_FOUND)
			wipe(&line);
	}
	return r;
}

/* Also under the other spelling of its domain. */
static int find_either(struct search *s, const char *key, bool is_part)
{
	const char *other = smtp_domain_respell(&s->arena, slice_from(key));
	int r = find_key(s, key, is_part);

	return r == MAP_NOT_FOUND && other ? find_key(s, other, is_part) : r;
}

static int find_sender(struct search *s, const char *sender)
{
	const char *folded = smtp_address_fold(&s->arena, sender);
	struct slice domain = smtp_address_domain(folded);
	const char *delimiters = s->options->recipient_delimiter, *bare = NULL;
	int r = find_either(s, folded, false);

	if (delimiters && delimiters[0])
		bare = smtp_address_without_extension(
			&s->arena, smtp_address_plain(&s->arena, folded), delimiters);
	if (r == MAP_NOT_FOUND && bare)
		r = find_either(s, bare, true);
	if (r == MAP_NOT_FOUND && domain.len > 0)
		r = find_either(s, arena_printf(&s->arena, "@%.*s", (int)domain.len, domain.ptr),
				true);
	return r;
}

/* Addresses are in brackets in a route, however they were written. */
static int find_hop(struct search *s, const struct transport_hop *hop)
{
	bool has_brackets = hop->text[0] == '[';
	int r = find_key(s, hop->text, false);

	if (r == MAP_NOT_FOUND && has_brackets)
		r = find_key(s, arena_printf(&s->arena, "[%s]", hop->host), false);
	if (r == MAP_NOT_FOUND && has_brackets)
		r = find_key(s, arena_printf(&s->arena, "%s:%u", hop->host, hop->port), false);
	return r == MAP_NOT_FOUND ? find_key(s, hop->host, false) : r;
}

/* What a search has come to. */
static int conclude(struct search *s, int r)
{
	arena_done(&s->arena);
	if (r < 0)
		error_prefix(s->err, "%s", parameter);
	return r == MAP_FOUND && !s->found->user ? MAP_NOT_FOUND : r;
}

int credentials_find(const struct credentials_options *options, const char *sender,
		     const struct transport_hop *hop, transport_trace *trace, void *trace_arg,
		     struct credentials *ret, struct error *err)
{
	struct search s = {
		.options = options,
		.trace = trace,
		.trace_arg = trace_arg,
		.found = ret,
		.err = err,
	};
	int r = MAP_NOT_FOUND;

	*ret = (struct credentials){ 0 };
	if (!options->password_maps)
		return MAP_NOT_FOUND;
	if (options->by_sender && sender[0])
		r = find_sender(&s, sender);
	if (r == MAP_NOT_FOUND)
		r = find_hop(&s, hop);
	return conclude(&s, r);
}

int credentials_find_again(const struct credentials_options *options,
			   const struct transport_hop *hop, struct credentials *ret,
			   struct error *err)
{
	struct search s = { .options = options, .found = ret, .err = err };

	*ret = (struct credentials){ 0 };
	if (!options->password_maps)
		return MAP_NOT_FOUND;
	return conclude(&s, find_key(&s, hop->login_key, hop->login_is_by_part));
}

/* Fills in the logins of the hops; how many have one, or an error. */
static int fill_logins(const struct credentials_options *options, const char *sender,
		       struct transport_hop *hops, unsigned int count, struct arena *arena,
		       struct error *err)
{
	int logins = 0;

	for (unsigned int i = 0; i < count; i++) {
		struct credentials found;
		int r = credentials_find(options, sender, &hops[i], NULL, NULL, &found, err);

		if (r == MAP_FOUND) {
			hops[i].login = arena_strdup(arena, found.user);
			hops[i].login_key = arena_strdup(arena, found.key);
			hops[i].login_is_by_part = found.is_by_part;
			logins++;
		}
		credentials_done(&found);
		if (r < 0)
			return r;
	}
	return logins;
}

/* ---- routes ---- */

#define CACHE_MAX 1024 /* then it begins anew: who is still in use is held elsewhere */

struct credentials_cache {
	struct strmap entries; /* struct cached_route, by the route without logins, and these */
};

struct cached_route {
	const struct transport_route *plain,
		*complete; /* references: so no other has plain's place */
};

struct credentials_cache *credentials_cache_new(void)
{
	return memory_zeroed(sizeof(struct credentials_cache));
}

static void empty_cache(struct credentials_cache *cache)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&cache->entries, &cursor)) != NULL) {
		struct cached_route *cached = entry->value;

		transport_route_unref(cached->plain);
		transport_route_unref(cached->complete);
		free(cached);
	}
	strmap_done(&cache->entries);
	cache->entries = (struct strmap){ 0 };
}

void credentials_cache_free(struct credentials_cache *cache)
{
	if (!cache)
		return;
	empty_cache(cache);
	free(cache);
}

static struct slice cache_key(const struct transport_route *route, const struct transport_hop *hops,
			      struct buf *memory)
{
	buf_append(memory, &route, sizeof(route));
	for (unsigned int i = 0; i < route->hop_count; i++)
		if (hops[i].login)
			buf_printf(memory, "%u=%zu:%s%d%s ", i, strlen(hops[i].login),
				   hops[i].login, hops[i].login_is_by_part, hops[i].login_key);
	return buf_slice(memory);
}

/* A reference to the route with these hops. */
static const struct transport_route *complete_route(struct credentials_cache *cache,
						    const struct transport_route *route,
						    const struct transport_hop *hops)
{
	struct buf memory = { 0 };
	struct slice key = cache_key(route, hops, &memory);
	struct cached_route *cached = strmap_get(&cache->entries, key);

	if (!cached) {
		if (cache->entries.count >= CACHE_MAX)
			empty_cache(cache);
		cached = memory_zeroed(sizeof(*cached));
		cached->plain = transport_route_ref(route);
		cached->complete = transport_route_with_logins(route, hops);
		strmap_put(&cache->entries, key, cached);
	}
	buf_done(&memory);
	return transport_route_ref(cached->complete);
}

int credentials_add(struct credentials_cache *cache, const struct credentials_options *options,
		    const char *sender, const struct transport_route **route, struct error *err)
{
	const struct transport_route *plain = *route;
	struct arena arena = { 0 };
	struct transport_hop *hops;
	int logins;

	if (!credentials_may_apply(options, plain))
		return 0;
	hops = arena_alloc(&arena, plain->hop_count * sizeof(*hops));
	memcpy(hops, plain->hops, plain->hop_count * sizeof(*hops));
	logins = fill_logins(options, sender, hops, plain->hop_count, &arena, err);
	if (logins > 0) {
		*route = complete_route(cache, plain, hops);
		transport_route_unref(plain);
	}
	arena_done(&arena);
	return logins < 0 ? logins : 0;
}
