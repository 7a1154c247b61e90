/* context_internal - what sessions know of their context; for this folder alone */
#pragma once

#include <stdatomic.h>

#include "base/strmap.h"
#include "tls/anchors.h"
#include "tls/context.h"
#include "tls/tickets.h"

struct WOLFSSL;
struct WOLFSSL_CTX;
struct WOLFSSL_SESSION;

/* A certificate that a server can show. The library can hold one key in a context. */
struct tls_choice {
	struct WOLFSSL_CTX *ctx;
	enum certs_key_kind kind;
};

/* The certificates for a name; the first is for clients that know none of them. */
struct tls_choices {
	char *name; /* "" for all other names, and for clients that name nobody */
	struct tls_choice *list;
	unsigned int count;
};

struct tls_context {
	atomic_uint references;
	struct WOLFSSL_CTX *ctx; /* of servers: the first choice of the first host */
	enum tls_version min_version;
	bool is_client;
	struct tls_anchors anchors;

	/* of clients */
	struct tls_resume *resume; /* has its own lock */

	/* of servers */
	struct tls_choices *hosts; /* the first is the one without a name */
	unsigned int host_count;
	struct strmap by_name; /* the others */
	bool ask_certificate;
	struct tls_tickets *tickets;
	unsigned char scope[TLS_DIGEST_SIZE]; /* of tickets: what a verdict on a client rests on */
};

void tls_hosts_free(struct tls_choices *hosts, unsigned int count);

/* For what the client has said: which host it means, and what to show of that. */
const struct tls_choices *tls_context_host(const struct tls_context *context, const char *name);
const struct tls_choice *tls_choices_pick(const struct tls_choices *host,
					  const bool takes[CERTS_KEY_KINDS]);

/* tls_version as the library counts. */
int tls_version_number(enum tls_version version);

/* In session.c: called by the library when a client got something to resume by. */
int tls_session_resumable(struct WOLFSSL *ssl, struct WOLFSSL_SESSION *session);

/* In server.c: seals and opens tickets, as the library asks for it. */
int tls_server_ticket(struct WOLFSSL *ssl, unsigned char *name, unsigned char *iv,
		      unsigned char *mac, int is_sealing, unsigned char *bytes, int len,
		      int *ret_len, void *arg);
