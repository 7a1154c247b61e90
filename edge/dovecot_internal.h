/*
 * dovecot_internal - what the two halves of dovecot_auth share: dovecot_auth.c
 * (which mechanisms there are; blocking, for the main thread) and
 * dovecot_client.c (exchanges, on the loops of workers)
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/list.h"
#include "edge/dovecot_auth.h"
#include "edge/dovecot_line.h"

#define DOVECOT_LINE_MAX ((size_t)16 * 1024) /* as Dovecot's own limit */

/* What we say first. Dovecot asks for a number that no other login process has, and is told ours. */
#define DOVECOT_HELLO "VERSION\t1\t2\nCPID\t%ld\n"

/* What Dovecot says before the first answer. */
struct dovecot_offer {
	bool has_version, is_complete;
	char mechanisms[LOGIN_MECHANISMS_SIZE];
};

struct dovecot_auth {
	struct dovecot_auth_options options;
	atomic_uint references; /* its owner's, and one of each connection */

	pthread_mutex_t lock;	    /* of what follows */
	struct list connections;    /* of all workers; each touches its own alone */
	struct dovecot_offer offer; /* the last that was heard; not complete: none yet */

	/* the main thread's */
	struct stat asked; /* the socket when it was asked last; all zero: there was none */
};

void dovecot_auth_unref(struct dovecot_auth *auth);

/* Take what is said before the first answer. An error: this is not for us. */
int dovecot_offer_take(struct dovecot_offer *offer, const struct dovecot_line *line,
		       struct error *err);

bool dovecot_offer_has(const struct dovecot_offer *offer, const char *mechanism);

/* Remember it. Returns whether it is other than what was known. */
bool dovecot_auth_learn(struct dovecot_auth *auth, const struct dovecot_offer *offer);

/* Cut the next whole line off the front. 0: there is none yet; 1; or -EPROTO: too long. */
int dovecot_take_line(struct slice *input, struct slice *ret_line, struct error *err);
