/*
 * Three nested walks, which dial_next() resumes where they stopped:
 *
 *	next hop -> (MX, DNS) -> candidate -> connect -> connected()
 *	   ^                       ^  |          |
 *	   +------ none left ------+  +----------+ failed()
 *
 * Hosts of a next hop come in groups of candidates (mta/dial_hosts.c). Up to
 * two attempts are on at once, of one host and of different families; the one
 * that loses is closed and may be tried again.
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
#include "mta/dial_hosts.h"

#define CONNECT_TIMEOUT_MS 30000
#define HEAD_START_MS	   250 /* RFC 8305 section 5 */
#define ATTEMPTS	   2

enum dial_state {
	DIAL_RESTING,	 /* the user has the stream, or has not begun */
	DIAL_WALKING,	 /* walk_task is queued: to the next candidate */
	DIAL_RESOLVING,	 /* candidates are looked for */
	DIAL_CONNECTING, /* by one attempt at least */
	DIAL_DEAD,	 /* walk_task frees */
};

/* One connect(). */
struct attempt {
	struct dial *dial;
	struct dial_candidate *candidate;
	struct dial_target target;
	struct stream *stream; /* NULL: it is not on */
	struct loop_timer *timer;
};

struct dial {
	struct dial_options options;
	const struct dial_events *events;
	void *arg;
	enum dial_state state;
	struct loop_task walk_task;

	unsigned int hops_tried;
	const struct transport_hop *hop;
	struct dial_hosts *hosts; /* of the hop; NULL: on to the next one */
	struct dial_candidate *candidates;
	size_t candidate_count;
	struct dial_candidate unix_socket; /* all there is where the hop is one */
	bool is_hop_over;		   /* its user wants no more of it */
	unsigned int addresses_tried;	   /* of the hop */

	struct attempt attempts[ATTEMPTS];
	struct loop_timer *head_start;
	bool is_head_start_over;
	struct dial_target target;	/* where the user's stream leads */
	struct dial_candidate *current; /* of that */
	bool is_again;			/* the current one once more */
};

static void walk_on(struct dial *d)
{
	d->state = DIAL_WALKING;
	loop_defer(d->options.loop, &d->walk_task);
}

static bool is_connecting(const struct dial *d)
{
	return d->attempts[0].stream || d->attempts[1].stream;
}

/* Where there is nobody to talk to. */
static struct dial_target no_address(const struct dial *d, const char *host)
{
	return (struct dial_target){
		.hop = d->hop,
		.host = host ? host : d->hop->host,
		.relay = "none",
	};
}

/* ---- attempts ---- */

static void end_attempt(struct attempt *a)
{
	if (a->stream)
		stream_free(a->stream, 0);
	a->stream = NULL;
	loop_timer_stop(a->timer);
}

/* The other one's time was not over: its address may still be of use. */
static void drop_attempts(struct dial *d)
{
	for (size_t i = 0; i < ATTEMPTS; i++) {
		if (d->attempts[i].stream)
			d->attempts[i].candidate->is_tried = false;
		end_attempt(&d->attempts[i]);
	}
	loop_timer_stop(d->head_start);
}

static void on_connected(void *arg)
{
	struct attempt *a = arg;
	struct dial *d = a->dial;
	struct stream *stream = a->stream;

	a->stream = NULL; /* the user's now */
	end_attempt(a);
	drop_attempts(d);
	d->target = a->target;
	d->current = a->candidate;
	d->state = DIAL_RESTING;
	d->events->connected(d->arg, &d->target, stream);
}

static void attempt_failed(struct attempt *a, const char *why)
{
	struct dial *d = a->dial;
	struct smtp_status status;

	end_attempt(a);
	if (!is_connecting(d)) {
		loop_timer_stop(d->head_start);
		walk_on(d); /* before the user may free it */
	}
	smtp_status_set(&status, 450, ESC(4, 4, 1), "connect to %s: %s", a->target.relay, why);
	d->events->failed(d->arg, &a->target, &status);
}

static void on_closed(void *arg, const struct error *err)
{
	attempt_failed(arg, err->code ? err->text : "the peer closed the connection");
}

static void on_timer(void *arg)
{
	attempt_failed(arg, "timed out");
}

static const struct stream_events stream_events = {
	.connected = on_connected,
	.closed = on_closed,
};

static void set_target(struct dial_target *target, const struct dial *d,
		       const struct dial_candidate *candidate)
{
	char ip[NET_ADDRESS_TEXT_SIZE];

	*target = no_address(d, candidate->host);
	target->address = candidate->address;
	target->policy = candidate->policy;
	target->began_ms = loop_now_ms(d->options.loop);
	if (d->hop->path) {
		snprintf(target->peer, sizeof(target->peer), "%.*s", DIAL_PEER_SIZE - 1,
			 d->hop->text);
		snprintf(target->relay, sizeof(target->relay), "%.120s[%.190s]", target->host,
			 d->hop->path);
		return;
	}
	net_address_text(&target->address, target->peer);
	snprintf(target->relay, sizeof(target->relay), "%.200s[%s]:%u", target->host,
		 net_address_ip(&target->address, ip), d->hop->port);
}

static void start_attempt(struct dial *d, struct dial_candidate *candidate)
{
	struct attempt *a = d->attempts[0].stream ? &d->attempts[1] : &d->attempts[0];

	assert(!a->stream);
	if (!d->is_again)
		d->addresses_tried++;
	a->candidate = candidate;
	candidate->is_tried = true;
	set_target(&a->target, d, candidate);
	d->state = DIAL_CONNECTING;
	loop_timer_start(a->timer, d->options.connect_timeout_ms);
	a->stream = d->hop->path
			    ? stream_connect_unix(d->options.loop, d->hop->path, &stream_events, a)
			    : stream_connect(d->options.loop, &candidate->address, NULL,
					     &stream_events, a);
}

/* ---- candidates ---- */

/* As many addresses of the hop have been tried as may be. */
static bool is_worn_out(const struct dial *d)
{
	return d->options.address_limit && d->addresses_tried >= d->options.address_limit;
}

static struct dial_candidate *next_candidate(const struct dial *d)
{
	if (is_worn_out(d))
		return NULL;
	for (size_t i = 0; i < d->candidate_count; i++)
		if (!d->candidates[i].is_tried)
			return &d->candidates[i];
	return NULL;
}

/* Of the same host, and of the other family than the attempt that is on. */
static struct dial_candidate *other_family(const struct dial *d)
{
	const struct attempt *a = d->attempts[0].stream ? &d->attempts[0] : &d->attempts[1];

	if (is_worn_out(d))
		return NULL;
	for (size_t i = 0; i < d->candidate_count; i++) {
		struct dial_candidate *c = &d->candidates[i];

		if (!c->is_tried && c->host == a->target.host &&
		    c->address.sa.sa_family != a->target.address.sa.sa_family)
			return c;
	}
	return NULL;
}

/*
 * Timers come before sockets in each round of the loop. Where it was busy for
 * so long, the answer may be there and not have been looked at: so one round more.
 */
static void on_head_start_over(void *arg)
{
	struct dial *d = arg;
	struct dial_candidate *other = other_family(d);

	if (other && !d->is_head_start_over)
		loop_timer_start(d->head_start, 1);
	else if (other)
		start_attempt(d, other);
	d->is_head_start_over = true;
}

static void connect_candidate(struct dial *d, struct dial_candidate *candidate)
{
	start_attempt(d, candidate);
	d->is_head_start_over = false;
	if (!d->is_again)
		loop_timer_start(d->head_start, HEAD_START_MS);
	d->is_again = false;
}

static void on_ready(void *arg, struct dial_candidate *candidates, size_t count)
{
	struct dial *d = arg;

	d->candidates = candidates;
	d->candidate_count = count;
	walk_on(d);
}

static void on_host_failed(void *arg, const char *host, const struct smtp_status *why)
{
	struct dial *d = arg;

	d->target = no_address(d, host);
	d->events->failed(d->arg, &d->target, why);
}

static void forget_hop(struct dial *d)
{
	dial_hosts_free(d->hosts);
	d->hosts = NULL;
	d->candidates = d->current = NULL;
	d->candidate_count = 0;
	d->addresses_tried = 0;
	d->is_hop_over = false;
}

static void on_over(void *arg)
{
	struct dial *d = arg;

	forget_hop(d);
	walk_on(d);
}

static const struct dial_hosts_events hosts_events = {
	.ready = on_ready,
	.failed = on_host_failed,
	.over = on_over,
};

/* ---- next hops ---- */

/* A UNIX socket is a next hop whose only host is this one, without an address. */
static void offer_unix(struct dial *d)
{
	d->unix_socket = (struct dial_candidate){
		.host = d->options.self.hostname,
		.policy = &d->options.route->tls,
	};
	on_ready(d, &d->unix_socket, 1);
}

static void next_hop(struct dial *d)
{
	const struct transport_route *route = d->options.route;
	struct dial_hosts_options options = {
		.loop = d->options.loop,
		.dns = d->options.dns,
		.route = route,
		.self = d->options.self,
	};

	if (d->hops_tried == d->options.hop_limit) {
		d->state = DIAL_RESTING;
		d->events->exhausted(d->arg);
		return;
	}
	d->hop = &route->hops[(d->options.first_hop + d->hops_tried++) % route->hop_count];
	if (d->hop->path) {
		offer_unix(d);
		return;
	}
	options.hop = d->hop;
	d->hosts = dial_hosts_new(&options, &hosts_events, d);
}

static void next_hosts(struct dial *d)
{
	d->candidates = d->current = NULL;
	d->candidate_count = 0;
	if (is_worn_out(d) || !d->hosts)
		forget_hop(d);
	if (!d->hosts)
		next_hop(d);
	if (!d->hosts)
		return;
	d->state = DIAL_RESOLVING;
	dial_hosts_next(d->hosts);
}

static void free_dial(struct dial *d)
{
	for (size_t i = 0; i < ATTEMPTS; i++)
		loop_timer_free(d->attempts[i].timer);
	loop_timer_free(d->head_start);
	transport_route_unref(d->options.route);
	free(d);
}

static void walk(struct loop_task *task)
{
	struct dial *d = CONTAINER_OF(task, struct dial, walk_task);
	struct dial_candidate *next;

	if (d->state == DIAL_DEAD) {
		free_dial(d);
		return;
	}
	if (d->is_hop_over)
		forget_hop(d);
	next = d->is_again ? d->current : next_candidate(d);
	if (next)
		connect_candidate(d, next);
	else
		next_hosts(d);
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
	d->head_start = loop_timer_new(options->loop, on_head_start_over, d);
	for (size_t i = 0; i < ATTEMPTS; i++) {
		d->attempts[i].dial = d;
		d->attempts[i].timer = loop_timer_new(options->loop, on_timer, &d->attempts[i]);
	}
	return d;
}

void dial_free(struct dial *d)
{
	if (!d)
		return;
	drop_attempts(d);
	forget_hop(d);
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
	d->is_hop_over = true;
}

void dial_again(struct dial *d)
{
	assert(d->state == DIAL_RESTING && d->current);
	d->is_again = true;
	walk_on(d);
}
