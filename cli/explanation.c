/*
 * explanation - asks what delivery would ask, in the order of a message's life
 *
 * First whether a client could hand it in at all (the policy of the mode),
 * then where it goes (the resolver), then what its TLS accepts. A transport is
 * made for each address: one that has resolved others might know lines
 * already, and look up less.
 */
#include "cli/explain.h"

#include "base/macros.h"
#include "smtp/address.h"
#include "tls/names.h"

#define PROBE_TIMEOUT_MS 30000 /* for each address */

/* ---- who may send it ---- */

/* Returns whether it came to the recipient, MAIL being taken. */
static bool ask_policy(const struct generation *g, const struct explanation *e,
		       const struct mta_client *client, struct smtp_status *ret)
{
	const struct mta_policy *policy = g->options.policy;

	smtp_status_set(ret, 250, ESC(2, 1, 0), "Ok");
	if (e->sender)
		policy->check_sender(g->options.policy_arg, client, e->sender, ret);
	if (smtp_status_class(ret) != SMTP_DELIVERED)
		return false;
	policy->check_recipient(g->options.policy_arg, client, e->sender ? e->sender : "",
				e->family->recipient, ret);
	return true;
}

static bool may_send(const struct generation *g, const struct explanation *e,
		     const struct mta_client *client)
{
	struct smtp_status status;

	ask_policy(g, e, client, &status);
	return smtp_status_class(&status) == SMTP_DELIVERED;
}

/* mynetworks, as the mode has it. */
static struct networks networks_of(const struct generation *g)
{
	struct edge_options edge = { 0 };
	struct hub_options hub = { 0 };

	if (g->edge)
		config_edge_options(g->config, &edge);
	else
		config_hub_options(g->config, &hub);
	return g->edge ? edge.networks : hub.networks;
}

/* The login to send as the sender with: where a map says who owns it, the first of those. */
static const char *login_of(const struct generation *g, struct explanation *e)
{
	struct map_result owners;
	struct slice rest, owner;
	const char *login = e->sender;
	struct error err;

	if (!e->sender || !e->sender[0])
		return ""; /* any */
	if (edge_find_owners(g->edge, e->sender, &e->arena, &owners, &err) != MAP_FOUND) {
		edge_login_of(g->edge, e->sender, &e->arena, &login, &err);
		return login;
	}
	rest = slice_from(owners.value);
	return slice_next_word(&rest, ", \t", &owner) ? arena_slicedup(&e->arena, owner)
						      : e->sender;
}

/* Whether it is relay_domains that anybody may send by. */
static bool is_relay_domain(const struct generation *g, const struct explanation *e)
{
	enum edge_class class = EDGE_CLASS_RELAY;
	struct error err;

	if (g->edge)
		edge_classify(g->edge, smtp_address_domain(e->family->recipient), &class, &err);
	return class == EDGE_CLASS_RELAY;
}

static void find_senders(const struct generation *g, struct explanation *e)
{
	const struct net_address nowhere = { .len = 0 }; /* in no network */
	const struct networks networks = networks_of(g);
	struct mta_client client = { .address = &nowhere, .hello = "", .encrypted = true };

	e->senders.source =
		is_relay_domain(g, e) ? config_source(g->config, CONFIG_RELAY_DOMAINS) : "";
	e->senders.is_sender_refused = !ask_policy(g, e, &client, &e->senders.refusal);
	e->senders.anybody = smtp_status_class(&e->senders.refusal) == SMTP_DELIVERED;
	if (networks.count > 0) {
		client.address = &networks.prefixes[0].base;
		e->senders.networks = may_send(g, e, &client);
		client.address = &nowhere;
	} else if (networks.maps) {
		/* Not every map can name one. Who has a certificate may do the same. */
		client.is_certified = true;
		e->senders.networks = may_send(g, e, &client);
		client.is_certified = false;
	}
	if (g->options.relay_clientcerts) {
		client.is_certified = true;
		e->senders.certificates = may_send(g, e, &client);
		client.is_certified = false;
	}
	if (g->edge) {
		client.user = login_of(g, e);
		e->senders.users = (!client.user[0] || edge_has_user(g->edge, client.user)) &&
				   may_send(g, e, &client);
	}
}

/* ---- where it goes ---- */

static void note_step(void *arg, const struct transport_lookup *lookup)
{
	struct explanation *e = arg;
	struct explain_step *step = arena_alloc(&e->arena, sizeof(*step));

	*step = (struct explain_step){
		.parameter = arena_strdup(&e->arena, lookup->parameter),
		.map = arena_strdup(&e->arena, lookup->map),
		.key = arena_strdup(&e->arena, lookup->key),
		.value = arena_strdup(&e->arena, lookup->value),
		.source = arena_strdup(&e->arena, lookup->source),
	};
	if (e->last)
		e->last->next = step;
	else
		e->first = step;
	e->last = step;
}

static enum explain_action action_of(enum transport_kind kind)
{
	switch (kind) {
	case TRANSPORT_VIRTUAL:
	case TRANSPORT_LOCAL:
		return EXPLAIN_LOCAL;
	case TRANSPORT_ERROR:
		return EXPLAIN_ERROR;
	case TRANSPORT_RETRY:
		return EXPLAIN_RETRY;
	case TRANSPORT_DISCARD:
		return EXPLAIN_DISCARD;
	default:
		return EXPLAIN_RELAY;
	}
}

const char *explain_status_text(struct arena *arena, const struct smtp_status *status)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	return arena_printf(arena, "%d %s %s", status->code,
			    smtp_status_enhanced_text(status, enhanced), status->text);
}

/* An error makes mail wait, as the scheduler has it. */
static int find_route(const struct generation *g, struct explanation *e, struct error *err)
{
	struct transport *transport = NULL;
	struct error no_route = { 0 };
	int r = transport_new(&g->options.transport, &transport, err);

	if (r < 0)
		return r;
	e->source = "";
	if (transport_resolve_traced(transport, e->address, note_step, e, &e->route, &no_route) <
	    0) {
		e->action = EXPLAIN_RETRY;
		e->error = arena_printf(&e->arena, "no route now: %s", no_route.text);
	} else {
		e->action = action_of(e->route->kind);
		e->source = e->route->source;
		if (e->action == EXPLAIN_ERROR || e->action == EXPLAIN_RETRY)
			e->error = explain_status_text(&e->arena, &e->route->status);
	}
	transport_free(transport);
	return 0;
}

static void find_mailbox(const struct generation *g, struct explanation *e)
{
	const char *base = config_value(g->config, CONFIG_VIRTUAL_MAILBOX_BASE);
	struct edge_mailbox found;
	struct error err = { 0 };
	int r;

	if (!g->edge)
		return;
	r = edge_find_mailbox(g->edge, e->address, &e->arena, &found, &err);
	if (r < 0) {
		e->error = arena_printf(&e->arena, "whether there is such a user: %s", err.text);
		e->senders.anybody = true; /* as far as anybody can tell */
	} else if (r == MAP_NOT_FOUND && e->family->count > 0) {
		/* What the aliases of a recipient lead to is not looked at before it is delivered. */
		e->action = EXPLAIN_ERROR;
		e->error = arena_printf(&e->arena, "550 5.1.1 unknown user: \"%s\"", e->address);
	} else if (r == MAP_FOUND) {
		e->mailbox = found.kind == EDGE_MAILBOX_HOME
				     ? arena_printf(&e->arena, "~%s/%s", found.user, found.path)
				     : arena_printf(&e->arena, "%s/%s", base, found.path);
		e->mailbox_source = found.source;
	}
}

/* ---- what its TLS accepts ---- */

static void find_names(struct explanation *e, struct explain_hop *ret)
{
	const struct tls_policy *policy = &e->route->tls;
	struct tls_names names;
	const char **copy;

	tls_names_init(&names, policy, ret->hop->host, ret->hop->mx ? "hostname" : NULL);
	copy = arena_alloc(&e->arena, names.count * sizeof(*copy));
	for (unsigned int i = 0; i < names.count; i++)
		copy[i] = arena_strdup(&e->arena, names.wanted[i]);
	ret->names = copy;
	ret->name_count = names.count;
	tls_names_done(&names);
}

/* Without a sender, as where senders do not matter. An error makes mail wait. */
static void find_login(const struct generation *g, struct explanation *e, struct explain_hop *ret)
{
	const struct credentials_options *options = &g->options.credentials;
	struct credentials found;
	struct error err = { 0 };
	int r;

	if (!credentials_may_apply(options, e->route))
		return;
	r = credentials_find(options, e->sender ? e->sender : "", ret->hop, note_step, e, &found,
			     &err);
	if (r == MAP_FOUND) {
		ret->login = arena_strdup(&e->arena, found.user);
		ret->login_source = arena_strdup(&e->arena, found.source);
	} else if (r < 0) {
		e->action = EXPLAIN_RETRY;
		e->error = arena_printf(&e->arena, "no login now: %s", err.text);
	}
	credentials_done(&found);
}

static void find_hops(const struct generation *g, struct explanation *e)
{
	struct explain_hop *hops = arena_alloc(&e->arena, e->route->hop_count * sizeof(*hops));

	for (unsigned int i = 0; i < e->route->hop_count; i++) {
		hops[i].hop = &e->route->hops[i];
		if (e->route->mode != TLS_MODE_NONE)
			find_names(e, &hops[i]);
		find_login(g, e, &hops[i]);
	}
	e->hops = hops;
	e->hop_count = e->route->hop_count;
}

static bool is_unknown_user(const struct smtp_status *status)
{
	return status->enhanced.subject == 1 && status->enhanced.detail == 1;
}

/* The parameter that would have to say otherwise for this to be taken. */
static enum config_parameter_id refused_by(const struct generation *g, const struct explanation *e)
{
	const char *maps = config_value(g->config, CONFIG_VIRTUAL_MAILBOX_MAPS);
	enum edge_class class = EDGE_CLASS_OTHER;
	struct error err;

	if (!g->edge)
		return is_unknown_user(&e->senders.refusal) ? CONFIG_RELAY_RECIPIENT_MAPS
							    : CONFIG_RELAY_DOMAINS;
	if (e->senders.is_sender_refused)
		return CONFIG_SMTPD_SENDER_LOGIN_MAPS;
	edge_classify(g->edge, smtp_address_domain(e->family->recipient), &class, &err);
	if (class == EDGE_CLASS_LOCAL)
		return CONFIG_LOCAL_RECIPIENT_MAPS;
	if (class == EDGE_CLASS_ALIAS)
		return CONFIG_VIRTUAL_ALIAS_MAPS;
	if (class == EDGE_CLASS_RELAY && is_unknown_user(&e->senders.refusal))
		return CONFIG_RELAY_RECIPIENT_MAPS;
	if (class != EDGE_CLASS_MAILBOX)
		return CONFIG_MYNETWORKS;
	return maps && maps[0] ? CONFIG_VIRTUAL_MAILBOX_MAPS : CONFIG_SMTPD_SASL_PASSDB;
}

/* Where no client at all may send it, it never comes to a route. */
static void refuse(const struct generation *g, struct explanation *e)
{
	const struct explain_senders *s = &e->senders;
	bool is_for_some = s->networks || s->certificates;

	if (s->anybody || s->users || (is_for_some && e->error))
		return;
	e->error = explain_status_text(&e->arena, &s->refusal);
	if (is_for_some)
		return;
	e->source = config_source(g->config, refused_by(g, e));
	e->action = smtp_status_class(&s->refusal) == SMTP_FAILED ? EXPLAIN_ERROR : EXPLAIN_RETRY;
}

int explain_address(const struct generation *g, const struct explain_family *family,
		    const char *address, const char *sender, struct explanation *e,
		    struct error *err)
{
	int r;

	*e = (struct explanation){ .address = address, .sender = sender, .family = family };
	r = find_route(g, e, err);
	if (r < 0)
		return r;
	find_senders(g, e);
	explain_recipient(g, e);
	if (e->action == EXPLAIN_LOCAL)
		find_mailbox(g, e);
	refuse(g, e);
	if (family->error && e->action != EXPLAIN_ERROR) {
		e->action = EXPLAIN_RETRY;
		e->error = family->error;
	}
	if (explain_is_relayed(e))
		find_hops(g, e);
	return 0;
}

/*
 * Where the server would listen, so that a probe stops where delivery does;
 * nothing is bound.
 */
static struct mta_options with_listeners(const struct generation *g, struct explanation *e)
{
	struct mta_options options = g->options;
	unsigned int count;
	const struct config_listener *listeners = config_listeners(g->config, &count);
	struct mta_service *services = arena_alloc(&e->arena, count * sizeof(*services));

	for (unsigned int i = 0; i < count; i++)
		services[i] = (struct mta_service){ .kind = listeners[i].kind,
						    .fd = -1,
						    .address = listeners[i].address };
	options.services = services;
	options.service_count = count;
	return options;
}

int explain_probe(const struct generation *g, struct explanation *e, struct error *err)
{
	const struct mta_options options = with_listeners(g, e);

	e->is_probed = true;
	for (unsigned int i = 0; i < e->hop_count; i++) {
		int r;

		e->hops[i].probe = arena_alloc(&e->arena, sizeof(struct probe_result));
		r = probe_next_hop(&options, e->route, i, e->hops[i].login != NULL,
				   PROBE_TIMEOUT_MS, e->hops[i].probe, err);
		if (r < 0)
			return r;
	}
	return 0;
}

bool explain_is_failing(const struct explanation *e)
{
	for (unsigned int i = 0; i < e->hop_count; i++)
		if (e->hops[i].probe && !e->hops[i].probe->ok)
			return true;
	return false;
}

void explain_done(struct explanation *e)
{
	for (unsigned int i = 0; i < e->hop_count; i++)
		if (e->hops[i].probe)
			probe_result_done(e->hops[i].probe);
	transport_route_unref(e->route);
	arena_done(&e->arena);
}
