/*
 * call - one connection: a request comes in, lines go out
 *
 *	READING --line--> RUNNING --end, fail--> ENDED --all sent--> reaped
 *
 * While a handler works the client may go; the call then stays, without a
 * stream, until the handler has ended it. Reading is paused once there is a
 * request: what follows it is of no interest, and a client that shuts its
 * sending side down still gets an answer.
 *
 * The timer runs while it is the client's turn: from accept() to the end of
 * the request as a whole, and while there is output that it does not take.
 */
#include <assert.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/escape.h"
#include "base/memory.h"
#include "control/internal.h"

enum call_state {
	READING,
	RUNNING, /* the handler's turn */
	ENDED,
};

struct control_call {
	struct control *control;
	struct list link;
	enum call_state state;
	struct stream *stream; /* NULL: the client has gone */
	struct loop_timer *timer;
	struct loop_task reap, pump;
	bool is_user_known, is_member; /* is_member: may only look */
	uid_t uid;
	struct buf line;
	struct control_request *request; /* NULL before RUNNING, or when malformed */
	void (*more)(void *arg, struct control_call *call);
	void *more_arg;
};

struct control_call *control_call_from(struct list *link)
{
	return CONTAINER_OF(link, struct control_call, link);
}

/* ---- the end ---- */

void control_call_free(struct control_call *call)
{
	assert(call->state != RUNNING);
	list_remove(&call->link);
	call->control->call_count--;
	call->control->member_count -= call->is_member;
	loop_defer_cancel(&call->reap);
	loop_defer_cancel(&call->pump);
	loop_timer_free(call->timer);
	stream_free(call->stream, 0);
	buf_done(&call->line);
	control_request_free(call->request);
	free(call);
}

static void on_reap(struct loop_task *task)
{
	control_call_free(CONTAINER_OF(task, struct control_call, reap));
}

/* The client has gone, or all has been said to it. */
static void hang_up(struct control_call *call)
{
	loop_timer_stop(call->timer);
	stream_free(call->stream, 0);
	call->stream = NULL;
	if (call->state != RUNNING)
		loop_defer(call->control->loop, &call->reap);
	else if (call->more)
		loop_defer(call->control->loop, &call->pump);
}

void control_call_cut(struct control_call *call)
{
	if (call->state == RUNNING && call->more && call->stream)
		hang_up(call);
}

/* ---- lines out ---- */

static int append_bytes(const char *bytes, size_t len, void *out)
{
	buf_append(out, bytes, len);
	return 0;
}

void control_call_reply(struct control_call *call, json_t *object)
{
	if (call->stream) {
		struct buf *out = stream_output(call->stream);

		if (stream_pending(call->stream) == 0)
			loop_timer_start(call->timer, call->control->options.patience_ms);
		json_dump_callback(object, append_bytes, out, JSON_COMPACT);
		buf_append_string(out, "\n");
		stream_flush(call->stream);
	}
	json_decref(object);
}

static void count_answer(struct control *c)
{
	if (--c->pending == 0 && c->is_leaving)
		loop_stop(c->loop);
}

static void finish(struct control_call *call, json_t *last)
{
	assert(call->state != ENDED);
	if (call->state == RUNNING)
		count_answer(call->control);
	call->state = ENDED;
	call->more = NULL;
	if (call->stream)
		stream_pause(call->stream);
	control_call_reply(call, last);
	if (!call->stream)
		loop_defer(call->control->loop, &call->reap);
}

void control_call_end(struct control_call *call, json_t *object)
{
	if (!object)
		object = json_object();
	json_object_set_new(object, "done", json_true());
	finish(call, object);
}

void control_call_fail(struct control_call *call, enum control_exit code, const char *format, ...)
{
	json_t *object = json_object();
	char text[1024], escaped[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	json_object_set_new(object, "error",
			    json_string(escape_cstr(slice_from(text), escaped, sizeof(escaped))));
	json_object_set_new(object, "exit", json_integer(code));
	finish(call, object);
}

static bool has_room(const struct control_call *call)
{
	return !call->stream || stream_pending(call->stream) < CONTROL_OUTPUT_MAX;
}

static void on_pump(struct loop_task *task)
{
	struct control_call *call = CONTAINER_OF(task, struct control_call, pump);

	while (call->state == RUNNING && call->more && has_room(call))
		call->more(call->more_arg, call);
}

void control_call_stream(struct control_call *call,
			 void (*more)(void *arg, struct control_call *call), void *arg)
{
	call->more = more;
	call->more_arg = arg;
	loop_defer(call->control->loop, &call->pump);
}

/* ---- the request ---- */

static const struct control_entry *find_entry(const struct control *c, const char *command)
{
	for (unsigned int i = 0; i < c->entry_count; i++)
		if (strcmp(c->entries[i].handler->command, command) == 0)
			return &c->entries[i];
	return NULL;
}

static void refuse(struct control_call *call)
{
	const struct control_options *options = &call->control->options;

	if (options->refused)
		options->refused(options->arg, call);
	control_call_fail(call, CONTROL_NOT_PERMITTED,
			  "not permitted: only root and the account "
			  "of the server may do this");
}

static void run_request(struct control_call *call)
{
	const char *command = control_request_command(call->request);
	const struct control_entry *entry = find_entry(call->control, command);
	struct error err = { 0 };

	if (!entry)
		control_call_fail(call, CONTROL_USAGE,
				  "the running server does not know the command \"%.40s\"",
				  command);
	else if (call->is_member && !entry->handler->only_looks)
		refuse(call);
	else if (control_request_allow(call->request, entry->handler->arguments, &err) < 0)
		control_call_fail(call, CONTROL_USAGE, "%s", err.text);
	else
		entry->handler->run(entry->arg, call);
}

static void take_line(struct control_call *call)
{
	struct error err = { 0 };
	int r;

	loop_timer_stop(call->timer);
	stream_pause(call->stream);
	call->state = RUNNING;
	call->control->pending++;
	r = control_request_parse(buf_slice(&call->line), &call->request, &err);
	buf_done(&call->line);
	if (r < 0)
		control_call_fail(call, CONTROL_USAGE, "%s", err.text);
	else
		run_request(call);
}

static void on_readable(void *arg)
{
	struct control_call *call = arg;
	struct buf *input = stream_input(call->stream);
	struct slice bytes = buf_slice(input);
	size_t len = slice_find(bytes, '\n');
	bool is_whole = len < bytes.len, is_too_large;

	if (call->state != READING)
		return;
	is_too_large = buf_len(&call->line) + len > CONTROL_REQUEST_MAX;
	if (!is_too_large)
		buf_append_slice(&call->line, slice_first(bytes, len));
	buf_consume(input, bytes.len);
	if (is_too_large)
		control_call_fail(call, CONTROL_USAGE, "the request has more than %zu bytes",
				  CONTROL_REQUEST_MAX);
	else if (is_whole)
		take_line(call);
}

static void on_drained(void *arg)
{
	struct control_call *call = arg;

	loop_timer_stop(call->timer);
	if (call->state == ENDED)
		hang_up(call);
	else if (call->more)
		loop_defer(call->control->loop, &call->pump);
}

static void on_closed(void *arg, const struct error *err)
{
	(void)err;
	hang_up(arg);
}

static void on_timer(void *arg)
{
	hang_up(arg);
}

static const struct stream_events events = {
	.readable = on_readable,
	.drained = on_drained,
	.closed = on_closed,
};

/* ---- coming in ---- */

static bool is_full(const struct control *c, bool is_member)
{
	return c->call_count > CONTROL_CONNECTIONS ||
	       (is_member && c->member_count > CONTROL_GROUP_SHARE);
}

void control_call_new(struct control *c, struct stream *stream)
{
	struct control_call *call = memory_zeroed(sizeof(*call));

	call->control = c;
	call->stream = stream;
	call->reap.run = on_reap;
	call->pump.run = on_pump;
	call->timer = loop_timer_new(c->loop, on_timer, call);
	call->is_user_known = stream_peer_user(stream, &call->uid) == 0;
	call->is_member = call->is_user_known && call->uid != 0 && call->uid != geteuid();
	list_push(&c->calls, &call->link);
	c->call_count++;
	c->member_count += call->is_member;
	stream_set_events(stream, &events, call);
	loop_timer_start(call->timer, call->control->options.patience_ms);
	if (is_full(c, call->is_member))
		control_call_fail(call, CONTROL_TRY_LATER,
				  "the server has too many of these connections; try again");
}

/* ---- for handlers ---- */

const struct control_request *control_call_request(const struct control_call *call)
{
	return call->request;
}

bool control_call_user(const struct control_call *call, uid_t *ret_uid)
{
	if (call->is_user_known)
		*ret_uid = call->uid;
	return call->is_user_known;
}

bool control_call_is_gone(const struct control_call *call)
{
	return !call->stream;
}
