/* A digest of the password, or of the password and then a salt that stands behind the digest. */
#include "edge/scheme_internal.h"

#include <errno.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#define NEW_SALT_LEN 16

static bool is_long(const struct scheme *scheme)
{
	return strstr(scheme->name, "512") != NULL;
}

static bool is_salted(const struct scheme *scheme)
{
	return scheme->raw_len == 0;
}

static int check_salted(struct slice raw, size_t len, struct error *err)
{
	if (raw.len <= len)
		return error_set(err, -EINVAL, "the password is too short: there is no salt");
	return 0;
}

int scheme_salted_validate(struct slice raw, struct error *err)
{
	return check_salted(raw, WC_SHA256_DIGEST_SIZE, err);
}

int scheme_salted_long_validate(struct slice raw, struct error *err)
{
	return check_salted(raw, WC_SHA512_DIGEST_SIZE, err);
}

static bool digest(const struct scheme *scheme, const char *password, struct slice salt,
		   unsigned char out[WC_MAX_DIGEST_SIZE])
{
	enum wc_HashType type = is_long(scheme) ? WC_HASH_TYPE_SHA512 : WC_HASH_TYPE_SHA256;
	wc_HashAlg hash;
	bool done;

	if (wc_HashInit(&hash, type) != 0)
		return false;
	done = wc_HashUpdate(&hash, type, (const byte *)password, (word32)strlen(password)) == 0 &&
	       (salt.len == 0 ||
		wc_HashUpdate(&hash, type, (const byte *)salt.ptr, (word32)salt.len) == 0) &&
	       wc_HashFinal(&hash, type, out) == 0;
	wc_HashFree(&hash, type);
	explicit_bzero(&hash, sizeof(hash));
	return done;
}

static size_t digest_len(const struct scheme *scheme)
{
	return is_long(scheme) ? WC_SHA512_DIGEST_SIZE : WC_SHA256_DIGEST_SIZE;
}

bool scheme_digest_matches(const struct scheme *scheme, struct slice raw, const char *password)
{
	unsigned char out[WC_MAX_DIGEST_SIZE];
	size_t len = digest_len(scheme);

	return digest(scheme, password, slice_skip(raw, len), out) &&
	       scheme_equal(out, raw.ptr, len);
}

int scheme_digest_make(const struct scheme *scheme, const char *password, struct buf *out,
		       struct error *err)
{
	unsigned char made[WC_MAX_DIGEST_SIZE];
	char salt[NEW_SALT_LEN];
	struct slice used = slice_of(salt, is_salted(scheme) ? sizeof(salt) : 0);
	int r = scheme_random(salt, used.len, err);

	if (r < 0)
		return r;
	if (!digest(scheme, password, used, made))
		return error_set(err, -ENOMEM, "out of memory");
	buf_append(out, made, digest_len(scheme));
	buf_append_slice(out, used);
	return 0;
}
