/*
 * What needs privileges: the log file, directories, ports. Keys were read
 * before, with the configuration.
 */
#include <sys/stat.h>

#include "base/macros.h"
#include "cli/server.h"

#define RUN_DIRECTORY_MODE 0755
#define MAIL_BASE_MODE	   0750
#define LOG_FILE_MODE	   0640

int prepare_directories(const struct privileges *privileges, const struct config *config,
			struct error *err)
{
	static const struct {
		enum config_parameter_id id;
		mode_t mode;
	} directories[] = {
		{ CONFIG_QUEUE_DIRECTORY, 0700 },
		{ CONFIG_RUN_DIRECTORY, RUN_DIRECTORY_MODE },
		{ CONFIG_VIRTUAL_MAILBOX_BASE, MAIL_BASE_MODE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		const char *path = config_value(config, directories[i].id);
		int r = path ? privileges_make_directory(privileges, path, directories[i].mode, err)
			     : 0;

		if (r < 0) {
			error_prefix(err, "%s", config_schema[directories[i].id].name);
			return r;
		}
	}
	return 0;
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
	return r == 0 ? privileges_drop(&s->privileges, err) : r;
}
