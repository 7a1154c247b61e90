/*
 * test_choke - the assertions of outbound_transmit(), by breaking what they rely on
 *
 * Nothing else in the program stops envelope or message bytes on a connection
 * that the policy does not permit; this proves that these do, and would notice
 * if they went. Each case is a process of its own that is expected to die.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/outbound_connection.h"
#include "net/address.h"

static const struct choke_case {
	const char *label;
	enum tls_mode mode;
	enum tls_level level;
	bool is_delivering, is_secured, is_verified;
	bool may_go;
	bool is_logging_in;
	bool requires_tls;
} cases[] = {
	{ "clear, may", TLS_MODE_STARTTLS, TLS_LEVEL_MAY, true, false, false, true },
	{ "clear, encrypt", TLS_MODE_STARTTLS, TLS_LEVEL_ENCRYPT, true, false, false, false },
	{ "clear, verify", TLS_MODE_STARTTLS, TLS_LEVEL_VERIFY, true, false, false, false },
	/* facts of a session that is not this one */
	{ "clear, said to be verified", TLS_MODE_STARTTLS, TLS_LEVEL_VERIFY, true, false, true,
	  false },
	{ "EHLO before TLS", TLS_MODE_STARTTLS, TLS_LEVEL_VERIFY, false, false, false, true },
	{ "EHLO before implicit TLS", TLS_MODE_IMPLICIT, TLS_LEVEL_ENCRYPT, false, false, false,
	  false },
	{ "TLS, encrypt", TLS_MODE_STARTTLS, TLS_LEVEL_ENCRYPT, true, true, false, true },
	{ "TLS, not verified", TLS_MODE_STARTTLS, TLS_LEVEL_VERIFY, true, true, false, false },
	{ "implicit TLS, not verified", TLS_MODE_IMPLICIT, TLS_LEVEL_VERIFY, true, true, false,
	  false },
	{ "TLS, verified", TLS_MODE_STARTTLS, TLS_LEVEL_VERIFY, true, true, true, true },
	{ "login in the clear, none", TLS_MODE_NONE, TLS_LEVEL_NONE, false, false, false, false,
	  true },
	{ "login in the clear, may", TLS_MODE_STARTTLS, TLS_LEVEL_MAY, false, false, false, false,
	  true },
	{ "login over TLS", TLS_MODE_STARTTLS, TLS_LEVEL_MAY, false, true, false, true, true },
	{ "REQUIRETLS in the clear, may", TLS_MODE_STARTTLS, TLS_LEVEL_MAY, true, false, false,
	  false, false, true },
	{ "REQUIRETLS, not verified", TLS_MODE_STARTTLS, TLS_LEVEL_ENCRYPT, true, true, false,
	  false, false, true },
	{ "REQUIRETLS, verified", TLS_MODE_STARTTLS, TLS_LEVEL_ENCRYPT, true, true, true, true,
	  false, true },
};

/* A filter that is open at once, and changes nothing. */
static int open_decode(struct stream_filter *f, struct buf *wire_in, struct buf *input,
		       struct buf *wire_out, struct error *err)
{
	(void)f;
	(void)wire_out;
	(void)err;
	buf_append_slice(input, buf_slice(wire_in));
	buf_clear(wire_in);
	return STREAM_FILTER_OPEN;
}

static int open_encode(struct stream_filter *f, struct buf *output, struct buf *wire_out,
		       struct error *err)
{
	(void)f;
	(void)err;
	buf_append_slice(wire_out, buf_slice(output));
	buf_clear(output);
	return 0;
}

static void open_finish(struct stream_filter *f, struct buf *wire_out)
{
	(void)f;
	(void)wire_out;
}

static void open_free(struct stream_filter *f)
{
	(void)f;
}

static struct stream_filter open_filter = { open_decode, open_encode, open_finish, open_free };

struct scene {
	const struct choke_case *c;
	struct loop *loop;
	struct outbound *outbound;
};

static void say_mail(struct scene *s)
{
	buf_append_string(&s->outbound->commands, "MAIL FROM:<alice@vm1.vm>\r\n");
	outbound_transmit(s->outbound);
	stream_free(s->outbound->stream, 60000);
	s->outbound->stream = NULL;
}

static void on_connected(void *arg)
{
	struct scene *s = arg;

	if (s->c->is_secured)
		stream_set_filter(s->outbound->stream, &open_filter);
	else
		say_mail(s);
}

static void on_secured(void *arg)
{
	say_mail(arg);
}

static void on_closed(void *arg, const struct error *err)
{
	(void)arg;
	(void)err;
	_exit(2);
}

static const struct stream_events events = {
	.connected = on_connected,
	.secured = on_secured,
	.closed = on_closed,
};

/* The child: until the peer has closed, or an assertion ends it. */
static void play(const struct choke_case *c, const struct net_address *address)
{
	struct transport_route route = {
		.mode = c->mode,
		.tls = { .level = c->level },
		.requires_tls = c->requires_tls,
	};
	struct lane lane = { .route = &route };
	struct outbound outbound = { .lane = &lane };
	struct scene scene = { .c = c, .outbound = &outbound };

	outbound.lane_connection.in_flight = c->is_delivering;
	outbound.attempt.tls.verified = c->is_verified;
	if (c->is_logging_in)
		outbound.login = (struct outbound_login *)&scene; /* it is not looked into */
	if (loop_new(&scene.loop, NULL) < 0)
		_exit(2);
	outbound.stream = stream_connect(scene.loop, address, NULL, &events, &scene);
	loop_run(scene.loop);
}

/* All that comes over the one connection. */
static void receive(int listener, char *got, size_t size)
{
	int fd = accept(listener, NULL, NULL);
	size_t len = 0;
	ssize_t n;

	assert_true(fd >= 0);
	while ((n = read(fd, got + len, size - 1 - len)) > 0)
		len += (size_t)n;
	got[len] = '\0';
	close(fd);
}

static void test_choke(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sockaddr_in in = { .sin_family = AF_INET,
					  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		socklen_t len = sizeof(in);
		struct net_address address;
		int listener = socket(AF_INET, SOCK_STREAM, 0), status;
		char got[256];
		pid_t child;

		print_message("%s\n", cases[i].label);
		assert_int_equal(bind(listener, (struct sockaddr *)&in, sizeof(in)), 0);
		assert_int_equal(listen(listener, 1), 0);
		assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
		address = (struct net_address){ .in = in, .len = sizeof(in) };

		child = fork();
		assert_true(child >= 0);
		if (child == 0) {
			const struct rlimit no_core = { 0, 0 };

			setrlimit(RLIMIT_CORE, &no_core);
			close(listener);
			dup2(STDOUT_FILENO,
			     STDERR_FILENO); /* what the assertion says is no error here */
			play(&cases[i], &address);
			_exit(2);
		}
		receive(listener, got, sizeof(got));
		close(listener);
		kill(child,
		     SIGKILL); /* it has closed: an assertion was faster, or there was none */
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_string_equal(got, cases[i].may_go ? "MAIL FROM:<alice@vm1.vm>\r\n" : "");
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), cases[i].may_go ? SIGKILL : SIGABRT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choke),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
