/*
 * test_peer - a scripted SMTP server on loopback, on threads of its own
 *
 * A script is a string; each of its lines is a step:
 *
 *	S TEXT	send TEXT and CRLF
 *	s TEXT	send TEXT as it is, with CRLF for each |
 *	C TEXT	read a line, which must begin with TEXT
 *	B	read a message, up to its final dot
 *	K	read BDAT and its chunk, which is a message if it is the last
 *	T	go on when peer_let_go() was called
 *	W	go on when it was called twice
 *	H	say nothing more; end when the other side does, or with the test
 *	R	close with a reset
 *	*	take all mail that comes, until QUIT
 *
 * At its end the connection is closed. What did not go by the script is told
 * by peer_free(), which fails the test for it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct peer;

#define PEER_EHLO	     "S 220 peer.example\nC EHLO\nS 250 peer.example\n"
#define PEER_EHLO_PIPELINING "S 220 peer.example\nC EHLO\nS 250-peer.example\nS 250 PIPELINING\n"
#define PEER_EHLO_CHUNKING                                                                         \
	"S 220 peer.example\nC EHLO\nS 250-peer.example\nS 250-PIPELINING\nS 250 CHUNKING\n"
#define PEER_RCPT    "C MAIL FROM:\nS 250 ok\nC RCPT TO:\nS 250 ok\n"
#define PEER_MESSAGE PEER_RCPT "C DATA\nS 354 go on\nB\nS 250 taken\n"
#define PEER_QUIT    "C QUIT\nS 221 bye\n"

/* Connections play one script each, in this order; the last one is played again and again. */
struct peer *peer_new(const char *const *scripts, unsigned int count);
struct peer *peer_play(const char *script); /* one for all */

/* Closes everything. It is a failure if a script was not followed; NULL is fine. */
void peer_free(struct peer *p);
uint16_t peer_port(const struct peer *p);

/* Call ahead of the first connection: any of them may say QUIT instead of MAIL. */
void peer_allow_idle(struct peer *p);

void peer_let_go(struct peer *p);

/* The kernel takes little for connections from now on, so that who sends has to wait for us. */
void peer_set_small_buffers(struct peer *p);

/* Wait until so many connections have been made, or messages been read to their dot. */
void peer_wait_connections(struct peer *p, unsigned int count);
void peer_wait_messages(struct peer *p, unsigned int count);
void peer_wait_ends(struct peer *p, unsigned int count); /* of connections */
unsigned int peer_connections(struct peer *p);
unsigned int peer_messages(struct peer *p);

/* Whether any connection has ever brought this text, and wait until one has. */
bool peer_has_seen(struct peer *p, const char *text);
void peer_wait_seen(struct peer *p, const char *text);
