/*
 * The keys of SCRAM (RFC 5802 section 3), as Dovecot writes them:
 * "ITERATIONS,SALT,STORED-KEY,SERVER-KEY", all but the number in base64.
 */
#include "edge/scheme_internal.h"

#include <errno.h>
#include <limits.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hmac.h>
#include <wolfssl/wolfcrypt/pwdbased.h>

#include "base/base64.h"
#include "base/parse.h"

#define ITERATIONS_MIN 4096    /* RFC 7677 section 4; Dovecot refuses less */
#define ITERATIONS_MAX 1000000 /* clients hash as often, and many give up */
#define ITERATIONS_NEW 50000
#define NEW_SALT_LEN   16

static enum wc_HashType hash_type(enum scheme_secret hash)
{
	return hash == SCHEME_SCRAM_SHA_256 ? WC_HASH_TYPE_SHA256 : WC_HASH_TYPE_SHA;
}

static size_t hash_len(enum scheme_secret hash)
{
	return hash == SCHEME_SCRAM_SHA_256 ? WC_SHA256_DIGEST_SIZE : WC_SHA_DIGEST_SIZE;
}

/* The next field, of at most size bytes; its length, or -1. */
static ssize_t take_base64(struct slice *rest, unsigned char *out, size_t size)
{
	unsigned char decoded[BASE64_DECODED_SIZE(SCHEME_STORED_MAX)];
	struct slice field = slice_first(*rest, slice_find(*rest, ','));
	ssize_t len = field.len <= SCHEME_STORED_MAX ? base64_decode(field, decoded) : -1;

	*rest = slice_skip(*rest, field.len + 1);
	if (len > (ssize_t)size)
		len = -1;
	if (len > 0)
		memcpy(out, decoded, (size_t)len);
	explicit_bzero(decoded, sizeof(decoded));
	return len;
}

static int parse(struct slice raw, enum scheme_secret hash, struct scheme_scram *ret,
		 struct error *err)
{
	struct slice number = slice_first(raw, slice_find(raw, ','));
	struct slice rest = slice_skip(raw, number.len + 1);
	ssize_t len = (ssize_t)hash_len(hash), salt_len;
	uint64_t iterations;

	if (!parse_uint(number, UINT_MAX, &iterations))
		return error_set(
			err, -EINVAL,
			"expected ITERATIONS,SALT,STORED-KEY,SERVER-KEY behind {SCRAM-...}");
	if (iterations < ITERATIONS_MIN || iterations > ITERATIONS_MAX)
		return error_set(err, -EINVAL, "expected %d to %d iterations", ITERATIONS_MIN,
				 ITERATIONS_MAX);
	salt_len = take_base64(&rest, ret->salt, sizeof(ret->salt));
	if (salt_len <= 0)
		return error_set(err, -EINVAL, "the salt is no base64 of 1 to %zu bytes",
				 sizeof(ret->salt));
	if (take_base64(&rest, ret->stored_key, (size_t)len) != len ||
	    slice_find(rest, ',') != rest.len ||
	    take_base64(&rest, ret->server_key, (size_t)len) != len)
		return error_set(err, -EINVAL, "a key is no base64 of %zd bytes", len);
	ret->iterations = (unsigned int)iterations;
	ret->salt_len = (size_t)salt_len;
	ret->len = (size_t)len;
	return 0;
}

static int validate(struct slice raw, enum scheme_secret hash, struct error *err)
{
	struct scheme_scram scram = { 0 };
	int r = parse(raw, hash, &scram, err);

	explicit_bzero(&scram, sizeof(scram));
	return r;
}

int scheme_scram_validate(struct slice raw, struct error *err)
{
	return validate(raw, SCHEME_SCRAM_SHA_1, err);
}

int scheme_scram_long_validate(struct slice raw, struct error *err)
{
	return validate(raw, SCHEME_SCRAM_SHA_256, err);
}

bool scheme_scram(struct slice stored, enum scheme_secret hash, struct scheme_scram *ret)
{
	struct scheme_parts parts;
	bool is_kept = scheme_split(stored, &parts, NULL) == 0 && parts.scheme->secrets == hash;

	*ret = (struct scheme_scram){ 0 };
	if (is_kept)
		is_kept = parse(scheme_raw(&parts), hash, ret, NULL) == 0;
	scheme_parts_wipe(&parts);
	return is_kept;
}

static bool hmac(enum scheme_secret hash, const unsigned char *key, const char *text,
		 unsigned char *out)
{
	Hmac state;
	bool done;

	if (wc_HmacInit(&state, NULL, INVALID_DEVID) != 0)
		return false;
	done = wc_HmacSetKey(&state, hash_type(hash), key, (word32)hash_len(hash)) == 0 &&
	       wc_HmacUpdate(&state, (const byte *)text, (word32)strlen(text)) == 0 &&
	       wc_HmacFinal(&state, out) == 0;
	wc_HmacFree(&state);
	return done;
}

bool scheme_scram_derive(const char *password, enum scheme_secret hash, struct scheme_scram *scram)
{
	unsigned char salted[WC_MAX_DIGEST_SIZE], client_key[WC_MAX_DIGEST_SIZE];
	size_t len = hash_len(hash);
	bool done = wc_PBKDF2(salted, (const byte *)password, (int)strlen(password), scram->salt,
			      (int)scram->salt_len, (int)scram->iterations, (int)len,
			      (int)hash_type(hash)) == 0 &&
		    hmac(hash, salted, "Client Key", client_key) &&
		    hmac(hash, salted, "Server Key", scram->server_key) &&
		    wc_Hash(hash_type(hash), client_key, (word32)len, scram->stored_key,
			    (word32)len) == 0;

	scram->len = len;
	explicit_bzero(salted, sizeof(salted));
	explicit_bzero(client_key, sizeof(client_key));
	return done;
}

/* Both keys must be right: else PLAIN would work where SCRAM does not. */
bool scheme_scram_matches(const struct scheme *scheme, struct slice raw, const char *password)
{
	struct scheme_scram kept = { 0 }, made;
	bool match;

	if (parse(raw, scheme->secrets, &kept, NULL) < 0)
		return false;
	made = kept;
	match = scheme_scram_derive(password, scheme->secrets, &made) &&
		scheme_equal(made.stored_key, kept.stored_key, kept.len) &&
		scheme_equal(made.server_key, kept.server_key, kept.len);
	explicit_bzero(&kept, sizeof(kept));
	explicit_bzero(&made, sizeof(made));
	return match;
}

int scheme_scram_make(const struct scheme *scheme, const char *password, struct buf *out,
		      struct error *err)
{
	struct scheme_scram made = { .iterations = ITERATIONS_NEW, .salt_len = NEW_SALT_LEN };
	int r = scheme_random(made.salt, made.salt_len, err);

	if (r < 0)
		return r;
	if (scheme_scram_derive(password, scheme->secrets, &made)) {
		buf_printf(out, "%u,", made.iterations);
		scheme_base64_encode(slice_of((char *)made.salt, made.salt_len), out);
		buf_append_string(out, ",");
		scheme_base64_encode(slice_of((char *)made.stored_key, made.len), out);
		buf_append_string(out, ",");
		scheme_base64_encode(slice_of((char *)made.server_key, made.len), out);
	} else {
		r = error_set(err, -ENOMEM, "out of memory");
	}
	explicit_bzero(&made, sizeof(made));
	return r;
}
