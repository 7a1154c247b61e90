/*
 * Each delivery becomes one queue_record. The steps of a settlement:
 *
 *	outcomes and log lines -> [bounce, on the thread pool] -> queue -> scheduler
 *
 * All strings that the record points to belong to the delivery, the message or
 * the settlement's arena, and live until the queue is done.
 */
#include "mta/settle.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/memory.h"
#include "mta/backoff.h"
#include "mta/bounce.h"
#include "mta/maillog.h"
#include "mta/snapshot.h"

#define RETRY_MS 1000 /* when the queue could not write */

struct settler {
	struct mta_worker *worker;
	unsigned int open;  /* settlements there are */
	struct list failed; /* struct settlement, to be submitted again */
	struct loop_timer *timer;
	bool complained; /* about the present failure of the queue */
	bool is_aborted; /* failures are not tried again */
};

struct settlement {
	struct queue_record record;
	struct settler *settler;
	struct mta_view *view; /* a reference */
	struct delivery *delivery;
	struct arena arena;
	struct queue_outcome *outcomes;
	struct queue_ledger_row *rows;
	struct bounce_recipient *bounced;
	size_t bounced_count;
	struct queue_message *notification; /* NULL: there is none */
	struct loop_work compose;
	int compose_result;
	struct error compose_error;
	struct list link;
};

/* ---- what a status means for a recipient ---- */

static bool is_relayed(const struct delivery *d)
{
	return d->route->hop_count > 0;
}

/* What operators know it by; a route to the recipient's own domain has no name of its own. */
static const char *next_hop(const struct delivery *d)
{
	if (!is_relayed(d))
		return "";
	return d->route->nexthop[0] ? d->route->nexthop : d->route->hops[0].text;
}

static const char *program(const struct delivery *d)
{
	switch (d->route->kind) {
	case TRANSPORT_VIRTUAL:
		return "virtual";
	case TRANSPORT_ERROR:
	case TRANSPORT_RETRY:
		return "error";
	case TRANSPORT_DISCARD:
		return "discard";
	default:
		return "smtp";
	}
}

static bool is_expired(const struct mta_options *options, const struct queue_message *m,
		       int64_t now_ms)
{
	int64_t lifetime_s =
		m->sender[0] ? options->maximal_lifetime_s : options->bounce_lifetime_s;

	return now_ms - m->arrived_ms >= lifetime_s * 1000;
}

static int64_t next_try_ms(const struct settlement *t, const struct delivery_recipient *r,
			   unsigned int attempts, int64_t now_ms)
{
	const struct mta_options *options = t->view->options;
	uint32_t random = 0;
	int64_t own_ms;

	if (r->untried && r->due_ms)
		return r->due_ms;
	(void)!getrandom(&random, sizeof(random), 0);
	own_ms = now_ms + backoff_ms(attempts, options->minimal_backoff_s,
				     options->maximal_backoff_s, random);
	return MAX(own_ms, r->due_ms);
}

static void fill_outcome(struct settlement *t, unsigned int i, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	const struct delivery_recipient *r = &d->recipients[i];
	const struct queue_recipient *recipient = &d->message->recipients[r->index];
	struct queue_outcome *o = &t->outcomes[i];
	enum smtp_class class = smtp_status_class(&r->status);
	bool expired = class == SMTP_DEFERRED && is_expired(t->view->options, d->message, now_ms);

	o->recipient = r->index;
	o->attempts = recipient->attempts + (r->untried ? 0 : 1);
	o->next_hop = next_hop(d);
	o->reply_code = r->status.code;
	o->enhanced = smtp_status_enhanced_text(&r->status,
						arena_alloc(&t->arena, SMTP_ENHANCED_TEXT_SIZE));
	o->reason = r->status.text;
	if (class == SMTP_DELIVERED) {
		o->status = QUEUE_DELIVERED;
	} else if (d->damaged) {
		o->status = QUEUE_HELD;
	} else if (class == SMTP_DEFERRED && !expired) {
		o->status = QUEUE_DEFERRED;
		o->due_ms = next_try_ms(t, r, o->attempts, now_ms);
		o->waits_for = d->waits_for;
	} else {
		o->status = QUEUE_BOUNCED;
		t->bounced[t->bounced_count++] = (struct bounce_recipient){
			.recipient = recipient,
			.status = &r->status,
			.relay = d->attempt.relay,
			.by_peer = r->by_peer,
			.expired = expired,
		};
	}
}

static void log_outcome(struct settlement *t, unsigned int i)
{
	const struct delivery *d = t->delivery;
	struct maillog_delivery line = {
		.program = program(d),
		.id = d->message->name,
		.recipient = &d->message->recipients[d->recipients[i].index],
		.relay = d->attempt.relay,
		.arrived_ms = d->message->arrived_ms,
		.active_ms = d->active->active_ms,
		.connect_ms = d->attempt.connect_ms,
		.send_ms = d->attempt.send_ms,
		.done_ms = d->attempt.done_ms,
		.policy = is_relayed(d) ? &d->route->tls : NULL,
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

static void fill_ledger(struct settlement *t, unsigned int i, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	const struct delivery_attempt *a = &d->attempt;
	struct queue_ledger_row *row = &t->rows[i];

	if (d->recipients[i].untried || (!is_relayed(d) && d->route->kind != TRANSPORT_VIRTUAL))
		return; /* nothing was attempted */
	*row = (struct queue_ledger_row){
		.time_ms = now_ms,
		.transport = d->route->name,
		.next_hop = next_hop(d),
		.peer = a->peer,
		.source = d->route->source,
		.reply = reply_text(t, &d->recipients[i].status),
		.has_tls_policy = is_relayed(d),
		.level = is_relayed(d) ? tls_level_name(d->route->tls.level) : "",
		.mode = is_relayed(d) ? tls_mode_name(mode_used(d)) : "",
		.protocol = a->encrypted ? a->tls.protocol : "",
		.cipher = a->encrypted ? a->tls.cipher : "",
		.verified = a->encrypted && a->tls.verified,
		.resumed = a->encrypted && a->tls.resumed,
		.peer_name = a->encrypted ? a->tls.peer_name : "",
		.fingerprint = a->encrypted ? a->tls.fingerprint : "",
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

static void submit(struct settlement *t)
{
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
	queue_message_free(t->notification);
	settlement_free(t);
	delivery_drop(d);
}

static void recorded(struct queue_request *request)
{
	struct settlement *t = CONTAINER_OF(request, struct settlement, record.request);
	struct settler *settler = t->settler;
	struct delivery *d = t->delivery;
	struct queue_message *note = t->notification;
	bool removed = t->record.removed;
	int64_t due_ms = INT64_MAX;

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
	for (unsigned int i = 0; i < d->count; i++)
		if (t->outcomes[i].status == QUEUE_DEFERRED)
			due_ms = MIN(due_ms, t->outcomes[i].due_ms);
	if (t->record.is_void) { /* deleted meanwhile: the sender is not told */
		queue_message_free(note);
		note = NULL;
	}
	if (note)
		maillog_bounce(settler->worker->options->log, d->message->name, note->name);
	settlement_free(t);
	d->owner->settled(d->owner, d, removed, due_ms, &note, note ? 1 : 0);
}

static void on_timer(void *arg)
{
	struct settler *settler = arg;
	struct list *link;

	while ((link = list_pop(&settler->failed)) != NULL)
		submit(CONTAINER_OF(link, struct settlement, link));
}

/* ---- bad news ---- */

static void compose(struct loop_work *work)
{
	struct settlement *t = CONTAINER_OF(work, struct settlement, compose);

	t->compose_result = bounce_compose(t->view->options, t->delivery->message, t->bounced,
					   t->bounced_count, &t->notification, &t->compose_error);
	if (t->compose_result == 0) {
		t->record.notifications = &t->notification;
		t->record.notification_count = 1;
	}
}

/*
 * The sender cannot be told, as the message cannot be read: then nobody gives
 * up, and mail waits; for the operator, if what is stored is damaged.
 */
static void postpone_bounces(struct settlement *t, int64_t now_ms)
{
	const struct delivery *d = t->delivery;
	bool is_damaged = t->compose_result == -EBADMSG;

	log_write(t->settler->worker->options->log, "bounce", LOG_LEVEL_ERROR,
		  "%s: cannot notify the sender: %s", d->message->name, t->compose_error.text);
	for (unsigned int i = 0; i < d->count; i++) {
		struct queue_outcome *o = &t->outcomes[i];

		if (o->status != QUEUE_BOUNCED)
			continue;
		o->status = is_damaged ? QUEUE_HELD : QUEUE_DEFERRED;
		o->due_ms = next_try_ms(t, &d->recipients[i], o->attempts, now_ms);
		o->reason = arena_printf(&t->arena, "cannot notify the sender: %s; %s",
					 t->compose_error.text, o->reason);
	}
}

static void composed(struct loop_work *work)
{
	struct settlement *t = CONTAINER_OF(work, struct settlement, compose);

	if (t->compose_result < 0)
		postpone_bounces(t, mta_now_ms(t->settler->worker));
	log_outcomes(t);
	submit(t);
}

void settler_add(struct settler *settler, struct delivery *d)
{
	struct settlement *t = memory_zeroed(sizeof(*t));
	int64_t now_ms = mta_now_ms(settler->worker);

	t->settler = settler;
	t->view = mta_view_ref(settler->worker->view);
	t->delivery = d;
	t->outcomes = arena_alloc(&t->arena, d->count * sizeof(*t->outcomes));
	t->rows = arena_alloc(&t->arena, d->count * sizeof(*t->rows));
	t->bounced = arena_alloc(&t->arena, d->count * sizeof(*t->bounced));
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

	/* A notification that fails has nobody to be returned to. */
	if (t->bounced_count > 0 && d->message->sender[0]) {
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
