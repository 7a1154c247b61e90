/*
 * A reload reads the configuration as a start would, compares it with the one
 * in use, and only when everything that can fail has been done does the server
 * change over. Until then nothing has happened, whatever goes wrong.
 *
 * It runs on the main loop and blocks it; mail goes on in the workers.
 */
#include <errno.h>
#include <jansson.h>
#include <unistd.h>

#include "cli/server.h"
#include "transport/compare.h"

#define LOGGED_MAX 20 /* routes that the log tells one by one */

struct reload {
	struct server *server;
	struct control_call *call; /* who wants to know; NULL: a signal */
	bool is_dry_run, may_weaken;
	struct generation *next;

	/* what was found */
	unsigned int routes, weaker;
	struct buf changes; /* names of parameters */
	size_t change_count;

	int code; /* enum cli_exit */
	struct error error;
};

/* ---- telling ---- */

static void reply(struct reload *r, const char *text)
{
	json_t *object = r->call ? json_pack("{s:s}", "text", text) : NULL;

	if (object) /* else it is not UTF-8; the log has it */
		control_call_reply(r->call, object);
}

/* The log has warnings of a good configuration too, as at the start. */
static void tell_problem(struct reload *r, const struct config_problem *p, bool is_bad)
{
	struct buf text = { 0 };

	if (!r->is_dry_run)
		server_log_problem(r->server, p);
	buf_printf(&text, "%s:%u: %s: %s", p->file, p->line, config_severity_name(p->severity),
		   p->text);
	buf_append(&text, "", 1);
	if (is_bad)
		reply(r, buf_slice(&text).ptr);
	buf_done(&text);
}

static int refuse(struct reload *r, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct reload *r, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(r->error.text, sizeof(r->error.text), format, args);
	va_end(args);
	r->code = code;
	return -1;
}

static int refuse_for(struct reload *r, const struct error *err)
{
	return refuse(r, cli_exit_of(err), "%s; the old configuration stays in use", err->text);
}

/* ---- comparing ---- */

static void note_route(void *arg, const struct transport_change *change)
{
	struct reload *r = arg;
	struct buf text = { 0 };

	r->routes++;
	r->weaker += change->is_weaker;
	transport_change_format(change, &text);
	buf_append(&text, "", 1);
	if (r->is_dry_run || change->is_weaker)
		reply(r, buf_slice(&text).ptr);
	if (!r->is_dry_run && change->is_weaker && r->weaker <= LOGGED_MAX)
		log_write(r->server->log, NULL, LOG_LEVEL_WARNING, "reload: %s",
			  buf_slice(&text).ptr);
	buf_done(&text);
}

/* Not a route, but TLS all the same. */
static void note_level(struct reload *r, enum config_parameter_id id)
{
	const char *old = config_value(r->server->current->config, id);
	const char *new = config_value(r->next->config, id);
	struct buf text = { 0 };

	if (!old || !new || strcmp(old, new) == 0)
		return;
	buf_printf(&text, "%s: %s -> %s", config_schema[id].name, old, new);
	buf_append(&text, "", 1);
	reply(r, buf_slice(&text).ptr);
	buf_done(&text);
}

static int compare(struct reload *r)
{
	struct generation *current = r->server->current;
	struct transport_options options = current->options.transport;
	struct error err = { 0 };

	r->change_count = config_changes(r->next->config, current->config, &r->changes);
	if (r->is_dry_run) {
		note_level(r, CONFIG_SMTPD_TLS_SECURITY_LEVEL);
		note_level(r, CONFIG_SMTP_TLS_SECURITY_LEVEL);
	}
	if (transport_compare(&options, &r->next->options.transport, note_route, r, &err) < 0)
		return refuse_for(r, &err);
	return 0;
}

/* ---- the steps ---- */

static int load(struct reload *r)
{
	struct server *s = r->server;
	struct config *config = config_load(s->config_file);
	unsigned int errors = 0;
	bool is_bad;

	r->next = generation_new(config);
	r->next->loop = s->loop;
	config_open_anew(config, s->current->config);
	is_bad = config_has_errors(config);
	for (size_t i = 0; i < config_problem_count(config); i++) {
		const struct config_problem *p = config_problem_at(config, i);

		errors += p->severity == CONFIG_ERROR;
		tell_problem(r, p, is_bad);
	}
	if (errors == 0)
		return 0;
	return refuse(r, CLI_CONFIG, "%u error%s in the configuration; the old one stays in use",
		      errors, errors == 1 ? "" : "s");
}

/* Everything that the mta does not do; what can be undone is undone by abandon(). */
static int prepare(struct reload *r)
{
	const struct privileges nobody_else = { .uid = geteuid(), .gid = getegid() };
	struct server *s = r->server;
	struct generation *next = r->next, *current = s->current;
	struct error err = { 0 };

	if (prepare_directories(&nobody_else, next->config, &err) < 0)
		return refuse_for(r, &err);
	if (bind_services(next->config, &current->bindings, &next->arena, &next->bindings, &err) <
	    0) {
		if (err.code == -EACCES)
			return refuse(r, CLI_NOT_PERMITTED,
				      "%s; only root may open it, so this needs a restart",
				      err.text);
		return refuse_for(r, &err);
	}
	if (generation_prepare(next, &current->options, s->carrier, &err) < 0)
		return refuse_for(r, &err);
	return 0;
}

static const char *log_destination(const struct generation *g)
{
	return config_value(g->config, CONFIG_LOG_DESTINATION);
}

/* Last, since the mta uses the new configuration from here on. */
static int change_over(struct reload *r)
{
	struct server *s = r->server;
	struct generation *next = r->next, *old = s->current;
	bool is_log_new = strcmp(log_destination(next), log_destination(old)) != 0;
	struct error err = { 0 };

	if (is_log_new && log_redirect(s->log, log_destination(next), &err) < 0) {
		error_prefix(&err, "log_destination");
		return refuse_for(r, &err);
	}
	if (mta_reload(s->mta, &next->options, generation_release, old, &err) < 0) {
		if (is_log_new)
			log_redirect(s->log, log_destination(old), NULL);
		return refuse_for(r, &err);
	}
	bind_close(&old->bindings, &next->bindings);
	list_push(&s->generations, &next->link);
	s->current = next;
	queue_keep_ledger(s->queue, config_ledger_lifetime_s(next->config));
	r->next = NULL;
	return 0;
}

static int run(struct reload *r)
{
	if (!r->is_dry_run)
		server_refresh(r->server); /* changed maps go their own way */
	if (load(r) < 0)
		return -1;
	r->next->options = r->server->current->options;
	config_mta_options(r->next->config, &r->next->options);
	if (compare(r) < 0)
		return -1;
	if (r->is_dry_run)
		return 0;
	if (r->weaker > 0 && !r->may_weaken)
		return refuse(r, CLI_CONFIG,
			      "TLS of %u route%s would become weaker; the old configuration stays "
			      "in use; `posthouse reload --allow-weaker` takes the new one",
			      r->weaker, r->weaker == 1 ? "" : "s");
	return prepare(r) < 0 || change_over(r) < 0 ? -1 : 0;
}

/* ---- the end ---- */

static void summarize(const struct reload *r, struct buf *out)
{
	bool will_be = r->is_dry_run;

	buf_append_string(out, will_be ? "would be reloaded: " : "reloaded: ");
	if (r->change_count == 0 && r->routes == 0)
		buf_append_string(out, will_be ? "nothing would change" : "nothing has changed");
	buf_append_slice(out, buf_slice(&r->changes));
	if (r->routes > 0)
		buf_printf(out, "%s%u route%s", r->change_count > 0 ? "; " : "", r->routes,
			   r->routes == 1 ? "" : "s");
	if (r->weaker > 0)
		buf_printf(out, ", %u of them weaker%s", r->weaker,
			   will_be ? ", which needs --allow-weaker" : "");
	buf_append(out, "", 1);
}

static void log_listeners(const struct server *s)
{
	struct buf text = { 0 };

	bind_format(&text, &s->current->bindings);
	log_write(s->log, NULL, LOG_LEVEL_INFO, "listening: listen=%.*s", (int)buf_len(&text),
		  buf_slice(&text).ptr);
	buf_done(&text);
}

static void succeed(struct reload *r, const struct bindings *before)
{
	struct server *s = r->server;
	struct buf text = { 0 };

	summarize(r, &text);
	if (!r->is_dry_run) {
		if (!bind_is_same(before, &s->current->bindings))
			log_listeners(s);
		log_write(s->log, NULL, LOG_LEVEL_INFO, "%s", buf_slice(&text).ptr);
	}
	reply(r, buf_slice(&text).ptr);
	buf_done(&text);
}

static void abandon(struct reload *r)
{
	if (r->next)
		bind_close(&r->next->bindings, &r->server->current->bindings);
	generation_unref(r->next);
	buf_done(&r->changes);
}

/* 0, or an exit code, and error.text says why. */
static int reload(struct reload *r)
{
	struct server *s = r->server;
	const struct bindings before = s->current->bindings; /* its arrays live until we return */

	if (s->is_stopping)
		refuse(r, CLI_TRY_LATER, "the server is stopping");
	else if (run(r) == 0)
		succeed(r, &before);
	if (r->code != CLI_DONE && !r->is_dry_run)
		log_write(s->log, NULL, LOG_LEVEL_ERROR, "reload refused: %s", r->error.text);
	abandon(r);
	return r->code;
}

void reload_now(struct server *s)
{
	struct reload r = { .server = s };

	reload(&r);
}

/* ---- posthouse reload ---- */

static void answer(void *arg, struct control_call *call)
{
	const struct control_request *request = control_call_request(call);
	struct reload r = { .server = arg, .call = call };
	struct error err = { 0 };
	int code = control_request_flag(request, "dry_run", &r.is_dry_run, &err);

	if (code == 0)
		code = control_request_flag(request, "allow_weaker", &r.may_weaken, &err);
	if (code < 0) {
		control_call_fail(call, CONTROL_USAGE, "%s", err.text);
		return;
	}
	code = reload(&r);
	if (!r.is_dry_run)
		serve_audit(r.server->serve, call, NULL, code == 0 ? "done" : r.error.text);
	if (code == 0)
		control_call_end(call, NULL);
	else
		control_call_fail(call, (enum control_exit)code, "%s", r.error.text);
}

void reload_serve(struct server *s)
{
	static const struct control_handler handler = {
		.command = "reload",
		.arguments = "dry_run allow_weaker",
		.run = answer,
	};

	control_register(serve_control(s->serve), &handler, s);
}
