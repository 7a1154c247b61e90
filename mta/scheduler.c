/*
 * A message in memory is a struct active. It is split into deliveries, one for
 * each route and up to destination_recipients of its recipients; each comes
 * back with a status for every recipient and is settled (mta/settle.c): one
 * transaction of the queue. When all are settled the message is gone from
 * the queue, or its claim is released, and the memory is freed.
 *
 * Memory is bounded: past the budget a message that was just accepted is
 * released at once, and claimed again when there is room. Half of the budget
 * is for what is claimed, so that a backlog leaves room for live mail; and
 * when that half is taken, lanes are measured, and suspend what waits for a
 * slow next hop (mta/lane.h): so what is due behind it comes to its turn.
 *
 * Two claims may be with the queue, one for what is due and one for what was
 * suspended. Lanes that are hungry for the latter take turns.
 */
#include "mta/scheduler.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"
#include "mta/lane.h"
#include "mta/local.h"
#include "mta/maillog.h"
#include "mta/routing.h"
#include "mta/settle.h"
#include "mta/snapshot.h"

#define CLAIM_MESSAGES	 32 /* at a time: live mail waits for it, here and in the queue's thread */
#define CLAIM_RETRY_MS	 1000
#define CLAIM_POLL_MS	 60000 /* looks at the queue so often even when nothing seems due */
#define ACTIVE_OVERHEAD	 2048  /* bytes of bookkeeping for each message, beside its deliveries */
#define LANE_SWEEP_COUNT 64    /* more lanes than this are looked through for idle ones */
#define MEASURE_MS	 1000
#define ORPHAN_MESSAGES	 64
#define SETTLING_MAX	 512 /* records with the queue: claims would add to them faster than they go */

struct scheduler {
	struct delivery_owner owner; /* of all deliveries */
	struct mta_worker *worker;
	struct strmap lanes; /* by the route's lane string */
	struct list retired; /* struct lane, of older options, until their connections have ended */
	struct local *local;
	struct settler *settler;
	struct list active; /* struct active */
	size_t bytes, budget;
	struct loop_timer *timer;
	struct queue_claim claim;
	bool claiming;
	struct queue_claim feed_claim;
	bool feeding;
	const struct transport_route *fed; /* a reference to the route of the lane that is fed */
	int64_t fed_name;		   /* what its mail waits for */
	unsigned int fed_pushes;	   /* of the lane, before */
	bool is_orphan_fed;
	struct list hungry;  /* struct lane */
	struct list orphans; /* struct orphan */
	struct loop_timer *measure_timer;
	bool measuring;
	bool passed_over; /* something due was left in the queue for want of memory */
	bool stopping;
	unsigned int releases; /* with the queue */
	int64_t next_due_ms;
};

/* A lane whose mail was suspended and takes other ways now: all of it is routed anew. */
struct orphan {
	struct list link;
	const struct transport_route *route; /* a reference */
	int64_t name;
};

struct release {
	struct queue_release request;
	struct scheduler *s;
};

static void adopt(struct scheduler *s, const struct transport_route *route, int64_t name);
static void look_for_work(struct scheduler *s);

/* ---- claims ---- */

static void wait_until(struct scheduler *s, int64_t due_ms)
{
	int64_t wait_ms = due_ms - mta_now_ms(s->worker);

	if (!s->stopping)
		loop_timer_start(s->timer, MAX(MIN(wait_ms, CLAIM_POLL_MS), 1));
}

/* Some message that can be claimed is due then. */
static void due_at(struct scheduler *s, int64_t due_ms)
{
	if (due_ms >= s->next_due_ms)
		return;
	s->next_due_ms = due_ms;
	if (!s->claiming)
		wait_until(s, due_ms);
}

static void released(struct queue_request *request)
{
	struct release *release = CONTAINER_OF(request, struct release, request.request);
	struct scheduler *s = release->s;

	s->releases--;
	due_at(s, release->request.due_ms); /* an operator may have changed it */
	free(release);
}

static void release(struct scheduler *s, int64_t id)
{
	struct release *release = memory_zeroed(sizeof(*release));

	release->s = s;
	release->request.id = id;
	release->request.request.done = released;
	s->releases++;
	queue_submit_release(s->worker->port, &release->request);
}

/* ---- messages in memory ---- */

static void drop_active(struct scheduler *s, struct active *a)
{
	s->bytes -= a->bytes;
	list_remove(&a->link);
	queue_message_free(a->message);
	free(a);
}

static void delivery_free(struct delivery *d)
{
	for (unsigned int i = 0; i < d->count; i++)
		transport_route_unref(d->recipients[i].route);
	transport_route_unref(d->route);
	free(d);
}

/* Now a claim can have it, so that a lane may find what it is told of. */
static void tell_lanes(struct scheduler *s, struct active *a)
{
	struct list *link;

	while ((link = list_pop(&a->suspended)) != NULL) {
		struct delivery *d = CONTAINER_OF(link, struct delivery, link);
		struct lane *lane = strmap_get(&s->lanes, slice_from(d->route->lane));

		if (lane)
			lane_suspended(lane);
		else
			adopt(s, d->route, d->waits_for);
		delivery_free(d);
	}
}

/* One hold on the message less; the last one frees it. */
static void unhold(struct scheduler *s, struct active *a)
{
	assert(a->holds > 0);
	if (--a->holds > 0)
		return;
	if (a->removed)
		maillog_removed(s->worker->options->log, a->message->name);
	else
		release(s, a->message->id);
	tell_lanes(s, a);
	drop_active(s, a);
	look_for_work(s);
}

static struct lane *lane_of(struct scheduler *s, const struct transport_route *route)
{
	struct slice key = slice_from(route->lane);
	struct lane *lane = strmap_get(&s->lanes, key);

	if (!lane) {
		lane = lane_new(s->worker, route);
		strmap_put(&s->lanes, key, lane);
	}
	return lane;
}

/* Lanes come and go with next hops; those that nothing speaks for any more are freed. */
static void sweep_lanes(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0, count = 0;
	struct lane **idle;

	if (s->lanes.count < LANE_SWEEP_COUNT)
		return;
	idle = memory_new(s->lanes.count * sizeof(*idle));
	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		if (lane_is_idle(entry->value))
			idle[count++] = entry->value;
	for (size_t i = 0; i < count; i++) {
		strmap_remove(&s->lanes, slice_from(idle[i]->route->lane));
		lane_free(idle[i]);
	}
	free(idle);
}

static void dispatch(struct scheduler *s, struct delivery *d)
{
	switch (d->route->kind) {
	case TRANSPORT_RELAY:
	case TRANSPORT_RELAY_SMTPS:
	case TRANSPORT_SMTP:
	case TRANSPORT_LMTP:
		lane_push(lane_of(s, d->route), d);
		break;
	case TRANSPORT_VIRTUAL:
	case TRANSPORT_LOCAL:
		local_push(s->local, d);
		break;
	case TRANSPORT_ERROR:
	case TRANSPORT_RETRY:
	case TRANSPORT_DISCARD:
		delivery_report_rest(d, &d->route->status);
		delivery_finish(d);
		break;
	}
}

void scheduler_ask(struct scheduler *s, struct delivery *d)
{
	if (s->stopping)
		delivery_drop(d);
	else
		lane_push(lane_of(s, d->route), d);
}

static bool is_waiting(const struct queue_recipient *r)
{
	return r->status == QUEUE_QUEUED || r->status == QUEUE_DEFERRED;
}

static size_t delivery_bytes(const struct delivery *d)
{
	return sizeof(*d) + d->room * sizeof(d->recipients[0]);
}

static struct delivery *delivery_new(struct scheduler *s, struct active *a,
				     const struct transport_route *route)
{
	struct delivery *d = memory_zeroed(sizeof(*d));

	list_init(&d->link);
	d->owner = &s->owner;
	d->active = a;
	d->message = a->message;
	d->route = transport_route_ref(route);
	snprintf(d->attempt.relay, sizeof(d->attempt.relay), "none");
	return d;
}

/* Its recipients are not many as a rule, and a message to a thousand may have a thousand routes. */
static void delivery_add(struct delivery *d, struct list *deliveries, unsigned int index,
			 const struct transport_route *route)
{
	if (d->count == d->room) {
		list_remove(&d->link);
		d->room = MAX(2 * d->room, 1);
		d = memory_grow(d, delivery_bytes(d));
		list_push(deliveries, &d->link);
	}
	d->recipients[d->count++] = (struct delivery_recipient){
		.index = index,
		.route = transport_route_ref(route),
	};
	d->unknown++;
}

/* The delivery of this message over this route that still has room; NULL: none. */
static struct delivery *find_delivery(struct list *deliveries, const struct transport_route *route,
				      unsigned int limit)
{
	LIST_FOREACH (item, deliveries) {
		struct delivery *d = CONTAINER_OF(item, struct delivery, link);

		if (d->count < limit && strcmp(d->route->lane, route->lane) == 0)
			return d;
	}
	return NULL;
}

static void route_recipient(struct scheduler *s, struct active *a, unsigned int index,
			    struct list *deliveries)
{
	unsigned int limit = s->worker->options->destination_recipients;
	const struct queue_recipient *r = &a->message->recipients[index];
	const struct transport_route *route = routing_find(s->worker->view, a->message, r);
	struct delivery *d;

	d = find_delivery(deliveries, route, limit);
	if (!d)
		d = delivery_new(s, a, route);
	delivery_add(d, deliveries, index, route);
	transport_route_unref(route);
}

static void hold(struct scheduler *s, const struct delivery *d)
{
	d->active->bytes += delivery_bytes(d);
	s->bytes += delivery_bytes(d);
	d->active->holds++;
}

static void hand_out(struct scheduler *s, struct list *deliveries)
{
	struct list *item;

	while ((item = list_pop(deliveries)) != NULL) {
		struct delivery *d = CONTAINER_OF(item, struct delivery, link);

		hold(s, d);
		dispatch(s, d);
	}
}

static void activate(struct scheduler *s, struct queue_message *m)
{
	struct active *a = memory_zeroed(sizeof(*a));
	int64_t now_ms = mta_now_ms(s->worker);
	struct list deliveries;

	a->message = m;
	a->active_ms = now_ms;
	a->bytes = ACTIVE_OVERHEAD + (queue_body_in_file(m->body) ? 0 : (size_t)m->size);
	a->holds = 1;
	list_init(&a->suspended);
	list_push(&s->active, &a->link);
	maillog_active(s->worker->options->log, m);

	list_init(&deliveries);
	for (unsigned int i = 0; i < m->recipient_count; i++) {
		const struct queue_recipient *r = &m->recipients[i];

		if (is_waiting(r) && r->due_ms <= now_ms)
			route_recipient(s, a, i, &deliveries);
	}

	s->bytes += a->bytes;
	hand_out(s, &deliveries);
	unhold(s, a);
}

void scheduler_submit(struct scheduler *s, struct queue_message *m)
{
	if (s->stopping || s->bytes > s->budget) {
		s->passed_over = true;
		release(s, m->id);
		queue_message_free(m);
		return;
	}
	activate(s, m);
}

static void claimed(struct queue_request *request)
{
	struct queue_claim *claim = CONTAINER_OF(request, struct queue_claim, request);
	struct scheduler *s = CONTAINER_OF(claim, struct scheduler, claim);
	struct queue_message **messages = claim->messages;

	s->claiming = false;
	if (request->result < 0) {
		log_write(s->worker->options->log, "qmgr", LOG_LEVEL_ERROR,
			  "cannot look for due mail: %s", request->error.text);
		s->next_due_ms = MIN(s->next_due_ms, mta_now_ms(s->worker) + CLAIM_RETRY_MS);
		wait_until(s, mta_now_ms(s->worker) + CLAIM_RETRY_MS);
		return;
	}
	if (claim->message_count > 0)
		s->passed_over = true; /* there may be more */
	s->next_due_ms = MIN(s->next_due_ms, claim->next_due_ms);
	claim->messages = NULL;
	for (unsigned int i = 0; i < claim->message_count; i++) {
		if (s->stopping)
			queue_message_free(messages[i]);
		else
			activate(s, messages[i]);
	}
	free(messages);
	look_for_work(s);
}

static bool is_short_of_memory(const struct scheduler *s)
{
	return s->bytes > s->budget / 2;
}

/* ---- lanes ---- */

static void measure_lanes(void *arg)
{
	struct scheduler *s = arg;
	bool is_short = is_short_of_memory(s), is_limited = false;
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		is_limited |= lane_measure(entry->value, is_short);
	s->measuring = is_short || is_limited;
	if (s->measuring && !s->stopping)
		loop_timer_start(s->measure_timer, MEASURE_MS);
	look_for_work(s);
}

static void start_measuring(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (s->measuring || s->stopping)
		return;
	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		((struct lane *)entry->value)->taken = 0;
	s->measuring = true;
	loop_timer_start(s->measure_timer, MEASURE_MS);
}

/* Take care of what waits for a lane that is no more. */
static void adopt(struct scheduler *s, const struct transport_route *route, int64_t name)
{
	struct orphan *orphan;

	LIST_FOREACH (item, &s->orphans)
		if (CONTAINER_OF(item, struct orphan, link)->name == name)
			return;
	orphan = memory_zeroed(sizeof(*orphan));
	orphan->route = transport_route_ref(route);
	orphan->name = name;
	list_push(&s->orphans, &orphan->link);
}

static void free_orphan(struct orphan *orphan)
{
	transport_route_unref(orphan->route);
	free(orphan);
}

static void fed(struct queue_request *request)
{
	struct queue_claim *claim = CONTAINER_OF(request, struct queue_claim, request);
	struct scheduler *s = CONTAINER_OF(claim, struct scheduler, feed_claim);
	struct queue_message **messages = claim->messages;
	struct lane *lane;

	if (request->result < 0)
		log_write(s->worker->options->log, "qmgr", LOG_LEVEL_ERROR,
			  "cannot look for suspended mail: %s", request->error.text);
	for (unsigned int i = 0; i < claim->message_count; i++) {
		if (s->stopping)
			queue_message_free(messages[i]);
		else
			activate(s, messages[i]);
	}
	free(messages);
	claim->messages = NULL;

	lane = strmap_get(&s->lanes, slice_from(s->fed->lane));
	if (claim->message_count > 0 && s->fed_pushes == (lane ? lane->pushes : 0))
		adopt(s, s->fed, s->fed_name); /* its mail takes other ways now: so may the rest */
	if (lane && !s->is_orphan_fed)
		lane_fed(lane, claim);
	transport_route_unref(s->fed);
	s->fed = NULL;
	s->feeding = false;
	look_for_work(s);
}

/* The first that is still hungry; a probe is a single message, for which there is always room. */
static struct lane *pick_hungry(struct scheduler *s)
{
	LIST_FOREACH (item, &s->hungry) {
		struct lane *lane = CONTAINER_OF(item, struct lane, hungry);

		if (lane_appetite(lane) == 0) {
			list_remove(item);
		} else if (lane->is_probing || !is_short_of_memory(s)) {
			list_remove(item);
			return lane;
		}
	}
	return NULL;
}

static void feed(struct scheduler *s, const struct transport_route *route, int64_t name)
{
	struct lane *lane = strmap_get(&s->lanes, slice_from(route->lane));

	s->feeding = true;
	s->fed = transport_route_ref(route);
	s->fed_pushes = lane ? lane->pushes : 0;
	s->fed_name = s->feed_claim.waits_for = name;
	s->feed_claim.request.done = fed;
	s->feed_claim.now_ms = mta_now_ms(s->worker);
	s->feed_claim.max_bytes = s->budget / 4;
	queue_submit_claim(s->worker->port, &s->feed_claim);
}

static void feed_lane(struct scheduler *s)
{
	struct lane *lane;

	if (s->feeding)
		return;
	s->feed_claim = (struct queue_claim){ 0 };
	s->is_orphan_fed = false;
	lane = pick_hungry(s);
	if (lane) {
		lane_feed(lane, &s->feed_claim);
		feed(s, lane->route, lane->name);
	} else if (!list_is_empty(&s->orphans) && !is_short_of_memory(s)) {
		struct orphan *orphan = CONTAINER_OF(list_pop(&s->orphans), struct orphan, link);

		s->is_orphan_fed = true;
		s->feed_claim.max_messages = ORPHAN_MESSAGES;
		feed(s, orphan->route, orphan->name);
		free_orphan(orphan);
	}
}

void scheduler_feed(struct scheduler *s, struct lane *lane)
{
	if (list_is_empty(&lane->hungry))
		list_push(&s->hungry, &lane->hungry);
	look_for_work(s);
}

void scheduler_look_at_lanes(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_look(entry->value);
}

static void look_for_work(struct scheduler *s)
{
	int64_t now_ms = mta_now_ms(s->worker);

	if (s->stopping)
		return;
	feed_lane(s);
	if (is_short_of_memory(s)) {
		start_measuring(s);
		return;
	}
	if (s->claiming || settler_pending(s->settler) > SETTLING_MAX)
		return;
	if (!s->passed_over && s->next_due_ms > now_ms) {
		wait_until(s, s->next_due_ms);
		return;
	}
	s->claiming = true;
	s->passed_over = false;
	s->next_due_ms = INT64_MAX;
	s->claim = (struct queue_claim){
		.request.done = claimed,
		.now_ms = now_ms,
		.max_messages = CLAIM_MESSAGES,
		.max_bytes = s->budget / 2,
	};
	queue_submit_claim(s->worker->port, &s->claim);
}

static void on_timer(void *arg)
{
	struct scheduler *s = arg;

	s->next_due_ms = 0; /* time to look, whatever we believe */
	sweep_lanes(s);
	look_for_work(s);
}

/* ---- deliveries that come back ---- */

static void delivery_finished(struct delivery_owner *owner, struct delivery *d)
{
	settler_add(CONTAINER_OF(owner, struct scheduler, owner)->settler, d);
}

static void delivery_dropped(struct delivery_owner *owner, struct delivery *d)
{
	struct active *a = d->active;

	delivery_free(d);
	unhold(CONTAINER_OF(owner, struct scheduler, owner), a);
}

static void delivery_settled(struct delivery_owner *owner, struct delivery *d, bool removed,
			     struct queue_message *const *notifications, size_t count)
{
	struct scheduler *s = CONTAINER_OF(owner, struct scheduler, owner);
	struct active *a = d->active;

	a->removed |= removed;
	if (d->waits_for != 0)
		list_push(&a->suspended, &d->link);
	else
		delivery_free(d);
	unhold(s, a);
	for (size_t i = 0; i < count; i++)
		scheduler_submit(s, notifications[i]);
}

static void delivery_rerouted(struct delivery_owner *owner, struct delivery *d)
{
	struct scheduler *s = CONTAINER_OF(owner, struct scheduler, owner);
	struct active *a = d->active;
	struct list deliveries;

	list_init(&deliveries);
	for (unsigned int i = 0; i < d->count; i++)
		route_recipient(s, a, d->recipients[i].index, &deliveries);
	a->bytes -= delivery_bytes(d);
	s->bytes -= delivery_bytes(d);
	delivery_free(d);
	hand_out(s, &deliveries);
	unhold(s, a);
}

static void delivery_was_split(struct delivery_owner *owner, struct delivery *part)
{
	hold(CONTAINER_OF(owner, struct scheduler, owner), part);
}

/* ---- life ---- */

static void set_budget(struct scheduler *s)
{
	const struct mta_options *options = s->worker->options;

	s->budget = options->memory_limit / options->workers;
}

struct scheduler *scheduler_new(struct mta_worker *worker)
{
	struct scheduler *s = memory_zeroed(sizeof(*s));

	s->worker = worker;
	s->owner = (struct delivery_owner){ .finished = delivery_finished,
					    .settled = delivery_settled,
					    .dropped = delivery_dropped,
					    .rerouted = delivery_rerouted,
					    .split = delivery_was_split };
	set_budget(s);
	s->next_due_ms = INT64_MAX;
	list_init(&s->active);
	list_init(&s->retired);
	list_init(&s->hungry);
	list_init(&s->orphans);
	s->measure_timer = loop_timer_new(worker->loop, measure_lanes, s);
	s->timer = loop_timer_new(worker->loop, on_timer, s);
	s->local = local_new(worker);
	s->settler = settler_new(worker);
	return s;
}

void scheduler_free(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!s)
		return;
	assert(list_is_empty(&s->active));
	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_free(entry->value);
	LIST_FOREACH (item, &s->retired)
		lane_free(CONTAINER_OF(item, struct lane, link));
	strmap_done(&s->lanes);
	local_free(s->local);
	settler_free(s->settler);
	while (!list_is_empty(&s->orphans))
		free_orphan(CONTAINER_OF(list_pop(&s->orphans), struct orphan, link));
	loop_timer_free(s->measure_timer);
	loop_timer_free(s->timer);
	free(s);
}

void scheduler_start(struct scheduler *s)
{
	s->passed_over = true;
	look_for_work(s);
}

void scheduler_look(struct scheduler *s)
{
	s->next_due_ms = 0;
	look_for_work(s);
}

void scheduler_forget_failures(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_forget_failures(entry->value);
}

void scheduler_give_back(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_drop_waiting(entry->value);
}

void scheduler_reload(struct scheduler *s)
{
	const struct strmap_entry *entry;
	struct strmap lanes = s->lanes;
	size_t cursor = 0;

	/* What comes out of the old lanes goes into new ones. */
	s->lanes = (struct strmap){ 0 };
	set_budget(s);
	while ((entry = strmap_next(&lanes, &cursor)) != NULL) {
		struct lane *lane = entry->value;

		if (lane->has_suspended && !lane->is_proven)
			adopt(s, lane->route, lane->name);
		lane_retire(lane, &s->retired);
	}
	strmap_done(&lanes);
	local_retire(s->local);
	look_for_work(s);
}

void scheduler_stop(struct scheduler *s)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	s->stopping = true;
	loop_timer_stop(s->measure_timer);
	loop_timer_stop(s->timer);
	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_stop(entry->value);
	LIST_FOREACH (item, &s->retired)
		lane_stop(CONTAINER_OF(item, struct lane, link));
	local_stop(s->local);
}

bool scheduler_is_idle(const struct scheduler *s)
{
	return list_is_empty(&s->active) && !s->claiming && !s->feeding && s->releases == 0 &&
	       settler_pending(s->settler) == 0;
}

static void abort_lanes(struct scheduler *s, bool spare_owed)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&s->lanes, &cursor)) != NULL)
		lane_abort(entry->value, spare_owed);
	LIST_FOREACH (item, &s->retired)
		lane_abort(CONTAINER_OF(item, struct lane, link), spare_owed);
}

void scheduler_break_off(struct scheduler *s)
{
	abort_lanes(s, true);
}

void scheduler_abort(struct scheduler *s)
{
	abort_lanes(s, false);
	settler_abort(s->settler);
}
