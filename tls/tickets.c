/*
 * tickets - ChaCha20-Poly1305 over the library's bytes and the digest of the
 * client's certificate
 *
 *	name	the key's, random
 *	iv	96 random bits of nonce; the rest is random too, and unused
 *	bytes	the library's, then the peer's digest; encrypted
 *	mac	16 bytes of tag, then when it was sealed, in seconds, then zeros
 *
 * Authenticated, but not in the ticket, is the scope. The library keeps
 * nothing of a client's certificate in a ticket, and leaves 32 bytes to its
 * user, which is why a digest stands for the certificate: what it is the
 * digest of is remembered in memory, for as many as there is room for. A
 * client whose certificate was forgotten has to show it again.
 *
 * Keys are changed when one is needed: there is no timer. 2^32 random nonces
 * of a key would be too many; that is a million a second.
 */
#include "tls/tickets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/buf.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/settings.h>
#include <wolfssl/wolfcrypt/chacha20_poly1305.h>

#define KEY_LIFETIME_S (60 * 60)
#define TAG_SIZE       CHACHA20_POLY1305_AEAD_AUTHTAG_SIZE

struct ticket_key {
	unsigned char name[TLS_TICKET_NAME_SIZE];
	unsigned char secret[CHACHA20_POLY1305_AEAD_KEYSIZE];
	int64_t made_s; /* 0: there is none */
};

struct tls_tickets {
	atomic_uint references;
	const struct clock *clock;
	struct tls_resume *peers; /* has its own lock */
	pthread_mutex_t lock;
	struct ticket_key current, previous;
};

struct tls_tickets *tls_tickets_new(const struct clock *clock)
{
	struct tls_tickets *tickets = calloc(1, sizeof(*tickets));

	if (!tickets)
		return NULL;
	tickets->peers = tls_resume_new();
	if (!tickets->peers) {
		free(tickets);
		return NULL;
	}
	atomic_init(&tickets->references, 1);
	tickets->clock = clock;
	pthread_mutex_init(&tickets->lock, NULL);
	return tickets;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets)
{
	atomic_fetch_add_explicit(&tickets->references, 1, memory_order_relaxed);
	return tickets;
}

void tls_tickets_unref(struct tls_tickets *tickets)
{
	if (!tickets ||
	    atomic_fetch_sub_explicit(&tickets->references, 1, memory_order_acq_rel) > 1)
		return;
	tls_resume_free(tickets->peers);
	pthread_mutex_destroy(&tickets->lock);
	explicit_bzero(tickets, sizeof(*tickets));
	free(tickets);
}

struct tls_resume *tls_tickets_peers(struct tls_tickets *tickets)
{
	return tickets->peers;
}

static int64_t now_s(const struct tls_tickets *tickets)
{
	return clock_wall_ms(tickets->clock) / 1000;
}

static bool random_bytes(void *out, size_t size)
{
	return getrandom(out, size, 0) ==
	       (ssize_t)size; /* short ones are whole, says getrandom(2) */
}

/* A clock that was set back makes a key as old as it can be, not young for ever. */
static bool is_older(int64_t since_s, int64_t now, int64_t limit_s)
{
	return now < since_s || now - since_s >= limit_s;
}

static bool change_keys(struct tls_tickets *tickets, int64_t now)
{
	struct ticket_key next = { .made_s = now };
	bool done = random_bytes(next.name, sizeof(next.name)) &&
		    random_bytes(next.secret, sizeof(next.secret));

	if (done) {
		tickets->previous = tickets->current;
		tickets->current = next;
	}
	explicit_bzero(&next, sizeof(next));
	return done;
}

static bool key_to_seal(struct tls_tickets *tickets, int64_t now, struct ticket_key *ret)
{
	bool done = true;

	pthread_mutex_lock(&tickets->lock);
	if (tickets->current.made_s == 0 || is_older(tickets->current.made_s, now, KEY_LIFETIME_S))
		done = change_keys(tickets, now);
	*ret = tickets->current;
	pthread_mutex_unlock(&tickets->lock);
	return done;
}

static bool is_named(const struct ticket_key *key, const unsigned char *name)
{
	return key->made_s != 0 && memcmp(key->name, name, sizeof(key->name)) == 0;
}

static bool key_to_open(struct tls_tickets *tickets, const unsigned char *name,
			struct ticket_key *ret)
{
	bool found = true;

	pthread_mutex_lock(&tickets->lock);
	if (is_named(&tickets->current, name))
		*ret = tickets->current;
	else if (is_named(&tickets->previous, name))
		*ret = tickets->previous;
	else
		found = false;
	pthread_mutex_unlock(&tickets->lock);
	return found;
}

static void write_time(unsigned char *out, int64_t time_s)
{
	for (int i = 0; i < 8; i++)
		out[i] = (unsigned char)((uint64_t)time_s >> (56 - 8 * i));
}

static int64_t read_time(const unsigned char *at)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return (int64_t)value;
}

/* All that is authenticated beside the bytes. */
static void authenticated(const struct tls_ticket *ticket, struct slice scope, struct buf *out)
{
	buf_append(out, ticket->name, TLS_TICKET_NAME_SIZE);
	buf_append(out, ticket->iv, TLS_TICKET_IV_SIZE);
	buf_append(out, ticket->mac + TAG_SIZE, TLS_TICKET_MAC_SIZE - TAG_SIZE);
	buf_append_slice(out, scope);
}

bool tls_ticket_seal(struct tls_tickets *tickets, struct slice scope,
		     const unsigned char peer[TLS_DIGEST_SIZE], struct tls_ticket *ticket)
{
	int64_t now = now_s(tickets);
	struct ticket_key key = { 0 };
	struct buf aad = { 0 };
	bool done = false;

	if (key_to_seal(tickets, now, &key) && random_bytes(ticket->iv, TLS_TICKET_IV_SIZE)) {
		memcpy(ticket->name, key.name, sizeof(key.name));
		memset(ticket->mac, 0, TLS_TICKET_MAC_SIZE);
		write_time(ticket->mac + TAG_SIZE, now);
		memcpy(ticket->bytes + ticket->len, peer, TLS_DIGEST_SIZE);
		ticket->len += TLS_DIGEST_SIZE;
		authenticated(ticket, scope, &aad);
		done = wc_ChaCha20Poly1305_Encrypt(key.secret, ticket->iv,
						   (const byte *)buf_slice(&aad).ptr,
						   (word32)buf_len(&aad), ticket->bytes,
						   (word32)ticket->len, ticket->bytes,
						   ticket->mac) == 0;
	}
	buf_done(&aad);
	explicit_bzero(&key, sizeof(key));
	return done;
}

bool tls_ticket_open(struct tls_tickets *tickets, struct slice scope, struct tls_ticket *ticket,
		     unsigned char ret_peer[TLS_DIGEST_SIZE])
{
	struct ticket_key key = { 0 };
	struct buf aad = { 0 };
	bool done = false;

	if (ticket->len < TLS_DIGEST_SIZE ||
	    is_older(read_time(ticket->mac + TAG_SIZE), now_s(tickets), TLS_TICKET_LIFETIME_S))
		return false;
	if (key_to_open(tickets, ticket->name, &key)) {
		authenticated(ticket, scope, &aad);
		done = wc_ChaCha20Poly1305_Decrypt(key.secret, ticket->iv,
						   (const byte *)buf_slice(&aad).ptr,
						   (word32)buf_len(&aad), ticket->bytes,
						   (word32)ticket->len, ticket->mac,
						   ticket->bytes) == 0;
	}
	if (done) {
		ticket->len -= TLS_DIGEST_SIZE;
		memcpy(ret_peer, ticket->bytes + ticket->len, TLS_DIGEST_SIZE);
	}
	buf_done(&aad);
	explicit_bzero(&key, sizeof(key));
	return done;
}
