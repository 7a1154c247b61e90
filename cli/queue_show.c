/*
 * posthouse queue show - where one message is, why, and what happens next
 *
 * What is stored says where it is; the configuration, when it will be given
 * up; the ledger, what was tried; a running server, whether it is at it now.
 */
#include "cli/queue_show.h"

#include <jansson.h>

#include "base/macros.h"
#include "base/parse.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/ledger_text.h"
#include "mta/fate.h"

/* False where the configuration is in error. */
static bool get_duration(const struct config *config, enum config_parameter_id id, int64_t *ret_s)
{
	const char *text = config_value(config, id);

	return text && parse_duration_s(slice_from(text), ret_s);
}

void queue_show_rules(struct showing *s)
{
	const struct config *config = s->view->config;
	struct mta_options *rules = &s->rules;
	const char *postmaster = config_value(config, CONFIG_2BOUNCE_NOTICE_RECIPIENT);

	rules->double_bounce_recipient = postmaster ? postmaster : "";
	s->has_rules =
		get_duration(config, CONFIG_MAXIMAL_QUEUE_LIFETIME, &rules->maximal_lifetime_s) &&
		get_duration(config, CONFIG_BOUNCE_QUEUE_LIFETIME, &rules->bounce_lifetime_s) &&
		get_duration(config, CONFIG_DELAY_WARNING_TIME, &rules->delay_warning_s);
}

/* ---- what was tried, from the ledger ---- */

static int add_attempt(void *arg, const struct queue_ledger_entry *found)
{
	struct showing *s = arg;
	struct attempt *a;

	if (found->row.kind != QUEUE_LEDGER_ATTEMPT)
		return 0; /* trace tells that, too */
	a = arena_alloc(&s->arena, sizeof(*a));
	*a = (struct attempt){ .entry = *found };
	queue_ledger_keep(&s->arena, &a->entry);
	if (s->last)
		s->last->next = a;
	else
		s->first = a;
	s->last = a;
	strmap_put(&s->latest, slice_from(a->entry.recipient), a);
	return 0;
}

/* ---- for programs ---- */

/* With the names of a row of the ledger. */
static json_t *attempt_value(const struct attempt *a)
{
	const struct queue_ledger_row *row = &a->entry.row;
	json_t *object = json_object();

	json_object_set_new(object, "time", cli_json_time(row->time_ms));
	json_object_set_new(object, "recipient", cli_json_text(a->entry.recipient));
	json_object_set_new(object, "transport", cli_json_text(row->transport));
	json_object_set_new(object, "next_hop", cli_json_text(row->next_hop));
	json_object_set_new(object, "peer", cli_json_text(row->peer));
	json_object_set_new(object, "source", cli_json_text(row->source));
	json_object_set_new(object, "status", json_string(queue_status_name(a->entry.status)));
	json_object_set_new(object, "reply", cli_json_text(row->reply));
	json_object_set_new(object, "by_peer", json_boolean(row->by_peer));
	json_object_set_new(object, "tls", ledger_text_tls_value(row));
	return object;
}

static void show_for_programs(const struct showing *s, struct buf *out)
{
	json_t *object = cli_json_message(s->message, s->view, true), *history = json_array();

	for (const struct attempt *a = s->first; a; a = a->next)
		json_array_append_new(history, attempt_value(a));
	json_object_set_new(object, "body_binary", json_boolean(s->message->body_binary));
	json_object_set_new(object, "requiretls", json_boolean(s->message->requiretls));
	json_object_set_new(object, "given_up_at",
			    cli_json_time(s->has_rules ? fate_expires_ms(&s->rules, s->message)
						       : 0));
	json_object_set_new(object, "history", history);
	cli_json_print(out, object);
	json_decref(object);
}

static int show(struct showing *s, bool as_json)
{
	struct buf out = { 0 };
	struct error err = { 0 };
	int r;

	queue_show_rules(s);
	queue_view_ask_server(s->view);
	r = queue_reader_history(s->view->reader, s->message->id, add_attempt, s, &err);
	if (r == 0 && as_json)
		show_for_programs(s, &out);
	else if (r == 0)
		queue_show_text(s, &out);
	cli_print(&out);
	buf_done(&out);
	strmap_done(&s->latest);
	arena_done(&s->arena);
	return r < 0 ? queue_view_fail(s->view->config, &err) : CLI_DONE;
}

int cli_queue_show(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct queue_message *message = NULL;
	struct queue_view view;
	bool as_json = false;
	const struct cli_flag flags[] = { { "--json", &as_json } };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, 1) < 0)
		return CLI_USAGE;
	config = config_load(cli->config_file);
	code = queue_view_open(&view, config);
	if (code == CLI_DONE)
		code = queue_view_load(&view, argv[1], &message);
	if (code == CLI_DONE)
		code = show(&(struct showing){ .view = &view, .message = message }, as_json);
	queue_message_free(message);
	queue_view_close(&view);
	return code;
}
