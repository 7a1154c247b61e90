/*
 * passwd - users and their passwords, in a file of Dovecot's passwd-file format
 *
 * Lines "user:{SCHEME}password:uid:gid:gecos:home:shell:extra"; what is behind
 * the password is Dovecot's and ignored. Without {SCHEME} it is CRYPT, as in
 * Dovecot. Names are compared without regard to case. Safe on all threads.
 */
#pragma once

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/error.h"

struct passwd;

/* Errors name the file and line. */
int passwd_open(const char *file, struct passwd **ret_passwd, struct error *err);
void passwd_free(struct passwd *passwd);
DEFINE_CLEANUP(struct passwd *, passwd_free);

/*
 * Takes up a changed file. 0: changed; MAP_NOT_CHANGED, also while somebody
 * writes to it (maps/map.h); an error, once for each bad version. Blocks. For
 * one thread at a time.
 */
int passwd_refresh(struct passwd *passwd, struct error *err);

bool passwd_has_user(struct passwd *passwd, const char *user);

enum passwd_outcome {
	PASSWD_MATCH = 1,
	PASSWD_MISMATCH, /* wrong password, or no such user: the caller must not tell which */
};

/* Blocks while it hashes. ret_user: the name as the file has it. */
enum passwd_outcome passwd_check(struct passwd *passwd, const char *user, const char *password,
				 char ret_user[256]);
