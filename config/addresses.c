/*
 * addresses - aliases, and the domains whose users are accounts of this host
 *
 * An alias that says what cannot be done here (a command, a file) is an error,
 * also in a new version of its file: what it stands for would get no mail, and
 * nobody would know. Circles are none: each address in one counts once.
 */
#include "config/state.h"

#include <errno.h>

#include "base/macros.h"
#include "edge/includes.h"
#include "edge/members.h"
#include "mta/domain_list.h"

static const char *const system_users[] = { "unix:passwd.byname", "proxy:unix:passwd.byname" };

/* ---- what aliases stand for ---- */

static int check_file(const struct member *member, struct error *err)
{
	struct error why;
	int r = member->kind == MEMBER_INCLUDE ? include_check(member->text, &why) : 0;

	return r < 0 ? error_set(err, r, ":include:%s", why.text) : 0;
}

/* Each member of a line; arg is whether it may name files to include. */
static int validate_alias(void *arg, const char *value, const char *source, struct error *err)
{
	struct slice rest = slice_from(value);
	struct arena arena = { 0 };
	struct member member;
	bool is_local = arg != NULL;
	int count = 0, r;

	(void)source;
	while ((r = members_next(&rest, &arena, &member, err)) > 0) {
		r = member_check(&member, err);
		if (r == 0 && member.kind == MEMBER_INCLUDE && !is_local)
			r = error_set(err, -ENOTSUP, ":include:%s: is for alias_maps only",
				      member.text);
		if (r == 0)
			r = check_file(&member, err);
		if (r < 0)
			break;
		count++;
	}
	if (r == 0 && count == 0)
		r = error_set(err, -EINVAL, "\"%s\": expected addresses", value);
	arena_done(&arena);
	return r;
}

/* A new version is refused with its line. */
static int validate_changed(void *arg, const char *value, const char *source, struct error *err)
{
	int r = validate_alias(arg, value, source, err);

	if (r < 0)
		error_prefix(err, "%s", source);
	return r;
}

static int visit_alias(void *arg, const char *key, const char *value, const char *source)
{
	struct config_finder *finder = arg;
	bool is_local = finder->id == CONFIG_ALIAS_MAPS;
	struct error err = { 0 };

	(void)key;
	if (validate_alias(is_local ? arg : NULL, value, source, &err) < 0)
		config_on_finding(finder, true, source, err.text);
	return 0;
}

static int visit_include(void *arg, const char *key, const char *value, const char *source)
{
	struct slice rest = slice_from(value);
	struct arena arena = { 0 };
	struct member member;

	(void)key;
	(void)source;
	while (members_next(&rest, &arena, &member, NULL) > 0)
		if (member.kind == MEMBER_INCLUDE)
			config_check_readable(arg, CONFIG_ALIAS_MAPS, member.text);
	arena_done(&arena);
	return 0;
}

static void check_aliases(struct config *c, enum config_parameter_id id, struct maps *maps)
{
	struct config_finder finder = { c, id };
	bool is_local = id == CONFIG_ALIAS_MAPS;

	config_check_maps(c, id, maps);
	for (size_t i = 0; maps && i < maps_count(maps); i++) {
		struct map *map = maps_at(maps, i);

		/* Of a pattern only the result can be judged, which is not there yet. */
		if (!map_is_pattern(map)) {
			map_visit(map, visit_alias, &finder);
			map_set_validate(map, validate_changed, is_local ? map : NULL);
		}
		if (is_local)
			map_visit(map, visit_include, c);
	}
}

static void open_local_aliases(struct config *c)
{
	struct config_finder finder = { c, CONFIG_ALIAS_MAPS };
	const char *specs = config_given_value(c, CONFIG_ALIAS_MAPS);

	if (specs &&
	    maps_open_aliases(slice_from(specs), c->directory, &c->local_aliases, NULL) < 0)
		maps_diagnose_aliases(slice_from(specs), c->directory, config_on_finding, &finder);
	for (size_t i = 0; c->local_aliases && i < maps_count(c->local_aliases); i++)
		config_check_map_readable(c, CONFIG_ALIAS_MAPS, maps_at(c->local_aliases, i));
	config_refuse_substitutions(c, CONFIG_ALIAS_MAPS, c->local_aliases);
	check_aliases(c, CONFIG_ALIAS_MAPS, c->local_aliases);
}

/* ---- local_recipient_maps ---- */

static bool is_system_users(struct slice item)
{
	for (size_t i = 0; i < ARRAY_SIZE(system_users); i++)
		if (slice_equal(item, slice_from(system_users[i])))
			return true;
	return false;
}

/* Whether alias_maps have this map, which has been opened as such then. */
static bool is_alias_map(const struct config *c, struct slice item)
{
	for (size_t i = 0; c->local_aliases && i < maps_count(c->local_aliases); i++)
		if (slice_equal(item, slice_from(map_spec(maps_at(c->local_aliases, i)))))
			return true;
	return false;
}

static void open_local_recipients(struct config *c)
{
	const char *value = config_given_value(c, CONFIG_LOCAL_RECIPIENT_MAPS);
	struct slice rest = slice_from(value), item;
	struct buf others = { 0 };

	c->knows_no_locals = !value && config_is_given(c, CONFIG_LOCAL_RECIPIENT_MAPS);
	while (value && map_list_next(&rest, &item, NULL) > 0) {
		if (is_system_users(item)) {
			c->has_system_users = true;
		} else if (!is_alias_map(c, item)) {
			buf_append_slice(&others, item);
			buf_append_string(&others, " ");
		}
	}
	/* Where alias_maps could not be opened that has been told. */
	if (buf_len(&others) > 0 && config_is_given(c, CONFIG_LOCAL_RECIPIENT_MAPS))
		config_open_specs(c, CONFIG_LOCAL_RECIPIENT_MAPS,
				  arena_slicedup(&c->arena, buf_slice(&others)),
				  &c->local_recipients);
	config_check_maps(c, CONFIG_LOCAL_RECIPIENT_MAPS, c->local_recipients);
	buf_done(&others);
}

/* ---- domains ---- */

/* By default the domains among the keys of virtual_alias_maps, whose faults have been told. */
static void open_alias_domains(struct config *c)
{
	const char *list = config_given_value(c, CONFIG_VIRTUAL_ALIAS_DOMAINS);

	if (config_is_given(c, CONFIG_VIRTUAL_ALIAS_DOMAINS))
		config_open_domains(c, CONFIG_VIRTUAL_ALIAS_DOMAINS, &c->alias_domains);
	else if (list)
		domains_open(slice_from(list), c->directory, &c->alias_domains, NULL);
}

/* A domain of two lists: the first counts, and the other is told of. */
struct overlap {
	struct config *config;
	struct domains *other;
	enum config_parameter_id id, other_id;
};

static int visit_domain(void *arg, const char *domain, const char *value, const char *source)
{
	const struct overlap *o = arg;
	const char *name = config_schema[o->id].name, *other = config_schema[o->other_id].name;

	(void)value;
	if (strchr(domain, '@') || domain_list_has(o->other, slice_from(domain), NULL) != MAP_FOUND)
		return 0;
	if (source)
		config_report_source(o->config, o->id, CONFIG_WARNING, source,
				     arena_printf(&o->config->arena,
						  "do not list domain %s in BOTH %s and %s: "
						  "only %s counts",
						  domain, other, name, other));
	else
		config_report_setting(o->config, o->id, CONFIG_WARNING,
				      "do not list domain %s in BOTH %s and %s: only %s counts",
				      domain, other, name, other);
	return 0;
}

static void check_overlaps(struct config *c)
{
	const struct {
		struct domains *domains;
		enum config_parameter_id id;
	} lists[] = {
		{ c->local_domains, CONFIG_MYDESTINATION },
		{ c->alias_domains, CONFIG_VIRTUAL_ALIAS_DOMAINS },
		{ c->mailbox_domains, CONFIG_VIRTUAL_MAILBOX_DOMAINS },
		{ c->relay_domains, CONFIG_RELAY_DOMAINS },
	};

	for (size_t i = 1; i < ARRAY_SIZE(lists); i++) {
		for (size_t k = 0; k < i; k++) {
			struct overlap o = { c, lists[k].domains, lists[i].id, lists[k].id };

			if (lists[i].domains && lists[k].domains)
				domains_visit(lists[i].domains, visit_domain, &o);
		}
	}
}

static void check_homes(struct config *c)
{
	if (config_given_value(c, CONFIG_MYDESTINATION) && c->has_system_users &&
	    !config_given_value(c, CONFIG_HOME_MAILBOX))
		config_report_setting(
			c, CONFIG_MYDESTINATION, CONFIG_WARNING,
			"its users have no place for mail, which waits: set "
			"home_mailbox = Maildir/, or give all of them aliases and set "
			"local_recipient_maps = $alias_maps");
}

void config_open_addresses(struct config *c)
{
	if (c->mode != CONFIG_EDGE)
		return;
	config_open_maps(c, CONFIG_VIRTUAL_ALIAS_MAPS, &c->virtual_aliases);
	check_aliases(c, CONFIG_VIRTUAL_ALIAS_MAPS, c->virtual_aliases);
	open_alias_domains(c);
	config_open_domains(c, CONFIG_MYDESTINATION, &c->local_domains);
	open_local_aliases(c);
	open_local_recipients(c);
	check_overlaps(c);
	check_homes(c);
}

/* ---- what the edge is told ---- */

static unsigned int propagated(const struct config *c)
{
	static const struct {
		const char *word;
		enum edge_propagation flag;
	} words[] = {
		{ "virtual", EDGE_PROPAGATE_VIRTUAL },
		{ "alias", EDGE_PROPAGATE_ALIAS },
		{ "include", EDGE_PROPAGATE_INCLUDE },
	};
	struct slice rest = slice_from(config_value(c, CONFIG_PROPAGATE_UNMATCHED_EXTENSIONS)),
		     word;
	unsigned int flags = 0;

	while (slice_next_word(&rest, ", \t\r\n", &word))
		for (size_t i = 0; i < ARRAY_SIZE(words); i++)
			if (slice_equal_nocase(word, slice_from(words[i].word)))
				flags |= words[i].flag;
	return flags;
}

/* 0 where the value is faulty, which has been told. */
static int64_t number(const struct config *c, enum config_parameter_id id)
{
	return config_value(c, id) ? config_number(c, id) : 0;
}

void config_edge_addresses(const struct config *c, struct edge_options *ret)
{
	ret->relay_domains = c->relay_domains;
	ret->relay_recipient_maps = c->relay_recipient_maps;
	ret->alias_domains = c->alias_domains;
	ret->local_domains = c->local_domains;
	ret->virtual_aliases = c->virtual_aliases;
	ret->local_aliases = c->local_aliases;
	ret->local_recipients = c->local_recipients;
	ret->knows_no_locals = c->knows_no_locals;
	ret->has_system_users = c->has_system_users;
	ret->home_mailbox = config_value(c, CONFIG_HOME_MAILBOX);
	ret->propagated = propagated(c);
	ret->expansion_limit = (unsigned int)number(c, CONFIG_VIRTUAL_ALIAS_EXPANSION_LIMIT);
	ret->recursion_limit = (unsigned int)number(c, CONFIG_VIRTUAL_ALIAS_RECURSION_LIMIT);
	ret->unknown_local_code = (int)number(c, CONFIG_UNKNOWN_LOCAL_RECIPIENT_REJECT_CODE);
	ret->unknown_alias_code = (int)number(c, CONFIG_UNKNOWN_VIRTUAL_ALIAS_REJECT_CODE);
	ret->unknown_mailbox_code = (int)number(c, CONFIG_UNKNOWN_VIRTUAL_MAILBOX_REJECT_CODE);
}
