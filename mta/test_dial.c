/* test_dial - which addresses are tried, in what order, and what is told of each */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/macros.h"
#include "mta/dial.h"

#define FULL_BACKLOG 4

/* What the dialler tells, a line for each event, without port numbers. */
struct scene {
	struct loop *loop;
	struct dns *dns;
	struct dial *dial;
	const struct transport_route *route;
	const struct dial_options *options;
	struct buf log;
	unsigned int again; /* so many times the same address once more */
	const char *free_in;
};

static int listen_somewhere(uint16_t *ret_port, int backlog)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	if (backlog >= 0)
		assert_int_equal(listen(fd, backlog), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static bool ends_in(struct scene *s, const char *event)
{
	if (!s->free_in || strcmp(s->free_in, event) != 0)
		return false;
	dial_free(s->dial);
	s->dial = NULL;
	loop_stop(s->loop);
	return true;
}

static void on_connected(void *arg, const struct dial_target *target, struct stream *stream)
{
	struct scene *s = arg;

	buf_printf(&s->log, "connected %td %s %.*s\n", target->hop - s->route->hops, target->host,
		   (int)strcspn(target->relay, ":"), target->relay);
	assert_non_null(target->policy);
	stream_free(stream, 0);
	if (ends_in(s, "connected"))
		return;
	if (s->again > 0) {
		s->again--;
		dial_again(s->dial);
	} else {
		dial_next(s->dial);
	}
}

static void on_failed(void *arg, const struct dial_target *target, const struct smtp_status *why)
{
	struct scene *s = arg;
	char esc[SMTP_ENHANCED_TEXT_SIZE];

	buf_printf(&s->log, "failed %td %s%s\n", target->hop - s->route->hops,
		   smtp_status_enhanced_text(why, esc),
		   target->peer[0] ? strrchr(why->text, ':') : "");
	ends_in(s, "failed");
}

static void on_exhausted(void *arg)
{
	struct scene *s = arg;

	buf_append_string(&s->log, "exhausted\n");
	if (!ends_in(s, "exhausted"))
		loop_stop(s->loop);
}

static const struct dial_events events = {
	.connected = on_connected,
	.failed = on_failed,
	.exhausted = on_exhausted,
};

static const struct dial_options no_options;

static struct scene scene_new(const char *route)
{
	const struct transport_options transport = { .tls.level = TLS_LEVEL_ENCRYPT };
	struct scene s = { .options = &no_options };
	struct error err = { 0 };

	assert_int_equal(transport_parse(&transport, route, "ts:1", &s.route, &err), 0);
	assert_int_equal(loop_new(&s.loop, &err), 0);
	return s;
}

static void play(struct scene *s, const char *servers, const char *expected)
{
	const struct dns_options dns = { .servers = servers, .timeout_ms = 100, .tries = 1 };
	struct dial_options options = *s->options;
	struct error err = { 0 };

	assert_int_equal(dns_new(s->loop, &dns, &s->dns, &err), 0);
	options.loop = s->loop;
	options.dns = s->dns;
	options.route = s->route;
	s->dial = dial_new(&options, &events, s);
	dial_next(s->dial);
	loop_run(s->loop);
	assert_int_equal(buf_len(&s->log), strlen(expected));
	assert_memory_equal(buf_slice(&s->log).ptr, expected, strlen(expected));
	dial_free(s->dial);
	dns_free(s->dns);
	loop_free(s->loop);
	transport_route_unref(s->route);
	buf_done(&s->log);
}

/* One hop that refuses, one whose name cannot be found out, and one that answers. */
static void test_order(void **state)
{
	static const struct {
		struct dial_options options;
		unsigned int again;
		const char *free_in, *expected;
	} cases[] = {
		{ .expected = "failed 0 4.4.1: Connection refused\n"
			      "failed 1 4.4.3\n"
			      "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\n"
			      "exhausted\n" },
		{ .options = { .first_hop = 2 },
		  .again = 1,
		  .expected = "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\n"
			      "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\n"
			      "failed 0 4.4.1: Connection refused\n"
			      "failed 1 4.4.3\n"
			      "exhausted\n" },
		{ .options = { .first_hop = 2, .hop_limit = 2 },
		  .expected = "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\n"
			      "failed 0 4.4.1: Connection refused\n"
			      "exhausted\n" },
		{ .free_in = "failed", .expected = "failed 0 4.4.1: Connection refused\n" },
		{ .options = { .first_hop = 2, .hop_limit = 1 },
		  .free_in = "connected",
		  .expected = "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\n" },
		{ .options = { .first_hop = 2, .hop_limit = 1 },
		  .free_in = "exhausted",
		  .expected = "connected 2 127.0.0.1 127.0.0.1[127.0.0.1]\nexhausted\n" },
	};
	uint16_t port, shut_port;
	int fd = listen_somewhere(&port, 16), shut = listen_somewhere(&shut_port, -1);
	char route[200], servers[40];

	(void)state;
	snprintf(route, sizeof(route), "relay:[127.0.0.1]:%u, [unknown.example]:25, [127.0.0.1]:%u",
		 shut_port, port);
	snprintf(servers, sizeof(servers), "127.0.0.1:%u", shut_port);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct scene s = scene_new(route);

		s.options = &cases[i].options;
		s.again = cases[i].again;
		s.free_in = cases[i].free_in;
		play(&s, servers, cases[i].expected);
	}
	close(fd);
	close(shut);
}

/* The kernel leaves it without an answer when there is no room for more connections. */
static void test_silence(void **state)
{
	static const struct dial_options options = { .connect_timeout_ms = 50 };
	uint16_t port;
	int fd = listen_somewhere(&port, 0), clients[FULL_BACKLOG];
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				       .sin_port = htons(port) };
	char route[100];
	struct scene s;

	(void)state;
	for (size_t i = 0; i < FULL_BACKLOG; i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		connect(clients[i], (struct sockaddr *)&address, sizeof(address));
	}
	snprintf(route, sizeof(route), "relay:[127.0.0.1]:%u", port);
	s = scene_new(route);
	s.options = &options;
	play(&s, "", "failed 0 4.4.1: timed out\nexhausted\n");
	for (size_t i = 0; i < FULL_BACKLOG; i++)
		close(clients[i]);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_order),
		cmocka_unit_test(test_silence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
