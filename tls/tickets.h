/*
 * tickets - the keys that a server's session tickets are sealed with, and
 * whose certificates they stand for
 *
 * Shared by all contexts that a server has had, so that clients resume across
 * a reload; never stored, so that a restart forgets them. A key seals for an
 * hour and opens for one more, in which the tickets that it has sealed end.
 *
 * A ticket is good for the scope that it was sealed in and for no other: what
 * the verdict on a client rests on. Safe on any thread. Reference counted.
 */
#pragma once

#include "base/clock.h"
#include "base/slice.h"
#include "tls/resume.h"

#define TLS_TICKET_LIFETIME_S (60 * 60)

/* What sealing adds to the bytes, and the fields beside them, as the library has room for it. */
#define TLS_TICKET_EXTRA_SIZE 32
#define TLS_TICKET_NAME_SIZE  16
#define TLS_TICKET_IV_SIZE    16
#define TLS_TICKET_MAC_SIZE   32

#define TLS_DIGEST_SIZE 32 /* SHA-256 */

struct tls_tickets;

/* clock lives as long. NULL: out of memory. */
struct tls_tickets *tls_tickets_new(const struct clock *clock);
struct tls_tickets *tls_tickets_ref(struct tls_tickets *tickets);
void tls_tickets_unref(struct tls_tickets *tickets); /* NULL is fine */

/* The certificates that clients have shown in full handshakes, by digest; see tls/resume.h. */
struct tls_resume *tls_tickets_peers(struct tls_tickets *tickets);

struct tls_ticket {
	unsigned char *name, *iv, *mac; /* as long as the library has them */
	unsigned char *bytes;		/* room for TLS_TICKET_EXTRA_SIZE more, when sealing */
	size_t len;
};

/*
 * Seal in place; len grows by TLS_TICKET_EXTRA_SIZE. peer: the digest that
 * tls_ticket_open() gives back. False: there is no randomness to be had.
 */
bool tls_ticket_seal(struct tls_tickets *tickets, struct slice scope,
		     const unsigned char peer[TLS_DIGEST_SIZE], struct tls_ticket *ticket);

/* Open in place; len shrinks. False: not ours, not of this scope, or too old. */
bool tls_ticket_open(struct tls_tickets *tickets, struct slice scope, struct tls_ticket *ticket,
		     unsigned char ret_peer[TLS_DIGEST_SIZE]);
