#include "net/testing.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"

#define TIME_LIMIT_S 60

static void happened(struct end *end, const char *event)
{
	size_t len = strlen(end->log);

	snprintf(end->log + len, sizeof(end->log) - len, "%s ", event);
	if (end->then)
		end->then(end, event);
	if (end->stream && end->free_in && strcmp(end->free_in, event) == 0) {
		stream_free(end->stream, end->linger_ms);
		end->stream = NULL;
	}
	loop_stop(end->loop);
}

static void on_connected(void *arg)
{
	happened(arg, "connected");
}

static void on_secured(void *arg)
{
	happened(arg, "secured");
}

static void on_readable(void *arg)
{
	struct end *end = arg;
	struct buf *input = stream_input(end->stream);

	end->largest_input = MAX(end->largest_input, buf_len(input));
	if (!end->leaves_input) {
		buf_append_slice(&end->received, buf_slice(input));
		buf_consume(input, buf_len(input));
	}
	happened(end, "readable");
}

static void on_drained(void *arg)
{
	struct end *end = arg;

	end->drained++;
	if (end->then)
		end->then(end, "drained");
	if (end->stream && end->free_in && strcmp(end->free_in, "drained") == 0) {
		stream_free(end->stream, end->linger_ms);
		end->stream = NULL;
	}
	loop_stop(end->loop);
}

static void on_closed(void *arg, const struct error *err)
{
	struct end *end = arg;

	end->error = *err;
	happened(end, "closed");
}

const struct stream_events end_events = {
	.connected = on_connected,
	.secured = on_secured,
	.readable = on_readable,
	.drained = on_drained,
	.closed = on_closed,
};

struct loop *test_start(void)
{
	struct loop *loop;
	struct error err;

	alarm(TIME_LIMIT_S);
	if (loop_new(&loop, &err) < 0)
		fail_msg("%s", err.text);
	return loop;
}

void test_end(struct loop *loop, struct end *a, struct end *b)
{
	struct end *ends[] = { a, b };

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		if (!ends[i])
			continue;
		stream_free(ends[i]->stream, 0);
		buf_done(&ends[i]->received);
	}
	loop_free(loop);
	alarm(0);
}

bool end_has(const struct end *end, const char *event)
{
	return strstr(end->log, event);
}

bool end_received(const struct end *end, const char *text)
{
	return slice_equal(buf_slice(&end->received), slice_from(text));
}

void end_send(struct end *end, const char *text)
{
	buf_append_string(stream_output(end->stream), text);
	stream_flush(end->stream);
}

int test_listen(struct net_address *ret_address)
{
	struct net_address any;
	struct error err;
	int fd;

	assert_true(net_address_parse(SLICE("127.0.0.1:0"), &any));
	fd = listener_bind(&any, ret_address, &err);
	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

static void on_accepted(void *arg, struct stream *stream)
{
	struct end *server = arg;

	server->stream = stream;
	stream_set_events(stream, &end_events, server);
	loop_stop(server->loop);
}

static void on_failed(void *arg, const struct error *err)
{
	(void)arg;
	fail_msg("%s", err->text);
}

static const struct listener_events accept_events = { on_accepted, on_failed };

static struct listener *accept_on(struct loop *loop, struct end *server,
				  struct net_address *ret_address)
{
	struct listener *listener;
	struct error err;
	int fd = test_listen(ret_address);

	server->loop = loop;
	if (listener_new(loop, fd, &accept_events, server, &listener, &err) < 0)
		fail_msg("%s", err.text);
	close(fd);
	return listener;
}

void test_connect(struct loop *loop, struct end *client, struct end *server)
{
	struct net_address address;
	struct listener *listener = accept_on(loop, server, &address);

	client->loop = loop;
	client->stream = stream_connect(loop, &address, NULL, &end_events, client);
	RUN_UNTIL(loop, server->stream && end_has(client, "connected"));
	listener_free(listener);
}

int test_connect_raw(struct loop *loop, struct end *server)
{
	struct net_address address;
	struct listener *listener = accept_on(loop, server, &address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_int_equal(connect(fd, &address.sa, address.len), 0);
	RUN_UNTIL(loop, server->stream);
	listener_free(listener);
	return fd;
}

/* While the test reads by itself, the loop gets a turn each millisecond. */
static void on_turn(void *arg)
{
	loop_stop(arg);
}

void test_read_raw(struct loop *loop, int fd, struct buf *out)
{
	struct loop_timer *turn = loop_timer_new(loop, on_turn, loop);
	ssize_t n = 1;

	while (n != 0) {
		n = recv(fd, buf_reserve(out, 65536), 65536, MSG_DONTWAIT);
		if (n > 0) {
			buf_commit(out, (size_t)n);
			continue;
		}
		if (n < 0 && errno != EAGAIN)
			break;
		loop_timer_start(turn, 1);
		loop_run(loop);
	}
	loop_timer_free(turn);
}
