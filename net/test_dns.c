/* test_dns - what the resolver makes of answers, and of those that never come */
#include "net/dns.h"
#include "net/test_name_server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/internal.h"

static bool has_ipv6(void)
{
	struct net_address address, bound;
	int fd;

	assert_true(net_address_parse(SLICE("[::1]:0"), &address));
	fd = listener_bind(&address, &bound, NULL);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

struct question {
	struct loop *loop;
	struct dns *dns;
	struct dns_query *query;
	bool is_asking; /* dns_addresses() has not returned */
	bool is_answered, frees_dns;
	enum dns_outcome outcome;
	char addresses[1024], reason[256];
};

static void on_answer(void *arg, const struct dns_answer *answer)
{
	struct question *q = arg;
	char ip[NET_ADDRESS_TEXT_SIZE];

	assert_false(q->is_asking);
	assert_false(q->is_answered);
	q->is_answered = true;
	q->outcome = answer->outcome;
	assert_int_equal(answer->count > 0, answer->outcome == DNS_FOUND);
	assert_int_equal(!answer->reason, answer->outcome == DNS_FOUND);
	for (size_t i = 0; i < answer->count; i++) {
		assert_int_equal(net_address_port(&answer->addresses[i]), 0);
		strcat(strcat(q->addresses, i > 0 ? " " : ""),
		       net_address_ip(&answer->addresses[i], ip));
	}
	snprintf(q->reason, sizeof(q->reason), "%s", answer->reason ? answer->reason : "");
	dns_cancel(q->query); /* as a session does that is freed in here */
	if (q->frees_dns)
		dns_free(q->dns);
	loop_stop(q->loop);
}

static void ask(struct question *q, struct loop *loop, struct dns *dns, const char *host)
{
	*q = (struct question){ .loop = loop, .dns = dns, .is_asking = true };
	q->query = dns_addresses(dns, host, on_answer, q);
	q->is_asking = false;
}

static struct dns *resolver_new(struct loop *loop, const struct server *server, int timeout_ms,
				int tries)
{
	char text[NET_ADDRESS_TEXT_SIZE];
	struct dns_options options = { net_address_text(&server->address, text), timeout_ms,
				       tries };
	struct dns *dns;
	struct error err;

	if (dns_new(loop, &options, &dns, &err) < 0)
		fail_msg("%s", err.text);
	return dns;
}

#define NO_ANSWER "no DNS server gave an answer (server failure or refused)"

static const struct {
	const char *host;
	enum dns_outcome outcome;
	const char *said; /* the addresses, or the reason */
} cases[] = {
	{ "both.example", DNS_FOUND, "::1 127.0.0.1 127.0.0.2" },
	{ "BOTH.Example.", DNS_FOUND, "::1 127.0.0.1 127.0.0.2" },
	{ "ipv4.example", DNS_FOUND, "127.0.0.1" },
	{ "ipv6.example", DNS_FOUND, "::1" },
	{ "ipv4-servfail.example", DNS_FOUND, "127.0.0.1" },
	{ "ipv4", DNS_FOUND, "127.0.0.1" }, /* no search list */
	{ "nodata.example", DNS_NOT_FOUND, "nodata.example: name has no address" },
	{ "nxdomain.example", DNS_NOT_FOUND, "nxdomain.example: name not found" },
	{ "servfail.example", DNS_FAILED, "servfail.example: " NO_ANSWER },
	{ "refused.example", DNS_FAILED, "refused.example: " NO_ANSWER },
	{ "notauth.example", DNS_FAILED, "notauth.example: broken answer from DNS" },
	{ "broken.example", DNS_FAILED, "broken.example: broken answer from DNS" },

	/* One of two that failed may have had an address: never permanent. */
	{ "servfail-nodata.example", DNS_FAILED, "servfail-nodata.example: " NO_ANSWER },
	{ "nodata-servfail.example", DNS_FAILED, "nodata-servfail.example: " NO_ANSWER },
	{ "servfail-nxdomain.example", DNS_FAILED, "servfail-nxdomain.example: " NO_ANSWER },
	{ "silent.example", DNS_FAILED, "silent.example: no answer from DNS in time" },
	{ "ipv4-silent.example", DNS_FOUND, "127.0.0.1" },

	/* Without a question to the server. */
	{ "192.0.2.7", DNS_FOUND, "192.0.2.7" },
	{ "2001:db8::7", DNS_FOUND, "2001:db8::7" },
	{ "", DNS_NOT_FOUND, ": name not found" },
	{ ".", DNS_NOT_FOUND, ".: name not found" },
	{ "a..b", DNS_NOT_FOUND, "a..b: name not found" },
	{ "label-of-64-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example",
	  DNS_NOT_FOUND,
	  "label-of-64-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example: name not "
	  "found" },
};

static void test_answers(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].outcome == DNS_FOUND && !has_ipv6() && strchr(cases[i].said, ' '))
			continue; /* the order is another one there */
		ask(&q, loop, dns, cases[i].host);
		RUN_UNTIL(loop, q.is_answered);
		if (q.outcome != cases[i].outcome ||
		    strcmp(q.outcome == DNS_FOUND ? q.addresses : q.reason, cases[i].said) != 0)
			fail_msg("\"%s\": outcome %d, \"%s\" %s", cases[i].host, q.outcome,
				 q.addresses, q.reason);
	}
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_tcp(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 5000, 2);
	ask(&q, loop, dns, "truncated.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_string_equal(q.addresses, "127.0.0.1 127.0.0.2 127.0.0.3");
	assert_int_equal(server.tcp_queries, 1);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_at_once(void **state)
{
	struct loop *loop = test_start();
	struct question questions[50];
	unsigned int count = 0;
	char host[64];
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 2);
	for (; server_behaviour(count); count++) {
		assert_true(count < ARRAY_SIZE(questions));
		snprintf(host, sizeof(host), "%s.example", server_behaviour(count));
		ask(&questions[count], loop, dns, host);
	}
	for (size_t i = 0; i < count; i++)
		RUN_UNTIL(loop, questions[i].is_answered);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_hosts_file(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 1);
	ask(&q, loop, dns, "localhost");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FOUND);
	assert_non_null(strstr(q.addresses, "127.0.0.1"));
	assert_int_equal(server.queries, 0);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_cancel(void **state)
{
	struct loop *loop = test_start();
	struct question waiting, literal, other, unanswered;
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 20, 1);

	/* On its way, answered by the server, answered without it, and never. */
	ask(&waiting, loop, dns, "silent.example");
	dns_cancel(waiting.query);
	ask(&literal, loop, dns, "192.0.2.7");
	dns_cancel(literal.query);
	ask(&other, loop, dns, "both.example");
	dns_cancel(other.query);
	ask(&unanswered, loop, dns, "silent.example");
	RUN_UNTIL(loop, unanswered.is_answered);
	assert_false(waiting.is_answered || literal.is_answered || other.is_answered);
	dns_cancel(NULL);

	/* dns_free() drops what runs; once also from inside an answer. */
	ask(&waiting, loop, dns, "silent.other.example");
	ask(&literal, loop, dns, "192.0.2.7");
	ask(&other, loop, dns, "ipv4.example");
	literal.frees_dns = true;
	RUN_UNTIL(loop, literal.is_answered);
	assert_false(waiting.is_answered || other.is_answered);
	dns_free(NULL);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

/*
 * Nobody listens there: the next server is asked. (The kernel says so at once,
 * but of two queries that leave together c-ares learns it for one only.)
 */
static void test_next_server(void **state)
{
	struct loop *loop = test_start();
	struct net_address unused;
	char text[2][NET_ADDRESS_TEXT_SIZE], servers[256];
	struct dns_options options = { servers, 100, 1 };
	struct server server;
	struct question q;
	struct error err;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	unused = server.address;
	server_stop(&server);
	server_start(&server, loop);
	snprintf(servers, sizeof(servers), " %s,  %s ", net_address_text(&unused, text[0]),
		 net_address_text(&server.address, text[1]));
	assert_int_equal(dns_new(loop, &options, &dns, &err), 0);
	ask(&q, loop, dns, "ipv4.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FOUND);
	dns_free(dns);

	/* With that one alone there is no answer. */
	snprintf(servers, sizeof(servers), "%s", text[0]);
	assert_int_equal(dns_new(loop, &options, &dns, &err), 0);
	ask(&q, loop, dns, "ipv4.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FAILED);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_servers_option(void **state)
{
	static const struct {
		const char *servers, *error; /* NULL: right */
	} options[] = {
		{ NULL, NULL },
		{ "", NULL },
		{ "192.0.2.1", NULL },
		{ "192.0.2.1:5300, [2001:db8::1]:53 [2001:db8::1]\t2001:db8::1", NULL },
		{ "ns.example", "resolver: \"ns.example\": expected ADDRESS or ADDRESS:PORT" },
		{ "192.0.2.1, 192.0.2.2:dns",
		  "resolver: \"192.0.2.2:dns\": expected ADDRESS or ADDRESS:PORT" },
	};
	struct loop *loop = test_start();
	struct error err;
	struct dns *dns;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct dns_options o = { .servers = options[i].servers };
		int r = dns_new(loop, &o, &dns, &err);

		if ((r == 0) != !options[i].error)
			fail_msg("%s", options[i].servers);
		if (r == 0)
			dns_free(dns);
		else
			assert_string_equal(err.text, options[i].error);
	}
	test_end(loop, NULL, NULL);
}

/* RFC 6724, as far as it can be seen on any machine: loopback is all that surely can be reached. */
struct secure {
	struct loop *loop;
	struct dns_query *query;
	char said[256];
};

static void on_secure(void *arg, const struct dns_answer *answer)
{
	struct secure *s = arg;

	snprintf(s->said, sizeof(s->said), "%d %zu %s %s", answer->outcome, answer->count,
		 answer->is_secure ? "secure" : "insecure", answer->canonical);
	dns_cancel(s->query);
	loop_stop(s->loop);
}

static void on_tlsa(void *arg, const struct dns_tlsa_answer *answer)
{
	struct secure *s = arg;
	int n = snprintf(s->said, sizeof(s->said), "%d %s", answer->outcome,
			 answer->is_secure ? "secure" : "insecure");

	for (size_t i = 0; i < answer->count; i++)
		n += snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %d/%d/%d %zu:%02x",
			      answer->records[i].usage, answer->records[i].selector,
			      answer->records[i].matching, answer->records[i].data.len,
			      (unsigned char)answer->records[i].data.ptr[31]);
	if (answer->reason)
		snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %s", answer->reason);
	loop_stop(s->loop);
}

/* Only a server that was asked for it, and that is on this host, can make an answer secure. */
static void test_secure(void **state)
{
	static const struct {
		const char *host, *addresses, *tlsa;
	} secure_cases[] = {
		{ "signed.example", "1 1 secure signed.example",
		  "1 secure 3/1/1 32:a0 3/1/1 32:a1" },
		{ "unsigned.example", "1 1 insecure unsigned.example",
		  "1 insecure 3/1/1 32:a0 3/1/1 32:a1" },
		{ "notlsa.example", "1 1 secure notlsa.example",
		  "2 secure _25._tcp.notlsa.example: name has no TLSA record" },
		{ "notlsaname.example", "1 1 secure notlsaname.example",
		  "2 secure _25._tcp.notlsaname.example: name not found" },
		{ "bogus.example", "1 1 secure bogus.example",
		  "3 insecure _25._tcp.bogus.example: " NO_ANSWER },
		{ "alias.example", "1 1 secure real.example", "1 secure 3/1/1 32:a0" },
		{ "cut.example", "1 1 secure cut.example",
		  "3 insecure _25._tcp.cut.example: broken answer from DNS" },
		{ "short.example", "1 1 secure short.example",
		  "3 insecure _25._tcp.short.example: broken answer from DNS" },
		{ "127.0.0.1", "1 1 insecure 127.0.0.1", NULL },
		{ "localhost", NULL, NULL },
	};
	struct loop *loop = test_start();
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(secure_cases); i++) {
		struct secure s = { .loop = loop };
		char name[64];

		s.query = dns_secure_addresses(dns, secure_cases[i].host, on_secure, &s);
		while (!s.said[0])
			loop_run(loop);
		if (secure_cases[i].addresses)
			assert_string_equal(s.said, secure_cases[i].addresses);
		else
			assert_non_null(strstr(s.said, " insecure "));
		if (!secure_cases[i].tlsa)
			continue;
		s.said[0] = '\0';
		snprintf(name, sizeof(name), "_25._tcp.%s", secure_cases[i].host);
		dns_tlsa(dns, name, on_tlsa, &s);
		while (!s.said[0])
			loop_run(loop);
		assert_string_equal(s.said, secure_cases[i].tlsa);
	}
	/* Those that run are dropped with the resolver. */
	dns_tlsa(dns, "_25._tcp.signed.example", on_tlsa, NULL);
	dns_secure_addresses(dns, "signed.example", on_secure, NULL);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_local_servers(void **state)
{
	(void)state;
	assert_true(dns_servers_are_local("127.0.0.1"));
	assert_true(dns_servers_are_local("127.0.0.53:5300, [::1]:53 ::1"));
	assert_false(dns_servers_are_local("192.0.2.1"));
	assert_false(dns_servers_are_local("127.0.0.1, 192.0.2.1"));
	assert_false(dns_servers_are_local("[2001:db8::1]"));
	assert_false(dns_servers_are_local("what?"));
}

static void test_order(void **state)
{
	static const char *const ips[] = { "192.0.2.1", "127.0.0.2", "2001:db8::1", "127.0.0.1",
					   "::1" };
	struct net_address addresses[ARRAY_SIZE(ips)];
	char text[NET_ADDRESS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++)
		assert_true(net_address_parse_ip(slice_from(ips[i]), 0, &addresses[i]));
	net_order_addresses(addresses, ARRAY_SIZE(ips));
	if (!has_ipv6())
		skip();
	assert_string_equal(net_address_ip(&addresses[0], text), "::1");
	net_order_addresses(addresses, 0);
	net_order_addresses(NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		if (strcmp(net_address_ip(&addresses[i], text), "127.0.0.2") == 0)
			assert_string_equal(net_address_ip(&addresses[i + 1], text), "127.0.0.1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_hosts_file),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_next_server),
		cmocka_unit_test(test_servers_option),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_local_servers),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
