/*
 * resume - TLS sessions that a client may take up again
 *
 * Shared by the threads that share a context. The one used longest ago makes
 * room for a new one. What was found out of the peer in the full handshake is
 * kept with the session, as a resumed one shows no certificate.
 */
#pragma once

#include "base/buf.h"
#include "base/slice.h"
#include "tls/session.h"

struct tls_resume;

struct tls_resume *tls_resume_new(void); /* NULL: out of memory */
void tls_resume_free(struct tls_resume *resume);

/* What is kept of a session. */
struct tls_resumable {
	struct slice session;	/* the library's form of it; a secret */
	struct tls_facts facts; /* of the peer, from the full handshake */
	int64_t until_s;	/* then the peer has to show its certificate again */
};

/* Copies all; replaces what was there for this key. */
void tls_resume_put(struct tls_resume *resume, struct slice key,
		    const struct tls_resumable *resumable);

/*
 * Session bytes are appended to *session, which ret->session points into.
 * False when there is none for this key that is good at now_s.
 */
bool tls_resume_get(struct tls_resume *resume, struct slice key, int64_t now_s, struct buf *session,
		    struct tls_resumable *ret);

void tls_resume_forget(struct tls_resume *resume, struct slice key);
