/* test_stream - bytes arrive whole, in order, and as slowly as their reader wants; ends are told once */

#include "net/stream.h"
#include "net/testing.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"

#define PIECE ((size_t)256 * 1024)
#define FLOOD ((size_t)16 * 1024 * 1024) /* more than the kernel takes without a reader */

static void echo(struct end *end, const char *event)
{
	if (strcmp(event, "readable") == 0) {
		buf_append_slice(stream_output(end->stream), buf_slice(&end->received));
		buf_clear(&end->received);
	}
}

static void test_echo(void **state)
{
	struct loop *loop = test_start();
	struct end client = { 0 }, server = { .then = echo };
	char text[NET_ADDRESS_TEXT_SIZE], peer_text[NET_ADDRESS_TEXT_SIZE];

	(void)state;
	test_connect(loop, &client, &server);
	assert_ptr_equal(stream_loop(client.stream), loop);
	assert_string_equal(net_address_text(stream_local(client.stream), text),
			    net_address_text(stream_peer(server.stream), peer_text));
	assert_string_equal(net_address_text(stream_peer(client.stream), text),
			    net_address_text(stream_local(server.stream), peer_text));
	assert_false(stream_is_secured(client.stream));
	assert_null(stream_filter(client.stream));

	end_send(&client, "hello");
	RUN_UNTIL(loop, end_received(&client, "hello"));
	assert_int_equal(stream_pending(client.stream), 0);
	assert_int_equal(client.drained, 1);

	stream_free(client.stream, 1000);
	client.stream = NULL;
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_int_equal(server.error.code, 0);
	assert_string_equal(client.log, "connected readable ");
	assert_string_equal(server.log, "readable closed ");
	test_end(loop, &client, &server);
}

/* Sends total bytes in pieces, each when the one before has gone. */
struct sender {
	struct end end;
	size_t sent, total, got;
	uint32_t send_state, check_state; /* of the pattern */
	struct loop_task consume;
};

static unsigned char next_byte(uint32_t *pattern)
{
	*pattern = *pattern * 1664525u + 1013904223u;
	return (unsigned char)(*pattern >> 24);
}

static void send_piece(struct sender *s)
{
	size_t len = MIN(PIECE, s->total - s->sent);
	char *bytes = buf_reserve(stream_output(s->end.stream), len);

	for (size_t i = 0; i < len; i++)
		bytes[i] = (char)next_byte(&s->send_state);
	buf_commit(stream_output(s->end.stream), len);
	s->sent += len;
}

/* Takes a part only, later, outside of the stream's callbacks. */
static void consume_some(struct loop_task *task)
{
	struct sender *s = CONTAINER_OF(task, struct sender, consume);
	struct buf *input = stream_input(s->end.stream);
	size_t len = MIN(buf_len(input), 10000);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)buf_slice(input).ptr[i] != next_byte(&s->check_state))
			fail_msg("byte %zu is wrong", s->got + i);
	}
	buf_consume(input, len);
	s->got += len;
	stream_flush(s->end.stream);
	if (buf_len(input) > 0)
		loop_defer(s->end.loop, task);
	loop_stop(s->end.loop);
}

static void send_on(struct end *end, const char *event)
{
	struct sender *s = CONTAINER_OF(end, struct sender, end);

	if (strcmp(event, "drained") == 0 && s->sent < s->total)
		send_piece(s);
	else if (strcmp(event, "readable") == 0)
		loop_defer(end->loop, &s->consume);
}

static void test_back_pressure(void **state)
{
	struct loop *loop = test_start();
	struct sender a = { .end = { .then = send_on, .leaves_input = true },
			    .total = 5 * 1024 * 1024,
			    .consume = { .run = consume_some } };
	struct sender b = a;

	(void)state;
	b.total = 4 * 1024 * 1024 + 12345;
	a.send_state = b.check_state = 1;
	b.send_state = a.check_state = 2;
	test_connect(loop, &a.end, &b.end);
	send_piece(&a);
	send_piece(&b);
	stream_flush(a.end.stream);
	stream_flush(b.end.stream);

	RUN_UNTIL(loop, a.got == b.total && b.got == a.total);
	/* The limit, and what one recv() may bring beyond it. */
	assert_in_range(a.end.largest_input, 1, 128 * 1024);
	assert_in_range(b.end.largest_input, 1, 128 * 1024);
	RUN_UNTIL(loop, a.end.drained >= a.total / PIECE && b.end.drained > b.total / PIECE);
	test_end(loop, &a.end, &b.end);
}

static void stop_loop(void *arg)
{
	loop_stop(arg);
}

/* How much processor time ms on the loop take. */
static int64_t busy_us(struct loop *loop, int64_t ms)
{
	struct loop_timer *timer = loop_timer_new(loop, stop_loop, loop);
	int64_t until_ms;
	struct timespec before, after;

	loop_timer_start(timer, ms);
	until_ms = loop_now_ms(loop) + ms;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
	RUN_UNTIL(loop, loop_now_ms(loop) >= until_ms);
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
	loop_timer_free(timer);
	return (after.tv_sec - before.tv_sec) * 1000000 + (after.tv_nsec - before.tv_nsec) / 1000;
}

static void test_full_input_is_quiet(void **state)
{
	struct loop *loop = test_start();
	struct end server = { .leaves_input = true };
	size_t len = 4 * 1024 * 1024;
	char *bytes = calloc(1, len);
	int fd = test_connect_raw(loop, &server);

	(void)state;
	send(fd, bytes, len, MSG_DONTWAIT);
	RUN_UNTIL(loop, buf_len(stream_input(server.stream)) >= 64 * 1024);
	assert_in_range(busy_us(loop, 200), 0, 50000);
	assert_in_range(server.largest_input, 64 * 1024, 128 * 1024);

	/* It goes on when there is room. */
	server.log[0] = '\0';
	buf_clear(stream_input(server.stream));
	stream_flush(server.stream);
	RUN_UNTIL(loop, end_has(&server, "readable"));
	close(fd);
	free(bytes);
	test_end(loop, &server, NULL);
}

static void test_pause(void **state)
{
	struct loop *loop = test_start();
	struct end client = { 0 }, server = { 0 };

	(void)state;
	test_connect(loop, &client, &server);
	stream_pause(server.stream);
	end_send(&client, "waits");
	assert_in_range(busy_us(loop, 50), 0, 25000);
	assert_string_equal(server.log, "");

	stream_resume(server.stream);
	RUN_UNTIL(loop, end_received(&server, "waits"));
	test_end(loop, &client, &server);
}

static void answer_end(struct end *end, const char *event)
{
	if (strcmp(event, "closed") == 0)
		buf_append_string(stream_output(end->stream), "answer");
}

static void test_half_close(void **state)
{
	struct loop *loop = test_start();
	struct end server = { .then = answer_end, .free_in = "closed", .linger_ms = 5000 };
	struct buf got = { 0 };
	int fd = test_connect_raw(loop, &server);

	(void)state;
	assert_int_equal(send(fd, "all of it", 9, 0), 9);
	shutdown(fd, SHUT_WR);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_true(end_received(&server, "all of it"));
	assert_string_equal(server.log, "readable closed ");
	assert_int_equal(server.error.code, 0);

	test_read_raw(loop, fd, &got);
	assert_true(slice_equal(buf_slice(&got), SLICE("answer")));
	close(fd);
	buf_done(&got);
	test_end(loop, &server, NULL);
}

/* Work that takes longer than the client's patience: the answer goes out some time after closed(). */
static void test_answer_after_closed(void **state)
{
	struct loop *loop = test_start();
	struct end server = { .leaves_input = true };
	struct buf got = { 0 };
	int fd = test_connect_raw(loop, &server);

	(void)state;
	assert_int_equal(send(fd, "QUIT", 4, 0), 4);
	shutdown(fd, SHUT_WR);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_int_equal(buf_len(stream_input(server.stream)), 4);

	end_send(&server, "221 ");
	assert_in_range(busy_us(loop, 20), 0, 15000);
	end_send(&server, "bye");
	stream_free(server.stream, 5000);
	server.stream = NULL;
	test_read_raw(loop, fd, &got);
	assert_true(slice_equal(buf_slice(&got), SLICE("221 bye")));
	assert_string_equal(server.log, "readable closed ");
	close(fd);
	buf_done(&got);
	test_end(loop, &server, NULL);
}

static void test_refused(void **state)
{
	struct loop *loop = test_start();
	struct end client = { .loop = loop };
	struct net_address address;
	int fd = test_listen(&address);

	(void)state;
	close(fd); /* nobody listens there now */
	client.stream = stream_connect(loop, &address, NULL, &end_events, &client);
	end_send(&client, "never");
	assert_string_equal(client.log, "");
	RUN_UNTIL(loop, end_has(&client, "closed"));
	assert_int_equal(client.error.code, -ECONNREFUSED);
	assert_string_equal(client.error.text, "Connection refused");
	assert_string_equal(client.log, "closed ");
	test_end(loop, &client, NULL);
}

static void test_source(void **state)
{
	struct loop *loop = test_start();
	struct end client = { .loop = loop };
	struct net_address address, source;
	char text[NET_ADDRESS_TEXT_SIZE];
	int fd = test_listen(&address);

	(void)state;
	assert_true(net_address_parse_ip(SLICE("127.0.0.9"), 0, &source));
	client.stream = stream_connect(loop, &address, &source, &end_events, &client);
	RUN_UNTIL(loop, end_has(&client, "connected"));
	assert_string_equal(net_address_ip(stream_local(client.stream), text), "127.0.0.9");
	stream_free(client.stream, 0);

	/* An address that is not ours fails before connect(), but is told no sooner. */
	client.log[0] = '\0';
	assert_true(net_address_parse_ip(SLICE("192.0.2.1"), 0, &source));
	client.stream = stream_connect(loop, &address, &source, &end_events, &client);
	assert_string_equal(client.log, "");
	RUN_UNTIL(loop, end_has(&client, "closed"));
	assert_int_equal(client.error.code, -EADDRNOTAVAIL);
	close(fd);
	test_end(loop, &client, NULL);
}

static void test_reset(void **state)
{
	struct loop *loop = test_start();
	struct end server = { 0 };
	struct linger abort_on_close = { 1, 0 };
	int fd = test_connect_raw(loop, &server);

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &abort_on_close, sizeof(abort_on_close));
	close(fd);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_int_equal(server.error.code, -ECONNRESET);
	end_send(&server, "to nobody");
	assert_in_range(busy_us(loop, 20), 0, 15000);
	assert_string_equal(server.log, "closed ");
	test_end(loop, &server, NULL);
}

/* A peer that says why it goes, while we are sending: its words must not get lost in our error. */
static void test_last_words(void **state)
{
	struct loop *loop = test_start();
	struct end server = { 0 };
	char *bytes = calloc(1, FLOOD);
	int fd = test_connect_raw(loop, &server);

	(void)state;
	buf_append(stream_output(server.stream), bytes, FLOOD);
	stream_pause(server.stream);
	stream_flush(server.stream);
	assert_in_range(busy_us(loop, 20), 0, 20000);
	assert_true(stream_pending(server.stream) > 0);

	assert_int_equal(send(fd, "421 bye", 7, 0), 7);
	close(fd); /* with unread bytes: a reset */
	stream_resume(server.stream);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_true(end_received(&server, "421 bye"));
	assert_true(server.error.code < 0);
	assert_int_equal(server.drained, 0);
	free(bytes);
	test_end(loop, &server, NULL);
}

static void test_free_in_callbacks(void **state)
{
	static const char *const events[] = { "connected", "readable", "drained", "closed" };
	struct loop *loop;
	struct end client, server;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(events) * 2; i++) {
		loop = test_start();
		client = (struct end){ .free_in = events[i / 2], .linger_ms = i % 2 ? 5000 : 0 };
		server = (struct end){ 0 };
		test_connect(loop, &client, &server);
		end_send(&server, "hello");
		if (client.stream && i / 2 == 2)
			end_send(&client, "hello");
		if (i / 2 == 3) {
			stream_free(server.stream, 5000);
			server.stream = NULL;
		}
		RUN_UNTIL(loop, !client.stream);
		if (server.stream)
			RUN_UNTIL(loop, end_has(&server, "closed"));
		test_end(loop, &client, &server);
	}
}

/* Everything in the output arrives, though the peer reads late and never stops talking. */
static void test_linger(void **state)
{
	struct loop *loop = test_start();
	struct end server = { 0 };
	struct buf got = { 0 };
	char *bytes = malloc(FLOOD);
	int fd = test_connect_raw(loop, &server);

	(void)state;
	memset(bytes, 'x', FLOOD);
	buf_append(stream_output(server.stream), bytes, FLOOD);
	stream_free(server.stream, 20000);
	server.stream = NULL;
	assert_in_range(busy_us(loop, 20), 0, 20000);

	assert_int_equal(send(fd, bytes, 1000, 0), 1000);
	test_read_raw(loop, fd, &got);
	assert_int_equal(buf_len(&got), FLOOD);
	close(fd);
	buf_done(&got);
	free(bytes);
	test_end(loop, &server, NULL);
}

/* The peer reads nothing: the stream ends by its time, and another by the end of the loop. */
static void test_linger_ends(void **state)
{
	static const int64_t linger_ms[] = { 10, 1000000 };
	struct loop *loop = test_start();
	struct end servers[2] = { { 0 }, { 0 } };
	char *bytes = calloc(1, FLOOD);
	struct pollfd gone;
	int fds[2];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = test_connect_raw(loop, &servers[i]);
		buf_append(stream_output(servers[i].stream), bytes, FLOOD);
		stream_free(servers[i].stream, linger_ms[i]);
		servers[i].stream = NULL;
	}
	/* Bytes of ours that nobody has read: the close shows as a reset. */
	assert_int_equal(send(fds[0], "x", 1, 0), 1);
	gone = (struct pollfd){ .fd = fds[0] };
	do {
		busy_us(loop, 1);
		send(fds[0], "x", 1, MSG_NOSIGNAL);
	} while (poll(&gone, 1, 0) == 0);

	test_end(loop, &servers[0], &servers[1]);
	gone.fd = fds[1];
	send(fds[1], "x", 1, MSG_NOSIGNAL);
	assert_int_equal(poll(&gone, 1, -1), 1);
	close(fds[0]);
	close(fds[1]);
	free(bytes);
}

/* What was given to a stream that is aborted must not arrive, or not all of it. */
static void test_abort(void **state)
{
	struct loop *loop = test_start();
	struct end client = { 0 }, server = { 0 };
	char *flood = memory_zeroed(FLOOD);

	(void)state;
	test_connect(loop, &client, &server);
	buf_append(stream_output(client.stream), flood, FLOOD);
	stream_flush(client.stream);
	stream_abort(client.stream);
	client.stream = NULL;
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_int_equal(server.error.code, -ECONNRESET);
	assert_true(buf_len(&server.received) < FLOOD);
	free(flood);
	test_end(loop, &client, &server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_echo),
		cmocka_unit_test(test_back_pressure),
		cmocka_unit_test(test_full_input_is_quiet),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_half_close),
		cmocka_unit_test(test_answer_after_closed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_source),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_last_words),
		cmocka_unit_test(test_free_in_callbacks),
		cmocka_unit_test(test_linger),
		cmocka_unit_test(test_abort),
		cmocka_unit_test(test_linger_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
