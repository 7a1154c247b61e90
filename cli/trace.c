/*
 * posthouse trace - the recorded life of a message, or of the last ones of an address
 *
 * The ledger has what has happened, also when the message has gone; the queue,
 * what is still to do. Neither needs a server.
 */
#include "cli/trace.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/ledger_text.h"
#include "mta/fate.h"

#define MESSAGES_MAX 20 /* of an address */

struct trace_facts trace_facts(const struct trace *t)
{
	const struct queue_message *m = t->showing.message;
	const struct queue_ledger_entry *e = t->first ? &t->first->entry : NULL;

	if (m)
		return (struct trace_facts){ m->sender, m->arrived_ms, (int64_t)m->size,
					     &m->origin };
	return (struct trace_facts){ e->sender, e->arrived_ms, e->size, &e->origin };
}

/* ---- for programs ---- */

static json_t *origin_value(const struct queue_origin *origin)
{
	json_t *object, *tls = json_null(), *certificate = json_null();

	if (origin->client_ip[0] == '\0' && origin->auth_user[0] == '\0')
		return json_null();
	if (origin->cert_fingerprint[0] != '\0')
		certificate = json_pack("{s:o, s:o, s:b}", "name", cli_json_text(origin->cert_name),
					"fingerprint", cli_json_text(origin->cert_fingerprint),
					"verified", origin->cert_verified);
	if (origin->tls_protocol[0] != '\0')
		tls = json_pack("{s:o, s:o}", "protocol", cli_json_text(origin->tls_protocol),
				"cipher", cli_json_text(origin->tls_cipher));
	object = json_object();
	json_object_set_new(object, "client", cli_json_text(origin->client_ip));
	json_object_set_new(object, "hello", cli_json_text(origin->hello));
	json_object_set_new(object, "protocol", cli_json_text(origin->protocol));
	json_object_set_new(object, "auth_user", cli_json_text(origin->auth_user));
	json_object_set_new(object, "tls", tls);
	json_object_set_new(object, "certificate", certificate);
	return object;
}

static json_t *event_value(const struct queue_ledger_entry *e)
{
	static const char *const names[] = {
		[QUEUE_LEDGER_ATTEMPT] = "attempt",
		[QUEUE_LEDGER_DECISION] = "decision",
		[QUEUE_LEDGER_DELETED] = "deletion",
		[QUEUE_LEDGER_GAP] = "gap",
	};
	const struct queue_ledger_row *row = &e->row;
	json_t *object = json_object(), *tls = ledger_text_tls_value(row);

	if (json_is_object(tls)) {
		json_object_set_new(tls, "verified_by", cli_json_text(row->verified_by));
		json_object_set_new(tls, "pubkey_fingerprint",
				    cli_json_text(row->pubkey_fingerprint));
	}
	json_object_set_new(object, "time", cli_json_time(row->time_ms));
	json_object_set_new(object, "event", json_string(names[row->kind]));
	json_object_set_new(object, "recipient", cli_json_text(e->recipient));
	json_object_set_new(object, "status", json_string(queue_status_name(e->status)));
	json_object_set_new(object, "transport", cli_json_text(row->transport));
	json_object_set_new(object, "next_hop", cli_json_text(row->next_hop));
	json_object_set_new(object, "source", cli_json_text(row->source));
	json_object_set_new(object, "peer", cli_json_text(row->peer));
	json_object_set_new(object, "reply", cli_json_text(row->reply));
	json_object_set_new(object, "by_peer", json_boolean(row->by_peer));
	json_object_set_new(object, "in_clear", json_boolean(row->in_clear));
	json_object_set_new(object, "tls", tls);
	return object;
}

/* As `queue show` has them; none where the message has left the queue. */
static json_t *recipients_value(const struct trace *t)
{
	const struct queue_message *m = t->showing.message;
	json_t *message, *all, *shown = json_array();

	if (!m)
		return shown;
	message = cli_json_message(m, t->view, true);
	all = json_object_get(message, "recipients");
	for (unsigned int i = 0; i < m->recipient_count; i++)
		if (trace_shows(t, m->recipients[i].address))
			json_array_append(shown, json_array_get(all, i));
	json_decref(message);
	return shown;
}

static void trace_json(const struct trace *t, struct buf *out)
{
	const struct showing *s = &t->showing;
	struct trace_facts facts = trace_facts(t);
	json_t *object = json_object(), *events = json_array();
	char id[QUEUE_ID_SIZE];

	queue_id_format(t->id, id);
	json_object_set_new(object, "id", json_string(id));
	json_object_set_new(object, "arrived_at", cli_json_time(facts.arrived_ms));
	json_object_set_new(object, "size", json_integer(facts.size));
	json_object_set_new(object, "sender", cli_json_text(facts.sender));
	json_object_set_new(object, "origin", origin_value(facts.origin));
	json_object_set_new(object, "in_queue", json_boolean(s->message != NULL));
	for (const struct trace_event *e = t->first; e; e = e->next)
		if (trace_shows(t, e->entry.recipient))
			json_array_append_new(events, event_value(&e->entry));
	json_object_set_new(object, "events", events);
	json_object_set_new(object, "recipients", recipients_value(t));
	json_object_set_new(object, "other_recipients", json_integer((json_int_t)trace_others(t)));
	json_object_set_new(object, "given_up_at",
			    cli_json_time(s->message && s->has_rules
						  ? fate_expires_ms(&s->rules, s->message)
						  : 0));
	cli_json_print(out, object);
	json_decref(object);
}

/* ---- one message ---- */

static int add_event(void *arg, const struct queue_ledger_entry *entry)
{
	struct trace *t = arg;
	struct trace_event *e = arena_alloc(&t->arena, sizeof(*e));

	*e = (struct trace_event){ .entry = *entry };
	queue_ledger_keep(&t->arena, &e->entry);
	if (t->last)
		t->last->next = e;
	else
		t->first = e;
	t->last = e;
	return 0;
}

static void append_trace(struct trace *t, bool as_json, struct buf *out)
{
	trace_choose(t);
	if (as_json)
		trace_json(t, out);
	else
		trace_text(t, out);
}

/* address: see struct trace. CLI_NO, and nothing was printed: neither queue nor ledger knows it. */
static int trace_message(struct queue_view *view, int64_t id, const char *address, bool as_json,
			 struct buf *out)
{
	struct trace t = { .view = view, .id = id, .address = address, .showing.view = view };
	struct queue_message *message = NULL;
	struct error err = { 0 };
	int code = CLI_DONE;
	int r = queue_reader_load(view->reader, id, &message, &err);

	t.showing.message = message;
	queue_show_rules(&t.showing);
	if (r >= 0)
		r = queue_reader_history(view->reader, id, add_event, &t, &err);
	if (r < 0)
		code = queue_view_fail(view->config, &err);
	else if (!message && !t.first)
		code = CLI_NO;
	else
		append_trace(&t, as_json, out);
	queue_message_free(message);
	strmap_done(&t.known);
	strmap_done(&t.shown);
	arena_done(&t.arena);
	return code;
}

/* ---- the last ones of an address ---- */

struct ids {
	int64_t ids[3 * MESSAGES_MAX];
	size_t count;
};

/* They come in the order of their ids: the last ones stay. */
static int add_waiting(void *arg, const struct queue_message *m)
{
	struct ids *found = arg;

	if (found->count == MESSAGES_MAX) {
		memmove(found->ids, found->ids + 1, (MESSAGES_MAX - 1) * sizeof(found->ids[0]));
		found->count--;
	}
	found->ids[found->count++] = m->id;
	return 0;
}

static int find_waiting(struct queue_view *view, const struct queue_filter *filter, struct ids *all,
			struct error *err)
{
	struct ids found = { .count = 0 };
	int r = queue_reader_list(view->reader, filter, add_waiting, &found, err);

	memcpy(all->ids + all->count, found.ids, found.count * sizeof(found.ids[0]));
	all->count += found.count;
	return r == -EBADMSG ? 0 : r; /* some are damaged: the others are shown all the same */
}

static int find_recorded(struct queue_view *view, const char *address, struct ids *all,
			 struct error *err)
{
	char *bare = strdup(address);
	size_t len = strlen(bare);
	int r;

	if (len >= 2 && bare[0] == '<' && bare[len - 1] == '>') {
		memmove(bare, bare + 1, len - 2);
		bare[len - 2] = '\0';
	}
	r = queue_reader_ledger_messages(view->reader, bare, all->ids + all->count, MESSAGES_MAX,
					 err);
	free(bare);
	if (r > 0)
		all->count += (size_t)r;
	return MIN(r, 0);
}

static int newest_first(const void *a, const void *b)
{
	int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;

	return (left < right) - (left > right);
}

/* The last ones, each once. Ids grow with time. */
static void choose(struct ids *all)
{
	size_t kept = 0;

	qsort(all->ids, all->count, sizeof(all->ids[0]), newest_first);
	for (size_t i = 0; i < all->count && kept < MESSAGES_MAX; i++)
		if (kept == 0 || all->ids[i] != all->ids[kept - 1])
			all->ids[kept++] = all->ids[i];
	all->count = kept;
}

static int trace_address(struct queue_view *view, const char *address, bool as_json,
			 struct buf *out)
{
	const struct queue_filter to = { .recipient = address }, from = { .sender = address };
	struct ids all = { .count = 0 };
	struct error err = { 0 };
	int code = CLI_NO;
	int r = find_waiting(view, &to, &all, &err);

	if (r == 0)
		r = find_waiting(view, &from, &all, &err);
	if (r == 0)
		r = find_recorded(view, address, &all, &err);
	if (r < 0)
		return queue_view_fail(view->config, &err);
	choose(&all);
	for (size_t i = all.count; i > 0 && (code == CLI_NO || code == CLI_DONE); i--) {
		int one = trace_message(view, all.ids[i - 1], address, as_json, out);

		code = one == CLI_NO ? code : one; /* it may have gone and expired meanwhile */
		if (!as_json && i > 1)
			buf_append_string(out, "\n");
		cli_print(out);
	}
	if (all.count == MESSAGES_MAX && !as_json)
		buf_printf(out, "\nThese are the last %d messages; there may be others.\n",
			   MESSAGES_MAX);
	return code;
}

/* ---- the command ---- */

static bool is_id(const char *word, int64_t *ret)
{
	return !strpbrk(word, "@<") && queue_id_parse(word, ret);
}

static int trace(struct queue_view *view, const char *word, bool as_json)
{
	struct buf out = { 0 };
	int code = CLI_NO;
	int64_t id;

	queue_view_ask_server(view);
	if (!view->reader)
		code = CLI_NO;
	else if (is_id(word, &id))
		code = trace_message(view, id, NULL, as_json, &out);
	else
		code = trace_address(view, word, as_json, &out);
	cli_print(&out);
	buf_done(&out);
	if (code == CLI_NO)
		cli_error("%s: neither the queue nor the ledger knows it", word);
	return code;
}

int cli_trace(const struct cli *cli, int argc, char **argv)
{
	CLEANUP(config_freep) struct config *config = NULL;
	struct queue_view view;
	bool as_json = false;
	const struct cli_flag flags[] = { { "--json", &as_json } };
	int code;

	if (cli_arguments(argc, argv, flags, ARRAY_SIZE(flags), 1, 1) < 0)
		return CLI_USAGE;
	if (argv[1][0] == '\0')
		return cli_usage_error("trace: of what? An address is empty");
	config = config_load(cli->config_file);
	code = queue_view_open(&view, config);
	if (code == CLI_DONE)
		code = trace(&view, argv[1], as_json);
	queue_view_close(&view);
	return code;
}
