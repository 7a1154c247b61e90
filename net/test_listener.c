/* test_listener - sockets are bound as asked, shared by loops, and survive a lack of descriptors */

#include "net/listener.h"
#include "net/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/macros.h"

static void test_bind(void **state)
{
	struct net_address address, bound, other;
	char text[NET_ADDRESS_TEXT_SIZE], expected[128];
	struct error err;
	int fd;

	(void)state;
	fd = test_listen(&address);
	assert_true(net_address_port(&address) != 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

	assert_int_equal(listener_bind(&address, &bound, &err), -EADDRINUSE);
	strcpy(expected, net_address_text(&address, text));
	strcat(expected, ": Address already in use");
	assert_string_equal(err.text, expected);
	close(fd);

	assert_true(net_address_parse(SLICE("192.0.2.1:25"), &other));
	assert_true(listener_bind(&other, &bound, &err) < 0);
}

/* "*" is a socket of each family on the same port. */
static void test_both_families(void **state)
{
	struct net_address any6, bound6, any4, bound4;
	struct error err;
	int fd6, fd4;

	(void)state;
	assert_true(net_address_parse(SLICE("[::]:0"), &any6));
	fd6 = listener_bind(&any6, &bound6, &err);
	if (fd6 == -EAFNOSUPPORT)
		skip();
	assert_true(fd6 >= 0);
	assert_true(net_address_parse(SLICE("0.0.0.0:0"), &any4));
	net_address_set_port(&any4, net_address_port(&bound6));
	fd4 = listener_bind(&any4, &bound4, &err);
	assert_true(fd4 >= 0);
	close(fd4);
	close(fd6);
}

struct gate {
	struct loop *loop;
	struct listener *listener;
	unsigned int accepted, failed;
	struct error error;
	bool closes; /* free the listener in accepted() */
};

static void on_readable(void *arg)
{
	(void)arg;
}

static void on_closed(void *arg, const struct error *err)
{
	(void)arg;
	(void)err;
}

static const struct stream_events no_events = { .readable = on_readable, .closed = on_closed };

static void on_accepted(void *arg, struct stream *stream)
{
	struct gate *gate = arg;

	gate->accepted++;
	stream_set_events(stream, &no_events, NULL);
	stream_free(stream, 0);
	if (gate->closes) {
		listener_free(gate->listener);
		gate->listener = NULL;
	}
	loop_stop(gate->loop);
}

static void on_failed(void *arg, const struct error *err)
{
	struct gate *gate = arg;

	gate->failed++;
	gate->error = *err;
	loop_stop(gate->loop);
}

static const struct listener_events gate_events = { on_accepted, on_failed };

static int connect_to(const struct net_address *address)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, &address->sa, address->len), 0);
	return fd;
}

static void test_two_loops(void **state)
{
	struct gate gates[2] = { { .loop = test_start() }, { .loop = test_start() } };
	struct net_address address;
	struct error err;
	int fd = test_listen(&address), client;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(gates); i++)
		assert_int_equal(listener_new(gates[i].loop, fd, &gate_events, &gates[i],
					      &gates[i].listener, &err),
				 0);
	close(fd);

	/* Whoever comes first gets it. */
	for (unsigned int n = 1; n <= 3; n++) {
		for (size_t i = 0; i < ARRAY_SIZE(gates); i++) {
			client = connect_to(&address);
			RUN_UNTIL(gates[i].loop, gates[i].accepted == n);
			close(client);
		}
	}
	listener_free(gates[0].listener);
	loop_free(gates[0].loop);

	client = connect_to(&address);
	gates[1].closes = true;
	RUN_UNTIL(gates[1].loop, gates[1].accepted == 4);
	close(client);
	listener_free(NULL);
	test_end(gates[1].loop, NULL, NULL);
}

static void test_no_descriptors(void **state)
{
	struct gate gate = { .loop = test_start() };
	struct net_address address;
	struct rlimit limit, low;
	struct error err;
	int fd = test_listen(&address), client;
	int64_t failed_ms;

	(void)state;
	assert_int_equal(listener_new(gate.loop, fd, &gate_events, &gate, &gate.listener, &err), 0);
	close(fd);
	client = connect_to(&address);

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = (rlim_t)client; /* which is in use, as is all below */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	fd = dup(client);
	assert_int_equal(fd, -1);
	RUN_UNTIL(gate.loop, gate.failed);
	failed_ms = loop_now_ms(gate.loop);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);

	assert_int_equal(gate.error.code, -EMFILE);
	assert_string_equal(gate.error.text, "accept: Too many open files");
	RUN_UNTIL(gate.loop, gate.accepted);
	assert_true(loop_now_ms(gate.loop) >= failed_ms + 900);
	assert_int_equal(gate.failed, 1);
	close(client);
	listener_free(gate.listener);
	test_end(gate.loop, NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bind),
		cmocka_unit_test(test_both_families),
		cmocka_unit_test(test_two_loops),
		cmocka_unit_test(test_no_descriptors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
