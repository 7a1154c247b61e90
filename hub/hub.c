/*
 * The whole policy: relay_domains for everybody, anything for trusted
 * networks and for holders of an accepted certificate. A hub has no mailboxes and no accounts, so any sender address may
 * come by; whether mail loops is for the Received count to say. Who is there
 * behind relay_domains it knows from relay_recipient_maps, if at all.
 */
#include "hub/hub.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mta/domain_list.h"
#include "smtp/address.h"
#include "smtp/domain.h"

struct hub {
	struct hub_options options;
};

static void log_failure(const struct hub *hub, const char *parameter, const struct error *err)
{
	log_write(hub->options.log, "smtpd", LOG_LEVEL_ERROR, "%s: %s", parameter, err->text);
}

/* MAP_FOUND, MAP_NOT_FOUND, or an error, which is logged. */
static int is_trusted(const struct hub *hub, const struct mta_client *client)
{
	struct error err;
	int r = client->is_certified ? MAP_FOUND
				     : networks_have(&hub->options.networks, client->address, &err);

	if (r < 0)
		log_failure(hub, "mynetworks", &err);
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
		log_failure(hub, "relay_domains", &err);
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

/* ---- who is there ---- */

typedef int find_key(struct maps *maps, struct slice key, struct arena *arena,
		     struct map_result *ret, struct error *err);

/* A key, and then the other spelling of its domain. */
static int find_spelled(const struct hub *hub, const char *key, find_key *find, struct arena *arena,
			struct map_result *ret, struct error *err)
{
	const char *other = smtp_domain_respell(arena, slice_from(key));
	int r = find(hub->options.relay_recipient_maps, slice_from(key), arena, ret, err);

	if (r == MAP_NOT_FOUND && other)
		r = find(hub->options.relay_recipient_maps, slice_from(other), arena, ret, err);
	return r;
}

int hub_find_recipient(struct hub *hub, const char *recipient, struct arena *arena,
		       struct map_result *ret, struct error *err)
{
	const char *delimiters = hub->options.recipient_delimiter, *plain, *key, *bare, *at;
	int r;

	*ret = (struct map_result){ .value = "", .source = "" };
	if (!hub->options.relay_recipient_maps)
		return MAP_FOUND;
	plain = smtp_address_plain(arena, smtp_address_fold(arena, recipient));
	bare = delimiters && delimiters[0]
		       ? smtp_address_without_extension(arena, plain, delimiters)
		       : NULL;
	key = smtp_address_quoted(arena, plain);
	at = strrchr(key, '@');
	r = find_spelled(hub, key, maps_lookup, arena, ret, err);
	if (r == MAP_NOT_FOUND && bare)
		r = find_spelled(hub, smtp_address_quoted(arena, bare), maps_lookup_part, arena,
				 ret, err);
	if (r == MAP_NOT_FOUND && at && at > key)
		r = find_spelled(hub, at, maps_lookup_part, arena, ret, err);
	return r;
}

/* As above, for RCPT. */
static int is_there(struct hub *hub, const char *recipient)
{
	struct arena arena = { 0 };
	struct map_result found;
	struct error err;
	int r = hub_find_recipient(hub, recipient, &arena, &found, &err);

	if (r < 0)
		log_failure(hub, "relay_recipient_maps", &err);
	arena_done(&arena);
	return r;
}

/* ---- the policy ---- */

/*
 * May this client send there? As above. Where a trusted client may go anyway,
 * relay_domains that cannot be read are no reason to refuse.
 */
static int may_relay(const struct hub *hub, const struct mta_client *client, const char *recipient,
		     int relayed)
{
	int trusted = is_trusted(hub, client), r;

	if (trusted == MAP_FOUND)
		return MAP_FOUND;
	r = names_route(recipient) ? MAP_NOT_FOUND : relayed;
	return r == MAP_NOT_FOUND && trusted < 0 ? trusted : r;
}

static void check_recipient(void *arg, const struct mta_client *client, const char *sender,
			    const char *recipient, struct smtp_status *ret)
{
	struct hub *hub = arg;
	int relayed = is_relayed(hub, smtp_address_domain(recipient));
	int r = may_relay(hub, client, recipient, relayed);

	(void)sender;
	if (r == MAP_NOT_FOUND) {
		smtp_status_set(ret, 554, ESC(5, 7, 1), "<%s>: Relay access denied", recipient);
		return;
	}
	if (r == MAP_FOUND && relayed == MAP_FOUND)
		r = is_there(hub, recipient);
	if (r < 0)
		smtp_status_set(ret, 451, ESC(4, 3, 0), "<%s>: Temporary lookup failure",
				recipient);
	else if (r == MAP_NOT_FOUND)
		smtp_status_set(ret, 550, ESC(5, 1, 1),
				"<%s>: Recipient address rejected: User unknown in relay recipient "
				"table",
				recipient);
	else
		smtp_status_set(ret, 250, ESC(2, 1, 5), "Ok");
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

/* What is not relayed for anybody leads into the world, which is not asked. */
static int must_verify(void *arg, const char *recipient, struct error *err)
{
	struct hub *hub = arg;
	struct slice domain = smtp_address_domain(recipient);
	int r;

	if (!hub->options.verified_domains || !hub->options.relay_domains)
		return MAP_NOT_FOUND;
	r = domain_list_has(hub->options.relay_domains, domain, err);
	if (r == MAP_FOUND)
		r = domain_list_has(hub->options.verified_domains, domain, err);
	return r;
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
	.must_verify = must_verify,
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
