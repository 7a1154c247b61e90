/*
 * serve_queue - commands on the queue of a running server
 *
 * A job belongs to the call that it answers. The queue's thread does the
 * action; what follows is done here: an audit line, and workers that look at
 * what has become due.
 */
#include <jansson.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "cli/queue_job.h"
#include "cli/serve_internal.h"

#define IDS_IN_A_LINE 500

/* ---- actions ---- */

struct served_job {
	struct serve *serve;
	struct control_call *call;
	struct queue_job job;
};

static void log_job(const struct served_job *j, const char *status)
{
	struct buf counts = { 0 };

	if (j->job.action.is_dry_run)
		return;
	queue_job_counts(&j->job, &counts);
	buf_append(&counts, "", 1);
	serve_audit(j->serve, j->call, buf_slice(&counts).ptr, status);
	buf_done(&counts);
}

static void tell_workers(const struct serve *s, const struct queue_action *action)
{
	if (action->is_dry_run || action->recipients == 0)
		return;
	switch (action->kind) {
	case QUEUE_HOLD:
	case QUEUE_DELETE:
		break;
	case QUEUE_RELEASE:
	case QUEUE_BOUNCE:
		mta_look(s->options.mta);
		break;
	case QUEUE_RETRY:
		mta_retry(s->options.mta);
		break;
	case QUEUE_REROUTE:
		mta_reroute(s->options.mta);
		break;
	}
}

static void on_action_done(struct queue_request *request)
{
	struct queue_action *action = CONTAINER_OF(request, struct queue_action, request);
	struct queue_job *job = CONTAINER_OF(action, struct queue_job, action);
	struct served_job *j = CONTAINER_OF(job, struct served_job, job);
	char status[sizeof(request->error.text) + 16];

	if (request->result < 0) {
		snprintf(status, sizeof(status), "failed (%s)", request->error.text);
		log_job(j, status);
		control_call_fail(j->call, CONTROL_IO, "%s", request->error.text);
	} else {
		log_job(j, "done");
		tell_workers(j->serve, action);
		control_call_end(j->call, queue_job_result(job));
	}
	queue_job_done(job);
	free(j);
}

static void run_action(void *arg, struct control_call *call)
{
	struct serve *s = arg;
	struct served_job *j = memory_zeroed(sizeof(*j));
	struct error err = { 0 };

	j->serve = s;
	j->call = call;
	if (queue_job_init(&j->job, control_call_request(call), clock_wall_ms(&clock_system),
			   &err) < 0) {
		control_call_fail(call, CONTROL_USAGE, "%s", err.text);
		free(j);
		return;
	}
	/* A map that has just been mended is why the operator asks: it must be in use by then. */
	if (j->job.action.kind == QUEUE_REROUTE && !j->job.action.is_dry_run)
		s->options.refresh(s->options.arg);
	j->job.action.request.done = on_action_done;
	queue_submit_action(s->port, &j->job.action);
}

/* ---- what is being worked on ---- */

struct served_active {
	struct control_call *call;
	struct queue_active active;
	size_t next;
};

static void free_active(struct served_active *a)
{
	free(a->active.ids);
	free(a);
}

static void more_active(void *arg, struct control_call *call)
{
	struct served_active *a = arg;
	json_t *ids = json_array();
	char name[QUEUE_ID_SIZE];
	size_t end = MIN(a->next + IDS_IN_A_LINE, a->active.id_count);

	if (control_call_is_gone(call))
		end = a->next = a->active.id_count;
	for (; a->next < end; a->next++) {
		queue_id_format(a->active.ids[a->next], name);
		json_array_append_new(ids, json_string(name));
	}
	if (a->next < a->active.id_count) {
		control_call_reply(call, json_pack("{s:o}", "ids", ids));
		return;
	}
	free_active(a);
	control_call_end(call, json_pack("{s:o}", "ids", ids));
}

static void on_active_done(struct queue_request *request)
{
	struct queue_active *active = CONTAINER_OF(request, struct queue_active, request);
	struct served_active *a = CONTAINER_OF(active, struct served_active, active);

	if (request->result == 0) {
		control_call_stream(a->call, more_active, a);
		return;
	}
	control_call_fail(a->call, CONTROL_IO, "%s", request->error.text);
	free_active(a);
}

static void run_active(void *arg, struct control_call *call)
{
	struct serve *s = arg;
	struct served_active *a = memory_zeroed(sizeof(*a));

	a->call = call;
	a->active.request.done = on_active_done;
	queue_submit_active(s->port, &a->active);
}

static const struct control_handler handlers[] = {
	{ "queue active", "", true, run_active },
	{ "queue bounce", QUEUE_JOB_ARGUMENTS, false, run_action },
	{ "queue delete", QUEUE_JOB_ARGUMENTS, false, run_action },
	{ "queue hold", QUEUE_JOB_ARGUMENTS, false, run_action },
	{ "queue release", QUEUE_JOB_ARGUMENTS, false, run_action },
	{ "queue reroute", QUEUE_JOB_ARGUMENTS, false, run_action },
	{ "queue retry", QUEUE_JOB_ARGUMENTS, false, run_action },
};

void serve_queue_register(struct serve *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		control_register(s->control, &handlers[i], s);
}
