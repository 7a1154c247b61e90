/* test_pair - see the header */
#include "tls/test_pair.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "base/macros.h"
#include "certs/identity.h"
#include "tests/support/throwaway.h"
#include "tls/session_internal.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

struct tls_context *test_server_context(const char *dir, const char *name)
{
	struct tls_context_options options = { 0 };
	struct certs_identity *identity = NULL;
	struct tls_context *context = NULL;
	char cert[64], key[64];
	struct error err = { 0 };

	snprintf(cert, sizeof(cert), "%s.pem", name);
	/* "sub-chain": the key is that of its leaf, sub. */
	snprintf(key, sizeof(key), "%.*s.key",
		 (int)(strlen(name) - (strstr(name, "-chain") ? strlen("-chain") : 0)), name);
	if (certs_identity_load(throwaway_path(dir, cert), throwaway_path(dir, key), &identity,
				&err) < 0)
		fail_msg("%s", err.text);
	options.identity = identity;
	if (tls_context_new_server(&options, &context, &err) < 0)
		fail_msg("%s", err.text);
	certs_identity_free(identity);
	return context;
}

struct tls_context *test_client_context(const char *dir, const char *ca_name)
{
	struct tls_context_options options = { 0 };
	struct tls_context *context = NULL;
	struct certs_trust *trust = NULL;
	struct error err = { 0 };

	if (ca_name && certs_trust_load(throwaway_path(dir, ca_name), &trust, &err) < 0)
		fail_msg("%s", err.text);
	options.trust = trust;
	if (tls_context_new_client(&options, &context, &err) < 0)
		fail_msg("%s", err.text);
	certs_trust_free(trust);
	return context;
}

const struct tls_policy *test_policy(const char *attributes)
{
	static struct tls_policy policies[8];
	static struct arena arenas[8];
	static unsigned int turn;
	struct tls_policy *policy = &policies[turn % 8];
	struct arena *arena = &arenas[turn++ % 8];
	struct error err = { 0 };
	bool level_given;

	arena_done(arena);
	*policy = (struct tls_policy){ .level = TLS_LEVEL_ENCRYPT };
	if (tls_policy_parse(slice_from(attributes), arena, policy, &level_given, &err) < 0)
		fail_msg("%s", err.text);
	return policy;
}

void pair_open_to(struct pair *pair, struct tls_context *client, struct tls_context *server,
		  const struct tls_policy *policy, const char *nexthop, const char *cache_key)
{
	struct error err = { 0 };

	*pair = (struct pair){ 0 };
	if (tls_session_new_client(client, policy, nexthop, cache_key, &pair->client.filter, &err) <
		    0 ||
	    tls_session_new_server(server, &pair->server.filter, &err) < 0)
		fail_msg("%s", err.text);
	pair->client.state = pair->server.state = STREAM_FILTER_BUSY;
}

void pair_open(struct pair *pair, struct tls_context *client, struct tls_context *server,
	       const struct tls_policy *policy, const char *cache_key)
{
	pair_open_to(pair, client, server, policy, "hub.example", cache_key);
}

void end_limit_to_1_2(struct end *end)
{
	struct tls_session *s = CONTAINER_OF(end->filter, struct tls_session, filter);

	wolfSSL_set_options(s->ssl, WOLFSSL_OP_NO_TLSv1_3);
}

void end_use_key(struct end *end, const char *key_path)
{
	struct tls_session *s = CONTAINER_OF(end->filter, struct tls_session, filter);

	/* It takes any EC key for any EC certificate. */
	assert_int_equal(wolfSSL_use_PrivateKey_file(s->ssl, key_path, WOLFSSL_FILETYPE_PEM),
			 WOLFSSL_SUCCESS);
}

void end_update_keys(struct end *end)
{
	struct tls_session *s = CONTAINER_OF(end->filter, struct tls_session, filter);

	s->wire_out = &end->wire_out;
	assert_int_equal(wolfSSL_update_keys(s->ssl), WOLFSSL_SUCCESS);
	s->wire_out = NULL;
}

static void end_done(struct end *end)
{
	end->filter->free(end->filter);
	buf_done(&end->wire_in);
	buf_done(&end->input);
	buf_done(&end->wire_out);
}

void pair_close(struct pair *pair)
{
	end_done(&pair->client);
	end_done(&pair->server);
}

void end_feed(struct end *end, const void *bytes, size_t len)
{
	buf_append(&end->wire_in, bytes, len);
	end->state = end->filter->decode(end->filter, &end->wire_in, &end->input, &end->wire_out,
					 &end->err);
	if (end->state > 0)
		assert_int_equal(buf_len(&end->wire_in), 0); /* all was taken */
	else
		assert_int_equal(end->state, end->err.code);
}

void end_send(struct end *end, const void *bytes, size_t len)
{
	struct buf output = { 0 };

	buf_append(&output, bytes, len);
	if (end->filter->encode(end->filter, &output, &end->wire_out, &end->err) < 0)
		fail_msg("%s", end->err.text);
	assert_int_equal(buf_len(&output), 0);
	buf_done(&output);
}

/* True when there was something to carry. */
static bool carry(struct end *from, struct end *to, size_t chunk)
{
	size_t n = MIN(chunk, buf_len(&from->wire_out));

	if (n == 0)
		return false;
	if (to->state > 0)
		end_feed(to, buf_slice(&from->wire_out).ptr, n);
	buf_consume(&from->wire_out, n);
	return true;
}

void pair_run(struct pair *pair, size_t chunk)
{
	bool moved;

	if (pair->client.state == STREAM_FILTER_BUSY)
		end_feed(&pair->client, "", 0);
	do {
		moved = carry(&pair->client, &pair->server, chunk);
		moved |= carry(&pair->server, &pair->client, chunk);
	} while (moved);
}

void pair_connect(struct pair *pair)
{
	pair_run(pair, SIZE_MAX);
	if (pair->client.state != STREAM_FILTER_OPEN || pair->server.state != STREAM_FILTER_OPEN)
		fail_msg("client %d %s, server %d %s", pair->client.state, pair->client.err.text,
			 pair->server.state, pair->server.err.text);
}
