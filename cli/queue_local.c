/* queue_local - see queue_local.h; the blocking is done by a loop that runs until the answer */
#include "cli/queue_local.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "cli/audit.h"
#include "cli/cli.h"
#include "cli/privileges.h"
#include "cli/queue_job.h"

#define LOG_FILE_MODE 0640

struct queue_local {
	const char *directory;
	const struct control_request *request;
	uid_t uid; /* who we were */
	struct queue_job job;
	struct log *log;
	struct loop *loop;
	struct loop_notify *notify;
	struct queue *queue;
	struct queue_port *port;
};

/* ---- getting ready ---- */

/* As the server does it, so that a file made here is its file too. */
static int open_log(struct queue_local *l, const struct config *config,
		    const struct privileges *privileges, struct error *err)
{
	static const char prefix[] = "file:";
	const char *destination = config_value(config, CONFIG_LOG_DESTINATION);
	int r = 0;

	if (strncmp(destination, prefix, sizeof(prefix) - 1) == 0)
		r = privileges_make_file(privileges, destination + sizeof(prefix) - 1,
					 LOG_FILE_MODE, err);
	if (r == 0)
		r = log_open(destination, config_value(config, CONFIG_MYHOSTNAME), &l->log, err);
	if (r < 0)
		error_prefix(err, "log_destination");
	return r;
}

static int prepare(struct queue_local *l, const struct config *config, struct error *err)
{
	struct privileges privileges;
	int r = queue_job_init(&l->job, l->request, clock_wall_ms(&clock_system), err);

	if (r == 0)
		r = privileges_find(config_value(config, CONFIG_USER), &privileges, err);
	if (r == 0)
		r = open_log(l, config, &privileges, err);
	if (r == 0)
		r = privileges_drop(&privileges, err);
	umask(0077); /* mail is nobody else's business */
	return r;
}

static bool has_values(const struct config *config)
{
	return config_mode(config) != 0 && config_value(config, CONFIG_QUEUE_DIRECTORY) &&
	       config_value(config, CONFIG_USER) && config_value(config, CONFIG_LOG_DESTINATION) &&
	       config_value(config, CONFIG_MYHOSTNAME);
}

int queue_local_new(const struct config *config, const struct control_request *request,
		    struct queue_local **ret_local, struct error *err)
{
	CLEANUP(queue_local_freep) struct queue_local *l = NULL;
	int r;

	if (!has_values(config))
		return error_set(err, -EINVAL, "the configuration lacks what this needs");
	l = memory_zeroed(sizeof(*l));
	l->directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	l->request = request;
	l->uid = getuid();
	r = prepare(l, config, err);
	if (r < 0)
		return r;
	*ret_local = l;
	l = NULL;
	return 0;
}

void queue_local_free(struct queue_local *l)
{
	if (!l)
		return;
	queue_job_done(&l->job);
	log_close(l->log);
	free(l);
}

/* ---- acting ---- */

static void log_action(const struct queue_local *l, const char *counts, const char *status)
{
	struct audit audit = {
		.action = queue_action_name(l->job.action.kind),
		.is_user_known = true,
		.uid = l->uid,
		.counts = counts,
		.status = status,
	};
	CLEANUP(free_strp) char *arguments = NULL;
	struct buf text = { 0 };

	if (l->job.action.is_dry_run)
		return;
	control_request_describe(l->request, &text);
	audit.arguments = arguments = buf_steal_string(&text);
	audit_write(NULL, l->log, &audit);
}

static void on_wake(void *arg)
{
	struct queue_local *l = arg;

	loop_notify_send(l->notify);
}

static void on_notify(void *arg)
{
	struct queue_local *l = arg;

	queue_port_dispatch(l->port);
}

static void on_action_done(struct queue_request *request)
{
	struct queue_action *action = CONTAINER_OF(request, struct queue_action, request);
	struct queue_job *job = CONTAINER_OF(action, struct queue_job, action);

	loop_stop(CONTAINER_OF(job, struct queue_local, job)->loop);
}

static int run_action(struct queue_local *l, struct error *err)
{
	struct queue_request *request = &l->job.action.request;
	int r = loop_new(&l->loop, err);

	if (r < 0)
		return r;
	l->notify = loop_notify_new(l->loop, on_notify, l);
	l->port = queue_port_new(l->queue, on_wake, l);
	request->done = on_action_done;
	queue_submit_action(l->port, &l->job.action);
	loop_run(l->loop);
	queue_port_free(l->port);
	loop_notify_free(l->notify);
	loop_free(l->loop);
	return request->result < 0 ? error_set(err, request->result, "%s", request->error.text) : 0;
}

static int run_and_log(struct queue_local *l, struct error *err)
{
	char status[sizeof(err->text) + 16];
	struct buf counts = { 0 };
	int r = run_action(l, err);

	if (r < 0) {
		snprintf(status, sizeof(status), "failed (%s)", err->text);
		log_action(l, NULL, status);
		return r;
	}
	queue_job_counts(&l->job, &counts);
	buf_append(&counts, "", 1);
	log_action(l, buf_slice(&counts).ptr, "done");
	buf_done(&counts);
	return 0;
}

static void on_warning(void *arg, const char *text)
{
	const struct queue_local *l = arg;

	log_write(l->log, "qmgr", LOG_LEVEL_WARNING, "%s", text);
}

/* Where there is no queue yet, none is to be made by looking for something in it. */
static bool is_absent(const struct queue_local *l)
{
	CLEANUP(free_strp) char *path = NULL;
	struct stat st;

	return asprintf(&path, "%s/queue.db", l->directory) >= 0 && stat(path, &st) < 0 &&
	       errno == ENOENT;
}

/* Then no id is known. */
static json_t *result_of_nothing(struct queue_local *l)
{
	const struct queue_filter *filter = l->job.action.filter;

	if (filter->id_count > 0) {
		l->job.action.missing = memory_new(filter->id_count * sizeof(*filter->ids));
		memcpy(l->job.action.missing, filter->ids, filter->id_count * sizeof(*filter->ids));
		l->job.action.missing_count = filter->id_count;
	}
	return queue_job_result(&l->job);
}

int queue_local_act(struct queue_local *l, json_t **ret_result, struct error *err)
{
	struct queue_options options = {
		.directory = l->directory,
		.clock = &clock_system,
		.warn = on_warning,
		.warn_arg = l,
	};
	int r;

	if (is_absent(l)) {
		*ret_result = result_of_nothing(l);
		return 0;
	}
	r = queue_open(&options, &l->queue, err);
	if (r < 0)
		return r;
	r = run_and_log(l, err);
	queue_close(l->queue);
	if (r == 0)
		*ret_result = queue_job_result(&l->job);
	return r;
}
