/* context_internal - what sessions know of their context; for this folder alone */
#pragma once

#include <stdatomic.h>

#include "tls/anchors.h"
#include "tls/context.h"
#include "tls/resume.h"

struct WOLFSSL;
struct WOLFSSL_CTX;
struct WOLFSSL_SESSION;

struct tls_context {
	atomic_uint references;
	struct WOLFSSL_CTX *ctx;
	enum tls_version min_version;
	bool is_client;

	/* of clients */
	struct tls_anchors anchors;
	struct tls_resume *resume; /* has its own lock */
};

/* tls_version as the library counts. */
int tls_version_number(enum tls_version version);

/* In session.c: called by the library when a client got something to resume by. */
int tls_session_resumable(struct WOLFSSL *ssl, struct WOLFSSL_SESSION *session);
