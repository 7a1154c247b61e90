/*
 * Runs a loop of its own until it knows. One address at a time:
 *
 *	connect -> [implicit TLS] -> greeting, EHLO -> [STARTTLS, EHLO] -> QUIT
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
#include "base/memory.h"
#include "smtp/client.h"
#include "tls/fallback.h"
#include "transport/dane.h"

#define GOODBYE_MS 2000

enum probe_state {
	PROBE_RESOLVING,
	PROBE_CONNECTING,
	PROBE_HANDSHAKE,
	PROBE_TALKING,
	PROBE_LEAVING, /* QUIT is sent */
	PROBE_OVER,    /* with this address; step_task goes on */
};

struct probe {
	const struct mta_options *options;
	const struct transport_route *route;
	const struct transport_hop *hop;
	int64_t timeout_ms;
	struct probe_result *result;

	enum probe_state state;
	struct loop *loop;
	struct loop_task step_task;
	struct loop_timer *timer;
	struct dns *dns;
	struct tls_policy policy; /* as it holds for this next hop */
	struct tls_dane *dane;	  /* of it, or NULL */
	struct net_address *addresses;
	size_t address_count, address_next;
	struct stream *stream;
	struct smtp_client *client;
	struct buf commands;
};

static void connect_next(struct probe *p);
static const struct smtp_client_events client_events;

static enum tls_fallback fallback_of(const struct probe *p, enum tls_failure failure)
{
	return tls_fallback(&p->policy, p->route->mode, failure);
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
	if (p->result->ok || p->address_next == p->address_count)
		loop_stop(p->loop);
	else
		connect_next(p);
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
		result->ok = tls_policy_permits(&p->policy, result->encrypted,
						result->encrypted && result->tls.verified);
		if (result->encrypted && !result->tls.verified)
			note_error(p, "%s", result->tls.trouble);
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
	if (tls_session_new_client(p->options->client_tls, &p->policy, p->hop->host, NULL, &filter,
				   &err) < 0) {
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
	const struct smtp_client_options options = { .hello = p->options->hello };

	p->client = smtp_client_new(&options, &client_events, p, &p->commands);
	p->state = PROBE_TALKING;
}

static void on_connected(void *arg)
{
	struct probe *p = arg;

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
	case PROBE_CONNECTING:
		note_error(p, "connect: %s", why);
		finish_address(p);
		break;
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
	.connected = on_connected,
	.secured = on_secured,
	.readable = on_readable,
	.closed = on_closed,
};

static void on_timer(void *arg)
{
	lost(arg, "timed out");
}

/* ---- addresses ---- */

static void connect_next(struct probe *p)
{
	struct net_address *address = &p->addresses[p->address_next++];

	probe_result_done(p->result);
	p->result->level = p->policy.level;
	net_address_set_port(address, p->hop->port);
	net_address_text(address, p->result->peer);
	p->state = PROBE_CONNECTING;
	loop_timer_start(p->timer, p->timeout_ms);
	p->stream = stream_connect(p->loop, address, NULL, &stream_events, p);
}

static void on_found(void *arg, const struct transport_found *found)
{
	const struct dns_answer *answer = found->addresses;
	struct probe *p = arg;

	p->policy = found->policy;
	p->dane = found->dane;
	if (found->refusal || answer->outcome != DNS_FOUND) {
		note_error(p, "%s", found->refusal ? found->refusal : answer->reason);
		finish_address(p);
		return;
	}
	p->addresses = memory_new(answer->count * sizeof(*p->addresses));
	memcpy(p->addresses, answer->addresses, answer->count * sizeof(*p->addresses));
	p->address_count = answer->count;
	connect_next(p);
}

int probe_next_hop(const struct mta_options *options, const struct transport_route *route,
		   unsigned int hop, int64_t timeout_ms, struct probe_result *ret,
		   struct error *err)
{
	struct probe p = {
		.options = options,
		.route = route,
		.hop = &route->hops[hop],
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
		transport_search_hop(p.dns, route, p.hop, on_found, &p);
		loop_run(p.loop);
	}
	loop_timer_free(p.timer);
	dns_free(p.dns);
	loop_free(p.loop);
	tls_thread_done();
	buf_done(&p.commands);
	free(p.addresses);
	tls_dane_free(p.dane);
	return r;
}

void probe_result_done(struct probe_result *result)
{
	tls_chain_done(&result->chain);
	*result = (struct probe_result){ .ok = false };
}
