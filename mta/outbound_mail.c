/*
 * Deliveries over a ready connection. Each transaction of the engine is a
 * flight here: several are under way where the peer lets us send ahead. They
 * are over when the engine says done() or broken().
 *
 * A flight has a delivery of its own. Recipients that the peer does not take
 * in the same transaction are split off first, and are in front of the lane.
 * What has come to nothing through no fault of its own goes back there, too; or
 * along to the next address, where it was the first on its connection.
 */
#include "mta/outbound_connection.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/memory.h"
#include "mta/snapshot.h"

/* A peer that we have not heard of for longer may have closed the connection. */
#define TRUST_MS 1000

#define REFUSED_MAX 5 /* recipients of probes, of one connection */

/* ---- what a transaction can carry ---- */

static bool *moves_of(const struct delivery *d)
{
	return memory_zeroed(d->count * sizeof(bool));
}

/* What moves goes first, on this connection or another. */
static void split_off(struct outbound *o, struct delivery *d, const bool *moves)
{
	lane_put_back(o->lane, delivery_split(d, moves));
}

static const char *domain_of(const struct delivery *d, unsigned int i)
{
	const char *address = d->message->recipients[d->recipients[i].index].address;
	const char *at = strrchr(address, '@');

	return at ? at + 1 : "";
}

static bool has_met_domain(const struct outbound *o, const char *domain)
{
	for (size_t i = 0; i < o->domain_count; i++)
		if (strcasecmp(o->domains[i], domain) == 0)
			return true;
	return false;
}

static void forget_domains(struct outbound *o)
{
	for (size_t i = 0; i < o->domain_count; i++)
		free(o->domains[i]);
	o->domain_count = 0;
}

static void note_domain(struct outbound *o, const char *domain)
{
	size_t size = strlen(domain) + 1;

	o->domains = memory_grow(o->domains, (o->domain_count + 1) * sizeof(*o->domains));
	o->domains[o->domain_count++] = memcpy(memory_new(size), domain, size);
}

/* RCPTDOMAINMAX (RFC 9422): whether the connection may have a recipient of this domain, too. */
static bool admit_domain(struct outbound *o, const char *domain)
{
	unsigned int max = smtp_client_capabilities(o->client)->limits.rcpt_domain_max;

	if (max == 0 || has_met_domain(o, domain))
		return true;
	if (o->domain_count >= max)
		return false;
	note_domain(o, domain);
	return true;
}

/* RCPTMAX, as the peer has announced it or as it turned out; 0: no limit. */
static unsigned int rcpt_max(const struct outbound *o)
{
	unsigned int announced = smtp_client_capabilities(o->client)->limits.rcpt_max;

	if (o->rcpt_max == 0 || announced == 0)
		return MAX(o->rcpt_max, announced);
	return MIN(o->rcpt_max, announced);
}

/*
 * Leave to the delivery what one transaction can carry here. False: that is
 * nothing, and the connection is of no more use for it.
 */
static bool fit(struct outbound *o, struct delivery *d)
{
	const struct smtp_limits *limits = &smtp_client_capabilities(o->client)->limits;
	unsigned int max = rcpt_max(o), count = 0;
	bool *moves;

	if (max == 0 && limits->rcpt_domain_max == 0)
		return true;
	moves = moves_of(d);
	for (unsigned int i = 0; i < d->count; i++) {
		moves[i] = (max > 0 && count == max) || !admit_domain(o, domain_of(d, i));
		count += !moves[i];
	}
	if (count > 0 && count < d->count)
		split_off(o, d, moves);
	free(moves);
	return count > 0;
}

/*
 * RFC 5321 section 4.5.3.1.10: 452, and what some say instead, 552, is no word
 * about the recipient; it goes with the next transaction. But the same codes
 * are used for a full disk or mailbox, of which enhanced codes tell.
 */
static bool is_one_too_many(const struct outbound *o, const struct smtp_status *status)
{
	const struct smtp_enhanced *e = &status->enhanced;

	return (status->code == 452 || status->code == 552) &&
	       (e->class == 0 || (e->subject == 5 && e->detail == 3)) &&
	       strcmp(smtp_client_stage(o->client), "RCPT TO") == 0;
}

/* The transaction is over. Has it done some good, those that were too many are tried again at once. */
static void settle_too_many(struct outbound *o, struct delivery *d)
{
	bool *moves;

	if (d->unknown == 0)
		return;
	if (!delivery_is_taken(d)) {
		for (unsigned int i = 0; i < d->count; i++) {
			struct smtp_status status = d->recipients[i].status;

			delivery_report(d, i, &status);
		}
		return;
	}
	o->rcpt_max = d->count - d->unknown;
	d->was_in_clear |= !o->attempt.encrypted; /* of those that move, too */
	moves = moves_of(d);
	for (unsigned int i = 0; i < d->count; i++)
		moves[i] = !d->recipients[i].known;
	split_off(o, d, moves);
	free(moves);
}

/* ---- flights ---- */

static struct flight *flight_of(const struct smtp_transaction *t)
{
	return CONTAINER_OF(t, struct flight, transaction);
}

static struct flight *flight_new(struct delivery *d)
{
	struct flight *f = memory_zeroed(sizeof(*f) + d->count * sizeof(struct smtp_recipient));
	const struct queue_message *m = d->message;

	f->delivery = d;
	for (unsigned int i = 0; i < d->count; i++) {
		const struct queue_recipient *r = &m->recipients[d->recipients[i].index];

		f->recipients[i] = (struct smtp_recipient){
			.address = r->address,
			.orcpt = r->orcpt,
			.notify = r->notify,
		};
	}
	f->transaction = (struct smtp_transaction){
		.sender = m->sender,
		.recipients = f->recipients,
		.recipient_count = d->count,
		.size = m->size,
		.body_8bit = m->body_8bit,
		.body_binary = m->body_binary,
		.requiretls = m->requiretls && !transport_route_is_unix(d->route),
		.smtputf8 = m->smtputf8,
		.envelope_id = m->envelope_id,
		.returning = m->returning,
		.envelope_only = d->envelope_only,
	};
	return f;
}

static void add_flight(struct outbound *o, struct flight *f)
{
	list_push(&o->flights, &f->link);
	o->lane_connection.in_flight++;
}

/* Its delivery is the caller's. */
static struct delivery *end_flight(struct outbound *o, struct flight *f)
{
	struct delivery *d = f->delivery;

	list_remove(&f->link);
	o->lane_connection.in_flight--;
	if (o->giving == f)
		o->giving = NULL;
	free(f);
	return d;
}

/*
 * Whether the peer will answer, as far as anybody can tell. Else the message is
 * not sent before it has: what it cannot have can go another way.
 */
static bool is_trusted(const struct outbound *o, int64_t now_ms)
{
	return o->went_through && (o->state != OUTBOUND_IDLE || now_ms - o->idle_ms <= TRUST_MS);
}

static void begin(struct outbound *o, struct delivery *d)
{
	struct flight *f = flight_new(d);
	int64_t now_ms = mta_now_ms(o->worker);

	f->transaction.is_careful = !is_trusted(o, now_ms);
	o->state = OUTBOUND_TALKING;
	d->attempt = o->attempt;
	d->attempt.connected = true;
	d->attempt.dsn = smtp_client_capabilities(o->client)->dsn;
	d->attempt.send_ms = now_ms;
	if (o->transactions > 0)
		d->attempt.connect_ms = now_ms; /* nothing was spent on connecting */

	o->transactions++;
	add_flight(o, f);
	smtp_client_transaction(o->client, &f->transaction);
}

static bool is_worn_out(const struct outbound *o)
{
	const struct mta_options *options = o->lane->view->options;
	unsigned int mail_max = smtp_client_capabilities(o->client)->limits.mail_max;

	return o->is_spent || (mail_max > 0 && o->transactions >= mail_max) ||
	       (options->connection_uses > 0 && o->transactions >= options->connection_uses) ||
	       mta_now_ms(o->worker) - o->ready_ms > options->connection_age_ms;
}

/* Of its own, or else of the lane. */
static struct delivery *take(struct outbound *o)
{
	struct delivery *d = o->moving;

	if (d) {
		o->moving = NULL;
		lane_ready(o->lane, &o->lane_connection);
		return d;
	}
	if (is_worn_out(o) || !smtp_client_has_room(o->client))
		return NULL;
	if (list_is_empty(&o->flights))
		return lane_take(o->lane, &o->lane_connection);
	return lane_take_ahead(o->lane, &o->lane_connection);
}

static void become_idle(struct outbound *o)
{
	int64_t limit_ms = o->lane->view->options->connection_idle_ms;

	if (o->state != OUTBOUND_IDLE)
		o->idle_ms = mta_now_ms(o->worker);
	o->state = OUTBOUND_IDLE;
	if (is_worn_out(o) || lane_is_closing(o->lane) || limit_ms == 0)
		outbound_quit(o);
	else
		loop_timer_start(o->timer, limit_ms);
}

/*
 * The engine may finish a delivery before smtp_client_transaction() returns,
 * when no server is needed to refuse it; hence the loop, and not a call of
 * this from the end of each delivery.
 */
void outbound_mail_next(struct outbound *o)
{
	struct delivery *d;

	if (o->taking)
		return;
	o->taking = true;
	while ((d = take(o)) != NULL) {
		if (fit(o, d)) {
			begin(o, d);
		} else {
			o->is_spent = true;
			lane_put_back(o->lane, d);
		}
	}
	o->taking = false;

	if (list_is_empty(&o->flights))
		become_idle(o);
}

/* ---- how deliveries end ---- */

static void finish(struct outbound *o, struct delivery *d)
{
	d->attempt.done_ms = mta_now_ms(o->worker);
	if (!outbound_body_holds(o, d, delivery_finish))
		delivery_finish(d);
}

void outbound_mail_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			     const struct smtp_status *status)
{
	struct delivery *d = flight_of(t)->delivery;
	struct outbound *o = arg;

	/* Of what needs no server to be refused, the client names no stage. */
	d->recipients[index].by_peer = smtp_client_stage(o->client)[0] != '\0';
	d->recipients[index].is_verdict = smtp_client_tells_verdict(o->client);
	d->recipients[index].at_rcpt = strcmp(smtp_client_stage(o->client), "RCPT TO") == 0;
	if (is_one_too_many(o, status))
		d->recipients[index].status = *status;
	else
		delivery_report(d, index, status);
}

/*
 * A server counts what it refuses, begins to stall after some ten, and ends the
 * session after twenty. Probes may well be refused; they are not to slow down mail.
 */
static void count_refused(struct outbound *o, const struct delivery *d)
{
	for (unsigned int i = 0; i < d->count; i++)
		o->refused += smtp_status_class(&d->recipients[i].status) == SMTP_FAILED;
	o->is_spent |= o->refused >= REFUSED_MAX;
}

void outbound_mail_done(void *arg, const struct smtp_transaction *t)
{
	struct outbound *o = arg;
	struct delivery *d = end_flight(o, flight_of(t));

	d->is_probe = false; /* it has found the next hop up */
	settle_too_many(o, d);
	if (d->envelope_only)
		count_refused(o, d);
	lane_went_through(o->lane, &o->lane_connection, d);
	o->went_through = true;
	finish(o, d);
	if (o->state == OUTBOUND_TALKING)
		outbound_mail_next(o);
}

/*
 * A connection that has carried mail before ends before the peer was to take
 * this message: it has had enough of the connection, or had closed it already.
 * A new one will show whether it wants the mail.
 */
static bool is_worth_another(const struct outbound *o, enum smtp_break how,
			     const struct smtp_status *status)
{
	return how == SMTP_BREAK_BEHIND || (how == SMTP_BREAK_ENVELOPE && o->went_through &&
					    smtp_status_class(status) == SMTP_DEFERRED);
}

/* The recipients that have no status, as a delivery of their own. */
static struct delivery *split_unknown(struct delivery *d)
{
	bool *moves = moves_of(d);
	struct delivery *part;

	for (unsigned int i = 0; i < d->count; i++)
		moves[i] = !d->recipients[i].known;
	part = delivery_split(d, moves);
	free(moves);
	return part;
}

/* While its message is being read it can't go to another connection: it takes the long way. */
static void put_off(struct outbound *o, struct delivery *d, const struct smtp_status *why)
{
	for (unsigned int i = 0; i < d->count; i++) {
		d->recipients[i].untried = true;
		d->recipients[i].due_ms = mta_now_ms(o->worker);
	}
	delivery_report_rest(d, why);
	finish(o, d);
}

static void give_back(struct outbound *o, struct delivery *d, const struct smtp_status *why)
{
	d->was_in_clear |= !o->attempt.encrypted;
	if (d->unknown > 0 && d->unknown < d->count) {
		list_push(&o->returned, &split_unknown(d)->link);
		finish(o, d);
	} else if (d->unknown == 0) {
		finish(o, d);
	} else if (outbound_body_is_read(o, d)) {
		put_off(o, d, why);
	} else {
		list_push(&o->returned, &d->link);
	}
}

static void mark_words_of_peer(struct delivery *d, const struct smtp_status *status)
{
	for (unsigned int i = 0; i < d->count; i++)
		d->recipients[i].by_peer |= !d->recipients[i].known && status->code != 0;
}

/*
 * The first message of a connection, which ends before it was asked for any of
 * it: so nobody can have it. Where the peer has spoken about a recipient that
 * stands, and the rest waits.
 */
static bool is_movable(const struct outbound *o, const struct delivery *d, enum smtp_break how,
		       const struct smtp_status *status)
{
	return how == SMTP_BREAK_ENVELOPE && !o->went_through && d->unknown == d->count &&
	       smtp_status_class(status) == SMTP_DEFERRED;
}

/* The next address is another peer: nothing is known of it. */
static void move_on(struct outbound *o, struct delivery *d)
{
	d->was_in_clear |= !o->attempt.encrypted;
	o->moving = d;
	o->transactions = o->rcpt_max = o->refused = 0;
	o->is_spent = false;
	forget_domains(o);
}

bool outbound_mail_moves(const struct outbound *o)
{
	return o->moving;
}

void outbound_mail_moved_in_vain(struct outbound *o, const struct smtp_status *status)
{
	struct delivery *d = o->moving;

	o->moving = NULL;
	if (strcmp(d->attempt.relay, o->attempt.relay) != 0)
		d->attempt = o->attempt; /* another one had the last word */
	else
		mark_words_of_peer(d, status);
	lane_defer_probe(o->lane, d);
	delivery_report_rest(d, status);
	finish(o, d);
}

void outbound_mail_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
			  const struct smtp_status *status)
{
	struct flight *f = flight_of(t);
	struct outbound *o = arg;
	struct delivery *d;

	o->is_broken_off |= f->body_begun;
	if (how == SMTP_BREAK_MESSAGE && o->in_doubt++ > 0)
		lane_not_ahead(o->lane);
	d = end_flight(o, f);
	if (is_worth_another(o, how, status)) {
		give_back(o, d, status);
		return;
	}
	if (is_movable(o, d, how, status)) {
		/* Nothing new is begun by old options, or by who stops. */
		if (lane_is_closing(o->lane))
			give_back(o, d, status);
		else
			move_on(o, d);
		return;
	}
	mark_words_of_peer(d, status);
	lane_defer_probe(o->lane, d);
	delivery_report_rest(d, status);
	finish(o, d);
}

void outbound_mail_return(struct outbound *o)
{
	while (!list_is_empty(&o->returned)) {
		struct list *last = o->returned.prev;

		list_remove(last);
		lane_put_back(o->lane, CONTAINER_OF(last, struct delivery, link));
	}
}

/* What the peer is known to have taken is recorded; the rest was not tried. */
static void drop(struct outbound *o, struct delivery *d)
{
	if (d->unknown > 0 && delivery_is_taken(d))
		delivery_drop(split_unknown(d));
	if (d->unknown == 0)
		finish(o, d);
	else if (!outbound_body_holds(o, d, delivery_drop))
		delivery_drop(d);
}

void outbound_mail_drop(struct outbound *o)
{
	while (!list_is_empty(&o->flights))
		drop(o, end_flight(o, CONTAINER_OF(o->flights.next, struct flight, link)));
	if (o->moving)
		drop(o, o->moving);
	o->moving = NULL;
}

void outbound_mail_give_up(struct outbound *o, struct flight *f)
{
	finish(o, end_flight(o, f));
}

bool outbound_mail_is_begun(const struct outbound *o)
{
	LIST_FOREACH (item, &o->flights)
		if (CONTAINER_OF(item, struct flight, link)->body_begun)
			return true;
	return false;
}

bool outbound_mail_is_only_asking(const struct outbound *o)
{
	LIST_FOREACH (item, &o->flights)
		if (!CONTAINER_OF(item, struct flight, link)->delivery->envelope_only)
			return false;
	return !list_is_empty(&o->flights);
}

bool outbound_mail_is_owed(const struct outbound *o)
{
	bool all_left = buf_len(&o->commands) == 0 && stream_pending(o->stream) == 0;

	LIST_FOREACH (item, &o->flights) {
		const struct flight *f = CONTAINER_OF(item, struct flight, link);

		if (f->has_left || (f->is_sent && all_left))
			return true;
	}
	return false;
}

void outbound_mail_init(struct outbound *o)
{
	list_init(&o->flights);
	list_init(&o->returned);
	outbound_body_init(o);
}

void outbound_mail_free(struct outbound *o)
{
	forget_domains(o);
	free(o->domains);
}
