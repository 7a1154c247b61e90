/*
 * Keys are tried as Postfix tries them, so that its files can be taken as they are.
 */
#include "edge/internal.h"

#include <errno.h>

#include "mta/domain_list.h"
#include "smtp/address.h"
#include "smtp/domain.h"

int edge_is_local(void *arg, struct slice domain, struct error *err)
{
	struct edge *edge = arg;

	return edge->options.mailbox_domains
		       ? domain_list_has(edge->options.mailbox_domains, domain, err)
		       : MAP_NOT_FOUND;
}

int edge_is_trusted(const struct edge *edge, const struct mta_client *client, struct error *err)
{
	return client->is_certified ? MAP_FOUND
				    : networks_have(&edge->options.networks, client->address, err);
}

/* An address as a key: folded, with quotes only where they are needed; and without its extension. */
struct address {
	const char *key;
	const char *bare; /* NULL: it has none */
};

static void read_address(const struct edge *edge, const char *text, struct arena *arena,
			 struct address *ret)
{
	const char *delimiters = edge->options.recipient_delimiter;
	const char *plain = smtp_address_plain(arena, smtp_address_fold(arena, text));
	const char *bare = delimiters && delimiters[0]
				   ? smtp_address_without_extension(arena, plain, delimiters)
				   : NULL;

	ret->key = smtp_address_quoted(arena, plain);
	ret->bare = bare ? smtp_address_quoted(arena, bare) : NULL;
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

/* The local part alone, of users in myorigin. key may be NULL. */
static int find_user(const struct edge *edge, struct maps *maps, const char *key,
		     struct arena *arena, struct map_result *ret, struct error *err)
{
	const char *at = key ? strrchr(key, '@') : NULL;

	if (!at || at == key || !edge->options.origin ||
	    !slice_equal_nocase(slice_from(at + 1), slice_from(edge->options.origin)))
		return MAP_NOT_FOUND;
	return maps_lookup_part(maps, slice_of(key, (size_t)(at - key)), arena, ret, err);
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

/*
 * Keys as in Postfix (virtual(5), TABLE SEARCH ORDER): the address, the address
 * without its extension, both without the domain if that is myorigin, @domain.
 */
static int find_address(const struct edge *edge, struct maps *maps, const struct address *address,
			struct arena *arena, struct map_result *ret, struct error *err)
{
	const char *at = strrchr(address->key, '@');
	int r = find_spelled(maps, address->key, maps_lookup, arena, ret, err);

	if (r == MAP_NOT_FOUND && address->bare)
		r = find_spelled(maps, address->bare, maps_lookup_part, arena, ret, err);
	if (r == MAP_NOT_FOUND)
		r = find_user(edge, maps, address->key, arena, ret, err);
	if (r == MAP_NOT_FOUND)
		r = find_user(edge, maps, address->bare, arena, ret, err);
	if (r == MAP_NOT_FOUND && at && at > address->key)
		r = find_spelled(maps, at, maps_lookup_part, arena, ret, err);
	return r;
}

int edge_find_mailbox(struct edge *edge, const char *address, struct arena *arena,
		      struct edge_mailbox *ret, struct error *err)
{
	struct map_result found = { 0 };
	struct address a;
	int r;

	read_address(edge, address, arena, &a);
	if (edge->options.mailbox_maps) {
		r = find_address(edge, edge->options.mailbox_maps, &a, arena, &found, err);
	} else {
		r = find_account(edge, a.key, arena, &found, err);
		if (r == MAP_NOT_FOUND && a.bare)
			r = find_account(edge, a.bare, arena, &found, err);
	}
	*ret = (struct edge_mailbox){ .path = found.value, .source = found.source };
	return r;
}

int edge_find_owners(struct edge *edge, const char *sender, struct arena *arena,
		     struct map_result *ret, struct error *err)
{
	struct address a;

	read_address(edge, sender, arena, &a);
	return edge->options.sender_login_maps
		       ? find_address(edge, edge->options.sender_login_maps, &a, arena, ret, err)
		       : MAP_NOT_FOUND;
}

const char *edge_login_of(const struct edge *edge, const char *sender, struct arena *arena)
{
	struct address a;
	const char *name;

	read_address(edge, sender, arena, &a);
	if (!a.bare)
		return a.key;
	return edge->accounts && find_name(edge, a.key, arena, &name, NULL) == MAP_FOUND ? a.key
											 : a.bare;
}

bool edge_has_user(const struct edge *edge, const char *user)
{
	struct arena arena = { 0 };
	const char *name;
	bool has = !edge->accounts || find_name(edge, user, &arena, &name, NULL) != MAP_NOT_FOUND;

	arena_done(&arena);
	return has;
}

/* Whether login may send as sender: by the login map, a list of logins, or by being the same. */
int edge_owns(struct edge *edge, const char *login, const char *sender, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result result;
	struct slice owners, owner = slice_from(login);
	int r = MAP_NOT_FOUND;

	if (!edge->options.sender_login_maps) {
		if (strcmp(smtp_address_fold(&arena, login), edge_login_of(edge, sender, &arena)) ==
		    0)
			r = MAP_FOUND;
		arena_done(&arena);
		return r;
	}
	r = edge_find_owners(edge, sender, &arena, &result, err);
	if (r == MAP_FOUND) {
		r = MAP_NOT_FOUND;
		owners = slice_from(result.value);
		while (r == MAP_NOT_FOUND && slice_next_word(&owners, ", \t", &owner))
			if (strcmp(smtp_address_fold(&arena, arena_slicedup(&arena, owner)),
				   smtp_address_fold(&arena, login)) == 0)
				r = MAP_FOUND;
	}
	arena_done(&arena);
	return r;
}
