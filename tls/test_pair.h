/* test_pair - a client and a server with nothing between them but four buffers */
#pragma once

#include "tls/session.h"

struct end {
	struct stream_filter *filter;
	struct buf wire_in;  /* arrived, not yet taken */
	struct buf input;    /* decoded */
	struct buf wire_out; /* to be carried over */
	int state;	     /* of the last decode() */
	struct error err;
};

struct pair {
	struct end client, server;
};

/* The directory of tests/support/throwaway.h; what fails in here ends the test. */
struct tls_context *test_server_context(const char *dir, const char *name);
struct tls_context *test_client_context(const char *dir, const char *ca_name);

/*
 * Make forged.pem and forged.key: the certificate of ca.pem, byte for byte, its
 * signature included, but with the attacker's key in it. A library that takes
 * CAs for trusted peers recognizes it by subject, key id and signature. And
 * of-forged-chain.pem, of-forged.key: a leaf that this key has signed.
 */
void test_forge_ca(const char *dir);

/* A policy from its text, for as long as the test runs. */
const struct tls_policy *test_policy(const char *attributes);

/* nexthop hub.example. */
void pair_open(struct pair *pair, struct tls_context *client, struct tls_context *server,
	       const struct tls_policy *policy, const char *cache_key);

/* nexthop: "hub.example", or "example/hub.example" where MX has led to that host. */
void pair_open_to(struct pair *pair, struct tls_context *client, struct tls_context *server,
		  const struct tls_policy *policy, const char *nexthop, const char *cache_key);
void pair_close(struct pair *pair);

/* Carry bytes to and fro, at most chunk at a time, until both have nothing to say. */
void pair_run(struct pair *pair, size_t chunk);

/* Before the handshake: this end knows no TLS 1.3. */
void end_limit_to_1_2(struct end *end);

/* Before the handshake: this end signs with a key that is not its certificate's. */
void end_use_key(struct end *end, const char *key_path);

/* Ask the other end for new keys. */
void end_update_keys(struct end *end);

/* Give an end bytes from the wire. */
void end_feed(struct end *end, const void *bytes, size_t len);
void end_send(struct end *end, const void *bytes, size_t len);

/* The handshake in one go; the test fails unless both are open. */
void pair_connect(struct pair *pair);
