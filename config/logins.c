/*
 * Logins at next hops. Whatever is told of the password maps here goes to a
 * terminal or a log, and so may quote no line: one that is malformed may well have
 * its password where a key is expected.
 */
#include "config/state.h"

#include <errno.h>

#define MALFORMED "malformed (not shown, for the password in it); expected \"KEY USER:PASSWORD\""

#define NOT_SHOWN "(not shown, for the passwords in it)"

static bool is_yes(const struct config *c, enum config_parameter_id id)
{
	const char *value = config_value(c, id);

	return value && strcmp(value, "yes") == 0;
}

static bool is_quoting(const char *text)
{
	return strchr(text, '"') != NULL;
}

void config_hide_secret(struct error *err)
{
	const char *text = strstr(err->text, ": ");
	struct error hidden = *err;

	if (!is_quoting(err->text))
		return;
	error_set(&hidden, err->code, "%.*s: " MALFORMED, text ? (int)(text - err->text) : 0,
		  err->text);
	*err = hidden;
}

static void report(struct config *c, enum config_severity severity, const char *source,
		   const char *text)
{
	config_report_source(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, severity, source, text);
}

/*
 * TYPE:FILE, or FILE:LINE of such a file. All else is a map that stands in the
 * configuration, or was meant as one, and is called by what is in it.
 */
static bool is_file(struct config *c, const char *source)
{
	const char *specs = config_value(c, CONFIG_SMTP_SASL_PASSWORD_MAPS);
	const char *colon = strrchr(source, ':');

	return map_spec_names_file(slice_from(source)) ||
	       (colon &&
		strstr(specs, arena_printf(&c->arena, ":%.*s", (int)(colon - source), source)));
}

static void on_finding(void *arg, bool is_error, const char *source, const char *text)
{
	bool is_of_file = is_file(arg, source);
	bool is_hidden = is_of_file ? is_error && is_quoting(text) : is_error || is_quoting(text);

	report(arg, is_error ? CONFIG_ERROR : CONFIG_WARNING, is_of_file ? source : "a map",
	       is_hidden ? MALFORMED : text);
}

struct checked_map {
	struct config *config;
	struct map *map;
};

/* Without a file, the source of an entry may have the value in it. */
static void report_entry(const struct checked_map *checked, const char *source, const char *text)
{
	report(checked->config, CONFIG_WARNING, map_file(checked->map) ? source : "a map", text);
}

static int check_entry(void *arg, const char *key, const char *value, const char *source)
{
	const struct checked_map *checked = arg;
	bool is_by_sender = is_yes(checked->config, CONFIG_SMTP_SENDER_DEPENDENT_AUTHENTICATION);

	if (!credentials_are_complete(value) && value[0] != ':')
		report_entry(checked, source,
			     "expected USER:PASSWORD; this says that nobody logs in there, for "
			     "which \":\" is better to read");
	if (strchr(key, '@') && !is_by_sender)
		report_entry(checked, source,
			     "a key of senders; it needs smtp_sender_dependent_authentication = "
			     "yes");
	return 0;
}

static void check_map(struct config *c, struct map *map)
{
	const char *file = map_file(map), *database = map_database(map, &c->arena);
	struct checked_map checked = { c, map };

	map_visit(map, check_entry, &checked);
	map_check(map, on_finding, c);
	config_check_map_readable(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, map);
	config_check_passwords(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, file ? file : c->file);
	if (database)
		config_check_passwords(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, database);
}

/* Each map by its type and its file, where it has one. */
static const char *name_maps(struct config *c, const char *specs)
{
	struct slice rest = slice_from(specs), item;
	struct buf out = { 0 };
	const char *names;
	int r;

	while ((r = map_list_next(&rest, &item, NULL)) != 0) {
		bool has_file = r > 0 && map_spec_names_file(item);

		if (buf_len(&out) > 0)
			buf_append_string(&out, ", ");
		buf_append_slice(&out, has_file ? item : SLICE(NOT_SHOWN));
	}
	names = arena_slicedup(&c->arena, buf_slice(&out));
	buf_done(&out);
	return names;
}

const char *config_shown_value(struct config *c, enum config_parameter_id id)
{
	const char *value = config_value(c, id);

	return id == CONFIG_SMTP_SASL_PASSWORD_MAPS && value && value[0] ? name_maps(c, value)
									 : value;
}

static void open_maps(struct config *c, const char *specs)
{
	struct error err = { 0 };
	int r = maps_open(slice_from(specs), c->directory, &c->password_maps, &err);

	if (r >= 0)
		return;
	if (config_secret_severity(c, &err) == CONFIG_WARNING)
		config_report_file(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, CONFIG_WARNING, err.text);
	else
		maps_diagnose(slice_from(specs), c->directory, on_finding, c);
}

/* ---- routes that a login makes useless ---- */

static void report_clear(struct config *c, const struct transport_route *route,
			 const struct transport_hop *hop, const char *login_source)
{
	bool is_none = route->tls.level == TLS_LEVEL_NONE;
	char text[512];

	snprintf(text, sizeof(text),
		 "%.150s has a login (%.150s), and passwords are not sent without TLS: at level %s "
		 "mail %s; expected encrypt or above",
		 hop->text, login_source, tls_level_name(route->tls.level),
		 is_none ? "waits for ever" : "waits where the peer has no TLS");
	config_report_source(c, CONFIG_SMTP_SASL_PASSWORD_MAPS,
			     is_none ? CONFIG_ERROR : CONFIG_WARNING, route->source, text);
}

static void check_route(struct config *c, const struct transport_route *route)
{
	struct credentials_options options = { .password_maps = c->password_maps };

	if (!credentials_may_apply(&options, route) || route->mode == TLS_MODE_IMPLICIT ||
	    route->tls.level > TLS_LEVEL_MAY)
		return;
	for (unsigned int i = 0; i < route->hop_count; i++) {
		struct credentials found;
		struct error err;

		if (credentials_find(&options, "", &route->hops[i], NULL, NULL, &found, &err) ==
		    MAP_FOUND)
			report_clear(c, route, &route->hops[i], found.source);
		credentials_done(&found);
	}
}

struct asker {
	struct config *config;
	struct transport *transport;
};

/* The route of an address, as delivery gets it. */
static void check_address(const struct asker *asker, const char *address)
{
	const struct transport_route *route = NULL;

	if (transport_resolve(asker->transport, address, &route, NULL) < 0)
		return;
	check_route(asker->config, route);
	transport_route_unref(route);
}

/* An address that the key of a line is found for, and most often by. */
static int visit_route(void *arg, const char *key, const char *value, const char *source)
{
	char address[512];

	(void)value;
	(void)source;
	if (strchr(key, '@'))
		snprintf(address, sizeof(address), "%.500s", key);
	else if (strcmp(key, "*") == 0)
		snprintf(address, sizeof(address), "user@any.invalid");
	else
		snprintf(address, sizeof(address), "user@%s%.400s", key[0] == '.' ? "any" : "",
			 key);
	check_address(arg, address);
	return 0;
}

static void check_routes(struct config *c)
{
	struct transport_options without_maps = c->transport;
	struct asker asker = { .config = c };
	struct maps *maps = c->transport_maps;

	if (maps && transport_new(&c->transport, &asker.transport, NULL) == 0)
		for (size_t i = 0; i < maps_count(maps); i++)
			map_visit(maps_at(maps, i), visit_route, &asker);
	transport_free(asker.transport);

	asker.transport = NULL;
	without_maps.transport_maps = NULL;
	if (transport_new(&without_maps, &asker.transport, NULL) == 0)
		check_address(&asker, "user@any.invalid");
	transport_free(asker.transport);
}

/* ---- all of it ---- */

void config_open_logins(struct config *c)
{
	const char *specs = config_given_value(c, CONFIG_SMTP_SASL_PASSWORD_MAPS);
	struct error err = { 0 };

	if (!specs || !is_yes(c, CONFIG_SMTP_SASL_AUTH_ENABLE))
		return;
	open_maps(c, specs);
	for (size_t i = 0; c->password_maps && i < maps_count(c->password_maps); i++)
		check_map(c, maps_at(c->password_maps, i));
	if (c->password_maps)
		check_routes(c);
	if (sasl_new(&c->sasl, &err) < 0)
		config_report_setting(c, CONFIG_SMTP_SASL_AUTH_ENABLE, CONFIG_ERROR, "%s",
				      err.text);
}

void config_check_logins(struct config *c)
{
	const char *filter = config_value(c, CONFIG_SMTP_SASL_MECHANISM_FILTER);
	bool is_enabled = is_yes(c, CONFIG_SMTP_SASL_AUTH_ENABLE);

	if (is_enabled && !config_given_value(c, CONFIG_SMTP_SASL_PASSWORD_MAPS))
		config_report_setting(c, CONFIG_SMTP_SASL_AUTH_ENABLE, CONFIG_ERROR,
				      "yes: there are no passwords; set smtp_sasl_password_maps");
	if (!is_enabled && config_value(c, CONFIG_SMTP_SASL_AUTH_ENABLE) &&
	    config_given_value(c, CONFIG_SMTP_SASL_PASSWORD_MAPS))
		config_report_setting(c, CONFIG_SMTP_SASL_PASSWORD_MAPS, CONFIG_WARNING,
				      "nobody logs in, as smtp_sasl_auth_enable = no");
	if (filter && !sasl_filter_admits_any(filter))
		config_report_setting(c, CONFIG_SMTP_SASL_MECHANISM_FILTER, CONFIG_ERROR,
				      "%s: leaves no mechanism; put static:all behind exclusions",
				      filter);
}

void config_credentials_options(const struct config *c, struct credentials_options *ret)
{
	*ret = (struct credentials_options){
		.password_maps = c->password_maps,
		.by_sender = config_bool(c, CONFIG_SMTP_SENDER_DEPENDENT_AUTHENTICATION),
		.recipient_delimiter = config_value(c, CONFIG_RECIPIENT_DELIMITER),
		.mechanism_filter = config_value(c, CONFIG_SMTP_SASL_MECHANISM_FILTER),
		.sasl = c->sasl,
	};
}
