/*
 * Who may use a sender address is decided before who may reach a recipient:
 * our own domains' addresses belong to whoever logs in for them. That closes
 * what the usual how-to leaves open, mail "from" a local user by anybody.
 */
#include "edge/internal.h"

#include "smtp/address.h"

/*
 * Why is for the operator; clients are told that it is for now only. parameter
 * NULL: the error begins with it.
 */
static void lookup_failed(const struct edge *edge, const char *parameter, const char *address,
			  const struct error *err, struct smtp_status *ret)
{
	log_write(edge->options.log, "smtpd", LOG_LEVEL_ERROR, "%s%s%s", parameter ? parameter : "",
		  parameter ? ": " : "", err->text);
	smtp_status_set(ret, 451, ESC(4, 3, 0), "<%s>: Temporary lookup failure", address);
}

static void check_login(struct edge *edge, const struct mta_client *client, const char *sender,
			struct smtp_status *ret)
{
	struct error err;
	int r = edge_owns(edge, client->user, sender, &err);

	if (r < 0)
		lookup_failed(edge, NULL, sender, &err, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
	else
		smtp_status_set(ret, 553, ESC(5, 7, 1),
				"<%s>: Sender address rejected: not owned by user %s", sender,
				client->user);
}

void edge_check_sender(void *arg, const struct mta_client *client, const char *sender,
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
	r = edge_is_local(edge, smtp_address_domain(sender), &err);
	if (r < 0)
		lookup_failed(edge, NULL, sender, &err, ret);
	if (r != MAP_FOUND)
		return;
	r = edge_is_trusted(edge, client, &err);
	if (r < 0)
		lookup_failed(edge, "mynetworks", sender, &err, ret);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 553, ESC(5, 7, 1),
				"<%s>: Sender address rejected: not logged in", sender);
}

/* ---- our own recipients ---- */

/* What Postfix says, with its code; one of the 4xx makes senders try again. */
static void refuse_unknown(const char *recipient, int code, const char *table,
			   struct smtp_status *ret)
{
	struct smtp_enhanced enhanced = ESC(5, 1, 1);

	if (code == 0)
		code = 550;
	enhanced.class = (unsigned char)(code / 100);
	smtp_status_set(ret, code, enhanced,
			"<%s>: Recipient address rejected: User unknown in %s table", recipient,
			table);
}

/* As in edge_find_key(). */
static int has_address(struct edge *edge, struct maps *maps, const char *parameter,
		       const char *recipient, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result found;
	struct edge_key key;
	bool is_bare;
	int r;

	if (!maps)
		return MAP_NOT_FOUND;
	edge_key_read(edge, recipient, &arena, &key);
	r = edge_find_key(edge, maps, &key, &arena, &found, &is_bare, err);
	arena_done(&arena);
	if (r < 0)
		error_prefix(err, "%s", parameter);
	return r;
}

static int has_local_name(struct edge *edge, struct maps *maps, const char *parameter,
			  const char *recipient, struct error *err)
{
	struct arena arena = { 0 };
	struct map_result found;
	bool is_bare;
	int r = maps ? edge_find_local(edge, maps, recipient, &arena, &found, &is_bare, err)
		     : MAP_NOT_FOUND;

	arena_done(&arena);
	if (r < 0)
		error_prefix(err, "%s", parameter);
	return r;
}

static int has_user(struct edge *edge, const char *recipient, struct error *err)
{
	struct arena arena = { 0 };
	const char *name;
	int r = edge_find_user(edge, recipient, &arena, &name, err);

	arena_done(&arena);
	return r;
}

/* local_recipient_maps. */
static int is_known_local(struct edge *edge, const char *recipient, struct error *err)
{
	const struct edge_options *o = &edge->options;
	int r;

	if (o->knows_no_locals)
		return MAP_FOUND;
	r = has_local_name(edge, o->local_aliases, "alias_maps", recipient, err);
	if (r == MAP_NOT_FOUND)
		r = has_local_name(edge, o->local_recipients, "local_recipient_maps", recipient,
				   err);
	return r == MAP_NOT_FOUND && o->has_system_users ? has_user(edge, recipient, err) : r;
}

static int has_mailbox(struct edge *edge, uint64_t size, const char *recipient, bool *ret_is_full,
		       struct error *err)
{
	struct arena arena = { 0 };
	struct edge_mailbox found;
	int r = edge_find_mailbox(edge, recipient, &arena, &found, err);

	*ret_is_full = r == MAP_FOUND && edge_seems_full(edge, recipient, &found, size);
	arena_done(&arena);
	if (r < 0)
		error_prefix(err, "virtual_mailbox_maps");
	return r;
}

static int is_known(struct edge *edge, enum edge_class class, uint64_t size, const char *recipient,
		    bool *ret_is_full, struct error *err)
{
	const struct edge_options *o = &edge->options;
	int r = has_address(edge, o->virtual_aliases, "virtual_alias_maps", recipient, err);

	*ret_is_full = false;
	if (r != MAP_NOT_FOUND)
		return r;
	if (class == EDGE_CLASS_LOCAL)
		return is_known_local(edge, recipient, err);
	if (class == EDGE_CLASS_RELAY)
		return o->relay_recipient_maps ? has_address(edge, o->relay_recipient_maps,
							     "relay_recipient_maps", recipient, err)
					       : MAP_FOUND;
	return class == EDGE_CLASS_MAILBOX ? has_mailbox(edge, size, recipient, ret_is_full, err)
					   : MAP_NOT_FOUND;
}

/* Each domain has a postmaster, and expand.c knows who that is where nobody says so. */
static bool is_left_to_postmaster(struct edge *edge, const char *recipient, struct smtp_status *ret)
{
	struct mta_expansion expansion = { 0 };
	struct arena arena = { 0 };
	bool is_left;

	if (!slice_equal_nocase(smtp_address_local(recipient), SLICE("postmaster")))
		return false;
	smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	edge_expand(edge, recipient, &arena, &expansion, ret);
	is_left = expansion.is_alias || smtp_status_class(ret) != SMTP_DELIVERED;
	arena_done(&arena);
	return is_left;
}

/* One that is full says so here: whoever hears it only after days in the queue is not helped. */
static void check_known(struct edge *edge, enum edge_class class, uint64_t size,
			const char *recipient, struct smtp_status *ret)
{
	const struct edge_options *o = &edge->options;
	struct error err;
	bool is_full;
	int r = is_known(edge, class, size, recipient, &is_full, &err);

	if (r < 0)
		lookup_failed(edge, NULL, recipient, &err, ret);
	else if (is_full)
		smtp_status_set(ret, 452, ESC(4, 2, 2),
				"<%s>: Recipient address rejected: the mailbox is full", recipient);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else if (is_left_to_postmaster(edge, recipient, ret))
		return;
	else if (class == EDGE_CLASS_LOCAL)
		refuse_unknown(recipient, o->unknown_local_code, "local recipient", ret);
	else if (class == EDGE_CLASS_RELAY)
		refuse_unknown(recipient, 550, "relay recipient", ret);
	else if (class == EDGE_CLASS_ALIAS)
		refuse_unknown(recipient, o->unknown_alias_code, "virtual alias", ret);
	else
		refuse_unknown(recipient, o->unknown_mailbox_code, "virtual mailbox", ret);
}

/* ---- others ---- */

/*
 * Local parts like "a%b" and "b!a" mean a@b to some servers. One that trusts us
 * would be a relay for anybody, so they are not for anybody, as on a hub.
 */
static bool names_route(const char *recipient)
{
	struct slice local = smtp_address_local(recipient);

	for (size_t i = 0; i < local.len; i++)
		if (strchr("@%!", local.ptr[i]))
			return true;
	return false;
}

/* An alias may keep the local part ("@old @new"), and then hands a route on to another server. */
static bool hands_route_on(struct edge *edge, const char *recipient)
{
	struct mta_expansion expansion = { 0 };
	struct arena arena = { 0 };
	struct smtp_status status;
	bool hands_on = false;

	edge_expand(edge, recipient, &arena, &expansion, &status);
	for (size_t i = 0; i < expansion.count && !hands_on; i++)
		hands_on = names_route(expansion.addresses[i]) &&
			   edge_is_local(edge, smtp_address_domain(expansion.addresses[i]), NULL) !=
				   MAP_FOUND;
	arena_done(&arena);
	return hands_on;
}

static void refuse_to_relay(const char *recipient, struct smtp_status *ret)
{
	smtp_status_set(ret, 554, ESC(5, 7, 1), "<%s>: Relay access denied", recipient);
}

/* For mail that goes elsewhere: relay_domains are for anybody. */
static void check_relay(struct edge *edge, const struct mta_client *client, enum edge_class class,
			const char *recipient, struct smtp_status *ret)
{
	struct error err;
	int r = client->user ? MAP_FOUND : edge_is_trusted(edge, client, &err);

	if (r != MAP_FOUND && class == EDGE_CLASS_RELAY && !names_route(recipient))
		r = MAP_FOUND;
	if (r < 0)
		lookup_failed(edge, "mynetworks", recipient, &err, ret);
	else if (r == MAP_FOUND && class == EDGE_CLASS_RELAY)
		check_known(edge, class, client->size, recipient, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else
		refuse_to_relay(recipient, ret);
}

/* For mail to domains of our own. */
static void check_own(struct edge *edge, const struct mta_client *client, enum edge_class class,
		      const char *recipient, struct smtp_status *ret)
{
	check_known(edge, class, client->size, recipient, ret);
	if (smtp_status_class(ret) == SMTP_DELIVERED && names_route(recipient) && !client->user &&
	    edge_is_trusted(edge, client, NULL) != MAP_FOUND && hands_route_on(edge, recipient))
		refuse_to_relay(recipient, ret);
}

/* The system's accounts may be on another host. */
bool edge_recipient_blocks(void *arg, const char *recipient)
{
	const struct edge *edge = arg;
	enum edge_class class;

	return edge->options.has_system_users && !edge->options.knows_no_locals &&
	       edge_classify(edge, smtp_address_domain(recipient), &class, NULL) == 0 &&
	       class == EDGE_CLASS_LOCAL;
}

void edge_check_recipient(void *arg, const struct mta_client *client, const char *sender,
			  const char *recipient, struct smtp_status *ret)
{
	struct edge *edge = arg;
	enum edge_class class;
	struct error err;

	(void)sender;
	if (edge_classify(edge, smtp_address_domain(recipient), &class, &err) < 0)
		lookup_failed(edge, NULL, recipient, &err, ret);
	else if (class == EDGE_CLASS_OTHER || class == EDGE_CLASS_RELAY)
		check_relay(edge, client, class, recipient, ret);
	else
		check_own(edge, client, class, recipient, ret);
}
