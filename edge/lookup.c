/*
 * Keys are tried as Postfix tries them, so that its files can be taken as they are.
 */
#include "edge/internal.h"

#include <errno.h>

#include "base/macros.h"
#include "edge/users.h"
#include "mta/domain_list.h"
#include "smtp/address.h"
#include "smtp/domain.h"

int edge_classify(const struct edge *edge, struct slice domain, enum edge_class *ret,
		  struct error *err)
{
	const struct edge_options *o = &edge->options;
	const struct {
		struct domains *domains;
		const char *parameter;
		enum edge_class class;
	} lists[] = {
		{ o->local_domains, "mydestination", EDGE_CLASS_LOCAL },
		{ o->alias_domains, "virtual_alias_domains", EDGE_CLASS_ALIAS },
		{ o->mailbox_domains, "virtual_mailbox_domains", EDGE_CLASS_MAILBOX },
		{ o->relay_domains, "relay_domains", EDGE_CLASS_RELAY },
	};

	*ret = EDGE_CLASS_OTHER;
	for (size_t i = 0; i < ARRAY_SIZE(lists) && *ret == EDGE_CLASS_OTHER; i++) {
		int r = lists[i].domains ? domain_list_has(lists[i].domains, domain, err)
					 : MAP_NOT_FOUND;

		if (r < 0) {
			error_prefix(err, "%s", lists[i].parameter);
			return r;
		}
		if (r == MAP_FOUND)
			*ret = lists[i].class;
	}
	return 0;
}

int edge_is_local(void *arg, struct slice domain, struct error *err)
{
	enum edge_class class;
	int r = edge_classify(arg, domain, &class, err);

	if (r < 0)
		return r;
	return class == EDGE_CLASS_OTHER || class == EDGE_CLASS_RELAY ? MAP_NOT_FOUND : MAP_FOUND;
}

int edge_is_trusted(const struct edge *edge, const struct mta_client *client, struct error *err)
{
	return client->is_certified ? MAP_FOUND
				    : networks_have(&edge->options.networks, client->address, err);
}

/* The plain address without its extension; NULL: it has none. */
static const char *without_extension(const struct edge *edge, const char *plain,
				     struct arena *arena)
{
	const char *delimiters = edge->options.recipient_delimiter;

	return delimiters && delimiters[0]
		       ? smtp_address_without_extension(arena, plain, delimiters)
		       : NULL;
}

void edge_key_read(const struct edge *edge, const char *address, struct arena *arena,
		   struct edge_key *ret)
{
	const char *plain = smtp_address_plain(arena, smtp_address_fold(arena, address));
	const char *bare = without_extension(edge, plain, arena);

	ret->full = smtp_address_quoted(arena, plain);
	ret->bare = bare ? smtp_address_quoted(arena, bare) : NULL;
}

const char *edge_extension_of(const struct edge *edge, const char *address, struct arena *arena)
{
	const char *plain = smtp_address_plain(arena, address);
	const char *bare = without_extension(edge, plain, arena);
	const char *at = bare ? strrchr(bare, '@') : NULL;

	if (!bare)
		return "";
	return arena_printf(arena, "%.*s", (int)(strlen(plain) - strlen(bare)),
			    plain + (at ? (size_t)(at - bare) : strlen(bare)));
}

/* The name that an account has for this key, in either spelling of its domain. */
static int find_name(const struct edge *edge, const char *key, struct arena *arena,
		     const char **ret_name, struct error *err)
{
	const char *other = smtp_domain_respell(arena, slice_from(key));
	int r = accounts_has(edge->accounts, key, err);

	*ret_name = key;
	if (r != MAP_NOT_FOUND || !other)
		return r;
	*ret_name = other;
	return accounts_has(edge->accounts, other, err);
}

/* The Maildir that each account has. */
static int find_account(struct edge *edge, const char *key, struct arena *arena,
			struct map_result *ret, struct error *err)
{
	const char *name, *at;
	int r;

	if (!edge->accounts)
		return error_set(err, -EACCES, "the accounts cannot be read");
	r = find_name(edge, key, arena, &name, err);
	if (r != MAP_FOUND)
		return r;
	at = strrchr(name, '@');
	if (!at)
		return MAP_NOT_FOUND;
	ret->value = arena_printf(arena, "%s/%.*s/", at + 1, (int)(at - name), name);
	ret->source = "";
	return MAP_FOUND;
}

/* Whether users of the domain may stand in maps without it. */
static int may_lack_domain(const struct edge *edge, struct slice domain, struct error *err)
{
	const struct edge_options *o = &edge->options;

	if (o->origin && slice_equal_nocase(domain, slice_from(o->origin)))
		return MAP_FOUND;
	return o->local_domains ? domain_list_has(o->local_domains, domain, err) : MAP_NOT_FOUND;
}

typedef int find_key(struct maps *maps, struct slice key, struct arena *arena,
		     struct map_result *ret, struct error *err);

/* A key, and then the other spelling of its domain. */
static int find_spelled(struct maps *maps, const char *key, find_key *find, struct arena *arena,
			struct map_result *ret, struct error *err)
{
	const char *other = smtp_domain_respell(arena, slice_from(key));
	int r = find(maps, slice_from(key), arena, ret, err);

	return r == MAP_NOT_FOUND && other ? find(maps, slice_from(other), arena, ret, err) : r;
}

/* The local parts alone, where that is allowed. */
static int find_user_part(const struct edge *edge, struct maps *maps, const struct edge_key *key,
			  struct arena *arena, struct map_result *ret, bool *ret_is_bare,
			  struct error *err)
{
	const char *at = strrchr(key->full, '@');
	int r = at && at > key->full ? may_lack_domain(edge, slice_from(at + 1), err)
				     : MAP_NOT_FOUND;

	if (r != MAP_FOUND)
		return r;
	r = maps_lookup_part(maps, slice_of(key->full, (size_t)(at - key->full)), arena, ret, err);
	if (r == MAP_NOT_FOUND && key->bare) {
		r = maps_lookup_part(maps,
				     slice_first(slice_from(key->bare),
						 (size_t)(strrchr(key->bare, '@') - key->bare)),
				     arena, ret, err);
		*ret_is_bare = r == MAP_FOUND;
	}
	return r;
}

int edge_find_key(const struct edge *edge, struct maps *maps, const struct edge_key *key,
		  struct arena *arena, struct map_result *ret, bool *ret_is_bare, struct error *err)
{
	const char *at = strrchr(key->full, '@');
	int r = find_spelled(maps, key->full, maps_lookup, arena, ret, err);

	*ret_is_bare = false;
	if (r == MAP_NOT_FOUND && key->bare) {
		r = find_spelled(maps, key->bare, maps_lookup_part, arena, ret, err);
		*ret_is_bare = r == MAP_FOUND;
	}
	if (r == MAP_NOT_FOUND)
		r = find_user_part(edge, maps, key, arena, ret, ret_is_bare, err);
	if (r == MAP_NOT_FOUND && at && at > key->full)
		r = find_spelled(maps, at, maps_lookup_part, arena, ret, err);
	return r;
}

/* Local parts, plain and folded, with and without their extension. */
struct local_name {
	const char *full;
	const char *bare; /* NULL: it has no extension */
};

static void read_local_name(const struct edge *edge, const char *address, struct arena *arena,
			    struct local_name *ret)
{
	const char *plain = smtp_address_plain(arena, smtp_address_fold(arena, address));
	const char *bare = without_extension(edge, plain, arena);
	const char *at = strrchr(plain, '@'), *bare_at = bare ? strrchr(bare, '@') : NULL;

	ret->full = at ? arena_printf(arena, "%.*s", (int)(at - plain), plain) : plain;
	ret->bare = bare_at ? arena_printf(arena, "%.*s", (int)(bare_at - bare), bare) : bare;
}

int edge_find_local(const struct edge *edge, struct maps *maps, const char *address,
		    struct arena *arena, struct map_result *ret, bool *ret_is_bare,
		    struct error *err)
{
	struct local_name name;
	int r;

	read_local_name(edge, address, arena, &name);
	r = maps_lookup(maps, slice_from(name.full), arena, ret, err);
	*ret_is_bare = false;
	if (r == MAP_NOT_FOUND && name.bare) {
		r = maps_lookup_part(maps, slice_from(name.bare), arena, ret, err);
		*ret_is_bare = r == MAP_FOUND;
	}
	return r;
}

int edge_find_user(const struct edge *edge, const char *address, struct arena *arena,
		   const char **ret_name, struct error *err)
{
	struct local_name name;
	int r;

	read_local_name(edge, address, arena, &name);
	r = users_find(name.full, arena, ret_name, err);
	return r == MAP_NOT_FOUND && name.bare ? users_find(name.bare, arena, ret_name, err) : r;
}

static int find_home(const struct edge *edge, const char *address, struct arena *arena,
		     struct edge_mailbox *ret, struct error *err)
{
	const char *path = edge->options.home_mailbox, *user = NULL;
	int r = edge_find_user(edge, address, arena, &user, err);

	if (r != MAP_FOUND)
		return r;
	if (!path || !path[0])
		return error_set(err, -ENOTSUP, "home_mailbox is empty: there is no place for it");
	*ret = (struct edge_mailbox){ EDGE_MAILBOX_HOME, path, user, "" };
	return MAP_FOUND;
}

static int find_virtual(struct edge *edge, const char *address, struct arena *arena,
			struct edge_mailbox *ret, struct error *err)
{
	struct map_result found = { 0 };
	struct edge_key key;
	bool is_bare;
	int r;

	edge_key_read(edge, address, arena, &key);
	if (edge->options.mailbox_maps) {
		r = edge_find_key(edge, edge->options.mailbox_maps, &key, arena, &found, &is_bare,
				  err);
	} else {
		r = find_account(edge, key.full, arena, &found, err);
		if (r == MAP_NOT_FOUND && key.bare)
			r = find_account(edge, key.bare, arena, &found, err);
	}
	*ret = (struct edge_mailbox){ EDGE_MAILBOX_VIRTUAL, found.value, NULL, found.source };
	return r;
}

int edge_find_mailbox(struct edge *edge, const char *address, struct arena *arena,
		      struct edge_mailbox *ret, struct error *err)
{
	enum edge_class class;
	int r = edge_classify(edge, smtp_address_domain(address), &class, err);

	if (r < 0)
		return r;
	if (class == EDGE_CLASS_ALIAS)
		return MAP_NOT_FOUND;
	return class == EDGE_CLASS_LOCAL ? find_home(edge, address, arena, ret, err)
					 : find_virtual(edge, address, arena, ret, err);
}

int edge_find_owners(struct edge *edge, const char *sender, struct arena *arena,
		     struct map_result *ret, struct error *err)
{
	struct edge_key key;
	bool is_bare;

	edge_key_read(edge, sender, arena, &key);
	return edge->options.sender_login_maps
		       ? edge_find_key(edge, edge->options.sender_login_maps, &key, arena, ret,
				       &is_bare, err)
		       : MAP_NOT_FOUND;
}

int edge_login_of(const struct edge *edge, const char *sender, struct arena *arena,
		  const char **ret, struct error *err)
{
	struct edge_key key;
	const char *name;
	int r = MAP_NOT_FOUND;

	edge_key_read(edge, sender, arena, &key);
	if (key.bare && edge->accounts)
		r = find_name(edge, key.full, arena, &name, err);
	if (r < 0)
		return r;
	*ret = key.bare && r == MAP_NOT_FOUND ? key.bare : key.full;
	return 0;
}

bool edge_has_user(const struct edge *edge, const char *user)
{
	struct arena arena = { 0 };
	const char *name;
	bool has = !edge->accounts || find_name(edge, user, &arena, &name, NULL) != MAP_NOT_FOUND;

	arena_done(&arena);
	return has;
}

static bool is_login(const char *name, const char *login, struct arena *arena)
{
	return strcmp(smtp_address_fold(arena, name), smtp_address_fold(arena, login)) == 0;
}

static int owns_as_itself(const struct edge *edge, const char *login, const char *sender,
			  struct arena *arena, struct error *err)
{
	const char *owner;
	int r = edge_login_of(edge, sender, arena, &owner, err);

	if (r < 0) {
		error_prefix(err, "smtpd_sasl_passdb");
		return r;
	}
	return is_login(owner, login, arena) ? MAP_FOUND : MAP_NOT_FOUND;
}

static int owns_by_map(struct edge *edge, const char *login, const char *sender,
		       struct arena *arena, struct error *err)
{
	struct map_result result;
	struct slice owners, owner;
	int r = edge_find_owners(edge, sender, arena, &result, err);

	if (r < 0)
		error_prefix(err, "smtpd_sender_login_maps");
	if (r != MAP_FOUND)
		return r;
	owners = slice_from(result.value);
	while (slice_next_word(&owners, ", \t", &owner))
		if (is_login(arena_slicedup(arena, owner), login, arena))
			return MAP_FOUND;
	return MAP_NOT_FOUND;
}

int edge_owns(struct edge *edge, const char *login, const char *sender, struct error *err)
{
	struct arena arena = { 0 };
	int r = edge->options.sender_login_maps ? owns_by_map(edge, login, sender, &arena, err)
						: owns_as_itself(edge, login, sender, &arena, err);

	arena_done(&arena);
	return r;
}
