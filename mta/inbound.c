/*
 * The session feeds its input to the engine as long as the engine takes it:
 * it stops at a question (answered by the thread pool or the queue), at
 * STARTTLS, and at the end. inbound_continue() picks up from there.
 *
 * A client that sends everything and closes is served to the end of what it
 * sent: closed() in order only means that no more input will come.
 */
#include "mta/inbound_session.h"

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"
#include "mta/maillog.h"

#define LINGER_MS	     5000
#define HANDSHAKE_TIMEOUT_MS 60000
#define REPLIES_MAX	     65536 /* bytes that wait for the client to read them */
#define RATE_MIN	     500   /* bytes/s of a message (smtpd_min_data_rate of Postfix) */

static struct log *log_of(const struct inbound *s)
{
	return s->view->options->log;
}

/* ---- the end ---- */

bool inbound_is_busy(const struct inbound *s)
{
	return s->login_awaited || s->rcpt_awaited || s->writing || s->committing;
}

/* An ETRN goes on when its client has gone. */
static bool is_done_with(const struct inbound *s)
{
	return !s->stream && !inbound_is_busy(s) && !s->etrn;
}

static void free_session(struct loop_task *task)
{
	struct inbound *s = CONTAINER_OF(task, struct inbound, free_task);

	if (s->message)
		inbound_reset(s, NULL);
	list_remove(&s->link);
	smtp_server_free(s->server);
	loop_timer_free(s->timer);
	buf_done(&s->piece);
	mta_view_unref(s->view);
	free(s);
}

/* The connection goes now; the memory when nobody uses it any more. */
static void hang_up(struct inbound *s, int64_t linger_ms)
{
	struct buf summary = { 0 };

	if (!s->stream)
		return;
	smtp_server_summary(s->server, &summary);
	buf_append(&summary, "", 1);
	maillog_disconnect(log_of(s), &s->peer, buf_slice(&summary).ptr);
	buf_done(&summary);

	stream_free(s->stream, linger_ms);
	s->stream = NULL;
	inbound_auth_end(s);
	inbound_verify_end(s);
	loop_timer_stop(s->timer);
	if (s->counted)
		inbound_limits_disconnect(s->worker->limits, s->network);
	if (is_done_with(s))
		loop_defer(s->worker->loop, &s->free_task);
}

void inbound_resume(struct inbound *s)
{
	if (inbound_is_busy(s))
		return;
	if (s->stream)
		inbound_continue(s);
	else if (is_done_with(s))
		loop_defer(s->worker->loop, &s->free_task);
}

/* ---- input ---- */

/*
 * The whole time-out is for each command, and for a message if it is not
 * faster than RATE_MIN: what comes byte by byte, or in chunks of a byte, is
 * bounded in time as a whole.
 */
static void arm_timer(struct inbound *s, bool has_replied, size_t taken)
{
	int64_t now_ms = loop_now_ms(s->worker->loop);
	int64_t timeout_ms = s->view->options->session_timeout_s * 1000;
	int64_t later_ms = s->deadline_ms + (int64_t)taken * 1000 / RATE_MIN;

	if (smtp_server_is_waiting(s->server) || s->writing) {
		s->deadline_ms = 0; /* we are the ones who are slow */
		loop_timer_stop(s->timer);
		return;
	}
	if (has_replied || s->deadline_ms == 0)
		later_ms = now_ms + timeout_ms;
	s->deadline_ms = MIN(later_ms, now_ms + timeout_ms);
	loop_timer_start(s->timer, s->deadline_ms - now_ms);
}

static void end_with(struct inbound *s, int code, struct smtp_enhanced enhanced, const char *text)
{
	struct smtp_status status;

	smtp_status_set(&status, code, enhanced, "%s", text);
	smtp_server_end(s->server, &status);
}

static bool must_stop(const struct inbound *s)
{
	return s->stop_wanted && !smtp_server_in_transaction(s->server);
}

/* What is left of a client that sends no more is little enough to be answered in one go. */
static bool may_serve(struct inbound *s)
{
	if (!s->stream || s->handshaking || must_stop(s))
		return false;
	s->backed_up = !s->ended_by_peer && stream_pending(s->stream) > REPLIES_MAX;
	return !s->backed_up;
}

/* Returns how many bytes were taken; 0 also when the session has ended or begins TLS. */
static size_t serve(struct inbound *s)
{
	size_t taken = 0;

	while (may_serve(s)) {
		struct buf *input = stream_input(s->stream);
		size_t used = smtp_server_input(s->server, buf_slice(input));

		/* An event may have hung up, or dropped the input to start TLS. */
		if (!s->stream || s->handshaking)
			return 0;
		if (s->input_is_secret)
			explicit_bzero(input->mem + input->start, used);
		s->input_is_secret = false;
		buf_consume(input, used);
		taken += used;
		if (used == 0 || buf_len(input) == 0)
			break;
	}
	return taken;
}

static size_t reply_bytes(const struct inbound *s)
{
	return s->stream ? buf_len(stream_output(s->stream)) : 0;
}

void inbound_continue(struct inbound *s)
{
	bool was_in_message = smtp_server_in_message(s->server), has_replied;
	size_t replies = reply_bytes(s), taken = serve(s);

	if (s->stream && !s->handshaking && must_stop(s)) {
		s->stop_wanted = false;
		end_with(s, 421, ESC(4, 3, 2), "Service shutting down");
	}
	if (!s->stream || s->handshaking)
		return;
	/* What is said to chunks in the midst of a message gives it no more time. */
	has_replied =
		reply_bytes(s) > replies && !(was_in_message && smtp_server_in_message(s->server));
	stream_flush(s->stream);
	if (s->ended_by_peer && !smtp_server_is_waiting(s->server) && !inbound_is_busy(s)) {
		if (smtp_server_in_transaction(s->server))
			maillog_lost(log_of(s), &s->peer, "lost connection", s->stage);
		hang_up(s, LINGER_MS);
		return;
	}
	arm_timer(s, has_replied, taken);
}

/* ---- TLS ---- */

static void start_tls(struct inbound *s)
{
	struct stream_filter *filter = NULL;
	struct error err;

	if (!inbound_may_begin_tls(s)) {
		hang_up(s, 0);
		return;
	}
	if (tls_session_new_server(s->view->options->server_tls, &filter, &err) < 0) {
		maillog_tls_failed(log_of(s), &s->peer, err.text);
		hang_up(s, 0);
		return;
	}
	if (s->view->options->require_certificate && s->server_options.tls_required)
		tls_session_require_certificate(filter);
	s->handshaking = true;
	s->deadline_ms = 0;
	loop_timer_start(s->timer, HANDSHAKE_TIMEOUT_MS);
	stream_set_filter(s->stream, filter);
}

static void on_starttls(void *arg)
{
	struct inbound *s = arg;

	s->stage = "STARTTLS";
	start_tls(s);
}

static void on_secured(void *arg)
{
	struct inbound *s = arg;
	struct smtp_status refusal;

	s->handshaking = false;
	s->client.encrypted = true;
	s->tls = *tls_session_facts(stream_filter(s->stream));
	maillog_tls_in(log_of(s), &s->peer, &s->tls,
		       tls_session_server_name(stream_filter(s->stream)));
	inbound_note_certificate(s);
	inbound_auth_offer(s);
	if (!s->tls.resumed && !inbound_count_event(s, RATE_TLS_SESSION, &refusal)) {
		s->is_told = true;
		smtp_server_end(s->server, &refusal);
		return;
	}
	if (strcmp(s->stage, "STARTTLS") == 0) {
		s->client.hello = ""; /* what was said in the clear is forgotten */
		s->client.user = NULL;
		smtp_server_secured(s->server);
	} else {
		smtp_server_greet(s->server, true);
	}
	inbound_continue(s);
}

/* ---- what else the engine says ---- */

static void on_hello(void *arg, const char *name, bool esmtp)
{
	struct inbound *s = arg;

	s->stage = esmtp ? "EHLO" : "HELO";
	s->client.hello = name;
	inbound_auth_offer(s);
}

static void on_rejected(void *arg, const char *verb, const struct smtp_status *status)
{
	struct inbound *s = arg;

	if (s->is_told || inbound_is_for_room(s, status))
		return;
	if (status->code == 554 && strcmp(verb, "RCPT") == 0)
		inbound_note_no_certificate(s);
	maillog_reject(log_of(s), s->accepted ? s->message->name : NULL, verb, &s->client, status,
		       s->message ? s->message->sender : NULL, s->rcpt,
		       smtp_server_protocol(s->server));
}

static void on_quit(void *arg)
{
	struct inbound *s = arg;

	s->stage = "QUIT";
	hang_up(s, LINGER_MS);
}

const struct smtp_server_events inbound_events = {
	.hello = on_hello,
	.starttls = on_starttls,
	.auth = inbound_auth,
	.auth_response = inbound_auth_response,
	.auth_abort = inbound_auth_abort,
	.etrn = inbound_etrn,
	.mail = inbound_mail,
	.rcpt = inbound_rcpt,
	.data = inbound_data,
	.body = inbound_body,
	.end_of_data = inbound_end_of_data,
	.reset = inbound_reset,
	.rejected = on_rejected,
	.quit = on_quit,
};

/* ---- what the stream says ---- */

static void on_readable(void *arg)
{
	inbound_continue(arg);
}

static void on_drained(void *arg)
{
	struct inbound *s = arg;

	if (s->backed_up)
		inbound_continue(s);
}

static void on_closed(void *arg, const struct error *err)
{
	struct inbound *s = arg;

	if (s->handshaking) {
		maillog_tls_failed(log_of(s), &s->peer,
				   err->code ? err->text : "the client closed the connection");
		hang_up(s, 0);
		return;
	}
	s->ended_by_peer = true;
	if (err->code && (!smtp_server_is_waiting(s->server) || s->login_awaited)) {
		maillog_lost(log_of(s), &s->peer, "lost connection", s->stage);
		hang_up(s, 0);
		return;
	}
	inbound_auth_leave(s);
	inbound_continue(s);
}

static const struct stream_events stream_events = {
	.secured = on_secured,
	.readable = on_readable,
	.drained = on_drained,
	.closed = on_closed,
};

static void on_timer(void *arg)
{
	struct inbound *s = arg;

	maillog_lost(log_of(s), &s->peer, "timeout", s->stage);
	if (s->handshaking) {
		hang_up(s, 0);
		return;
	}
	end_with(s, 421, ESC(4, 4, 2), "Error: timeout exceeded");
}

/* ---- the beginning ---- */

static bool is_implicit(enum mta_service_kind kind)
{
	return kind == MTA_SERVICE_SMTPS || kind == MTA_SERVICE_SUBMISSIONS;
}

static void set_server_options(struct inbound *s)
{
	const struct mta_options *options = s->view->options;
	enum mta_service_kind kind = s->kind;
	bool submission = kind == MTA_SERVICE_SUBMISSION || kind == MTA_SERVICE_SUBMISSIONS;
	enum tls_level level = kind == MTA_SERVICE_SMTP ? options->server_level : TLS_LEVEL_ENCRYPT;

	s->server_options = (struct smtp_server_options){
		.hostname = options->hostname,
		.append_domain = options->origin,
		.size_limit = options->message_size_limit,
		.recipient_limit = options->recipient_limit,
		.starttls = options->server_tls && !is_implicit(kind) && level != TLS_LEVEL_NONE,
		.tls_required = level == TLS_LEVEL_ENCRYPT,
		.auth = options->auth_enabled && options->policy->login_begin ? s->mechanisms
									      : NULL,
		.auth_equals = options->auth_for_broken_clients,
		.auth_clear = !options->auth_only_with_tls,
		.auth_required = submission,
		.etrn = options->policy->check_etrn,
		.discarded = options->discarded_extensions,
	};
}

static bool may_connect(struct inbound *s, struct smtp_status *ret_refusal)
{
	const struct mta_options *options = s->view->options;
	char ip[NET_ADDRESS_TEXT_SIZE];

	inbound_rates_begin(s);
	s->counted = inbound_limits_connect(s->worker->limits, s->network,
					    options->client_connection_limit);
	if (s->counted)
		return inbound_count_event(s, RATE_CONNECTION, ret_refusal);
	smtp_status_set(ret_refusal, 421, ESC(4, 7, 0), "%s Error: too many connections from %s",
			options->hostname, net_address_ip(&s->peer, ip));
	maillog_over_limit(options->log, &s->peer, NULL, "Connection concurrency limit exceeded",
			   options->client_connection_limit, mta_service_name(s->kind));
	return false;
}

static void greet(struct inbound *s)
{
	struct smtp_status refusal;

	if (!may_connect(s, &refusal)) {
		s->is_told = true;
		if (is_implicit(s->kind))
			hang_up(s, 0);
		else
			smtp_server_end(s->server, &refusal);
	} else if (is_implicit(s->kind)) {
		start_tls(s);
	} else {
		inbound_auth_offer(s);
		smtp_server_greet(s->server, false);
		inbound_continue(s);
	}
}

void inbound_accept(struct mta_worker *worker, enum mta_service_kind kind, struct stream *stream)
{
	struct inbound *s = memory_zeroed(sizeof(*s));

	s->worker = worker;
	s->view = mta_view_ref(worker->view);
	s->kind = kind;
	s->stream = stream;
	s->peer = *stream_peer(stream);
	s->client.address = &s->peer;
	s->client.hello = "";
	s->stage = "CONNECT";
	s->free_task.run = free_session;
	s->timer = loop_timer_new(worker->loop, on_timer, s);
	list_push(&worker->sessions, &s->link);
	stream_set_events(stream, &stream_events, s);
	set_server_options(s);
	s->server = smtp_server_new(&s->server_options, &inbound_events, s, stream_output(stream));
	maillog_connect(log_of(s), &s->peer);
	greet(s);
}

/* The client has sent all of its message: what it does not hear about it will send again. */
static bool is_storing(const struct inbound *s)
{
	return smtp_server_is_waiting(s->server) && (s->writing || s->committing);
}

void inbound_stop_all(struct mta_worker *worker, bool hurry)
{
	LIST_FOREACH (item, &worker->sessions) {
		struct inbound *s = CONTAINER_OF(item, struct inbound, link);

		s->stop_wanted = true;
		inbound_auth_hurry(s);
		if (s->handshaking || (hurry && !is_storing(s)))
			hang_up(s, 0);
		else if (s->stream)
			inbound_continue(s);
	}
}
