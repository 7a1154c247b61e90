/* test_parse - what each form of a right-hand side means, or why it is refused */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "transport/internal.h"

static const struct transport_options encrypt = {
	.default_transport = "smtp",
	.tls = { .level = TLS_LEVEL_ENCRYPT, .source = "main.conf:7" },
	.can_verify = true,
	.socket_directory = "/spool",
};

#define ENC " tls=encrypt protocols>=TLSv1.2"

static const struct {
	const char *value, *nexthop, *lane;
} good[] = {
	/* next hops */
	{ "relay:[hub]", "[hub]", "relay:[hub]:25" ENC },
	{ "relay:hub", "hub", "relay:hub:25" ENC },
	{ "relay:hub:587", "hub:587", "relay:hub:587" ENC },
	{ "relay:[hub]:587", "[hub]:587", "relay:[hub]:587" ENC },
	{ "relay:[hub]:", "[hub]:", "relay:[hub]:25" ENC },
	{ "relay:hub:", "hub:", "relay:hub:25" ENC },
	{ "relay:h\xc3\xbc"
	  "b",
	  "h\xc3\xbc"
	  "b",
	  "relay:xn--hb-xka:25" ENC },
	{ "relay:HUB.Example.", "HUB.Example.", "relay:hub.example:25" ENC },
	{ "relay:my_hub-1.example", "my_hub-1.example", "relay:my_hub-1.example:25" ENC },
	{ "relay:172.16.108.100", "172.16.108.100", "relay:[172.16.108.100]:25" ENC },
	{ "relay:127.0.0.1:25000", "127.0.0.1:25000", "relay:[127.0.0.1]:25000" ENC },
	{ "relay:[127.0.0.1]:25000", "[127.0.0.1]:25000", "relay:[127.0.0.1]:25000" ENC },
	{ "relay:[2001:DB8:0::1]", "[2001:DB8:0::1]", "relay:[2001:db8::1]:25" ENC },
	{ "relay:[IPv6:::1]:2525", "[IPv6:::1]:2525", "relay:[::1]:2525" ENC },
	{ "relay:[hub]:submission", "[hub]:submission", "relay:[hub]:587" ENC },
	{ "relay:hub:smtp", "hub:smtp", "relay:hub:25" ENC },
	{ "relay-smtps:hub:smtps", "hub:smtps", "relay-smtps:hub:465" ENC },
	{ "relay-smtps:hub:SUBMISSIONS", "hub:SUBMISSIONS", "relay-smtps:hub:465" ENC },
	{ "relay-smtps:[hub]", "[hub]", "relay-smtps:[hub]:465" ENC },
	{ "smtp:example.net", "example.net", "smtp:example.net:25" ENC },
	{ "relay:a.com", "a.com", "relay:a.com:25" ENC },
	{ "relay:10.example", "10.example", "relay:10.example:25" ENC },

	/* several */
	{ "relay:[a], b:26", "[a], b:26", "relay:[a]:25,b:26" ENC },
	{ "relay:[a],[b]:26", "[a],[b]:26", "relay:[a]:25,[b]:26" ENC },
	{ "relay:a b  c", "a b  c", "relay:a:25,b:25,c:25" ENC },
	{ "relay: [a] , b ", "[a] , b", "relay:[a]:25,b:25" ENC },

	/* none: the recipient's domain */
	{ "smtp:", "", "smtp:" ENC },
	{ "smtp", "", "smtp:" ENC },
	{ "relay", "", "relay:" ENC },
	{ "relay-smtps: tls=verify", "", "relay-smtps: tls=verify protocols>=TLSv1.2" },
	{ "smtp tls=verify", "", "smtp: tls=verify protocols>=TLSv1.2" },

	/* attributes */
	{ "relay:[a] tls=none", "[a]", "relay:[a]:25 tls=none protocols>=TLSv1.2" },
	{ "relay:[a] tls=may", "[a]", "relay:[a]:25 tls=may protocols>=TLSv1.2" },
	{ "relay:[a], b tls=verify", "[a], b", "relay:[a]:25,b:25 tls=verify protocols>=TLSv1.2" },
	{ "relay:[a] , tls=verify", "[a]", "relay:[a]:25 tls=verify protocols>=TLSv1.2" },
	{ "relay:[a],tls=verify", "[a]", "relay:[a]:25 tls=verify protocols>=TLSv1.2" },
	{ "relay:[a]\ttls=verify  match=x.example:.y servername=z protocols=>=TLSv1.3", "[a]",
	  "relay:[a]:25 tls=verify protocols>=TLSv1.3 match=x.example,.y servername=z" },
	{ "relay:[a] protocols=!SSLv2,!SSLv3,!TLSv1,!TLSv1.1", "[a]", "relay:[a]:25" ENC },
	{ "relay-smtps:[a] tls=encrypt", "[a]", "relay-smtps:[a]:465" ENC },

	/* lmtp: never MX; sockets have no TLS */
	{ "lmtp:hub", "hub", "lmtp:[hub]:24" ENC },
	{ "lmtp:[hub]:2424 tls=none", "[hub]:2424", "lmtp:[hub]:2424 tls=none protocols>=TLSv1.2" },
	{ "lmtp:inet:hub", "inet:hub", "lmtp:[hub]:24" ENC },
	{ "lmtp:inet:[192.0.2.1]:lmtp, b:26", "inet:[192.0.2.1]:lmtp, b:26",
	  "lmtp:[192.0.2.1]:24,[b]:26" ENC },
	{ "lmtp:inet", "inet", "lmtp:[inet]:24" ENC },
	{ "lmtp:", "", "lmtp:" ENC },
	{ "lmtp:unix:/run/lmtp", "unix:/run/lmtp", "lmtp:unix:/run/lmtp" },
	{ "lmtp:unix:private/lmtp", "unix:private/lmtp", "lmtp:unix:/spool/private/lmtp" },
	{ "lmtp:unix:/a=b:c", "unix:/a=b:c", "lmtp:unix:/a=b:c" },
	{ "lmtp:unix:/a, unix:/b", "unix:/a, unix:/b", "lmtp:unix:/a,unix:/b" },

	/* no next hop at all */
	{ "local:", "", "local:" },
	{ "local:vm1.vm", "vm1.vm", "local:" },
	{ "virtual:", "", "virtual:" },
	{ "virtual", "", "virtual:" },
	{ "virtual:vm1.vm", "vm1.vm", "virtual:" },
	{ "error:", "", "error:550 5.0.0 Address is undeliverable" },
	{ "error", "", "error:550 5.0.0 Address is undeliverable" },
	{ "error:no such tls=domain, sorry", "no such tls=domain, sorry",
	  "error:550 5.0.0 no such tls=domain, sorry" },
	{ "error:5.1.1 gone", "5.1.1 gone", "error:550 5.1.1 gone" },
	{ "error: 5.1.1  gone", "5.1.1  gone", "error:550 5.1.1 gone" },
	{ "error:4.1.1 gone", "4.1.1 gone", "error:550 5.1.1 gone" },
	{ "error:5.7.1", "5.7.1", "error:550 5.7.1 Address is undeliverable" },
	{ "retry:", "", "retry:450 4.0.0 Address is undeliverable" },
	{ "retry:5.3.2 later: much", "5.3.2 later: much", "retry:450 4.3.2 later: much" },
	{ "discard:", "", "discard:250 2.0.0 discarded" },
	{ "discard:spam trap", "spam trap", "discard:250 2.0.0 discarded: spam trap" },

	/* inherited from default_transport */
	{ ":", "", "smtp:" ENC },
	{ ": tls=verify", "", "smtp: tls=verify protocols>=TLSv1.2" },
	{ ":[a]", "[a]", "smtp:[a]:25" ENC },
	{ ":a, b tls=may", "a, b", "smtp:a:25,b:25 tls=may protocols>=TLSv1.2" },
};

static void test_good(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		const struct transport_route *route = NULL;
		struct error error = { 0 };

		if (transport_parse(&encrypt, good[i].value, "ts:3", &route, &error) < 0)
			fail_msg("%s: %s", good[i].value, error.text);
		if (strcmp(route->lane, good[i].lane) != 0 ||
		    strcmp(route->nexthop, good[i].nexthop) != 0)
			fail_msg("%s: got %s, next hop %s", good[i].value, route->lane,
				 route->nexthop);
		assert_string_equal(route->source, "ts:3");
		assert_string_equal(route->name, type_of(route->kind)->name);
		assert_memory_equal(route->lane, route->name, strlen(route->name));
		transport_route_unref(route);
	}
}

#define KNOWN "known: relay, relay-smtps, smtp, lmtp, virtual, local, error, retry, discard"

#define GAP "an empty next hop; a host is missing, or there is a comma too many"

static const struct {
	const char *value, *text;
} bad[] = {
	/* transports */
	{ "relay-stmps:[hub]", "unknown transport \"relay-stmps\"; did you mean relay-smtps?" },
	{ "smtps:[hub]", "unknown transport \"smtps\"; did you mean relay-smtps?" },
	{ "RELAY:[hub]", "unknown transport \"RELAY\"; did you mean relay?" },
	{ "uucp:host", "unknown transport \"uucp\"; " KNOWN },
	{ "[hub]:25", "unknown transport \"[hub]\"; a next hop stands behind its transport, as in "
		      "relay:[hub]:25" },
	{ "hub.example", "unknown transport \"hub.example\"; a next hop stands behind its "
			 "transport, as in relay:hub.example" },
	{ "", "expected TRANSPORT:NEXTHOP" },
	{ "virtual: tls=verify", "virtual: takes no attributes, as it sends nothing" },
	{ "local: tls=verify", "local: takes no attributes, as it sends nothing" },
	{ "lmpt:unix:/x", "unknown transport \"lmpt\"; did you mean lmtp?" },

	/* sockets */
	{ "lmtp:/run/lmtp", "/run/lmtp: a UNIX socket is written unix:/run/lmtp" },
	{ "lmtp:unix:", "unix:: no path behind unix:" },
	{ "lmtp:unix:/a\tunix:/b\001", "unix:/b?: a control character in a path" },
	{ "relay:unix:/run/lmtp", "unix:/run/lmtp: a UNIX socket is reached by lmtp: alone" },
	{ "lmtp:unix:/a, b", "the next hops of a route are all hosts, or all UNIX sockets" },
	{ "lmtp:b, unix:/a", "the next hops of a route are all hosts, or all UNIX sockets" },
	{ "lmtp:unix:/a tls=encrypt",
	  "a UNIX socket takes no TLS attributes, as it crosses no network" },
	{ "lmtp:unix:/a tls=none",
	  "a UNIX socket takes no TLS attributes, as it crosses no network" },
	{ "lmtp:unix:/a,", "unix:/a,: " GAP },
	{ "lmtp:inet:", "inet:: no host behind inet:" },

	/* next hops */
	{ "relay:2001:db8::1",
	  "2001:db8::1: an IPv6 address needs brackets: [2001:db8::1] or [2001:db8::1]:port" },
	{ "relay:::1", "::1: an IPv6 address needs brackets: [::1] or [::1]:port" },
	{ "relay:hub:25:26",
	  "hub:25:26: more than one colon; expected host:port or [IPv6 address]:port" },
	{ "relay:[hub", "[hub: missing ']'" },
	{ "relay:[hub]587", "[hub]587: expected [host]:port" },
	{ "relay:[]", "[]: not a host name" },
	{ "relay:\xff.example", "?.example: not a host name" },
	{ "relay:[2001:db8]", "[2001:db8]: not an IPv6 address" },
	{ "relay:[fe80::1%eth0]", "[fe80::1%eth0]: not an IPv6 address" },
	{ "relay:[IPv6:hub]", "[IPv6:hub]: not an IPv6 address" },
	{ "relay:10.1.2", "10.1.2: not an IPv4 address" },
	{ "relay:10.1.2.256", "10.1.2.256: not an IPv4 address" },
	{ "relay:[10.1.2.3.4]", "[10.1.2.3.4]: not an IPv4 address" },
	{ "relay:25", "25: not an IPv4 address" },
	{ "relay://hub", "//hub: not a host name" },
	{ "relay:a..b", "a..b: not a host name" },
	{ "relay:.vm2.vm", ".vm2.vm: not a host name" },
	{ "relay:user@hub", "user@hub: not a host name" },
	{ "relay:x2345678901234567890123456789012345678901234567890123456789012345.vm",
	  "x2345678901234567890123456789012345678901234567890123456789012345.vm: not a host name" },
	{ "relay:[a], [b]587", "[b]587: expected [host]:port" },
	{ "relay::587", ":587: no host in front of the port" },
	{ "relay:hub:0",
	  "hub:0: bad port \"0\"; expected 1 to 65535, smtp, lmtp, submission, smtps or "
	  "submissions" },
	{ "relay:hub:65536",
	  "hub:65536: bad port \"65536\"; expected 1 to 65535, smtp, lmtp, submission, smtps or "
	  "submissions" },
	{ "relay:[hub]:+25",
	  "[hub]:+25: bad port \"+25\"; expected 1 to 65535, smtp, lmtp, submission, smtps or "
	  "submissions" },
	{ "relay:hub:submision",
	  "hub:submision: unknown service \"submision\"; did you mean submission?" },

	/* commas: a host was forgotten */
	{ "relay:[a],", "[a],: " GAP },
	{ "relay:[a] , ", "[a] ,: " GAP },
	{ "relay:,", ",: " GAP },
	{ "relay: , tls=verify", ", tls=verify: " GAP },
	{ "relay:,[a]", ",[a]: " GAP },
	{ "relay:[a],,b", "[a],,b: " GAP },
	{ "relay:[a], ,b tls=verify", "[a], ,b tls=verify: " GAP },
	{ "relay:[a],,tls=verify", "[a],,tls=verify: " GAP },
	{ ":[a],", "[a],: " GAP },
	{ "virtual:a,", "a,: " GAP },

	/* TLS */
	{ "relay-smtps:[hub] tls=none", "tls=none: relay-smtps: is never weaker than encrypt; use "
					"relay: for STARTTLS by choice" },
	{ "relay-smtps:[hub] tls=may",
	  "tls=may: relay-smtps: is never weaker than encrypt; use relay: for STARTTLS by choice" },
	{ "relay:[hub] tls=verfy", "tls=verfy: unknown level; expected none, may, encrypt, verify, "
				   "secure, fingerprint, dane, dane-only (did you mean verify?)" },
	{ "relay:[hub] fingerprint=sha256:00", "fingerprint=sha256:00: \"sha256:00\" has 2 digits, "
					       "SHA-256 has 64; expected sha256:HEX of "
					       "a certificate or pubkey-sha256:HEX of its key" },
	{ "relay:[hub] tls=dane-only",
	  "level dane-only (of ts:3) needs a DNS server on this host that checks DNSSEC: set "
	  "resolver = 127.0.0.1" },
	{ "relay:[hub] tls=fingerprint",
	  "level fingerprint (of ts:3) needs to know which: add fingerprint=sha256:HEX" },
	{ "relay:[hub] tsl=may", "tsl=may: unknown attribute; expected tls, match, fingerprint, "
				 "protocols, servername (did you mean tls?)" },
	{ "relay:[a] tls=may [b]",
	  "[b]: unknown attribute; expected tls, match, fingerprint, protocols, servername" },
};

static void test_bad(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const struct transport_route *route = NULL;
		struct error error = { 0 };

		if (transport_parse(&encrypt, bad[i].value, "ts:3", &route, &error) >= 0)
			fail_msg("%s: taken as %s", bad[i].value, route->lane);
		if (strncmp(error.text, "ts:3: ", 6) != 0 ||
		    strcmp(error.text + 6, bad[i].text) != 0)
			fail_msg("%s: got %s", bad[i].value, error.text);
	}
}

/* Host, MX and port of a hop, as delivery sees them. */
static void test_hops(void **state)
{
	static const struct {
		const char *value, *host;
		uint16_t port;
		bool mx;
	} cases[] = {
		{ "smtp:Example.net", "example.net", 25, true },
		{ "relay:[Hub]:587", "hub", 587, false },
		{ "relay:192.0.2.1", "192.0.2.1", 25, false },
		{ "relay-smtps:[2001:db8::0:1]", "2001:db8::1", 465, false },
		{ "relay-smtps:hub", "hub", 465, true },
		{ "lmtp:Hub", "hub", 24, false },
		{ "lmtp:unix:/run/lmtp", "unix:/run/lmtp", 0, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct transport_route *route = NULL;

		assert_int_equal(transport_parse(&encrypt, cases[i].value, "x", &route, NULL), 0);
		assert_int_equal(route->hop_count, 1);
		assert_string_equal(route->hops[0].host, cases[i].host);
		assert_int_equal(route->hops[0].port, cases[i].port);
		assert_int_equal(route->hops[0].mx, cases[i].mx);
		transport_route_unref(route);
	}
}

/* The level and mode of each transport under each general level. */
static void test_levels(void **state)
{
	static const struct {
		enum tls_level general;
		const char *value;
		enum tls_level level;
		enum tls_mode mode;
		const char *source;
	} cases[] = {
		{ TLS_LEVEL_NONE, "relay:[a]", TLS_LEVEL_NONE, TLS_MODE_NONE, "general" },
		{ TLS_LEVEL_MAY, "relay:[a]", TLS_LEVEL_MAY, TLS_MODE_STARTTLS, "general" },
		{ TLS_LEVEL_ENCRYPT, "smtp:[a]", TLS_LEVEL_ENCRYPT, TLS_MODE_STARTTLS, "general" },
		{ TLS_LEVEL_VERIFY, "relay:[a]", TLS_LEVEL_VERIFY, TLS_MODE_STARTTLS, "general" },
		{ TLS_LEVEL_VERIFY, "relay:[a] tls=none", TLS_LEVEL_NONE, TLS_MODE_NONE, "ts:1" },
		{ TLS_LEVEL_NONE, "relay:[a] tls=verify", TLS_LEVEL_VERIFY, TLS_MODE_STARTTLS,
		  "ts:1" },
		{ TLS_LEVEL_MAY, "relay:[a] match=b", TLS_LEVEL_MAY, TLS_MODE_STARTTLS, "general" },
		{ TLS_LEVEL_NONE, "relay-smtps:[a]", TLS_LEVEL_ENCRYPT, TLS_MODE_IMPLICIT, "ts:1" },
		{ TLS_LEVEL_MAY, "relay-smtps:[a]", TLS_LEVEL_ENCRYPT, TLS_MODE_IMPLICIT, "ts:1" },
		{ TLS_LEVEL_ENCRYPT, "relay-smtps:[a]", TLS_LEVEL_ENCRYPT, TLS_MODE_IMPLICIT,
		  "general" },
		{ TLS_LEVEL_VERIFY, "relay-smtps:[a]", TLS_LEVEL_VERIFY, TLS_MODE_IMPLICIT,
		  "general" },
		{ TLS_LEVEL_VERIFY, "relay-smtps:[a] tls=encrypt", TLS_LEVEL_ENCRYPT,
		  TLS_MODE_IMPLICIT, "ts:1" },
		{ TLS_LEVEL_NONE, "relay-smtps:", TLS_LEVEL_ENCRYPT, TLS_MODE_IMPLICIT, "ts:1" },
		{ TLS_LEVEL_ENCRYPT, "lmtp:a", TLS_LEVEL_ENCRYPT, TLS_MODE_STARTTLS, "general" },
		{ TLS_LEVEL_VERIFY, "lmtp:a tls=may", TLS_LEVEL_MAY, TLS_MODE_STARTTLS, "ts:1" },
		{ TLS_LEVEL_VERIFY, "lmtp:unix:/a", TLS_LEVEL_NONE, TLS_MODE_NONE, "ts:1" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct transport_options options = encrypt;
		const struct transport_route *route = NULL;

		options.tls.level = cases[i].general;
		options.tls.source = "general";
		assert_int_equal(transport_parse(&options, cases[i].value, "ts:1", &route, NULL),
				 0);
		if (route->tls.level != cases[i].level || route->mode != cases[i].mode ||
		    strcmp(route->tls.source, cases[i].source) != 0)
			fail_msg("%s under %s: got %s by %s, %s", cases[i].value,
				 tls_level_name(cases[i].general), tls_level_name(route->tls.level),
				 route->tls.source, tls_mode_name(route->mode));
		transport_route_unref(route);
	}
}

#define PIN   "sha256:" PIN16 PIN16 PIN16 PIN16
#define PIN16 "0123456789abcdef"

static void test_verify_without_ca(void **state)
{
	struct transport_options options = encrypt;
	const struct transport_route *route = NULL;
	struct error error = { 0 };

	(void)state;
	options.can_verify = false;
	assert_true(transport_parse(&options, "relay:[a] tls=secure", "ts:1", &route, &error) < 0);
	assert_string_equal(error.text, "ts:1: level secure (of ts:1) needs a CA to verify by: set "
					"smtp_tls_CAfile");
	assert_int_equal(transport_parse(&options, "relay:[a] tls=fingerprint fingerprint=" PIN,
					 "ts:1", &route, &error),
			 0);
	transport_route_unref(route);
	assert_true(transport_parse(&options, "relay:[a] tls=verify", "ts:1", &route, &error) < 0);
	assert_string_equal(error.text, "ts:1: level verify (of ts:1) needs a CA to verify by: set "
					"smtp_tls_CAfile");
	assert_int_equal(transport_parse(&options, "relay:[a]", "ts:1", &route, &error), 0);
	transport_route_unref(route);

	options.tls.level = TLS_LEVEL_VERIFY;
	assert_true(transport_parse(&options, "relay:[a]", "ts:1", &route, &error) < 0);
	assert_string_equal(error.text, "ts:1: level verify (of main.conf:7) needs a CA to verify "
					"by: set smtp_tls_CAfile");
	assert_int_equal(transport_parse(&options, "relay:[a] tls=may", "ts:1", &route, &error), 0);
	transport_route_unref(route);
}

static const struct {
	const char *relayhost, *want; /* lane, or error */
} relayhosts[] = {
	{ "hub.example", "relay:hub.example:25" ENC },
	{ "[hub.example]:587", "relay:[hub.example]:587" ENC },
	{ "[hub.example]", "relay:[hub.example]:25" ENC },
	{ "hub.example:587", "relay:hub.example:587" ENC },
	{ "hub:submission", "relay:hub:587" ENC },
	{ "172.16.108.100", "relay:[172.16.108.100]:25" ENC },
	{ "172.16.108.100:25000", "relay:[172.16.108.100]:25000" ENC },
	{ "[2001:db8::1]:25", "relay:[2001:db8::1]:25" ENC },
	{ "[a], [b]", "relay:[a]:25,[b]:25" ENC },
	{ "[a] tls=verify", "relay:[a]:25 tls=verify protocols>=TLSv1.2" },
	{ "smtp", "relay:smtp:25" ENC },
	{ "relay-smtps:[hub]", "relay-smtps:[hub]:465" ENC },
	{ "relay-smtps:[hub] tls=verify match=x",
	  "relay-smtps:[hub]:465 tls=verify protocols>=TLSv1.2 match=x" },
	{ "smtp:[a]:26", "smtp:[a]:26" ENC },
	{ "error:5.7.1 closed", "error:550 5.7.1 closed" },
	{ "2001:db8::1",
	  "main.conf:9: 2001:db8::1: an IPv6 address needs brackets: [2001:db8::1] or "
	  "[2001:db8::1]:port" },
	{ "relay-stmps:[hub]",
	  "main.conf:9: unknown transport \"relay-stmps\"; did you mean relay-smtps?" },
	{ "relay-stmps:[2001:db8::1]:465",
	  "main.conf:9: unknown transport \"relay-stmps\"; did you mean relay-smtps?" },
	{ "[a],",
	  "main.conf:9: [a],: an empty next hop; a host is missing, or there is a comma too "
	  "many" },
	{ "lmtp:hub:24", "lmtp:[hub]:24" ENC },
	{ "lmtp:unix:/a", "lmtp:unix:/a" },
	{ ":[hub]", "main.conf:9: no transport in front of the colon" },
	{ "relay-smtps:[hub] tls=may",
	  "main.conf:9: tls=may: relay-smtps: is never weaker than encrypt; use relay: for "
	  "STARTTLS by choice" },
};

static void test_relayhost(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(relayhosts); i++) {
		struct transport_options options = encrypt;
		const struct transport_route *route = NULL;
		struct error error = { 0 };
		const char *got;

		options.relayhost = relayhosts[i].relayhost;
		options.relayhost_source = "main.conf:9";
		if (transport_parse(&options, ":", "ts:1", &route, &error) < 0)
			got = error.text + strlen("ts:1: "); /* the line that inherits */
		else
			got = route->lane;
		if (strcmp(got, relayhosts[i].want) != 0)
			fail_msg("%s: got %s", relayhosts[i].relayhost, got);
		transport_route_unref(route);
	}
}

/* Where there is no directory for relative sockets, and where there are no mailboxes. */
static void test_places(void **state)
{
	struct transport_options options = encrypt;
	const struct transport_route *route = NULL;
	struct error error = { 0 };

	(void)state;
	options.socket_directory = NULL;
	assert_true(transport_parse(&options, "lmtp:unix:lmtp", "ts:1", &route, &error) < 0);
	assert_string_equal(error.text, "ts:1: unix:lmtp: expected a path from the root");
	options.lacks_mailboxes = true;
	assert_true(transport_parse(&options, "virtual:", "ts:1", &route, &error) < 0);
	assert_string_equal(error.text, "ts:1: virtual: a hub has no mailboxes; expected a next "
					"hop, as in relay:HOST");
	assert_true(transport_parse(&options, "local:", "ts:1", &route, &error) < 0);
	options.default_transport = "local";
	assert_true(transport_parse(&options, ":", "ts:1", &route, &error) < 0);
}

static void test_retry_route(void **state)
{
	const struct transport_route *route;
	struct smtp_status status;

	(void)state;
	smtp_status_set(&status, 451, ESC(4, 3, 0), "no route");
	route = transport_route_new_retry(&status);
	assert_int_equal(route->kind, TRANSPORT_RETRY);
	assert_string_equal(route->lane, "retry:451 4.3.0 no route");
	assert_int_equal(route->hop_count, 0);
	transport_route_unref(transport_route_ref(route));
	transport_route_unref(route);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),	    cmocka_unit_test(test_bad),
		cmocka_unit_test(test_hops),	    cmocka_unit_test(test_levels),
		cmocka_unit_test(test_relayhost),   cmocka_unit_test(test_verify_without_ca),
		cmocka_unit_test(test_retry_route), cmocka_unit_test(test_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
