/* context_internal - what sessions know of their context; for this folder alone */
#pragma once

#include <stdatomic.h>

#include "tls/anchors.h"
#include "tls/context.h"
#include "tls/tickets.h"

struct WOLFSSL;
struct WOLFSSL_CTX;
struct WOLFSSL_SESSION;

struct tls_context {
	atomic_uint references;
	struct WOLFSSL_CTX *ctx;
	enum tls_version min_version;
	bool is_client;
	struct tls_anchors anchors;

	/* of clients */
	struct tls_resume *resume; /* has its own lock */

	/* of servers */
	bool ask_certificate;
	struct tls_tickets *tickets;
	unsigned char scope[TLS_DIGEST_SIZE]; /* of tickets: what a verdict on a client rests on */
};

/* tls_version as the library counts. */
int tls_version_number(enum tls_version version);

/* In session.c: called by the library when a client got something to resume by. */
int tls_session_resumable(struct WOLFSSL *ssl, struct WOLFSSL_SESSION *session);

/* In server.c: seals and opens tickets, as the library asks for it. */
int tls_server_ticket(struct WOLFSSL *ssl, unsigned char *name, unsigned char *iv,
		      unsigned char *mac, int is_sealing, unsigned char *bytes, int len,
		      int *ret_len, void *arg);
