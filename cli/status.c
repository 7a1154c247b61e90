/*
 * posthouse status - asks the server, counts what waits, and puts both together
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "cli/ask.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/status.h"
#include "queue/reader.h"

/* ---- what the server says ---- */

static int64_t number(const json_t *object, const char *name)
{
	return json_integer_value(json_object_get(object, name));
}

static char *text(const json_t *object, const char *name)
{
	const char *value = json_string_value(json_object_get(object, name));

	return slice_strdup(slice_from(value ? value : ""));
}

static void take_certificate(struct status *s, const json_t *object)
{
	s->certificates =
		memory_grow(s->certificates, (s->certificate_count + 1) * sizeof(*s->certificates));
	s->certificates[s->certificate_count++] = (struct status_certificate){
		.file = text(object, "file"),
		.subject = text(object, "subject"),
		.not_after_s = number(object, "not_after_s"),
		.days_left = number(object, "days_left"),
	};
}

static void take_server(struct status *s, const json_t *object)
{
	if (s->mode)
		return; /* once is enough */
	s->mode = text(object, "mode");
	s->version = text(object, "version");
	s->pid = number(object, "pid");
	s->started_ms = number(object, "started_ms");
	s->connections_in = number(object, "connections_in");
	s->connections_out = number(object, "connections_out");
	s->messages = number(object, "messages");
	s->recipients = number(object, "recipients");
	s->bytes = number(object, "bytes");
	s->oldest_ms = number(object, "oldest_ms");
}

static void take_problem(struct status *s, const json_t *value)
{
	const char *problem = json_string_value(value);

	s->problems = memory_grow(s->problems, (s->problem_count + 1) * sizeof(*s->problems));
	s->problems[s->problem_count++] = slice_strdup(slice_from(problem ? problem : ""));
}

static int take_line(void *arg, const json_t *object, bool is_last)
{
	struct status *s = arg;
	const json_t *part;

	(void)is_last;
	if ((part = json_object_get(object, "server")) != NULL)
		take_server(s, part);
	hops_take_line(&s->hops, object);
	if ((part = json_object_get(object, "certificate")) != NULL)
		take_certificate(s, part);
	if ((part = json_object_get(object, "problem")) != NULL)
		take_problem(s, part);
	return 0;
}

/* ---- what the queue shows ---- */

static int count_waiting(void *arg, const struct queue_stats *stats)
{
	struct status *s = arg;

	if (stats->status == QUEUE_HELD)
		s->held += stats->recipients;
	hops_take_waiting(&s->hops, stats);
	return 0;
}

/* Whoever may ask the server need not be allowed to read the queue. */
static void read_queue(struct status *s, const struct config *config)
{
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;
	const char *directory = config_value(config, CONFIG_QUEUE_DIRECTORY);

	s->is_queue_known = directory && queue_reader_open(directory, &reader, NULL) == 0 &&
			    queue_reader_stats(reader, count_waiting, s, NULL) == 0;
}

/* ---- for programs ---- */

static json_t *known_number(const struct status *s, int64_t value)
{
	return s->is_queue_known ? json_integer(value) : json_null();
}

static json_t *hop_object(const struct status *s, const struct hop *hop)
{
	json_t *object = json_object();

	json_object_set_new(object, "next_hop", cli_json_text(hop->next_hop));
	json_object_set_new(object, "queued", known_number(s, hop->queued));
	hop_json(hop, object);
	json_object_set_new(object, "tls", hop->tls ? json_incref(hop->tls) : json_null());
	json_object_set_new(object, "peer_not_after", cli_json_time(hop->peer_not_after_s * 1000));
	return object;
}

static json_t *certificate_object(const struct status_certificate *c)
{
	json_t *object = json_object();

	json_object_set_new(object, "file", cli_json_text(c->file));
	json_object_set_new(object, "subject", cli_json_text(c->subject));
	json_object_set_new(object, "not_after", cli_json_time(c->not_after_s * 1000));
	json_object_set_new(object, "days_left", json_integer(c->days_left));
	return object;
}

static json_t *queue_object(const struct status *s)
{
	json_t *object = json_object();

	json_object_set_new(object, "messages", json_integer(s->messages));
	json_object_set_new(object, "recipients", json_integer(s->recipients));
	json_object_set_new(object, "bytes", json_integer(s->bytes));
	json_object_set_new(object, "oldest_at", cli_json_time(s->oldest_ms));
	json_object_set_new(object, "held", known_number(s, s->held));
	return object;
}

static void print_json(const struct status *s, struct buf *out)
{
	json_t *object = json_object(), *hops = json_array(), *certificates = json_array();
	json_t *problems = json_array();

	for (size_t i = 0; i < s->hops.count; i++)
		json_array_append_new(hops, hop_object(s, s->hops.list[i]));
	for (size_t i = 0; i < s->certificate_count; i++)
		json_array_append_new(certificates, certificate_object(&s->certificates[i]));
	for (size_t i = 0; i < s->problem_count; i++)
		json_array_append_new(problems, cli_json_text(s->problems[i]));
	json_object_set_new(object, "mode", cli_json_text(s->mode));
	json_object_set_new(object, "version", cli_json_text(s->version));
	json_object_set_new(object, "pid", json_integer(s->pid));
	json_object_set_new(object, "started_at", cli_json_time(s->started_ms));
	json_object_set_new(object, "connections",
			    json_pack("{s:I, s:I}", "in", (json_int_t)s->connections_in, "out",
				      (json_int_t)s->connections_out));
	json_object_set_new(object, "queue", queue_object(s));
	json_object_set_new(object, "next_hops", hops);
	json_object_set_new(object, "certificates", certificates);
	json_object_set_new(object, "problems", problems);
	cli_json_print(out, object);
	json_decref(object);
}

/* ---- the command ---- */

static void status_done(struct status *s)
{
	hops_done(&s->hops);
	for (size_t i = 0; i < s->certificate_count; i++) {
		free(s->certificates[i].file);
		free(s->certificates[i].subject);
	}
	free(s->certificates);
	for (size_t i = 0; i < s->problem_count; i++)
		free(s->problems[i]);
	free(s->problems);
	free(s->mode);
	free(s->version);
}

static int collect(struct status *s, const struct config *config)
{
	CLEANUP(control_client_closep) struct control_client *client = NULL;
	int code = ask_connect(config, &client);

	if (code != CLI_DONE)
		return code;
	if (!client)
		return ask_no_server(config);
	cli_print_errors(config); /* a misspelled run_directory is another server's */
	code = ask(client, json_pack("{s:s}", "command", "status"), take_line, s);
	if (code != CLI_DONE)
		return code;
	if (!s->mode) {
		cli_error("the server's answer makes no sense");
		return CLI_IO;
	}
	s->now_ms = clock_wall_ms(&clock_system);
	read_queue(s, config);
	hops_sort(&s->hops);
	return CLI_DONE;
}

int cli_status(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct status status = { .now_ms = 0 };
	struct buf out = { 0 };
	bool as_json = false;
	const struct cli_flag flags[] = { { "--json", &as_json } };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, 0) < 0)
		return CLI_USAGE;
	/* Where the socket is it does say, whatever else is wrong with it, which is told. */
	config = config_load(cli->config_file);
	code = collect(&status, config);
	if (code == CLI_DONE) {
		if (as_json)
			print_json(&status, &out);
		else
			status_text(&status, &out);
		cli_print(&out);
	}
	buf_done(&out);
	status_done(&status);
	return code;
}
