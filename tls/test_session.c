/* test_session - handshakes, data and ends, cut up in every way; and peers that are none */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "tests/support/throwaway.h"
#include "tls/test_pair.h"

struct fixture {
	char *dir;
	struct tls_context *server, *client;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->dir = throwaway_certs();
	f->server = test_server_context(f->dir, "hub");
	f->client = test_client_context(f->dir, "ca.pem");
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	tls_context_unref(f->server);
	tls_context_unref(f->client);
	throwaway_remove(f->dir);
	free(f);
	tls_thread_done();
	return 0;
}

static void assert_input(struct end *end, const char *want)
{
	assert_true(slice_equal(buf_slice(&end->input), slice_from(want)));
	buf_clear(&end->input);
}

/* Handshake, data both ways, and both farewells, in pieces of chunk bytes. */
static void converse_in(struct fixture *f, bool is_1_2, size_t chunk)
{
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
	if (is_1_2)
		end_limit_to_1_2(&p.client);
	pair_run(&p, chunk);
	assert_int_equal(p.client.state, STREAM_FILTER_OPEN);
	assert_int_equal(p.server.state, STREAM_FILTER_OPEN);
	assert_string_equal(tls_session_facts(p.server.filter)->protocol,
			    is_1_2 ? "TLSv1.2" : "TLSv1.3");

	end_send(&p.client, "EHLO edge.example\r\n", 19);
	end_send(&p.server, "220 hub.example\r\n", 17);
	pair_run(&p, chunk);
	assert_input(&p.server, "EHLO edge.example\r\n");
	assert_input(&p.client, "220 hub.example\r\n");

	p.client.filter->finish(p.client.filter, &p.client.wire_out);
	pair_run(&p, chunk);
	assert_int_equal(p.server.state, STREAM_FILTER_ENDED);
	assert_int_equal(p.client.state, STREAM_FILTER_OPEN);

	/* The other direction is still good. */
	end_send(&p.server, "221 bye\r\n", 9);
	pair_run(&p, chunk);
	assert_input(&p.client, "221 bye\r\n");
	p.server.filter->finish(p.server.filter, &p.server.wire_out);
	pair_run(&p, chunk);
	assert_int_equal(p.client.state, STREAM_FILTER_ENDED);
	pair_close(&p);
}

static void converse(struct fixture *f, size_t chunk)
{
	converse_in(f, false, chunk);
	converse_in(f, true, chunk);
}

static void test_whole(void **state)
{
	converse(*state, SIZE_MAX);
}

static void test_byte_by_byte(void **state)
{
	converse(*state, 1);
}

static void test_odd_pieces(void **state)
{
	for (size_t chunk = 2; chunk < 40; chunk += 7)
		converse(*state, chunk);
}

/* One cut, at every place of the server's first flight. */
static void test_every_cut(void **state)
{
	struct fixture *f = *state;
	size_t flight = 1;

	for (size_t cut = 0; cut < flight; cut += cut < 300 ? 1 : 13) {
		struct pair p;

		pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
		end_feed(&p.client, "", 0);
		end_feed(&p.server, buf_slice(&p.client.wire_out).ptr, buf_len(&p.client.wire_out));
		buf_clear(&p.client.wire_out);
		flight = buf_len(&p.server.wire_out);
		end_feed(&p.client, buf_slice(&p.server.wire_out).ptr, cut);
		buf_consume(&p.server.wire_out, cut);
		pair_connect(&p);
		pair_close(&p);
	}
}

static void test_facts(void **state)
{
	static const struct {
		const char *server;
		bool is_1_2;
		const char *protocol, *cipher;
	} cases[] = {
		{ "hub", false, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256" },
		{ "hub-rsa", false, "TLSv1.3", "TLS_CHACHA20_POLY1305_SHA256" },
		{ "hub", true, "TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305" },
		{ "hub-rsa", true, "TLSv1.2", "ECDHE-RSA-CHACHA20-POLY1305" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct tls_context *server = test_server_context(f->dir, cases[i].server);
		const struct tls_facts *facts;
		struct pair p;

		pair_open(&p, f->client, server, test_policy("tls=verify"), NULL);
		if (cases[i].is_1_2)
			end_limit_to_1_2(&p.client);
		facts = tls_session_facts(p.client.filter);
		assert_null(facts->protocol);
		assert_false(facts->has_peer_cert);
		pair_connect(&p);
		assert_string_equal(facts->protocol, cases[i].protocol);
		assert_string_equal(facts->cipher, cases[i].cipher);
		assert_int_equal(facts->bits, 256);
		assert_true(facts->has_peer_cert && facts->trusted && facts->verified);
		assert_false(facts->resumed);
		assert_string_equal(facts->peer_name, "hub.example");
		assert_int_equal(strlen(facts->fingerprint), 7 + 64);
		assert_string_equal(facts->trouble, "");

		facts = tls_session_facts(p.server.filter);
		assert_string_equal(facts->protocol, cases[i].protocol);
		assert_string_equal(facts->cipher, cases[i].cipher);
		assert_false(facts->has_peer_cert || facts->trusted || facts->verified);
		pair_close(&p);
		tls_context_unref(server);
	}
}

/* What one end requires and the other has not. */
/* Of one session at both ends; of another session, resumed or not, another one. */
static void test_channel_binding(void **state)
{
	struct fixture *f = *state;
	struct slice first;
	struct pair p, q;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), "key");
	assert_int_equal(tls_session_channel_binding(p.client.filter).len, 0);
	pair_connect(&p);
	first = tls_session_channel_binding(p.client.filter);
	assert_int_equal(first.len, 32);
	assert_true(slice_equal(first, tls_session_channel_binding(p.server.filter)));

	pair_open(&q, f->client, f->server, test_policy("tls=verify"), "key");
	pair_connect(&q);
	assert_true(tls_session_facts(q.client.filter)->resumed);
	assert_false(slice_equal(first, tls_session_channel_binding(q.client.filter)));
	assert_true(slice_equal(tls_session_channel_binding(q.client.filter),
				tls_session_channel_binding(q.server.filter)));
	pair_close(&q);
	pair_close(&p);
}

static void test_no_channel_binding(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
	end_limit_to_1_2(&p.client);
	pair_connect(&p);
	assert_int_equal(tls_session_channel_binding(p.client.filter).len, 0);
	pair_close(&p);
}

static void test_nothing_in_common(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=encrypt protocols=TLSv1.3"), NULL);
	end_limit_to_1_2(&p.server);
	pair_run(&p, SIZE_MAX);
	assert_true(p.client.state < 0 && p.server.state < 0);
	assert_string_equal(p.client.err.text, "no TLS version in common with the peer");
	assert_string_equal(p.server.err.text,
			    "peer sent alert: protocol version (no TLS version in common)");
	pair_close(&p);
}

/* Ends before anything was sent, and twice. */
static void test_finish(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=may"), NULL);
	p.client.filter->finish(p.client.filter, &p.client.wire_out);
	assert_int_equal(buf_len(&p.client.wire_out), 0);
	pair_connect(&p);
	p.client.filter->finish(p.client.filter, &p.client.wire_out);
	p.client.filter->finish(p.client.filter, &p.client.wire_out);
	p.server.filter->finish(p.server.filter, &p.server.wire_out);
	pair_run(&p, SIZE_MAX);
	assert_int_equal(p.client.state, STREAM_FILTER_ENDED);
	assert_int_equal(p.server.state, STREAM_FILTER_ENDED);
	end_feed(&p.client, "anything", 8);
	assert_int_equal(p.client.state, STREAM_FILTER_ENDED);
	p.client.filter->finish(p.client.filter, &p.client.wire_out);
	assert_int_equal(buf_len(&p.client.wire_out), 0);
	pair_close(&p);
}

static void transfer(struct fixture *f, size_t size, size_t chunk)
{
	char *bytes = malloc(size);
	struct pair p;

	for (size_t i = 0; i < size; i++)
		bytes[i] = (char)(i * 2654435761u >> 13);
	pair_open(&p, f->client, f->server, test_policy("tls=encrypt"), NULL);
	pair_connect(&p);
	end_send(&p.client, bytes, size);
	end_send(&p.server, bytes, size);
	/* Records are as large as they may be. */
	assert_true(buf_len(&p.client.wire_out) < size + (size / 16384 + 1) * 64);
	pair_run(&p, chunk);
	assert_int_equal(buf_len(&p.server.input), size);
	assert_int_equal(buf_len(&p.client.input), size);
	assert_memory_equal(buf_slice(&p.server.input).ptr, bytes, size);
	assert_memory_equal(buf_slice(&p.client.input).ptr, bytes, size);
	pair_close(&p);
	free(bytes);
}

static void test_transfer(void **state)
{
	static const size_t sizes[] = { 1, 16383, 16384, 16385, 65536, 3000000 };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++)
		transfer(*state, sizes[i], 65536);
	transfer(*state, 100000, 1000);
	transfer(*state, 20000, 1);
}

/* What is no TLS gets an error, from the first byte on, that says what it is instead. */
static void test_not_tls(void **state)
{
	static const struct {
		const char *said, *client, *server;
	} cases[] = {
		{ "220 hub.example ESMTP Postfix\r\nmore",
		  "the peer's reply is not TLS, it begins with \"220 hub.example ESMTP Postfix\"",
		  "what the peer sent is not TLS, it begins with "
		  "\"220 hub.example ESMTP Postfix\"" },
		{ "EHLO edge.example\r\n", NULL,
		  "what the peer sent is not TLS, it begins with \"EHLO edge.example\"" },
		{ "GET / HTTP/1.1\r\n\r\n", NULL, NULL },
		{ "\x80\x2e\x01\x03\x01", NULL, NULL }, /* a ClientHello of SSL 2 */
		{ "\x16\x03\x01\xff\xff garbage garbage", NULL, NULL },
		{ "\x16HELLO this is not TLS either", NULL, NULL },
		{ "\x15\x03\x01\x7f\xff", NULL, NULL },
		{ "\x17\x03\x03\x01", NULL, NULL },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct pair p;

		pair_open(&p, f->client, f->server, test_policy("tls=may"), NULL);
		end_feed(&p.client, "", 0);
		end_feed(&p.client, cases[i].said, strlen(cases[i].said));
		end_feed(&p.server, cases[i].said, strlen(cases[i].said));
		assert_true(p.client.state < 0 && p.server.state < 0);
		assert_true(p.client.err.text[0] && p.server.err.text[0]);
		if (cases[i].client)
			assert_string_equal(p.client.err.text, cases[i].client);
		if (cases[i].server)
			assert_string_equal(p.server.err.text, cases[i].server);

		/* For good, and with the same words. */
		p.server.err = (struct error){ 0 };
		end_feed(&p.server, "x", 1);
		assert_true(p.server.state < 0 && p.server.err.text[0]);
		pair_close(&p);
	}
}

/* A byte flipped on the way: nobody opens, or what was sent does not arrive; nobody crashes. */
static void test_flipped(void **state)
{
	struct fixture *f = *state;

	for (unsigned int i = 0; i < 400; i++) {
		struct pair p;
		struct buf *wire;

		pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
		end_feed(&p.client, "", 0);
		wire = &p.client.wire_out;
		if (i % 2) {
			end_feed(&p.server, buf_slice(wire).ptr, buf_len(wire));
			buf_clear(wire);
			wire = &p.server.wire_out;
		}
		wire->mem[wire->start + (i * 7919u) % buf_len(wire)] ^= (char)(1u << i % 8);
		pair_run(&p, SIZE_MAX);
		if (p.client.state == STREAM_FILTER_OPEN)
			assert_true(tls_session_facts(p.client.filter)->verified);
		pair_close(&p);
	}
}

/* After the handshake, a flipped byte is noticed. */
static void test_forged_record(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
	pair_connect(&p);
	end_send(&p.client, "QUIT\r\n", 6);
	p.client.wire_out.mem[p.client.wire_out.start + 7] ^= 1;
	pair_run(&p, SIZE_MAX);
	assert_true(p.server.state < 0);
	assert_string_equal(p.server.err.text, "a TLS record was damaged or forged on its way");
	assert_int_equal(buf_len(&p.server.input), 0);
	/* The client is told. */
	assert_true(p.client.state < 0);
	assert_string_equal(p.client.err.text, "peer sent alert: bad record mac");
	pair_close(&p);
}

/* Only what the peer must not send is cut: it waits for the rest, whatever is missing. */
static void test_truncated(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
	end_feed(&p.client, "", 0);
	end_feed(&p.server, buf_slice(&p.client.wire_out).ptr, buf_len(&p.client.wire_out) - 1);
	assert_int_equal(p.server.state, STREAM_FILTER_BUSY);
	assert_int_equal(buf_len(&p.server.wire_out), 0);
	pair_close(&p);
}

/* A ClientHello of TLS 1.1, as openssl 1.0 wrote them; RFC 4346 section 7.4.1.2. */
static void test_old_version(void **state)
{
	static const unsigned char hello[] = {
		22, 3,	1,    0,    47, /* record */
		1,  0,	0,    43,	/* ClientHello */
		3,  2,			/* TLS 1.1 */
		1,  2,	3,    4,    5,	  6,	7,  8,	9,  10, 11, 12, 13, 14, 15, 16,
		17, 18, 19,   20,   21,	  22,	23, 24, 25, 26, 27, 28, 29, 30, 31, 32, /* random */
		0,				/* no session */
		0,  4,	0xc0, 0x09, 0x00, 0x2f, /* ECDHE-ECDSA-AES128-SHA, AES128-SHA */
		1,  0,				/* no compression */
	};
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=may"), NULL);
	end_feed(&p.server, hello, sizeof(hello));
	assert_true(p.server.state < 0);
	assert_string_equal(p.server.err.text, "no TLS version in common with the peer");
	pair_close(&p);
}

/* New keys are had for the asking, but not without end: the answers could fill the memory. */
static void test_new_keys(void **state)
{
	struct fixture *f = *state;
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=verify"), NULL);
	pair_connect(&p);
	for (int i = 0; i < 20; i++) {
		end_update_keys(i % 2 ? &p.client : &p.server);
		end_send(&p.client, "ping", 4);
		end_send(&p.server, "pong", 4);
		pair_run(&p, SIZE_MAX);
		assert_input(&p.server, "ping");
		assert_input(&p.client, "pong");
	}
	for (int i = 0; i < 10000 && p.server.state > 0; i++) {
		end_update_keys(&p.client);
		end_feed(&p.server, buf_slice(&p.client.wire_out).ptr, buf_len(&p.client.wire_out));
		buf_clear(&p.client.wire_out);
	}
	assert_true(p.server.state < 0);
	assert_string_equal(p.server.err.text, "the peer asks for new keys without end");
	pair_close(&p);
}

static void test_encode_too_early(void **state)
{
	struct fixture *f = *state;
	struct buf output = { 0 };
	struct error err = { 0 };
	struct pair p;

	pair_open(&p, f->client, f->server, test_policy("tls=may"), NULL);
	buf_append_string(&output, "MAIL FROM:<>\r\n");
	assert_true(p.client.filter->encode(p.client.filter, &output, &p.client.wire_out, &err) <
		    0);
	assert_int_equal(buf_len(&p.client.wire_out), 0);
	buf_done(&output);
	pair_close(&p);
}

/* Sessions outlive the context that they were made of. */
static void test_context_replaced(void **state)
{
	struct fixture *f = *state;
	struct tls_context *server = test_server_context(f->dir, "hub-rsa");
	struct tls_context *client = test_client_context(f->dir, "ca.pem");
	struct pair p;

	pair_open(&p, client, server, test_policy("tls=verify"), "key");
	tls_context_unref(server);
	tls_context_unref(client);
	pair_connect(&p);
	end_send(&p.client, "x", 1);
	pair_run(&p, SIZE_MAX);
	assert_input(&p.server, "x");
	pair_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_byte_by_byte),
		cmocka_unit_test(test_odd_pieces),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_facts),
		cmocka_unit_test(test_channel_binding),
		cmocka_unit_test(test_no_channel_binding),
		cmocka_unit_test(test_nothing_in_common),
		cmocka_unit_test(test_finish),
		cmocka_unit_test(test_transfer),
		cmocka_unit_test(test_not_tls),
		cmocka_unit_test(test_flipped),
		cmocka_unit_test(test_forged_record),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_old_version),
		cmocka_unit_test(test_new_keys),
		cmocka_unit_test(test_encode_too_early),
		cmocka_unit_test(test_context_replaced),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
