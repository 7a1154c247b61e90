/* test_explain_text - what people get to read, of each kind of explanation */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "cli/explain.h"

static const struct transport_options options = {
	.default_transport = "smtp",
	.tls = { .level = TLS_LEVEL_ENCRYPT, .source = "main.conf:7" },
	.can_verify = true,
	.has_local_dns = true,
};

static const struct transport_route *parse(const char *value)
{
	const struct transport_route *route = NULL;
	struct error err = { 0 };

	if (transport_parse(&options, value, "ts:2", &route, &err) < 0)
		fail_msg("%s: %s", value, err.text);
	return route;
}

/* Consumes the explanation. */
static void expect(struct explanation *e, const char *want)
{
	CLEANUP(free_strp) char *got = NULL;
	struct buf out = { 0 };

	explain_text(e, 0, &out);
	transport_route_unref(e->route);
	got = buf_steal_string(&out);
	if (strcmp(got, want) != 0)
		fail_msg("got\n%s", got);
}

static void test_relay(void **state)
{
	static const char *const first_names[] = { "a.example", ".vm" };
	static const char *const second_names[] = { "192.0.2.1", ".vm" };
	const struct transport_route *route =
		parse("relay:[a.example], [192.0.2.1]:26 tls=verify match=nexthop:.vm "
		      "servername=sni.example protocols=>=TLSv1.3");
	struct explain_hop hops[] = {
		{ &route->hops[0], first_names, 2 },
		{ &route->hops[1], second_names, 2 },
	};
	struct explain_step found = { NULL,	"transport_maps", "hash:ts",
				      "vm2.vm", "relay:...",	  "ts:2" };
	struct explain_step missed = {
		&found, "transport_maps", "hash:ts", "b@vm2.vm", NULL, NULL
	};
	struct explain_step local = { &missed, "local", "", "vm2.vm", NULL, NULL };
	struct explanation e = {
		.address = "b@vm2.vm",
		.first = &local,
		.route = route,
		.senders = { .anybody = true, .source = "main.conf:3" },
		.action = EXPLAIN_RELAY,
		.source = route->source,
		.hops = hops,
		.hop_count = 2,
	};

	(void)state;
	expect(&e, "b@vm2.vm\n"
		   "  taken from   anybody, relay_domains as of main.conf:3\n"
		   "  lookups      local domains  vm2.vm    no\n"
		   "               hash:ts        b@vm2.vm  no\n"
		   "               hash:ts        vm2.vm    ts:2: relay:...\n"
		   "  action       relay by relay:, as of ts:2\n"
		   "  next hops    1. [a.example]:25\n"
		   "               2. [192.0.2.1]:26\n"
		   "  TLS          STARTTLS\n"
		   "  level        verify, as of ts:2\n"
		   "  protocols    TLSv1.3\n"
		   "  asks for     sni.example\n"
		   "  names        a.example, .vm\n"
		   "               192.0.2.1, .vm of [192.0.2.1]:26\n"
		   "  if           no STARTTLS is offered    mail waits, nothing is sent\n"
		   "               the handshake fails       mail waits, nothing is sent\n"
		   "               the peer is not verified  mail waits, nothing is sent\n");
}

/* Who logs in, as of what; and where TLS could be without, that it waits all the same. */
static void test_login(void **state)
{
	const struct transport_route *route = parse("relay:[a], [b] tls=may");
	struct explain_hop hops[] = {
		{ .hop = &route->hops[0], .login = "joe\n", .login_source = "sasl_passwd:3" },
		{ .hop = &route->hops[1] },
	};
	struct explanation e = {
		.address = "b@vm2.vm",
		.route = transport_route_ref(route),
		.senders = { .anybody = true, .source = "main.conf:3" },
		.action = EXPLAIN_RELAY,
		.source = route->source,
		.hops = hops,
		.hop_count = 2,
	};

	(void)state;
	expect(&e,
	       "b@vm2.vm\n"
	       "  taken from   anybody, relay_domains as of main.conf:3\n"
	       "  action       relay by relay:, as of ts:2\n"
	       "  next hops    1. [a]:25\n"
	       "               2. [b]:25\n"
	       "  logs in      1. as joe , as of sasl_passwd:3\n"
	       "  TLS          STARTTLS\n"
	       "  level        may, as of ts:2\n"
	       "  protocols    TLSv1.2 or TLSv1.3\n"
	       "  names         (recorded only)\n"
	       "  if           no STARTTLS is offered    mail goes in the clear where nobody logs "
	       "in, else it waits\n"
	       "               the handshake fails       mail goes in the clear where nobody logs "
	       "in, else it waits\n"
	       "               the peer is not verified  mail goes encrypted, which is recorded\n");
	e.hop_count = 1;
	e.route = route;
	expect(&e,
	       "b@vm2.vm\n"
	       "  taken from   anybody, relay_domains as of main.conf:3\n"
	       "  action       relay by relay:, as of ts:2\n"
	       "  next hop     [a]:25\n"
	       "  logs in      as joe , as of sasl_passwd:3\n"
	       "  TLS          STARTTLS\n"
	       "  level        may, as of ts:2\n"
	       "  protocols    TLSv1.2 or TLSv1.3\n"
	       "  names         (recorded only)\n"
	       "  if           no STARTTLS is offered    mail waits, nothing is sent\n"
	       "               the handshake fails       mail waits, nothing is sent\n"
	       "               the peer is not verified  mail goes encrypted, which is recorded\n");
}

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct {
	const char *value, *consequences;
} levels[] = {
	{ "relay:[a] tls=none", "  TLS          none, all is sent in the clear\n"
				"  level        none, as of ts:2\n" },
	{ "relay:[a] tls=may",
	  "  TLS          STARTTLS\n"
	  "  level        may, as of ts:2\n"
	  "  protocols    TLSv1.2 or TLSv1.3\n"
	  "  names        a (recorded only)\n"
	  "  if           no STARTTLS is offered    mail goes in the clear\n"
	  "               the handshake fails       mail goes in the clear, over a new connection\n"
	  "               the peer is not verified  mail goes encrypted, which is recorded\n" },
	{ "relay:[a] tls=fingerprint fingerprint=sha256:" DIGEST,
	  "  TLS          STARTTLS\n"
	  "  level        fingerprint, as of ts:2\n"
	  "  protocols    TLSv1.2 or TLSv1.3\n"
	  "  accepts      sha256:" DIGEST "\n"
	  "  if           no STARTTLS is offered    mail waits, nothing is sent\n"
	  "               the handshake fails       mail waits, nothing is sent\n"
	  "               the peer is not verified  mail waits, nothing is sent\n" },
	{ "relay-smtps:[a]",
	  "  TLS          implicit, from the first byte\n"
	  "  level        encrypt, as of main.conf:7\n"
	  "  protocols    TLSv1.2 or TLSv1.3\n"
	  "  names        a (recorded only)\n"
	  "  if           the handshake fails       mail waits, nothing is sent\n"
	  "               the peer is not verified  mail goes encrypted, which is recorded\n" },
	{ "relay:[a] tls=dane",
	  "  TLS          STARTTLS\n"
	  "  level        dane, as of ts:2\n"
	  "  protocols    TLSv1.2 or TLSv1.3\n"
	  "  asks DNS     TLSA of _25._tcp.a\n"
	  "  if           there are signed records  the peer is verified by them, else mail waits\n"
	  "               none of them can be used  as level encrypt\n"
	  "               there are none            as level may: mail may go in the clear\n"
	  "               DNS can't tell            mail waits, nothing is sent\n" },
	{ "relay-smtps:[a] tls=dane-only",
	  "  TLS          implicit, from the first byte\n"
	  "  level        dane-only, as of ts:2\n"
	  "  protocols    TLSv1.2 or TLSv1.3\n"
	  "  asks DNS     TLSA of _465._tcp.a\n"
	  "  if           there are signed records  the peer is verified by them, else mail waits\n"
	  "               none of them can be used  mail waits, nothing is sent\n"
	  "               there are none            mail waits, nothing is sent\n"
	  "               DNS can't tell            mail waits, nothing is sent\n" },
};

/* No level, and nothing that could fail. */
static void test_socket(void **state)
{
	const struct transport_route *route = parse("lmtp:unix:/run/lmtp");
	struct explain_hop hop = { &route->hops[0] };
	struct explanation e = {
		.address = "u@vm",
		.route = route,
		.senders = { .users = true, .source = "" },
		.source = "",
		.hops = &hop,
		.hop_count = 1,
	};

	(void)state;
	expect(&e, "u@vm\n"
		   "  taken from   users that log in\n"
		   "  action       relay by lmtp:\n"
		   "  next hop     unix:/run/lmtp\n"
		   "  TLS          none, as a UNIX socket crosses no network\n");
}

static void test_levels(void **state)
{
	static const char *const names[] = { "a" };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
		const struct transport_route *route = parse(levels[i].value);
		struct explain_hop hop = { &route->hops[0], names, 1 };
		struct explanation e = {
			.address = "u@vm",
			.route = route,
			.senders = { .users = true, .source = "" },
			.source = "",
			.hops = &hop,
			.hop_count = 1,
		};
		char want[1024];

		snprintf(want, sizeof(want),
			 "u@vm\n"
			 "  taken from   users that log in\n"
			 "  action       relay by %s:\n"
			 "  next hop     [a]:%u\n%s",
			 route->name, route->hops[0].port, levels[i].consequences);
		expect(&e, want);
	}
}

/* What comes from outside is shown harmless; long columns stand out, and break nothing. */
static void test_others(void **state)
{
	struct explain_step step = { NULL, "relayhost",
				     "",   "0123456789012345678901234567890123456789-\n\x1b[31m",
				     "x",  "main.conf:9" };
	struct explanation refused = {
		.address = "\x1b]0;x@vm",
		.sender = "",
		.first = &step,
		.senders = { .source = "main.conf:3" },
		.action = EXPLAIN_ERROR,
		.source = "default",
		.error = "554 5.7.1 Relay access denied",
	};
	struct explanation local = {
		.address = "u@vm",
		.senders = { .anybody = true, .source = "" },
		.action = EXPLAIN_LOCAL,
		.source = "local",
		.mailbox = "/var/mail/vm/u/",
		.mailbox_source = "vusers:3",
	};

	(void)state;
	expect(&refused, "?]0;x@vm\n"
			 "  sender       <>\n"
			 "  taken from   nobody: would be refused at RCPT\n"
			 "  lookups      relayhost  0123456789012345678901234567890123456789- ?[31m"
			 "  main.conf:9: x\n"
			 "  action       error, by default\n"
			 "  because      554 5.7.1 Relay access denied\n");
	expect(&local, "u@vm\n"
		       "  taken from   anybody\n"
		       "  action       local\n"
		       "  mailbox      /var/mail/vm/u/ (vusers:3)\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay),  cmocka_unit_test(test_login),
		cmocka_unit_test(test_levels), cmocka_unit_test(test_socket),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
