/*
 * Deliveries over a ready connection. A body in memory goes to the engine
 * whole; one in a file is read piece by piece on the thread pool, the next
 * piece when the kernel has taken the last.
 *
 * While a piece is being read, the message must stay: a delivery that ends
 * meanwhile (the connection broke) is parked and handed back afterwards.
 */
#include "mta/outbound_connection.h"

#include <errno.h>
#include <string.h>

#include "base/memory.h"

#define IDLE_TIMEOUT_MS 5000
#define MAX_AGE_MS	300000
#define MAX_DELIVERIES	1000
#define PIECE_BYTES	262144

static void hand_back(struct outbound *o, struct delivery *d, bool drop)
{
	if (o->reading) {
		o->parked = d;
		o->parked_drop = drop;
		return;
	}
	if (o->reader.body)
		queue_body_reader_done(&o->reader);
	memset(&o->reader, 0, sizeof(o->reader));
	if (drop)
		delivery_drop(d);
	else
		delivery_finish(d);
}

static void finish_delivery(struct outbound *o)
{
	struct delivery *d = o->delivery;

	o->delivery = NULL;
	d->attempt.done_ms = mta_now_ms(o->worker);
	hand_back(o, d, false);
}

static struct smtp_recipient recipient_of(const struct delivery *d, unsigned int i)
{
	const struct queue_recipient *r = &d->message->recipients[d->recipients[i].index];

	return (struct smtp_recipient){
		.address = r->address,
		.orcpt = r->orcpt,
		.notify = r->notify,
	};
}

static void begin_delivery(struct outbound *o, struct delivery *d)
{
	if (o->recipients_size < d->count) {
		o->recipients_size = d->count;
		o->recipients = memory_grow(o->recipients, d->count * sizeof(*o->recipients));
	}
	for (unsigned int i = 0; i < d->count; i++)
		o->recipients[i] = recipient_of(d, i);

	o->delivery = d;
	o->deliveries++;
	o->body_begun = false;
	o->state = OUTBOUND_TALKING;
	d->attempt = o->attempt;
	d->attempt.connected = true;
	d->attempt.dsn = smtp_client_capabilities(o->client)->dsn;
	d->attempt.send_ms = mta_now_ms(o->worker);
	if (o->deliveries > 1)
		d->attempt.connect_ms = d->attempt.send_ms; /* nothing was spent on connecting */

	o->transaction = (struct smtp_transaction){
		.sender = d->message->sender,
		.recipients = o->recipients,
		.recipient_count = d->count,
		.size = d->message->size,
		.body_8bit = d->message->body_8bit,
		.body_binary = d->message->body_binary,
		.requiretls = d->message->requiretls,
		.smtputf8 = d->message->smtputf8,
		.envelope_id = d->message->envelope_id,
		.returning = d->message->returning,
	};
	smtp_client_transaction(o->client, &o->transaction);
}

static bool is_worn_out(const struct outbound *o)
{
	return o->deliveries >= MAX_DELIVERIES || mta_now_ms(o->worker) - o->ready_ms > MAX_AGE_MS;
}

/* Of its own, or else of the lane. */
static struct delivery *next_delivery(struct outbound *o)
{
	struct delivery *d = o->moving;

	if (!d)
		return lane_take(o->lane, &o->lane_connection);
	o->moving = NULL;
	lane_ready(o->lane, &o->lane_connection);
	return d;
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
	while (!o->delivery && !is_worn_out(o) && (d = next_delivery(o)) != NULL)
		begin_delivery(o, d);
	o->taking = false;

	if (o->delivery)
		return;
	o->state = OUTBOUND_IDLE;
	if (is_worn_out(o) || lane_is_closing(o->lane))
		outbound_quit(o);
	else
		loop_timer_start(o->timer, IDLE_TIMEOUT_MS);
}

/*
 * A connection that has carried mail before ends before this message was asked
 * for: the peer has had enough of the connection, or had closed it already. A
 * new one will show whether it wants the mail.
 */
static bool is_worth_another(const struct outbound *o, const struct smtp_status *status)
{
	const struct delivery *d = o->delivery;

	return o->deliveries > 1 && !o->body_begun && d->unknown == d->count &&
	       smtp_status_class(status) == SMTP_DEFERRED;
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
bool outbound_mail_moves(struct outbound *o, const struct smtp_status *status)
{
	struct delivery *d = o->delivery;

	if (!d || o->lane_connection.is_fruitful || o->deliveries > 1 || o->body_begun ||
	    d->unknown < d->count || smtp_status_class(status) != SMTP_DEFERRED)
		return false;
	d->was_in_clear |= !o->attempt.encrypted;
	o->deliveries = 0;
	o->delivery = NULL;
	o->moving = d;
	return true;
}

void outbound_mail_moved_in_vain(struct outbound *o, const struct smtp_status *status)
{
	struct delivery *d = o->moving;

	o->moving = NULL;
	if (strcmp(d->attempt.relay, o->attempt.relay) != 0)
		d->attempt = o->attempt; /* another one had the last word */
	else
		mark_words_of_peer(d, status);
	d->attempt.done_ms = mta_now_ms(o->worker);
	lane_defer_probe(o->lane, d);
	delivery_report_rest(d, status);
	hand_back(o, d, false);
}

void outbound_mail_failed(struct outbound *o, const struct smtp_status *status)
{
	struct delivery *d = o->delivery;

	if (!d)
		return;
	if (is_worth_another(o, status)) {
		o->delivery = NULL;
		lane_put_back(o->lane, d);
		return;
	}
	mark_words_of_peer(d, status);
	lane_defer_probe(o->lane, d);
	delivery_report_rest(d, status);
	finish_delivery(o);
}

/* ---- the body ---- */

static void read_piece(struct loop_work *work)
{
	struct outbound *o = CONTAINER_OF(work, struct outbound, read_work);

	o->piece_len = queue_body_read(&o->reader, PIECE_BYTES, &o->piece, &o->read_error);
}

static void start_reading(struct outbound *o)
{
	o->reading = true;
	buf_clear(&o->piece);
	loop_work(o->worker->loop, &o->read_work);
}

static void read_failed(struct outbound *o)
{
	struct smtp_status status;

	smtp_status_set(&status, 451, ESC(4, 3, 0), "cannot read the message: %s",
			o->read_error.text);
	o->delivery->damaged = o->piece_len == -EBADMSG;
	delivery_report_rest(o->delivery, &status);
	finish_delivery(o);
	outbound_end(o, NULL); /* without the final dot the peer must drop what it has */
}

static void piece_done(struct loop_work *work)
{
	struct outbound *o = CONTAINER_OF(work, struct outbound, read_work);

	o->reading = false;
	if (o->parked) {
		hand_back(o, o->parked, o->parked_drop);
		o->parked = NULL;
	}
	if (o->state == OUTBOUND_DEAD) {
		loop_defer(o->worker->loop, &o->step_task);
		return;
	}
	if (o->piece_len < 0) {
		read_failed(o);
		return;
	}
	if (o->piece_len == 0) {
		smtp_client_body_end(o->client);
		outbound_after_engine(o);
		return;
	}
	smtp_client_body(o->client, buf_slice(&o->piece));
	outbound_after_engine(o);
	if (stream_pending(o->stream) == 0)
		start_reading(o);
}

void outbound_mail_drained(struct outbound *o)
{
	if (o->state == OUTBOUND_TALKING && o->reader.body && !o->reading && o->piece_len > 0) {
		outbound_after_engine(o);
		start_reading(o);
	}
}

void outbound_mail_body_wanted(void *arg)
{
	struct outbound *o = arg;
	struct queue_body *body = o->delivery->message->body;

	o->body_begun = true;
	if (!queue_body_in_file(body)) {
		smtp_client_body(o->client, queue_body_memory(body));
		smtp_client_body_end(o->client);
		return;
	}
	queue_body_reader_init(&o->reader, body);
	start_reading(o);
}

void outbound_mail_drop(struct outbound *o)
{
	struct delivery *d = o->delivery ? o->delivery : o->moving;

	o->delivery = o->moving = NULL;
	if (d)
		hand_back(o, d, true);
}

void outbound_mail_init(struct outbound *o)
{
	o->read_work = (struct loop_work){ .work = read_piece, .done = piece_done };
}

/* ---- what the engine says ---- */

void outbound_mail_recipient(void *arg, unsigned int index, const struct smtp_status *status)
{
	struct outbound *o = arg;

	/* Of what needs no server to be refused, the client names no stage. */
	o->delivery->recipients[index].by_peer = smtp_client_stage(o->client)[0] != '\0';
	o->delivery->recipients[index].is_verdict = smtp_client_tells_verdict(o->client);
	delivery_report(o->delivery, index, status);
}

void outbound_mail_done(void *arg)
{
	struct outbound *o = arg;

	o->delivery->is_probe = false; /* it has found the next hop up */
	lane_went_through(o->lane, &o->lane_connection, o->delivery);
	finish_delivery(o);
	outbound_mail_next(o);
}
