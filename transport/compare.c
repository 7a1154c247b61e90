/*
 * compare - both resolvers are asked for a probe of each key: an address that
 * the key, and hardly any other, is for
 *
 * Of a pattern the address is a guess (sample.h); of a database no key is
 * known, and so nothing that is in one is compared.
 *
 * Nothing is known here of the order of lookups, nor of what local domains or
 * static: do to it; so there is no second resolver that could be wrong.
 */
#include "transport/compare.h"

#include <strings.h>

#include "base/escape.h"
#include "base/macros.h"
#include "smtp/address.h"
#include "transport/internal.h"
#include "transport/sample.h"

#define DIGITS_SHOWN 16
#define PROBE	     "reload-probe" /* a name that nobody has a line for */
#define SHOWN_MAX    256
#define EVERY_KEY    "*"
#define IN_OLD	     1u
#define IN_NEW	     2u

struct key {
	const char *text;
	const char *probe; /* NULL: made of the text */
	bool is_pattern;
	unsigned int in;
};

struct comparison {
	struct arena arena;
	struct strmap keys; /* folded -> struct key */
	struct buf order;   /* struct key *, each once */
	unsigned int side;  /* whose keys are being collected */
	struct transport *old, *new;
	transport_compare_report *report;
	void *arg;
};

/* ---- the keys ---- */

/* The key that has this name, a new one where there is none. */
static struct key *add_key(struct comparison *c, const char *text, struct slice name)
{
	struct key *key = strmap_get(&c->keys, name);

	if (!key) {
		key = arena_alloc(&c->arena, sizeof(*key));
		*key = (struct key){ .text = arena_strdup(&c->arena, text) };
		strmap_put(&c->keys, name, key);
		buf_append(&c->order, &key, sizeof(key));
	}
	key->in |= c->side;
	return key;
}

static int note_key(void *arg, const char *text, const char *value, const char *source)
{
	struct comparison *c = arg;

	(void)value;
	(void)source;
	add_key(c, text, slice_from(smtp_address_fold(&c->arena, text)));
	return 0;
}

/* Case may matter in a pattern, and no address looks like one. */
static int note_pattern(void *arg, const char *text, const char *value, const char *source)
{
	struct comparison *c = arg;
	struct key *key = add_key(c, text, slice_from(text));

	(void)value;
	(void)source;
	key->is_pattern = true;
	key->probe = pattern_sample_address(text, PROBE, &c->arena);
	return 0;
}

static int note_policy_pattern(void *arg, const char *text, const char *value, const char *source)
{
	struct comparison *c = arg;
	const char *sample = pattern_sample(text, PROBE, &c->arena);

	return !sample || strpbrk(sample, "[:@") ? 0 : note_pattern(arg, text, value, source);
}

/* Domains; a next hop shows by the routes that lead to it. */
static int note_policy_key(void *arg, const char *text, const char *value, const char *source)
{
	return strpbrk(text, "[:*") ? 0 : note_key(arg, text, value, source);
}

static void collect(struct comparison *c, const struct transport_options *options,
		    unsigned int side)
{
	struct maps *routes = options->transport_maps, *policies = options->tls_policy_maps;

	c->side = side;
	for (size_t i = 0; routes && i < maps_count(routes); i++)
		map_visit(maps_at(routes, i),
			  map_is_pattern(maps_at(routes, i)) ? note_pattern : note_key, c);
	for (size_t i = 0; policies && i < maps_count(policies); i++)
		map_visit(maps_at(policies, i),
			  map_is_pattern(maps_at(policies, i)) ? note_policy_pattern
							       : note_policy_key,
			  c);
}

/* NULL: no lookup ever asks for such a key (transport_check() warns), or none can be made up. */
static const char *probe_of(const struct key *key, struct arena *arena)
{
	const char *text = key ? key->text : EVERY_KEY, *at = strrchr(text, '@');

	if (key && key->is_pattern)
		return key->probe;
	if (strcmp(text, EVERY_KEY) == 0)
		return PROBE "@" PROBE ".invalid";
	if (at)
		return at > text && at[1] ? text : NULL;
	if (text[0] == '*' || text[0] == '\0')
		return NULL;
	return arena_printf(arena, PROBE "@%s%s", text[0] == '.' ? PROBE : "", text);
}

/* ---- what has become of them ---- */

/*
 * What a level promises whatever the peer and DNS do. dane alone promises
 * nothing, but is more than may.
 */
static unsigned int rank_of(enum tls_level level)
{
	static const unsigned char ranks[] = {
		[TLS_LEVEL_NONE] = 0,	     [TLS_LEVEL_MAY] = 1,	[TLS_LEVEL_DANE] = 2,
		[TLS_LEVEL_ENCRYPT] = 3,     [TLS_LEVEL_VERIFY] = 4,	[TLS_LEVEL_SECURE] = 5,
		[TLS_LEVEL_FINGERPRINT] = 5, [TLS_LEVEL_DANE_ONLY] = 5,
	};

	return ranks[level];
}

static bool is_below(const char *name, const char *parent)
{
	size_t name_len = strlen(name), parent_len = strlen(parent);

	return parent[0] == '.' && name_len > parent_len &&
	       strcasecmp(name + name_len - parent_len, parent) == 0;
}

/* Whether whoever may have this name is also accepted by that list. */
static bool covers(const char *const *list, unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++) {
		if (strcasecmp(list[i], name) == 0 || is_below(name, list[i]) ||
		    strcasecmp(list[i], "hostname") == 0) /* whoever answers for DNS names it */
			return true;
	}
	return false;
}

static bool covers_all(const char *const *list, unsigned int count, const char *const *names,
		       unsigned int name_count)
{
	for (unsigned int i = 0; i < name_count; i++) {
		if (!covers(list, count, names[i]))
			return false;
	}
	return true;
}

/* All that was accepted, and more. */
static bool is_wider(const char *const *old, unsigned int old_count, const char *const *new,
		     unsigned int new_count)
{
	return covers_all(new, new_count, old, old_count) &&
	       !covers_all(old, old_count, new, new_count);
}

static bool has_mx(const struct transport_route *route)
{
	for (unsigned int i = 0; i < route->hop_count; i++)
		if (route->hops[i].mx)
			return true;
	return false;
}

/* Where no MX is looked up "hostname" is but another word for "nexthop". */
static unsigned int names_of(const struct transport_route *route, struct arena *arena,
			     const char *const **ret_names)
{
	static const char *const secure[] = { "nexthop", "dot-nexthop" };
	static const char *const verify[] = { "hostname" };
	const struct tls_policy *policy = &route->tls;
	const char **names = arena_alloc(arena, (policy->match_count + 1) * sizeof(*names));
	bool is_same = !has_mx(route);

	*ret_names = names;
	if (policy->match_count == 0) {
		*ret_names = policy->level == TLS_LEVEL_SECURE || is_same ? secure : verify;
		return policy->level == TLS_LEVEL_SECURE ? 2 : 1;
	}
	for (unsigned int i = 0; i < policy->match_count; i++)
		names[i] = is_same && strcasecmp(policy->match[i], "hostname") == 0
				   ? "nexthop"
				   : policy->match[i];
	return policy->match_count;
}

/* At levels of the same rank: whether more peers are accepted. */
static bool accepts_more(const struct transport_route *old_route,
			 const struct transport_route *new_route)
{
	const struct tls_policy *old = &old_route->tls, *new = &new_route->tls;
	struct arena arena = { 0 };
	const char *const *old_names, *const *new_names;
	unsigned int old_count, new_count;
	bool wider;

	if (old->level != new->level)
		return false;
	if (new->level == TLS_LEVEL_FINGERPRINT)
		return is_wider(old->fingerprints, old->fingerprint_count, new->fingerprints,
				new->fingerprint_count);
	if (new->level != TLS_LEVEL_VERIFY &&new->level != TLS_LEVEL_SECURE)
		return false;
	old_count = names_of(old_route, &arena, &old_names);
	new_count = names_of(new_route, &arena, &new_names);
	wider = is_wider(old_names, old_count, new_names, new_count);
	arena_done(&arena);
	return wider;
}

static bool is_weaker(const struct transport_route *old, const struct transport_route *new)
{
	if (transport_route_is_unix(new))
		return false; /* it has left the network */
	if (!type_of(old->kind)->is_smtp || !type_of(new->kind)->is_smtp ||
	    old->tls.level == TLS_LEVEL_NONE)
		return false;
	return rank_of(new->tls.level) < rank_of(old->tls.level) ||
	       new->tls.min_version < old->tls.min_version || accepts_more(old, new) ||
	       (old->mode == TLS_MODE_IMPLICIT &&
		rank_of(new->tls.level) < rank_of(TLS_LEVEL_ENCRYPT));
}

static enum transport_change_kind kind_of(const struct key *key)
{
	if (!key || key->in == (IN_OLD | IN_NEW))
		return TRANSPORT_CHANGED;
	return key->in == IN_NEW ? TRANSPORT_ADDED : TRANSPORT_REMOVED;
}

/* 1: a weaker one. */
static int compare_key(struct comparison *c, const struct key *key, struct error *err)
{
	const struct transport_route *old = NULL, *new = NULL;
	const char *probe = probe_of(key, &c->arena);
	bool weaker = false;
	int r;

	if (!probe)
		return 0;
	r = transport_resolve(c->old, probe, &old, err);
	if (r == 0)
		r = transport_resolve(c->new, probe, &new, err);
	if (r == 0 && strcmp(old->lane, new->lane) != 0) {
		const struct transport_change change = {
			.kind = kind_of(key),
			.key = key ? key->text : NULL,
			.old = old,
			.new = new,
			.is_weaker = is_weaker(old, new),
		};

		weaker = change.is_weaker;
		c->report(c->arg, &change);
	}
	transport_route_unref(old);
	transport_route_unref(new);
	return r < 0 ? r : weaker;
}

static int compare_all(struct comparison *c, struct error *err)
{
	struct key *const *keys = (const void *)buf_slice(&c->order).ptr;
	size_t count = buf_len(&c->order) / sizeof(*keys);
	int weaker = 0, r = 0;

	for (size_t i = 0; i < count && r >= 0; i++) {
		r = compare_key(c, keys[i], err);
		weaker += r > 0;
	}
	if (r >= 0 && !strmap_get(&c->keys, SLICE(EVERY_KEY))) {
		r = compare_key(c, NULL, err);
		weaker += r > 0;
	}
	return r < 0 ? r : weaker;
}

int transport_compare(const struct transport_options *old, const struct transport_options *new,
		      transport_compare_report *report, void *arg, struct error *err)
{
	struct comparison c = { .report = report, .arg = arg };
	int r;

	collect(&c, new, IN_NEW);
	collect(&c, old, IN_OLD);
	r = transport_new(old, &c.old, err);
	if (r == 0)
		r = transport_new(new, &c.new, err);
	if (r == 0)
		r = compare_all(&c, err);
	transport_free(c.old);
	transport_free(c.new);
	strmap_done(&c.keys);
	buf_done(&c.order);
	arena_done(&c.arena);
	return r;
}

/* ---- in words ---- */

/* The first digits are enough to tell fingerprints from each other. */
static void format_fingerprints(const struct tls_policy *policy, struct buf *out)
{
	for (unsigned int i = 0; i < policy->fingerprint_count; i++) {
		const char *fingerprint = policy->fingerprints[i];
		int shown = (int)(strrchr(fingerprint, ':') - fingerprint) + 1 + DIGITS_SHOWN;

		buf_printf(out, "%s%.*s...", i == 0 ? " fingerprint=" : "|", shown, fingerprint);
	}
}

static void format_policy(const struct tls_policy *policy, struct buf *out)
{
	buf_printf(out, " tls=%s", tls_level_name(policy->level));
	for (unsigned int i = 0; i < policy->match_count; i++)
		buf_printf(out, "%s%s", i == 0 ? " match=" : ":", policy->match[i]);
	format_fingerprints(policy, out);
	if (policy->min_version != TLS_VERSION_1_2)
		buf_append_string(out, " protocols=>=TLSv1.3");
	if (policy->servername)
		buf_printf(out, " servername=%s", policy->servername);
}

static void format_route(const struct transport_route *route, struct buf *out)
{
	bool is_smtp = type_of(route->kind)->is_smtp && !transport_route_is_unix(route);

	buf_printf(out, "%s:", route->name);
	escape_text(out, slice_from(route->nexthop), SHOWN_MAX);
	if (is_smtp)
		format_policy(&route->tls, out);
	buf_append_string(out, " (");
	escape_text(out, slice_from(route->source), SHOWN_MAX);
	if (is_smtp && route->tls.source && strcmp(route->tls.source, route->source) != 0) {
		buf_append_string(out, ", tls of ");
		escape_text(out, slice_from(route->tls.source), SHOWN_MAX);
	}
	buf_append_string(out, ")");
}

void transport_change_format(const struct transport_change *change, struct buf *out)
{
	static const char *const kinds[] = {
		[TRANSPORT_ADDED] = " (new line)",
		[TRANSPORT_REMOVED] = " (line is gone)",
		[TRANSPORT_CHANGED] = "",
	};

	if (change->key)
		escape_text(out, slice_from(change->key), SHOWN_MAX);
	else
		buf_append_string(out, "whatever has no line");
	buf_printf(out, "%s: ", kinds[change->kind]);
	format_route(change->old, out);
	buf_append_string(out, " -> ");
	format_route(change->new, out);
	if (change->is_weaker)
		buf_append_string(out, "; this is weaker");
}
