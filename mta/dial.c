/*
 * Two nested walks, which dial_next() resumes where they stopped:
 *
 *	next hop -> (DNS) -> address -> connect -> connected()
 *	   ^                   ^  |        |
 *	   +---- none left ----+  +--------+ failed()
 *
 * All steps are made by walk_task, so a user may ask for the next one wherever
 * he is, and no event comes before the question has returned.
 */
#include "mta/dial.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/memory.h"

#define CONNECT_TIMEOUT_MS 30000

enum dial_state {
	DIAL_RESTING,	 /* the user has the stream, or has not begun */
	DIAL_WALKING,	 /* walk_task is queued: to the next address */
	DIAL_RESOLVING,	 /* the addresses of the hop */
	DIAL_CONNECTING, /* to target.address */
	DIAL_DEAD,	 /* walk_task frees */
};

struct dial {
	struct dial_options options;
	const struct dial_events *events;
	void *arg;
	enum dial_state state;
	struct loop_task walk_task;
	struct loop_timer *timer;

	unsigned int hops_tried;
	struct dial_target target;
	struct transport_search *search;
	struct tls_policy policy; /* as it holds for this next hop */
	struct tls_dane *dane;	  /* of it, or NULL */
	struct net_address *addresses;
	size_t address_count, address_next;
	struct stream *stream;
};

static void walk_on(struct dial *d)
{
	d->state = DIAL_WALKING;
	loop_defer(d->options.loop, &d->walk_task);
}

static void drop_stream(struct dial *d)
{
	if (d->stream)
		stream_free(d->stream, 0);
	d->stream = NULL;
	loop_timer_stop(d->timer);
}

static void __attribute__((format(printf, 4, 5)))
tell_failure(struct dial *d, int code, struct smtp_enhanced enhanced, const char *format, ...)
{
	struct smtp_status status;
	char text[SMTP_STATUS_TEXT_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	smtp_status_set(&status, code, enhanced, "%s", text);
	walk_on(d); /* before the user may free it */
	d->events->failed(d->arg, &d->target, &status);
}

/* ---- connecting ---- */

static void on_connected(void *arg)
{
	struct dial *d = arg;
	struct stream *stream = d->stream;

	d->stream = NULL;
	d->state = DIAL_RESTING;
	loop_timer_stop(d->timer);
	d->events->connected(d->arg, &d->target, stream);
}

static void give_up_address(struct dial *d, const char *why)
{
	drop_stream(d);
	tell_failure(d, 450, ESC(4, 4, 1), "connect to %s: %s", d->target.relay, why);
}

static void on_closed(void *arg, const struct error *err)
{
	give_up_address(arg, err->code ? err->text : "the peer closed the connection");
}

static void on_timer(void *arg)
{
	give_up_address(arg, "timed out");
}

static const struct stream_events stream_events = {
	.connected = on_connected,
	.closed = on_closed,
};

static void connect_address(struct dial *d)
{
	struct dial_target *target = &d->target;
	char ip[NET_ADDRESS_TEXT_SIZE];

	target->address = d->addresses[d->address_next++];
	net_address_set_port(&target->address, target->hop->port);
	target->policy = &d->policy;
	target->began_ms = loop_now_ms(d->options.loop);
	net_address_text(&target->address, target->peer);
	snprintf(target->relay, sizeof(target->relay), "%.200s[%s]:%u", target->host,
		 net_address_ip(&target->address, ip), target->hop->port);

	d->state = DIAL_CONNECTING;
	loop_timer_start(d->timer, d->options.connect_timeout_ms);
	d->stream = stream_connect(d->options.loop, &target->address, NULL, &stream_events, d);
}

/* A UNIX socket is a next hop whose only address is itself. */
static void connect_unix(struct dial *d)
{
	struct dial_target *target = &d->target;

	target->host = d->options.hostname;
	target->policy = &d->options.route->tls;
	target->began_ms = loop_now_ms(d->options.loop);
	snprintf(target->peer, sizeof(target->peer), "%.*s", DIAL_PEER_SIZE - 1, target->hop->text);
	snprintf(target->relay, sizeof(target->relay), "%.120s[%.190s]", target->host,
		 target->hop->path);

	d->state = DIAL_CONNECTING;
	d->stream = stream_connect_unix(d->options.loop, target->hop->path, &stream_events, d);
}

/* ---- next hops ---- */

/* A name that does not exist is final only where the recipient's own domain led to it. */
static void name_failed(struct dial *d, const struct dns_answer *answer)
{
	const struct transport_route *route = d->options.route;

	if (answer->outcome == DNS_NOT_FOUND && route->kind == TRANSPORT_SMTP && !route->nexthop[0])
		tell_failure(d, 550, ESC(5, 4, 4), "%s", answer->reason);
	else
		tell_failure(d, 450, ESC(4, 4, 3), "%s", answer->reason);
}

static void on_found(void *arg, const struct transport_found *found)
{
	const struct dns_answer *answer = found->addresses;
	struct dial *d = arg;

	d->search = NULL;
	d->policy = found->policy;
	d->dane = found->dane;
	if (found->refusal) {
		tell_failure(d, 450, ESC(4, 7, 5), "%s", found->refusal);
	} else if (answer->outcome == DNS_FOUND) {
		d->addresses = memory_new(answer->count * sizeof(*d->addresses));
		memcpy(d->addresses, answer->addresses, answer->count * sizeof(*d->addresses));
		d->address_count = answer->count;
		walk_on(d);
	} else {
		name_failed(d, answer);
	}
}

static void forget_hop(struct dial *d)
{
	free(d->addresses);
	d->addresses = NULL;
	d->address_count = d->address_next = 0;
	tls_dane_free(d->dane);
	d->dane = NULL;
}

static void next_hop(struct dial *d)
{
	const struct transport_route *route = d->options.route;

	forget_hop(d);
	if (d->hops_tried == d->options.hop_limit) {
		d->state = DIAL_RESTING;
		d->events->exhausted(d->arg);
		return;
	}
	d->target = (struct dial_target){
		.hop = &route->hops[(d->options.first_hop + d->hops_tried++) % route->hop_count],
		.relay = "none",
	};
	d->target.host = d->target.hop->host;
	if (d->target.hop->path) {
		connect_unix(d);
		return;
	}
	d->state = DIAL_RESOLVING;
	d->search = transport_search_hop(d->options.dns, route, d->target.hop, on_found, d);
}

static void free_dial(struct dial *d)
{
	forget_hop(d);
	loop_timer_free(d->timer);
	transport_route_unref(d->options.route);
	free(d);
}

static void walk(struct loop_task *task)
{
	struct dial *d = CONTAINER_OF(task, struct dial, walk_task);

	if (d->state == DIAL_DEAD)
		free_dial(d);
	else if (d->address_next == d->address_count)
		next_hop(d);
	else
		connect_address(d);
}

struct dial *dial_new(const struct dial_options *options, const struct dial_events *events,
		      void *arg)
{
	const struct transport_route *route = options->route;
	struct dial *d = memory_zeroed(sizeof(*d));

	assert(route->hop_count > 0);
	d->options = *options;
	d->options.route = transport_route_ref(route);
	if (!d->options.hop_limit || d->options.hop_limit > route->hop_count)
		d->options.hop_limit = route->hop_count;
	if (!d->options.connect_timeout_ms)
		d->options.connect_timeout_ms = CONNECT_TIMEOUT_MS;
	d->events = events;
	d->arg = arg;
	d->walk_task.run = walk;
	d->timer = loop_timer_new(options->loop, on_timer, d);
	return d;
}

void dial_free(struct dial *d)
{
	if (!d)
		return;
	transport_search_cancel(d->search);
	d->search = NULL;
	drop_stream(d);
	d->state = DIAL_DEAD;
	loop_defer(d->options.loop, &d->walk_task);
}

void dial_next(struct dial *d)
{
	assert(d->state == DIAL_RESTING);
	walk_on(d);
}

void dial_skip_hop(struct dial *d)
{
	assert(d->state == DIAL_RESTING);
	d->address_next = d->address_count;
}

void dial_again(struct dial *d)
{
	assert(d->state == DIAL_RESTING && d->address_next > 0);
	d->address_next--;
	walk_on(d);
}
