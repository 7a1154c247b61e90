/*
 * posthouse queue hold, release, retry, bounce, delete, reroute
 *
 * A running server does it; the request goes there by the control socket. When
 * none runs, the command takes the queue's lock and does the same by itself,
 * as the account that the queue belongs to. Between the two there is a moment
 * in which a server that starts or ends has the lock and no socket, so both
 * are tried for a while.
 */
#include "cli/cli.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "base/macros.h"
#include "cli/ask.h"
#include "cli/json.h"
#include "cli/queue_job.h"
#include "cli/queue_local.h"

#define TRIES	    60
#define TRY_WAIT_NS (50 * 1000 * 1000L)

struct order {
	const struct config *config;
	const char *command; /* "queue hold" */
	json_t *json;	     /* the request */
	struct control_request *request;
	bool is_dry_run, as_json;
	unsigned int unknown; /* ids that cannot be any message's; they have been named */
};

/* ---- what is printed ---- */

static const struct {
	enum queue_action_kind kind;
	const char *done, *would;
} words[] = {
	{ QUEUE_HOLD, "Held", "Would be held" },
	{ QUEUE_RELEASE, "Released, and due now", "Would be released, and due at once" },
	{ QUEUE_RETRY, "Due now", "Would be due at once" },
	{ QUEUE_BOUNCE, "To be returned to the sender now", "Would be returned to the sender" },
	{ QUEUE_DELETE, "Deleted", "Would be deleted" },
	{ QUEUE_REROUTE, "Due now, by a new look at the routes",
	  "Would be due at once, by a new look at the routes" },
};

static const char *words_for(const char *command, bool is_dry_run)
{
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (strcmp(strchr(command, ' ') + 1, queue_action_name(words[i].kind)) == 0)
			return is_dry_run ? words[i].would : words[i].done;
	return "Done";
}

static int64_t number(const json_t *result, const char *name)
{
	return json_integer_value(json_object_get(result, name));
}

static void print_for_people(const struct order *o, const json_t *result)
{
	int64_t recipients = number(result, "recipients"), messages = number(result, "messages");
	int64_t matched = number(result, "matched");

	printf("%s: %" PRId64 " recipient%s of %" PRId64 " message%s",
	       words_for(o->command, o->is_dry_run), recipients, recipients == 1 ? "" : "s",
	       messages, messages == 1 ? "" : "s");
	if (matched > recipients)
		printf(" (%" PRId64 " match; this changes nothing for the others)", matched);
	printf("\n");
}

static void print_for_programs(const json_t *result)
{
	struct buf out = { 0 };

	cli_json_print(&out, result);
	cli_print(&out);
	buf_done(&out);
}

/* Returns the exit code. */
static int print_result(const struct order *o, const json_t *result)
{
	const json_t *missing = json_object_get(result, "missing");
	size_t unknown = o->unknown + json_array_size(missing);

	for (size_t i = 0; i < json_array_size(missing); i++)
		cli_error("%s: no such message in the queue",
			  json_string_value(json_array_get(missing, i)));
	if (o->as_json)
		print_for_programs(result);
	else if (number(result, "matched") > 0)
		print_for_people(o, result);
	else if (unknown == 0)
		cli_error("nothing in the queue matches");
	return unknown > 0 || number(result, "matched") == 0 ? CLI_NO : CLI_DONE;
}

/* ---- on a running server ---- */

struct answer {
	const struct order *order;
	int code;
};

static int on_line(void *arg, const json_t *object, bool is_last)
{
	struct answer *answer = arg;

	if (is_last) {
		json_t *result = json_copy((json_t *)object);

		json_object_del(result, "done");
		answer->code = print_result(answer->order, result);
		json_decref(result);
	}
	return 0;
}

static int act_by_server(const struct order *o, struct control_client *client)
{
	struct answer answer = { .order = o };
	int code = ask(client, json_incref(o->json), on_line, &answer);

	return code == CLI_DONE ? answer.code : code;
}

/* ---- whichever it is ---- */

/* Without a server: until the queue is ours, or a server answers. */
static int act_alone(const struct order *o)
{
	CLEANUP(queue_local_freep) struct queue_local *local = NULL;
	const struct timespec wait = { .tv_nsec = TRY_WAIT_NS };
	struct error err = { 0 };
	json_t *result = NULL;
	int code, r = queue_local_new(o->config, o->request, &local, &err);

	for (int i = 0; r == 0; i++) {
		CLEANUP(control_client_closep) struct control_client *client = NULL;

		r = queue_local_act(local, &result, &err);
		if (r != -EBUSY || i == TRIES)
			break;
		nanosleep(&wait, NULL);
		code = ask_connect(o->config, &client);
		if (code != CLI_DONE || client)
			return code != CLI_DONE ? code : act_by_server(o, client);
		r = 0;
	}
	if (r == -EBUSY)
		error_prefix(&err, "nobody answers on the control socket, but");
	if (r < 0)
		return queue_view_fail(o->config, &err);
	code = print_result(o, result);
	json_decref(result);
	return code;
}

static int act(const struct order *o)
{
	CLEANUP(control_client_closep) struct control_client *client = NULL;
	int code = ask_connect(o->config, &client);

	if (code != CLI_DONE)
		return code;
	cli_print_errors(o->config); /* a misspelled queue_directory is another queue */
	return client ? act_by_server(o, client) : act_alone(o);
}

/* Ids go into the request; what cannot be one is named at once. */
static void put_ids(struct order *o, int count, char **names)
{
	json_t *ids = json_array();
	int64_t id;

	for (int i = 0; i < count; i++) {
		if (queue_id_parse(names[i], &id)) {
			json_array_append_new(ids, json_string(names[i]));
		} else {
			cli_error("%s: no such message in the queue", names[i]);
			o->unknown++;
		}
	}
	json_object_set_new(o->json, "ids", ids);
}

/* As the server will judge it, but before anything is asked. */
static int check(const struct order *o, struct error *err)
{
	struct queue_job job;
	int r = queue_job_init(&job, o->request, clock_wall_ms(&clock_system), err);

	if (r == 0)
		queue_job_done(&job);
	return r;
}

static int order_act(struct order *o, const struct selection_words *typed, int count, char **ids)
{
	struct error err = { 0 };

	if (typed->all && count > 0)
		return cli_usage_error(
			"%s: --all is everything, and goes with no id or filter; see "
			"posthouse %s --help",
			o->command, o->command);
	o->json = json_pack("{s:s}", "command", o->command);
	if (o->is_dry_run)
		json_object_set_new(o->json, "dry_run", json_true());
	if (count > 0)
		put_ids(o, count, ids);
	if (count > 0 && o->unknown == (unsigned int)count)
		return CLI_NO;
	if (selection_put(o->json, typed, &err) < 0 ||
	    control_request_from(json_incref(o->json), &o->request, &err) < 0 || check(o, &err) < 0)
		return cli_usage_error("%s: %s; see posthouse %s --help", o->command, err.text,
				       o->command);
	return act(o);
}

int cli_queue_action(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct order order = { .command = argv[0] };
	struct selection_words typed = { .all = false };
	const struct cli_flag flags[] = {
		{ "--all", &typed.all },
		{ "--dry-run", &order.is_dry_run },
		{ "--json", &order.as_json },
		SELECTION_FLAGS(typed),
	};
	int count = cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 0, INT_MAX), code;

	if (count < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	order.config = config;
	code = order_act(&order, &typed, count, argv + 1);
	control_request_free(order.request);
	json_decref(order.json);
	return code;
}
