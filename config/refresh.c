/*
 * Maps look at their files themselves; what they find is told here in the
 * terms of the configuration. Nothing is added to the config: this runs every
 * second for as long as the server does.
 */
#include "config/state.h"

#include "base/escape.h"
#include "transport/compare.h"

#define WEAKER_MAX 20 /* routes that are told one by one */

struct refresh {
	struct config *config;
	void (*report)(void *arg, const struct config_problem *problem);
	void *arg;
};

static void tell(const struct refresh *refresh, enum config_parameter_id id,
		 enum config_severity severity, const char *text)
{
	const struct config_setting *setting = &refresh->config->settings[id];
	char escaped[1024];
	struct config_problem problem = {
		.file = refresh->config->file,
		.line = setting->line ? setting->line : 1,
		.severity = severity,
		.text = escape_cstr(slice_from(text), escaped, sizeof(escaped)),
	};

	refresh->report(refresh->arg, &problem);
}

static void tell_failure(const struct refresh *refresh, enum config_parameter_id id,
			 struct error *err)
{
	error_prefix(err, "%s", config_schema[id].name);
	tell(refresh, id, CONFIG_ERROR, err->text);
}

static void tell_change(const struct refresh *refresh, enum config_parameter_id id,
			const char *what)
{
	char text[512];

	snprintf(text, sizeof(text), "%s: %s has changed and was taken up", config_schema[id].name,
		 what);
	tell(refresh, id, CONFIG_NOTICE, text);
}

/* Whether it has changed. */
static bool refresh_map(const struct refresh *refresh, enum config_parameter_id id, struct map *map)
{
	struct error err = { 0 };
	int r = map_refresh(map, &err);

	if (r < 0 && id == CONFIG_SMTP_SASL_PASSWORD_MAPS)
		config_hide_secret(&err);
	if (r < 0)
		tell_failure(refresh, id, &err);
	if (r == 0)
		tell_change(refresh, id, map_spec(map));
	return r == 0;
}

static bool refresh_maps(const struct refresh *refresh, enum config_parameter_id id,
			 struct maps *maps)
{
	bool changed = false;

	for (size_t i = 0; maps && i < maps_count(maps); i++)
		changed |= refresh_map(refresh, id, maps_at(maps, i));
	return changed;
}

static void refresh_clients(const struct refresh *refresh, const struct clientcerts *list)
{
	for (size_t i = 0; list && i < clientcerts_map_count(list); i++)
		refresh_map(refresh, CONFIG_RELAY_CLIENTCERTS, clientcerts_map_at(list, i));
}

static void refresh_domains(const struct refresh *refresh, enum config_parameter_id id,
			    struct domains *domains)
{
	struct error err = { 0 };
	int r = domains ? domains_refresh(domains, &err) : MAP_NOT_CHANGED;

	if (r < 0)
		tell_failure(refresh, id, &err);
	if (r == 0)
		tell_change(refresh, id, config_value(refresh->config, id));
}

/* By default they are virtual_alias_maps, of which all is told already. */
static void refresh_alias_domains(const struct refresh *refresh)
{
	struct config *config = refresh->config;

	if (config_is_given(config, CONFIG_VIRTUAL_ALIAS_DOMAINS))
		refresh_domains(refresh, CONFIG_VIRTUAL_ALIAS_DOMAINS, config->alias_domains);
	else if (config->alias_domains)
		domains_refresh(config->alias_domains, NULL);
}

struct weaker {
	const struct refresh *refresh;
	enum config_parameter_id id; /* whose maps have changed */
	unsigned int count;
};

static void note_change(void *arg, const struct transport_change *change)
{
	struct weaker *weaker = arg;
	struct buf text = { 0 };

	if (!change->is_weaker || weaker->count++ >= WEAKER_MAX)
		return;
	buf_printf(&text, "%s: ", config_schema[weaker->id].name);
	transport_change_format(change, &text);
	buf_append(&text, "", 1);
	tell(weaker->refresh, weaker->id, CONFIG_WARNING, buf_slice(&text).ptr);
	buf_done(&text);
}

static void tell_weaker(const struct refresh *refresh, enum config_parameter_id id,
			const struct transport_options *before)
{
	struct weaker weaker = { refresh, id, 0 };
	struct error err = { 0 };
	char text[100];

	if (transport_compare(before, &refresh->config->transport, note_change, &weaker, &err) < 0)
		tell_failure(refresh, id, &err);
	if (weaker.count > WEAKER_MAX) {
		snprintf(text, sizeof(text), "%s: %u more routes are weaker now",
			 config_schema[id].name, weaker.count - WEAKER_MAX);
		tell(refresh, id, CONFIG_WARNING, text);
	}
}

/*
 * A changed map is taken up by itself, also where its author has taken TLS
 * away: it is the line of a route that says what the route gets. But he shall
 * see what he did. The two kinds of maps are compared one after the other, so
 * that it is clear which of them did it.
 */
static void refresh_routes(const struct refresh *refresh)
{
	const struct transport_options *now = &refresh->config->transport;
	struct transport_options before = *now;

	if (now->transport_maps) {
		before.transport_maps = maps_copy(now->transport_maps);
		if (refresh_maps(refresh, CONFIG_TRANSPORT_MAPS, now->transport_maps))
			tell_weaker(refresh, CONFIG_TRANSPORT_MAPS, &before);
		maps_free(before.transport_maps);
		before.transport_maps = now->transport_maps;
	}
	if (now->tls_policy_maps) {
		before.tls_policy_maps = maps_copy(now->tls_policy_maps);
		if (refresh_maps(refresh, CONFIG_SMTP_TLS_POLICY_MAPS, now->tls_policy_maps))
			tell_weaker(refresh, CONFIG_SMTP_TLS_POLICY_MAPS, &before);
		maps_free(before.tls_policy_maps);
	}
}

void config_refresh(struct config *config,
		    void (*report)(void *arg, const struct config_problem *problem), void *arg)
{
	const struct refresh refresh = { config, report, arg };

	refresh_domains(&refresh, CONFIG_RELAY_DOMAINS, config->relay_domains);
	refresh_domains(&refresh, CONFIG_RELAY_RECIPIENT_VERIFY, config->verified_domains);
	refresh_maps(&refresh, CONFIG_RELAY_RECIPIENT_MAPS, config->relay_recipient_maps);
	refresh_clients(&refresh, config->relay_clientcerts);
	refresh_domains(&refresh, CONFIG_VIRTUAL_MAILBOX_DOMAINS, config->mailbox_domains);
	refresh_maps(&refresh, CONFIG_VIRTUAL_MAILBOX_MAPS, config->mailbox_maps);
	refresh_domains(&refresh, CONFIG_MYDESTINATION, config->local_domains);
	refresh_maps(&refresh, CONFIG_VIRTUAL_ALIAS_MAPS, config->virtual_aliases);
	refresh_alias_domains(&refresh);
	refresh_maps(&refresh, CONFIG_ALIAS_MAPS, config->local_aliases);
	refresh_maps(&refresh, CONFIG_LOCAL_RECIPIENT_MAPS, config->local_recipients);
	refresh_maps(&refresh, CONFIG_VIRTUAL_UID_MAPS, config->uid_maps);
	refresh_maps(&refresh, CONFIG_VIRTUAL_GID_MAPS, config->gid_maps);
	refresh_maps(&refresh, CONFIG_SMTPD_SENDER_LOGIN_MAPS, config->sender_login_maps);
	refresh_maps(&refresh, CONFIG_MYNETWORKS, config->networks.maps);
	refresh_maps(&refresh, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS,
		     config->limit_exceptions.maps);
	refresh_maps(&refresh, CONFIG_SMTP_SASL_PASSWORD_MAPS, config->password_maps);
	refresh_routes(&refresh);
}
