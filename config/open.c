/*
 * Each function opens one thing that the file names and reports what is wrong
 * with it; none stops the others. Values that are faulty are NULL and skipped,
 * since their fault was reported when the file was read.
 */
#include "config/state.h"

#include <errno.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "edge/maildir.h"
#include "smtp/domain.h"

/* The text of one without a line says itself what it is about. */
void config_on_finding(void *arg, bool is_error, const char *source, const char *text)
{
	const struct config_finder *finder = arg;

	config_report_source(finder->config, finder->id, is_error ? CONFIG_ERROR : CONFIG_WARNING,
			     source, text);
}

void config_open_specs(struct config *c, enum config_parameter_id id, const char *specs,
		       struct maps **ret)
{
	struct config_finder finder = { c, id };

	if (specs && maps_open(slice_from(specs), c->directory, ret, NULL) < 0)
		maps_diagnose(slice_from(specs), c->directory, config_on_finding, &finder);
	for (size_t i = 0; *ret && i < maps_count(*ret); i++)
		config_check_map_readable(c, id, maps_at(*ret, i));
}

void config_open_maps(struct config *c, enum config_parameter_id id, struct maps **ret)
{
	config_open_specs(c, id, config_given_value(c, id), ret);
}

/* What a client writes must not choose a route or a path, by $1 of a pattern. */
void config_refuse_substitutions(struct config *c, enum config_parameter_id id, struct maps *maps)
{
	struct config_finder finder = { c, id };

	for (size_t i = 0; maps && i < maps_count(maps); i++)
		map_refuse_substitutions(maps_at(maps, i), config_on_finding, &finder);
}

void config_check_maps(struct config *c, enum config_parameter_id id, struct maps *maps)
{
	struct config_finder finder = { c, id };

	for (size_t i = 0; maps && i < maps_count(maps); i++)
		map_check(maps_at(maps, i), config_on_finding, &finder);
}

/* A domain of a list as it is asked for (smtp/domain.h); anything else is left as it stands. */
static void append_entry(struct config *c, struct buf *out, struct slice entry)
{
	size_t mark = 0;
	const char *ascii;

	while (mark < entry.len && (entry.ptr[mark] == '!' || entry.ptr[mark] == '.'))
		mark++;
	ascii = slice_find(entry, ':') == entry.len
			? smtp_domain_ascii(&c->arena, slice_skip(entry, mark))
			: NULL;
	buf_append_slice(out, ascii ? slice_first(entry, mark) : entry);
	buf_append_string(out, ascii ? ascii : "");
}

static const char *spell_domains(struct config *c, struct slice list)
{
	struct buf out = { 0 };
	const char *spelled;

	if (utf8_is_ascii(list))
		return arena_slicedup(&c->arena, list);
	while (list.len > 0) {
		size_t len = 0;

		while (len < list.len && !strchr(", \t\r\n{}=", list.ptr[len]))
			len++;
		append_entry(c, &out, slice_first(list, len));
		buf_append_slice(&out, slice_first(slice_skip(list, len), 1));
		list = slice_skip(list, len + 1);
	}
	spelled = arena_slicedup(&c->arena, buf_slice(&out));
	buf_done(&out);
	return spelled;
}

void config_open_domains(struct config *c, enum config_parameter_id id, struct domains **ret)
{
	const char *list = config_value(c, id);
	struct config_finder finder = { c, id };

	if (list)
		list = spell_domains(c, slice_from(list));

	if (list && domains_open(slice_from(list), c->directory, ret, NULL) < 0)
		domains_diagnose(slice_from(list), c->directory, config_on_finding, &finder);
	for (size_t i = 0; *ret && i < domains_map_count(*ret); i++) {
		config_check_map_readable(c, id, domains_map_at(*ret, i));
		map_check(domains_map_at(*ret, i), config_on_finding, &finder);
	}
}

/* A map_validate for the paths of mailboxes. */
static int validate_mailbox(void *arg, const char *value, const char *source, struct error *err)
{
	size_t len = strlen(value);

	(void)arg;
	(void)source;
	if (len == 0 || value[len - 1] != '/')
		return error_set(err, -EINVAL,
				 "%s: expected a Maildir, with a trailing /; others are not "
				 "available in this version",
				 value);
	if (!maildir_path_is_safe(value))
		return error_set(err, -EINVAL,
				 "%s: expected a path below virtual_mailbox_base, without ..",
				 value);
	return 0;
}

static int visit_mailbox(void *arg, const char *key, const char *value, const char *source)
{
	struct error err = { 0 };

	(void)key;
	if (validate_mailbox(NULL, value, source, &err) < 0)
		config_on_finding(arg, true, source, err.text);
	return 0;
}

/* Whether it has an address that no host has: the last of a reserved class, or discarded (RFC 6666). */
static bool has_nobody(struct map *map)
{
	static const char *const nobody[] = { "255.255.255.254", "100::1" };
	bool has = false;

	for (size_t i = 0; i < ARRAY_SIZE(nobody) && !has; i++) {
		struct arena arena = { 0 };
		struct map_result result;
		struct error err;

		has = map_lookup(map, slice_from(nobody[i]), &arena, &result, &err) == MAP_FOUND;
		arena_done(&arena);
	}
	return has;
}

static void check_network_map(struct config *c, struct map *map)
{
	struct config_finder finder = { c, CONFIG_MYNETWORKS };

	if (map_has_every_key(map))
		config_on_finding(&finder, true, map_spec(map), "would let anybody relay");
	else if (has_nobody(map))
		config_on_finding(&finder, false, map_spec(map), "seems to let anybody relay");
}

static void open_networks(struct config *c)
{
	struct config_networks *n = &c->networks, *e = &c->limit_exceptions;

	config_open_specs(c, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS, e->specs, &e->maps);
	config_check_maps(c, CONFIG_SMTPD_CLIENT_EVENT_LIMIT_EXCEPTIONS, e->maps);
	config_open_specs(c, CONFIG_MYNETWORKS, n->specs, &n->maps);
	config_check_maps(c, CONFIG_MYNETWORKS, n->maps);
	for (size_t i = 0; n->maps && i < maps_count(n->maps); i++)
		check_network_map(c, maps_at(n->maps, i));
	for (unsigned int i = 0; i < n->count; i++)
		if (n->prefixes[i].bits == 0)
			config_report_setting(c, CONFIG_MYNETWORKS, CONFIG_WARNING,
					      "a prefix length of 0 lets anybody relay");
}

static void open_mailboxes(struct config *c)
{
	struct config_finder finder = { c, CONFIG_VIRTUAL_MAILBOX_MAPS };

	config_open_domains(c, CONFIG_VIRTUAL_MAILBOX_DOMAINS, &c->mailbox_domains);
	config_open_maps(c, CONFIG_VIRTUAL_MAILBOX_MAPS, &c->mailbox_maps);
	config_refuse_substitutions(c, CONFIG_VIRTUAL_MAILBOX_MAPS, c->mailbox_maps);
	for (size_t i = 0; c->mailbox_maps && i < maps_count(c->mailbox_maps); i++) {
		map_visit(maps_at(c->mailbox_maps, i), visit_mailbox, &finder);
		map_set_validate(maps_at(c->mailbox_maps, i), validate_mailbox, NULL);
	}
	config_check_maps(c, CONFIG_VIRTUAL_MAILBOX_MAPS, c->mailbox_maps);
	config_open_maps(c, CONFIG_SMTPD_SENDER_LOGIN_MAPS, &c->sender_login_maps);
	config_check_maps(c, CONFIG_SMTPD_SENDER_LOGIN_MAPS, c->sender_login_maps);
}

enum config_severity config_secret_severity(const struct config *c, const struct error *err)
{
	bool is_forbidden = err->code == -EACCES || err->code == -EPERM;

	return c->is_only_asked && is_forbidden ? CONFIG_WARNING : CONFIG_ERROR;
}

/* With a relayhost it is never used; a fault in it is one all the same. */
static void check_default_transport(struct config *c)
{
	const struct config_setting *setting = &c->settings[CONFIG_DEFAULT_TRANSPORT];
	const struct transport_route *route = NULL;
	struct error err = { 0 };

	if (!config_given_value(c, CONFIG_RELAYHOST) || setting->state != SETTING_READY)
		return;
	if (transport_parse(&c->transport, setting->value, setting->source, &route, &err) < 0)
		config_report_file(c, CONFIG_DEFAULT_TRANSPORT, CONFIG_ERROR, err.text);
	transport_route_unref(route);
}

/*
 * A new version of a transport map with a bad line will be refused, so the
 * options that lines are judged by must live as long as the maps.
 */
static void open_transport(struct config *c)
{
	struct config_finder routes = { c, CONFIG_TRANSPORT_MAPS };
	struct config_finder policies = { c, CONFIG_SMTP_TLS_POLICY_MAPS };

	config_open_maps(c, CONFIG_TRANSPORT_MAPS, &c->transport_maps);
	config_refuse_substitutions(c, CONFIG_TRANSPORT_MAPS, c->transport_maps);
	config_open_maps(c, CONFIG_SMTP_TLS_POLICY_MAPS, &c->tls_policy_maps);
	config_transport_options(c, &c->transport);
	transport_check(&c->transport, config_on_finding, &routes);
	transport_check_policies(&c->transport, config_on_finding, &policies);
	check_default_transport(c);
	transport_guard_maps(&c->transport);
}

/* What the account that the server runs as needs. */
static void check_account(struct config *c)
{
	config_check_user(c);
	config_check_file_readable(c);
	config_check_directory(c, CONFIG_QUEUE_DIRECTORY);
	config_check_queue_files(c);
	config_check_drop_directory(c);
	config_check_directory(c, CONFIG_RUN_DIRECTORY);
}

static void check_mailbox_base(struct config *c)
{
	if (!c->is_only_asked && !config_is_given(c, CONFIG_VIRTUAL_UID_MAPS) &&
	    config_has_mailboxes(c))
		config_check_directory(c, CONFIG_VIRTUAL_MAILBOX_BASE);
}

static void open_all(struct config *config)
{
	if (config->settings[CONFIG_MODE].state == SETTING_UNREAD)
		return; /* there was no file */
	if (!config->is_only_asked)
		check_account(config);
	config_open_certificates(config);
	config_open_clients(config);
	open_networks(config);
	config_open_domains(config, CONFIG_RELAY_DOMAINS, &config->relay_domains);
	config_check_relay_domains(config);
	config_open_domains(config, CONFIG_RELAY_RECIPIENT_VERIFY, &config->verified_domains);
	config_open_maps(config, CONFIG_RELAY_RECIPIENT_MAPS, &config->relay_recipient_maps);
	config_check_maps(config, CONFIG_RELAY_RECIPIENT_MAPS, config->relay_recipient_maps);
	open_mailboxes(config);
	config_open_addresses(config);
	config_open_owners(config);
	config_check_accounts(config);
	open_transport(config);
	check_mailbox_base(config);
	config_check_reach(config);
	config_check_verified(config);
	config_open_logins(config);
	config_sort_problems(config);
}

void config_open(struct config *config)
{
	open_all(config);
}

void config_open_to_ask(struct config *config)
{
	config->is_only_asked = true;
	open_all(config);
}

void config_open_anew(struct config *config, const struct config *running)
{
	config->running = running;
	if (config->settings[CONFIG_MODE].state != SETTING_UNREAD)
		config_check_fixed(config);
	open_all(config);
	config->running = NULL;
}
