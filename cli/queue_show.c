/*
 * posthouse queue show - where one message is, why, and what happens next
 *
 * What is stored says where it is; the configuration, when it will be given
 * up; the ledger, what was tried; a running server, whether it is at it now.
 */
#include <jansson.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/parse.h"
#include "base/strmap.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/queue_text.h"

struct showing {
	struct queue_view *view;
	const struct queue_message *message;
	struct buf out;
	struct attempt *first, *last; /* what was tried, the oldest first */
	struct strmap latest;	      /* recipient -> struct attempt */
	struct arena arena;
};

struct attempt {
	struct attempt *next;
	const char *recipient;
	enum queue_status status;
	struct queue_ledger_row row;
};

/* 0 where the configuration is silent or in error. */
static int64_t duration_ms(const struct showing *s, enum config_parameter_id id)
{
	const char *text = config_value(s->view->config, id);
	int64_t seconds;

	return text && parse_duration_s(slice_from(text), &seconds) ? seconds * 1000 : 0;
}

/* When what waits is given up; 0: not known. */
static int64_t expiry_ms(const struct showing *s)
{
	int64_t lifetime_ms = duration_ms(s, s->message->sender[0] ? CONFIG_MAXIMAL_QUEUE_LIFETIME
								   : CONFIG_BOUNCE_QUEUE_LIFETIME);

	return config_value(s->view->config, CONFIG_MAXIMAL_QUEUE_LIFETIME)
		       ? s->message->arrived_ms + lifetime_ms
		       : 0;
}

/* When the sender is told of the delay; 0: never. */
static int64_t warning_ms(const struct showing *s)
{
	int64_t delay_ms = duration_ms(s, CONFIG_DELAY_WARNING_TIME);

	return delay_ms > 0 && s->message->sender[0] ? s->message->arrived_ms + delay_ms : 0;
}

static bool is_waiting(const struct queue_recipient *r)
{
	return r->status == QUEUE_QUEUED || r->status == QUEUE_DEFERRED;
}

/* ---- what was tried, from the ledger ---- */

static void keep_texts(struct arena *arena, struct queue_ledger_row *row)
{
	const char **const texts[] = { &row->transport, &row->next_hop,	  &row->peer,
				       &row->source,	&row->reply,	  &row->level,
				       &row->mode,	&row->protocol,	  &row->cipher,
				       &row->peer_name, &row->fingerprint };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		*texts[i] = *texts[i] ? arena_strdup(arena, *texts[i]) : "";
}

static int add_attempt(void *arg, const struct queue_attempt *found)
{
	struct showing *s = arg;
	struct attempt *a = arena_alloc(&s->arena, sizeof(*a));

	*a = (struct attempt){
		.recipient = arena_strdup(&s->arena, found->recipient),
		.status = found->status,
		.row = *found->ledger,
	};
	keep_texts(&s->arena, &a->row);
	if (s->last)
		s->last->next = a;
	else
		s->first = a;
	s->last = a;
	strmap_put(&s->latest, slice_from(a->recipient), a);
	return 0;
}

/* ---- the message ---- */

static void show_origin(struct showing *s)
{
	const struct queue_origin *origin = &s->message->origin;
	struct buf *out = &s->out;

	if (origin->client_ip[0] == '\0')
		return;
	buf_append_string(out, "client:   ");
	cli_format_text(out, origin->hello);
	buf_printf(out, " [%s] by %s", origin->client_ip, origin->protocol);
	if (origin->tls_protocol[0] != '\0')
		buf_printf(out, ", %s with %s", origin->tls_protocol, origin->tls_cipher);
	if (origin->auth_user[0] != '\0') {
		buf_append_string(out, ", as ");
		cli_format_text(out, origin->auth_user);
	}
	buf_append_string(out, "\n");
}

static void show_dsn(struct showing *s)
{
	static const char *const returns[] = {
		[SMTP_RETURN_DEFAULT] = NULL,
		[SMTP_RETURN_FULL] = "FULL",
		[SMTP_RETURN_HEADERS] = "HDRS",
	};
	const struct queue_message *m = s->message;

	if (m->kind == QUEUE_REPORT)
		buf_append_string(&s->out, "kind:     a report of ours to a sender\n");
	if (m->kind == QUEUE_DOUBLE_BOUNCE)
		buf_append_string(&s->out, "kind:     tells the postmaster of a report that could "
					   "not be delivered\n");
	if (m->envelope_id[0] != '\0') {
		buf_append_string(&s->out, "envid:    ");
		cli_format_text(&s->out, m->envelope_id);
		buf_append_string(&s->out, "\n");
	}
	if (returns[m->returning])
		buf_printf(&s->out, "return:   %s, as the sender asks\n", returns[m->returning]);
}

static void show_message(struct showing *s)
{
	const struct queue_message *m = s->message;
	struct buf *out = &s->out;

	buf_printf(out, "id:       %s\nsender:   ", m->name);
	cli_format_address(out, m->sender);
	buf_append_string(out, "\nsize:     ");
	cli_format_size(out, m->size);
	buf_append_string(out, "\narrived:  ");
	queue_text_time(out, m->arrived_ms, s->view->now_ms);
	buf_append_string(out, "\n");
	show_origin(s);
	show_dsn(s);
	if (!s->view->is_server_running)
		buf_append_string(out,
				  "server:   none is running: nothing is tried until one is\n");
	if (!m->body)
		buf_append_string(out, "body:     DAMAGED: it cannot be delivered\n");
}

/* ---- what happens next ---- */

static void append_expiry(struct showing *s)
{
	struct buf *out = &s->out;
	int64_t at_ms = expiry_ms(s);

	if (at_ms == 0)
		return;
	buf_append_string(out, "    given up:  ");
	if (at_ms <= s->view->now_ms)
		buf_append_string(out, "when the next attempt fails");
	else
		queue_text_time(out, at_ms, s->view->now_ms);
	if (s->message->sender[0] != '\0') {
		buf_append_string(out, ", and returned to ");
		cli_format_address(out, s->message->sender);
	} else {
		buf_append_string(out, "; there is no sender to return it to");
	}
	buf_append_string(out, "\n");
}

static void append_warning(struct showing *s, const struct queue_recipient *r)
{
	struct buf *out = &s->out;
	int64_t at_ms = warning_ms(s);

	if (r->is_warned) {
		buf_append_string(out, "    warning:   the sender was told of the delay\n");
	} else if (at_ms != 0 && !(r->notify & SMTP_NOTIFY_NEVER) &&
		   (r->notify == 0 || (r->notify & SMTP_NOTIFY_DELAY))) {
		buf_append_string(out, "    warning:   the sender is told of the delay ");
		if (at_ms <= s->view->now_ms)
			buf_append_string(out, "when the next attempt fails");
		else
			queue_text_time(out, at_ms, s->view->now_ms);
		buf_append_string(out, "\n");
	}
}

static void append_next(struct showing *s, const struct queue_recipient *r)
{
	struct buf *out = &s->out;

	buf_append_string(out, "    next:      ");
	if (r->status == QUEUE_HELD)
		buf_printf(out, "nothing, until somebody says: posthouse queue release %s",
			   s->message->name);
	else if (queue_view_is_active(s->view, s->message, r))
		buf_append_string(out, "it is being tried, or waits for a connection");
	else if (r->is_returning)
		buf_append_string(out, "it is returned to the sender, as an operator said");
	else if (r->due_ms <= s->view->now_ms)
		buf_append_string(out, s->view->is_server_running
					       ? "it is due, and tried as soon as there is room"
					       : "it is due, and tried when a server runs");
	else
		queue_text_time(out, r->due_ms, s->view->now_ms);
	buf_append_string(out, "\n");
}

/* Whom we talked to when that was said, and when. */
static void append_latest(struct showing *s, const struct attempt *a)
{
	struct buf *out = &s->out;

	buf_append_string(out, "               ");
	queue_text_time(out, a->row.time_ms, s->view->now_ms);
	if (a->row.peer[0] != '\0')
		buf_printf(out, ", with %s", a->row.peer);
	buf_append_string(out, "\n");
}

static void append_last(struct showing *s, const struct queue_recipient *r)
{
	const struct attempt *latest = strmap_get(&s->latest, slice_from(r->address));
	struct buf *out = &s->out;

	if (r->reason[0] == '\0')
		return;
	buf_append_string(out, "    last:      ");
	if (r->reply_code != 0)
		buf_printf(out, "%d ", r->reply_code);
	buf_printf(out, "%s%s", r->enhanced, r->enhanced[0] ? " " : "");
	cli_format_text(out, r->reason);
	buf_append_string(out, "\n");
	if (latest)
		append_latest(s, latest);
}

static void show_recipient(struct showing *s, const struct queue_recipient *r)
{
	struct buf *out = &s->out;

	buf_append_string(out, "\n");
	cli_format_address(out, r->address);
	buf_append_string(out, ": ");
	queue_text_state(out, s->message, r, s->view);
	buf_append_string(out, "\n");
	if (strcmp(r->original, r->address) != 0) {
		buf_append_string(out, "    sent to:   ");
		cli_format_address(out, r->original);
		buf_append_string(out, "\n");
	}
	append_last(s, r);
	if (queue_status_is_pending(r->status))
		append_next(s, r);
	if (is_waiting(r) && !r->is_returning) {
		append_warning(s, r);
		append_expiry(s);
	}
}

/* ---- for people ---- */

/* "TLSv1.3 with TLS_AES_128_GCM_SHA256, mx.example verified", or that there was none. */
static void append_tls(struct buf *out, const struct queue_ledger_row *row)
{
	buf_printf(out, "\n        TLS %s: ", row->level);
	if (row->protocol[0] == '\0') {
		buf_append_string(out, strcmp(row->mode, "none") == 0 ? "none" : "no session");
		return;
	}
	buf_printf(out, "%s with %s, ", row->protocol, row->cipher);
	if (row->peer_name[0] != '\0') {
		cli_format_text(out, row->peer_name);
		buf_append_string(out, " ");
	}
	buf_append_string(out, row->verified ? "verified" : "not verified");
	if (row->resumed)
		buf_append_string(out, ", resumed");
}

static void show_attempt(struct showing *s, const struct attempt *a)
{
	const struct queue_ledger_row *row = &a->row;
	struct buf *out = &s->out;

	buf_append_string(out, "    ");
	queue_text_time(out, row->time_ms, s->view->now_ms);
	buf_append_string(out, ": ");
	cli_format_address(out, a->recipient);
	buf_printf(out, ": %s, %s", queue_status_name(a->status), row->transport);
	if (row->next_hop[0] != '\0') {
		buf_append_string(out, " ");
		cli_format_text(out, row->next_hop);
	}
	if (row->peer[0] != '\0')
		buf_printf(out, " at %s", row->peer);
	buf_printf(out, " (%s)", row->source);
	if (row->has_tls_policy)
		append_tls(out, row);
	buf_append_string(out, "\n        ");
	cli_format_text(out, row->reply);
	buf_append_string(out, "\n");
}

static void show_for_people(struct showing *s)
{
	show_message(s);
	for (unsigned int i = 0; i < s->message->recipient_count; i++)
		show_recipient(s, &s->message->recipients[i]);
	if (s->first)
		buf_append_string(&s->out, "\nhistory:\n");
	for (const struct attempt *a = s->first; a; a = a->next)
		show_attempt(s, a);
}

/* ---- for programs ---- */

static json_t *tls_value(const struct queue_ledger_row *row)
{
	json_t *tls = json_object();

	json_object_set_new(tls, "level", cli_json_text(row->level));
	json_object_set_new(tls, "mode", cli_json_text(row->mode));
	json_object_set_new(tls, "protocol", cli_json_text(row->protocol));
	json_object_set_new(tls, "cipher", cli_json_text(row->cipher));
	json_object_set_new(tls, "verified", json_boolean(row->verified));
	json_object_set_new(tls, "peer_name", cli_json_text(row->peer_name));
	json_object_set_new(tls, "fingerprint", cli_json_text(row->fingerprint));
	json_object_set_new(tls, "resumed", json_boolean(row->resumed));
	return tls;
}

/* With the names of a row of the ledger. */
static json_t *attempt_value(const struct attempt *a)
{
	const struct queue_ledger_row *row = &a->row;
	json_t *object = json_object();

	json_object_set_new(object, "time", cli_json_time(row->time_ms));
	json_object_set_new(object, "recipient", cli_json_text(a->recipient));
	json_object_set_new(object, "transport", cli_json_text(row->transport));
	json_object_set_new(object, "next_hop", cli_json_text(row->next_hop));
	json_object_set_new(object, "peer", cli_json_text(row->peer));
	json_object_set_new(object, "source", cli_json_text(row->source));
	json_object_set_new(object, "status", json_string(queue_status_name(a->status)));
	json_object_set_new(object, "reply", cli_json_text(row->reply));
	json_object_set_new(object, "tls", row->has_tls_policy ? tls_value(row) : json_null());
	return object;
}

static void show_for_programs(struct showing *s)
{
	json_t *object = cli_json_message(s->message, s->view, true), *history = json_array();

	for (const struct attempt *a = s->first; a; a = a->next)
		json_array_append_new(history, attempt_value(a));
	json_object_set_new(object, "given_up_at", cli_json_time(expiry_ms(s)));
	json_object_set_new(object, "history", history);
	cli_json_print(&s->out, object);
	json_decref(object);
}

static int show(struct showing *s, bool as_json)
{
	struct error err = { 0 };
	int r;

	queue_view_ask_server(s->view);
	r = queue_reader_history(s->view->reader, s->message->id, add_attempt, s, &err);
	if (r == 0 && as_json)
		show_for_programs(s);
	else if (r == 0)
		show_for_people(s);
	cli_print(&s->out);
	buf_done(&s->out);
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
