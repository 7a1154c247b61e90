/* test_mx - which hosts a next hop has, and in what order */
#include "net/test_name_server.h"
#include "transport/mx.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define TIMES 64 /* that chance leaves out one of two orders so often is no chance */

struct scene {
	struct loop *loop;
	struct server server;
	struct dns *dns;
	struct transport_mx *mx;
	char said[256];
	bool is_asking;
};

static void on_hosts(void *arg, const struct transport_hosts *hosts)
{
	struct scene *s = arg;
	int n = snprintf(s->said, sizeof(s->said), "%d", hosts->outcome);

	assert_false(s->is_asking);
	for (size_t i = 0; i < hosts->count; i++)
		n += snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %u:%s",
			      hosts->hosts[i].preference, hosts->hosts[i].name);
	if (hosts->reason)
		snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %s", hosts->reason);
	transport_mx_cancel(s->mx); /* as one does who is freed in here */
	loop_stop(s->loop);
}

static void start(struct scene *s)
{
	struct dns_options options = { .timeout_ms = 5000, .tries = 1 };
	char text[NET_ADDRESS_TEXT_SIZE];
	struct error err;

	*s = (struct scene){ .loop = test_start() };
	server_start(&s->server, s->loop);
	options.servers = net_address_text(&s->server.address, text);
	assert_int_equal(dns_new(s->loop, &options, &s->dns, &err), 0);
}

static void end(struct scene *s)
{
	dns_free(s->dns);
	server_stop(&s->server);
	test_end(s->loop, NULL, NULL);
}

/* The route of mail for user@domain by this default_transport. */
static const struct transport_route *route_of(const char *how, const char *domain)
{
	const struct transport_options options = { .default_transport = how };
	const struct transport_route *route;
	struct transport *transport;
	char address[100];
	struct error err;

	assert_int_equal(transport_new(&options, &transport, &err), 0);
	snprintf(address, sizeof(address), "user@%s", domain);
	assert_int_equal(transport_resolve(transport, address, &route, &err), 0);
	transport_free(transport);
	return route;
}

static void ask(struct scene *s, const char *how, const char *domain)
{
	const struct transport_route *route = route_of(how, domain);

	s->said[0] = '\0';
	s->is_asking = true;
	s->mx = transport_find_hosts(s->dns, route, &route->hops[0], on_hosts, s);
	s->is_asking = false;
	transport_route_unref(route); /* it has its own */
	RUN_UNTIL(s->loop, s->said[0]);
}

static void test_hosts(void **state)
{
	static const struct {
		const char *how, *domain, *said;
		unsigned int questions;
	} cases[] = {
		{ "smtp", "mx.example", "1 10:mx1.example 20:mx2.example", 1 },
		{ "smtp", "nodata.example", "1 0:nodata.example", 1 },
		{ "smtp", "nullmx.example",
		  "2 nullmx.example: domain does not accept mail (null MX)", 1 },
		{ "smtp", "nxdomain.example", "3 nxdomain.example: name not found", 1 },
		{ "smtp", "notauth.example", "4 notauth.example: broken answer from DNS", 1 },
		/* What the operator says: */
		{ "relay:mx.example.", "x.example", "1 10:mx1.example 20:mx2.example", 0 },
		{ "relay:nxdomain.example", "x.example", "1 0:nxdomain.example", 1 },
		{ "relay:[mx.example]", "x.example", "1 0:mx.example", 0 },
		{ "relay:[192.0.2.1]", "x.example", "1 0:192.0.2.1", 0 },
		{ "relay:localhost", "x.example", "1 0:localhost", 0 }, /* of /etc/hosts */
	};
	struct scene s;

	(void)state;
	start(&s);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int asked = s.server.queries;

		ask(&s, cases[i].how, cases[i].domain);
		assert_string_equal(s.said, cases[i].said);
		assert_int_equal(s.server.queries - asked, cases[i].questions);
	}
	end(&s);
}

static void test_chance(void **state)
{
	unsigned int first = 0;
	struct scene s;

	(void)state;
	start(&s);
	for (unsigned int i = 0; i < TIMES; i++) {
		ask(&s, "smtp", "equalmx.example");
		if (strcmp(s.said, "1 10:a.example 10:b.example 20:c.example") == 0)
			first++;
		else
			assert_string_equal(s.said, "1 10:b.example 10:a.example 20:c.example");
	}
	assert_in_range(first, 1, TIMES - 1);
	end(&s);
}

static void test_cancel(void **state)
{
	const struct transport_route *asked = route_of("smtp", "mx.example");
	const struct transport_route *named = route_of("relay:[hub.example]", "mx.example");
	struct scene s;

	(void)state;
	start(&s);
	transport_mx_cancel(transport_find_hosts(s.dns, asked, &asked->hops[0], on_hosts, &s));
	transport_mx_cancel(transport_find_hosts(s.dns, named, &named->hops[0], on_hosts, &s));
	transport_mx_cancel(NULL);
	ask(&s, "smtp", "nodata.example");
	assert_string_equal(s.said, "1 0:nodata.example");
	transport_route_unref(asked);
	transport_route_unref(named);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hosts),
		cmocka_unit_test(test_chance),
		cmocka_unit_test(test_cancel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
