/*
 * scheme - stored passwords: "{SCHEME}rest", as Dovecot writes them
 *
 * PLAIN and CLEARTEXT keep the password; CRAM-MD5, SCRAM-SHA-1 and SCRAM-SHA-256
 * keep what those mechanisms need of it; SHA256, SHA512 and, with salt, SSHA256
 * and SSHA512 are digests; CRYPT, MD5-CRYPT, SHA256-CRYPT, SHA512-CRYPT and
 * BLF-CRYPT go to crypt(3), which tells its methods apart by itself; ARGON2I and
 * ARGON2ID to libargon2. Names are compared without regard to case. Behind the
 * name may stand how the rest is encoded: ".b64", ".base64" or ".hex"; without,
 * digests are base64 (or hex, which shows in their length), the contexts of
 * CRAM-MD5 hex (or base64), and all else is not encoded. Without "{SCHEME}"
 * it is CRYPT.
 *
 * What is stored comes from files and databases: bytes of any kind are taken,
 * and what is not valid matches nothing. Nothing here keeps a state, and all of
 * it may be called on all threads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define SCHEME_STORED_MAX   511 /* bytes of "{SCHEME}rest" */
#define SCHEME_PASSWORD_MAX 255 /* bytes of a password that scheme_make() takes */

/* What is kept of a password, or-ed. Every password serves PLAIN and LOGIN. */
enum scheme_secret {
	SCHEME_CLEARTEXT = 1 << 0, /* serves every mechanism, and so comes with all the others */
	SCHEME_CRAM_MD5 = 1 << 1,
	SCHEME_SCRAM_SHA_1 = 1 << 2,
	SCHEME_SCRAM_SHA_256 = 1 << 3,
	SCHEME_EVERY_SECRET = (1 << 4) - 1,
};

unsigned int scheme_secrets(struct slice stored); /* 0: only a hash, or not valid */

/* The name of the scheme, without a suffix, as in the list above; "" where it is not known. */
const char *scheme_name(struct slice stored);

/* The name of the n-th scheme that there is; NULL: there are no more. */
const char *scheme_at(size_t n);

/* Whether "SCHEME" or "SCHEME.ENCODING" is known, and what it keeps. */
int scheme_find(const char *name, unsigned int *ret_secrets, struct error *err);

/*
 * Whether we could check passwords against stored; the error says why not, and
 * does not quote it. What would take longer than two seconds or more than 256 MiB
 * to check is an error, too.
 */
int scheme_validate(struct slice stored, struct error *err);

/*
 * Whether the password is the one that is stored. Blocks while it hashes: for
 * microseconds (PLAIN, digests, CRAM-MD5), milliseconds (SCRAM with 4096
 * iterations, MD5-, SHA256- and SHA512-CRYPT), up to a fifth of a second
 * (ARGON2, BLF-CRYPT, yescrypt, SCRAM as scheme_make() has it), and for two
 * seconds where somebody has asked for that cost. The time does not depend on
 * how much of the password is right. accounts_match() is the same with a
 * bound on the memory that all threads take together.
 */
bool scheme_matches(struct slice stored, const char *password);

/* Bytes of memory that scheme_matches() would take beyond a few pages. */
size_t scheme_memory(struct slice stored);

/* The password itself where it is kept, decoded, as a C string. A secret: wipe it. */
bool scheme_cleartext(struct slice stored, char ret[SCHEME_STORED_MAX + 1]);

/*
 * What a server of SCRAM needs (RFC 5802 section 3). len is 20 or 32, by the
 * hash. The keys are secrets.
 */
struct scheme_scram {
	unsigned int iterations;
	unsigned char salt[64];
	size_t salt_len;
	unsigned char stored_key[32], server_key[32];
	size_t len;
};

/*
 * As it is kept for this hash: SCHEME_SCRAM_SHA_1 or SCHEME_SCRAM_SHA_256. False
 * where it is not, also where the password is: see scheme_scram_derive().
 */
bool scheme_scram(struct slice stored, enum scheme_secret hash, struct scheme_scram *ret);

/*
 * The same from the password itself: the caller fills in iterations, salt and
 * salt_len. Blocks: 4096 iterations take milliseconds. The password is taken as
 * it is, without SASLprep, as Dovecot does.
 */
bool scheme_scram_derive(const char *password, enum scheme_secret hash, struct scheme_scram *scram);

/*
 * CRAM-MD5 (RFC 2195): whether digest, 32 hex digits as the client sent them, is
 * the answer to challenge. For every stored that has SCHEME_CRAM_MD5, also by its
 * cleartext; false for others.
 */
bool scheme_cram_md5_matches(struct slice stored, struct slice challenge, struct slice digest);

/*
 * Appends "{SCHEME}rest" for a new password; scheme is a name with or without a
 * suffix. Errors: the scheme is not known, the password is empty, too long, or
 * not for this scheme (BLF-CRYPT reads 72 bytes). Blocks as scheme_matches().
 */
int scheme_make(const char *scheme, const char *password, struct buf *out, struct error *err);
