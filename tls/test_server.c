/* test_server - clients' certificates: what is found out of them, and what a resumed session knows */
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
#include "tls/context_internal.h"
#include "tls/session_internal.h"
#include "tls/test_pair.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

static char *dir;

static int setup(void **state)
{
	(void)state;
	dir = throwaway_certs();
	test_forge_ca(dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	throwaway_remove(dir);
	tls_thread_done();
	return 0;
}

static struct certs_identity *load(const char *name)
{
	struct certs_identity *identity = NULL;
	struct error err = { 0 };
	char cert[64], key[64];

	/* "sub-chain": the key is that of its leaf, sub. */
	snprintf(cert, sizeof(cert), "%s.pem", name);
	snprintf(key, sizeof(key), "%.*s.key",
		 (int)(strlen(name) - (strstr(name, "-chain") ? strlen("-chain") : 0)), name);
	if (certs_identity_load(throwaway_path(dir, cert), throwaway_path(dir, key), &identity,
				&err) < 0)
		fail_msg("%s", err.text);
	return identity;
}

/* It asks for certificates, and believes this CA, if any; tickets of previous stay good. */
static struct tls_context *asking(const char *ca, struct tls_context *previous)
{
	struct tls_context_options options = { .ask_certificate = true, .previous = previous };
	struct certs_identity *identity = load("hub");
	struct tls_context *context = NULL;
	struct certs_trust *trust = NULL;
	struct error err = { 0 };

	if (ca && certs_trust_load(throwaway_path(dir, ca), &trust, &err) < 0)
		fail_msg("%s", err.text);
	options.identity = identity;
	options.trust = trust;
	if (tls_context_new_server(&options, &context, &err) < 0)
		fail_msg("%s", err.text);
	certs_identity_free(identity);
	certs_trust_free(trust);
	return context;
}

/* NULL: it has no certificate. */
static struct tls_context *client_of(const char *name)
{
	struct tls_context_options options = { 0 };
	struct certs_identity *identity = name ? load(name) : NULL;
	struct certs_trust *trust = NULL;
	struct tls_context *context = NULL;
	struct error err = { 0 };

	assert_int_equal(certs_trust_load(throwaway_path(dir, "ca.pem"), &trust, NULL), 0);
	options.identity = identity;
	options.trust = trust;
	if (tls_context_new_client(&options, &context, &err) < 0)
		fail_msg("%s", err.text);
	certs_identity_free(identity);
	certs_trust_free(trust);
	return context;
}

static void run(struct pair *p, struct tls_context *client, struct tls_context *server, bool is_1_2,
		bool is_required)
{
	pair_open(p, client, server, test_policy("tls=encrypt"), "key");
	if (is_1_2)
		end_limit_to_1_2(&p->client);
	if (is_required)
		tls_session_require_certificate(p->server.filter);
	pair_run(p, SIZE_MAX);
}

static void test_not_asked(void **state)
{
	struct tls_context *server = test_server_context(dir, "hub"), *client = client_of("edge");
	struct pair p;

	(void)state;
	run(&p, client, server, false, false);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	assert_false(tls_session_facts(p.server.filter)->has_peer_cert);
	assert_int_equal(tls_session_client_certificate(p.server.filter).len, 0);
	pair_close(&p);
	tls_context_unref(client);
	tls_context_unref(server);
}

static const struct {
	const char *client;
	bool is_trusted;
	const char *name, *trouble;
} verdicts[] = {
	{ "edge", true, "edge.example", "" },
	{ "hub-rsa", true, "hub.example", "" },
	{ "client-only", true, "hub.example", "" },
	{ "wrong", true, "other.example", "" }, /* any name will do here */
	{ "no-names", true, "127.0.0.1", "" },
	{ "sub-chain", true, "hub.example", "" },
	{ "sub", false, "hub.example", "unknown CA (issuer CN=Sub CA)" },
	{ "server-only", false, "hub.example",
	  "certificate may not be used by a client (issuer CN=ca.example)" },
	{ "expired", false, "hub.example", "certificate has expired on 2024-01-01" },
	{ "future", false, "hub.example", "certificate is not valid before 2049-01-01" },
	{ "stranger", false, "hub.example", "unknown CA (issuer CN=Other CA)" },
	{ "self-signed", false, "hub.example",
	  "self-signed certificate, not trusted here (issuer CN=hub.example)" },
	{ "old-sub-chain", false, "hub.example",
	  "certificate of the CA (CN=Old Sub CA) has expired on 2024-01-01" },
	{ "leaf-as-ca-chain", false, "hub.example", NULL },
	/* The library's trusted peers would let the forged one pass (CVE-2026-93302). */
	{ "forged", false, "ca.example",
	  "signature of the certificate is wrong (issuer CN=ca.example)" },
	{ "of-forged-chain", false, "hub.example",
	  "signature of the certificate is wrong (issuer CN=ca.example)" },
	{ "evil", false, "hub.example",
	  "signature of the certificate is wrong (issuer CN=ca.example)" },
	{ "evil-sub-chain", false, "hub.example", NULL },
};

static void check_verdict(size_t i, const struct pair *p)
{
	const struct tls_facts *facts = tls_session_facts(p->server.filter);
	struct slice der = tls_session_client_certificate(p->server.filter);
	struct tls_session *s = CONTAINER_OF(p->server.filter, struct tls_session, filter);
	char hex[65];

	if (p->server.state != STREAM_FILTER_OPEN)
		fail_msg("%s: %s", verdicts[i].client, p->server.err.text);
	if (facts->trusted != verdicts[i].is_trusted || facts->verified != facts->trusted ||
	    (verdicts[i].trouble && strcmp(facts->trouble, verdicts[i].trouble) != 0))
		fail_msg("%s: trusted %d, \"%s\"", verdicts[i].client, facts->trusted,
			 facts->trouble);
	assert_string_equal(facts->verified_by, facts->trusted ? "ca" : "");
	assert_string_equal(facts->peer_name, verdicts[i].name);
	certs_fingerprint(der, hex);
	assert_string_equal(facts->fingerprint + strlen("sha256:"), hex);

	/* Else the client need not have shown that the key is his. */
	assert_int_equal(wolfSSL_get_verify_mode(s->ssl) & WOLFSSL_VERIFY_PEER,
			 WOLFSSL_VERIFY_PEER);
}

static void try_verdict(size_t i, struct tls_context *server, bool is_1_2)
{
	struct tls_context *client = client_of(verdicts[i].client);
	struct pair p;

	run(&p, client, server, is_1_2, false);
	check_verdict(i, &p);
	pair_close(&p);

	run(&p, client, server, is_1_2, true);
	if (verdicts[i].is_trusted) {
		check_verdict(i, &p);
	} else {
		if (p.server.state >= 0)
			fail_msg("%s was let in", verdicts[i].client);
		if (verdicts[i].trouble)
			assert_string_equal(p.server.err.text, verdicts[i].trouble);
	}
	pair_close(&p);
	tls_context_unref(client);
}

static void test_verdicts(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++) {
		try_verdict(i, server, false);
		try_verdict(i, server, true);
	}
	/* Nobody has left anything behind that the next one profits by. */
	for (size_t i = 0; i < ARRAY_SIZE(verdicts); i++)
		try_verdict(i, server, i % 2 == 0);
	tls_context_unref(server);
}

static void append_file(FILE *to, const char *path)
{
	FILE *from = fopen(path, "re");
	int c;

	while (from && (c = getc(from)) != EOF)
		putc(c, to);
	if (from)
		fclose(from);
}

/* Our CA among all those of the world, where there are such: a clone stays one. */
static void test_many_cas(void **state)
{
	static const struct {
		const char *name;
		bool is_trusted;
	} clients[] = { { "edge", true }, { "forged", false }, { "of-forged-chain", false } };
	FILE *bundle = fopen(throwaway_path(dir, "bundle.pem"), "we");
	struct tls_context *server;

	(void)state;
	append_file(bundle, "/etc/ssl/certs/ca-certificates.crt");
	append_file(bundle, throwaway_path(dir, "other-ca.pem"));
	append_file(bundle, throwaway_path(dir, "ca.pem"));
	fclose(bundle);
	server = asking("bundle.pem", NULL);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		struct tls_context *client = client_of(clients[i].name);
		struct pair p;

		run(&p, client, server, false, false);
		assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
		assert_int_equal(tls_session_facts(p.server.filter)->trusted,
				 clients[i].is_trusted);
		pair_close(&p);
		tls_context_unref(client);
	}
	tls_context_unref(server);
}

static void without_certificate(bool is_1_2)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of(NULL);
	struct pair p;

	run(&p, client, server, is_1_2, false);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	assert_false(tls_session_facts(p.server.filter)->has_peer_cert);
	pair_close(&p);

	run(&p, client, server, is_1_2, true);
	assert_true(p.server.state < 0);
	assert_string_equal(p.server.err.text, "the peer sent no certificate");
	pair_close(&p);
	tls_context_unref(client);
	tls_context_unref(server);
}

static void test_no_certificate(void **state)
{
	(void)state;
	without_certificate(false);
	without_certificate(true);
}

/* Asked, but with no CA: fingerprints are all there is to go by. */
static void test_no_trust(void **state)
{
	struct tls_context *server = asking(NULL, NULL), *client = client_of("edge");
	struct pair p;

	(void)state;
	run(&p, client, server, false, false);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	assert_true(tls_session_facts(p.server.filter)->has_peer_cert);
	assert_false(tls_session_facts(p.server.filter)->trusted);
	assert_string_equal(tls_session_facts(p.server.filter)->trouble,
			    "no trusted CA is configured (issuer CN=ca.example)");
	pair_close(&p);
	tls_context_unref(client);
	tls_context_unref(server);
}

/* A certificate is no secret: who shows it without its key is nobody. */
static void not_his_key(bool is_1_2)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of("edge");
	struct certs_identity *other = load("client-only");
	struct slice pem = certs_identity_key_pem(other);
	struct pair p;

	assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(client->ctx,
							   (const unsigned char *)pem.ptr,
							   (long)pem.len, WOLFSSL_FILETYPE_PEM),
			 WOLFSSL_SUCCESS);
	run(&p, client, server, is_1_2, false);
	assert_true(p.server.state < 0);
	pair_close(&p);
	certs_identity_free(other);
	tls_context_unref(client);
	tls_context_unref(server);
}

static void test_not_his_key(void **state)
{
	(void)state;
	not_his_key(false);
	not_his_key(true);
}

/* ---- resumption ---- */

/* One connection; whether the server has resumed it, and what it knows then. */
static bool connect_to(struct tls_context *client, struct tls_context *server, bool is_required,
		       struct tls_facts *ret)
{
	struct slice der;
	char hex[65];
	struct pair p;

	run(&p, client, server, false, is_required);
	if (p.server.state != STREAM_FILTER_OPEN || p.client.state != STREAM_FILTER_OPEN)
		fail_msg("client %s, server %s", p.client.err.text, p.server.err.text);
	end_send(&p.server, "220 hub.example\r\n", 17);
	pair_run(&p, SIZE_MAX);
	*ret = *tls_session_facts(p.server.filter);
	assert_int_equal(ret->resumed, tls_session_facts(p.client.filter)->resumed);
	der = tls_session_client_certificate(p.server.filter);
	assert_int_equal(ret->has_peer_cert, der.len > 0);
	if (der.len > 0) {
		certs_fingerprint(der, hex);
		assert_string_equal(ret->fingerprint + strlen("sha256:"), hex);
	}
	pair_close(&p);
	return ret->resumed;
}

static void resume_as(struct tls_context *server, const char *name, bool is_required)
{
	struct tls_context *client = client_of(name);
	struct tls_facts first, again;

	assert_false(connect_to(client, server, is_required, &first));
	for (int i = 0; i < 3; i++) {
		assert_true(connect_to(client, server, is_required, &again));
		again.resumed = false;
		assert_int_equal(again.trusted, first.trusted);
		assert_int_equal(again.verified, first.verified);
		assert_int_equal(again.not_after_s, first.not_after_s);
		assert_string_equal(again.verified_by, first.verified_by);
		assert_string_equal(again.peer_name, first.peer_name);
		assert_string_equal(again.fingerprint, first.fingerprint);
		assert_string_equal(again.pubkey_fingerprint, first.pubkey_fingerprint);
		assert_string_equal(again.trouble, first.trouble);
	}
	tls_context_unref(client);
}

static void test_resumed(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL);

	(void)state;
	resume_as(server, "edge", false);
	resume_as(server, "edge", true);
	resume_as(server, "stranger", false);
	resume_as(server, NULL, false);
	tls_context_unref(server);
}

/* One that has expired is shown each time. */
static void test_expired_is_not_resumed(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of("expired");
	struct tls_facts facts;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_false(connect_to(client, server, false, &facts));
	tls_context_unref(client);
	tls_context_unref(server);
}

/* A session that was let in where no certificate was needed does not go on where one is. */
static void test_demand_is_not_bypassed(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of(NULL);
	struct tls_facts facts;
	struct pair p;

	(void)state;
	assert_false(connect_to(client, server, false, &facts));
	assert_true(connect_to(client, server, false, &facts));
	run(&p, client, server, false, true);
	assert_true(p.server.state < 0);
	pair_close(&p);
	tls_context_unref(client);
	tls_context_unref(server);
}

/* Reloads: the same CA, another CA, none asked, asked again. */
static void test_reload(void **state)
{
	struct tls_context *first = asking("ca.pem", NULL), *same = asking("ca.pem", first);
	struct tls_context *other = asking("other-ca.pem", same);
	struct tls_context *client = client_of("edge");
	struct tls_facts facts;

	(void)state;
	assert_false(connect_to(client, first, false, &facts));
	assert_true(facts.trusted);
	tls_context_unref(first);
	assert_true(connect_to(client, same, false, &facts));
	assert_true(facts.trusted);

	/* Our CA was taken away: the ticket is of no use, and the certificate is judged anew. */
	assert_false(connect_to(client, other, false, &facts));
	assert_true(facts.has_peer_cert);
	assert_false(facts.trusted);
	assert_true(connect_to(client, other, false, &facts));
	assert_false(facts.trusted);

	/* And back: not by what was found out under the other CA. */
	assert_false(connect_to(client, same, false, &facts));
	assert_true(facts.trusted);
	tls_context_unref(client);
	tls_context_unref(same);
	tls_context_unref(other);
}

/* Clients that resume were not asked before: they are now. */
static void test_reload_begins_to_ask(void **state)
{
	struct tls_context *silent = test_server_context(dir, "hub");
	struct tls_context *server = asking("ca.pem", silent), *client = client_of("edge");
	struct tls_facts facts;

	(void)state;
	assert_false(connect_to(client, silent, false, &facts));
	assert_true(connect_to(client, silent, false, &facts));
	assert_false(connect_to(client, server, false, &facts));
	assert_true(facts.trusted);
	tls_context_unref(client);
	tls_context_unref(server);
	tls_context_unref(silent);
}

/* More certificates than there is room for: who was forgotten shows his again. */
static void test_forgotten(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of("edge");
	struct tls_resumable other = { .session = SLICE("x"), .until_s = INT64_MAX };
	struct tls_facts facts;
	char key[32];

	(void)state;
	assert_false(connect_to(client, server, false, &facts));
	for (int i = 0; i < 2000; i++) {
		snprintf(key, sizeof(key), "%d", i);
		tls_resume_put(tls_tickets_peers(server->tickets), slice_from(key), &other);
	}
	assert_false(connect_to(client, server, false, &facts));
	assert_true(facts.trusted);
	assert_true(connect_to(client, server, false, &facts));
	tls_context_unref(client);
	tls_context_unref(server);
}

/* A session that goes on without a fresh exchange of keys lies open to who gets the ticket's. */
static void test_fresh_keys(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of("edge");
	struct tls_facts facts;
	struct tls_session *s;
	struct pair p;

	(void)state;
	assert_false(connect_to(client, server, false, &facts));
	assert_true(connect_to(client, server, false, &facts));
	pair_open(&p, client, server, test_policy("tls=encrypt"), "key");
	s = CONTAINER_OF(p.client.filter, struct tls_session, filter);
	assert_int_equal(wolfSSL_no_dhe_psk(s->ssl), 0);
	pair_run(&p, SIZE_MAX);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	assert_false(tls_session_facts(p.server.filter)->resumed);
	assert_true(tls_session_facts(p.server.filter)->trusted);
	pair_close(&p);
	tls_context_unref(client);
	tls_context_unref(server);
}

/* Clients of others take tickets of TLS 1.2. */
static void test_old_tickets(void **state)
{
	struct tls_context *server = asking("ca.pem", NULL), *client = client_of("edge");
	struct tls_facts first = { 0 };
	struct pair p;

	(void)state;
	assert_int_equal(wolfSSL_CTX_UseSessionTicket(client->ctx), WOLFSSL_SUCCESS);
	for (int i = 0; i < 3; i++) {
		const struct tls_facts *facts;

		run(&p, client, server, true, true);
		pair_connect(&p);
		facts = tls_session_facts(p.server.filter);
		if (i == 0)
			first = *facts;
		assert_string_equal(facts->protocol, "TLSv1.2");
		assert_int_equal(facts->resumed, i > 0);
		assert_true(facts->verified);
		assert_string_equal(facts->fingerprint, first.fingerprint);
		pair_close(&p);
	}
	tls_context_unref(client);
	tls_context_unref(server);
}

/* ---- which certificate ---- */

/* Two kinds of keys, and two names. */
static struct tls_context *with_hosts(bool ask, struct tls_context *previous)
{
	struct certs_identity *hub = load("hub"), *rsa = load("hub-rsa"), *edge = load("edge"),
			      *wild = load("wild"), *sub = load("sub-chain");
	const struct certs_identity *const more[] = { hub }, *const of_edge[] = { edge },
					   *const of_wild[] = { wild, rsa },
					   *const of_sub[] = { sub };
	const struct tls_host hosts[] = { { "edge.example", of_edge, 1 },
					  { ".example", of_wild, 2 },
					  { "example.net", of_sub, 1 } };
	struct tls_context_options options = { .identity = rsa,
					       .more_identities = more,
					       .more_count = 1,
					       .hosts = hosts,
					       .host_count = 3,
					       .ask_certificate = ask,
					       .previous = previous };
	struct tls_context *context = NULL;
	struct certs_trust *trust = NULL;
	struct error err = { 0 };

	assert_int_equal(certs_trust_load(throwaway_path(dir, "ca.pem"), &trust, NULL), 0);
	options.trust = trust;
	if (tls_context_new_server(&options, &context, &err) < 0)
		fail_msg("%s", err.text);
	certs_trust_free(trust);
	certs_identity_free(hub);
	certs_identity_free(rsa);
	certs_identity_free(edge);
	certs_identity_free(wild);
	certs_identity_free(sub);
	return context;
}

/* Whose certificate the client has seen: the name of its file. */
static const char *shown(const struct pair *p)
{
	static const char *const names[] = { "hub", "hub-rsa", "edge", "wild", "sub-chain" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct certs_identity *identity = load(names[i]);
		bool is_it = strcmp(certs_identity_info(identity)->sha256,
				    tls_session_facts(p->client.filter)->fingerprint +
					    strlen("sha256:")) == 0;

		certs_identity_free(identity);
		if (is_it)
			return names[i];
	}
	return "?";
}

static void run_named(struct pair *p, struct tls_context *client, struct tls_context *server,
		      const char *name, bool is_1_2)
{
	char policy[100];

	snprintf(policy, sizeof(policy), "tls=encrypt%s%s", name ? " servername=" : "",
		 name ? name : "");
	pair_open_to(p, client, server, test_policy(policy), "192.0.2.1", "key");
	if (is_1_2)
		end_limit_to_1_2(&p->client);
	pair_run(p, 100);
	if (p->client.state != STREAM_FILTER_OPEN || p->server.state != STREAM_FILTER_OPEN)
		fail_msg("%s: %s, %s", policy, p->client.err.text, p->server.err.text);
}

static const struct {
	const char *asked, *host, *any, *rsa; /* rsa: to those that know no other keys */
} shows[] = {
	{ NULL, "", "hub", "hub-rsa" },
	{ "elsewhere.org", "", "hub", "hub-rsa" },
	{ "example", "", "hub", "hub-rsa" },
	{ "edge.example", "edge.example", "edge", NULL },
	{ "EDGE.Example", "edge.example", "edge", NULL },
	{ "mail.example", ".example", "wild", "hub-rsa" },
	{ "a.mail.example", ".example", "wild", "hub-rsa" },
	{ "example.net", "example.net", "sub-chain", NULL },
	{ "a.example.net", "", "hub", "hub-rsa" },
};

static void test_choice(void **state)
{
	struct tls_context *server = with_hosts(false, NULL), *client, *only_rsa;

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(shows); i++) {
		bool is_1_2 = i % 2;
		struct pair p;

		client = client_of(NULL);
		run_named(&p, client, server, shows[i / 2].asked, is_1_2);
		assert_string_equal(shown(&p), shows[i / 2].any);
		assert_string_equal(tls_session_server_name(p.server.filter), shows[i / 2].host);
		pair_close(&p);

		/* The same certificate is not shown again, but known again. */
		run_named(&p, client, server, shows[i / 2].asked, is_1_2);
		assert_int_equal(tls_session_facts(p.server.filter)->resumed, !is_1_2);
		pair_close(&p);
		tls_context_unref(client);

		if (!shows[i / 2].rsa)
			continue;
		only_rsa = client_of(NULL);
		assert_int_equal(wolfSSL_CTX_set1_sigalgs_list(
					 only_rsa->ctx, "RSA+SHA256:RSA+SHA384:RSA-PSS+SHA256"),
				 WOLFSSL_SUCCESS);
		run_named(&p, only_rsa, server, shows[i / 2].asked, is_1_2);
		assert_string_equal(shown(&p), shows[i / 2].rsa);
		pair_close(&p);
		tls_context_unref(only_rsa);
	}
	tls_context_unref(server);
}

/* Clients are asked and judged whatever they are shown. */
static void test_choice_asks(void **state)
{
	static const char *const names[] = { NULL, "edge.example", "example.net" };
	struct tls_context *server = with_hosts(true, NULL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct tls_context *good = client_of("edge"), *forged = client_of("forged");
		struct pair p;

		run_named(&p, good, server, names[i], false);
		assert_true(tls_session_facts(p.server.filter)->trusted);
		pair_close(&p);
		run_named(&p, forged, server, names[i], false);
		assert_true(tls_session_facts(p.server.filter)->has_peer_cert);
		assert_false(tls_session_facts(p.server.filter)->trusted);
		pair_close(&p);

		pair_open_to(&p, forged, server, test_policy("tls=encrypt servername=example.net"),
			     "x", NULL);
		tls_session_require_certificate(p.server.filter);
		pair_run(&p, SIZE_MAX);
		assert_true(p.server.state < 0);
		pair_close(&p);
		tls_context_unref(good);
		tls_context_unref(forged);
	}
	tls_context_unref(server);
}

/* ---- ALPN ---- */

static void test_alpn(void **state)
{
	static const struct {
		const char *offered, *chosen; /* NULL: refused */
	} cases[] = {
		{ "smtp", "smtp" },
		{ "http/1.1,smtp", "smtp" },
		{ "http/1.1", NULL },
		{ "smtps,imap", NULL },
	};
	struct tls_context *server = with_hosts(false, NULL);

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		struct tls_context *client = client_of(NULL);
		struct tls_session *s;
		char offered[32], *protocol = NULL;
		unsigned short size = 0;
		struct pair p;

		snprintf(offered, sizeof(offered), "%s", cases[i / 2].offered);
		pair_open(&p, client, server, test_policy("tls=encrypt"), NULL);
		if (i % 2)
			end_limit_to_1_2(&p.client);
		s = CONTAINER_OF(p.client.filter, struct tls_session, filter);
		assert_int_equal(wolfSSL_UseALPN(s->ssl, offered, (unsigned int)strlen(offered),
						 WOLFSSL_ALPN_CONTINUE_ON_MISMATCH),
				 WOLFSSL_SUCCESS);
		pair_run(&p, SIZE_MAX);
		assert_int_equal(p.client.state == STREAM_FILTER_OPEN, cases[i / 2].chosen != NULL);
		if (cases[i / 2].chosen) {
			assert_int_equal(wolfSSL_ALPN_GetProtocol(s->ssl, &protocol, &size),
					 WOLFSSL_SUCCESS);
			assert_int_equal(size, 4);
			assert_memory_equal(protocol, cases[i / 2].chosen, 4);
		} else {
			assert_string_equal(p.client.err.text,
					    "peer sent alert: no application protocol");
			assert_string_equal(p.server.err.text,
					    "the client wants another application protocol than "
					    "smtp (ALPN)");
		}
		pair_close(&p);
		tls_context_unref(client);
	}
	tls_context_unref(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_not_asked),
		cmocka_unit_test(test_verdicts),
		cmocka_unit_test(test_many_cas),
		cmocka_unit_test(test_no_certificate),
		cmocka_unit_test(test_no_trust),
		cmocka_unit_test(test_not_his_key),
		cmocka_unit_test(test_resumed),
		cmocka_unit_test(test_expired_is_not_resumed),
		cmocka_unit_test(test_demand_is_not_bypassed),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_reload_begins_to_ask),
		cmocka_unit_test(test_forgotten),
		cmocka_unit_test(test_fresh_keys),
		cmocka_unit_test(test_old_tickets),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_choice_asks),
		cmocka_unit_test(test_alpn),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
