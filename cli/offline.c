/* offline - see offline.h; the blocking is done by a loop that runs until the answer */
#include "cli/offline.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/privileges.h"

#define LOG_FILE_MODE 0640

/* As the server does it, so that a file made here is its file too. */
static int open_log(struct offline *o, const struct config *config,
		    const struct privileges *privileges, struct error *err)
{
	static const char prefix[] = "file:";
	const char *destination = config_value(config, CONFIG_LOG_DESTINATION);
	int r = 0;

	if (strncmp(destination, prefix, sizeof(prefix) - 1) == 0)
		r = privileges_make_file(privileges, destination + sizeof(prefix) - 1,
					 LOG_FILE_MODE, err);
	if (r == 0)
		r = log_open(destination, config_value(config, CONFIG_MYHOSTNAME), &o->log, err);
	if (r < 0)
		error_prefix(err, "log_destination");
	return r;
}

static bool has_values(const struct config *config)
{
	return config_mode(config) != 0 && config_value(config, CONFIG_QUEUE_DIRECTORY) &&
	       config_value(config, CONFIG_USER) && config_value(config, CONFIG_LOG_DESTINATION) &&
	       config_value(config, CONFIG_MYHOSTNAME);
}

int offline_init(struct offline *o, const struct config *config, struct error *err)
{
	struct privileges privileges;
	int r;

	*o = (struct offline){ .uid = getuid() };
	if (!has_values(config))
		return error_set(err, -EINVAL, "the configuration lacks what this needs");
	r = privileges_find(config_value(config, CONFIG_USER), &privileges, err);
	if (r == 0)
		r = open_log(o, config, &privileges, err);
	if (r == 0)
		r = privileges_drop(&privileges, err);
	umask(0077); /* mail is nobody else's business */
	return r;
}

void offline_done(struct offline *o)
{
	log_close(o->log);
	o->log = NULL;
}

static void on_warning(void *arg, const char *text)
{
	const struct offline *o = arg;

	log_write(o->log, "qmgr", LOG_LEVEL_WARNING, "%s", text);
}

static void on_wake(void *arg)
{
	struct offline *o = arg;

	loop_notify_send(o->notify);
}

static void on_notify(void *arg)
{
	struct offline *o = arg;

	queue_port_dispatch(o->port);
}

int offline_open(struct offline *o, const char *directory, struct error *err)
{
	struct queue_options options = {
		.directory = directory,
		.clock = &clock_system,
		.warn = on_warning,
		.warn_arg = o,
	};
	int r = loop_new(&o->loop, err);

	if (r == 0)
		r = queue_open(&options, &o->queue, err);
	if (r < 0) {
		offline_close(o);
		return r;
	}
	o->notify = loop_notify_new(o->loop, on_notify, o);
	o->port = queue_port_new(o->queue, on_wake, o);
	return 0;
}

void offline_close(struct offline *o)
{
	if (o->port) {
		queue_port_free(o->port);
		loop_notify_free(o->notify);
	}
	if (o->queue)
		queue_close(o->queue);
	if (o->loop)
		loop_free(o->loop);
	*o = (struct offline){ .uid = o->uid, .log = o->log };
}

void offline_run(struct offline *o)
{
	loop_run(o->loop);
}

void offline_stop(struct offline *o)
{
	loop_stop(o->loop);
}
