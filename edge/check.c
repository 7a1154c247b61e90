/*
 * Who may use a sender address is decided before who may reach a recipient:
 * our own domains' addresses belong to whoever logs in for them. That closes
 * what the usual how-to leaves open, mail "from" a local user by anybody.
 */
#include "edge/internal.h"

#include "smtp/address.h"

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
	int r = edge_owns(edge, client->user, sender, &err);

	if (r < 0)
		lookup_failed(edge, "smtpd_sender_login_maps", sender, &err, ret);
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
		lookup_failed(edge, "virtual_mailbox_domains", sender, &err, ret);
	if (r != MAP_FOUND)
		return;
	r = edge_is_trusted(edge, client, &err);
	if (r < 0)
		lookup_failed(edge, "mynetworks", sender, &err, ret);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 553, ESC(5, 7, 1),
				"<%s>: Sender address rejected: not logged in", sender);
}

static void check_mailbox(struct edge *edge, const char *recipient, struct smtp_status *ret)
{
	struct arena arena = { 0 };
	struct edge_mailbox found;
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
	int r = client->user ? MAP_FOUND : edge_is_trusted(edge, client, &err);

	if (r < 0)
		lookup_failed(edge, "mynetworks", recipient, &err, ret);
	else if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else
		smtp_status_set(ret, 554, ESC(5, 7, 1), "<%s>: Relay access denied", recipient);
}

void edge_check_recipient(void *arg, const struct mta_client *client, const char *sender,
			  const char *recipient, struct smtp_status *ret)
{
	struct edge *edge = arg;
	struct error err;
	int r = edge_is_local(edge, smtp_address_domain(recipient), &err);

	(void)sender;
	if (r < 0)
		lookup_failed(edge, "virtual_mailbox_domains", recipient, &err, ret);
	else if (r == MAP_FOUND)
		check_mailbox(edge, recipient, ret);
	else
		check_relay(edge, client, recipient, ret);
}
