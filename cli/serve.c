/*
 * serve - see serve.h
 *
 * The port of the queue wakes the loop; whoever submits a request there holds
 * a call that control_free() waits for, so the port is idle when it is freed.
 */
#include "cli/serve.h"

#include <stdio.h>

#include "base/memory.h"
#include "cli/audit.h"
#include "cli/forget.h"
#include "cli/serve_internal.h"

/* "queue hold" is logged as "hold", "reload" as that. */
static const char *action_of(const struct control_call *call)
{
	const char *command = control_request_command(control_call_request(call));
	const char *space = strrchr(command, ' ');

	return space ? space + 1 : command;
}

void serve_audit(const struct serve *s, const struct control_call *call, const char *counts,
		 const char *status)
{
	struct audit audit = { .action = action_of(call), .counts = counts, .status = status };
	CLEANUP(free_strp) char *arguments = NULL;
	struct buf text = { 0 };

	audit.is_user_known = control_call_user(call, &audit.uid);
	control_request_describe(control_call_request(call), &text);
	audit.arguments = arguments = buf_steal_string(&text);
	audit_write(s->loop, s->options.log, &audit);
}

static void on_refused(void *arg, const struct control_call *call)
{
	bool is_dry_run = false;

	control_request_flag(control_call_request(call), "dry_run", &is_dry_run, NULL);
	if (!is_dry_run)
		serve_audit(arg, call, NULL, "refused (not permitted)");
}

static void on_warning(void *arg, const char *text)
{
	const struct serve *s = arg;

	log_write(s->options.log, "control", LOG_LEVEL_WARNING, "%s", text);
}

static void on_port_ready(void *arg)
{
	struct serve *s = arg;

	queue_port_dispatch(s->port);
}

static void on_port_wake(void *arg)
{
	struct serve *s = arg;

	loop_notify_send(s->port_notify);
}

int serve_new(struct loop *loop, const struct serve_options *options, struct serve **ret_serve,
	      struct error *err)
{
	CLEANUP(free_strp) char *path = NULL;
	struct serve *s = memory_zeroed(sizeof(*s));
	struct control_options control = { .refused = on_refused, .warn = on_warning, .arg = s };
	int r;

	s->loop = loop;
	s->options = *options;
	s->port_notify = loop_notify_new(loop, on_port_ready, s);
	s->port = queue_port_new(options->queue, on_port_wake, s);
	if (asprintf(&path, "%s/control", options->run_directory) < 0)
		path = NULL;
	control.path = path ? path : "";
	r = control_new(loop, &control, &s->control, err);
	if (r < 0) {
		serve_free(s);
		return r;
	}
	serve_queue_register(s);
	forget_serve(s);
	*ret_serve = s;
	return 0;
}

void serve_free(struct serve *s)
{
	if (!s)
		return;
	control_free(s->control);
	queue_port_free(s->port);
	loop_notify_free(s->port_notify);
	free(s);
}

struct control *serve_control(struct serve *s)
{
	return s->control;
}
