/*
 * A dialler (mta/dial.h) connects to one address after the other until one of
 * them is ready:
 *
 *	dial -> [implicit TLS] -> greeting, EHLO -> [STARTTLS, EHLO] -> [AUTH] ->
 *	ready -> deliveries ... -> QUIT
 *
 * Whatever goes wrong before it has ever been ready leads to the next address;
 * after that, the connection ends and the lane decides. Objects are never
 * freed inside their own callbacks: outbound_give_up() and outbound_end() only
 * mark, and step_task does the work when the callback has returned.
 *
 * The protocol engine writes to commands; transmit() alone moves bytes from
 * there to the stream.
 */
#include "mta/outbound_connection.h"

#undef NDEBUG /* the assertions of outbound_transmit() are in every build */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mta/maillog.h"
#include "mta/snapshot.h"
#include "tls/fallback.h"

#define STARTTLS_TIMEOUT_MS 300000
#define TLS_PORT	    465 /* whose servers wait for us to begin, and say nothing (RFC 8314) */
#define LINGER_MS	    2000

static const struct stream_events stream_events;
static const struct smtp_client_events client_events;

/* The policy of the route; where that is DANE, what it is at this next hop. */
static const struct tls_policy *policy_of(const struct outbound *o)
{
	const struct tls_policy *tls = &o->lane->route->tls;

	return tls->level == TLS_LEVEL_DANE || tls->level == TLS_LEVEL_DANE_ONLY ? o->target->policy
										 : tls;
}

static int64_t limit_ms(int64_t given_ms, int64_t default_ms)
{
	return given_ms ? given_ms : default_ms;
}

static const struct smtp_timeouts *timeouts_of(const struct outbound *o)
{
	return &o->lane->view->options->timeouts;
}

static const char *program_of(const struct outbound *o)
{
	return delivery_program(o->lane->route);
}

static struct log *log_of(const struct outbound *o)
{
	return o->worker->options->log;
}

/*
 * The one place where bytes for the peer leave. While a delivery is on, they
 * are envelope or message, and the connection must be what the policy wants;
 * over implicit TLS nothing at all is ever sent in the clear, and so it is with
 * what a login consists of, whatever the policy. The assertions
 * are the promise of docs/tls.md: better no process than a leak. test_choke.c
 * notices when one of them goes.
 */
void outbound_transmit(struct outbound *o)
{
	bool secured = stream_is_secured(o->stream);

	if (buf_len(&o->commands) == 0)
		return;
	if (o->lane->route->mode == TLS_MODE_IMPLICIT)
		assert(secured);
	if (o->lane_connection.in_flight > 0)
		assert(tls_policy_permits(policy_of(o), secured,
					  secured && o->attempt.tls.verified));
	if (o->lane_connection.in_flight > 0 && o->lane->route->requires_tls)
		assert(secured && o->attempt.tls.verified);
	if (o->login)
		assert(secured);

	buf_append_slice(stream_output(o->stream), buf_slice(&o->commands));
	if (o->login)
		buf_wipe(&o->commands);
	buf_clear(&o->commands);
	stream_flush(o->stream);
}

/* The rest of a message that has failed or is dropped may not follow: it would come twice. */
static void break_off(struct outbound *o)
{
	stream_abort(o->stream);
	o->stream = NULL;
}

static void close_stream(struct outbound *o)
{
	outbound_login_end(o);
	if (o->stream)
		stream_free(o->stream, limit_ms(timeouts_of(o)->quit_ms, LINGER_MS));
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
	outbound_mail_free(o);
	free(o);
}

/* To the next address, or to the same without TLS. */
static void dial(struct outbound *o)
{
	o->state = OUTBOUND_DIALLING;
	o->stay_clear = o->retry_clear;
	o->retry_clear = false;
	if (o->stay_clear)
		dial_again(o->dial);
	else
		dial_next(o->dial);
}

static void step(struct loop_task *task)
{
	struct outbound *o = CONTAINER_OF(task, struct outbound, step_task);

	if (o->state == OUTBOUND_RETRYING) {
		smtp_client_free(o->client);
		o->client = NULL;
		dial(o);
	} else if (o->state == OUTBOUND_DEAD && !o->reading) {
		free_outbound(o);
	}
}

void outbound_end(struct outbound *o, const struct smtp_status *trouble)
{
	if (o->state == OUTBOUND_DEAD)
		return;
	dial_free(o->dial);
	o->dial = NULL;
	close_stream(o);
	o->state = OUTBOUND_DEAD;
	lane_connection_ended(o->lane, &o->lane_connection, trouble, &o->attempt);
	loop_defer(o->worker->loop, &o->step_task);
}

/* Some hosts are out of reach for now, whatever others say: mail with REQUIRETLS waits for them. */
static void note_hope(struct outbound *o)
{
	if (smtp_status_class(&o->trouble) != SMTP_DEFERRED)
		return;
	o->hope = o->trouble;
	o->has_hope = true;
}

void outbound_give_up(struct outbound *o, bool is_hop_over)
{
	note_hope(o);
	o->is_trouble_new = !o->retry_clear;
	o->is_trouble_said = false;
	close_stream(o);
	if (is_hop_over)
		dial_skip_hop(o->dial);
	o->state = OUTBOUND_RETRYING;
	loop_defer(o->worker->loop, &o->step_task);
}

static void give_up_address(struct outbound *o)
{
	outbound_give_up(o, false);
}

static void arm_timer(struct outbound *o)
{
	int64_t timeout_ms = o->client ? smtp_client_timeout_ms(o->client) : 0;

	if (timeout_ms > 0)
		loop_timer_start(o->timer, timeout_ms);
	else
		loop_timer_stop(o->timer);
}

void outbound_quit(struct outbound *o)
{
	smtp_client_quit(o->client);
	outbound_transmit(o);
	outbound_end(o, NULL);
}

void outbound_after_engine(struct outbound *o)
{
	if (o->state == OUTBOUND_TALKING) {
		outbound_transmit(o);
		arm_timer(o);
	}
}

/* ---- what the engine says ---- */

void outbound_ready(struct outbound *o)
{
	o->ready_ms = mta_now_ms(o->worker);
	o->sessions++;
	lane_answered(o->lane, (unsigned int)(o->target->hop - o->lane->route->hops));
	outbound_mail_next(o);
}

/* No session here; why. Another host may do. */
static void refuse_host(struct outbound *o, int code, struct smtp_enhanced enhanced,
			const char *why)
{
	smtp_status_set(&o->trouble, code, enhanced, "%s", why);
	smtp_client_quit(o->client);
	outbound_transmit(o);
	outbound_give_up(o, false);
}

/*
 * RFC 8689 section 4.2.1: for mail with REQUIRETLS the peer must have proved,
 * at any level, who it is, and go on with REQUIRETLS itself. Its sender wants
 * it back rather than sent in another way.
 */
static bool meets_requiretls(struct outbound *o)
{
	bool secured = stream_is_secured(o->stream);
	char why[500];

	if (!o->lane->route->requires_tls)
		return true;
	if (!secured || !o->attempt.tls.verified) {
		snprintf(why, sizeof(why), "the sender requires TLS (REQUIRETLS), but %s %s",
			 secured ? "nothing proves the name of host" : "there is none to host",
			 o->attempt.relay);
		refuse_host(o, 550, ESC(5, 7, 10), why);
		return false;
	}
	if (!smtp_client_capabilities(o->client)->requiretls) {
		snprintf(why, sizeof(why),
			 "the sender requires TLS all the way (REQUIRETLS), which host %s does not "
			 "offer",
			 o->attempt.relay);
		refuse_host(o, 550, ESC(5, 7, 30), why);
		return false;
	}
	return true;
}

/* TLS is as the policy wants it. */
static void after_tls(struct outbound *o)
{
	if (!meets_requiretls(o))
		return;
	if (o->target->hop->login)
		outbound_login(o);
	else
		outbound_ready(o);
}

static enum tls_fallback fallback_of(const struct outbound *o, enum tls_failure failure)
{
	if (o->lane->route->requires_tls)
		return TLS_FALLBACK_NONE;
	return tls_fallback(policy_of(o), o->lane->route->mode, failure);
}

/* As many hosts of the next hop as one attempt may bother have been ready for mail. */
static bool is_hop_over(const struct outbound *o)
{
	unsigned int limit = o->lane->view->options->mx_session_limit;

	return limit > 0 && o->sessions >= limit;
}

/* "TLS is required": the same words as Postfix, which operators know to look for. */
static void require_tls(struct outbound *o, const char *why)
{
	char text[500];

	snprintf(text, sizeof(text), "TLS is required, but %s", why);
	if (o->lane->route->requires_tls)
		refuse_host(o, 550, ESC(5, 7, 10), text);
	else
		refuse_host(o, 450, ESC(4, 7, 4), text);
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct outbound *o = arg;
	char why[400];

	if (o->lane->route->mode != TLS_MODE_STARTTLS || stream_is_secured(o->stream) ||
	    o->stay_clear) {
		after_tls(o);
	} else if (capabilities->starttls) {
		smtp_client_starttls(o->client);
	} else if (fallback_of(o, TLS_FAILURE_NOT_OFFERED) == TLS_FALLBACK_CLEAR) {
		after_tls(o);
	} else {
		snprintf(why, sizeof(why), "was not offered by host %s", o->attempt.relay);
		require_tls(o, why);
	}
}

static void on_starttls_refused(void *arg, const struct smtp_status *status)
{
	struct outbound *o = arg;
	char why[2 * SMTP_STATUS_TEXT_SIZE];

	if (fallback_of(o, TLS_FAILURE_REFUSED) == TLS_FALLBACK_CLEAR) {
		o->stay_clear = true;
		maillog_tls_fallback(log_of(o), program_of(o), o->attempt.relay, status->text);
		after_tls(o);
		return;
	}
	snprintf(why, sizeof(why), "host %s refused to start TLS: %d %.300s", o->attempt.relay,
		 status->code, status->text);
	require_tls(o, why);
}

/*
 * RFC 8689 section 4.2.1: for mail with REQUIRETLS the names that MX records have
 * are none to verify a peer by, as anybody on the way could have put them there.
 * TLSA records are there only where those are signed.
 */
static const struct tls_policy *session_policy(struct outbound *o)
{
	static const char *const names[] = { "nexthop", "dot-nexthop" };
	const struct tls_policy *policy = policy_of(o);

	if (!o->lane->route->requires_tls || !o->target->hop->mx || policy->dane ||
	    policy->match_count > 0)
		return policy;
	o->strict = *policy;
	o->strict.match = names;
	o->strict.match_count = ARRAY_SIZE(names);
	return &o->strict;
}

static void start_tls(struct outbound *o)
{
	struct stream_filter *filter = NULL;
	struct error err;
	int r;

	o->state = OUTBOUND_HANDSHAKE;
	loop_timer_start(o->timer, limit_ms(timeouts_of(o)->starttls_ms, STARTTLS_TIMEOUT_MS));
	r = tls_session_new_client(o->lane->view->options->client_tls, session_policy(o),
				   o->target->hop->host, o->target->host, o->lane->route->lane,
				   &filter, &err);
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

	outbound_transmit(o);
	start_tls(o);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct outbound *o = arg;
	struct smtp_status memory;

	status = outbound_login_censored(o, status, &memory);
	if (o->lane_connection.ready && outbound_mail_moves(o)) {
		lane_moves_on(o->lane, &o->lane_connection);
		o->trouble = *status;
		outbound_give_up(o, is_hop_over(o));
		o->is_trouble_said = status->code != 0;
		return;
	}
	if (o->lane_connection.ready) {
		lane_connection_broke(o->lane, &o->lane_connection, status, &o->attempt);
		if (o->is_broken_off)
			break_off(o);
		outbound_mail_return(o);
		outbound_end(o, NULL);
		return;
	}
	/*
	 * A 5xx greeting means this host, not this mail (as Postfix's
	 * smtp_skip_5xx_greeting): the next address is tried, and mail waits.
	 */
	if (smtp_status_class(status) == SMTP_FAILED)
		smtp_status_set(&o->trouble, 450,
				ESC(4, status->enhanced.subject, status->enhanced.detail),
				"host %s refused to talk to me: %d %s", o->attempt.relay,
				status->code, status->text);
	else if (status->code)
		smtp_status_set(&o->trouble, status->code, status->enhanced,
				"host %s refused to talk to me: %s", o->attempt.relay,
				status->text);
	else if (o->target->hop->port == TLS_PORT && o->lane->route->mode != TLS_MODE_IMPLICIT)
		smtp_status_set(&o->trouble, 0, status->enhanced,
				"%s; port 465 is for TLS from the first byte: use relay-smtps:",
				status->text);
	else
		o->trouble = *status;
	give_up_address(o);
}

static const struct smtp_client_events client_events = {
	.ready = on_ready,
	.starttls = on_starttls,
	.starttls_refused = on_starttls_refused,
	.challenge = outbound_login_challenge,
	.authenticated = outbound_login_authenticated,
	.body_wanted = outbound_body_wanted,
	.recipient = outbound_mail_recipient,
	.done = outbound_mail_done,
	.broken = outbound_mail_broken,
	.failed = on_failed,
};

/* ---- what the stream says ---- */

static void start_client(struct outbound *o)
{
	struct smtp_client_options options = {
		.hello = o->lane->view->options->hello,
		.lmtp = o->lane->route->kind == TRANSPORT_LMTP,
		.timeouts = *timeouts_of(o),
		.discard_keywords = o->lane->view->options->discarded_keywords,
	};

	o->client = smtp_client_new(&options, &client_events, o, &o->commands);
	o->state = OUTBOUND_TALKING;
	arm_timer(o);
}

/* What is known of the attempt begins with where it leads. */
static void note_target(struct outbound *o, const struct dial_target *target)
{
	struct loop *loop = o->worker->loop;

	if (o->is_trouble_new) /* that of the last is told with the delivery */
		maillog_next_address(log_of(o), program_of(o), o->attempt.relay, &o->trouble,
				     o->is_trouble_said);
	o->is_trouble_new = false;
	if (o->session_hop != target->hop)
		o->sessions = 0;
	o->session_hop = target->hop;
	o->target = target;
	memset(&o->attempt, 0, sizeof(o->attempt));
	memcpy(o->attempt.relay, target->relay, sizeof(o->attempt.relay));
	memcpy(o->attempt.peer, target->peer, sizeof(o->attempt.peer));
	if (target->began_ms)
		o->attempt.connect_ms =
			mta_now_ms(o->worker) - (loop_now_ms(loop) - target->began_ms);
}

static void on_connected(void *arg, const struct dial_target *target, struct stream *stream)
{
	struct outbound *o = arg;

	note_target(o, target);
	o->stream = stream;
	stream_set_events(stream, &stream_events, o);
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
	maillog_tls_out(log_of(o), program_of(o), o->attempt.relay, &o->attempt.tls);
	o->state = OUTBOUND_TALKING;
	if (o->client)
		smtp_client_secured(o->client);
	else
		start_client(o);
	outbound_after_engine(o);
}

static void on_drained(void *arg)
{
	outbound_body_drained(arg);
}

static void on_readable(void *arg)
{
	struct outbound *o = arg;
	bool took_any = false;

	/*
	 * An event may end the connection: then the stream is gone. Or start
	 * TLS: then the rest of the input was dropped with the clear session.
	 */
	while (o->state == OUTBOUND_TALKING && buf_len(stream_input(o->stream)) > 0) {
		struct buf *input = stream_input(o->stream);
		size_t used = smtp_client_input(o->client, buf_slice(input));

		if (!o->stream || o->state == OUTBOUND_HANDSHAKE)
			return;
		buf_consume(input, used);
		if (used == 0)
			break;
		took_any = true;
	}
	/* Bytes for a connection that awaits nothing: 421, or rubbish. Either way it is of no more use. */
	if (o->state == OUTBOUND_IDLE) {
		if (buf_len(stream_input(o->stream)) > 0)
			outbound_end(o, NULL);
		else
			outbound_transmit(o);
		return;
	}
	if (o->state == OUTBOUND_TALKING)
		outbound_body_unblock(o);
	/* A reply that comes byte by byte gets no more time for it. */
	if (took_any)
		outbound_after_engine(o);
}

/*
 * Who was there, though it has not proved to be the one it says: for the log
 * and the ledger. All else of the session is none, as it did not come about.
 */
static void keep_stranger(struct outbound *o)
{
	const struct tls_facts *found = tls_session_facts(stream_filter(o->stream));
	struct tls_facts *kept = &o->attempt.tls;

	if (found->fingerprint[0] == '\0')
		return;
	memcpy(kept->peer_name, found->peer_name, sizeof(kept->peer_name));
	memcpy(kept->fingerprint, found->fingerprint, sizeof(kept->fingerprint));
	memcpy(kept->pubkey_fingerprint, found->pubkey_fingerprint,
	       sizeof(kept->pubkey_fingerprint));
	maillog_tls_stranger(log_of(o), program_of(o), o->attempt.relay, kept);
}

/* A handshake failed. Where the level permits, at once again in the clear (interface.md section 5.3). */
static void handshake_failed(struct outbound *o, const char *why, bool is_smtp)
{
	if (fallback_of(o, TLS_FAILURE_HANDSHAKE) == TLS_FALLBACK_CLEAR_ANEW) {
		maillog_tls_fallback(log_of(o), program_of(o), o->attempt.relay, why);
		o->retry_clear = true;
	} else {
		keep_stranger(o);
		smtp_status_set(&o->trouble, 451, ESC(4, 7, 5), "cannot start TLS with %s: %s%s",
				o->attempt.relay, why,
				is_smtp && o->lane->route->mode == TLS_MODE_IMPLICIT
					? "; wrong port, or wrong transport: it speaks SMTP in the "
					  "clear, and relay: begins TLS there"
					: "");
	}
	give_up_address(o);
}

static void on_closed(void *arg, const struct error *err)
{
	struct outbound *o = arg;
	const char *why = err->code ? err->text : "the peer closed the connection";
	char reason[400];

	switch (o->state) {
	case OUTBOUND_HANDSHAKE:
		handshake_failed(o, why, err->code == -EPROTOTYPE);
		break;
	case OUTBOUND_TALKING:
		snprintf(reason, sizeof(reason), "lost connection with %s", o->attempt.relay);
		smtp_client_lost(o->client, reason);
		break;
	default:
		outbound_end(o, NULL);
		break;
	}
}

static const struct stream_events stream_events = {
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
	case OUTBOUND_HANDSHAKE:
		handshake_failed(o, "the handshake timed out", false);
		break;
	case OUTBOUND_TALKING:
		snprintf(reason, sizeof(reason), "conversation with %s timed out",
			 o->attempt.relay);
		smtp_client_lost(o->client, reason);
		break;
	case OUTBOUND_IDLE:
		outbound_quit(o);
		break;
	default:
		break;
	}
}

/* ---- what the dialler says ---- */

static void on_dial_failed(void *arg, const struct dial_target *target,
			   const struct smtp_status *why)
{
	struct outbound *o = arg;

	note_target(o, target);
	o->stay_clear = false; /* that was for this address, and not for the next one */
	o->trouble = *why;
	o->is_trouble_new = true;
	o->is_trouble_said = false;
	note_hope(o);
	if (why->enhanced.class == 4 && why->enhanced.subject == 4 && why->enhanced.detail == 6)
		maillog_loop(log_of(o), o->lane->route->source, target->hop->text);
}

static void on_exhausted(void *arg)
{
	struct outbound *o = arg;

	if (o->lane->route->requires_tls && o->has_hope)
		o->trouble = o->hope;
	if (!o->moving) {
		outbound_end(o, &o->trouble);
		return;
	}
	/* One was connected and would not take this message: perhaps it takes others. */
	lane_connection_broke(o->lane, &o->lane_connection, &o->trouble, &o->attempt);
	outbound_mail_moved_in_vain(o, &o->trouble);
	outbound_end(o, NULL);
}

static const struct dial_events dial_events = {
	.connected = on_connected,
	.failed = on_dial_failed,
	.exhausted = on_exhausted,
};

struct lane_connection *outbound_open(struct lane *lane)
{
	struct outbound *o = memory_zeroed(sizeof(*o));
	const struct dial_options options = {
		.loop = lane->worker->loop,
		.dns = lane->view->dns,
		.route = lane->route,
		.first_hop = lane_first_hop(lane),
		.connect_timeout_ms = lane->view->options->connect_timeout_ms,
		.address_limit = lane->view->options->mx_address_limit,
		.self = self_of(lane->view->options),
	};

	o->lane = lane;
	o->worker = lane->worker;
	o->dial = dial_new(&options, &dial_events, o);
	o->step_task.run = step;
	outbound_mail_init(o);
	o->timer = loop_timer_new(o->worker->loop, on_timer, o);
	list_init(&o->lane_connection.link);
	dial(o);
	return &o->lane_connection;
}

void outbound_wake(struct lane_connection *c)
{
	struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);

	assert(o->state == OUTBOUND_IDLE);
	outbound_mail_next(o);
	outbound_after_engine(o);
}

void outbound_offer(struct lane_connection *c)
{
	struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);

	if (o->state != OUTBOUND_TALKING || !smtp_client_has_room(o->client))
		return;
	outbound_mail_next(o);
	outbound_transmit(o); /* nothing was heard: the time for what is owed runs on */
}

void outbound_close_idle(struct lane_connection *c)
{
	outbound_quit(CONTAINER_OF(c, struct outbound, lane_connection));
}

void outbound_abort(struct lane_connection *c)
{
	struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);

	if (outbound_mail_is_begun(o))
		break_off(o);
	outbound_mail_drop(o);
	if (o->stream)
		stream_free(o->stream, 0);
	o->stream = NULL;
	outbound_end(o, NULL);
}

bool outbound_is_only_asking(struct lane_connection *c)
{
	return outbound_mail_is_only_asking(CONTAINER_OF(c, struct outbound, lane_connection));
}

bool outbound_is_owed(struct lane_connection *c)
{
	const struct outbound *o = CONTAINER_OF(c, struct outbound, lane_connection);

	return o->state == OUTBOUND_TALKING && outbound_mail_is_owed(o);
}
