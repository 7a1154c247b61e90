/* test_verify - every bad certificate is refused where it must be, and told of where it is not */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "certs/certificate.h"
#include "tests/support/throwaway.h"
#include "tls/test_pair.h"

struct fixture {
	char *dir;
	struct tls_context *client; /* trusts ca */
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = throwaway_certs();
	f->client = test_client_context(f->dir, "ca.pem");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tls_context_unref(f->client);
	throwaway_remove(f->dir);
	free(f);
	tls_thread_done();
	return 0;
}

/* Both ends run to their end; the client's state is returned. */
static int run_in(struct pair *p, bool is_1_2, struct tls_context *client,
		  struct tls_context *server, const char *policy, const char *nexthop)
{
	pair_open_to(p, client, server, test_policy(policy), nexthop, NULL);
	if (is_1_2)
		end_limit_to_1_2(&p->server);
	pair_run(p, SIZE_MAX);
	return p->client.state;
}

static int run(struct pair *p, struct tls_context *client, struct tls_context *server,
	       const char *policy, const char *nexthop)
{
	return run_in(p, false, client, server, policy, nexthop);
}

/*
 * At level verify the handshake fails with this trouble, nothing of the
 * user's can be sent, and the server does not believe that it succeeded. At
 * level encrypt it succeeds, and the same trouble is recorded.
 */
static void expect_refused_in(bool is_1_2, struct tls_context *client, struct tls_context *server,
			      const char *match, const char *nexthop, bool trusted,
			      const char *trouble)
{
	const struct tls_facts *facts;
	char policy[128];
	struct pair p;

	snprintf(policy, sizeof(policy), "tls=verify %s", match);
	if (run_in(&p, is_1_2, client, server, policy, nexthop) >= 0)
		fail_msg("%s was not refused", trouble);
	assert_string_equal(p.client.err.text, trouble);
	assert_true(p.server.state < 0);
	if (!strstr(p.server.err.text, "peer sent alert: "))
		fail_msg("server: %s", p.server.err.text);
	facts = tls_session_facts(p.client.filter);
	assert_false(facts->verified);
	assert_true(facts->has_peer_cert);
	assert_string_equal(facts->trouble, trouble);
	pair_close(&p);

	snprintf(policy, sizeof(policy), "tls=encrypt %s", match);
	if (run_in(&p, is_1_2, client, server, policy, nexthop) != STREAM_FILTER_OPEN)
		fail_msg("encrypt: %s", p.client.err.text);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	facts = tls_session_facts(p.client.filter);
	assert_int_equal(facts->trusted, trusted);
	assert_false(facts->verified);
	assert_true(facts->has_peer_cert);
	assert_string_equal(facts->trouble, trouble);
	assert_string_equal(facts->verified_by, "");
	assert_string_not_equal(facts->fingerprint, "");
	assert_string_not_equal(facts->pubkey_fingerprint, "");
	assert_true(facts->not_after_s > 0);
	pair_close(&p);
}

static void expect_refused(struct tls_context *client, struct tls_context *server,
			   const char *match, const char *nexthop, bool trusted,
			   const char *trouble)
{
	expect_refused_in(false, client, server, match, nexthop, trusted, trouble);
	expect_refused_in(true, client, server, match, nexthop, trusted, trouble);
}

static void expect_accepted(struct tls_context *client, struct tls_context *server,
			    const char *match, const char *nexthop, const char *peer_name)
{
	static const char *const levels[] = { "verify", "encrypt" };

	for (size_t i = 0; i < 2 * ARRAY_SIZE(levels); i++) {
		const struct tls_facts *facts;
		char policy[128];
		struct pair p;

		snprintf(policy, sizeof(policy), "tls=%s %s", levels[i / 2], match);
		if (run_in(&p, i % 2, client, server, policy, nexthop) != STREAM_FILTER_OPEN)
			fail_msg("%s %s: %s", nexthop, match, p.client.err.text);
		facts = tls_session_facts(p.client.filter);
		assert_true(facts->trusted && facts->verified);
		assert_string_equal(facts->verified_by, "ca");
		assert_string_equal(facts->trouble, "");
		assert_string_equal(facts->peer_name, peer_name);
		pair_close(&p);
	}
}

static void test_good(void **state)
{
	static const struct {
		const char *server, *match, *nexthop, *peer_name;
	} cases[] = {
		{ "hub", "", "hub.example", "hub.example" },
		{ "hub", "", "HUB.Example", "hub.example" },
		{ "hub", "", "hub.example.", "hub.example" },
		{ "hub", "", "[hub.example]", "hub.example" },
		{ "hub", "", "127.0.0.1", "127.0.0.1" },
		{ "hub", "", "[127.0.0.1]", "127.0.0.1" },
		{ "hub", "", "::1", "::1" },
		{ "hub", "", "0:0:0:0:0:0:0:1", "::1" },
		{ "hub", "match=hub.example", "192.0.2.1", "hub.example" },
		{ "hub", "match=other.example:hub.example", "mx.example", "hub.example" },
		{ "hub", "match=.example", "mx.example.net", "hub.example" },
		{ "hub", "match=127.0.0.1", "mx.example.net", "127.0.0.1" },
		{ "hub", "match=other.example:nexthop", "hub.example", "hub.example" },
		{ "hub", "match=hostname", "hub.example", "hub.example" },
		{ "hub", "", "example.net/hub.example", "hub.example" }, /* after MX */
		{ "hub", "match=nexthop", "hub.example/mx.example", "hub.example" },
		{ "hub-rsa", "", "hub.example", "hub.example" },
		{ "wild", "", "hub.example", "*.example" },
		{ "cn-only", "", "hub.example", "hub.example" },
		{ "no-names", "", "127.0.0.1", "127.0.0.1" },
		{ "no-names", "", "hub.example", "hub.example" }, /* no DNS name: the CN counts */
		{ "sub-chain", "", "hub.example", "hub.example" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *server = test_server_context(f->dir, cases[i].server);

		expect_accepted(f->client, server, cases[i].match, cases[i].nexthop,
				cases[i].peer_name);
		tls_context_unref(server);
	}
}

static void test_bad(void **state)
{
	static const struct {
		const char *server, *match, *nexthop;
		bool trusted;
		const char *trouble;
	} cases[] = {
		{ "expired", "", "hub.example", false, "certificate has expired on 2024-01-01" },
		{ "future", "", "hub.example", false,
		  "certificate is not valid before 2049-01-01" },
		{ "wrong", "", "hub.example", true,
		  "certificate is not for the name hub.example "
		  "(it names: other.example, 192.0.2.9)" },
		{ "hub", "", "127.0.0.2", true,
		  "certificate is not for the name 127.0.0.2 "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "hub", "", "hub.example.net", true,
		  "certificate is not for the name hub.example.net "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "hub", "match=a.example:.b.example", "hub.example", true,
		  "certificate is for none of the names a.example, .b.example "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "hub", "match=.hub.example", "hub.example", true,
		  "certificate is not for the name .hub.example "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "wild", "", "a.b.example", true,
		  "certificate is not for the name a.b.example (it names: *.example)" },
		{ "wild", "", "example", true,
		  "certificate is not for the name example (it names: *.example)" },
		{ "cn-only", "", "127.0.0.1", true,
		  "certificate is not for the name 127.0.0.1 (it names: hub.example)" },
		{ "nul", "", "hub.example", true,
		  "certificate is not for the name hub.example (it names: attacker)" },
		{ "self-signed", "", "hub.example", false,
		  "self-signed certificate, not trusted here (issuer CN=hub.example)" },
		{ "stranger", "", "hub.example", false, "unknown CA (issuer CN=Other CA)" },
		{ "sub", "", "hub.example", false, "unknown CA (issuer CN=Sub CA)" },
		{ "old-sub-chain", "", "hub.example", false,
		  "certificate of the CA (CN=Old Sub CA) has expired on 2024-01-01" },
		{ "leaf-as-ca-chain", "", "hub.example", false,
		  "unknown CA (issuer CN=hub.example)" },
		{ "client-only", "", "hub.example", false,
		  "certificate may not be used by a server (issuer CN=ca.example)" },
		{ "evil", "", "hub.example", false,
		  "signature of the certificate is wrong (issuer CN=ca.example)" },
		{ "evil-ca", "", "ca.example", false,
		  "signature of the certificate is wrong (issuer CN=ca.example)" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *server = test_server_context(f->dir, cases[i].server);

		expect_refused(f->client, server, cases[i].match, cases[i].nexthop,
			       cases[i].trusted, cases[i].trouble);
		tls_context_unref(server);
	}
}

/* Whom we trust may be nobody, a CA that has expired, or a server's own certificate. */
static void test_trust(void **state)
{
	static const struct {
		const char *ca, *server, *trouble; /* NULL: accepted */
	} cases[] = {
		{ NULL, "hub", "no trusted CA is configured (issuer CN=ca.example)" },
		{ "other-ca.pem", "hub", "unknown CA (issuer CN=ca.example)" },
		{ "other-ca.pem", "stranger", NULL },
		{ "old-ca.pem", "of-old-ca", "the CA has expired (CN=Old CA)" },
		{ "self-signed.pem", "self-signed", NULL },
		{ "hub.pem", "leaf-as-ca", "unknown CA (issuer CN=hub.example)" },
		{ "sub-ca.pem", "sub", NULL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *client = test_client_context(f->dir, cases[i].ca);
		struct tls_context *server = test_server_context(f->dir, cases[i].server);

		if (cases[i].trouble)
			expect_refused(client, server, "", "hub.example", false, cases[i].trouble);
		else
			expect_accepted(client, server, "", "hub.example", "hub.example");
		tls_context_unref(server);
		tls_context_unref(client);
	}
}

/* By default the next hop itself and what is below it, in the order of match=. */
static void test_secure(void **state)
{
	static const struct {
		const char *server, *match, *nexthop, *trouble; /* NULL: accepted */
	} cases[] = {
		{ "hub", "", "hub.example", NULL },
		{ "hub", "", "example", NULL },
		{ "hub", "", "[127.0.0.1]", NULL },
		{ "hub", "match=nexthop", "hub.example", NULL },
		{ "hub", "match=dot-nexthop", "example", NULL },
		{ "hub", "match=hub.example", "example.net", NULL },
		{ "hub", "match=nexthop", "example",
		  "certificate is not for the name example "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "hub", "", "example.net",
		  "certificate is for none of the names example.net, .example.net "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		/* What MX says is not believed, unless match= does. */
		{ "hub", "", "hub.example/mx.example.net", NULL },
		{ "hub", "", "example/hub.example", NULL },
		{ "hub", "match=hostname", "example.net/hub.example", NULL },
		{ "hub", "", "example.net/hub.example",
		  "certificate is for none of the names example.net, .example.net "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "hub", "", "127.0.0.2",
		  "certificate is not for the name 127.0.0.2 "
		  "(it names: hub.example, 127.0.0.1, ::1)" },
		{ "stranger", "", "hub.example", "unknown CA (issuer CN=Other CA)" },
		{ "expired", "", "hub.example", "certificate has expired on 2024-01-01" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *server = test_server_context(f->dir, cases[i].server);
		char policy[64];
		struct pair p;

		snprintf(policy, sizeof(policy), "tls=secure %s", cases[i].match);
		run(&p, f->client, server, policy, cases[i].nexthop);
		assert_int_equal(p.client.state == STREAM_FILTER_OPEN, !cases[i].trouble);
		assert_string_equal(tls_session_facts(p.client.filter)->verified_by,
				    cases[i].trouble ? "" : "ca");
		if (cases[i].trouble)
			assert_string_equal(p.client.err.text, cases[i].trouble);
		pair_close(&p);
		tls_context_unref(server);
	}
}

/* What this server's certificate is pinned by: that, or its key. */
static const char *pin_of(struct fixture *f, const char *name, bool is_key)
{
	static char pins[2][80];
	struct tls_context *server = test_server_context(f->dir, name);
	const struct tls_facts *facts;
	struct pair p;

	run(&p, f->client, server, "tls=encrypt", "hub.example");
	facts = tls_session_facts(p.client.filter);
	snprintf(pins[is_key], sizeof(pins[0]), "%s",
		 is_key ? facts->pubkey_fingerprint : facts->fingerprint);
	pair_close(&p);
	tls_context_unref(server);
	return pins[is_key];
}

static int run_pinned(struct pair *p, struct fixture *f, bool is_1_2, struct tls_context *server,
		      const char *pins)
{
	char policy[300];

	snprintf(policy, sizeof(policy), "tls=fingerprint fingerprint=%s", pins);
	return run_in(p, is_1_2, f->client, server, policy, "mx.example.net");
}

/* The certificate or its key is all that counts: no CA, no date, no name. */
static void test_fingerprint(void **state)
{
	static const char *const servers[] = {
		"hub",	    "hub-rsa",	   "expired",	     "future",	      "wrong",
		"nul",	    "self-signed", "stranger",	     "old-sub-chain", "client-only",
		"no-names", "evil",	   "evil-sub-chain",
	};
	const char *zeros = "sha256:00000000000000000000000000000000"
			    "00000000000000000000000000000000";
	struct fixture *f = *state;

	for (size_t i = 0; i < 4 * ARRAY_SIZE(servers); i++) {
		struct tls_context *server = test_server_context(f->dir, servers[i / 4]);
		const struct tls_facts *facts;
		bool is_key = i % 2, is_1_2 = i / 2 % 2;
		char pins[200];
		struct pair p;

		snprintf(pins, sizeof(pins), "%s|%s", zeros, pin_of(f, servers[i / 4], is_key));
		if (run_pinned(&p, f, is_1_2, server, pins) != STREAM_FILTER_OPEN)
			fail_msg("%s %s: %s", servers[i / 4], pins, p.client.err.text);
		assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
		facts = tls_session_facts(p.client.filter);
		assert_true(facts->verified);
		assert_string_equal(facts->verified_by, "fingerprint");
		assert_string_equal(facts->trouble, "");
		pair_close(&p);

		assert_true(run_pinned(&p, f, is_1_2, server, zeros) < 0);
		assert_true(p.server.state < 0);
		facts = tls_session_facts(p.client.filter);
		assert_false(facts->verified);
		assert_string_equal(facts->verified_by, "");
		assert_memory_equal(
			p.client.err.text,
			"certificate is none of those of fingerprint= (it is sha256:", 59);
		pair_close(&p);
		tls_context_unref(server);
	}
}

/* A certificate is no secret: whoever shows the pinned one must have its key. */
static void test_stolen_certificate(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server = test_server_context(f->dir, "self-signed");
	char policy[200];
	struct pair p;

	snprintf(policy, sizeof(policy), "tls=fingerprint fingerprint=%s",
		 pin_of(f, "self-signed", false));
	for (int is_1_2 = 0; is_1_2 < 2; is_1_2++) {
		pair_open_to(&p, f->client, server, test_policy(policy), "hub.example", NULL);
		if (is_1_2)
			end_limit_to_1_2(&p.server);
		end_use_key(&p.server, throwaway_path(f->dir, "hub.key"));
		pair_run(&p, SIZE_MAX);
		if (p.client.state >= 0)
			fail_msg("taken in TLS 1.%d", is_1_2 ? 2 : 3);
		assert_true(p.server.state != STREAM_FILTER_OPEN);
		pair_close(&p);
	}
	tls_context_unref(server);
}

/* CVE-2026-93302: see test_forge_ca(). */
static void test_forged_clone(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server;

	test_forge_ca(f->dir);

	/* As the server's own certificate: its name is a host's, so only trust stands in the way. */
	server = test_server_context(f->dir, "forged");
	expect_refused(f->client, server, "", "ca.example", false,
		       "signature of the certificate is wrong (issuer CN=ca.example)");
	tls_context_unref(server);

	/* Below it, a leaf that it signed. */
	server = test_server_context(f->dir, "of-forged-chain");
	expect_refused(f->client, server, "", "hub.example", false,
		       "signature of the certificate is wrong (issuer CN=ca.example)");
	tls_context_unref(server);
}

/*
 * What a session of a lower level went along with must not become trusted by
 * others of the context: a CA that has expired or is not signed by whom it
 * says, and, the library being what it is, not even a good one.
 */
static void test_no_poison(void **state)
{
	struct fixture *f = *state;
	struct tls_context *chain, *leaf;
	struct pair p;

	chain = test_server_context(f->dir, "old-sub-chain");
	leaf = test_server_context(f->dir, "old-sub");
	assert_int_equal(run(&p, f->client, chain, "tls=may", "hub.example"), STREAM_FILTER_OPEN);
	pair_close(&p);
	expect_refused(f->client, leaf, "", "hub.example", false,
		       "unknown CA (issuer CN=Old Sub CA)");
	tls_context_unref(chain);
	tls_context_unref(leaf);

	/*
	 * Once taken in, this one would make its leaf a perfect one: it has the
	 * name of our CA, and a key id of its own to be found by.
	 */
	chain = test_server_context(f->dir, "evil-sub-chain");
	leaf = test_server_context(f->dir, "evil-sub");
	assert_int_equal(run(&p, f->client, chain, "tls=may", "hub.example"), STREAM_FILTER_OPEN);
	assert_false(tls_session_facts(p.client.filter)->trusted);
	pair_close(&p);
	expect_refused(f->client, leaf, "", "hub.example", false,
		       "unknown CA (issuer CN=ca.example)");
	tls_context_unref(chain);
	tls_context_unref(leaf);

	chain = test_server_context(f->dir, "sub-chain");
	leaf = test_server_context(f->dir, "sub");
	expect_accepted(f->client, chain, "", "hub.example", "hub.example");
	expect_refused(f->client, leaf, "", "hub.example", false, "unknown CA (issuer CN=Sub CA)");
	tls_context_unref(chain);
	tls_context_unref(leaf);
}

/* Whoever watches gets all that was shown, also where it is refused. */
static void test_watch(void **state)
{
	static const struct {
		const char *server, *policy;
		unsigned int count;
	} cases[] = {
		{ "hub", "tls=verify", 1 },	    { "sub-chain", "tls=verify", 2 },
		{ "stranger", "tls=verify", 1 },    { "evil-sub-chain", "tls=verify", 2 },
		{ "stranger", "tls=encrypt", 1 },   { "sub-chain", "tls=encrypt", 2 },
		{ "self-signed", "tls=verify", 1 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *server = test_server_context(f->dir, cases[i].server);
		struct tls_chain chain = { 0 };
		struct pair p;
		char hex[65];

		pair_open_to(&p, f->client, server, test_policy(cases[i].policy), "hub.example",
			     NULL);
		tls_session_watch(p.client.filter, &chain);
		pair_run(&p, SIZE_MAX);
		assert_int_equal(chain.count, cases[i].count);
		certs_fingerprint(chain.certificates[0], hex);
		assert_string_equal(hex, tls_session_facts(p.client.filter)->fingerprint +
						 strlen(TLS_FINGERPRINT_CERTIFICATE));
		pair_close(&p);
		tls_chain_done(&chain);
		tls_context_unref(server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_watch),
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_forged_clone),
		cmocka_unit_test(test_no_poison),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_fingerprint),
		cmocka_unit_test(test_stolen_certificate),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
