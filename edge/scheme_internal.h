/*
 * scheme_internal - what the files of edge/scheme.h share: the table of schemes,
 * and the functions of each family behind it
 */
#pragma once

#include "edge/scheme.h"

enum scheme_encoding {
	SCHEME_AS_IS,
	SCHEME_HEX,
	SCHEME_BASE64,
};

struct scheme {
	const char *name;
	enum scheme_encoding encoding; /* where no suffix names one */
	size_t raw_len;		       /* of what is decoded; 0: any */
	unsigned int secrets;
	const char *setting; /* crypt(3)'s prefix, for new ones */

	/* raw is decoded, not empty, of raw_len bytes, and ends before a NUL that is not part of it. */
	int (*validate)(struct slice raw, struct error *err);
	bool (*matches)(const struct scheme *scheme, struct slice raw, const char *password);
	int (*make)(const struct scheme *scheme, const char *password, struct buf *out,
		    struct error *err);
	size_t (*memory)(struct slice raw); /* NULL: little */
};

/* "{SCHEME}rest" taken apart. A secret: scheme_parts_wipe(). */
struct scheme_parts {
	const struct scheme *scheme;
	size_t len;
	char raw[SCHEME_STORED_MAX + 1]; /* with a NUL behind it */
};

int scheme_split(struct slice stored, struct scheme_parts *ret, struct error *err);
void scheme_parts_wipe(struct scheme_parts *parts);

static inline struct slice scheme_raw(const struct scheme_parts *parts)
{
	return slice_of(parts->raw, parts->len);
}

/* Time depends on the length only. */
bool scheme_equal(const void *a, const void *b, size_t len);

/* Bytes nobody can guess. */
int scheme_random(void *out, size_t len, struct error *err);

bool scheme_hex_decode(struct slice hex, unsigned char *out); /* out: half as many bytes */
void scheme_hex_encode(struct slice raw, struct buf *out);
void scheme_base64_encode(struct slice raw, struct buf *out);

/* scheme_digest.c: SHA256, SSHA256, SHA512, SSHA512 */
int scheme_salted_validate(struct slice raw, struct error *err);
int scheme_salted_long_validate(struct slice raw, struct error *err);
bool scheme_digest_matches(const struct scheme *scheme, struct slice raw, const char *password);
int scheme_digest_make(const struct scheme *scheme, const char *password, struct buf *out,
		       struct error *err);

/* scheme_crypt.c */
int scheme_crypt_validate(struct slice raw, struct error *err);
bool scheme_crypt_matches(const struct scheme *scheme, struct slice raw, const char *password);
int scheme_crypt_make(const struct scheme *scheme, const char *password, struct buf *out,
		      struct error *err);

size_t scheme_crypt_memory(struct slice raw);

/* scheme_argon2.c */
int scheme_argon2_validate(struct slice raw, struct error *err);
bool scheme_argon2_matches(const struct scheme *scheme, struct slice raw, const char *password);
int scheme_argon2_make(const struct scheme *scheme, const char *password, struct buf *out,
		       struct error *err);
size_t scheme_argon2_memory(struct slice raw);

/* scheme_scram.c */
int scheme_scram_validate(struct slice raw, struct error *err);
int scheme_scram_long_validate(struct slice raw, struct error *err);
bool scheme_scram_matches(const struct scheme *scheme, struct slice raw, const char *password);
int scheme_scram_make(const struct scheme *scheme, const char *password, struct buf *out,
		      struct error *err);

/* scheme_cram_md5.c */
bool scheme_cram_md5_is_of(const struct scheme *scheme, struct slice raw, const char *password);
int scheme_cram_md5_make(const struct scheme *scheme, const char *password, struct buf *out,
			 struct error *err);
