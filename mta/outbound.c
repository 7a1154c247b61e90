/*
 * A connection walks over next hops and their addresses until one is ready:
 *
 *	next_hop -> (DNS) -> next_address -> connect -> [implicit TLS] ->
 *	greeting, EHLO -> [STARTTLS, EHLO] -> ready -> deliveries ... -> QUIT
 *
 * Whatever goes wrong before it has ever been ready leads to the next address;
 * after that, the connection ends and the lane decides. Objects are never
 * freed inside their own callbacks: give_up_address() and destroy() only mark,
 * and step_task does the work when the callback has returned.
 *
 * The protocol engine writes to commands; transmit() alone moves bytes from
 * there to the stream.
 */
#include "mta/outbound.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mta/maillog.h"
#include "smtp/client.h"

#define CONNECT_TIMEOUT_MS   30000
#define HANDSHAKE_TIMEOUT_MS 60000
#define IDLE_TIMEOUT_MS	     5000
#define LINGER_MS	     2000
#define MAX_AGE_MS	     300000
#define MAX_DELIVERIES	     1000
#define PIECE_BYTES	     262144 /* of a body in a file */

enum outbound_state {
	OUTBOUND_RESOLVING,
	OUTBOUND_CONNECTING,
	OUTBOUND_HANDSHAKE, /* TLS, implicit or after STARTTLS */
	OUTBOUND_TALKING,   /* the engine decides */
	OUTBOUND_IDLE,	    /* ready, waiting for a delivery */
	OUTBOUND_RETRYING,  /* step_task goes on to the next address */
	OUTBOUND_DEAD,	    /* step_task frees */
};

struct outbound {
	struct lane_connection lane_connection;
	struct lane *lane;
	struct mta_worker *worker;
	enum outbound_state state;
	struct loop_task step_task;
	struct loop_timer *timer;

	unsigned int first_hop, hops_tried;
	const struct transport_hop *hop;
	struct dns_query *query;
	struct net_address *addresses;
	size_t address_count, address_next;
	bool retry_clear; /* the last handshake failed and the policy permits clear text: */
	bool stay_clear;  /*   no TLS on this connection */

	struct stream *stream;
	struct smtp_client *client;
	struct buf commands;
	struct delivery_attempt attempt; /* what is known of the connection so far */
	struct smtp_status trouble;	 /* why the last address was no good */

	struct delivery *delivery;
	struct smtp_transaction transaction;
	const char **recipients; /* of the transaction; its array is kept and grown */
	unsigned int recipients_size;
	bool answered; /* the peer has said something since the transaction began */
	unsigned int deliveries;
	int64_t ready_ms;

	struct queue_body_reader reader;
	struct loop_work read_work;
	struct error read_error;
	struct buf piece;
	int64_t piece_len;
	bool reading;		 /* read_work is with the thread pool: the message must stay, */
	struct delivery *parked; /*   so its delivery is handed back when that is done, */
	bool parked_drop;	 /*   dropped instead of finished */
};

static void connect_next(struct outbound *o);
static const struct stream_events stream_events;
static const struct smtp_client_events client_events;

static const struct tls_policy *policy_of(const struct outbound *o)
{
	return &o->lane->route->tls;
}

static struct log *log_of(const struct outbound *o)
{
	return o->worker->options->log;
}

/*
 * The one place where bytes for the peer leave. While a delivery is on, they
 * are envelope or message, and the connection must be what the policy wants;
 * over implicit TLS nothing at all is ever sent in the clear. The assertions
 * are the promise of interface.md section 5: better no process than a leak.
 */
static void transmit(struct outbound *o)
{
	bool secured = stream_is_secured(o->stream);

	if (buf_len(&o->commands) == 0)
		return;
	if (o->lane->route->mode == TLS_MODE_IMPLICIT)
		assert(secured);
	if (o->delivery)
		assert(tls_policy_permits(policy_of(o), secured,
					  secured && o->attempt.tls.verified));

	buf_append_slice(stream_output(o->stream), buf_slice(&o->commands));
	buf_clear(&o->commands);
	stream_flush(o->stream);
}

static void close_stream(struct outbound *o)
{
	if (o->stream)
		stream_free(o->stream, LINGER_MS);
	o->stream = NULL;
	loop_timer_stop(o->timer);
	buf_clear(&o->commands);
}

static void free_outbound(struct outbound *o)
{
	smtp_client_free(o->client);
	loop_timer_free(o->timer);
	loop_defer_cancel(&o->step_task);
	buf_done(&o->commands);
	buf_done(&o->piece);
	free(o->addresses);
	free(o->recipients);
	free(o);
}

static void step(struct loop_task *task)
{
	struct outbound *o = CONTAINER_OF(task, struct outbound, step_task);

	if (o->state == OUTBOUND_RETRYING) {
		smtp_client_free(o->client);
		o->client = NULL;
		connect_next(o);
	} else if (o->state == OUTBOUND_DEAD && !o->reading) {
		free_outbound(o);
	}
}

/* The end. The lane forgets us now, the memory goes when callbacks have returned. */
static void destroy(struct outbound *o, const struct smtp_status *trouble)
{
	if (o->state == OUTBOUND_DEAD)
		return;
	if (o->query)
		dns_cancel(o->query);
	o->query = NULL;
	close_stream(o);
	o->state = OUTBOUND_DEAD;
	lane_connection_ended(o->lane, &o->lane_connection, trouble, &o->attempt);
	loop_defer(o->worker->loop, &o->step_task);
}

/* This address is no good, o->trouble says why: on to the next when the callback has returned. */
static void give_up_address(struct outbound *o)
{
	close_stream(o);
	o->state = OUTBOUND_RETRYING;
	loop_defer(o->worker->loop, &o->step_task);
}

static void arm_timer(struct outbound *o)
{
	int64_t timeout_ms = o->client ? smtp_client_timeout_ms(o->client) : 0;

	if (timeout_ms > 0)
		loop_timer_start(o->timer, timeout_ms);
	else
		loop_timer_stop(o->timer);
}

/* Call after each use of the engine. */
static void after_engine(struct outbound *o)
{
	if (o->state == OUTBOUND_TALKING) {
		transmit(o);
		arm_timer(o);
	}
}

/* ---- deliveries ---- */

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
		delivery_drop(o->worker, d);
	else
		delivery_finish(o->worker, d);
}

static void finish_delivery(struct outbound *o)
{
	struct delivery *d = o->delivery;

	o->delivery = NULL;
	d->attempt.done_ms = mta_now_ms(o->worker);
	hand_back(o, d, false);
}

static void begin_delivery(struct outbound *o, struct delivery *d)
{
	if (o->recipients_size < d->count) {
		o->recipients_size = d->count;
		o->recipients = memory_grow(o->recipients, d->count * sizeof(*o->recipients));
	}
	for (unsigned int i = 0; i < d->count; i++)
		o->recipients[i] = d->message->recipients[d->recipients[i].index].address;

	o->delivery = d;
	o->deliveries++;
	o->answered = false;
	o->state = OUTBOUND_TALKING;
	d->attempt = o->attempt;
	d->attempt.connected = true;
	d->attempt.send_ms = mta_now_ms(o->worker);
	if (o->deliveries > 1)
		d->attempt.connect_ms = d->attempt.send_ms; /* nothing was spent on connecting */

	o->transaction = (struct smtp_transaction){
		.sender = d->message->sender,
		.recipients = o->recipients,
		.recipient_count = d->count,
		.size = d->message->size,
		.body_8bit = d->message->body_8bit,
	};
	smtp_client_transaction(o->client, &o->transaction);
}

static void quit(struct outbound *o)
{
	smtp_client_quit(o->client);
	transmit(o);
	destroy(o, NULL);
}

static bool is_worn_out(const struct outbound *o)
{
	return o->deliveries >= MAX_DELIVERIES || mta_now_ms(o->worker) - o->ready_ms > MAX_AGE_MS;
}

static void take_next(struct outbound *o)
{
	struct delivery *d;

	if (is_worn_out(o)) {
		quit(o);
		return;
	}
	d = lane_take(o->lane, &o->lane_connection);
	if (d) {
		begin_delivery(o, d);
		return;
	}
	o->state = OUTBOUND_IDLE;
	if (o->lane->stopping)
		quit(o);
	else
		loop_timer_start(o->timer, IDLE_TIMEOUT_MS);
}

static void become_ready(struct outbound *o)
{
	o->ready_ms = mta_now_ms(o->worker);
	lane_answered(o->lane, (unsigned int)(o->hop - o->lane->route->hops));
	take_next(o);
}

/* The connection broke in the middle of a delivery, or status says it is refused as a whole. */
static void fail_delivery(struct outbound *o, const struct smtp_status *status)
{
	struct delivery *d = o->delivery;

	/* The peer had closed an idle connection before it could see our commands: no failure. */
	if (!o->answered && o->deliveries > 1) {
		o->delivery = NULL;
		lane_put_back(o->lane, d);
		return;
	}
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
		struct smtp_status status;

		smtp_status_set(&status, 451, ESC(4, 3, 0), "cannot read the message: %s",
				o->read_error.text);
		delivery_report_rest(o->delivery, &status);
		finish_delivery(o);
		destroy(o, NULL); /* without the final dot the peer must drop what it has */
		return;
	}
	if (o->piece_len == 0) {
		smtp_client_body_end(o->client);
		after_engine(o);
		return;
	}
	smtp_client_body(o->client, buf_slice(&o->piece));
	after_engine(o);
	if (stream_pending(o->stream) == 0)
		start_reading(o);
}

static void on_drained(void *arg)
{
	struct outbound *o = arg;

	if (o->state == OUTBOUND_TALKING && o->reader.body && !o->reading && o->piece_len > 0) {
		arm_timer(o);
		start_reading(o);
	}
}

static void on_body_wanted(void *arg)
{
	struct outbound *o = arg;
	struct queue_body *body = o->delivery->message->body;

	if (!queue_body_in_file(body)) {
		smtp_client_body(o->client, queue_body_memory(body));
		smtp_client_body_end(o->client);
		return;
	}
	queue_body_reader_init(&o->reader, body);
	start_reading(o);
}

/* ---- what the engine says ---- */

static void on_recipient(void *arg, unsigned int index, const struct smtp_status *status)
{
	struct outbound *o = arg;

	delivery_report(o->delivery, index, status);
}

static void on_done(void *arg)
{
	struct outbound *o = arg;

	lane_succeeded(o->lane);
	finish_delivery(o);
	take_next(o);
}

/* "TLS is required": the same words as Postfix, which operators know to look for. */
static void require_tls(struct outbound *o, const char *why)
{
	smtp_status_set(&o->trouble, 450, ESC(4, 7, 4), "TLS is required, but %s", why);
	smtp_client_quit(o->client);
	transmit(o);
	give_up_address(o);
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct outbound *o = arg;
	enum tls_level level = policy_of(o)->level;
	char why[400];

	if (o->lane->route->mode != TLS_MODE_STARTTLS || level == TLS_LEVEL_NONE ||
	    stream_is_secured(o->stream) || o->stay_clear) {
		become_ready(o);
	} else if (capabilities->starttls) {
		smtp_client_starttls(o->client);
	} else if (level == TLS_LEVEL_MAY) {
		become_ready(o);
	} else {
		snprintf(why, sizeof(why), "was not offered by host %s", o->attempt.relay);
		require_tls(o, why);
	}
}

static void on_starttls_refused(void *arg, const struct smtp_status *status)
{
	struct outbound *o = arg;
	char why[SMTP_STATUS_TEXT_SIZE];

	if (policy_of(o)->level == TLS_LEVEL_MAY) {
		o->stay_clear = true;
		maillog_tls_fallback(log_of(o), o->attempt.relay, status->text);
		become_ready(o);
		return;
	}
	snprintf(why, sizeof(why), "host %s refused to start TLS: %d %.300s", o->attempt.relay,
		 status->code, status->text);
	require_tls(o, why);
}

static void start_tls(struct outbound *o)
{
	struct stream_filter *filter = NULL;
	struct error err;
	int r;

	o->state = OUTBOUND_HANDSHAKE;
	loop_timer_start(o->timer, HANDSHAKE_TIMEOUT_MS);
	r = tls_session_new_client(o->worker->options->client_tls, policy_of(o), o->hop->host,
				   o->lane->route->lane, &filter, &err);
	if (r < 0) {
		smtp_status_set(&o->trouble, 451, ESC(4, 7, 5), "cannot start TLS: %s", err.text);
		give_up_address(o);
		return;
	}
	stream_set_filter(o->stream, filter);
}

static void on_starttls(void *arg)
{
	struct outbound *o = arg;

	transmit(o);
	start_tls(o);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct outbound *o = arg;

	if (o->lane_connection.ready) {
		if (o->delivery)
			fail_delivery(o, status);
		destroy(o, NULL);
		return;
	}
	/*
	 * A 5xx greeting means this host, not this mail (as Postfix's
	 * smtp_skip_5xx_greeting): the next address is tried, and mail waits.
	 */
	if (smtp_status_class(status) == SMTP_FAILED)
		smtp_status_set(&o->trouble, 450, ESC(4, 0, 0),
				"host %s refused to talk to me: %d %s", o->attempt.relay,
				status->code, status->text);
	else if (status->code)
		smtp_status_set(&o->trouble, status->code, status->enhanced,
				"host %s refused to talk to me: %s", o->attempt.relay,
				status->text);
	else
		o->trouble = *status;
	give_up_address(o);
}

static const struct smtp_client_events client_events = {
	.ready = on_ready,
	.starttls = on_starttls,
	.starttls_refused = on_starttls_refused,
	.body_wanted = on_body_wanted,
	.recipient = on_recipient,
	.done = on_done,
	.failed = on_failed,
};

/* ---- what the stream says ---- */

static void start_client(struct outbound *o)
{
	struct smtp_client_options options = { .hello = o->worker->options->hello };

	o->client = smtp_client_new(&options, &client_events, o, &o->commands);
	o->state = OUTBOUND_TALKING;
	arm_timer(o);
}

static void on_connected(void *arg)
{
	struct outbound *o = arg;

	if (o->lane->route->mode == TLS_MODE_IMPLICIT)
		start_tls(o);
	else
		start_client(o);
}

static void on_secured(void *arg)
{
	struct outbound *o = arg;

	o->attempt.encrypted = true;
	o->attempt.tls = *tls_session_facts(stream_filter(o->stream));
	maillog_tls_out(log_of(o), o->attempt.relay, &o->attempt.tls);
	o->state = OUTBOUND_TALKING;
	if (o->client)
		smtp_client_secured(o->client);
	else
		start_client(o);
	after_engine(o);
}

static void on_readable(void *arg)
{
	struct outbound *o = arg;

	/*
	 * An event may end the connection: then the stream is gone. Or start
	 * TLS: then the rest of the input was dropped with the clear session.
	 */
	while (o->state == OUTBOUND_TALKING && buf_len(stream_input(o->stream)) > 0) {
		struct buf *input = stream_input(o->stream);
		size_t used;

		o->answered = true;
		used = smtp_client_input(o->client, buf_slice(input));
		if (!o->stream || o->state == OUTBOUND_HANDSHAKE)
			return;
		buf_consume(input, used);
		if (used == 0)
			break;
	}
	/* Bytes for a connection that awaits nothing: 421, or rubbish. Either way it is of no more use. */
	if (o->state == OUTBOUND_IDLE) {
		if (buf_len(stream_input(o->stream)) > 0)
			destroy(o, NULL);
		else
			transmit(o);
		return;
	}
	after_engine(o);
}

/* A handshake failed. Where the level permits, at once again in the clear (interface.md section 5.3). */
static void handshake_failed(struct outbound *o, const char *why)
{
	if (o->lane->route->mode == TLS_MODE_STARTTLS && policy_of(o)->level == TLS_LEVEL_MAY) {
		maillog_tls_fallback(log_of(o), o->attempt.relay, why);
		o->retry_clear = true;
		o->address_next--; /* the same address once more */
	} else {
		smtp_status_set(&o->trouble, 451, ESC(4, 7, 5), "cannot start TLS with %s: %s",
				o->attempt.relay, why);
	}
	give_up_address(o);
}

static void on_closed(void *arg, const struct error *err)
{
	struct outbound *o = arg;
	const char *why = err->code ? err->text : "the peer closed the connection";
	char reason[400];

	switch (o->state) {
	case OUTBOUND_CONNECTING:
		smtp_status_set(&o->trouble, 450, ESC(4, 4, 1), "connect to %s: %s",
				o->attempt.relay, why);
		give_up_address(o);
		break;
	case OUTBOUND_HANDSHAKE:
		handshake_failed(o, why);
		break;
	case OUTBOUND_TALKING:
		snprintf(reason, sizeof(reason), "lost connection with %s", o->attempt.relay);
		smtp_client_lost(o->client, reason);
		break;
	default:
		destroy(o, NULL);
		break;
	}
}

static const struct stream_events stream_events = {
	.connected = on_connected,
	.secured = on_secured,
	.readable = on_readable,
	.drained = on_drained,
	.closed = on_closed,
};

static void on_timer(void *arg)
{
	struct outbound *o = arg;
	char reason[400];

	switch (o->state) {
	case OUTBOUND_CONNECTING:
		smtp_status_set(&o->trouble, 450, ESC(4, 4, 1), "connect to %s: timed out",
				o->attempt.relay);
		give_up_address(o);
		break;
	case OUTBOUND_HANDSHAKE:
		handshake_failed(o, "the handshake timed out");
		break;
	case OUTBOUND_TALKING:
		snprintf(reason, sizeof(reason), "conversation with %s timed out",
			 o->attempt.relay);
		smtp_client_lost(o->client, reason);
		break;
	case OUTBOUND_IDLE:
		quit(o);
		break;
	default:
		break;
	}
}

/* ---- hops and addresses ---- */

static void connect_address(struct outbound *o, struct net_address *address)
{
	char ip[NET_ADDRESS_TEXT_SIZE];

	net_address_set_port(address, o->hop->port);
	memset(&o->attempt, 0, sizeof(o->attempt));
	net_address_text(address, o->attempt.peer);
	snprintf(o->attempt.relay, sizeof(o->attempt.relay), "%.200s[%s]:%u", o->hop->host,
		 net_address_ip(address, ip), o->hop->port);
	o->attempt.connect_ms = mta_now_ms(o->worker);
	o->state = OUTBOUND_CONNECTING;
	loop_timer_start(o->timer, CONNECT_TIMEOUT_MS);
	o->stream = stream_connect(o->worker->loop, address, NULL, &stream_events, o);
}

/* A name that does not exist is final only where the recipient's own domain led to it. */
static void name_failed(struct outbound *o, const struct dns_answer *answer)
{
	const struct transport_route *route = o->lane->route;

	if (answer->outcome == DNS_NOT_FOUND && route->kind == TRANSPORT_SMTP && !route->nexthop[0])
		smtp_status_set(&o->trouble, 550, ESC(5, 4, 4), "%s", answer->reason);
	else
		smtp_status_set(&o->trouble, 450, ESC(4, 4, 3), "%s", answer->reason);
}

static void on_addresses(void *arg, const struct dns_answer *answer)
{
	struct outbound *o = arg;

	o->query = NULL;
	if (answer->outcome == DNS_FOUND) {
		o->addresses = memory_new(answer->count * sizeof(*o->addresses));
		memcpy(o->addresses, answer->addresses, answer->count * sizeof(*o->addresses));
		o->address_count = answer->count;
	} else {
		name_failed(o, answer);
	}
	connect_next(o);
}

static void next_hop(struct outbound *o)
{
	const struct transport_route *route = o->lane->route;

	free(o->addresses);
	o->addresses = NULL;
	o->address_count = o->address_next = 0;
	if (o->hops_tried == route->hop_count) {
		destroy(o, &o->trouble);
		return;
	}
	o->hop = &route->hops[(o->first_hop + o->hops_tried++) % route->hop_count];
	snprintf(o->attempt.relay, sizeof(o->attempt.relay), "none");
	o->state = OUTBOUND_RESOLVING;
	o->query = dns_addresses(o->worker->dns, o->hop->host, on_addresses, o);
}

static void connect_next(struct outbound *o)
{
	if (o->address_next == o->address_count) {
		next_hop(o);
		return;
	}
	o->stay_clear = o->retry_clear;
	o->retry_clear = false;
	connect_address(o, &o->addresses[o->address_next++]);
}

struct lane_connection *outbound_open(struct lane *lane)
{
	struct outbound *o = memory_zeroed(sizeof(*o));

	assert(lane->route->hop_count > 0);
	o->lane = lane;
	o->worker = lane->worker;
	o->first_hop = lane_first_hop(lane);
	o->step_task.run = step;
	o->read_work.work = read_piece;
	o->read_work.done = piece_done;
	o->timer = loop_timer_new(o->worker->loop, on_timer, o);
	list_init(&o->lane_connection.link);
	next_hop(o);
	return &o->lane_connection;
}

void outbound_wake(struct lane_connection *c)
{
	struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);

	assert(o->state == OUTBOUND_IDLE);
	take_next(o);
	after_engine(o);
}

void outbound_close_idle(struct lane_connection *c)
{
	quit(CONTAINER_OF(c, struct outbound, lane_connection));
}

void outbound_abort(struct lane_connection *c)
{
	struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);
	struct delivery *d = o->delivery;

	o->delivery = NULL;
	if (o->stream)
		stream_free(o->stream, 0);
	o->stream = NULL;
	if (d)
		hand_back(o, d, true);
	destroy(o, NULL);
}
