/*
 * compare - both resolvers are asked for a probe of each key: an address that
 * the key, and hardly any other, is for
 *
 * Nothing is known here of the order of lookups, nor of what local domains or
 * static: do to it; so there is no second resolver that could be wrong.
 */
#include "transport/compare.h"

#include "base/escape.h"
#include "base/macros.h"
#include "smtp/address.h"
#include "transport/internal.h"

#define PROBE	  "reload-probe" /* a name that nobody has a line for */
#define SHOWN_MAX 256
#define EVERY_KEY "*"
#define IN_OLD	  1u
#define IN_NEW	  2u

struct key {
	const char *text;
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

static int note_key(void *arg, const char *text, const char *value, const char *source)
{
	struct comparison *c = arg;
	struct slice folded = slice_from(smtp_address_fold(&c->arena, text));
	struct key *key = strmap_get(&c->keys, folded);

	(void)value;
	(void)source;
	if (!key) {
		key = arena_alloc(&c->arena, sizeof(*key));
		*key = (struct key){ .text = arena_strdup(&c->arena, text) };
		strmap_put(&c->keys, folded, key);
		buf_append(&c->order, &key, sizeof(key));
	}
	key->in |= c->side;
	return 0;
}

static void collect(struct comparison *c, const struct transport_options *options,
		    unsigned int side)
{
	struct maps *maps = options->transport_maps;

	c->side = side;
	for (size_t i = 0; maps && i < maps_count(maps); i++)
		map_visit(maps_at(maps, i), note_key, c);
}

/* NULL: no lookup ever asks for such a key; transport_check() warns of it. */
static const char *probe_of(const struct key *key, struct arena *arena)
{
	const char *text = key ? key->text : EVERY_KEY, *at = strrchr(text, '@');

	if (strcmp(text, EVERY_KEY) == 0)
		return PROBE "@" PROBE ".invalid";
	if (at)
		return at > text && at[1] ? text : NULL;
	if (text[0] == '*' || text[0] == '\0')
		return NULL;
	return arena_printf(arena, PROBE "@%s%s", text[0] == '.' ? PROBE : "", text);
}

/* ---- what has become of them ---- */

static bool is_weaker(const struct transport_route *old, const struct transport_route *new)
{
	if (!type_of(old->kind)->is_smtp || !type_of(new->kind)->is_smtp ||
	    old->tls.level == TLS_LEVEL_NONE)
		return false;
	return new->tls.level < old->tls.level || new->tls.min_version < old->tls.min_version ||
	       (old->mode == TLS_MODE_IMPLICIT && new->tls.level < TLS_LEVEL_ENCRYPT);
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

static void format_route(const struct transport_route *route, struct buf *out)
{
	bool is_smtp = type_of(route->kind)->is_smtp;

	buf_printf(out, "%s:", route->name);
	escape_text(out, slice_from(route->nexthop), SHOWN_MAX);
	if (is_smtp)
		buf_printf(out, " tls=%s", tls_level_name(route->tls.level));
	if (is_smtp && route->tls.min_version != TLS_VERSION_1_2)
		buf_append_string(out, " protocols=>=TLSv1.3");
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
