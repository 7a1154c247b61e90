/* queue_local - see queue_local.h */
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
#include "cli/offline.h"
#include "cli/queue_job.h"

struct queue_local {
	const char *directory;
	const struct control_request *request;
	struct queue_job job;
	struct offline offline;
};

/* ---- getting ready ---- */

int queue_local_new(const struct config *config, const struct control_request *request,
		    struct queue_local **ret_local, struct error *err)
{
	CLEANUP(queue_local_freep) struct queue_local *l = NULL;
	int r;

	l = memory_zeroed(sizeof(*l));
	l->directory = config_value(config, CONFIG_QUEUE_DIRECTORY);
	l->request = request;
	r = queue_job_init(&l->job, request, clock_wall_ms(&clock_system), err);
	if (r == 0)
		r = offline_init(&l->offline, config, err);
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
	offline_done(&l->offline);
	free(l);
}

/* ---- acting ---- */

static void log_action(const struct queue_local *l, const char *counts, const char *status)
{
	struct audit audit = {
		.action = queue_action_name(l->job.action.kind),
		.is_user_known = true,
		.uid = l->offline.uid,
		.counts = counts,
		.status = status,
	};
	CLEANUP(free_strp) char *arguments = NULL;
	struct buf text = { 0 };

	if (l->job.action.is_dry_run)
		return;
	control_request_describe(l->request, &text);
	audit.arguments = arguments = buf_steal_string(&text);
	audit_write(NULL, l->offline.log, &audit);
}

static void on_action_done(struct queue_request *request)
{
	struct queue_action *action = CONTAINER_OF(request, struct queue_action, request);
	struct queue_job *job = CONTAINER_OF(action, struct queue_job, action);

	offline_stop(&CONTAINER_OF(job, struct queue_local, job)->offline);
}

static int run_action(struct queue_local *l, struct error *err)
{
	struct queue_request *request = &l->job.action.request;

	request->done = on_action_done;
	queue_submit_action(l->offline.port, &l->job.action);
	offline_run(&l->offline);
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
	int r;

	if (is_absent(l)) {
		*ret_result = result_of_nothing(l);
		return 0;
	}
	r = offline_open(&l->offline, l->directory, err);
	if (r < 0)
		return r;
	r = run_and_log(l, err);
	offline_close(&l->offline);
	if (r == 0)
		*ret_result = queue_job_result(&l->job);
	return r;
}
