/*
 * A lane never decides inside a callback of one of its connections or while a
 * delivery is handed in: lane_run() does it all, deferred to the end of the
 * callback. So there is one place that sees ready deliveries, idle
 * connections, limits and back-off together.
 */
#include "mta/lane.h"

#include <assert.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/memory.h"
#include "mta/backoff.h"
#include "mta/outbound.h"
#include "mta/scheduler.h"

#define HOP_MEMORY_MS  300000
#define AHEAD_PAUSE_MS 300000
#define FEED_MAX       64   /* suspended messages that are claimed at a time; see CLAIM_MESSAGES */
#define FRUITLESS_MAX  10   /* connections in a row that broke: as bad as if there were none */
#define PROBE_MS       1000 /* usually enough for a probe */
#define PATIENCE_S     4    /* what the next hop takes in this time may wait in memory */

static uint32_t random_u32(void)
{
	uint32_t value = 0;

	(void)!getrandom(&value, sizeof(value), 0);
	return value;
}

static bool is_shut_out(const struct lane *lane)
{
	return lane->shut_out_ms > mta_now_ms(lane->worker);
}

static bool is_down(const struct lane *lane)
{
	return health_is_down(lane->health);
}

bool lane_is_closing(const struct lane *lane)
{
	return lane->stopping || lane->retired;
}

static void run_soon(struct lane *lane)
{
	loop_defer(lane->worker->loop, &lane->run_task);
}

/* ---- what waits in the queue ---- */

/*
 * The time at which a suspended message is looked at for its own sake: to be
 * returned, or routed by other maps. The older it is the longer that takes,
 * and messages of the same age spread over half of it, in small groups: so a
 * backlog is touched rarely, and never all of it at once.
 */
static int64_t suspended_until_ms(const struct lane *lane, const struct queue_message *m)
{
	const struct mta_options *options = lane->view->options;
	int64_t now_ms = mta_now_ms(lane->worker);
	int64_t wait_ms = MIN(MAX(now_ms - m->arrived_ms, options->minimal_backoff_s * 1000),
			      options->maximal_backoff_s * 1000);

	wait_ms = MAX(wait_ms, 1000);
	wait_ms = wait_ms * 3 / 4 + backoff_random(m->id) % (wait_ms / 2);
	/* Not before the next probe is over, as a rule: if that goes well there is no need. */
	return MAX(now_ms + wait_ms, health_retry_ms(lane->health) + PROBE_MS + wait_ms / 4);
}

/* Not an attempt of its own. */
static void suspend(struct lane *lane, struct delivery *d, const struct smtp_status *why)
{
	int64_t due_ms = suspended_until_ms(lane, d->message);

	for (unsigned int i = 0; i < d->count; i++) {
		d->recipients[i].untried = true;
		d->recipients[i].due_ms = due_ms;
	}
	d->waits_for = lane->name;
	delivery_report_rest(d, why);
	delivery_finish(d);
}

/* Why mail is suspended now. */
static struct smtp_status reason(const struct lane *lane)
{
	struct smtp_status last, status;

	if (is_down(lane) || is_shut_out(lane)) {
		health_last_error(lane->health, &last);
		smtp_status_set(&status, last.code, last.enhanced,
				"delivery temporarily suspended: %s", last.text);
	} else {
		smtp_status_set(&status, 451, ESC(4, 4, 5),
				"delivery temporarily suspended: the next hop takes mail "
				"more slowly than it comes");
	}
	return status;
}

/* What waits here beyond so many deliveries, the last first. */
static void suspend_beyond(struct lane *lane, unsigned int count)
{
	struct smtp_status why;

	if (lane->ready_count <= count)
		return;
	why = reason(lane);
	while (lane->ready_count > count) {
		struct list *last = lane->ready.prev;

		list_remove(last);
		lane->ready_count--;
		suspend(lane, CONTAINER_OF(last, struct delivery, link), &why);
	}
}

void lane_suspended(struct lane *lane)
{
	lane->has_suspended = true;
	if (is_shut_out(lane))
		health_offer(lane->health);
	else if (lane->is_proven)
		run_soon(lane);
	else
		lane_look(lane); /* its time may have come while it was on its way to the queue */
}

static unsigned int room(const struct lane *lane)
{
	return MIN(lane->allowance, FEED_MAX);
}

unsigned int lane_appetite(const struct lane *lane)
{
	if (lane->is_probing)
		return lane->ready_count == 0 && lane->connections == 0;
	if (lane_is_closing(lane) || is_down(lane) || is_shut_out(lane) ||
	    lane->ready_count > room(lane) / 2)
		return 0;
	return room(lane) - lane->ready_count;
}

/* It asks for more before it has run dry. */
static void ask_for_more(struct lane *lane)
{
	if (lane->turns != health_turns(lane->health)) {
		lane->turns = health_turns(lane->health);
		lane->has_suspended = lane->is_proven = true;
	}
	if (lane->has_suspended && lane->is_proven && !lane->is_fed && lane_appetite(lane) > 0)
		scheduler_feed(lane->worker->scheduler, lane);
}

/* What is suspended from here on is not seen by the claim, and lane_suspended() tells of it. */
void lane_feed(struct lane *lane, struct queue_claim *claim)
{
	lane->is_fed = true;
	lane->has_suspended = false;
	claim->after_id = lane->fed_until_id;
	claim->max_messages = lane_appetite(lane);
}

static void drop_probe(struct lane *lane)
{
	if (lane->is_probing)
		health_probe_dropped(lane->health);
	lane->is_probing = false;
}

void lane_fed(struct lane *lane, const struct queue_claim *claim)
{
	bool is_over = claim->after_id == 0 && lane->fed_until_id == 0;

	lane->is_fed = false;
	lane->fed_until_id = claim->after_id;
	if (claim->request.result < 0 || claim->message_count > 0 || !is_over)
		lane->has_suspended = true;
	if (lane->is_probing && list_is_empty(&lane->ready) && lane->connections == 0) {
		drop_probe(lane); /* nothing waits: the next mail that comes will find out */
		return;
	}
	if (claim->request.result == 0)
		run_soon(lane);
}

bool lane_measure(struct lane *lane, bool is_short_of_memory)
{
	unsigned int rate = lane->taken;

	lane->taken = 0;
	if (!is_short_of_memory && lane->allowance == UINT_MAX)
		return false;
	lane->allowance = MAX(rate * PATIENCE_S, lane->limit_max);
	if (is_short_of_memory)
		suspend_beyond(lane, lane->allowance);
	else if (!lane->has_suspended && lane->ready_count < lane->allowance)
		lane->allowance = UINT_MAX;
	return lane->allowance != UINT_MAX;
}

/* ---- next hops that are down ---- */

static void look_at(struct lane *lane, int64_t at_ms)
{
	int64_t now_ms = mta_now_ms(lane->worker);

	if (lane->timer_ms == at_ms || at_ms <= now_ms)
		return; /* somebody is probing: we will be told */
	lane->timer_ms = at_ms;
	loop_timer_start(lane->timer, at_ms - now_ms);
}

/* Whether the lane may connect: it asks, and comes again if it may not. */
static bool has_hope(struct lane *lane)
{
	if (lane->is_probing)
		return true;
	if (is_shut_out(lane)) {
		look_at(lane, lane->shut_out_ms);
		return false;
	}
	switch (health_ask(lane->health, mta_now_ms(lane->worker))) {
	case HEALTH_UP:
		return true;
	case HEALTH_PROBE:
		lane->is_probing = true;
		return true;
	case HEALTH_DOWN:
		break;
	}
	lane->is_proven = false;
	look_at(lane, health_retry_ms(lane->health));
	return false;
}

void lane_look(struct lane *lane)
{
	if (lane_is_closing(lane) || lane->is_probing)
		return;
	if (!is_down(lane)) {
		if (lane->has_suspended || lane->turns != health_turns(lane->health))
			run_soon(lane);
	} else if (lane->has_suspended && has_hope(lane) && lane->is_probing) {
		scheduler_feed(lane->worker->scheduler, lane);
	}
}

static void on_timer(void *arg)
{
	struct lane *lane = arg;

	lane->timer_ms = 0;
	if (lane->shut_out_ms != 0 && !is_shut_out(lane)) {
		lane->shut_out_ms = 0;
		lane->is_proven = !is_down(lane); /* so what was left is tried again */
	}
	lane_look(lane);
}

/* ---- connections ---- */

/* Whether it takes a password to be ready anywhere. */
static bool has_login(const struct lane *lane)
{
	for (unsigned int i = 0; i < lane->route->hop_count; i++)
		if (lane->route->hops[i].login)
			return true;
	return false;
}

static bool may_connect(const struct lane *lane)
{
	/* A wrong password is tried once, not by twenty connections: that might lock the account. */
	if (lane->connecting > 0 && lane->connecting == lane->connections && has_login(lane))
		return false;
	if (is_down(lane))
		return lane->is_probing && lane->connections == 0;
	/* One has failed: what the others find out decides. If it were replaced, they never ended. */
	if (lane->tried > 0 && lane->connections > 0)
		return false;
	return lane->connections < lane->limit && lane->connecting < lane->ready_count;
}

/* What is left waiting may go behind what is on its way. */
static void offer_ahead(struct lane *lane)
{
	LIST_FOREACH (item, &lane->busy) {
		struct lane_connection *c = CONTAINER_OF(item, struct lane_connection, link);

		if (c->is_fruitful && !list_is_empty(&lane->ready))
			outbound_offer(c);
	}
}

static void lane_run(struct loop_task *task)
{
	struct lane *lane = CONTAINER_OF(task, struct lane, run_task);

	/* Others have found out that it is down. */
	if (!lane_is_closing(lane) && is_down(lane) && !lane->is_probing && lane->connections == 0)
		suspend_beyond(lane, 0);

	while (!lane_is_closing(lane) && !list_is_empty(&lane->ready)) {
		if (!list_is_empty(&lane->idle)) {
			struct list *link =
				lane->idle.prev; /* the one used last: others may time out */

			list_remove(link);
			list_push(&lane->busy, link);
			outbound_wake(CONTAINER_OF(link, struct lane_connection, link));
		} else if (may_connect(lane)) {
			struct lane_connection *c = outbound_open(lane);

			list_push(&lane->busy, &c->link);
			lane->connections++;
			lane->connecting++;
			health_opened(lane->health);
		} else {
			offer_ahead(lane);
			break;
		}
	}
	if (list_is_empty(&lane->ready) && lane->connections == 0 && !lane->is_fed &&
	    list_is_empty(&lane->hungry))
		drop_probe(lane); /* what it was for has gone other ways */
	if (!lane_is_closing(lane))
		ask_for_more(lane);
}

static void run_free(struct loop_task *task)
{
	lane_free(CONTAINER_OF(task, struct lane, free_task));
}

struct lane *lane_new(struct mta_worker *worker, const struct transport_route *route)
{
	struct lane *lane = memory_zeroed(sizeof(*lane));
	const struct mta_options *options = worker->options;

	lane->worker = worker;
	lane->view = mta_view_ref(worker->view);
	lane->route = transport_route_ref(route);
	list_init(&lane->ready);
	list_init(&lane->idle);
	list_init(&lane->busy);
	lane->limit_max = MAX(options->destination_concurrency / options->workers, 1);
	lane->limit = lane->limit_max;
	lane->run_task.run = lane_run;
	lane->free_task.run = run_free;
	list_init(&lane->link);
	lane->health = health_get(worker->health, route->lane);
	health_set_next_hop(lane->health, delivery_next_hop(route));
	lane->turns = health_turns(lane->health);
	lane->timer = loop_timer_new(worker->loop, on_timer, lane);
	lane->name = health_mail_name(lane->health);
	lane->has_suspended = true; /* from before a restart, perhaps */
	lane->allowance = UINT_MAX;
	list_init(&lane->hungry);
	return lane;
}

void lane_free(struct lane *lane)
{
	assert(lane->connections == 0);
	assert(list_is_empty(&lane->ready));
	loop_defer_cancel(&lane->run_task);
	loop_defer_cancel(&lane->free_task);
	list_remove(&lane->link);
	drop_probe(lane);
	health_put(lane->health);
	loop_timer_free(lane->timer);
	list_remove(&lane->hungry);
	transport_route_unref(lane->route);
	mta_view_unref(lane->view);
	free(lane);
}

bool lane_is_idle(const struct lane *lane)
{
	return list_is_empty(&lane->ready) && lane->connections == 0 && !lane->is_probing &&
	       !lane->is_fed && list_is_empty(&lane->hungry) &&
	       !(lane->has_suspended && (is_down(lane) || is_shut_out(lane)));
}

void lane_push(struct lane *lane, struct delivery *d)
{
	struct smtp_status why;
	bool has_room = has_hope(lane) && (lane->is_probing ? lane_appetite(lane) > 0
							    : lane->ready_count < lane->allowance);

	lane->pushes += !d->envelope_only; /* nothing in the queue */
	if (!has_room) {
		why = reason(lane);
		suspend(lane, d, &why);
		return;
	}
	if (d->envelope_only)
		list_push_front(&lane->ready, &d->link); /* somebody waits for the answer */
	else
		list_push(&lane->ready, &d->link);
	lane->ready_count++;
	run_soon(lane);
}

/* Whoever stops tries nothing any more, and it stays in the queue as it was. */
static void give_back(const struct lane *lane, struct delivery *d)
{
	if (lane->stopping)
		delivery_drop(d);
	else
		delivery_reroute(d);
}

void lane_put_back(struct lane *lane, struct delivery *d)
{
	if (lane_is_closing(lane)) {
		give_back(lane, d);
		return;
	}
	list_push_front(&lane->ready, &d->link);
	lane->ready_count++;
	run_soon(lane);
}

void lane_ready(struct lane *lane, struct lane_connection *c)
{
	if (c->ready)
		return;
	c->ready = true;
	lane->connecting--;
	lane->tried = 0;
	health_connected(lane->health);
	if (has_login(lane))
		run_soon(lane); /* others have waited to see whether the password is good */
}

void lane_moves_on(struct lane *lane, struct lane_connection *c)
{
	assert(c->ready && !c->is_fruitful);
	c->ready = false;
	lane->connecting++;
	health_disconnected(lane->health);
}

struct delivery *lane_take(struct lane *lane, struct lane_connection *c)
{
	struct delivery *d;
	struct list *link;

	lane_ready(lane, c);
	list_remove(&c->link);
	link = lane_is_closing(lane) ? NULL : list_pop(&lane->ready);
	if (!link) {
		list_push(&lane->idle, &c->link);
		return NULL;
	}
	list_push(&lane->busy, &c->link);
	lane->ready_count--;
	lane->taken++;
	d = CONTAINER_OF(link, struct delivery, link);
	d->is_probe = lane->is_probing;
	return d;
}

struct delivery *lane_take_ahead(struct lane *lane, struct lane_connection *c)
{
	unsigned int waiting = lane->ready_count - MIN(lane->ready_count, lane->connecting);

	if (lane_is_closing(lane) || lane->is_probing || is_down(lane) || !c->is_fruitful ||
	    !list_is_empty(&lane->idle) || may_connect(lane))
		return NULL;
	if (mta_now_ms(lane->worker) < lane->ahead_from_ms)
		return NULL;
	/* Each connection that comes free takes one; ahead goes what is more than that. */
	if (waiting < lane->connections)
		return NULL;
	if (lane->connections > 1 && c->in_flight > waiting / lane->connections)
		return NULL;
	lane->ready_count--;
	lane->taken++;
	return CONTAINER_OF(list_pop(&lane->ready), struct delivery, link);
}

void lane_not_ahead(struct lane *lane)
{
	lane->ahead_from_ms = mta_now_ms(lane->worker) + AHEAD_PAUSE_MS;
}

unsigned int lane_first_hop(const struct lane *lane)
{
	return mta_now_ms(lane->worker) < lane->hop_until_ms ? lane->hop : 0;
}

void lane_answered(struct lane *lane, unsigned int hop)
{
	if (hop == lane_first_hop(lane))
		return;
	lane->hop = hop;
	lane->hop_until_ms = mta_now_ms(lane->worker) + HOP_MEMORY_MS;
}

/* For whoever asks how next hops are; once for each connection will do. */
static void tell_passage(const struct lane *lane, const struct delivery_attempt *attempt)
{
	struct health_passage passage = {
		.level = lane->route->tls.level,
		.mode = attempt->encrypted ? lane->route->mode : TLS_MODE_NONE,
	};

	if (attempt->encrypted)
		passage.tls = attempt->tls;
	snprintf(passage.peer, sizeof(passage.peer), "%.*s", (int)sizeof(passage.peer) - 1,
		 attempt->peer); /* an address, as it is no socket */
	health_passed(lane->health, &passage);
}

static void tell_success(const struct lane *lane, struct lane_connection *c,
			 const struct delivery_attempt *attempt)
{
	health_succeeded(lane->health, mta_now_ms(lane->worker));
	if (!c->has_passage && !transport_route_is_unix(lane->route))
		tell_passage(lane, attempt);
	c->has_passage = true;
}

void lane_went_through(struct lane *lane, struct lane_connection *c, const struct delivery *d)
{
	if (delivery_is_taken(d) && !d->envelope_only)
		tell_success(lane, c, &d->attempt);
	else
		health_answered(lane->health, mta_now_ms(lane->worker));
	c->is_fruitful = true;
	lane->is_probing = false;
	lane->is_proven = true;
	lane->fruitless = 0;
	lane->shut_out_ms = 0;
	if (lane->limit < lane->limit_max)
		lane->limit++;
	if (!list_is_empty(&lane->ready) || lane->has_suspended)
		run_soon(lane);
}

void lane_forget_failures(struct lane *lane)
{
	lane->shut_out_ms = 0;
	lane->fruitless = 0;
	lane_look(lane);
}

void lane_drop_waiting(struct lane *lane)
{
	struct list *link;

	while ((link = list_pop(&lane->ready)) != NULL) {
		lane->ready_count--;
		delivery_drop(CONTAINER_OF(link, struct delivery, link));
	}
	run_soon(lane);
}

/*
 * To carry a probe is an attempt by the ledger, but nothing about this message:
 * if it were counted, the one that carries them all would back off for hours by
 * itself.
 */
void lane_defer_probe(const struct lane *lane, struct delivery *d)
{
	if (!d->is_probe)
		return;
	d->waits_for = lane->name;
	for (unsigned int i = 0; i < d->count; i++)
		d->recipients[i].due_ms = suspended_until_ms(lane, d->message);
}

/* One delivery for each connection that was tried shares its fate. */
static void defer_tried(struct lane *lane, bool all)
{
	struct list *link;

	while ((all || lane->tried > 0) && (link = list_pop(&lane->ready)) != NULL) {
		struct delivery *d = CONTAINER_OF(link, struct delivery, link);
		int64_t due_ms =
			MAX(health_retry_ms(lane->health), lane->shut_out_ms) + random_u32() % 2000;

		lane->ready_count--;
		lane->tried -= lane->tried > 0;
		d->attempt = lane->trouble;
		d->waits_for = lane->name;
		d->is_probe = lane->is_probing;
		for (unsigned int i = 0; i < d->count; i++)
			d->recipients[i].due_ms = due_ms;
		lane_defer_probe(lane, d);
		delivery_report_rest(d, &lane->status);
		delivery_finish(d);
	}
	lane->tried = 0;
}

/* No next hop could be used: it concerns all that waits, and for a while what comes. */
static void back_off(struct lane *lane)
{
	const struct mta_options *options = lane->view->options;
	struct health_failure failure = {
		.status = &lane->status,
		.now_ms = mta_now_ms(lane->worker),
		.minimal_s = options->minimal_backoff_s,
		.maximal_s = options->maximal_backoff_s,
		.random = random_u32(),
		.is_probe = lane->is_probing,
	};

	/* Nobody comes back to what has failed for good; the next message finds out for itself. */
	if (smtp_status_class(&lane->status) == SMTP_FAILED) {
		drop_probe(lane);
		defer_tried(lane, true);
		return;
	}
	lane->is_proven = false;
	lane->fruitless = 0;
	if (!health_failed(lane->health, &failure))
		lane->shut_out_ms =
			failure.now_ms + backoff_ms(1, options->minimal_backoff_s,
						    options->maximal_backoff_s, failure.random);
	defer_tried(lane, false);
	lane->is_probing = false;
	suspend_beyond(lane, 0);
	look_at(lane, is_down(lane) ? health_retry_ms(lane->health) : lane->shut_out_ms);
}

void lane_connection_broke(struct lane *lane, struct lane_connection *c,
			   const struct smtp_status *status, const struct delivery_attempt *attempt)
{
	if (c->is_fruitful || smtp_status_class(status) != SMTP_DEFERRED)
		return;
	c->is_broken = true;
	lane->status = *status;
	lane->trouble = *attempt;
	health_troubled(lane->health, status, mta_now_ms(lane->worker));
}

/* It takes connections and no mail: that is no way to spend the day. */
static bool is_fruitless(struct lane *lane, const struct lane_connection *c)
{
	return c->is_broken && (++lane->fruitless >= FRUITLESS_MAX || lane->is_probing);
}

static void limit_to(struct lane *lane, unsigned int limit)
{
	lane->limit = limit;
	lane->tried = 0;
}

void lane_connection_ended(struct lane *lane, struct lane_connection *c,
			   const struct smtp_status *status, const struct delivery_attempt *attempt)
{
	list_remove(&c->link);
	lane->connections--;
	health_closed(lane->health);
	if (c->ready)
		health_disconnected(lane->health);
	else
		lane->connecting--;

	if (status && !lane_is_closing(lane)) {
		lane->tried++;
		lane->status = *status;
		lane->trouble = *attempt;
	}
	if ((status || is_fruitless(lane, c)) && !lane_is_closing(lane)) {
		/* Others work or are still trying: perhaps the peer only limits how many we may open. */
		if (lane->connections > lane->connecting)
			limit_to(lane, MAX(lane->connections, 1));
		else if (lane->connections == 0)
			back_off(lane);
	} else if (lane->connections == 0) {
		drop_probe(lane);
	}
	if (!list_is_empty(&lane->ready))
		run_soon(lane);
	if (lane->retired && lane->connections == 0)
		loop_defer(lane->worker->loop, &lane->free_task);
}

/* Nothing new is begun. */
static void wind_down(struct lane *lane)
{
	struct list *link;

	while ((link = list_pop(&lane->ready)) != NULL) {
		lane->ready_count--;
		give_back(lane, CONTAINER_OF(link, struct delivery, link));
	}
	LIST_FOREACH (item, &lane->idle)
		outbound_close_idle(CONTAINER_OF(item, struct lane_connection, link));

	/* What is not ready yet has nothing to do any more. */
	LIST_FOREACH (item, &lane->busy) {
		struct lane_connection *c = CONTAINER_OF(item, struct lane_connection, link);

		if (!c->ready)
			outbound_abort(c);
	}
}

void lane_stop(struct lane *lane)
{
	lane->stopping = true;
	wind_down(lane);
	LIST_FOREACH (item, &lane->busy) {
		struct lane_connection *c = CONTAINER_OF(item, struct lane_connection, link);

		if (outbound_is_only_asking(c))
			outbound_abort(c); /* nobody needs the answer any more */
	}
}

void lane_retire(struct lane *lane, struct list *retired)
{
	lane->retired = true;
	list_push(retired, &lane->link);
	list_remove(&lane->hungry);
	loop_timer_stop(lane->timer);
	wind_down(lane);
	if (lane->connections == 0)
		loop_defer(lane->worker->loop, &lane->free_task);
}

void lane_abort(struct lane *lane, bool spare_owed)
{
	LIST_FOREACH (item, &lane->idle)
		outbound_abort(CONTAINER_OF(item, struct lane_connection, link));
	LIST_FOREACH (item, &lane->busy) {
		struct lane_connection *c = CONTAINER_OF(item, struct lane_connection, link);

		if (!spare_owed || !outbound_is_owed(c))
			outbound_abort(c);
	}
}
