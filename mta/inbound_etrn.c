/*
 * inbound_etrn - ETRN: a client asks for what waits for a domain (RFC 1985)
 *
 * Anybody may ask, as the mail goes where it would go anyway; so asking must
 * cost us little. The queue is looked through by a thread of the pool, over a
 * connection of its own that keeps the writer from nothing; one ETRN at a
 * time, and not for long (inbound_limits.c). What it finds is made due in
 * small transactions: each recipient that waits for its own time, and one for
 * each next hop that mail is suspended for. More of those would only be
 * suspended again if it is still down; and if it is up, the one that gets
 * through calls for the others (mta/lane.h). A next hop that is down is probed
 * now, but not more often than every PROBE_GAP_MS, whoever asks.
 *
 * How much waits is told to those who may relay anywhere; others hear that it
 * was begun, once it was.
 */
#include "mta/inbound_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/memory.h"
#include "mta/health.h"
#include "mta/maillog.h"
#include "queue/action.h"
#include "queue/reader.h"

#define PROBE_GAP_MS 10000
#define IDS_AT_ONCE  256 /* messages in one transaction */
#define LANES_MAX    64	 /* next hops of one domain; those beyond have to wait */

/* Recipients of one pattern, and the messages that they are in. */
struct part {
	char pattern[272];
	struct buf ids; /* int64_t */
};

/* A recipient whose mail is suspended, for all that wait for the same. */
struct carrier {
	int64_t waits_for;
	char *address;
};

struct inbound_etrn {
	struct inbound *session;
	char domain[256];
	bool is_trusted;
	struct smtp_status status; /* for those who are not */
	int64_t begun_ms;

	/* for the thread pool */
	struct loop_work work;
	const char *directory; /* the queue's */
	int64_t now_ms;
	struct part parts[2];
	unsigned int part_count, part; /* part: the one that is worked on */
	struct carrier carriers[LANES_MAX];
	unsigned int carrier_count;
	unsigned int messages;
	int result;
	struct error error;

	/* for the queue */
	struct queue_filter filter;
	struct queue_action action;
	size_t done_ids;
};

static void answer(struct inbound *s, int code, struct smtp_enhanced enhanced, const char *format,
		   ...) __attribute__((format(printf, 4, 5)));

static void answer(struct inbound *s, int code, struct smtp_enhanced enhanced, const char *format,
		   ...)
{
	char text[SMTP_STATUS_TEXT_SIZE];
	struct smtp_status status;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	smtp_status_set(&status, code, enhanced, "%s", text);
	smtp_server_answer(s->server, &status);
}

/* ---- in the thread pool: what waits ---- */

/* Whether the recipient is to be made due: the first that waits for this. */
static bool is_first_carrier(struct inbound_etrn *e, const struct queue_recipient *r)
{
	for (unsigned int i = 0; i < e->carrier_count; i++)
		if (e->carriers[i].waits_for == r->waits_for)
			return false;
	if (e->carrier_count == LANES_MAX)
		return false;
	e->carriers[e->carrier_count++] = (struct carrier){
		.waits_for = r->waits_for,
		.address = slice_strdup(slice_from(r->address)),
	};
	return true;
}

static int note_message(void *arg, const struct queue_message *m)
{
	struct inbound_etrn *e = arg;
	bool is_wanted = false;

	for (unsigned int i = 0; i < m->recipient_count; i++) {
		const struct queue_recipient *r = &m->recipients[i];

		if (r->waits_for != 0)
			is_wanted |= is_first_carrier(e, r);
		else
			is_wanted |= r->due_ms > e->now_ms;
	}
	if (is_wanted)
		buf_append(&e->parts[e->part].ids, &m->id, sizeof(m->id));
	e->messages++;
	return 0;
}

static void look(struct loop_work *work)
{
	struct inbound_etrn *e = CONTAINER_OF(work, struct inbound_etrn, work);
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;

	e->result = queue_reader_open(e->directory, &reader, &e->error);
	for (e->part = 0; e->part < e->part_count && e->result == 0; e->part++) {
		const struct queue_filter filter = {
			.recipient = e->parts[e->part].pattern,
			.statuses = 1u << QUEUE_QUEUED | 1u << QUEUE_DEFERRED,
		};

		e->result = queue_reader_list(reader, &filter, note_message, e, &e->error);
		if (e->result == -EBADMSG) /* a damaged one was left out */
			e->result = 0;
	}
}

/* ---- on the loop again ---- */

static void free_etrn(struct inbound_etrn *e)
{
	for (unsigned int i = 0; i < e->part_count; i++)
		buf_done(&e->parts[i].ids);
	for (unsigned int i = 0; i < e->carrier_count; i++)
		free(e->carriers[i].address);
	free(e);
}

/* The next hops that the suspended mail waits for, by the way that it would take now. */
static void hurry_next_hops(const struct inbound_etrn *e)
{
	struct mta_worker *w = e->session->worker;

	for (unsigned int i = 0; i < e->carrier_count; i++) {
		const struct transport_route *route;
		struct health_entry *health;
		struct error err;

		if (transport_resolve(w->view->transport, e->carriers[i].address, &route, &err) < 0)
			continue;
		if (route->hop_count > 0 || route->kind == TRANSPORT_SMTP) {
			health = health_get(w->health, route->lane);
			health_hurry(health, mta_now_ms(w), PROBE_GAP_MS);
			health_put(health);
		}
		transport_route_unref(route);
	}
}

static void tell_client(const struct inbound_etrn *e)
{
	struct inbound *s = e->session;

	if (!s->stream)
		return;
	if (!e->is_trusted)
		smtp_server_answer(s->server, &e->status);
	else if (e->result < 0)
		answer(s, 458, ESC(4, 3, 0), "<%s>: unable to look at the queue now", e->domain);
	else if (e->messages == 0)
		answer(s, 251, ESC(2, 0, 0), "OK, no messages waiting for node <%s>", e->domain);
	else
		answer(s, 253, ESC(2, 0, 0), "OK, %u pending messages for node <%s> started",
		       e->messages, e->domain);
}

static void finish(struct inbound_etrn *e)
{
	struct inbound *s = e->session;

	if (e->result < 0)
		log_write(s->worker->options->log, "smtpd", LOG_LEVEL_ERROR,
			  "cannot look for what waits for %s: %s", e->domain, e->error.text);
	maillog_etrn(s->worker->options->log, &s->peer, e->domain, e->messages);
	hurry_next_hops(e);
	mta_look(s->worker->mta);
	inbound_limits_etrn_end(s->worker->limits, loop_now_ms(s->worker->loop) - e->begun_ms);
	tell_client(e);
	s->etrn = NULL;
	free_etrn(e);
	inbound_resume(s);
}

static void submit_next(struct inbound_etrn *e);

static void made_due(struct queue_request *request)
{
	struct queue_action *action = CONTAINER_OF(request, struct queue_action, request);
	struct inbound_etrn *e = CONTAINER_OF(action, struct inbound_etrn, action);

	free(action->missing); /* delivered meanwhile */
	if (request->result < 0) {
		e->result = request->result;
		e->error = request->error;
	}
	submit_next(e);
}

/* The next messages of this part, or of the other. */
static void submit_next(struct inbound_etrn *e)
{
	while (e->result == 0 && e->part < e->part_count) {
		struct part *part = &e->parts[e->part];
		size_t count = buf_len(&part->ids) / sizeof(int64_t) - e->done_ids;

		if (count == 0) {
			e->part++;
			e->done_ids = 0;
			continue;
		}
		e->filter = (struct queue_filter){
			.recipient = part->pattern,
			.ids = (const int64_t *)(const void *)buf_slice(&part->ids).ptr +
			       e->done_ids,
			.id_count = MIN(count, IDS_AT_ONCE),
		};
		e->done_ids += e->filter.id_count;
		e->action = (struct queue_action){ .kind = QUEUE_RETRY, .filter = &e->filter };
		e->action.request.done = made_due;
		queue_submit_action(e->session->worker->port, &e->action);
		return;
	}
	finish(e);
}

static void looked(struct loop_work *work)
{
	struct inbound_etrn *e = CONTAINER_OF(work, struct inbound_etrn, work);

	e->part = 0;
	submit_next(e);
}

/* ---- the command ---- */

static struct inbound_etrn *start(struct inbound *s, const char *domain, bool with_subdomains)
{
	struct inbound_etrn *e = memory_zeroed(sizeof(*e));

	e->session = s;
	e->begun_ms = loop_now_ms(s->worker->loop);
	e->now_ms = mta_now_ms(s->worker);
	e->directory = queue_directory(s->worker->options->queue);
	snprintf(e->domain, sizeof(e->domain), "%s", domain);
	e->part_count = with_subdomains ? 2 : 1;
	snprintf(e->parts[0].pattern, sizeof(e->parts[0].pattern), "@%s", domain);
	snprintf(e->parts[1].pattern, sizeof(e->parts[1].pattern), "@*.%s", domain);
	e->work = (struct loop_work){ .work = look, .done = looked };
	s->etrn = e;
	loop_work(s->worker->loop, &e->work);
	return e;
}

void inbound_etrn(void *arg, const char *domain, bool with_subdomains)
{
	struct inbound *s = arg;
	const struct mta_policy *policy = s->view->options->policy;
	struct smtp_status status;
	struct inbound_etrn *etrn;
	bool is_trusted = false;

	s->stage = "ETRN";
	inbound_check_certificate(s);
	policy->check_etrn(s->view->options->policy_arg, &s->client, domain, &is_trusted, &status);
	if (smtp_status_class(&status) != SMTP_DELIVERED) {
		smtp_server_answer(s->server, &status);
		return;
	}
	switch (inbound_limits_etrn_begin(s->worker->limits, domain,
					  loop_now_ms(s->worker->loop))) {
	case INBOUND_TURN_LATELY:
		smtp_server_answer(s->server, &status);
		break;
	case INBOUND_TURN_BUSY:
		answer(s, 458, ESC(4, 3, 2), "<%s>: unable to look at the queue now, try again",
		       domain);
		break;
	case INBOUND_TURN_NOW:
		etrn = start(s, domain, with_subdomains);
		etrn->is_trusted = is_trusted;
		etrn->status = status;
		break;
	}
}
