/*
 * Whose mailboxes are: what virtual_uid_maps and virtual_gid_maps say, and
 * whether a server that is started by whoever asks can write them.
 */
#include "config/state.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/parse.h"

#define STATIC "static:"

/* The number of "static:NUMBER", where that is all that the parameter names. */
static bool find_static(const struct config *c, enum config_parameter_id id, uint64_t *ret)
{
	const char *value = config_value(c, id);

	return value && strncmp(value, STATIC, sizeof(STATIC) - 1) == 0 &&
	       parse_uint(slice_from(value + sizeof(STATIC) - 1), UINT32_MAX - 1, ret);
}

bool config_mailbox_owner(const struct config *config, uid_t *ret_uid, gid_t *ret_gid)
{
	uint64_t uid, gid;

	if (!find_static(config, CONFIG_VIRTUAL_UID_MAPS, &uid) ||
	    !find_static(config, CONFIG_VIRTUAL_GID_MAPS, &gid))
		return false;
	*ret_uid = (uid_t)uid;
	*ret_gid = (gid_t)gid;
	return true;
}

/* Homes are for users of mydestination. */
static const char *home_mailbox(const struct config *c)
{
	const char *path = config_value(c, CONFIG_HOME_MAILBOX);

	return c->local_domains && path && path[0] ? path : NULL;
}

static bool has_owners(const struct config *c)
{
	return c->uid_maps && c->gid_maps;
}

bool config_carrier_rights(const struct config *config, struct carrier_rights *ret)
{
	if (config->mode != CONFIG_EDGE || (!has_owners(config) && !home_mailbox(config)))
		return false;
	*ret = (struct carrier_rights){
		.hostname = config_value(config, CONFIG_MYHOSTNAME),
		.mailbox_base = has_owners(config)
					? config_value(config, CONFIG_VIRTUAL_MAILBOX_BASE)
					: NULL,
		.minimum_uid = (uid_t)config_number(config, CONFIG_VIRTUAL_MINIMUM_UID),
		.home_mailbox = home_mailbox(config),
	};
	config_mailbox_owner(config, &ret->only_uid, &ret->only_gid);
	return true;
}

/* Some may be faulty, while nobody is there yet but who checks the accounts. */
static uint64_t number(const struct config *c, enum config_parameter_id id)
{
	return config_value(c, id) ? (uint64_t)config_number(c, id) : 0;
}

void config_edge_writing(const struct config *c, struct edge_writing *ret)
{
	*ret = (struct edge_writing){
		.mailbox_limit = number(c, CONFIG_VIRTUAL_MAILBOX_LIMIT),
		.home_limit = number(c, CONFIG_MAILBOX_SIZE_LIMIT),
		.uid_maps = c->uid_maps,
		.gid_maps = c->gid_maps,
		.minimum_uid = (uint32_t)number(c, CONFIG_VIRTUAL_MINIMUM_UID),
	};
}

/* ---- checks ---- */

/* Where user is given it is for root to start it, whoever checks. */
static bool is_never_root(const struct config *c)
{
	const char *user = config_value(c, CONFIG_USER);

	return geteuid() != 0 && !(user && user[0]) && !c->running && !c->is_only_asked;
}

struct finder {
	struct config *config;
	enum config_parameter_id id;
	uint64_t least, own;
};

static int judge(const struct finder *f, const char *value, struct error *err)
{
	bool is_uid = f->id == CONFIG_VIRTUAL_UID_MAPS;
	uint64_t n;

	if (!parse_uint(slice_from(value), UINT32_MAX - 1, &n) || n == 0)
		return error_set(err, -EINVAL, "%s: expected the number of a %s, above 0", value,
				 is_uid ? "user" : "group");
	if (n < f->least)
		return error_set(err, -EINVAL, "%s: is below virtual_minimum_uid, %llu", value,
				 (unsigned long long)f->least);
	if (n != f->own && is_never_root(f->config))
		return error_set(err, -EINVAL,
				 "%s: only a server that is started as root can write mailboxes "
				 "of others",
				 value);
	return 0;
}

static int visit(void *arg, const char *key, const char *value, const char *source)
{
	const struct finder *f = arg;
	struct error err;

	(void)key;
	if (judge(f, value, &err) == 0)
		return 0;
	if (strncmp(source, STATIC, sizeof(STATIC) - 1) == 0) /* no line but the parameter's */
		config_report_setting(f->config, f->id, CONFIG_ERROR, "%s", err.text);
	else
		config_report_source(f->config, f->id, CONFIG_ERROR, source, err.text);
	return 0;
}

static void open_numbers(struct config *c, enum config_parameter_id id, struct maps **ret)
{
	struct finder finder = {
		.config = c,
		.id = id,
		.least = id == CONFIG_VIRTUAL_UID_MAPS ? number(c, CONFIG_VIRTUAL_MINIMUM_UID) : 0,
		.own = id == CONFIG_VIRTUAL_UID_MAPS ? geteuid() : getegid(),
	};

	config_open_maps(c, id, ret);
	config_refuse_substitutions(c, id, *ret);
	for (size_t i = 0; *ret && i < maps_count(*ret); i++)
		map_visit(maps_at(*ret, i), visit, &finder);
	config_check_maps(c, id, *ret);
}

/* Where each has an owner of his own somebody must have made a place for him. */
static void check_base(struct config *c)
{
	const char *path = config_value(c, CONFIG_VIRTUAL_MAILBOX_BASE);
	struct stat st;
	mode_t needed;
	uid_t uid;
	gid_t gid;

	if (!path || stat(path, &st) < 0 || !config_mailbox_owner(c, &uid, &gid))
		return;
	needed = st.st_uid == uid   ? S_IWUSR | S_IXUSR
		 : st.st_gid == gid ? S_IWGRP | S_IXGRP
				    : S_IWOTH | S_IXOTH;
	if ((st.st_mode & needed) != needed)
		config_report_setting(c, CONFIG_VIRTUAL_MAILBOX_BASE, CONFIG_ERROR,
				      "%s: user %lu, who owns the mailboxes, may not write there; "
				      "chown %lu:%lu %s",
				      path, (unsigned long)uid, (unsigned long)uid,
				      (unsigned long)gid, path);
}

/* The process that does what is fixed once the server is no longer root. */
static void check_fixed(struct config *c)
{
	static const enum config_parameter_id ids[] = {
		CONFIG_VIRTUAL_MAILBOX_BASE,
		CONFIG_HOME_MAILBOX,
	};
	struct carrier_rights then, now;
	bool had = c->running && config_carrier_rights(c->running, &then);
	bool has = config_carrier_rights(c, &now);

	if (!c->running || !has)
		return;
	if (!had || (!then.home_mailbox && now.home_mailbox))
		config_report_setting(
			c, has_owners(c) ? CONFIG_VIRTUAL_UID_MAPS : CONFIG_HOME_MAILBOX,
			CONFIG_ERROR,
			"mailboxes of others are written by a process that the server "
			"starts while it is root; this needs a restart");
	for (size_t i = 0; had && i < ARRAY_SIZE(ids); i++) {
		const char *before =
			ids[i] == CONFIG_HOME_MAILBOX ? then.home_mailbox : then.mailbox_base;
		const char *after =
			ids[i] == CONFIG_HOME_MAILBOX ? now.home_mailbox : now.mailbox_base;

		if (before && after && strcmp(before, after) != 0)
			config_report_setting(c, ids[i], CONFIG_ERROR,
					      "%s: the process that writes others' mailboxes was "
					      "told %s at the start; this needs a restart",
					      after, before);
	}
}

static void check_homes(struct config *c)
{
	if (home_mailbox(c) && is_never_root(c))
		config_report_setting(c, CONFIG_HOME_MAILBOX, CONFIG_ERROR,
				      "%s: only a server that is started as root can write into "
				      "homes",
				      home_mailbox(c));
}

void config_open_owners(struct config *c)
{
	if (c->mode != CONFIG_EDGE)
		return;
	open_numbers(c, CONFIG_VIRTUAL_UID_MAPS, &c->uid_maps);
	open_numbers(c, CONFIG_VIRTUAL_GID_MAPS, &c->gid_maps);
	if (config_is_given(c, CONFIG_VIRTUAL_UID_MAPS) !=
	    config_is_given(c, CONFIG_VIRTUAL_GID_MAPS))
		config_report_setting(c,
				      config_is_given(c, CONFIG_VIRTUAL_UID_MAPS)
					      ? CONFIG_VIRTUAL_UID_MAPS
					      : CONFIG_VIRTUAL_GID_MAPS,
				      CONFIG_ERROR,
				      "virtual_uid_maps and virtual_gid_maps need each other");
	if (c->is_only_asked)
		return;
	check_base(c);
	check_homes(c);
	check_fixed(c);
}
