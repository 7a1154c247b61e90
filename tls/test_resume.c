/* test_resume - sessions are taken up again, and a verdict is never raised by it */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "certs/identity.h"
#include "tests/support/throwaway.h"
#include "tls/resume.h"
#include "tls/context_internal.h"
#include "tls/test_pair.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

struct fixture {
	char *dir;
	struct tls_context *server;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = throwaway_certs();
	f->server = test_server_context(f->dir, "hub");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tls_context_unref(f->server);
	throwaway_remove(f->dir);
	free(f);
	tls_thread_done();
	return 0;
}

/*
 * A server of TLS 1.2 that resumes by session ids, not by tickets. Ours never
 * does, but others do.
 */
static struct tls_context *old_server_context(const char *dir, const char *name)
{
	struct tls_context *context = test_server_context(dir, name);
	struct certs_identity *identity = NULL;
	char cert[64], key[64];
	struct slice pem;

	snprintf(cert, sizeof(cert), "%s.pem", name);
	snprintf(key, sizeof(key), "%s.key", name);
	assert_int_equal(certs_identity_load(throwaway_path(dir, cert), throwaway_path(dir, key),
					     &identity, NULL),
			 0);
	wolfSSL_CTX_free(context->ctx);
	context->ctx = wolfSSL_CTX_new(wolfTLSv1_2_server_method());
	context->hosts[0].list[0].ctx = context->ctx;
	pem = certs_identity_chain_pem(identity);
	assert_int_equal(wolfSSL_CTX_use_certificate_chain_buffer(
				 context->ctx, (const unsigned char *)pem.ptr, (long)pem.len),
			 WOLFSSL_SUCCESS);
	pem = certs_identity_key_pem(identity);
	assert_int_equal(wolfSSL_CTX_use_PrivateKey_buffer(context->ctx,
							   (const unsigned char *)pem.ptr,
							   (long)pem.len, WOLFSSL_FILETYPE_PEM),
			 WOLFSSL_SUCCESS);
	certs_identity_free(identity);
	return context;
}

static struct tls_context *server_context(const char *dir, bool is_1_2, const char *name)
{
	return is_1_2 ? old_server_context(dir, name) : test_server_context(dir, name);
}

/* One connection, with some data; returns whether it was resumed, on both sides. */
static bool connect_once(struct tls_context *client, struct tls_context *server, const char *policy,
			 struct tls_facts *ret_facts)
{
	struct pair p;

	pair_open(&p, client, server, test_policy(policy), "key");
	pair_connect(&p);
	end_send(&p.server, "220 hub.example\r\n", 17);
	end_send(&p.client, "EHLO edge.example\r\n", 19);
	pair_run(&p, SIZE_MAX);
	assert_int_equal(buf_len(&p.client.input), 17);
	assert_int_equal(buf_len(&p.server.input), 19);
	*ret_facts = *tls_session_facts(p.client.filter);
	assert_int_equal(tls_session_facts(p.server.filter)->resumed, ret_facts->resumed);
	pair_close(&p);
	return ret_facts->resumed;
}

/* A session that a pin has verified stays so, and is of no use to others. */
static void expect_pinned(struct tls_context *client, struct tls_context *server,
			  const struct tls_facts *known)
{
	struct tls_facts facts;
	char pinned[200], more[300];

	snprintf(pinned, sizeof(pinned), "tls=fingerprint fingerprint=%s", known->fingerprint);
	snprintf(more, sizeof(more), "%s|%s", pinned, known->pubkey_fingerprint);
	assert_false(connect_once(client, server, pinned, &facts));
	assert_true(connect_once(client, server, pinned, &facts));
	assert_true(facts.verified);
	assert_string_equal(facts.verified_by, "fingerprint");
	assert_false(connect_once(client, server, more, &facts));
	assert_true(connect_once(client, server, "tls=verify", &facts));
	assert_string_equal(facts.verified_by, "ca");
}

static void resume_often(struct fixture *f, bool is_1_2)
{
	struct tls_context *server = server_context(f->dir, is_1_2, "hub");
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct tls_facts first, facts;
	struct pair p;

	assert_false(connect_once(client, server, "tls=verify", &first));
	for (int i = 0; i < 4; i++) {
		assert_true(connect_once(client, server, "tls=verify", &facts));
		/* All is known of the peer that was known at first. */
		assert_true(facts.verified && facts.trusted && facts.has_peer_cert);
		assert_string_equal(facts.peer_name, "hub.example");
		assert_string_equal(facts.verified_by, "ca");
		assert_string_equal(facts.fingerprint, first.fingerprint);
		assert_memory_equal(facts.pubkey_fingerprint, "pubkey-sha256:", 14);
		assert_string_equal(facts.pubkey_fingerprint, first.pubkey_fingerprint);
		assert_int_equal(facts.not_after_s, first.not_after_s);
		assert_true(facts.not_after_s > 0);
		assert_string_equal(facts.protocol, is_1_2 ? "TLSv1.2" : "TLSv1.3");
		assert_string_equal(facts.cipher, first.cipher);
		assert_int_equal(facts.bits, first.bits);
	}

	expect_pinned(client, server, &first);

	/* Other keys, and no key, know nothing of it. */
	for (int i = 0; i < 2; i++) {
		pair_open(&p, client, server, test_policy("tls=verify"), i ? "other" : NULL);
		pair_connect(&p);
		assert_false(tls_session_facts(p.client.filter)->resumed);
		pair_close(&p);
	}
	tls_context_unref(client);
	tls_context_unref(server);
}

static void test_resumed(void **state)
{
	resume_often(*state, false);
	resume_often(*state, true);
}

/*
 * The caller's key is meant to tell policies apart. If it does not, a session
 * of a lower level must not become one of level verify all the same.
 */
static void try_to_raise(struct fixture *f, bool is_1_2, const char *name, const char *policy,
			 const char *nexthop)
{
	struct tls_context *server = server_context(f->dir, is_1_2, name);
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct tls_facts facts;
	struct pair p;

	connect_once(client, server, "tls=encrypt", &facts);
	assert_true(connect_once(client, server, "tls=encrypt", &facts));
	pair_open_to(&p, client, server, test_policy(policy), nexthop, "key");
	pair_run(&p, SIZE_MAX);
	if (p.client.state >= 0)
		fail_msg("%s: %s", name, policy);
	pair_close(&p);

	/* What was known of the lower one is remembered as it was. */
	assert_true(connect_once(client, server, "tls=encrypt", &facts));
	assert_int_equal(facts.verified, strcmp(name, "hub") == 0);
	tls_context_unref(client);
	tls_context_unref(server);
}

static void test_never_raised(void **state)
{
	static const struct {
		const char *server, *policy, *nexthop;
	} cases[] = {
		{ "stranger", "tls=verify", "hub.example" },
		{ "wrong", "tls=verify", "hub.example" },
		{ "hub", "tls=verify match=other.example", "hub.example" },
		{ "hub", "tls=verify", "other.example" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		try_to_raise(*state, false, cases[i].server, cases[i].policy, cases[i].nexthop);
		try_to_raise(*state, true, cases[i].server, cases[i].policy, cases[i].nexthop);
	}
}

/* Another server, or one that lost its keys: a full handshake, and its certificate counts. */
static void lose_server(struct fixture *f, bool is_1_2)
{
	struct tls_context *server = server_context(f->dir, is_1_2, "hub");
	struct tls_context *renewed = server_context(f->dir, is_1_2, "hub-rsa");
	struct tls_context *stranger = server_context(f->dir, is_1_2, "stranger");
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct tls_facts facts;
	struct pair p;

	/* The library's table of ids is one for all contexts. Ours never ask it. */
	if (is_1_2) {
		wolfSSL_CTX_set_session_cache_mode(renewed->ctx,
						   WOLFSSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
		wolfSSL_CTX_set_session_cache_mode(stranger->ctx,
						   WOLFSSL_SESS_CACHE_NO_INTERNAL_LOOKUP);
	}
	connect_once(client, server, "tls=verify", &facts);
	assert_false(connect_once(client, renewed, "tls=verify", &facts));
	assert_true(facts.verified);
	assert_int_equal(connect_once(client, renewed, "tls=verify", &facts), !is_1_2);

	pair_open(&p, client, stranger, test_policy("tls=verify"), "key");
	pair_run(&p, SIZE_MAX);
	assert_true(p.client.state < 0);
	assert_string_equal(p.client.err.text, "unknown CA (issuer CN=Other CA)");
	pair_close(&p);

	/* The failure has made us forget the session: the next attempt starts anew. */
	assert_false(connect_once(client, renewed, "tls=verify", &facts));
	tls_context_unref(client);
	tls_context_unref(server);
	tls_context_unref(renewed);
	tls_context_unref(stranger);
}

static void test_lost_server(void **state)
{
	lose_server(*state, false);
	lose_server(*state, true);
}

/* A client of TLS 1.2 asks for no ticket, as it could not go on if that was refused. */
static void test_no_old_tickets(void **state)
{
	struct fixture *f = *state;
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct pair p;

	for (int i = 0; i < 2; i++) {
		pair_open(&p, client, f->server, test_policy("tls=verify"), "key");
		end_limit_to_1_2(&p.server);
		pair_connect(&p);
		assert_false(tls_session_facts(p.client.filter)->resumed);
		pair_close(&p);
	}
	tls_context_unref(client);
}

/* A reload carries the ticket keys over. */
static void test_reload(void **state)
{
	struct fixture *f = *state;
	struct tls_context_options options = { .previous = f->server };
	struct tls_context *client = test_client_context(f->dir, "ca.pem"), *next = NULL;
	struct certs_identity *identity = NULL;
	struct tls_facts facts;

	assert_int_equal(certs_identity_load(throwaway_path(f->dir, "hub.pem"),
					     throwaway_path(f->dir, "hub.key"), &identity, NULL),
			 0);
	options.identity = identity;
	connect_once(client, f->server, "tls=verify", &facts);
	assert_int_equal(tls_context_new_server(&options, &next, NULL), 0);
	assert_true(connect_once(client, next, "tls=verify", &facts));
	assert_true(facts.verified);

	certs_identity_free(identity);
	tls_context_unref(next);
	tls_context_unref(client);
}

/* Garbage in place of the server's answer to a ticket. */
static void test_damaged_answer(void **state)
{
	struct fixture *f = *state;
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct tls_facts facts;

	for (unsigned int i = 0; i < 200; i++) {
		struct pair p;
		struct buf *wire;

		connect_once(client, f->server, "tls=verify", &facts);
		pair_open(&p, client, f->server, test_policy("tls=verify"), "key");
		end_feed(&p.client, "", 0);
		end_feed(&p.server, buf_slice(&p.client.wire_out).ptr, buf_len(&p.client.wire_out));
		buf_clear(&p.client.wire_out);
		wire = &p.server.wire_out;
		wire->mem[wire->start + i % buf_len(wire)] ^= (char)(1u << i % 7);
		pair_run(&p, SIZE_MAX);
		if (p.client.state == STREAM_FILTER_OPEN)
			assert_true(tls_session_facts(p.client.filter)->verified);
		pair_close(&p);
	}
	tls_context_unref(client);
}

static void put(struct tls_resume *resume, const char *key, const char *session, int64_t until_s)
{
	struct tls_resumable resumable = { .session = slice_from(session), .until_s = until_s };

	snprintf(resumable.facts.peer_name, sizeof(resumable.facts.peer_name), "of %s", session);
	tls_resume_put(resume, slice_from(key), &resumable);
}

static bool has(struct tls_resume *resume, const char *key, int64_t now_s, const char *want)
{
	struct tls_resumable got;
	struct buf bytes = { 0 };
	char peer_name[64];
	bool found = tls_resume_get(resume, slice_from(key), now_s, &bytes, &got);

	if (found) {
		assert_true(slice_equal(got.session, slice_from(want)));
		snprintf(peer_name, sizeof(peer_name), "of %s", want);
		assert_string_equal(got.facts.peer_name, peer_name);
	}
	buf_done(&bytes);
	return found;
}

static void test_cache(void **state)
{
	struct tls_resume *resume = tls_resume_new();
	char key[32];

	(void)state;
	assert_false(has(resume, "a", 0, NULL));
	put(resume, "a", "one", 100);
	assert_true(has(resume, "a", 99, "one"));
	put(resume, "a", "two", 200);
	assert_true(has(resume, "a", 199, "two"));
	assert_false(has(resume, "a", 200, NULL));
	assert_false(has(resume, "a", 0, NULL)); /* and it is gone */

	put(resume, "a", "one", 100);
	tls_resume_forget(resume, SLICE("a"));
	tls_resume_forget(resume, SLICE("a"));
	assert_false(has(resume, "a", 0, NULL));

	/* It holds so many, and the one used longest ago goes first. */
	for (int i = 0; i < 1024; i++) {
		snprintf(key, sizeof(key), "%d", i);
		put(resume, key, "x", 100);
	}
	assert_true(has(resume, "0", 0, "x"));
	put(resume, "one more", "y", 100);
	assert_true(has(resume, "0", 0, "x"));
	assert_false(has(resume, "1", 0, NULL));
	assert_true(has(resume, "2", 0, "x"));
	assert_true(has(resume, "one more", 0, "y"));
	tls_resume_free(resume);
}

struct worker {
	struct tls_context *client, *server;
	unsigned int seed, resumed;
};

/* Not with the harness: it ends the test on failures, which only the main thread may. */
static void *work(void *arg)
{
	struct worker *w = arg;
	static const struct tls_policy policy = { .level = TLS_LEVEL_VERIFY };

	for (unsigned int i = 0; i < 60; i++) {
		struct stream_filter *client, *server;
		struct buf to_server = { 0 }, to_client = { 0 }, input = { 0 };
		char key[8];
		int r;

		snprintf(key, sizeof(key), "%u", (w->seed + i) % 3);
		if (tls_session_new_client(w->client, &policy, "hub.example", NULL, key, &client,
					   NULL) < 0 ||
		    tls_session_new_server(w->server, &server, NULL) < 0)
			abort();
		do {
			r = client->decode(client, &to_client, &input, &to_server, NULL);
			if (r < 0 ||
			    server->decode(server, &to_server, &input, &to_client, NULL) < 0)
				abort();
		} while (r != STREAM_FILTER_OPEN || buf_len(&to_client) > 0);
		w->resumed += tls_session_facts(client)->resumed;
		client->free(client);
		server->free(server);
		buf_done(&to_server);
		buf_done(&to_client);
		buf_done(&input);
	}
	tls_thread_done();
	return NULL;
}

/* Threads share both contexts; the sanitizers watch. */
static void test_threads(void **state)
{
	struct fixture *f = *state;
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct worker workers[4];
	pthread_t threads[4];
	unsigned int resumed = 0;

	for (unsigned int i = 0; i < 4; i++) {
		workers[i] = (struct worker){ client, f->server, i, 0 };
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	}
	for (unsigned int i = 0; i < 4; i++) {
		pthread_join(threads[i], NULL);
		resumed += workers[i].resumed;
	}
	assert_true(resumed >= 4 * 60 - 3 * 4); /* at most each thread began each key itself */
	tls_context_unref(client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resumed),	    cmocka_unit_test(test_never_raised),
		cmocka_unit_test(test_lost_server), cmocka_unit_test(test_no_old_tickets),
		cmocka_unit_test(test_reload),	    cmocka_unit_test(test_damaged_answer),
		cmocka_unit_test(test_cache),	    cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
