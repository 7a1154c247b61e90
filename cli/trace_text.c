/* trace_text - the life of a message in words, in the order in which it happened */
#include "cli/trace.h"

#include <string.h>

#include "cli/cli.h"
#include "cli/ledger_text.h"
#include "cli/queue_text.h"

static void append_named(struct buf *out, const char *before, const char *text, const char *behind)
{
	if (text[0] == '\0')
		return;
	buf_append_string(out, before);
	cli_format_text(out, text);
	buf_append_string(out, behind);
}

/* ---- how it came in ---- */

static void show_origin(struct buf *out, const struct queue_origin *origin)
{
	if (origin->client_ip[0] == '\0' && origin->auth_user[0] != '\0') {
		append_named(out, "    from      sendmail on this host, ", origin->auth_user, "\n");
		return;
	}
	if (origin->client_ip[0] == '\0') {
		buf_append_string(out, "    made by this server itself\n");
		return;
	}
	buf_append_string(out, "    from      ");
	cli_format_text(out, origin->hello);
	buf_append_string(out, " [");
	cli_format_text(out, origin->client_ip);
	buf_append_string(out, "]");
	append_named(out, " by ", origin->protocol, "");
	append_named(out, ", logged in as ", origin->auth_user, "");
	buf_append_string(out, "\n    tls       ");
	if (origin->tls_protocol[0] != '\0') {
		cli_format_text(out, origin->tls_protocol);
		append_named(out, " with ", origin->tls_cipher, "");
	} else {
		buf_append_string(out, "none: it came IN CLEAR");
	}
	buf_append_string(out, "\n");
	if (origin->cert_fingerprint[0] == '\0')
		return;
	buf_append_string(out, "    client    certificate ");
	append_named(out, "of ", origin->cert_name, ", ");
	buf_append_string(out, origin->cert_verified ? "signed by a CA that is trusted here, "
						     : "signed by nobody who is trusted here, ");
	cli_format_text(out, origin->cert_fingerprint);
	buf_append_string(out, "\n");
}

static void show_arrival(struct buf *out, const struct trace *t)
{
	struct trace_facts facts = trace_facts(t);
	char id[QUEUE_ID_SIZE];

	queue_id_format(t->id, id);
	buf_printf(out, "%s, ", id);
	cli_format_size(out, (uint64_t)facts.size);
	buf_append_string(out, ", from ");
	cli_format_address(out, facts.sender);
	buf_append_string(out, "\n\n");
	if (facts.arrived_ms != 0) {
		queue_text_time(out, facts.arrived_ms, t->view->now_ms);
		buf_append_string(out, ": arrived\n");
	}
	show_origin(out, facts.origin);
	if (trace_others(t) > 0)
		buf_printf(out, "    others    %zu more recipient%s; all: posthouse trace %s\n",
			   trace_others(t), trace_others(t) == 1 ? "" : "s", id);
}

/* ---- what has happened ---- */

static void show_tls(struct buf *out, const struct queue_ledger_row *row)
{
	buf_append_string(out, "    tls       ");
	append_named(out, "", row->level, " is asked for; ");
	if (row->in_clear) {
		buf_append_string(out, "NONE: the message or its envelope went IN CLEAR\n");
		return;
	}
	if (row->protocol[0] == '\0') {
		buf_append_string(out,
				  "no session came about, and nothing of the message was sent\n");
		if (row->fingerprint[0] != '\0') {
			buf_append_string(out, "    peer      not verified, showed a certificate");
			append_named(out, " of ", row->peer_name, "");
			append_named(out, "\n              certificate ", row->fingerprint, "");
			append_named(out, "\n              key ", row->pubkey_fingerprint, "\n");
		}
		return;
	}
	append_named(out, "", row->mode, ", ");
	ledger_text_tls(out, row);
	buf_append_string(out, "\n");
	append_named(out, "    peer      certificate ", row->fingerprint, "\n");
	append_named(out, "              key ", row->pubkey_fingerprint, "\n");
}

static void show_route(struct buf *out, const struct queue_ledger_row *row)
{
	if (row->transport[0] == '\0')
		return;
	append_named(out, "    route     ", row->transport, "");
	append_named(out, " ", row->next_hop, "");
	if (strcmp(row->source, "local") == 0)
		buf_append_string(out, ", as the domain is this host's");
	else if (strcmp(row->source, "default") == 0)
		buf_append_string(out, ", by default");
	else
		append_named(out, ", as ", row->source, " says");
	buf_append_string(out, "\n");
}

static void show_reply(struct buf *out, const struct queue_ledger_row *row)
{
	append_named(out, "    reply     ", row->reply,
		     row->by_peer ? " (the peer's words)\n" : " (this server's words)\n");
}

static const char *what_happened(const struct queue_ledger_entry *e)
{
	if (e->row.kind == QUEUE_LEDGER_DELETED)
		return "deleted by the operator; nobody was told";
	if (e->row.kind == QUEUE_LEDGER_DECISION)
		return e->status == QUEUE_DELIVERED ? "discarded; nobody was asked"
		       : e->status == QUEUE_BOUNCED ? "returned; nobody was asked"
						    : "not tried";
	switch (e->status) {
	case QUEUE_DELIVERED:
		return "delivered";
	case QUEUE_DEFERRED:
		return "tried, to be tried again";
	case QUEUE_BOUNCED:
		return "tried, and returned";
	default:
		return queue_status_name(e->status);
	}
}

static void show_event(struct buf *out, const struct trace *t, const struct queue_ledger_entry *e)
{
	const struct queue_ledger_row *row = &e->row;

	buf_append_string(out, "\n");
	queue_text_time(out, row->time_ms, t->view->now_ms);
	buf_append_string(out, ": ");
	cli_format_address(out, e->recipient);
	buf_printf(out, ": %s\n", what_happened(e));
	if (row->kind == QUEUE_LEDGER_DELETED)
		return;
	append_named(out, "    address   ", row->peer, "\n");
	show_route(out, row);
	if (row->has_tls_policy && row->kind == QUEUE_LEDGER_ATTEMPT)
		show_tls(out, row);
	show_reply(out, row);
}

/* ---- what comes ---- */

static void show_pending(struct buf *out, const struct trace *t)
{
	const struct showing *s = &t->showing;
	bool is_any = false;

	for (unsigned int i = 0; i < s->message->recipient_count; i++) {
		const struct queue_recipient *r = &s->message->recipients[i];

		if (!queue_status_is_pending(r->status) || !trace_shows(t, r->address))
			continue;
		is_any = true;
		buf_append_string(out, "\nnow: ");
		cli_format_address(out, r->address);
		buf_append_string(out, ": ");
		queue_text_state(out, s->message, r, s->view);
		buf_append_string(out, "\n");
		queue_show_next(out, s, r);
	}
	if (!is_any)
		buf_append_string(out,
				  "\nIt is in the queue for others: nothing more happens here.\n");
	else if (!s->view->is_server_running)
		buf_append_string(out, "    no server is running: nothing is tried until one is\n");
}

void trace_text(const struct trace *t, struct buf *out)
{
	show_arrival(out, t);
	for (const struct trace_event *e = t->first; e; e = e->next)
		if (trace_shows(t, e->entry.recipient))
			show_event(out, t, &e->entry);
	if (t->showing.message)
		show_pending(out, t);
	else
		buf_append_string(out, "\nIt has left the queue: nothing more happens to it.\n");
}
