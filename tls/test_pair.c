/* test_pair - see the header */
#include "tls/test_pair.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/macros.h"
#include "certs/certificate.h"
#include "certs/identity.h"
#include "certs/pem.h"
#include "certs/pemfile.h"
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

static void read_pem(const char *path, struct buf *ret_der)
{
	struct pemfile file;
	struct pem_block block;
	struct slice rest;

	assert_int_equal(pemfile_read(path, &file, NULL), 0);
	rest = pemfile_text(&file);
	assert_true(pem_next(&rest, &block) && pem_decode(&block, ret_der));
	pemfile_done(&file);
}

static void write_pem(const char *path, const char *before, struct slice der)
{
	char *text = malloc(BASE64_ENCODED_SIZE(der.len));
	FILE *file = fopen(path, "we");

	base64_encode(der, text);
	fprintf(file, "%s-----BEGIN CERTIFICATE-----\n", before);
	for (size_t i = 0; i < strlen(text); i += 64)
		fprintf(file, "%.64s\n", text + i);
	fprintf(file, "-----END CERTIFICATE-----\n");
	fclose(file);
	free(text);
}

static void read_text(const char *path, char *text, size_t size)
{
	FILE *file = fopen(path, "re");

	text[fread(text, 1, size - 1, file)] = '\0';
	fclose(file);
}

static void copy_text(const char *from, const char *to)
{
	char text[4096];
	FILE *file;

	read_text(from, text, sizeof(text));
	file = fopen(to, "we");
	fputs(text, file);
	fclose(file);
}

void test_forge_ca(const char *dir)
{
	struct certs_certificate ca, evil;
	struct buf ca_der = { 0 }, evil_der = { 0 };
	char leaf[4096];

	read_pem(throwaway_path(dir, "ca.pem"), &ca_der);
	read_pem(throwaway_path(dir, "evil-ca.pem"), &evil_der);
	assert_int_equal(certs_certificate_parse(buf_slice(&ca_der), &ca, NULL), 0);
	assert_int_equal(certs_certificate_parse(buf_slice(&evil_der), &evil, NULL), 0);
	assert_int_equal(ca.public_key.len, evil.public_key.len);
	memcpy(ca_der.mem + (ca.public_key.ptr - ca_der.mem), evil.public_key.ptr,
	       evil.public_key.len);

	write_pem(throwaway_path(dir, "forged.pem"), "", buf_slice(&ca_der));
	copy_text(throwaway_path(dir, "evil-ca.key"), throwaway_path(dir, "forged.key"));
	read_text(throwaway_path(dir, "evil.pem"), leaf, sizeof(leaf));
	write_pem(throwaway_path(dir, "of-forged-chain.pem"), leaf, buf_slice(&ca_der));
	copy_text(throwaway_path(dir, "evil.key"), throwaway_path(dir, "of-forged.key"));
	buf_done(&ca_der);
	buf_done(&evil_der);
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
	const char *hostname = strchr(nexthop, '/');
	struct error err = { 0 };
	char domain[256];

	*pair = (struct pair){ 0 };
	snprintf(domain, sizeof(domain), "%.*s", (int)strcspn(nexthop, "/"), nexthop);
	if (tls_session_new_client(client, policy, domain, hostname ? hostname + 1 : NULL,
				   cache_key, &pair->client.filter, &err) < 0 ||
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
