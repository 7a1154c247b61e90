/*
 * test_filter - what the stream promises around a filter, above all that it fails closed
 *
 * The filter of the tests: each side says "HELLO\n"; then bytes go as '=', two
 * digits of length and that many bytes XOR 0x55. "." ends the session. All
 * else is a violation, answered with "ALERT\n".
 */

#include "net/stream.h"
#include "net/testing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"

#define HELLO	  SLICE("HELLO\n")
#define FRAME_MAX 99
#define HEAD_SIZE 3
#define KEY	  0x55
#define SECRET	  "MAIL FROM:<alice@example.net>\r\n"

struct toy {
	struct stream_filter filter;
	enum stream_filter_state state;
	bool said_hello;
	unsigned int *freed;
};

static bool take_frame(struct buf *wire_in, struct buf *input)
{
	struct slice wire = buf_slice(wire_in);
	size_t len;

	if (wire.len < HEAD_SIZE || wire.ptr[0] != '=')
		return false;
	len = (size_t)(wire.ptr[1] - '0') * 10 + (size_t)(wire.ptr[2] - '0');
	if (wire.len < HEAD_SIZE + len)
		return false;
	for (size_t i = 0; i < len; i++) {
		char byte = (char)(wire.ptr[HEAD_SIZE + i] ^ KEY);

		buf_append(input, &byte, 1);
	}
	buf_consume(wire_in, HEAD_SIZE + len);
	return true;
}

static int violation(struct buf *wire_out, struct error *err)
{
	buf_append_string(wire_out, "ALERT\n");
	return error_set(err, -EPROTO, "toy: no good");
}

static int toy_decode(struct stream_filter *f, struct buf *wire_in, struct buf *input,
		      struct buf *wire_out, struct error *err)
{
	struct toy *toy = CONTAINER_OF(f, struct toy, filter);
	struct slice wire = buf_slice(wire_in);

	if (!toy->said_hello) {
		toy->said_hello = true;
		buf_append_slice(wire_out, HELLO);
	}
	if (toy->state == STREAM_FILTER_BUSY) {
		if (!slice_equal(slice_first(wire, HELLO.len), slice_first(HELLO, wire.len)))
			return violation(wire_out, err);
		if (wire.len < HELLO.len)
			return STREAM_FILTER_BUSY;
		buf_consume(wire_in, HELLO.len);
		toy->state = STREAM_FILTER_OPEN;
	}
	while (take_frame(wire_in, input))
		;
	wire = buf_slice(wire_in);
	if (wire.len > 0 && wire.ptr[0] == '.')
		toy->state = STREAM_FILTER_ENDED;
	else if (wire.len > 0 && wire.ptr[0] != '=')
		return violation(wire_out, err);
	return (int)toy->state;
}

static int toy_encode(struct stream_filter *f, struct buf *output, struct buf *wire_out,
		      struct error *err)
{
	struct toy *toy = CONTAINER_OF(f, struct toy, filter);

	(void)err;
	assert_true(toy->state >= STREAM_FILTER_OPEN);
	while (buf_len(output) > 0) {
		struct slice bytes = slice_first(buf_slice(output), FRAME_MAX);

		buf_printf(wire_out, "=%02zu", bytes.len);
		for (size_t i = 0; i < bytes.len; i++) {
			char byte = (char)(bytes.ptr[i] ^ KEY);

			buf_append(wire_out, &byte, 1);
		}
		buf_consume(output, bytes.len);
	}
	return 0;
}

static void toy_finish(struct stream_filter *f, struct buf *wire_out)
{
	(void)f;
	buf_append_string(wire_out, ".");
}

static void toy_free(struct stream_filter *f)
{
	struct toy *toy = CONTAINER_OF(f, struct toy, filter);

	if (toy->freed)
		++*toy->freed;
	free(toy);
}

static struct stream_filter *toy_new(unsigned int *freed)
{
	struct toy *toy = calloc(1, sizeof(*toy));

	toy->filter = (struct stream_filter){ toy_decode, toy_encode, toy_finish, toy_free };
	toy->state = STREAM_FILTER_BUSY;
	toy->freed = freed;
	return &toy->filter;
}

static bool contains(const struct buf *b, const char *text)
{
	return memmem(b->mem + b->start, buf_len(b), text, strlen(text));
}

static void test_both_ways(void **state)
{
	struct loop *loop = test_start();
	struct end client = { 0 }, server = { 0 };
	unsigned int freed = 0;

	(void)state;
	test_connect(loop, &client, &server);
	stream_set_filter(client.stream, toy_new(&freed));
	stream_set_filter(server.stream, toy_new(&freed));
	end_send(&client, SECRET); /* waits for the handshake */
	assert_false(stream_is_secured(client.stream));

	RUN_UNTIL(loop, end_received(&server, SECRET));
	assert_string_equal(server.log, "secured readable ");
	assert_string_equal(client.log, "connected secured ");
	assert_true(stream_is_secured(client.stream));
	end_send(&server, "250 ok");
	RUN_UNTIL(loop, end_received(&client, "250 ok"));

	/* The farewell comes with the last bytes and ends the session in order. */
	end_send(&client, "QUIT");
	stream_free(client.stream, 5000);
	client.stream = NULL;
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_true(end_received(&server, SECRET "QUIT"));
	assert_int_equal(server.error.code, 0);
	assert_true(stream_is_secured(server.stream));
	test_end(loop, &client, &server);
	assert_int_equal(freed, 2);
}

/* As after STARTTLS: 220 goes in the clear, what the client sent behind its command is dropped. */
static void set_filter(struct end *end, const char *event)
{
	if (strcmp(event, "readable") == 0 && !stream_filter(end->stream)) {
		buf_append_string(stream_output(end->stream), "220 ready\n");
		stream_set_filter(end->stream, toy_new(NULL));
		assert_int_equal(buf_len(stream_input(end->stream)), 0);
		buf_append_string(stream_output(end->stream), SECRET);
	}
}

static void test_injection(void **state)
{
	static const char clear[] = "STARTTLS\r\nINJECTED\r\n";
	struct loop *loop = test_start();
	struct end server = { .then = set_filter, .leaves_input = true };
	struct buf got = { 0 };
	int fd = test_connect_raw(loop, &server);

	(void)state;
	send(fd, clear, strlen(clear), 0);
	RUN_UNTIL(loop, end_has(&server, "readable"));
	server.leaves_input = false;
	assert_int_equal(send(fd, "HELLO\n=03", 9, 0), 9);
	RUN_UNTIL(loop, end_has(&server, "secured"));
	send(fd, "\x3d\x3c\x35.", 4, 0); /* "hi`" XOR 0x55, and the end */
	shutdown(fd, SHUT_WR);
	RUN_UNTIL(loop, end_has(&server, "closed"));

	assert_true(end_received(&server, "hi`"));
	assert_string_equal(server.log, "readable secured readable closed ");
	stream_free(server.stream, 5000);
	server.stream = NULL;
	test_read_raw(loop, fd, &got);
	assert_memory_equal(got.mem, "220 ready\nHELLO\n=", 17);
	assert_false(contains(&got, "MAIL"));
	assert_false(contains(&got, "alice"));
	assert_int_equal(got.mem[got.end - 1], '.');
	buf_done(&got);
	close(fd);
	test_end(loop, &server, NULL);
}

/* What a peer does instead of a handshake, and what is told. */
static const struct {
	const char *label, *bytes;
	int code;
	const char *wire; /* all that the peer gets */
} failures[] = {
	{ "violation", "GET / HTTP/1.0\r\n", -EPROTO, "220 ready\nHELLO\nALERT\n" },
	{ "violation inside", "HEL?O\n", -EPROTO, "220 ready\nHELLO\nALERT\n" },
	{ "violation behind", "HELLO\n=02\x34\x34RSET\r\n", -EPROTO, "220 ready\nHELLO\nALERT\n" },
	{ "nothing", "", -ECONNRESET, "220 ready\nHELLO\n" },
	{ "half", "HEL", -ECONNRESET, "220 ready\nHELLO\n" },
};

static void test_failed_handshake(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(failures); i++) {
		struct loop *loop = test_start();
		struct end server = { .then = set_filter, .leaves_input = true };
		struct buf got = { 0 };
		int fd = test_connect_raw(loop, &server);

		print_message("%s\n", failures[i].label);
		send(fd, "STARTTLS\r\n", 10, 0);
		RUN_UNTIL(loop, end_has(&server, "readable"));
		send(fd, failures[i].bytes, strlen(failures[i].bytes), 0);
		shutdown(fd, SHUT_WR);
		RUN_UNTIL(loop, end_has(&server, "closed"));
		assert_int_equal(server.error.code, failures[i].code);
		assert_string_equal(server.log, "readable closed ");
		assert_false(stream_is_secured(server.stream));
		assert_int_equal(buf_len(stream_input(server.stream)), 0);

		/* Nothing gets through later either. */
		end_send(&server, SECRET);
		stream_free(server.stream, 5000);
		server.stream = NULL;
		test_read_raw(loop, fd, &got);
		assert_true(slice_equal(buf_slice(&got), slice_from(failures[i].wire)));
		buf_done(&got);
		close(fd);
		test_end(loop, &server, NULL);
	}
}

static void test_violation_when_open(void **state)
{
	struct loop *loop = test_start();
	struct end server = { 0 };
	struct buf got = { 0 };
	int fd = test_connect_raw(loop, &server);

	(void)state;
	stream_set_filter(server.stream, toy_new(NULL));
	send(fd, "HELLO\n", 6, 0);
	RUN_UNTIL(loop, end_has(&server, "secured"));
	send(fd, "=01\x34 RSET\r\n", 11, 0);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	assert_string_equal(server.log, "secured readable closed ");
	assert_true(end_received(&server, "a"));
	assert_int_equal(server.error.code, -EPROTO);
	assert_string_equal(server.error.text, "toy: no good");
	assert_false(stream_is_secured(server.stream));

	end_send(&server, SECRET);
	stream_free(server.stream, 5000);
	server.stream = NULL;
	shutdown(fd, SHUT_WR);
	test_read_raw(loop, fd, &got);
	assert_true(slice_equal(buf_slice(&got), SLICE("HELLO\nALERT\n")));
	buf_done(&got);
	close(fd);
	test_end(loop, &server, NULL);
}

static void test_freed_early(void **state)
{
	struct loop *loop = test_start();
	struct end server = { 0 };
	struct buf got = { 0 };
	unsigned int freed = 0;
	int fd = test_connect_raw(loop, &server);

	(void)state;
	buf_append_string(stream_output(server.stream), "220 ready\n");
	stream_set_filter(server.stream, toy_new(&freed));
	buf_append_string(stream_output(server.stream), SECRET);
	stream_free(server.stream, 5000);
	server.stream = NULL;
	shutdown(fd, SHUT_WR);
	test_read_raw(loop, fd, &got);
	assert_true(slice_equal(buf_slice(&got), SLICE("220 ready\n")));
	buf_done(&got);
	close(fd);
	test_end(loop, &server, NULL);
	assert_int_equal(freed, 1);
}

/* Implicit TLS: the filter is there before the connection is. */
static void test_before_connect(void **state)
{
	struct loop *loop = test_start();
	struct end client = { .loop = loop }, server = { .loop = loop };
	struct net_address address;
	int listening = test_listen(&address), fd;
	struct buf got = { 0 };

	(void)state;
	client.stream = stream_connect(loop, &address, NULL, &end_events, &client);
	stream_set_filter(client.stream, toy_new(NULL));
	end_send(&client, SECRET);
	RUN_UNTIL(loop, end_has(&client, "connected"));
	fd = accept(listening, NULL, NULL);
	assert_true(fd >= 0);
	client.free_in = "secured";
	client.linger_ms = 5000;
	send(fd, "HELLO\n", 6, 0);
	shutdown(fd, SHUT_WR);
	test_read_raw(loop, fd, &got);
	assert_string_equal(client.log, "connected secured ");
	assert_memory_equal(got.mem, "HELLO\n=31", 9);
	assert_int_equal(got.mem[got.end - 1], '.');
	assert_false(contains(&got, "MAIL"));
	buf_done(&got);
	close(fd);
	close(listening);
	test_end(loop, &client, &server);
}

struct bulk {
	struct end end;
	size_t left, got;
};

static void send_more(struct end *end, const char *event)
{
	struct bulk *bulk = CONTAINER_OF(end, struct bulk, end);
	struct buf *out = stream_output(end->stream);

	bulk->got += buf_len(&end->received);
	buf_clear(&end->received);
	if (strcmp(event, "drained") == 0 && bulk->left > 0) {
		size_t len = MIN(bulk->left, (size_t)256 * 1024);

		memset(buf_reserve(out, len), 'x', len);
		buf_commit(out, len);
		bulk->left -= len;
	}
}

static void test_bulk(void **state)
{
	struct loop *loop = test_start();
	struct bulk client = { .end = { .then = send_more }, .left = 3000000 };
	struct bulk server = { .end = { .then = send_more }, .left = 2000000 };

	(void)state;
	test_connect(loop, &client.end, &server.end);
	stream_set_filter(client.end.stream, toy_new(NULL));
	stream_set_filter(server.end.stream, toy_new(NULL));
	end_send(&client.end, "x");
	end_send(&server.end, "x");
	RUN_UNTIL(loop, client.got == 2000001 && server.got == 3000001);
	assert_int_equal(stream_pending(client.end.stream), 0);
	test_end(loop, &client.end, &server.end);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_failed_handshake),
		cmocka_unit_test(test_violation_when_open),
		cmocka_unit_test(test_freed_early),
		cmocka_unit_test(test_before_connect),
		cmocka_unit_test(test_bulk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
