/*
 * A table of the schemes; what stands behind the name is decoded here, and
 * handed to the functions of the scheme.
 */
#include "edge/scheme_internal.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#include "base/base64.h"
#include "base/macros.h"

static int cleartext_validate(struct slice raw, struct error *err);
static bool cleartext_matches(const struct scheme *scheme, struct slice raw, const char *password);
static int cleartext_make(const struct scheme *scheme, const char *password, struct buf *out,
			  struct error *err);

#define CLEARTEXT                                                                                  \
	.secrets = SCHEME_EVERY_SECRET, .validate = cleartext_validate,                            \
	.matches = cleartext_matches, .make = cleartext_make
#define DIGEST                                                                                     \
	.encoding = SCHEME_BASE64, .matches = scheme_digest_matches, .make = scheme_digest_make
#define CRYPT(prefix)                                                                              \
	.setting = (prefix), .validate = scheme_crypt_validate, .matches = scheme_crypt_matches,   \
	.make = scheme_crypt_make, .memory = scheme_crypt_memory
#define ARGON2                                                                                     \
	.validate = scheme_argon2_validate, .matches = scheme_argon2_matches,                      \
	.make = scheme_argon2_make, .memory = scheme_argon2_memory
#define SCRAM(secret)                                                                              \
	.secrets = (secret), .matches = scheme_scram_matches, .make = scheme_scram_make

static const struct scheme schemes[] = {
	{ "SCRAM-SHA-256", SCRAM(SCHEME_SCRAM_SHA_256), .validate = scheme_scram_long_validate },
	{ "SCRAM-SHA-1", SCRAM(SCHEME_SCRAM_SHA_1), .validate = scheme_scram_validate },
	{ "ARGON2ID", ARGON2 },
	{ "ARGON2I", ARGON2 },
	{ "BLF-CRYPT", CRYPT("$2y$") },
	{ "SHA512-CRYPT", CRYPT("$6$") },
	{ "SHA256-CRYPT", CRYPT("$5$") },
	{ "MD5-CRYPT", CRYPT("$1$") },
	{ "CRYPT", CRYPT("$y$") },
	{ "SSHA512", DIGEST, .validate = scheme_salted_long_validate },
	{ "SHA512", DIGEST, .raw_len = 64 },
	{ "SSHA256", DIGEST, .validate = scheme_salted_validate },
	{ "SHA256", DIGEST, .raw_len = 32 },
	{ "CRAM-MD5", .encoding = SCHEME_HEX, .raw_len = 32, .secrets = SCHEME_CRAM_MD5,
	  .matches = scheme_cram_md5_is_of, .make = scheme_cram_md5_make },
	{ "PLAIN", CLEARTEXT },
	{ "CLEARTEXT", CLEARTEXT },
};

bool scheme_equal(const void *a, const void *b, size_t len)
{
	const volatile unsigned char *x = a, *y = b;
	unsigned char difference = 0;

	for (size_t i = 0; i < len; i++)
		difference |= x[i] ^ y[i];
	return difference == 0;
}

int scheme_random(void *out, size_t len, struct error *err)
{
	if (getrandom(out, len, 0) != (ssize_t)len)
		return error_set(err, -EIO, "no random bytes: %s", strerror(errno));
	return 0;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 32;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool scheme_hex_decode(struct slice hex, unsigned char *out)
{
	if (hex.len % 2 != 0)
		return false;
	for (size_t i = 0; i < hex.len; i += 2) {
		int high = hex_value(hex.ptr[i]), low = hex_value(hex.ptr[i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i / 2] = (unsigned char)(high << 4 | low);
	}
	return true;
}

void scheme_hex_encode(struct slice raw, struct buf *out)
{
	for (size_t i = 0; i < raw.len; i++)
		buf_printf(out, "%02x", (unsigned char)raw.ptr[i]);
}

void scheme_base64_encode(struct slice raw, struct buf *out)
{
	base64_encode(raw, buf_reserve(out, BASE64_ENCODED_SIZE(raw.len)));
	buf_commit(out, BASE64_ENCODED_SIZE(raw.len) - 1);
}

static const struct scheme *find_scheme(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (slice_equal_nocase(name, slice_from(schemes[i].name)))
			return &schemes[i];
	return NULL;
}

const char *scheme_at(size_t n)
{
	return n < ARRAY_SIZE(schemes) ? schemes[n].name : NULL;
}

static int unknown_scheme(struct slice name, struct error *err)
{
	char names[300] = "";
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s",
				      i == 0			    ? ""
				      : i + 1 < ARRAY_SIZE(schemes) ? ", "
								    : " or ",
				      schemes[i].name);
	return error_set(err, -EINVAL, "password scheme {%.*s} is not known; expected %s",
			 (int)MIN(name.len, 40u), name.ptr, names);
}

/* "SCHEME" or "SCHEME.ENCODING". */
static int find_named(struct slice name, const struct scheme **ret_scheme,
		      enum scheme_encoding *ret_encoding, bool *ret_is_given, struct error *err)
{
	struct slice base = slice_first(name, slice_find(name, '.'));
	struct slice suffix = slice_skip(name, base.len + 1);

	*ret_scheme = find_scheme(base);
	*ret_is_given = base.len < name.len;
	if (!*ret_scheme)
		return unknown_scheme(base, err);
	if (!*ret_is_given)
		*ret_encoding = (*ret_scheme)->encoding;
	else if (slice_equal_nocase(suffix, SLICE("hex")))
		*ret_encoding = SCHEME_HEX;
	else if (slice_equal_nocase(suffix, SLICE("b64")) ||
		 slice_equal_nocase(suffix, SLICE("base64")))
		*ret_encoding = SCHEME_BASE64;
	else
		return error_set(err, -EINVAL,
				 "password scheme {%.*s}: its encoding is not known; expected "
				 "b64, base64 or hex",
				 (int)MIN(name.len, 40u), name.ptr);
	return 0;
}

int scheme_find(const char *name, unsigned int *ret_secrets, struct error *err)
{
	const struct scheme *scheme;
	enum scheme_encoding encoding;
	bool is_given;
	int r = find_named(slice_from(name), &scheme, &encoding, &is_given, err);

	if (r == 0)
		*ret_secrets = scheme->secrets;
	return r;
}

static int decode(struct slice rest, enum scheme_encoding encoding, struct scheme_parts *parts,
		  struct error *err)
{
	unsigned char buffer[BASE64_DECODED_SIZE(SCHEME_STORED_MAX)];
	ssize_t len = -1;

	if (encoding == SCHEME_AS_IS) {
		memcpy(parts->raw, rest.ptr, rest.len);
		parts->len = rest.len;
		return 0;
	}
	if (encoding == SCHEME_BASE64)
		len = base64_decode(rest, buffer);
	else if (scheme_hex_decode(rest, buffer))
		len = (ssize_t)rest.len / 2;
	if (len > 0) {
		memcpy(parts->raw, buffer, (size_t)len);
		parts->len = (size_t)len;
	}
	explicit_bzero(buffer, sizeof(buffer));
	return len > 0 ? 0
		       : error_set(err, -EINVAL, "the password is no %s",
				   encoding == SCHEME_HEX ? "hex" : "base64");
}

/* Dovecot tells hex from base64 by the length, where the scheme has only one. */
static enum scheme_encoding guess(const struct scheme *scheme, struct slice rest,
				  enum scheme_encoding encoding)
{
	if (scheme->raw_len == 0)
		return encoding;
	return rest.len == scheme->raw_len * 2 ? SCHEME_HEX : SCHEME_BASE64;
}

static int check_raw(const struct scheme_parts *parts, struct error *err)
{
	const struct scheme *scheme = parts->scheme;

	if (scheme->raw_len && parts->len != scheme->raw_len)
		return error_set(err, -EINVAL, "the password has %zu bytes, {%s} has %zu",
				 parts->len, scheme->name, scheme->raw_len);
	return scheme->validate ? scheme->validate(scheme_raw(parts), err) : 0;
}

int scheme_split(struct slice stored, struct scheme_parts *ret, struct error *err)
{
	struct slice name = SLICE("CRYPT"), rest = stored;
	enum scheme_encoding encoding;
	bool is_given;
	int r;

	*ret = (struct scheme_parts){ 0 };
	if (stored.len > 0 && stored.ptr[0] == '{') {
		size_t end = slice_find(stored, '}');

		if (end == stored.len)
			return error_set(err, -EINVAL, "expected {SCHEME} with a closing brace");
		name = slice_skip(slice_first(stored, end), 1);
		rest = slice_skip(stored, end + 1);
	}
	if (stored.len > SCHEME_STORED_MAX)
		return error_set(err, -EINVAL, "the password is longer than %d bytes",
				 SCHEME_STORED_MAX);
	r = find_named(name, &ret->scheme, &encoding, &is_given, err);
	if (r < 0)
		return r;
	if (rest.len == 0)
		return error_set(err, -EINVAL, "the password is empty");
	r = decode(rest, is_given ? encoding : guess(ret->scheme, rest, encoding), ret, err);
	if (r == 0)
		r = check_raw(ret, err);
	if (r < 0)
		scheme_parts_wipe(ret);
	return r;
}

void scheme_parts_wipe(struct scheme_parts *parts)
{
	explicit_bzero(parts, sizeof(*parts));
}

int scheme_validate(struct slice stored, struct error *err)
{
	struct scheme_parts parts;
	int r = scheme_split(stored, &parts, err);

	scheme_parts_wipe(&parts);
	if (r < 0 && stored.len > 0 && stored.ptr[0] != '{' && err) {
		struct error why = *err;

		error_set(err, r, "%s; for a plain one write {PLAIN}", why.text);
	}
	return r;
}

const char *scheme_name(struct slice stored)
{
	struct slice name = slice_skip(slice_first(stored, slice_find(stored, '}')), 1);
	const struct scheme *scheme;

	if (stored.len > 0 && stored.ptr[0] != '{')
		return "CRYPT";
	scheme = find_scheme(slice_first(name, slice_find(name, '.')));
	return scheme ? scheme->name : "";
}

unsigned int scheme_secrets(struct slice stored)
{
	struct scheme_parts parts;
	unsigned int secrets = 0;

	if (scheme_split(stored, &parts, NULL) == 0)
		secrets = parts.scheme->secrets;
	scheme_parts_wipe(&parts);
	return secrets;
}

size_t scheme_memory(struct slice stored)
{
	struct scheme_parts parts;
	size_t memory = 0;

	if (scheme_split(stored, &parts, NULL) == 0 && parts.scheme->memory)
		memory = parts.scheme->memory(scheme_raw(&parts));
	scheme_parts_wipe(&parts);
	return memory;
}

bool scheme_matches(struct slice stored, const char *password)
{
	struct scheme_parts parts;
	bool match = scheme_split(stored, &parts, NULL) == 0 &&
		     parts.scheme->matches(parts.scheme, scheme_raw(&parts), password);

	scheme_parts_wipe(&parts);
	return match;
}

bool scheme_cleartext(struct slice stored, char ret[SCHEME_STORED_MAX + 1])
{
	struct scheme_parts parts;
	bool is_kept = scheme_split(stored, &parts, NULL) == 0 &&
		       (parts.scheme->secrets & SCHEME_CLEARTEXT);

	if (is_kept)
		memcpy(ret, parts.raw, parts.len + 1);
	scheme_parts_wipe(&parts);
	return is_kept;
}

static int cleartext_validate(struct slice raw, struct error *err)
{
	if (slice_find(raw, '\0') != raw.len)
		return error_set(err, -EINVAL, "the password has a NUL byte");
	return 0;
}

/* Time depends on the length of what was given, not on how much of it is right. */
static bool cleartext_matches(const struct scheme *scheme, struct slice raw, const char *password)
{
	size_t len = strlen(password);
	unsigned char difference = len != raw.len;

	(void)scheme;
	for (size_t i = 0; i < len; i++)
		difference |= (unsigned char)(password[i] ^ raw.ptr[i % raw.len]);
	return difference == 0;
}

static int cleartext_make(const struct scheme *scheme, const char *password, struct buf *out,
			  struct error *err)
{
	(void)scheme;
	(void)err;
	buf_append_string(out, password);
	return 0;
}

static int check_password(const char *password, struct error *err)
{
	size_t len = strlen(password);

	if (len == 0)
		return error_set(err, -EINVAL, "the password is empty");
	if (len > SCHEME_PASSWORD_MAX)
		return error_set(err, -EINVAL, "the password is longer than %d bytes",
				 SCHEME_PASSWORD_MAX);
	return 0;
}

int scheme_make(const char *name, const char *password, struct buf *out, struct error *err)
{
	const struct scheme *scheme;
	enum scheme_encoding encoding;
	struct buf raw = { 0 };
	bool is_given;
	int r = find_named(slice_from(name), &scheme, &encoding, &is_given, err);

	if (r == 0)
		r = check_password(password, err);
	if (r < 0)
		return r;
	buf_reserve(&raw, SCHEME_STORED_MAX);
	r = scheme->make(scheme, password, &raw, err);
	if (r == 0) {
		buf_reserve(out, 2 * SCHEME_STORED_MAX); /* a secret: no copy is left behind */
		buf_printf(out, "{%s%s}", scheme->name,
			   !is_given		    ? ""
			   : encoding == SCHEME_HEX ? ".hex"
						    : ".b64");
		if (encoding == SCHEME_HEX)
			scheme_hex_encode(buf_slice(&raw), out);
		else if (encoding == SCHEME_BASE64)
			scheme_base64_encode(buf_slice(&raw), out);
		else
			buf_append_slice(out, buf_slice(&raw));
	}
	buf_wipe(&raw);
	return r;
}
