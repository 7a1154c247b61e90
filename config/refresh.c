/*
 * Maps look at their files themselves; what they find is told here in the
 * terms of the configuration. Nothing is added to the config: this runs every
 * second for as long as the server does.
 */
#include "config/state.h"

#include "base/escape.h"

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

static void refresh_maps(const struct refresh *refresh, enum config_parameter_id id,
			 struct maps *maps)
{
	for (size_t i = 0; maps && i < maps_count(maps); i++) {
		struct map *map = maps_at(maps, i);
		struct error err = { 0 };
		int r = map_refresh(map, &err);

		if (r < 0)
			tell_failure(refresh, id, &err);
		if (r == 0)
			tell_change(refresh, id, map_spec(map));
	}
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

void config_refresh(struct config *config,
		    void (*report)(void *arg, const struct config_problem *problem), void *arg)
{
	const struct refresh refresh = { config, report, arg };

	refresh_domains(&refresh, CONFIG_RELAY_DOMAINS, config->relay_domains);
	refresh_domains(&refresh, CONFIG_VIRTUAL_MAILBOX_DOMAINS, config->mailbox_domains);
	refresh_maps(&refresh, CONFIG_VIRTUAL_MAILBOX_MAPS, config->mailbox_maps);
	refresh_maps(&refresh, CONFIG_SMTPD_SENDER_LOGIN_MAPS, config->sender_login_maps);
	refresh_maps(&refresh, CONFIG_TRANSPORT_MAPS, config->transport_maps);
}
