/*
 * stream - one non-blocking socket, and up to four buffers
 *
 *	no filter:	socket -> input		output -> socket
 *	filter:		socket -> wire_in -> decode -> input
 *			output -> encode -> wire_out -> socket
 *
 * All work is done in rounds: stream_round() reads nothing by itself, but
 * decodes what has come, tells the user, encodes and sends what he left, and
 * then asks the poller for what is still wanted. A round runs when the socket
 * is ready, and as a deferred task after every call that changed something
 * (flush, resume, set_filter, free). So callbacks never nest, and bytes that
 * are appended in one go leave in one write.
 *
 * A wake-up is one recv() straight into the buffer that wants the bytes; the
 * socket is watched level-triggered, so what did not fit makes the next one.
 *
 * After an error on the sending side the receiving side is read to its end
 * first, for the peer's last words are often why it has gone ("421 ...").
 */
#include "net/stream.h"

#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/internal.h"
#include "net/unix.h"

#define INPUT_LIMIT ((size_t)64 * 1024)

/* Room for one recv(): the small one, and the large one after that was filled to the brim. */
#define READ_SMALL ((size_t)16 * 1024)
#define READ_LARGE ((size_t)64 * 1024)

/* Memory that an empty buffer of an idle stream may keep. */
#define KEEP_SIZE 4096

enum stream_phase {
	CONNECTING, /* connect() has not succeeded yet */
	OPEN,
	ENDED,	 /* closed() was called: there is nothing but output left */
	LEAVING, /* freed by the user: the rest of the output goes, then the stream */
};

/* States of the filter beside those of enum stream_filter_state. */
#define FILTER_NEW    0	 /* not called yet */
#define FILTER_FAILED -1 /* not one more byte may pass */

struct stream {
	struct loop *loop;
	struct loop_task round;
	const struct stream_events *events;
	void *arg;
	enum stream_phase phase;

	int fd; /* -1: there never was a socket */
	struct poller *poller;
	struct net_address peer, local;
	size_t read_size;
	bool is_paused;	  /* by the user */
	bool is_deaf;	  /* the socket is readable, but nobody wants to read */
	bool is_blocked;  /* the kernel took less than was there: wait until it is writable */
	bool is_broken;	  /* polling tells no more; what is left is read without */
	bool got_eof;	  /* by the kernel */
	int write_error;  /* negative errno value */
	bool is_over;	  /* no more input, for the reason in end */
	struct error end; /* for closed() */

	struct buf input, output, wire_in, wire_out;
	struct stream_filter *filter;
	int filter_state;
	bool has_undecoded; /* wire_in has bytes that the filter has not seen */

	/* what the user must still be told */
	bool owes_connected, owes_secured, owes_readable, owes_drained;

	/* LEAVING */
	int64_t linger_ms;
	struct loop_timer *linger_timer;
	struct loop_guest guest;
	bool said_farewell, is_shut;
};

/* The ways to an end */

static void over(struct stream *s, int code, const char *text)
{
	if (s->is_over)
		return;
	s->is_over = true;
	s->end.code = code;
	snprintf(s->end.text, sizeof(s->end.text), "%s", text);
}

/* The socket is of no more use in either direction. */
static void socket_failed(struct stream *s, int code)
{
	s->got_eof = true;
	s->write_error = code;
	over(s, code, strerror(-code));
}

static void filter_failed(struct stream *s, const struct error *err)
{
	s->filter_state = FILTER_FAILED;
	over(s, err->code, err->text);
}

static int socket_error(int fd)
{
	int code = 0;
	socklen_t len = sizeof(code);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0)
		return -errno;
	return -code;
}

/* From the wire */

static bool wants_input(const struct stream *s)
{
	return s->phase == OPEN && !s->is_paused && !s->is_over &&
	       buf_len(&s->input) < INPUT_LIMIT && buf_len(&s->wire_in) < INPUT_LIMIT;
}

static void receive(struct stream *s)
{
	struct buf *in = s->filter ? &s->wire_in : &s->input;
	size_t room = s->read_size;
	ssize_t n;

	n = recv(s->fd, buf_reserve(in, room), room, 0);
	if (n > 0) {
		buf_commit(in, (size_t)n);
		s->read_size = (size_t)n == room ? READ_LARGE : READ_SMALL;
		if (s->filter)
			s->has_undecoded = true;
		else
			s->owes_readable = true;
	} else if (n == 0) {
		s->got_eof = true;
		over(s, 0, "connection closed by the peer");
	} else if (errno != EAGAIN && errno != EINTR) {
		socket_failed(s, -errno);
	} else if (s->is_broken) {
		/* The error was taken by another call before this one. */
		socket_failed(s, s->write_error < 0 ? s->write_error : -ECONNRESET);
	}
}

/* While leaving: input is read only to let the peer come to its end, and to see it. */
static void discard(struct stream *s)
{
	char bytes[READ_SMALL];
	ssize_t n;

	n = recv(s->fd, bytes, sizeof(bytes), 0);
	if (n == 0)
		s->got_eof = true;
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		socket_failed(s, -errno);
}

static void decode(struct stream *s)
{
	size_t len = buf_len(&s->input);
	struct error err = { 0 };
	int r;

	if (!s->filter || (s->filter_state != FILTER_NEW && !s->has_undecoded))
		return;
	if (s->filter_state == FILTER_FAILED || s->filter_state == STREAM_FILTER_ENDED)
		return;

	s->has_undecoded = false;
	r = s->filter->decode(s->filter, &s->wire_in, &s->input, &s->wire_out, &err);
	if (r < 0 && !stream_is_secured(s))
		buf_clear(&s->input); /* before secured() there is no input */
	if (buf_len(&s->input) > len)
		s->owes_readable = true;
	if (r < 0) {
		filter_failed(s, &err);
		return;
	}
	assert(r >= STREAM_FILTER_BUSY);
	if (r >= STREAM_FILTER_OPEN && s->filter_state < STREAM_FILTER_OPEN)
		s->owes_secured = true;
	s->filter_state = r;
	if (r == STREAM_FILTER_ENDED)
		over(s, 0, "session closed by the peer");
}

/* To the wire */

static void encode(struct stream *s)
{
	struct error err = { 0 };

	if (buf_len(&s->output) > 0 &&
	    s->filter->encode(s->filter, &s->output, &s->wire_out, &err) < 0)
		filter_failed(s, &err);
}

/*
 * What may go to the wire now. This is the one place that decides it: once
 * there is a filter, user bytes reach the socket by encode() alone.
 */
static struct buf *outgoing(struct stream *s)
{
	if (!s->filter)
		return &s->output;
	if (stream_is_secured(s) && !s->is_blocked)
		encode(s);
	return &s->wire_out;
}

/* Returns whether any byte went. */
static bool transmit(struct stream *s)
{
	struct buf *out;
	ssize_t n;

	if (s->phase == CONNECTING || s->write_error < 0)
		return false;
	if (buf_len(&s->output) > 0)
		s->owes_drained = true;
	out = outgoing(s);
	if (s->is_blocked || buf_len(out) == 0)
		return false;

	n = send(s->fd, out->mem + out->start, buf_len(out), MSG_NOSIGNAL);
	if (n >= 0) {
		buf_consume(out, (size_t)n);
		s->is_blocked = buf_len(out) > 0;
	} else if (errno == EAGAIN) {
		s->is_blocked = true;
	} else if (errno != EINTR) {
		s->write_error = -errno;
		s->is_broken = true;
		s->is_blocked = false;
	}
	return n > 0;
}

/* Output that can never leave must not pile up, nor count as gone. */
static void drop_lost_output(struct stream *s)
{
	if (s->write_error == 0 && s->filter_state != FILTER_FAILED)
		return;
	buf_clear(&s->output);
	if (s->write_error < 0)
		buf_clear(&s->wire_out);
	s->owes_drained = false;
}

static bool can_send(const struct stream *s)
{
	if (s->phase == CONNECTING || s->write_error < 0 || s->is_blocked)
		return false;
	return buf_len(&s->wire_out) > 0 ||
	       (buf_len(&s->output) > 0 && (!s->filter || stream_is_secured(s)));
}

/* Leaving */

static void destroy(struct stream *s)
{
	loop_defer_cancel(&s->round);
	loop_guest_remove(&s->guest);
	loop_timer_free(s->linger_timer);
	poller_free(s->poller);
	if (s->fd >= 0)
		close(s->fd);
	if (s->filter)
		s->filter->free(s->filter);
	buf_done(&s->input);
	buf_done(&s->output);
	buf_done(&s->wire_in);
	buf_done(&s->wire_out);
	free(s);
}

static void on_linger_end(void *arg)
{
	destroy(arg);
}

static void on_loop_end(struct loop_guest *guest)
{
	destroy(CONTAINER_OF(guest, struct stream, guest));
}

static void say_farewell(struct stream *s)
{
	s->said_farewell = true;
	buf_done(&s->input);
	buf_done(&s->wire_in);
	if (!s->filter)
		return;
	if (stream_is_secured(s))
		encode(s);
	if (stream_is_secured(s))
		s->filter->finish(s->filter, &s->wire_out);
	buf_clear(&s->output);
}

static void watch(struct stream *s);

/*
 * Send the rest, end our direction, and wait for the end of the peer's: if we
 * closed while its bytes are on their way here, the kernel would answer them
 * with a reset, and that makes the peer's kernel throw away our last reply.
 */
static void leave(struct stream *s)
{
	bool is_done;

	if (!s->said_farewell)
		say_farewell(s);
	transmit(s);

	is_done = stream_pending(s) == 0;
	if (s->write_error < 0 || s->linger_ms <= 0 || (is_done && s->got_eof)) {
		destroy(s);
		return;
	}
	if (is_done && !s->is_shut) {
		shutdown(s->fd, SHUT_WR);
		s->is_shut = true;
	}
	if (!s->linger_timer) {
		s->linger_timer = loop_timer_new(s->loop, on_linger_end, s);
		loop_timer_start(s->linger_timer, s->linger_ms);
		s->guest.leave = on_loop_end;
		loop_guest_add(s->loop, &s->guest);
	}
	watch(s);
}

/* Rounds */

/* Ask the poller for what is wanted next. */
static void watch(struct stream *s)
{
	unsigned int events = 0;

	if (!s->poller)
		return;
	if (wants_input(s)) {
		s->is_deaf = false;
		events |= POLLER_READ;
	} else if (s->phase == OPEN && !s->is_over && !s->is_deaf) {
		/* A pause is often over before a byte comes: look away only when one does. */
		events |= POLLER_READ;
	} else if (s->phase == LEAVING && !s->got_eof) {
		events |= POLLER_READ;
	}
	if (s->is_blocked || (s->phase == CONNECTING && !s->is_over))
		events |= POLLER_WRITE;
	poller_want(s->poller, s->is_broken ? 0 : events);
}

/* False when the user has freed the stream. */
static bool tell(struct stream *s, void (*event)(void *arg))
{
	if (event)
		event(s->arg);
	return s->phase != LEAVING;
}

static bool is_due(bool *debt)
{
	bool was_due = *debt;

	*debt = false;
	return was_due;
}

static bool tell_input(struct stream *s)
{
	if (is_due(&s->owes_secured) && !tell(s, s->events->secured))
		return false;
	if (is_due(&s->owes_readable) && !tell(s, s->events->readable))
		return false;
	return true;
}

static bool tell_drained(struct stream *s)
{
	if (!s->owes_drained || stream_pending(s) > 0)
		return true;
	s->owes_drained = false;
	return tell(s, s->events->drained);
}

static bool tell_end(struct stream *s)
{
	if (s->write_error < 0 && !wants_input(s))
		over(s, s->write_error, strerror(-s->write_error));
	if (!s->is_over)
		return true;

	/* An end in order needs an output that works, and a handshake that is done. */
	if (s->end.code == 0 && s->write_error < 0)
		error_set(&s->end, s->write_error, "%s", strerror(-s->write_error));
	else if (s->end.code == 0 && s->filter && !stream_is_secured(s))
		error_set(&s->end, -ECONNRESET, "connection closed during the TLS handshake");

	s->phase = ENDED;
	s->events->closed(s->arg, &s->end);
	return s->phase != LEAVING;
}

/* Whether the user is still there. */
static bool round_open(struct stream *s)
{
	if (is_due(&s->owes_connected) && !tell(s, s->events->connected))
		return false;
	if (s->is_broken && wants_input(s))
		receive(s);
	decode(s);
	return tell_input(s);
}

static void stream_round(struct stream *s)
{
	bool has_sent;

	if (s->phase == LEAVING) {
		leave(s);
		return;
	}
	if (s->phase == OPEN && !round_open(s))
		return;

	has_sent = transmit(s);
	drop_lost_output(s);
	if (s->phase == OPEN && !tell_drained(s))
		return;
	if (s->phase != ENDED && !tell_end(s))
		return;

	/* Memory that was of use in this round may well be in the next. */
	if (!has_sent) {
		buf_shrink(&s->output, KEEP_SIZE);
		buf_shrink(&s->wire_out, KEEP_SIZE);
	}
	buf_shrink(&s->input, KEEP_SIZE);
	buf_shrink(&s->wire_in, KEEP_SIZE);

	watch(s);
	if (can_send(s) || (s->is_broken && wants_input(s)) ||
	    (s->phase == OPEN && s->filter && s->filter_state == FILTER_NEW))
		loop_defer(s->loop, &s->round);
}

static void on_round(struct loop_task *task)
{
	stream_round(CONTAINER_OF(task, struct stream, round));
}

static void finish_connect(struct stream *s)
{
	int r = socket_error(s->fd);

	if (r < 0) {
		socket_failed(s, r);
		return;
	}
	s->local.len = sizeof(s->local.storage);
	if (getsockname(s->fd, &s->local.sa, &s->local.len) < 0)
		s->local.len = 0;
	s->phase = OPEN;
	s->owes_connected = true;
}

static void on_ready(void *arg, unsigned int events)
{
	struct stream *s = arg;

	if (events & POLLER_BROKEN)
		s->is_broken = true;
	if (events & (POLLER_BROKEN | POLLER_WRITE))
		s->is_blocked = false;

	if (s->phase == CONNECTING)
		finish_connect(s);
	else if (s->phase == LEAVING && (events & (POLLER_BROKEN | POLLER_READ)))
		discard(s);
	else if ((events & POLLER_READ) && wants_input(s))
		receive(s);
	else if (events & POLLER_READ)
		s->is_deaf = true;

	stream_round(s);
}

/* Making */

static struct stream *stream_new(struct loop *loop, const struct stream_events *events, void *arg)
{
	struct stream *s = net_new(sizeof(*s));

	s->loop = loop;
	s->events = events;
	s->arg = arg;
	s->round.run = on_round;
	s->read_size = READ_SMALL;
	s->fd = -1;
	return s;
}

static void set_nodelay(int fd, const struct net_address *peer)
{
	int on = 1;

	/* Replies are joined into one write already; waiting for more would only add delay. */
	if (peer->sa.sa_family == AF_INET || peer->sa.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
}

static int start_connect(struct stream *s, const struct net_address *source)
{
	int r;

	s->fd = socket(s->peer.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (s->fd < 0)
		return -errno;
	set_nodelay(s->fd, &s->peer);
	if (source && source->len > 0 && bind(s->fd, &source->sa, source->len) < 0)
		return -errno;
	if (connect(s->fd, &s->peer.sa, s->peer.len) < 0 && errno != EINPROGRESS)
		return -errno;
	r = poller_new(s->loop, s->fd, on_ready, s, &s->poller);
	if (r < 0)
		return r;
	return 0;
}

struct stream *stream_connect(struct loop *loop, const struct net_address *address,
			      const struct net_address *source, const struct stream_events *events,
			      void *arg)
{
	struct stream *s = stream_new(loop, events, arg);
	int r;

	s->phase = CONNECTING;
	s->peer = *address;
	r = start_connect(s, source);
	if (r < 0)
		socket_failed(s, r);
	loop_defer(loop, &s->round);
	return s;
}

struct stream *stream_connect_unix(struct loop *loop, const char *path,
				   const struct stream_events *events, void *arg)
{
	struct stream *s = stream_new(loop, events, arg);
	struct error err;
	int r;

	s->phase = CONNECTING;
	r = unix_connect_at_once(path, &err);
	if (r >= 0) {
		s->fd = r;
		r = poller_new(loop, s->fd, on_ready, s, &s->poller);
	}
	if (r == -EAGAIN)
		over(s, r, "too many connections wait to be accepted");
	if (r < 0)
		socket_failed(s, r);
	loop_defer(loop, &s->round);
	return s;
}

int stream_adopt(struct loop *loop, int fd, const struct net_address *peer,
		 struct stream **ret_stream, struct error *err)
{
	struct stream *s = stream_new(loop, NULL, NULL);
	int r;

	s->fd = fd;
	s->phase = OPEN;
	s->peer = *peer;
	r = poller_new(loop, fd, on_ready, s, &s->poller);
	if (r < 0) {
		destroy(s);
		return error_set(err, r, "accepted connection: %s", strerror(-r));
	}
	set_nodelay(fd, peer);
	s->local.len = sizeof(s->local.storage);
	if (getsockname(fd, &s->local.sa, &s->local.len) < 0)
		s->local.len = 0;
	loop_defer(loop, &s->round);
	*ret_stream = s;
	return 0;
}

void stream_free(struct stream *s, int64_t linger_ms)
{
	if (!s)
		return;
	assert(s->phase != LEAVING);
	s->linger_ms = linger_ms;
	if (s->phase == CONNECTING) {
		/* Nobody is there to linger for. */
		s->linger_ms = 0;
		buf_clear(&s->output);
		buf_clear(&s->wire_out);
	}
	s->phase = LEAVING;
	loop_defer(s->loop, &s->round);
}

void stream_abort(struct stream *s)
{
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };

	if (!s)
		return;
	if (s->fd >= 0)
		setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	buf_clear(&s->output);
	buf_clear(&s->wire_out);
	s->said_farewell = true;
	stream_free(s, 0);
}

/* For the user */

struct loop *stream_loop(struct stream *s)
{
	return s->loop;
}

void stream_set_events(struct stream *s, const struct stream_events *events, void *arg)
{
	s->events = events;
	s->arg = arg;
}

const struct net_address *stream_peer(const struct stream *s)
{
	return &s->peer;
}

const struct net_address *stream_local(const struct stream *s)
{
	return &s->local;
}

int stream_peer_user(const struct stream *s, uid_t *ret_uid)
{
#ifdef SO_PEERCRED
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(s->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0)
		return -errno;
	*ret_uid = peer.uid;
	return 0;
#else
	(void)s;
	(void)ret_uid;
	return -ENOTSUP;
#endif
}

struct buf *stream_input(struct stream *s)
{
	return &s->input;
}

struct buf *stream_output(struct stream *s)
{
	return &s->output;
}

void stream_flush(struct stream *s)
{
	loop_defer(s->loop, &s->round);
}

size_t stream_pending(const struct stream *s)
{
	return buf_len(&s->output) + buf_len(&s->wire_out);
}

void stream_pause(struct stream *s)
{
	s->is_paused = true;
}

void stream_resume(struct stream *s)
{
	s->is_paused = false;
	loop_defer(s->loop, &s->round);
}

void stream_set_filter(struct stream *s, struct stream_filter *f)
{
	assert(!s->filter && buf_len(&s->wire_out) == 0);

	/* What was said in the clear goes in the clear; nothing that comes after does. */
	s->owes_drained |= buf_len(&s->output) > 0;
	buf_done(&s->wire_out);
	s->wire_out = s->output;
	s->output = (struct buf){ 0 };

	buf_clear(&s->input);
	s->owes_readable = false;
	s->filter = f;
	s->filter_state = FILTER_NEW;
	loop_defer(s->loop, &s->round);
}

struct stream_filter *stream_filter(struct stream *s)
{
	return s->filter;
}

bool stream_is_secured(const struct stream *s)
{
	return s->filter && s->filter_state >= STREAM_FILTER_OPEN;
}
