/*
 * Keys of maps are compared byte by byte, so a fingerprint is looked up in each
 * of the forms that it is usually written in: with and without colons, with
 * and without what it is one of. Case never matters in maps.
 */
#include "mta/clientcerts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "certs/certificate.h"

#define VALID "expected sha256:HEX, pubkey-sha256:HEX, a DNS name, all, or a map (TYPE:NAME)"

enum entry_kind {
	ENTRY_ALL,
	ENTRY_FINGERPRINT,
	ENTRY_NAME,
	ENTRY_MAP,
};

struct entry {
	enum entry_kind kind;
	struct tls_fingerprint fingerprint;
	const char *name; /* in the arena */
	struct map *map;
};

struct clientcerts {
	struct arena arena;
	struct entry *entries;
	size_t count;
};

/* ---- the list ---- */

/* Nothing but digits and colons, and too long for a name that somebody would give a host. */
static bool is_hex(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (!strchr("0123456789abcdefABCDEF:", s.ptr[i]))
			return false;
	return s.len >= 32;
}

static bool is_fingerprint(struct slice s)
{
	return is_hex(s) || slice_starts_nocase(s, SLICE(TLS_FINGERPRINT_CERTIFICATE)) ||
	       slice_starts_nocase(s, SLICE(TLS_FINGERPRINT_KEY));
}

static bool is_name(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		      c == '-' || c == '_' || c == '.'))
			return false;
	}
	return s.len > 0 && s.len <= 255 && s.ptr[0] != '.' && s.ptr[0] != '-';
}

/* Of an entry, or of a key of a map: whatever is not a map. */
static int parse_key(struct slice item, struct arena *arena, struct entry *ret, struct error *err)
{
	char shown[64];

	*ret = (struct entry){ 0 };
	if (is_fingerprint(item)) {
		ret->kind = ENTRY_FINGERPRINT;
		return tls_fingerprint_parse(item, &ret->fingerprint, err);
	}
	if (slice_equal_nocase(item, SLICE("all"))) {
		ret->kind = ENTRY_ALL;
		return 0;
	}
	if (!is_name(item))
		return error_set(err, -EINVAL, "\"%s\": " VALID,
				 escape_cstr(item, shown, sizeof(shown)));
	ret->kind = ENTRY_NAME;
	ret->name = arena_slicedup(arena, item);
	return 0;
}

static int look_up_fingerprint(struct map *map, const char *fingerprint, char *why,
			       struct error *err);

/*
 * Whether the map knows a certificate that nobody has: then it knows them all.
 * Of patterns and queries only an answer tells. An error is none here.
 */
static bool knows_everybody(struct map *map)
{
	static const char nobodys[] = TLS_FINGERPRINT_CERTIFICATE
		"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
	char why[CLIENTCERTS_WHY_SIZE];

	return map_has_every_key(map) ||
	       (!map_lists_keys(map) && look_up_fingerprint(map, nobodys, why, NULL) == MAP_FOUND);
}

static int open_map(struct slice item, const char *directory, struct entry *ret, struct error *err)
{
	int r;

	*ret = (struct entry){ .kind = ENTRY_MAP };
	r = map_open(item, directory, &ret->map, err);
	if (r < 0 || !knows_everybody(ret->map))
		return r;
	map_free(ret->map);
	return error_set(err, -EINVAL,
			 "%.*s would let anybody relay who has any certificate at all",
			 (int)item.len, item.ptr);
}

static bool is_map(struct slice item)
{
	return !is_fingerprint(item) && slice_find(item, ':') != item.len;
}

static int parse_item(struct slice item, const char *directory, struct arena *arena,
		      struct entry *ret, struct error *err)
{
	return is_map(item) ? open_map(item, directory, ret, err)
			    : parse_key(item, arena, ret, err);
}

static int add_item(struct clientcerts *list, struct slice item, const char *directory,
		    struct error *err)
{
	struct entry *grown = realloc(list->entries, (list->count + 1) * sizeof(*grown));
	int r;

	if (!grown)
		return error_set(err, -ENOMEM, "out of memory");
	list->entries = grown;
	r = parse_item(item, directory, &list->arena, &grown[list->count], err);
	if (r >= 0)
		list->count++;
	return r;
}

int clientcerts_open(struct slice text, const char *directory, struct clientcerts **ret,
		     struct error *err)
{
	CLEANUP(clientcerts_freep) struct clientcerts *list = calloc(1, sizeof(*list));
	struct slice item;
	int r;

	if (!list)
		return error_set(err, -ENOMEM, "out of memory");
	while ((r = map_list_next(&text, &item, err)) > 0) {
		r = add_item(list, item, directory, err);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	*ret = list;
	list = NULL;
	return 0;
}

void clientcerts_free(struct clientcerts *list)
{
	if (!list)
		return;
	for (size_t i = 0; i < list->count; i++)
		map_free(list->entries[i].map);
	free(list->entries);
	arena_done(&list->arena);
	free(list);
}

/* ---- what is wrong with it ---- */

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

/* A map that can't be opened says itself why, line by line. */
static void diagnose(struct slice item, const char *directory, map_report *report, void *arg)
{
	struct witness witness = { .report = report, .arg = arg };
	struct arena arena = { 0 };
	struct error err = { 0 };
	struct entry entry = { 0 };
	char shown[128];
	int r = parse_item(item, directory, &arena, &entry, &err);

	if (r < 0 && is_map(item))
		maps_diagnose(item, directory, note_report, &witness);
	if (r < 0 && !witness.has_reported)
		report(arg, true, escape_cstr(item, shown, sizeof(shown)), err.text);
	if (r >= 0)
		map_free(entry.map);
	arena_done(&arena);
}

void clientcerts_diagnose(struct slice list, const char *directory, map_report *report, void *arg)
{
	struct slice item, whole = list;
	struct error err = { 0 };
	char shown[128];
	int r;

	while ((r = map_list_next(&list, &item, &err)) > 0)
		diagnose(item, directory, report, arg);
	if (r < 0)
		report(arg, true, escape_cstr(whole, shown, sizeof(shown)), err.text);
}

struct visitor {
	map_report *report;
	void *arg;
	bool needs_ca;
};

static int visit(void *arg, const char *key, const char *value, const char *source)
{
	struct visitor *visitor = arg;
	struct arena arena = { 0 };
	struct error err = { 0 };
	struct entry entry;

	(void)value;
	if (parse_key(slice_from(key), &arena, &entry, &err) < 0) {
		if (visitor->report)
			visitor->report(visitor->arg, true, source, err.text);
	} else if (entry.kind != ENTRY_FINGERPRINT) {
		visitor->needs_ca = true;
	}
	arena_done(&arena);
	return 0;
}

/* Patterns and queries may be for names, too. */
static void visit_map(struct map *map, struct visitor *visitor)
{
	if (map_lists_keys(map))
		map_visit(map, visit, visitor);
	else
		visitor->needs_ca = true;
}

void clientcerts_check(const struct clientcerts *list, map_report *report, void *arg)
{
	struct visitor visitor = { report, arg, false };

	for (size_t i = 0; i < clientcerts_map_count(list); i++) {
		visit_map(clientcerts_map_at(list, i), &visitor);
		map_check(clientcerts_map_at(list, i), report, arg);
	}
}

bool clientcerts_needs_ca(const struct clientcerts *list)
{
	struct visitor visitor = { 0 };

	for (size_t i = 0; i < list->count; i++) {
		const struct entry *entry = &list->entries[i];

		if (entry->kind == ENTRY_MAP)
			visit_map(entry->map, &visitor);
		else if (entry->kind != ENTRY_FINGERPRINT)
			visitor.needs_ca = true;
	}
	return visitor.needs_ca;
}

size_t clientcerts_map_count(const struct clientcerts *list)
{
	size_t count = 0;

	for (size_t i = 0; i < list->count; i++)
		count += list->entries[i].kind == ENTRY_MAP;
	return count;
}

struct map *clientcerts_map_at(const struct clientcerts *list, size_t index)
{
	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].kind == ENTRY_MAP && index-- == 0)
			return list->entries[i].map;
	return NULL;
}

/* ---- a certificate ---- */

struct shown {
	const struct tls_facts *facts;
	struct certs_certificate certificate;
	char *why;
};

static bool has_name(const struct shown *shown, const char *name)
{
	struct slice cursor = shown->certificate.alt_names;
	struct certs_name alt;

	while (certs_next_name(&cursor, &alt))
		if (alt.type == CERTS_NAME_DNS && slice_equal_nocase(alt.text, slice_from(name)))
			return true;
	return false;
}

static int look_up(struct map *map, struct slice key, char *why, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result result;
	int r = map_lookup(map, key, &arena, &result, err);

	if (r == MAP_FOUND)
		escape_cstr(slice_from(result.source), why, CLIENTCERTS_WHY_SIZE);
	arena_done(&arena);
	return r;
}

/* "sha256:HEX" in each of its forms. */
static int look_up_fingerprint(struct map *map, const char *fingerprint, char *why,
			       struct error *err)
{
	const char *hex = strchr(fingerprint, ':') + 1;
	size_t kind_len = (size_t)(hex - fingerprint), hex_len = strlen(hex);
	int r = MAP_NOT_FOUND;

	for (int form = 0; form < 4 && r == MAP_NOT_FOUND; form++) {
		struct buf key = { 0 };

		if (form & 1)
			buf_append(&key, fingerprint, kind_len);
		for (size_t i = 0; i < hex_len; i++)
			buf_printf(&key, "%s%c", form & 2 && i > 0 && i % 2 == 0 ? ":" : "",
				   hex[i]);
		r = look_up(map, buf_slice(&key), why, err);
		buf_done(&key);
	}
	return r;
}

static int look_up_names(struct map *map, const struct shown *shown, struct error *err)
{
	struct slice cursor = shown->certificate.alt_names;
	struct certs_name alt;
	int r = look_up(map, SLICE("all"), shown->why, err);

	while (r == MAP_NOT_FOUND && certs_next_name(&cursor, &alt))
		if (alt.type == CERTS_NAME_DNS)
			r = look_up(map, alt.text, shown->why, err);
	return r;
}

static int match_map(struct map *map, const struct shown *shown, struct error *err)
{
	int r = look_up_fingerprint(map, shown->facts->fingerprint, shown->why, err);

	if (r == MAP_NOT_FOUND)
		r = look_up_fingerprint(map, shown->facts->pubkey_fingerprint, shown->why, err);
	if (r == MAP_NOT_FOUND && shown->facts->trusted)
		r = look_up_names(map, shown, err);
	/* It was refused when it was opened; but it may have changed since. */
	if (r == MAP_FOUND && knows_everybody(map))
		r = error_set(err, -EINVAL, "%s knows any certificate at all", map_spec(map));
	return r;
}

static int match(const struct entry *entry, const struct shown *shown, struct error *err)
{
	const char *by = NULL;

	switch (entry->kind) {
	case ENTRY_MAP:
		return match_map(entry->map, shown, err);
	case ENTRY_FINGERPRINT:
		if (strcmp(entry->fingerprint.certificate, shown->facts->fingerprint) == 0)
			by = shown->facts->fingerprint;
		else if (strcmp(entry->fingerprint.key, shown->facts->pubkey_fingerprint) == 0)
			by = shown->facts->pubkey_fingerprint;
		break;
	case ENTRY_NAME:
		if (shown->facts->trusted && has_name(shown, entry->name))
			by = entry->name;
		break;
	case ENTRY_ALL:
		if (shown->facts->trusted)
			by = "all";
		break;
	}
	if (by)
		snprintf(shown->why, CLIENTCERTS_WHY_SIZE, "%s", by);
	return by ? MAP_FOUND : MAP_NOT_FOUND;
}

/* By a clock of now: a session may be resumed, or just last, beyond the certificate's end. */
static bool is_usable(const struct shown *shown, int64_t now_s)
{
	const struct certs_certificate *c = &shown->certificate;
	int64_t date_s = now_s < c->not_before_s ? c->not_before_s : c->not_after_s;
	char date[TIME_RFC3339_SIZE];

	if (now_s < c->not_before_s || now_s > c->not_after_s) {
		time_rfc3339(date_s * 1000, date);
		snprintf(shown->why, CLIENTCERTS_WHY_SIZE, "certificate %s %.10s",
			 now_s < c->not_before_s ? "is not valid before" : "has expired on", date);
		return false;
	}
	if (!c->is_for_clients) {
		snprintf(shown->why, CLIENTCERTS_WHY_SIZE,
			 "certificate may not be used by a client (extendedKeyUsage)");
		return false;
	}
	return true;
}

int clientcerts_judge(const struct clientcerts *list, const struct tls_facts *facts,
		      struct slice certificate, int64_t now_s, char why[CLIENTCERTS_WHY_SIZE],
		      struct error *err)
{
	struct shown shown = { .facts = facts, .why = why };
	int r = MAP_NOT_FOUND;

	if (!facts->fingerprint[0] || !facts->pubkey_fingerprint[0] ||
	    certs_certificate_parse(certificate, &shown.certificate, NULL) < 0) {
		snprintf(why, CLIENTCERTS_WHY_SIZE, "%s",
			 certificate.len > 0 ? "damaged certificate" : "no certificate");
		return MAP_NOT_FOUND;
	}
	if (!is_usable(&shown, now_s))
		return MAP_NOT_FOUND;
	for (size_t i = 0; i < list->count && r == MAP_NOT_FOUND; i++)
		r = match(&list->entries[i], &shown, err);
	if (r == MAP_NOT_FOUND)
		snprintf(why, CLIENTCERTS_WHY_SIZE, "not in relay_clientcerts%s%s",
			 facts->trusted ? "" : ", and ", facts->trusted ? "" : facts->trouble);
	return r;
}
