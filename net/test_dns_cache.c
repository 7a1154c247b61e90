/*
 * test_dns_cache - what is asked, what is kept and for how long, on a clock of
 * the test's own; and mail exchangers
 */
#include "net/dns_cache.h"
#include "net/test_name_server.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"

struct hand_clock {
	struct clock clock;
	int64_t now_ms;
};

static int64_t read_clock(const struct clock *clock)
{
	return CONTAINER_OF(clock, struct hand_clock, clock)->now_ms;
}

struct scene {
	struct loop *loop;
	struct server server;
	struct hand_clock clock;
	struct dns *dns;
	unsigned int answers;
	char said[256]; /* by the last answer */
};

static void scene_start(struct scene *s, const struct dns_options *with)
{
	struct dns_options options = *with;
	char text[NET_ADDRESS_TEXT_SIZE];
	struct error err;

	*s = (struct scene){ .loop = test_start() };
	s->clock = (struct hand_clock){ .clock.mono_ms = read_clock, .now_ms = 1000 };
	server_start(&s->server, s->loop);
	options.servers = net_address_text(&s->server.address, text);
	options.clock = &s->clock.clock;
	if (dns_new(s->loop, &options, &s->dns, &err) < 0)
		fail_msg("%s", err.text);
}

static void scene_end(struct scene *s)
{
	dns_free(s->dns);
	server_stop(&s->server);
	test_end(s->loop, NULL, NULL);
}

static void on_addresses(void *arg, const struct dns_answer *answer)
{
	struct scene *s = arg;
	char ip[NET_ADDRESS_TEXT_SIZE];

	s->answers++;
	snprintf(s->said, sizeof(s->said), "%s", answer->reason ? answer->reason : "");
	for (size_t i = 0; i < answer->count; i++)
		strcat(strcat(s->said, i > 0 ? " " : ""),
		       net_address_ip(&answer->addresses[i], ip));
	loop_stop(s->loop);
}

static void on_mx(void *arg, const struct dns_mx_answer *answer)
{
	struct scene *s = arg;
	int n = snprintf(s->said, sizeof(s->said), "%d%s", answer->outcome,
			 answer->is_name_unknown ? " unknown" : "");

	s->answers++;
	for (size_t i = 0; i < answer->count; i++)
		n += snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %u:%s",
			      answer->records[i].preference, answer->records[i].exchange);
	if (answer->reason)
		snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %s", answer->reason);
	loop_stop(s->loop);
}

static void ask(struct scene *s, const char *host)
{
	unsigned int before = s->answers;

	dns_addresses(s->dns, host, on_addresses, s);
	RUN_UNTIL(s->loop, s->answers > before);
}

/* Asked of the server again after so many milliseconds, and not before. */
static void test_lifetime(void **state)
{
	static const struct {
		const char *host;
		int64_t lifetime_ms;
	} cases[] = {
		{ "both.example", 60000 },
		{ "soa.example", 30000 },
		{ "notauth.example", 5000 }, /* a failure */
	};
	const struct dns_options options = { .timeout_ms = 5000, .tries = 1 };
	struct scene s;

	(void)state;
	scene_start(&s, &options);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int asked = s.server.queries;
		char first[256];

		ask(&s, cases[i].host);
		assert_int_equal(s.server.queries, asked + 2);
		snprintf(first, sizeof(first), "%s", s.said);
		s.clock.now_ms += cases[i].lifetime_ms - 1;
		ask(&s, cases[i].host);
		assert_int_equal(s.server.queries, asked + 2);
		assert_string_equal(s.said, first);
		s.clock.now_ms += 1;
		ask(&s, cases[i].host);
		assert_int_equal(s.server.queries, asked + 4);
		assert_string_equal(s.said, first);
	}
	ask(&s, "nodata.example"); /* without a SOA nobody says for how long */
	ask(&s, "nodata.example");
	assert_int_equal(s.server.queries, 16);

	ask(&s, "both.example"); /* which is known */
	assert_int_equal(s.server.queries, 16);
	dns_forget(s.dns);
	ask(&s, "both.example");
	assert_int_equal(s.server.queries, 18);
	scene_end(&s);
}

/* Case and a final dot are no difference; what is secure is asked for itself. */
static void test_shared(void **state)
{
	const struct dns_options options = { .timeout_ms = 5000, .tries = 1 };
	struct dns_query *dropped;
	struct scene s;

	(void)state;
	scene_start(&s, &options);
	dropped = dns_addresses(s.dns, "ipv4.example", on_addresses, &s);
	dns_addresses(s.dns, "IPV4.example", on_addresses, &s);
	dns_addresses(s.dns, "ipv4.example.", on_addresses, &s);
	dns_cancel(dropped); /* the others need the question that it has asked */
	RUN_UNTIL(s.loop, s.answers == 2);
	assert_string_equal(s.said, "127.0.0.1");
	assert_int_equal(s.server.queries, 2);
	dns_secure_addresses(s.dns, "ipv4.example", on_addresses, &s);
	RUN_UNTIL(s.loop, s.answers == 3);
	assert_int_equal(s.server.queries, 4);
	scene_end(&s);
}

/* Who has the addresses of one family goes on without those of the other. */
static void test_silent_family(void **state)
{
	const struct dns_options options = { .timeout_ms = 600000, .tries = 1, .limit_ms = 300000 };
	struct scene s;

	(void)state;
	scene_start(&s, &options);
	ask(&s, "ipv4-silent.example"); /* the alarm of the test comes first */
	assert_string_equal(s.said, "127.0.0.1");
	scene_end(&s);
}

static void test_limit(void **state)
{
	const struct dns_options options = { .timeout_ms = 600000, .tries = 1, .limit_ms = 20 };
	struct scene s;

	(void)state;
	scene_start(&s, &options);
	ask(&s, "silent.example");
	assert_string_equal(s.said, "silent.example: no answer from DNS in time");
	RUN_UNTIL(s.loop, s.server.queries == 2); /* perhaps they came later than the limit */
	/* c-ares still waits: the next one waits with it. */
	ask(&s, "silent.example");
	assert_string_equal(s.said, "silent.example: no answer from DNS in time");
	assert_int_equal(s.server.queries, 2);
	scene_end(&s);
}

static void test_protocols(void **state)
{
	static const struct {
		enum net_protocols protocols;
		const char *host, *said;
		unsigned int questions;
	} cases[] = {
		{ NET_PROTOCOLS_IPV4, "both.example", "127.0.0.1 127.0.0.2", 1 },
		{ NET_PROTOCOLS_IPV6, "both.example", "::1", 1 },
		{ NET_PROTOCOLS_IPV4, "ipv6.example", "ipv6.example: name has no IPv4 address", 1 },
		{ NET_PROTOCOLS_IPV6, "ipv4.example", "ipv4.example: name has no IPv6 address", 1 },
		{ NET_PROTOCOLS_IPV4, "192.0.2.1", "192.0.2.1", 0 },
		{ NET_PROTOCOLS_IPV4, "::1",
		  "::1: inet_protocols leaves out addresses of this kind", 0 },
		{ NET_PROTOCOLS_IPV6, "127.0.0.1",
		  "127.0.0.1: inet_protocols leaves out addresses of this kind", 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct dns_options options = { .protocols = cases[i].protocols };
		struct scene s;

		scene_start(&s, &options);
		ask(&s, cases[i].host);
		assert_string_equal(s.said, cases[i].said);
		assert_int_equal(s.server.queries, cases[i].questions);
		scene_end(&s);
	}
}

static void test_mx(void **state)
{
	static const struct {
		const char *domain, *said;
	} cases[] = {
		{ "mx.example", "1 20:mx2.example 10:mx1.example" },
		{ "nullmx.example", "1 0:" },
		{ "nodata.example", "2 nodata.example: name has no mail exchanger" },
		{ "nxdomain.example", "2 unknown nxdomain.example: name not found" },
		{ "notauth.example", "3 notauth.example: broken answer from DNS" },
		{ "brokenmx.example", "3 brokenmx.example: broken answer from DNS" },
		{ "a..b", "2 unknown a..b: name not found" },
	};
	const struct dns_options options = { .timeout_ms = 5000, .tries = 1 };
	struct scene s;

	(void)state;
	scene_start(&s, &options);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned int before = s.answers;

		dns_mx(s.dns, cases[i].domain, i % 2, on_mx, &s);
		RUN_UNTIL(s.loop, s.answers > before);
		assert_string_equal(s.said, cases[i].said);
	}
	assert_true(dns_is_in_hosts_file(s.dns, "localhost"));
	assert_false(dns_is_in_hosts_file(s.dns, "mx.example"));
	dns_mx(s.dns, "mx.example", false, on_mx, &s); /* dropped with the resolver */
	scene_end(&s);
}

/* What was used last stays, and who holds an entry keeps it. */
static void test_bounds(void **state)
{
	struct dns_entry *entries[3], *held;
	struct dns_cache cache;

	(void)state;
	dns_cache_init(&cache, 2);
	for (int i = 0; i < 3; i++) {
		char key[2] = { (char)('a' + i), '\0' };

		assert_null(dns_cache_find(&cache, key, 0));
		entries[i] = dns_cache_add(&cache, key);
		entries[i]->records = (struct dns_records){ .has_ttl = true, .ttl_s = 10 };
		assert_ptr_equal(dns_cache_find(&cache, key, 0), entries[i]); /* under way */
		if (i == 2) {
			held = dns_entry_ref(dns_cache_find(&cache, "b", 0));
			dns_cache_find(&cache, "a", 0);
		}
		dns_cache_keep(&cache, entries[i], 0);
	}
	assert_non_null(dns_cache_find(&cache, "a", 9999));
	assert_null(dns_cache_find(&cache, "b", 9999));
	assert_non_null(dns_cache_find(&cache, "c", 9999));
	assert_true(held->is_known);
	dns_entry_unref(held);
	assert_null(dns_cache_find(&cache, "a", 10000));
	dns_cache_done(&cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lifetime),      cmocka_unit_test(test_shared),
		cmocka_unit_test(test_silent_family), cmocka_unit_test(test_limit),
		cmocka_unit_test(test_protocols),     cmocka_unit_test(test_mx),
		cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
