/*
 * The messages of flights. A body in memory goes to the engine whole; one in a
 * file is read piece by piece on the thread pool, the next piece when the
 * kernel has taken the last. Only the newest flight gives its message.
 *
 * While a piece is being read, the message must stay: a delivery that ends
 * meanwhile (the connection broke, the message was refused) is parked, and
 * ends when that is done. The reader is free for the next message then.
 */
#include "mta/outbound_connection.h"

#include <errno.h>
#include <string.h>

#define PIECE_BYTES 262144

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

static void end_reader(struct outbound *o)
{
	if (o->reader.body)
		queue_body_reader_done(&o->reader);
	memset(&o->reader, 0, sizeof(o->reader));
	o->read_of = NULL;
}

static void begin_reader(struct outbound *o)
{
	end_reader(o);
	o->read_of = o->giving->delivery;
	queue_body_reader_init(&o->reader, o->read_of->message->body);
	start_reading(o);
}

static void give(struct outbound *o, struct flight *f, struct slice bytes, bool is_last)
{
	smtp_client_body(o->client, bytes, is_last);
	if (!is_last)
		return;
	f->is_sent = true;
	o->giving = NULL;
	outbound_mail_next(o);
}

/* Without its end the peer must drop what it has; but what is before it may be answered first. */
static void read_failed(struct outbound *o)
{
	struct smtp_status status;
	struct delivery *d = o->read_of;

	if (o->flights.next != &o->giving->link)
		return;
	smtp_status_set(&status, 451, ESC(4, 3, 0), "cannot read the message: %s",
			o->read_error.text);
	d->damaged = o->piece_len == -EBADMSG;
	delivery_report_rest(d, &status);
	outbound_mail_give_up(o, o->giving);
	outbound_end(o, NULL);
}

void outbound_body_unblock(struct outbound *o)
{
	if (o->giving && !o->reading && o->piece_len < 0)
		read_failed(o);
}

/* A delivery that has ended meanwhile. */
static void release(struct outbound *o)
{
	void (*end)(struct delivery * d) = o->parked_end;
	struct delivery *d = o->read_of;

	end_reader(o);
	o->parked_end = NULL;
	end(d);
}

static void piece_done(struct loop_work *work)
{
	struct outbound *o = CONTAINER_OF(work, struct outbound, read_work);

	o->reading = false;
	if (o->parked_end)
		release(o);
	if (o->state == OUTBOUND_DEAD) {
		end_reader(o);
		loop_defer(o->worker->loop, &o->step_task);
		return;
	}
	if (!o->giving)
		return;
	if (o->read_of != o->giving->delivery) {
		begin_reader(o);
		return;
	}
	if (o->piece_len < 0) {
		read_failed(o);
		return;
	}
	give(o, o->giving, buf_slice(&o->piece),
	     o->reader.offset == queue_body_size(o->reader.body));
	outbound_after_engine(o);
	outbound_body_drained(o);
}

void outbound_body_drained(struct outbound *o)
{
	if (o->state != OUTBOUND_TALKING || stream_pending(o->stream) > 0 ||
	    buf_len(&o->commands) > 0)
		return;
	LIST_FOREACH (item, &o->flights) {
		struct flight *f = CONTAINER_OF(item, struct flight, link);

		f->has_left = f->is_sent;
	}
	if (o->giving && !o->reading && o->piece_len > 0) {
		outbound_after_engine(o);
		start_reading(o);
	}
}

void outbound_body_wanted(void *arg, const struct smtp_transaction *t)
{
	struct flight *f = CONTAINER_OF(t, struct flight, transaction);
	struct queue_body *body = f->delivery->message->body;
	struct outbound *o = arg;

	f->body_begun = true;
	if (!queue_body_in_file(body)) {
		give(o, f, queue_body_memory(body), true);
		return;
	}
	o->giving = f;
	o->piece_len = 0;
	if (!o->reading)
		begin_reader(o);
}

bool outbound_body_is_read(struct outbound *o, const struct delivery *d)
{
	if (o->read_of != d)
		return false;
	if (!o->reading)
		end_reader(o);
	return o->reading;
}

bool outbound_body_holds(struct outbound *o, struct delivery *d, void (*end)(struct delivery *d))
{
	if (!outbound_body_is_read(o, d))
		return false;
	o->parked_end = end;
	return true;
}

void outbound_body_init(struct outbound *o)
{
	o->read_work = (struct loop_work){ .work = read_piece, .done = piece_done };
}
