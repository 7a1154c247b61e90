/*
 * queue_show_text - one message, for whoever is awake at three in the morning
 *
 * What happens at the end of a message's time is not told from memory: the
 * function that decides it then (mta/fate.h) is asked now.
 */
#include "cli/queue_show.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/ledger_text.h"
#include "cli/queue_text.h"
#include "mta/fate.h"

static bool is_waiting(const struct queue_recipient *r)
{
	return r->status == QUEUE_QUEUED || r->status == QUEUE_DEFERRED;
}

/* ---- the message ---- */

static void show_origin(struct buf *out, const struct showing *s)
{
	const struct queue_origin *origin = &s->message->origin;

	if (origin->client_ip[0] == '\0' && origin->auth_user[0] != '\0')
		buf_printf(out, "client:   sendmail on this host, %s\n", origin->auth_user);
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

static void show_dsn(struct buf *out, const struct showing *s)
{
	static const char *const returns[] = {
		[SMTP_RETURN_DEFAULT] = NULL,
		[SMTP_RETURN_FULL] = "FULL",
		[SMTP_RETURN_HEADERS] = "HDRS",
	};
	const struct queue_message *m = s->message;

	if (m->kind == QUEUE_REPORT)
		buf_append_string(out, "kind:     a report of ours to a sender\n");
	if (m->kind == QUEUE_DOUBLE_BOUNCE)
		buf_append_string(out, "kind:     tells the postmaster of a report that could "
				       "not be delivered\n");
	if (m->envelope_id[0] != '\0') {
		buf_append_string(out, "envid:    ");
		cli_format_text(out, m->envelope_id);
		buf_append_string(out, "\n");
	}
	if (returns[m->returning])
		buf_printf(out, "return:   %s, as the sender asks\n", returns[m->returning]);
}

/* What not every next hop can do. */
static void show_needs(struct buf *out, const struct queue_message *m)
{
	if (m->body_binary)
		buf_append_string(out,
				  "content:  binary: only a next hop with BINARYMIME takes it\n");
	if (m->requiretls)
		buf_append_string(out, "TLS:      required at every hop, as the sender asks "
				       "(REQUIRETLS)\n");
}

static void show_message(struct buf *out, const struct showing *s)
{
	const struct queue_message *m = s->message;
	buf_printf(out, "id:       %s\nsender:   ", m->name);
	cli_format_address(out, m->sender);
	buf_append_string(out, "\nsize:     ");
	cli_format_size(out, m->size);
	buf_append_string(out, "\narrived:  ");
	queue_text_time(out, m->arrived_ms, s->view->now_ms);
	buf_append_string(out, "\n");
	show_origin(out, s);
	show_dsn(out, s);
	show_needs(out, m);
	if (!s->view->is_server_running)
		buf_append_string(out,
				  "server:   none is running: nothing is tried until one is\n");
	if (!m->body)
		buf_append_string(out, "body:     DAMAGED: it cannot be delivered\n");
}

/* ---- what happens next ---- */

/* What an attempt that fails at that time comes to. */
static struct fate fate_at(const struct showing *s, const struct queue_recipient *r, int64_t at_ms)
{
	const struct fate_facts facts = {
		.options = &s->rules,
		.message = s->message,
		.recipient = r,
		.class = SMTP_DEFERRED,
		.now_ms = at_ms,
	};
	struct fate fate;

	fate_decide(&facts, &fate);
	return fate;
}

static void append_when(struct buf *out, const struct showing *s, int64_t at_ms)
{
	if (at_ms <= s->view->now_ms)
		buf_append_string(out, "when the next attempt fails");
	else
		queue_text_time(out, at_ms, s->view->now_ms);
}

static void append_expiry(struct buf *out, const struct showing *s, const struct queue_recipient *r)
{
	int64_t at_ms = fate_expires_ms(&s->rules, s->message);
	struct fate fate = fate_at(s, r, at_ms);

	buf_append_string(out, "    given up:  ");
	append_when(out, s, at_ms);
	if (fate.report == REPORT_FAILURE) {
		buf_append_string(out, ", and returned to ");
		cli_format_address(out, s->message->sender);
	} else if (fate.report == REPORT_DOUBLE_BOUNCE) {
		buf_append_string(out, "; there is no sender, so this is told to ");
		cli_format_address(out, s->rules.double_bounce_recipient);
	} else {
		buf_append_string(out, fate.is_silenced
					       ? "; the sender has asked not to be told (NOTIFY)"
					       : "; there is nobody who could be told");
	}
	buf_append_string(out, "\n");
}

static void append_warning(struct buf *out, const struct showing *s,
			   const struct queue_recipient *r)
{
	int64_t at_ms = s->message->arrived_ms + s->rules.delay_warning_s * 1000;

	if (r->is_warned) {
		buf_append_string(out, "    warning:   the sender was told of the delay\n");
	} else if (fate_at(s, r, at_ms).report == REPORT_DELAY) {
		buf_append_string(out, "    warning:   the sender is told of the delay ");
		append_when(out, s, at_ms);
		buf_append_string(out, "\n");
	}
}

static void append_time_of_next(struct buf *out, const struct showing *s,
				const struct queue_recipient *r)
{
	queue_text_time(out, r->due_ms, s->view->now_ms);
	queue_text_waiting(out, r);
}

static void append_next(struct buf *out, const struct showing *s, const struct queue_recipient *r)
{
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
		append_time_of_next(out, s, r);
	buf_append_string(out, "\n");
}

/* Whose words these are, and when they were said. */
static void append_latest(struct buf *out, const struct showing *s, const struct attempt *a)
{
	buf_append_string(out, "               said by ");
	if (a->entry.row.by_peer && a->entry.row.peer[0] != '\0')
		cli_format_text(out, a->entry.row.peer);
	else
		buf_append_string(out, a->entry.row.by_peer ? "the next hop" : "this server");
	buf_append_string(out, ", ");
	queue_text_time(out, a->entry.row.time_ms, s->view->now_ms);
	buf_append_string(out, "\n");
}

static void append_last(struct buf *out, const struct showing *s, const struct queue_recipient *r)
{
	const struct attempt *latest = strmap_get(&s->latest, slice_from(r->address));
	if (r->reason[0] == '\0')
		return;
	buf_append_string(out, "    last:      ");
	if (r->reply_code != 0)
		buf_printf(out, "%d ", r->reply_code);
	buf_printf(out, "%s%s", r->enhanced, r->enhanced[0] ? " " : "");
	cli_format_text(out, r->reason);
	buf_append_string(out, "\n");
	if (latest)
		append_latest(out, s, latest);
}

void queue_show_next(struct buf *out, const struct showing *s, const struct queue_recipient *r)
{
	if (queue_status_is_pending(r->status))
		append_next(out, s, r);
	if (is_waiting(r) && !r->is_returning && s->has_rules) {
		append_warning(out, s, r);
		append_expiry(out, s, r);
	}
}

static void show_recipient(struct buf *out, const struct showing *s,
			   const struct queue_recipient *r)
{
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
	append_last(out, s, r);
	queue_show_next(out, s, r);
}

/* ---- for people ---- */

static void show_attempt(struct buf *out, const struct showing *s, const struct attempt *a)
{
	const struct queue_ledger_row *row = &a->entry.row;
	buf_append_string(out, "    ");
	queue_text_time(out, row->time_ms, s->view->now_ms);
	buf_append_string(out, ": ");
	cli_format_address(out, a->entry.recipient);
	buf_printf(out, ": %s, %s", queue_status_name(a->entry.status), row->transport);
	if (row->next_hop[0] != '\0') {
		buf_append_string(out, " ");
		cli_format_text(out, row->next_hop);
	}
	if (row->peer[0] != '\0')
		buf_printf(out, " at %s", row->peer);
	buf_printf(out, " (%s)", row->source);
	if (row->has_tls_policy) {
		buf_printf(out, "\n        TLS %s: ", row->level);
		ledger_text_tls(out, row);
	}
	buf_append_string(out, "\n        ");
	cli_format_text(out, row->reply);
	buf_append_string(out, "\n");
}

void queue_show_text(const struct showing *s, struct buf *out)
{
	show_message(out, s);
	for (unsigned int i = 0; i < s->message->recipient_count; i++)
		show_recipient(out, s, &s->message->recipients[i]);
	if (s->first)
		buf_append_string(out, "\nhistory:\n");
	for (const struct attempt *a = s->first; a; a = a->next)
		show_attempt(out, s, a);
}
