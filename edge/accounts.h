/*
 * accounts - who may log in, and by which password: what smtpd_sasl_passdb names
 *
 * "passwd-file:FILE" (edge/passwd.h) and "sqlite:FILE.cf" behind one interface.
 * "dovecot:SOCKET" has no passwords to read, so there are no accounts of it:
 * Dovecot itself is asked (edge/dovecot_auth.h).
 *
 * Lookups are safe on all threads. They block on memory only with passwd-file,
 * and with sqlite on a file, for at most a quarter of a second.
 */
#pragma once

#include "base/arena.h"
#include "base/cleanup.h"
#include "edge/scheme.h"
#include "maps/map.h"

enum accounts_kind {
	ACCOUNTS_UNKNOWN = 0,
	ACCOUNTS_PASSWD_FILE,
	ACCOUNTS_SQLITE,
	ACCOUNTS_DOVECOT,
};

/* What kind "KIND:PATH" is; the path is a part of passdb. The prefix may be in any case. */
enum accounts_kind accounts_kind(const char *passdb, const char **ret_path);

struct accounts;

/* passdb has an absolute path, and is of a kind that has accounts. Errors name the file and line. */
int accounts_open(const char *passdb, struct accounts **ret_accounts, struct error *err);
void accounts_free(struct accounts *accounts); /* NULL is fine */
DEFINE_CLEANUP(struct accounts *, accounts_free);

/*
 * Reports every error for which accounts_open() would fail, where it tells but
 * the first, and as warnings what is likely not wanted.
 */
void accounts_diagnose(const char *passdb, map_report *report, void *arg);

/* The database that the accounts are in, in the arena; NULL: they are in the file itself. */
const char *accounts_database(struct accounts *accounts, struct arena *arena);

/*
 * Takes up changed files. 0: changed; MAP_NOT_CHANGED, also while somebody
 * writes to it; an error, once for each bad version: then the old one stays in
 * use. Blocks. For one thread at a time.
 */
int accounts_refresh(struct accounts *accounts, struct error *err);

/* stored is a secret: account_wipe(). */
struct account {
	const char *name; /* the login, as the source spells it */
	struct slice
		stored; /* "{SCHEME}rest" (edge/scheme.h), valid; "": nobody can log in by it */
	bool is_closed; /* nologin: nor by anything else; stored is "" then */
};

/*
 * The account of this name, without regard to case: MAP_FOUND, with the account
 * in the arena; MAP_NOT_FOUND; or an error: then nothing is known about the user,
 * and the client is told to try later.
 */
int accounts_find(struct accounts *accounts, const char *user, struct arena *arena,
		  struct account *ret, struct error *err);
void account_wipe(struct account *account); /* a zeroed one is fine */

/* The same for whoever only asks whether there is one. */
int accounts_has(struct accounts *accounts, const char *user, struct error *err);

/*
 * The kinds of secret (enum scheme_secret, or-ed) that every account has: a
 * mechanism that needs another cannot be offered. 0 where there are no accounts.
 * In a database it is what its default scheme has, and single accounts may have
 * less. Changes with accounts_refresh().
 */
unsigned int accounts_secrets(struct accounts *accounts);

/*
 * A stored password as most accounts have it, in the arena, to be hashed
 * against where the user is not known, so that this takes the same time: what
 * comes out is to be ignored. "" where there are no accounts. A secret, to be
 * wiped as an account's.
 */
struct slice accounts_decoy(struct accounts *accounts, struct arena *arena);

/*
 * scheme_matches(), with a bound on memory: where Argon2 or yescrypt would take more than
 * 256 MiB on all threads together, this waits until others are done. For a
 * thread of the pool.
 */
bool accounts_match(struct accounts *accounts, struct slice stored, const char *password);
