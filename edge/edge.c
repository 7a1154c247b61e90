/*
 * Who may use a sender address is decided before who may reach a recipient:
 * our own domains' addresses belong to whoever logs in for them. That closes
 * what the usual how-to leaves open, mail "from" a local user by anybody.
 */
#include "edge/edge.h"

#include <errno.h>
#include <stdlib.h>

#include "edge/maildir.h"
#include "edge/passwd.h"
#include "mta/domain_list.h"
#include "smtp/address.h"
#include "smtp/domain.h"

struct edge {
	struct edge_options options;
	struct passwd *passwd;
	atomic_uint maildir_counter;
};

/* ---- lookups ---- */

static int is_local(void *arg, struct slice domain, struct error *err)
{
	struct edge *edge = arg;

	return edge->options.mailbox_domains
		       ? domain_list_has(edge->options.mailbox_domains, domain, err)
		       : MAP_NOT_FOUND;
}

static int is_trusted(const struct edge *edge, const struct mta_client *client, struct error *err)
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

/* The name that an account has for this key, in either spelling of its domain; NULL: there is none. */
static const char *account_of(const struct edge *edge, const char *key, struct arena *arena)
{
	const char *other;

	if (passwd_has_user(edge->passwd, key))
		return key;
	other = smtp_domain_respell(arena, slice_from(key));
	return other && passwd_has_user(edge->passwd, other) ? other : NULL;
}

/* The Maildir that each account has. */
static int find_account(struct edge *edge, const char *key, struct arena *arena,
			struct map_result *ret, struct error *err)
{
	const char *name, *at;

	if (!edge->passwd)
		return error_set(err, -EACCES, "the accounts cannot be read");
	name = account_of(edge, key, arena);
	at = name ? strrchr(name, '@') : NULL;
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
		      struct map_result *ret, struct error *err)
{
	struct address a;
	int r;

	read_address(edge, address, arena, &a);
	if (edge->options.mailbox_maps)
		return find_address(edge, edge->options.mailbox_maps, &a, arena, ret, err);
	r = find_account(edge, a.key, arena, ret, err);
	return r == MAP_NOT_FOUND && a.bare ? find_account(edge, a.bare, arena, ret, err) : r;
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

	read_address(edge, sender, arena, &a);
	return a.bare && !(edge->passwd && account_of(edge, a.key, arena)) ? a.bare : a.key;
}

bool edge_has_user(const struct edge *edge, const char *user)
{
	struct arena arena = { 0 };
	bool has = !edge->passwd || account_of(edge, user, &arena);

	arena_done(&arena);
	return has;
}

/* Whether login may send as sender: by the login map, a list of logins, or by being the same. */
static int owns(struct edge *edge, const char *login, const char *sender, struct error *err)
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

/* ---- may they? ---- */

/* Why is for the operator; clients are told that it is for now only. */
static void lookup_failed(const struct edge *edge, const char *parameter, const char *address,
			  const struct error *err, struct smtp_status *ret)
{
	log_write(edge->options.log, "smtpd", LOG_LEVEL_ERROR, "%s: %s", parameter, err->text);
	smtp_status_set(ret, 451, ESC(4, 3, 0), "<%s>: Temporary lookup failure", address);
}

static void check_login(struct edge *edge, const struct mta_client *client, const char *sender,
			struct smtp_status *ret)
{
	struct error err;
	int r = owns(edge, client->user, sender, &err);

	if (r < 0)
		lookup_failed(edge, "smtpd_sender_login_maps", sender, &err, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
	else
		smtp_status_set(ret, 553, ESC(5, 7, 1),
				"<%s>: Sender address rejected: not owned by user %s", sender,
				client->user);
}

static void check_sender(void *arg, const struct mta_client *client, const char *sender,
			 struct smtp_status *ret)
{
	struct edge *edge = arg;
	struct error err;
	int r;

	smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
	if (!sender[0])
		return;
	if (client->user) {
		check_login(edge, client, sender, ret);
		return;
	}
	r = is_local(edge, smtp_address_domain(sender), &err);
	if (r < 0)
		lookup_failed(edge, "virtual_mailbox_domains", sender, &err, ret);
	if (r != MAP_FOUND)
		return;
	r = is_trusted(edge, client, &err);
	if (r < 0)
		lookup_failed(edge, "mynetworks", sender, &err, ret);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 553, ESC(5, 7, 1),
				"<%s>: Sender address rejected: not logged in", sender);
}

static void check_mailbox(struct edge *edge, const char *recipient, struct smtp_status *ret)
{
	struct arena arena = { 0 };
	struct map_result found;
	struct error err;
	int r = edge_find_mailbox(edge, recipient, &arena, &found, &err);

	if (r < 0)
		lookup_failed(edge, "virtual_mailbox_maps", recipient, &err, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else
		smtp_status_set(ret, 550, ESC(5, 1, 1),
				"<%s>: Recipient address rejected: User unknown in virtual "
				"mailbox table",
				recipient);
	arena_done(&arena);
}

/* For mail that goes elsewhere. */
static void check_relay(struct edge *edge, const struct mta_client *client, const char *recipient,
			struct smtp_status *ret)
{
	struct error err;
	int r = client->user ? MAP_FOUND : is_trusted(edge, client, &err);

	if (r < 0)
		lookup_failed(edge, "mynetworks", recipient, &err, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else
		smtp_status_set(ret, 554, ESC(5, 7, 1), "<%s>: Relay access denied", recipient);
}

static void check_recipient(void *arg, const struct mta_client *client, const char *sender,
			    const char *recipient, struct smtp_status *ret)
{
	struct edge *edge = arg;
	struct error err;
	int r = is_local(edge, smtp_address_domain(recipient), &err);

	(void)sender;
	if (r < 0)
		lookup_failed(edge, "virtual_mailbox_domains", recipient, &err, ret);
	else if (r == MAP_FOUND)
		check_mailbox(edge, recipient, ret);
	else
		check_relay(edge, client, recipient, ret);
}

static void authenticate(void *arg, const char *authorization_id, const char *user,
			 const char *password, char ret_login[256], struct smtp_status *ret)
{
	struct edge *edge = arg;
	bool as_self = !authorization_id || !authorization_id[0] ||
		       slice_equal_nocase(slice_from(authorization_id), slice_from(user));

	if (!edge->passwd)
		smtp_status_set(ret, 454, ESC(4, 7, 0), "Temporary authentication failure");
	else if (passwd_check(edge->passwd, user, password, ret_login) == PASSWD_MATCH && as_self)
		smtp_status_set(ret, 235, ESC(2, 7, 0), "Authentication successful");
	else
		smtp_status_set(ret, 535, ESC(5, 7, 8), "Error: authentication failed");
}

/* ---- delivery ---- */

static void write_mailbox(struct edge *edge, const struct mta_local_delivery *delivery,
			  const char *path, struct smtp_status *ret)
{
	const struct queue_recipient *r = delivery->recipient;
	struct buf header = { 0 };
	struct maildir_delivery d = {
		.base = edge->options.mailbox_base,
		.path = path,
		.hostname = edge->options.hostname,
		.body = delivery->body,
		.is_binary = delivery->message->body_binary,
	};
	struct error err;
	int result;

	buf_printf(&header, "Return-Path: <%s>\nX-Original-To: %s\nDelivered-To: %s\n",
		   delivery->message->sender, r->original, r->address);
	d.header = buf_slice(&header);
	result = maildir_deliver(&d, &edge->maildir_counter, &err);
	buf_done(&header);

	if (result == 0)
		smtp_status_set(ret, 250, ESC(2, 0, 0), "delivered to maildir");
	else if (result == -ENOSPC)
		smtp_status_set(ret, 452, ESC(4, 3, 1), "%s", err.text);
	else if (result == -EDQUOT)
		smtp_status_set(ret, 452, ESC(4, 2, 2), "%s", err.text);
	else
		smtp_status_set(ret, 451, ESC(4, 3, 0), "%s", err.text);
}

static void deliver(void *arg, const struct mta_local_delivery *delivery, struct smtp_status *ret)
{
	struct edge *edge = arg;
	struct arena arena = { 0 };
	struct map_result found;
	struct error err;
	int r = edge_find_mailbox(edge, delivery->recipient->address, &arena, &found, &err);

	if (r < 0)
		smtp_status_set(ret, 451, ESC(4, 3, 0), "mailbox lookup: %s", err.text);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 550, ESC(5, 1, 1), "unknown user: \"%s\"",
				delivery->recipient->address);
	else if (!maildir_path_is_safe(found.value))
		smtp_status_set(
			ret, 451, ESC(4, 3, 5),
			"mailbox path \"%s\" must lie below virtual_mailbox_base and end in /",
			found.value);
	else
		write_mailbox(edge, delivery, found.value, ret);
	arena_done(&arena);
}

const struct mta_policy edge_policy = {
	.check_sender = check_sender,
	.check_recipient = check_recipient,
	.is_local = is_local,
	.authenticate = authenticate,
	.deliver = deliver,
	.is_submission_server = true,
};

/* ---- life ---- */

int edge_new(const struct edge_options *options, struct edge **ret_edge, struct error *err)
{
	static const char prefix[] = "passwd-file:";
	struct edge *edge;
	int r = 0;

	if (options->passdb && strncmp(options->passdb, prefix, sizeof(prefix) - 1) != 0)
		return error_set(err, -EINVAL, "%s: expected passwd-file:FILE", options->passdb);
	edge = calloc(1, sizeof(*edge));
	if (!edge)
		return error_set(err, -ENOMEM, "out of memory");
	edge->options = *options;
	if (options->passdb)
		r = passwd_open(options->passdb + sizeof(prefix) - 1, &edge->passwd, err);
	if (r < 0) {
		free(edge);
		return r;
	}
	*ret_edge = edge;
	return 0;
}

void edge_free(struct edge *edge)
{
	if (!edge)
		return;
	passwd_free(edge->passwd);
	free(edge);
}

int edge_refresh(struct edge *edge, struct error *err)
{
	return edge->passwd ? passwd_refresh(edge->passwd, err) : MAP_NOT_CHANGED;
}
