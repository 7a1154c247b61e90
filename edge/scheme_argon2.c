/*
 * Argon2 (RFC 9106) as the string that its reference library and libsodium
 * write: "$argon2id$v=19$m=65536,t=3,p=1$SALT$HASH". Which of its two forms it
 * is stands in the string, whichever scheme the operator has named. m is
 * memory in KiB, t how often it is passed over, p the number of threads.
 */
#include "edge/scheme_internal.h"

#include <argon2.h>
#include <errno.h>
#include <stdio.h>

#include "base/macros.h"

#define KIB_MAX	    (256 * 1024u)
#define KIB_ALL_MAX (1024 * 1024u) /* m times t: a second or two */
#define THREADS_MAX 4

/* As RFC 9106 section 4 recommends for little memory, which is also what Dovecot does. */
#define NEW_KIB	     65536
#define NEW_PASSES   3
#define NEW_KIB_I    32768
#define NEW_PASSES_I 4
#define NEW_SALT_LEN 16
#define NEW_HASH_LEN 32

struct argon2 {
	argon2_type type;
	unsigned int kib, passes, threads;
};

static bool take(struct slice *s, struct slice prefix)
{
	bool is_there = s->len >= prefix.len && memcmp(s->ptr, prefix.ptr, prefix.len) == 0;

	if (is_there)
		*s = slice_skip(*s, prefix.len);
	return is_there;
}

static bool take_number(struct slice *s, struct slice prefix, unsigned int *ret)
{
	size_t n = 0;

	if (!take(s, prefix))
		return false;
	for (*ret = 0; n < s->len && n < 8 && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++)
		*ret = *ret * 10 + (unsigned int)(s->ptr[n] - '0');
	*s = slice_skip(*s, n);
	return n > 0;
}

/*
 * "SALT$HASH". The library reads them, but takes bytes beyond ASCII for some of
 * those in its alphabet.
 */
static bool is_salt_and_hash(struct slice s)
{
	size_t dollars = 0;

	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (c == '$')
			dollars++;
		else if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			   (c >= '0' && c <= '9') || c == '+' || c == '/'))
			return false;
	}
	return dollars == 1;
}

static bool parse(struct slice raw, struct argon2 *ret)
{
	unsigned int version;

	if (take(&raw, SLICE("$argon2id$")))
		ret->type = Argon2_id;
	else if (take(&raw, SLICE("$argon2i$")))
		ret->type = Argon2_i;
	else
		return false;
	return take_number(&raw, SLICE("v="), &version) &&
	       take_number(&raw, SLICE("$m="), &ret->kib) &&
	       take_number(&raw, SLICE(",t="), &ret->passes) &&
	       take_number(&raw, SLICE(",p="), &ret->threads) && take(&raw, SLICE("$")) &&
	       is_salt_and_hash(raw);
}

int scheme_argon2_validate(struct slice raw, struct error *err)
{
	struct argon2 argon2;

	if (!parse(raw, &argon2))
		return error_set(err, -EINVAL,
				 "the password is no hash of Argon2; expected "
				 "$argon2id$v=19$m=...,t=...,p=...$SALT$HASH");
	if (argon2.kib > KIB_MAX || argon2.threads > THREADS_MAX ||
	    (uint64_t)argon2.kib * argon2.passes > KIB_ALL_MAX)
		return error_set(err, -EINVAL,
				 "the password hash would take too much memory or time to check: "
				 "at most m=%u, p=%d, and m times t at most %u",
				 KIB_MAX, THREADS_MAX, KIB_ALL_MAX);
	return 0;
}

size_t scheme_argon2_memory(struct slice raw)
{
	struct argon2 argon2;

	return parse(raw, &argon2) ? (size_t)argon2.kib * 1024 : 0;
}

/* The library compares in constant time. raw has a NUL behind it (struct scheme_parts). */
bool scheme_argon2_matches(const struct scheme *scheme, struct slice raw, const char *password)
{
	struct argon2 argon2;

	(void)scheme;
	return parse(raw, &argon2) &&
	       argon2_verify(raw.ptr, password, strlen(password), argon2.type) == ARGON2_OK;
}

int scheme_argon2_make(const struct scheme *scheme, const char *password, struct buf *out,
		       struct error *err)
{
	bool is_id = strcmp(scheme->name, "ARGON2ID") == 0;
	char encoded[256];
	unsigned char salt[NEW_SALT_LEN];
	int r = scheme_random(salt, sizeof(salt), err);

	if (r < 0)
		return r;
	r = argon2_hash(is_id ? NEW_PASSES : NEW_PASSES_I, is_id ? NEW_KIB : NEW_KIB_I, 1, password,
			strlen(password), salt, sizeof(salt), NULL, NEW_HASH_LEN, encoded,
			sizeof(encoded), is_id ? Argon2_id : Argon2_i, ARGON2_VERSION_13);
	if (r != ARGON2_OK)
		return error_set(err, -ENOMEM, "{%s}: %s", scheme->name, argon2_error_message(r));
	buf_append_string(out, encoded);
	return 0;
}
