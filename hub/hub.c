/*
 * The whole policy: relay_domains for everybody, anything for trusted
 * networks and for holders of an accepted certificate. A hub has no mailboxes and no accounts, so any sender address may
 * come by; whether mail loops is for the Received count to say.
 */
#include "hub/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mta/domain_list.h"
#include "smtp/address.h"

struct hub {
	struct hub_options options;
};

/* MAP_FOUND, MAP_NOT_FOUND, or an error, which is logged. */
static int is_trusted(const struct hub *hub, const struct mta_client *client)
{
	struct error err;
	int r = client->is_certified ? MAP_FOUND
				     : networks_have(&hub->options.networks, client->address, &err);

	if (r < 0)
		log_write(hub->options.log, "smtpd", LOG_LEVEL_ERROR, "mynetworks: %s", err.text);
	return r;
}

/* Whether anybody may send to the domain; as above. */
static int is_relayed(const struct hub *hub, struct slice domain)
{
	struct error err;
	int r = hub->options.relay_domains
			? domain_list_has(hub->options.relay_domains, domain, &err)
			: MAP_NOT_FOUND;

	if (r < 0)
		log_write(hub->options.log, "smtpd", LOG_LEVEL_ERROR, "relay_domains: %s",
			  err.text);
	return r;
}

/*
 * Local parts like "a%b" and "b!a" mean a@b to some servers, Postfix's for
 * mydestination among them. One that trusts us would be a relay for anybody, so
 * they are not for anybody: Postfix's allow_untrusted_routing = no.
 */
static bool names_route(const char *recipient)
{
	struct slice local = smtp_address_local(recipient);

	for (size_t i = 0; i < local.len; i++)
		if (strchr("@%!", local.ptr[i]))
			return true;
	return false;
}

static void check_sender(void *arg, const struct mta_client *client, const char *sender,
			 struct smtp_status *ret)
{
	(void)arg;
	(void)client;
	(void)sender;
	smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
}

static void check_recipient(void *arg, const struct mta_client *client, const char *sender,
			    const char *recipient, struct smtp_status *ret)
{
	struct hub *hub = arg;
	int trusted = is_trusted(hub, client), r = MAP_FOUND;

	(void)sender;
	if (trusted != MAP_FOUND) /* else whatever relay_domains may say */
		r = names_route(recipient) ? MAP_NOT_FOUND
					   : is_relayed(hub, smtp_address_domain(recipient));
	if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
	else if (r < 0 || trusted < 0)
		smtp_status_set(ret, 451, ESC(4, 3, 0), "<%s>: Temporary lookup failure",
				recipient);
	else
		smtp_status_set(ret, 554, ESC(5, 7, 1), "<%s>: Relay access denied", recipient);
}

/* Whose mail anybody may bring, for that anybody may ask: it goes where it always goes. */
static void check_etrn(void *arg, const struct mta_client *client, const char *domain,
		       bool *ret_is_trusted, struct smtp_status *ret)
{
	struct hub *hub = arg;
	int r = is_relayed(hub, slice_from(domain));

	*ret_is_trusted = is_trusted(hub, client) == MAP_FOUND;
	if (r == MAP_FOUND)
		smtp_status_set(ret, 250, ESC(2, 0, 0), "Queuing started");
	else if (r < 0)
		smtp_status_set(ret, 458, ESC(4, 3, 0), "<%s>: Temporary lookup failure", domain);
	else
		smtp_status_set(ret, 459, ESC(4, 7, 1), "<%s>: service unavailable", domain);
}

static int is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	(void)domain;
	(void)err;
	return MAP_NOT_FOUND;
}

const struct mta_policy hub_policy = {
	.check_sender = check_sender,
	.check_recipient = check_recipient,
	.check_etrn = check_etrn,
	.is_local = is_local,
};

int hub_new(const struct hub_options *options, struct hub **ret_hub, struct error *err)
{
	struct hub *hub = calloc(1, sizeof(*hub));

	if (!hub)
		return error_set(err, -ENOMEM, "out of memory");
	hub->options = *options;
	*ret_hub = hub;
	return 0;
}

void hub_free(struct hub *hub)
{
	free(hub);
}
