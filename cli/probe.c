/*
 * Runs a loop of its own until it knows. One address at a time, as the dialler
 * of delivery finds them (mta/dial.h):
 *
 *	dial -> [implicit TLS] -> greeting, EHLO -> [STARTTLS, EHLO] -> QUIT
 *
 * What a failure means is asked of tls/fallback.h, as delivery does. Where it
 * would go on in the clear, that is the answer; nothing is sent to prove it.
 */
#include "cli/probe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/escape.h"
#include "base/macros.h"
#include "mta/dial.h"
#include "sasl/sasl.h"
#include "smtp/client.h"
#include "tls/fallback.h"

#define GOODBYE_MS 2000

enum probe_state {
	PROBE_DIALLING,
	PROBE_HANDSHAKE,
	PROBE_TALKING,
	PROBE_LEAVING, /* QUIT is sent */
	PROBE_OVER,    /* with this address; step_task goes on */
};

struct probe {
	const struct mta_options *options;
	const struct transport_route *route;
	bool logs_in;
	int64_t timeout_ms;
	struct probe_result *result;

	enum probe_state state;
	struct loop *loop;
	struct loop_task step_task;
	struct loop_timer *timer;
	struct dns *dns;
	struct dial *dial;
	const struct dial_target *target; /* the dialler's, while there is a stream */
	struct stream *stream;
	struct smtp_client *client;
	struct buf commands;
};

static const struct smtp_client_events client_events;
static const struct stream_events stream_events;

/* A login needs TLS, so where there is one mail never goes on in the clear. */
static enum tls_fallback fallback_of(const struct probe *p, enum tls_failure failure)
{
	if (p->logs_in)
		return TLS_FALLBACK_NONE;
	return tls_fallback(p->target->policy, p->route->mode, failure);
}

static void __attribute__((format(printf, 2, 3)))
note_error(struct probe *p, const char *format, ...)
{
	char text[sizeof(p->result->error)];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	escape_cstr(slice_from(text), p->result->error, sizeof(p->result->error));
}

/* ---- the end of an address ---- */

static void finish_address(struct probe *p)
{
	if (p->stream)
		stream_free(p->stream, 0);
	p->stream = NULL;
	p->state = PROBE_OVER;
	loop_timer_stop(p->timer);
	loop_defer(p->loop, &p->step_task);
}

static void step(struct loop_task *task)
{
	struct probe *p = CONTAINER_OF(task, struct probe, step_task);

	smtp_client_free(p->client);
	p->client = NULL;
	buf_clear(&p->commands);
	if (p->result->ok) {
		loop_stop(p->loop);
		return;
	}
	p->state = PROBE_DIALLING;
	dial_next(p->dial);
}

static void transmit(struct probe *p)
{
	buf_append_slice(stream_output(p->stream), buf_slice(&p->commands));
	buf_clear(&p->commands);
	stream_flush(p->stream);
}

/* The peer is given a moment to say its part. */
static void leave(struct probe *p)
{
	smtp_client_quit(p->client);
	transmit(p);
	p->state = PROBE_LEAVING;
	loop_timer_start(p->timer, GOODBYE_MS);
}

/* ---- what the engine says ---- */

/* As outbound_login() chooses; whether the password is right is not asked. */
static void check_login(struct probe *p, const char *offered)
{
	const char *filter = p->options->credentials.mechanism_filter;
	struct slice binding;

	if (!p->result->encrypted) {
		p->result->ok = false;
		note_error(p, "cannot log in: passwords are not sent without TLS");
		return;
	}
	binding = tls_session_channel_binding(stream_filter(p->stream));
	if (sasl_choose(offered, filter, binding.len > 0 && sasl_can_bind()))
		return;
	p->result->ok = false;
	if (offered[0])
		note_error(p, "cannot log in: no acceptable mechanism is offered (offered: %s)",
			   offered);
	else
		note_error(p, "cannot log in: the server does not offer AUTH");
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct probe *p = arg;
	struct probe_result *result = p->result;

	if (p->route->mode == TLS_MODE_STARTTLS && !result->encrypted && capabilities->starttls) {
		smtp_client_starttls(p->client);
		return;
	}
	if (p->route->mode == TLS_MODE_STARTTLS && !result->encrypted) {
		result->ok = fallback_of(p, TLS_FAILURE_NOT_OFFERED) == TLS_FALLBACK_CLEAR;
		note_error(p, result->ok ? "no STARTTLS is offered: mail would go in the clear"
					 : "TLS is required, but no STARTTLS is offered");
	} else {
		result->ok = tls_policy_permits(p->target->policy, result->encrypted,
						result->encrypted && result->tls.verified);
		if (result->encrypted && !result->tls.verified)
			note_error(p, "%s", result->tls.trouble);
		if (p->logs_in && result->ok)
			check_login(p, capabilities->auth);
	}
	leave(p);
}

static void on_starttls_refused(void *arg, const struct smtp_status *status)
{
	struct probe *p = arg;

	p->result->ok = fallback_of(p, TLS_FAILURE_REFUSED) == TLS_FALLBACK_CLEAR;
	note_error(p, "STARTTLS is refused: %d %s%s", status->code, status->text,
		   p->result->ok ? "; mail would go in the clear" : "");
	leave(p);
}

static void start_tls(struct probe *p)
{
	struct stream_filter *filter = NULL;
	struct error err;

	p->state = PROBE_HANDSHAKE;
	if (tls_session_new_client(p->options->client_tls, p->target->policy, p->target->hop->host,
				   p->target->host, NULL, &filter, &err) < 0) {
		note_error(p, "cannot start TLS: %s", err.text);
		finish_address(p);
		return;
	}
	tls_session_watch(filter, &p->result->chain);
	stream_set_filter(p->stream, filter);
}

static void on_starttls(void *arg)
{
	transmit(arg);
	start_tls(arg);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct probe *p = arg;

	if (status->code)
		note_error(p, "the host refuses to talk: %d %s", status->code, status->text);
	else
		note_error(p, "%s", status->text);
	finish_address(p);
}

static const struct smtp_client_events client_events = {
	.ready = on_ready,
	.starttls = on_starttls,
	.starttls_refused = on_starttls_refused,
	.failed = on_failed,
};

/* ---- what the stream says ---- */

static void start_client(struct probe *p)
{
	const struct smtp_client_options options = {
		.hello = p->options->hello,
		.lmtp = p->route->kind == TRANSPORT_LMTP,
	};

	p->client = smtp_client_new(&options, &client_events, p, &p->commands);
	p->state = PROBE_TALKING;
}

/* What was found out at the last target makes room for what is found out at this one. */
static void note_target(struct probe *p, const struct dial_target *target)
{
	probe_result_done(p->result);
	p->target = target;
	if (target->policy)
		p->result->level = target->policy->level;
	memcpy(p->result->peer, target->peer, sizeof(p->result->peer));
	if (target->hop->mx && strcmp(target->host, target->hop->host) != 0)
		snprintf(p->result->exchanger, sizeof(p->result->exchanger), "%s", target->host);
}

static void on_connected(void *arg, const struct dial_target *target, struct stream *stream)
{
	struct probe *p = arg;

	note_target(p, target);
	p->stream = stream;
	stream_set_events(stream, &stream_events, p);
	loop_timer_start(p->timer, p->timeout_ms);
	if (p->route->mode == TLS_MODE_IMPLICIT)
		start_tls(p);
	else
		start_client(p);
}

static void on_secured(void *arg)
{
	struct probe *p = arg;

	p->result->encrypted = true;
	p->result->tls = *tls_session_facts(stream_filter(p->stream));
	if (p->client) {
		p->state = PROBE_TALKING;
		smtp_client_secured(p->client);
		transmit(p);
	} else {
		start_client(p);
	}
}

static void on_readable(void *arg)
{
	struct probe *p = arg;

	while (p->state == PROBE_TALKING && buf_len(stream_input(p->stream)) > 0) {
		struct buf *input = stream_input(p->stream);
		size_t used = smtp_client_input(p->client, buf_slice(input));

		if (!p->stream || p->state == PROBE_HANDSHAKE)
			return; /* what was left of the input has gone with the clear session */
		buf_consume(input, used);
		transmit(p);
		if (used == 0)
			break;
	}
	if (p->state == PROBE_LEAVING)
		buf_clear(stream_input(p->stream));
}

static void handshake_failed(struct probe *p, const char *why)
{
	bool is_clear = fallback_of(p, TLS_FAILURE_HANDSHAKE) == TLS_FALLBACK_CLEAR_ANEW;

	if (stream_filter(p->stream))
		p->result->tls = *tls_session_facts(stream_filter(p->stream));
	p->result->ok = is_clear;
	note_error(p, "cannot start TLS: %s%s", why,
		   is_clear ? "; mail would go in the clear, over a new connection" : "");
	finish_address(p);
}

static void lost(struct probe *p, const char *why)
{
	switch (p->state) {
	case PROBE_HANDSHAKE:
		handshake_failed(p, why);
		break;
	case PROBE_TALKING:
		smtp_client_lost(p->client, why);
		break;
	default:
		finish_address(p);
		break;
	}
}

static void on_closed(void *arg, const struct error *err)
{
	struct probe *p = arg;
	const char *why = err->code ? err->text : "the peer closed the connection";

	lost(p, p->state == PROBE_TALKING ? "lost connection" : why);
}

static const struct stream_events stream_events = {
	.secured = on_secured,
	.readable = on_readable,
	.closed = on_closed,
};

static void on_timer(void *arg)
{
	lost(arg, "timed out");
}

/* ---- what the dialler says ---- */

static void on_dial_failed(void *arg, const struct dial_target *target,
			   const struct smtp_status *why)
{
	struct probe *p = arg;

	note_target(p, target);
	note_error(p, "%s", why->text);
}

static void on_exhausted(void *arg)
{
	struct probe *p = arg;

	loop_stop(p->loop);
}

static const struct dial_events dial_events = {
	.connected = on_connected,
	.failed = on_dial_failed,
	.exhausted = on_exhausted,
};

static void dial_hop(struct probe *p, unsigned int hop)
{
	const struct dial_options options = {
		.loop = p->loop,
		.dns = p->dns,
		.route = p->route,
		.first_hop = hop,
		.hop_limit = 1,
		.connect_timeout_ms = p->timeout_ms,
		.address_limit = p->options->mx_address_limit,
		.self = self_of(p->options),
	};

	p->dial = dial_new(&options, &dial_events, p);
	dial_next(p->dial);
}

int probe_next_hop(const struct mta_options *options, const struct transport_route *route,
		   unsigned int hop, bool logs_in, int64_t timeout_ms, struct probe_result *ret,
		   struct error *err)
{
	struct probe p = {
		.options = options,
		.route = route,
		.logs_in = logs_in,
		.timeout_ms = timeout_ms,
		.result = ret,
		.step_task.run = step,
	};
	int r = loop_new(&p.loop, err);

	*ret = (struct probe_result){ .ok = false };
	if (r == 0)
		r = dns_new(p.loop, &options->dns, &p.dns, err);
	if (r == 0) {
		p.timer = loop_timer_new(p.loop, on_timer, &p);
		dial_hop(&p, hop);
		loop_run(p.loop);
	}
	dial_free(p.dial);
	loop_timer_free(p.timer);
	dns_free(p.dns);
	loop_free(p.loop);
	tls_thread_done();
	buf_done(&p.commands);
	return r;
}

void probe_result_done(struct probe_result *result)
{
	tls_chain_done(&result->chain);
	*result = (struct probe_result){ .ok = false };
}
