/* queue_job - see queue_job.h */
#include "cli/queue_job.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX "queue "

int queue_job_init(struct queue_job *job, const struct control_request *request, int64_t now_ms,
		   struct error *err)
{
	const char *command = control_request_command(request);
	struct queue_action *action = &job->action;
	int r;

	*job = (struct queue_job){ .action = { .is_dry_run = false } };
	if (strncmp(command, PREFIX, strlen(PREFIX)) != 0 ||
	    !queue_action_parse(command + strlen(PREFIX), &action->kind))
		return error_set(err, -EINVAL, "%.40s: not an action on the queue", command);
	r = control_request_flag(request, "dry_run", &action->is_dry_run, err);
	if (r == 0)
		r = selection_take(request, now_ms, &job->selection, err);
	if (r < 0)
		return r;
	action->filter = &job->selection.filter;
	if (!job->selection.is_all && !job->selection.is_given) {
		queue_job_done(job);
		return error_set(err, -EINVAL, "of which messages? Name ids, filters or --all");
	}
	return 0;
}

void queue_job_done(struct queue_job *job)
{
	free(job->action.missing);
	job->action.missing = NULL;
	selection_done(&job->selection);
}

json_t *queue_job_result(const struct queue_job *job)
{
	const struct queue_action *action = &job->action;
	json_t *result = json_object(), *missing = json_array();
	char name[QUEUE_ID_SIZE];

	json_object_set_new(result, "action", json_string(queue_action_name(action->kind)));
	json_object_set_new(result, "dry_run", json_boolean(action->is_dry_run));
	json_object_set_new(result, "matched", json_integer(action->matched));
	json_object_set_new(result, "recipients", json_integer(action->recipients));
	json_object_set_new(result, "messages", json_integer(action->messages));
	for (size_t i = 0; i < action->missing_count; i++) {
		queue_id_format(action->missing[i], name);
		json_array_append_new(missing, json_string(name));
	}
	json_object_set_new(result, "missing", missing);
	return result;
}

void queue_job_counts(const struct queue_job *job, struct buf *out)
{
	const struct queue_action *action = &job->action;

	buf_printf(out, "matched=%" PRId64 ", recipients=%" PRId64 ", messages=%" PRId64,
		   action->matched, action->recipients, action->messages);
}
