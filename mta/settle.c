/*
 * Each delivery becomes one queue_record. The steps of a settlement:
 *
 *	outcomes -> [reports, on the thread pool] -> log lines -> queue -> scheduler
 *
 * All strings that the record points to belong to the delivery, the message or
 * the settlement's arena, and live until the queue is done.
 */
#include "mta/settle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mta/backoff.h"
#include "mta/fate.h"
#include "mta/maillog.h"
#include "mta/snapshot.h"
#include "mta/verify.h"

#define RETRY_MS 1000 /* when the queue could not write */

struct settler {
	struct mta_worker *worker;
	unsigned int open;  /* settlements there are */
	struct list failed; /* struct settlement, to be submitted again */
	struct loop_timer *timer;
	bool complained; /* about the present failure of the queue */
	bool is_aborted; /* failures are not tried again */
};

/* What a report of one kind tells. */
struct news {
	struct report_recipient *recipients;
	size_t count;
	struct queue_message *note; /* the report; NULL: there is none */
	int result;		    /* of making it */
	struct error error;
};

struct settlement {
	struct queue_record record;
	struct settler *settler;
	struct mta_view *view; /* a reference */
	struct delivery *delivery;
	struct arena arena;
	struct queue_outcome *outcomes;
	struct queue_ledger_row *rows;
	struct news news[REPORT_KIND_COUNT];
	struct queue_message
		*notifications[REPORT_KIND_COUNT]; /* those of the news, one after another */
	struct loop_work compose;
	struct list link;
};

/* ---- what a status means for a recipient ---- */

static bool is_relayed(const struct delivery *d)
{
	return d->route->hop_count > 0;
}

/* By LMTP it may be relayed to a program of this machine. */
static bool crosses_network(const struct delivery *d)
{
	return is_relayed(d) && !transport_route_is_unix(d->route);
}

/* Who takes mail by LMTP and reports nothing has put it into a mailbox, as Postfix sees it. */
static enum fate_place place_of(const struct delivery *d)
{
	if (d->route->kind == TRANSPORT_DISCARD)
		return FATE_NOWHERE;
	if (!is_relayed(d) || (d->route->kind == TRANSPORT_LMTP && !d->attempt.dsn))
		return FATE_MAILBOX;
	return d->attempt.dsn ? FATE_NEXT_HOP : FATE_SILENT_HOP;
}

static void collect_facts(const struct settlement *t, unsigned int i, int64_t now_ms,
			  struct fate_facts *ret)
{
	const struct delivery *d = t->delivery;
	const struct delivery_recipient *r = &d->recipients[i];

	*ret = (struct fate_facts){
		.options = t->view->options,
		.message = d->message,
		.recipient = &d->message->recipients[r->index],
		.class = smtp_status_class(&r->status),
		.place = place_of(d),
		.is_damaged = d->damaged,
		.is_uncounted = r->untried || d->is_probe,
		.is_greylisted = r->is_verdict && fate_is_greylisting(&r->status),
		.retry_ms = r->due_ms,
		.now_ms = now_ms,
		.random = backoff_random(d->message->id),
	};
}

static void add_news(struct settlement *t, unsigned int i, const struct fate *fate, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	const struct delivery_recipient *r = &d->recipients[i];
	struct news *news = &t->news[fate->report];

	if (!news->recipients)
		news->recipients = arena_alloc(&t->arena, d->count * sizeof(*news->recipients));
	news->recipients[news->count++] = (struct report_recipient){
		.recipient = &d->message->recipients[r->index],
		.status = &r->status,
		.relay = d->attempt.relay,
		.by_peer = r->by_peer,
		.is_discarded = place_of(d) == FATE_NOWHERE,
		.is_in_mailbox = place_of(d) == FATE_MAILBOX,
		.expired = fate->is_expired,
		.attempted_ms = now_ms,
	};
}

static void fill_outcome(struct settlement *t, unsigned int i, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	const struct delivery_recipient *r = &d->recipients[i];
	struct queue_outcome *o = &t->outcomes[i];
	struct fate_facts facts;
	struct fate fate;

	collect_facts(t, i, now_ms, &facts);
	fate_decide(&facts, &fate);
	*o = (struct queue_outcome){
		.recipient = r->index,
		.status = fate.status,
		.due_ms = fate.due_ms,
		.attempts = fate.attempts,
		.next_hop = delivery_next_hop(d->recipients[i].route),
		.reply_code = r->status.code,
		.enhanced = smtp_status_enhanced_text(
			&r->status, arena_alloc(&t->arena, SMTP_ENHANCED_TEXT_SIZE)),
		.reason = r->status.text,
		.waits_for = fate.status == QUEUE_DEFERRED ? d->waits_for : 0,
		.is_warned = fate.report == REPORT_DELAY,
	};
	if (fate.report != REPORT_NONE)
		add_news(t, i, &fate, now_ms);
	if (fate.is_silenced || fate.is_dropped)
		maillog_no_report(t->settler->worker->options->log, d->message, facts.recipient);
}

static void log_outcome(struct settlement *t, unsigned int i)
{
	const struct delivery *d = t->delivery;
	struct maillog_delivery line = {
		.program = delivery_program(d->route),
		.id = d->message->name,
		.recipient = &d->message->recipients[d->recipients[i].index],
		.relay = d->attempt.relay,
		.arrived_ms = d->message->arrived_ms,
		.active_ms = d->active->active_ms,
		.connect_ms = d->attempt.connect_ms,
		.send_ms = d->attempt.send_ms,
		.done_ms = d->attempt.done_ms,
		.policy = crosses_network(d) ? &d->route->tls : NULL,
		.tls = d->attempt.encrypted ? &d->attempt.tls : NULL,
		.connected = d->attempt.connected,
		.by_peer = d->recipients[i].by_peer,
		.status = &d->recipients[i].status,
		.bounced = t->outcomes[i].status == QUEUE_BOUNCED,
	};

	maillog_delivery(t->settler->worker->options->log, &line);
}

static void log_outcomes(struct settlement *t)
{
	for (unsigned int i = 0; i < t->delivery->count; i++)
		log_outcome(t, i);
}

/* ---- the ledger ---- */

/* How it went; where nothing went, how it would have had to. */
static enum tls_mode mode_used(const struct delivery *d)
{
	if (d->attempt.encrypted)
		return d->route->mode;
	if (d->attempt.connected || d->route->tls.level == TLS_LEVEL_NONE)
		return TLS_MODE_NONE;
	return d->route->mode;
}

/* The peer's words with their codes, as it said them. */
static const char *reply_text(struct settlement *t, const struct smtp_status *status)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	if (!status->code)
		return status->text;
	if (!status->enhanced.class)
		return arena_printf(&t->arena, "%d %s", status->code, status->text);
	return arena_printf(&t->arena, "%d %s %s", status->code,
			    smtp_status_enhanced_text(status, enhanced), status->text);
}

static bool is_tried(const struct delivery *d, unsigned int i)
{
	return !d->recipients[i].untried && (is_relayed(d) || transport_route_is_mailbox(d->route));
}

static void fill_ledger(struct settlement *t, unsigned int i, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	const struct delivery_attempt *a = &d->attempt;
	struct queue_ledger_row *row = &t->rows[i];

	if (!is_tried(d, i) && t->outcomes[i].status == QUEUE_DEFERRED)
		return; /* nothing has happened */
	*row = (struct queue_ledger_row){
		.kind = is_tried(d, i) ? QUEUE_LEDGER_ATTEMPT : QUEUE_LEDGER_DECISION,
		.time_ms = now_ms,
		.transport = d->route->name,
		.next_hop = delivery_next_hop(d->recipients[i].route),
		.peer = a->peer,
		.source = d->recipients[i].route->source,
		.reply = reply_text(t, &d->recipients[i].status),
		.by_peer = d->recipients[i].by_peer,
		.has_tls_policy = crosses_network(d),
		.level = crosses_network(d) ? tls_level_name(d->route->tls.level) : "",
		.mode = crosses_network(d) ? tls_mode_name(mode_used(d)) : "",
		.protocol = a->encrypted ? a->tls.protocol : "",
		.cipher = a->encrypted ? a->tls.cipher : "",
		.in_clear =
			crosses_network(d) && (d->was_in_clear || (a->connected && !a->encrypted)),
		.verified = a->encrypted && a->tls.verified,
		.verified_by = a->encrypted ? a->tls.verified_by : "",
		.resumed = a->encrypted && a->tls.resumed,
		.peer_name = a->tls.peer_name, /* these also of a handshake that failed */
		.fingerprint = a->tls.fingerprint,
		.pubkey_fingerprint = a->tls.pubkey_fingerprint,
	};
	t->outcomes[i].ledger = row;
}

/* ---- the queue ---- */

static void settlement_free(struct settlement *t)
{
	t->settler->open--;
	mta_view_unref(t->view);
	arena_done(&t->arena);
	free(t);
}

static void free_notifications(struct settlement *t)
{
	for (size_t i = 0; i < t->record.notification_count; i++)
		queue_message_free(t->notifications[i]);
	t->record.notification_count = 0;
}

/* The reports that were made go with the outcomes. */
static void submit(struct settlement *t)
{
	size_t count = 0;

	for (size_t kind = 0; kind < REPORT_KIND_COUNT; kind++)
		if (t->news[kind].note)
			t->notifications[count++] = t->news[kind].note;
	t->record.notifications = t->notifications;
	t->record.notification_count = count;

	queue_submit_record(t->settler->worker->port, &t->record);
}

static void complain(struct settler *settler, const char *text)
{
	if (!settler->complained)
		log_write(settler->worker->options->log, "qmgr", LOG_LEVEL_ERROR,
			  "cannot record deliveries: %s; trying again every second", text);
	settler->complained = true;
}

/* The delivery stays in the queue as it was, and so will be made once more. */
static void give_up(struct settlement *t)
{
	struct delivery *d = t->delivery;

	log_write(t->settler->worker->options->log, "qmgr", LOG_LEVEL_ERROR,
		  "%s: what became of it was not recorded: it may be delivered twice",
		  d->message->name);
	free_notifications(t);
	settlement_free(t);
	delivery_drop(d);
}

static void log_notifications(const struct settlement *t)
{
	for (enum report_kind kind = 0; kind < REPORT_KIND_COUNT; kind++)
		if (t->news[kind].note)
			maillog_report(t->settler->worker->options->log, t->delivery->message->name,
				       kind, t->news[kind].note->name);
}

static void recorded(struct queue_request *request)
{
	struct settlement *t = CONTAINER_OF(request, struct settlement, record.request);
	struct settler *settler = t->settler;
	struct delivery *d = t->delivery;
	struct queue_message *notes[REPORT_KIND_COUNT];
	size_t note_count;
	bool removed = t->record.removed;

	if (request->result < 0) {
		complain(settler, request->error.text);
		if (settler->is_aborted) {
			give_up(t);
			return;
		}
		list_push(&settler->failed, &t->link);
		loop_timer_start(settler->timer, RETRY_MS);
		return;
	}
	settler->complained = false;
	if (t->record.is_void)
		free_notifications(t); /* deleted meanwhile: the sender is not told */
	else
		log_notifications(t);
	note_count = t->record.notification_count;
	memcpy(notes, t->notifications, sizeof(notes));
	settlement_free(t);
	d->owner->settled(d->owner, d, removed, notes, note_count);
}

static void on_timer(void *arg)
{
	struct settler *settler = arg;
	struct list *link;

	while ((link = list_pop(&settler->failed)) != NULL)
		submit(CONTAINER_OF(link, struct settlement, link));
}

/* ---- reports ---- */

static void compose(struct loop_work *work)
{
	struct settlement *t = CONTAINER_OF(work, struct settlement, compose);
	const struct mta_options *options = t->view->options;

	for (enum report_kind kind = REPORT_NONE + 1; kind < REPORT_KIND_COUNT; kind++) {
		struct news *news = &t->news[kind];
		struct report report = {
			.kind = kind,
			.message = t->delivery->message,
			.recipients = news->recipients,
			.recipient_count = news->count,
			.expires_ms = fate_expires_ms(options, t->delivery->message),
		};

		if (news->count > 0)
			news->result = report_compose(options, &report, &news->note, &news->error);
	}
}

/*
 * The sender cannot be told, as the message cannot be read: then nobody gives
 * up, and mail waits; for the operator, if what is stored is damaged.
 */
static void postpone_bounces(struct settlement *t, const struct news *news, int64_t now_ms)
{
	for (unsigned int i = 0; i < t->delivery->count; i++) {
		struct queue_outcome *o = &t->outcomes[i];
		struct fate_facts facts;

		if (o->status != QUEUE_BOUNCED)
			continue;
		collect_facts(t, i, now_ms, &facts);
		o->status = news->result == -EBADMSG ? QUEUE_HELD : QUEUE_DEFERRED;
		o->due_ms = fate_next_try_ms(&facts, o->attempts);
		o->reason = arena_printf(&t->arena, "cannot notify the sender: %s; %s",
					 news->error.text, o->reason);
	}
}

/* Nobody was warned after all: the next attempt does. */
static void postpone_warnings(struct settlement *t)
{
	for (unsigned int i = 0; i < t->delivery->count; i++)
		t->outcomes[i].is_warned = false;
}

static void composed(struct loop_work *work)
{
	struct settlement *t = CONTAINER_OF(work, struct settlement, compose);

	for (enum report_kind kind = 0; kind < REPORT_KIND_COUNT; kind++) {
		const struct news *news = &t->news[kind];

		if (news->result == 0)
			continue;
		log_write(t->settler->worker->options->log, "bounce", LOG_LEVEL_ERROR,
			  "%s: cannot notify the sender: %s", t->delivery->message->name,
			  news->error.text);
		if (kind == REPORT_DELAY)
			postpone_warnings(t);
		else if (kind != REPORT_SUCCESS) /* that one is lost: the mail has arrived */
			postpone_bounces(t, news, mta_now_ms(t->settler->worker));
	}
	log_outcomes(t);
	submit(t);
}

static bool has_news(const struct settlement *t)
{
	for (size_t kind = 0; kind < REPORT_KIND_COUNT; kind++)
		if (t->news[kind].count > 0)
			return true;
	return false;
}

void settler_add(struct settler *settler, struct delivery *d)
{
	struct settlement *t = memory_zeroed(sizeof(*t));
	int64_t now_ms = mta_now_ms(settler->worker);

	if (is_relayed(d))
		verifier_learn(settler->worker->verifier, d);
	t->settler = settler;
	t->view = mta_view_ref(settler->worker->view);
	t->delivery = d;
	t->outcomes = arena_alloc(&t->arena, d->count * sizeof(*t->outcomes));
	t->rows = arena_alloc(&t->arena, d->count * sizeof(*t->rows));
	if (!d->attempt.done_ms)
		d->attempt.done_ms = now_ms;
	for (unsigned int i = 0; i < d->count; i++) {
		fill_outcome(t, i, now_ms);
		fill_ledger(t, i, now_ms);
	}
	t->record.request.done = recorded;
	t->record.message = d->message;
	t->record.outcomes = t->outcomes;
	t->record.outcome_count = d->count;
	settler->open++;

	if (has_news(t)) {
		t->compose = (struct loop_work){ .work = compose, .done = composed };
		loop_work(settler->worker->loop, &t->compose);
	} else {
		log_outcomes(t);
		submit(t);
	}
}

struct settler *settler_new(struct mta_worker *worker)
{
	struct settler *settler = memory_zeroed(sizeof(*settler));

	settler->worker = worker;
	list_init(&settler->failed);
	settler->timer = loop_timer_new(worker->loop, on_timer, settler);
	return settler;
}

void settler_free(struct settler *settler)
{
	if (!settler)
		return;
	loop_timer_free(settler->timer);
	free(settler);
}

void settler_abort(struct settler *settler)
{
	struct list *link;

	settler->is_aborted = true;
	while ((link = list_pop(&settler->failed)) != NULL)
		give_up(CONTAINER_OF(link, struct settlement, link));
}

unsigned int settler_pending(const struct settler *settler)
{
	return settler->open;
}
