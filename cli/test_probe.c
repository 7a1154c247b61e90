/* test_probe - next hops that never answer; all others are in test_explain_probe.py */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "cli/probe.h"

#define PATIENCE_MS 200 /* that of the probe; a slow machine only makes the test longer */

/* Takes connections, as the kernel does it, and never answers. */
static int listen_mutely(uint16_t *ret_port)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(fd, 16), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	*ret_port = ntohs(address.sin_port);
	return fd;
}

static const struct {
	const char *route; /* before the port */
	bool ok;
	const char *error;
} cases[] = {
	{ "relay:127.0.0.1", false, "timed out while receiving the initial server greeting" },
	{ "relay-smtps:127.0.0.1", false, "cannot start TLS: timed out" },
};

static void test_mute(void **state)
{
	const struct tls_context_options tls = { .identity = NULL };
	struct mta_options options = { .hello = "probe.example" };
	const struct transport_options transport = { .tls.level = TLS_LEVEL_ENCRYPT };
	struct error err = { 0 };
	uint16_t port;
	int fd = listen_mutely(&port);

	(void)state;
	assert_int_equal(tls_context_new_client(&tls, &options.client_tls, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct transport_route *route = NULL;
		struct probe_result result;
		char value[64];

		snprintf(value, sizeof(value), "%s:%u", cases[i].route, port);
		assert_int_equal(transport_parse(&transport, value, "ts:1", &route, &err), 0);
		assert_int_equal(
			probe_next_hop(&options, route, 0, false, PATIENCE_MS, &result, &err), 0);
		assert_int_equal(result.ok, cases[i].ok);
		assert_string_equal(result.error, cases[i].error);
		assert_false(result.encrypted);
		probe_result_done(&result);
		transport_route_unref(route);
	}
	tls_context_unref(options.client_tls);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
