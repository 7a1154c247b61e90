/*
 * What needs privileges: the log file, directories, ports, and the process that
 * keeps them (edge/carrier.h). Keys were read before, with the configuration.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "cli/server.h"
#include "mta/drop.h"

#define QUEUE_MODE	   0711 /* all get to the drop directory; what else is there is closed */
#define RUN_DIRECTORY_MODE 0755
#define MAIL_BASE_MODE	   0750
#define LOG_FILE_MODE	   0640

int prepare_drop_directory(const struct privileges *privileges, const struct config *config,
			   struct error *err)
{
	static const char *const inner[] = { DROP_TAKEN, DROP_BAD };
	const char *path = config_drop_directory(config);
	int r = privileges_make_directory(privileges, path, 0700, err);

	return r < 0 ? r
		     : privileges_furnish(privileges, path, inner, ARRAY_SIZE(inner),
					  DROP_DIRECTORY_MODE, err);
}

/* A base that is not there is made for the one owner of all that will be below it, if there is one. */
static struct privileges owner_of(const struct privileges *privileges, const struct config *config,
				  enum config_parameter_id id)
{
	struct privileges owner = { .name = "virtual_uid_maps" };

	return geteuid() == 0 && id == CONFIG_VIRTUAL_MAILBOX_BASE &&
			       config_mailbox_owner(config, &owner.uid, &owner.gid)
		       ? owner
		       : *privileges;
}

int prepare_directories(const struct privileges *privileges, const struct config *config,
			struct error *err)
{
	static const struct {
		enum config_parameter_id id;
		mode_t mode;
	} directories[] = {
		{ CONFIG_QUEUE_DIRECTORY, QUEUE_MODE },
		{ CONFIG_RUN_DIRECTORY, RUN_DIRECTORY_MODE },
		{ CONFIG_VIRTUAL_MAILBOX_BASE, MAIL_BASE_MODE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		bool is_needed = directories[i].id != CONFIG_VIRTUAL_MAILBOX_BASE ||
				 config_has_mailboxes(config);
		const char *path = is_needed ? config_value(config, directories[i].id) : NULL;
		struct privileges owner = owner_of(privileges, config, directories[i].id);
		int r = path ? privileges_make_directory(&owner, path, directories[i].mode, err)
			     : 0;

		if (r < 0) {
			error_prefix(err, "%s", config_schema[directories[i].id].name);
			return r;
		}
	}
	return prepare_drop_directory(privileges, config, err);
}

/* A file made here belongs to the account, so that it can be opened anew after rotation. */
static int open_log(struct server *s, struct error *err)
{
	static const char prefix[] = "file:";
	const struct config *config = s->current->config;
	const char *destination = config_value(config, CONFIG_LOG_DESTINATION);
	int r = 0;

	if (strncmp(destination, prefix, sizeof(prefix) - 1) == 0)
		r = privileges_make_file(&s->privileges, destination + sizeof(prefix) - 1,
					 LOG_FILE_MODE, err);
	if (r == 0)
		r = log_open(destination, config_value(config, CONFIG_MYHOSTNAME), &s->log, err);
	if (r < 0)
		error_prefix(err, "log_destination");
	return r;
}

/* In the new process, which needs no keys and no log. */
static void forget(void *arg)
{
	struct server *s = arg;

	generation_unref(s->current);
}

static int start_carrier(struct server *s, struct error *err)
{
	struct carrier_rights rights;

	if (geteuid() != 0 || !config_carrier_rights(s->current->config, &rights))
		return 0;
	return carrier_start(&rights, forget, s, &s->carrier, err);
}

int prepare_as_root(struct server *s, struct error *err)
{
	struct generation *g = s->current;
	const char *user = arena_strdup(&s->arena, config_value(g->config, CONFIG_USER));
	int r;

	umask(0022);
	r = privileges_find(user, &s->privileges, err);
	if (r == 0)
		r = open_log(s, err);
	if (r == 0)
		r = prepare_directories(&s->privileges, g->config, err);
	if (r == 0)
		r = bind_services(g->config, NULL, &g->arena, &g->bindings, err);
	if (r == 0)
		r = start_carrier(s, err);
	return r == 0 ? privileges_drop(&s->privileges, err) : r;
}
