/*
 * A walk over the graph that the aliases make, depth first, with a stack of its own: what
 * waits on it are addresses and files, each with the number of aliases that lead to
 * it. What was looked up once is not looked up again, so circles end.
 *
 * As in Postfix virtual_alias_maps are asked for every address, and alias_maps
 * for what is left in mydestination. Postfix's local(8) asks these at delivery;
 * asked here they are in one place, where a message can still be refused, and one
 * copy is enough for two names of a mailbox. Its ways are kept: a name
 * that alias_maps have led to is not asked for in virtual_alias_maps while it
 * stays local.
 */
#include "edge/internal.h"

#include <errno.h>

#include "base/escape.h"
#include "base/strmap.h"
#include "edge/members.h"
#include "maps/lines.h"
#include "smtp/address.h"

#define LIMIT_DEFAULT 1000 /* Postfix's */

struct item {
	struct item *next;
	const char *address; /* or the path of a file to include */
	bool is_file;
	bool is_from_local; /* alias_maps have led here */
	const char *parent; /* the address that stands for this one; NULL: the recipient itself */
	const char *extension; /* of a file: what goes along to its members */
	unsigned int depth;
};

struct walk {
	struct edge *edge;
	struct arena *arena;
	edge_alias_trace *trace;
	void *trace_arg;
	const char *recipient;
	struct item *stack;
	struct strmap seen;   /* addresses that were looked up, and files */
	struct strmap leaves; /* those in the result */
	struct buf addresses; /* of const char *, the result */
	unsigned int waiting, expanded;
	struct smtp_status *status;
	struct error *why;
};

static unsigned int limit_of(unsigned int value)
{
	return value ? value : LIMIT_DEFAULT;
}

static size_t leaf_count(const struct walk *w)
{
	return buf_len(&w->addresses) / sizeof(const char *);
}

/* Why is for the operator; clients are told that it is for now only. */
static int fail(const struct walk *w, struct smtp_enhanced enhanced, const char *what,
		const char *why)
{
	char shown[512];

	log_write(w->edge->options.log, "smtpd", LOG_LEVEL_ERROR, "<%s>: %s: %s", w->recipient,
		  what, escape_cstr(slice_from(why), shown, sizeof(shown)));
	smtp_status_set(w->status, 451, enhanced, "<%s>: %s", w->recipient, what);
	return error_set(w->why, -EAGAIN, "%s: %s", what, shown);
}

static int fail_lookup(const struct walk *w, const char *parameter, struct error *err)
{
	error_prefix(err, "%s", parameter);
	return fail(w, ESC(4, 3, 0), "Temporary lookup failure", err->text);
}

/* One that leads nowhere is no alias to ignore: mail would be lost, or less of it sent. */
static int fail_members(const struct walk *w, const struct map_result *line, struct error *err)
{
	error_prefix(err, "%s", line->source);
	return fail(w, ESC(4, 3, 5), "Alias cannot be followed", err->text);
}

static void tell(const struct walk *w, const char *address, const char *parameter,
		 const struct map_result *line)
{
	const struct edge_alias alias = { address, parameter, line->value, line->source };

	if (w->trace)
		w->trace(w->trace_arg, &alias);
}

/* Two spellings of one mailbox are the same; so are, of local users, their domains. */
static const char *name_of(const struct walk *w, const char *address, bool is_local)
{
	const char *plain = smtp_address_plain(w->arena, smtp_address_fold(w->arena, address));
	const char *at = is_local ? strrchr(plain, '@') : NULL;

	return at ? arena_printf(w->arena, "%.*s", (int)(at - plain), plain) : plain;
}

static int is_in_mydestination(const struct walk *w, const char *address, bool *ret)
{
	enum edge_class class = EDGE_CLASS_OTHER;
	struct error err;
	int r = edge_classify(w->edge, smtp_address_domain(address), &class, &err);

	*ret = class == EDGE_CLASS_LOCAL;
	return r < 0 ? fail(w, ESC(4, 3, 0), "Temporary lookup failure", err.text) : 0;
}

static void add_leaf(struct walk *w, const char *address)
{
	const char *key = name_of(w, address, false);

	if (strmap_put(&w->leaves, slice_from(key), w) == NULL)
		buf_append(&w->addresses, &address, sizeof(address));
}

static void push(struct walk *w, const struct item *item)
{
	struct item *copy = arena_alloc(w->arena, sizeof(*copy));

	*copy = *item;
	copy->next = w->stack;
	w->stack = copy;
	w->waiting++;
}

/* ---- members ---- */

/* The alias at hand, and its members in the order of the line, before they go onto the stack. */
struct family {
	struct walk *walk;
	const struct item *item;
	bool is_local;	       /* an alias of alias_maps */
	const char *local;     /* the local part, for "@domain" */
	const char *extension; /* that goes along; "": none does */
	struct buf items;      /* of struct item */
	size_t count;
};

static const char *with_extension(const struct family *f, const char *address)
{
	struct arena *arena = f->walk->arena;
	const char *plain, *at;

	if (!f->extension[0])
		return address;
	plain = smtp_address_plain(arena, address);
	at = strrchr(plain, '@');
	return smtp_address_quoted(arena, arena_printf(arena, "%.*s%s%s", (int)(at - plain), plain,
						       f->extension, at));
}

/* NULL: it is none. */
static const char *address_of(const struct family *f, const char *text)
{
	struct arena *arena = f->walk->arena;
	const char *address;

	if (text[0] == '@')
		return member_address(arena_printf(arena, "%s%s", f->local, text), NULL, arena);
	address = member_address(text, f->walk->edge->options.origin, arena);
	return address && strrchr(address, '@') ? with_extension(f, address) : NULL;
}

static int take_member(struct family *f, const struct member *member, struct error *err)
{
	struct item item = {
		.address = member->text,
		.is_file = member->kind == MEMBER_INCLUDE,
		.is_from_local = f->is_local,
		.parent = f->item->is_file ? f->item->parent : f->item->address,
		.depth = f->item->depth + 1,
	};
	int r = member_check(member, err);

	if (r < 0)
		return r;
	if (item.is_file && !f->is_local)
		return error_set(err, -ENOTSUP, ":include: is for alias_maps");
	if (item.is_file)
		item.extension = f->extension;
	else
		item.address = address_of(f, member->text);
	if (!item.address)
		return error_set(err, -EINVAL, "\"%s\": not an address", member->text);
	buf_append(&f->items, &item, sizeof(item));
	f->count++;
	return 0;
}

static int take_members(struct family *f, const char *value, struct error *err)
{
	struct slice rest = slice_from(value);
	struct member member;
	int r;

	while ((r = members_next(&rest, f->walk->arena, &member, err)) > 0) {
		r = take_member(f, &member, err);
		if (r < 0)
			return r;
	}
	return r;
}

static int check_limits(const struct walk *w, const struct item *item)
{
	const struct edge_options *o = &w->edge->options;

	if (item->depth >= limit_of(o->recursion_limit))
		return fail(w, ESC(4, 6, 0), "Alias expansion error",
			    "aliases are nested deeper than virtual_alias_recursion_limit");
	if (w->waiting + leaf_count(w) > limit_of(o->expansion_limit))
		return fail(w, ESC(4, 6, 0), "Alias expansion error",
			    "stands for more than virtual_alias_expansion_limit addresses");
	return 0;
}

/* Onto the stack, the first on top. An address that stands for itself, too, is one of the result. */
static int push_members(struct family *f)
{
	struct walk *w = f->walk;
	const struct item *items = (const void *)buf_slice(&f->items).ptr;
	int r = 0;

	for (size_t i = f->count; r == 0 && i-- > 0;) {
		bool is_local = f->is_local;

		if (is_local && !items[i].is_file)
			r = is_in_mydestination(w, items[i].address, &is_local);
		if (r < 0)
			break;
		if (!items[i].is_file && items[i].parent &&
		    strcmp(name_of(w, items[i].address, is_local),
			   name_of(w, items[i].parent, is_local)) == 0)
			add_leaf(w, items[i].address);
		else
			push(w, &items[i]);
		r = check_limits(w, &items[i]);
	}
	return r;
}

/* The alias of a line. */
static int expand_line(struct family *f, const struct map_result *line)
{
	struct error err;
	int r = take_members(f, line->value, &err);

	if (r == 0 && f->count == 0)
		r = error_set(&err, -EINVAL, "\"%s\" has no address in it", line->value);
	r = r < 0 ? fail_members(f->walk, line, &err) : push_members(f);
	buf_done(&f->items);
	return r;
}

/* ---- what an address stands for ---- */

static const char *extension_for(const struct walk *w, const char *address, bool is_bare,
				 enum edge_propagation how)
{
	return is_bare && (w->edge->options.propagated & how)
		       ? edge_extension_of(w->edge, address, w->arena)
		       : "";
}

static const char *local_part(const struct walk *w, const char *address)
{
	return arena_slicedup(w->arena, smtp_address_local(address));
}

/* MAP_FOUND, with the members on the stack; MAP_NOT_FOUND; or an error. */
static int expand_virtual(struct walk *w, const struct item *item)
{
	struct maps *maps = w->edge->options.virtual_aliases;
	struct family family = { .walk = w, .item = item };
	struct map_result line;
	struct edge_key key;
	struct error err;
	bool is_bare;
	int r;

	if (!maps)
		return MAP_NOT_FOUND;
	edge_key_read(w->edge, item->address, w->arena, &key);
	r = edge_find_key(w->edge, maps, &key, w->arena, &line, &is_bare, &err);
	if (r < 0)
		return fail_lookup(w, "virtual_alias_maps", &err);
	if (r == MAP_NOT_FOUND)
		return r;
	tell(w, item->address, "virtual_alias_maps", &line);
	family.local = local_part(w, item->address);
	family.extension = extension_for(w, item->address, is_bare, EDGE_PROPAGATE_VIRTUAL);
	r = expand_line(&family, &line);
	return r < 0 ? r : MAP_FOUND;
}

static int expand_local(struct walk *w, const struct item *item, const char *name)
{
	struct maps *maps = w->edge->options.local_aliases;
	struct family family = { .walk = w, .item = item, .is_local = true };
	struct map_result line;
	struct error err;
	bool is_bare;
	int r;

	if (!maps)
		return MAP_NOT_FOUND;
	r = edge_find_local(w->edge, maps, name, w->arena, &line, &is_bare, &err);
	if (r < 0)
		return fail_lookup(w, "alias_maps", &err);
	if (r == MAP_NOT_FOUND)
		return r;
	tell(w, item->address, "alias_maps", &line);
	family.local = local_part(w, item->address);
	family.extension = extension_for(w, item->address, is_bare, EDGE_PROPAGATE_ALIAS);
	r = expand_line(&family, &line);
	return r < 0 ? r : MAP_FOUND;
}

/* Each line of the file is a list of members, as in an alias. */
static int take_file(struct family *f, const char *path, struct slice text, struct error *err)
{
	struct buf line = { 0 };
	struct lines lines;
	uint32_t number = 0;
	int r;

	lines_init(&lines, text);
	while ((r = lines_next(&lines, &line, &number)) > 0) {
		const struct map_result found = {
			.value = arena_slicedup(f->walk->arena, buf_slice(&line)),
			.source = arena_printf(f->walk->arena, "%s:%u", path, number),
		};

		tell(f->walk, path, ":include:", &found);
		r = take_members(f, found.value, err);
		if (r < 0) {
			error_prefix(err, "%s", found.source);
			break;
		}
	}
	buf_done(&line);
	return r;
}

static int expand_file(struct walk *w, const struct item *item)
{
	struct family family = { .walk = w, .item = item, .is_local = true, .local = "" };
	struct error err;
	struct slice text;
	int r;

	family.extension =
		w->edge->options.propagated & EDGE_PROPAGATE_INCLUDE ? item->extension : "";
	r = includes_get(w->edge->includes, item->address, w->arena, &text, &err);
	if (r < 0)
		return fail_lookup(w, "alias_maps", &err);
	r = take_file(&family, item->address, text, &err);
	if (r < 0)
		r = fail(w, ESC(4, 3, 5), "Alias cannot be followed", err.text);
	else
		r = push_members(&family);
	buf_done(&family.items);
	return r;
}

/* ---- postmaster ---- */

static bool is_postmaster(const char *address)
{
	return slice_equal_nocase(smtp_address_local(address), SLICE("postmaster"));
}

/*
 * Each domain has a postmaster (RFC 5321 section 4.5.1): where nobody says who that
 * is, he is the one of this host, by alias_maps or as a user of myorigin.
 */
static int expand_postmaster(struct walk *w, const struct item *item)
{
	const char *origin = w->edge->options.origin;
	struct edge_mailbox mailbox;
	enum edge_class class;
	struct item other = *item;
	struct error err;
	int r;

	if (!is_postmaster(item->address))
		return MAP_NOT_FOUND;
	r = edge_classify(w->edge, smtp_address_domain(item->address), &class, &err);
	if (r == 0 && class == EDGE_CLASS_MAILBOX)
		r = edge_find_mailbox(w->edge, item->address, w->arena, &mailbox, &err);
	else if (r == 0)
		r = class == EDGE_CLASS_ALIAS ? MAP_NOT_FOUND : MAP_FOUND;
	if (r < 0)
		return fail(w, ESC(4, 3, 0), "Temporary lookup failure", err.text);
	if (r == MAP_FOUND)
		return MAP_NOT_FOUND;
	r = expand_local(w, item, "postmaster");
	if (r != MAP_NOT_FOUND || !origin ||
	    slice_equal_nocase(smtp_address_domain(item->address), slice_from(origin)))
		return r;
	other.address = arena_printf(w->arena, "%.*s@%s", 10, item->address, origin);
	push(w, &other);
	return MAP_FOUND;
}

/* ---- the walk ---- */

static int visit_address(struct walk *w, const struct item *item)
{
	bool is_local, skips_virtual;
	const char *key;
	int r = is_in_mydestination(w, item->address, &is_local);

	if (r < 0)
		return r;
	skips_virtual = is_local && item->is_from_local;
	key = arena_printf(w->arena, "%c%s", skips_virtual ? 'L' : 'V',
			   name_of(w, item->address, skips_virtual));
	if (strmap_put(&w->seen, slice_from(key), w) != NULL)
		return 0;
	r = skips_virtual ? MAP_NOT_FOUND : expand_virtual(w, item);
	if (r == MAP_NOT_FOUND && is_local)
		r = expand_local(w, item, item->address);
	if (r == MAP_NOT_FOUND)
		r = expand_postmaster(w, item);
	if (r == MAP_FOUND)
		w->expanded++;
	if (r == MAP_NOT_FOUND)
		add_leaf(w, item->address);
	return r < 0 ? r : 0;
}

static int visit_file(struct walk *w, const struct item *item)
{
	const char *key = arena_printf(w->arena, "F%s", item->address);

	return strmap_put(&w->seen, slice_from(key), w) == NULL ? expand_file(w, item) : 0;
}

static int walk_all(struct walk *w)
{
	int r = 0;

	while (r == 0 && w->stack) {
		const struct item *item = w->stack;

		w->stack = item->next;
		w->waiting--;
		r = item->is_file ? visit_file(w, item) : visit_address(w, item);
	}
	if (r == 0 && leaf_count(w) == 0)
		r = fail(w, ESC(4, 6, 0), "Alias expansion error",
			 "its aliases stand for each other only, and for nobody");
	return r;
}

void edge_expand_traced(struct edge *edge, const char *recipient, edge_alias_trace *trace,
			void *trace_arg, struct arena *arena, struct mta_expansion *ret,
			struct smtp_status *ret_status, struct error *ret_why)
{
	struct walk w = {
		.edge = edge,
		.arena = arena,
		.trace = trace,
		.trace_arg = trace_arg,
		.recipient = recipient,
		.status = ret_status,
		.why = ret_why,
	};
	const struct item first = { .address = recipient };
	const char **addresses;

	push(&w, &first);
	if (walk_all(&w) == 0 && w.expanded > 0) {
		addresses = arena_alloc(arena, buf_len(&w.addresses));
		memcpy(addresses, buf_slice(&w.addresses).ptr, buf_len(&w.addresses));
		*ret = (struct mta_expansion){ addresses, leaf_count(&w), true };
	}
	strmap_done(&w.seen);
	strmap_done(&w.leaves);
	buf_done(&w.addresses);
}

void edge_expand(void *arg, const char *recipient, struct arena *arena, struct mta_expansion *ret,
		 struct smtp_status *ret_status)
{
	edge_expand_traced(arg, recipient, NULL, NULL, arena, ret, ret_status, NULL);
}
