/*
 * A group is one lane as seen from here: the addresses that are to be asked
 * for there, and how many deliveries are on. Nothing is begun inside of
 * prober_ask() or while a delivery comes back: run() does it, deferred to the
 * end of the callback. So what sessions ask in one round of the loop shares a
 * transaction.
 *
 * A probe is a struct delivery whose owner is the prober. Its message has an
 * envelope and nothing else, is in no queue, and goes when the last delivery
 * that was split off it has come back.
 */
#include "mta/verify_probe.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"
#include "mta/maillog.h"
#include "mta/routing.h"
#include "mta/scheduler.h"
#include "mta/snapshot.h"
#include "mta/verify.h"

#define PROBES	    2
#define PENDING_MAX 200 /* of one group */

/*
 * Addresses in one transaction. Each that is refused counts as an error with
 * most servers, and after ten of them in a session Postfix begins to stall.
 */
#define ADDRESSES_MAX 5

struct group {
	struct list pending; /* struct pending */
	unsigned int pending_count, running;
};

/* An address that is to be asked for. */
struct pending {
	struct list link;
	char address[];
};

/* A message without data, and the deliveries of it that have not come back. */
struct probe {
	struct active active; /* what a delivery knows it by */
	char *lane;	      /* the group's key */
};

struct prober {
	struct delivery_owner owner; /* of all deliveries */
	struct mta_worker *worker;
	struct verifier *verifier;
	struct strmap groups; /* by the route's lane string */
	unsigned int running; /* deliveries */
	struct loop_task run_task;
	bool is_stopping;
};

/* ---- what it means ---- */

/*
 * RFC 3463 section 3: X.1 is about the address, and what is not said is most
 * likely that, too. A full mailbox (X.2), or a policy (X.7), will not be for long.
 */
static bool is_about_address(const struct smtp_status *status)
{
	return status->enhanced.class == 0 || status->enhanced.subject <= 1;
}

/* X.1.7 and X.1.8 are about the address of the sender, which is the hub's. */
static bool is_about_sender(const struct smtp_status *status)
{
	return status->enhanced.subject == 1 &&
	       (status->enhanced.detail == 7 || status->enhanced.detail == 8);
}

static bool is_about_us(const struct delivery_recipient *r)
{
	return r->by_peer && (!r->at_rcpt || is_about_sender(&r->status));
}

static void judge(const struct delivery_recipient *r, struct verify_fact *ret)
{
	bool is_refused = smtp_status_class(&r->status) == SMTP_FAILED;

	*ret = (struct verify_fact){ .verdict = VERIFY_UNKNOWN, .status = r->status };
	if (smtp_status_class(&r->status) == SMTP_DELIVERED) {
		ret->verdict = VERIFY_DELIVERABLE;
	} else if (is_refused && !is_about_us(r)) {
		ret->verdict = VERIFY_UNDELIVERABLE;
		ret->is_brief = !r->at_rcpt || !is_about_address(&r->status);
	}
}

/*
 * Our own words about a connection have addresses of hosts behind us, which are
 * no business of who asks for a recipient. The log has them.
 */
static void hide_hosts(const struct delivery_recipient *r, struct verify_fact *fact)
{
	if (fact->verdict == VERIFY_UNKNOWN && !r->by_peer)
		smtp_status_set(&fact->status, 450, ESC(4, 1, 1),
				"its mail server cannot be asked now");
}

/* Not remembered: whoever asks next may have more luck. */
static void conclude_unknown(struct prober *p, const char *address, const struct smtp_status *why)
{
	struct verify_fact fact = { .verdict = VERIFY_UNKNOWN };

	if (why)
		fact.status = *why;
	else
		smtp_status_set(&fact.status, 450, ESC(4, 1, 1),
				"Address verification in progress");
	verifier_conclude(p->verifier, address, &fact);
}

/* ---- the log ---- */

static void log_result(const struct prober *p, const struct delivery *d,
		       const struct delivery_recipient *r)
{
	struct maillog_delivery line = {
		.program = delivery_program(d->route),
		.id = d->message->name,
		.recipient = &d->message->recipients[r->index],
		.relay = d->attempt.relay,
		.arrived_ms = d->message->arrived_ms,
		.active_ms = d->message->arrived_ms,
		.connect_ms = d->attempt.connect_ms,
		.send_ms = d->attempt.send_ms,
		.done_ms = d->attempt.done_ms,
		.policy = transport_route_is_unix(d->route) ? NULL : &d->route->tls,
		.tls = d->attempt.encrypted ? &d->attempt.tls : NULL,
		.connected = d->attempt.connected,
		.by_peer = r->by_peer,
		.status = &r->status,
		.is_question = true,
	};

	if (!line.done_ms)
		line.done_ms = mta_now_ms(p->worker);
	maillog_delivery(p->worker->options->log, &line);
}

/* The operator's to mend. */
static void warn_of_sender(const struct prober *p, const struct delivery *d,
			   const struct delivery_recipient *r)
{
	if (is_about_us(r) && smtp_status_class(&r->status) == SMTP_FAILED)
		log_write(p->worker->options->log, "verify", LOG_LEVEL_WARNING,
			  "%s does not let us ask about recipients: %d %s; see "
			  "address_verify_sender",
			  d->attempt.relay, r->status.code, r->status.text);
}

/* ---- probes that come back ---- */

static struct probe *probe_of(const struct delivery *d)
{
	return CONTAINER_OF(d->active, struct probe, active);
}

static void let_go(struct prober *p, struct delivery *d)
{
	struct probe *probe = probe_of(d);
	struct group *group = strmap_get(&p->groups, slice_from(probe->lane));

	for (unsigned int i = 0; i < d->count; i++)
		transport_route_unref(d->recipients[i].route);
	transport_route_unref(d->route);
	free(d);
	p->running--;
	assert(group && group->running > 0);
	group->running--;
	loop_defer(p->worker->loop, &p->run_task);
	if (--probe->active.holds > 0)
		return;
	queue_message_free(probe->active.message);
	free(probe->lane);
	free(probe);
}

static const char *address_of(const struct delivery *d, unsigned int i)
{
	return d->message->recipients[d->recipients[i].index].address;
}

static void finished(struct delivery_owner *owner, struct delivery *d)
{
	struct prober *p = CONTAINER_OF(owner, struct prober, owner);

	for (unsigned int i = 0; i < d->count; i++) {
		const struct delivery_recipient *r = &d->recipients[i];
		struct verify_fact fact;

		judge(r, &fact);
		hide_hosts(r, &fact);
		fact.checked_ms = r->untried ? 0 : mta_now_ms(p->worker);
		verifier_conclude(p->verifier, address_of(d, i), &fact);
		if (!r->untried) { /* by now, whoever reads it may rely on it */
			log_result(p, d, r);
			warn_of_sender(p, d, r);
		}
	}
	let_go(p, d);
}

static void dropped(struct delivery_owner *owner, struct delivery *d)
{
	struct prober *p = CONTAINER_OF(owner, struct prober, owner);

	for (unsigned int i = 0; i < d->count; i++)
		conclude_unknown(p, address_of(d, i), NULL);
	let_go(p, d);
}

/* There are new options: by their routes. */
static void rerouted(struct delivery_owner *owner, struct delivery *d)
{
	struct prober *p = CONTAINER_OF(owner, struct prober, owner);

	for (unsigned int i = 0; i < d->count; i++)
		prober_ask(p, address_of(d, i));
	let_go(p, d);
}

static void split(struct delivery_owner *owner, struct delivery *part)
{
	struct prober *p = CONTAINER_OF(owner, struct prober, owner);
	struct group *group = strmap_get(&p->groups, slice_from(probe_of(part)->lane));

	part->active->holds++;
	group->running++;
	p->running++;
}

/* ---- probes that go out ---- */

/* The route of an address, as for mail from the sender of probes. The caller owns a reference. */
static const struct transport_route *route_of(const struct prober *p, const char *address)
{
	const struct queue_message m = { .sender = p->worker->options->verify.sender };
	const struct queue_recipient r = { .address = address };

	return routing_find(p->worker->view, &m, &r);
}

static struct probe *probe_new(struct prober *p, const char *lane)
{
	struct probe *probe = memory_zeroed(sizeof(*probe));
	struct queue_message *m = queue_message_new(p->worker->options->queue);

	m->arrived_ms = mta_now_ms(p->worker);
	m->sender = arena_strdup(&m->arena, p->worker->options->verify.sender);
	m->envelope_id = "";
	probe->active.message = m;
	probe->active.holds = 1;
	list_init(&probe->active.link);
	list_init(&probe->active.suspended);
	probe->lane = slice_strdup(slice_from(lane));
	return probe;
}

static struct delivery *delivery_of(struct prober *p, struct probe *probe,
				    const struct transport_route *route, unsigned int room)
{
	struct delivery *d = memory_zeroed(sizeof(*d) + room * sizeof(d->recipients[0]));

	list_init(&d->link);
	d->owner = &p->owner;
	d->active = &probe->active;
	d->message = probe->active.message;
	d->route = transport_route_ref(route);
	d->envelope_only = true;
	d->room = room;
	snprintf(d->attempt.relay, sizeof(d->attempt.relay), "none");
	return d;
}

static void add_recipient(struct delivery *d, const char *address,
			  const struct transport_route *route)
{
	queue_message_add_recipient(d->message, address, address);
	d->recipients[d->count] = (struct delivery_recipient){
		.index = d->count,
		.route = transport_route_ref(route),
	};
	d->count++;
	d->unknown++;
}

/* The route may have changed while it waited; what does not go by it any more is asked anew. */
static void fill(struct prober *p, struct group *group, const char *lane, struct delivery **d)
{
	unsigned int max = MIN(p->worker->options->destination_recipients, ADDRESSES_MAX);
	struct list *link;

	while ((!*d || (*d)->count < max) && (link = list_pop(&group->pending)) != NULL) {
		struct pending *pending = CONTAINER_OF(link, struct pending, link);
		const struct transport_route *route = route_of(p, pending->address);

		group->pending_count--;
		if (strcmp(route->lane, lane) != 0)
			prober_ask(p, pending->address);
		else if (!*d)
			*d = delivery_of(p, probe_new(p, lane), route, max);
		if (strcmp(route->lane, lane) == 0)
			add_recipient(*d, pending->address, route);
		transport_route_unref(route);
		free(pending);
	}
}

static void start_probes(struct prober *p, struct group *group, const char *lane)
{
	while (group->running < PROBES && !list_is_empty(&group->pending)) {
		struct delivery *d = NULL;

		fill(p, group, lane, &d);
		if (!d)
			continue;
		group->running++;
		p->running++;
		scheduler_ask(p->worker->scheduler, d);
	}
}

/* The key of a group with something to do; with nothing, it goes. NULL: none is left. */
static const struct strmap_entry *next_group(struct prober *p)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&p->groups, &cursor)) != NULL) {
		const struct group *group = entry->value;

		if (list_is_empty(&group->pending) ? group->running == 0 : group->running < PROBES)
			return entry;
	}
	return NULL;
}

static void run(struct loop_task *task)
{
	struct prober *p = CONTAINER_OF(task, struct prober, run_task);
	const struct strmap_entry *entry;

	while ((entry = next_group(p)) != NULL) {
		struct group *group = entry->value;
		char *lane = slice_strdup(slice_from(entry->key)); /* the table may move it */

		if (list_is_empty(&group->pending))
			free(strmap_remove(&p->groups, slice_from(lane)));
		else
			start_probes(p, group, lane);
		free(lane);
	}
}

static void enqueue(struct prober *p, const char *address, const char *lane)
{
	struct group *group = strmap_get(&p->groups, slice_from(lane));
	size_t size = strlen(address) + 1;
	struct pending *pending;

	if (!group) {
		group = memory_zeroed(sizeof(*group));
		list_init(&group->pending);
		strmap_put(&p->groups, slice_from(lane), group);
	}
	if (group->pending_count >= PENDING_MAX) {
		conclude_unknown(p, address, NULL);
		return;
	}
	pending = memory_zeroed(sizeof(*pending) + size);
	memcpy(pending->address, address, size);
	list_push(&group->pending, &pending->link);
	group->pending_count++;
	loop_defer(p->worker->loop, &p->run_task);
}

/* A route without a next hop needs nobody to answer. */
static void conclude_by_route(struct prober *p, const char *address,
			      const struct transport_route *route)
{
	struct delivery_recipient r = { .status = route->status };
	struct verify_fact fact;

	if (route->kind == TRANSPORT_VIRTUAL || route->kind == TRANSPORT_LOCAL)
		smtp_status_set(&r.status, 250, ESC(2, 1, 5), "delivered on this host");
	judge(&r, &fact);
	verifier_conclude(p->verifier, address, &fact);
}

void prober_ask(struct prober *p, const char *address)
{
	const struct transport_route *route;

	if (p->is_stopping) {
		conclude_unknown(p, address, NULL);
		return;
	}
	route = route_of(p, address);
	switch (route->kind) {
	case TRANSPORT_RELAY:
	case TRANSPORT_RELAY_SMTPS:
	case TRANSPORT_SMTP:
	case TRANSPORT_LMTP:
		enqueue(p, address, route->lane);
		break;
	default:
		conclude_by_route(p, address, route);
		break;
	}
	transport_route_unref(route);
}

/* ---- life ---- */

struct prober *prober_new(struct mta_worker *worker, struct verifier *verifier)
{
	struct prober *p = memory_zeroed(sizeof(*p));

	p->worker = worker;
	p->verifier = verifier;
	p->owner = (struct delivery_owner){
		.finished = finished,
		.dropped = dropped,
		.rerouted = rerouted,
		.split = split,
	};
	p->run_task.run = run;
	return p;
}

void prober_stop(struct prober *p)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	p->is_stopping = true;
	while ((entry = strmap_next(&p->groups, &cursor)) != NULL) {
		struct group *group = entry->value;
		struct list *link;

		while ((link = list_pop(&group->pending)) != NULL) {
			struct pending *pending = CONTAINER_OF(link, struct pending, link);

			conclude_unknown(p, pending->address, NULL);
			free(pending);
		}
		group->pending_count = 0;
	}
}

bool prober_is_idle(const struct prober *p)
{
	return p->running == 0;
}

void prober_free(struct prober *p)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!p)
		return;
	assert(p->running == 0);
	loop_defer_cancel(&p->run_task);
	while ((entry = strmap_next(&p->groups, &cursor)) != NULL)
		free(entry->value);
	strmap_done(&p->groups);
	free(p);
}
