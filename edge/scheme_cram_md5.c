/*
 * What CRAM-MD5 keeps is HMAC-MD5 (RFC 2104) after its first block: the states
 * of the outer and of the inner MD5 once they have taken in the key, 16 bytes
 * each, little-endian. The library has no functions to take a state out and to
 * put it back, but its struct is public, and the state is in it.
 */
#include "edge/scheme_internal.h"

#include <errno.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/md5.h>

#define STATE_LEN   WC_MD5_DIGEST_SIZE
#define BLOCK_LEN   WC_MD5_BLOCK_SIZE
#define CONTEXT_LEN (2 * STATE_LEN)

static void take_out(const wc_Md5 *md5, unsigned char *out)
{
	for (size_t i = 0; i < STATE_LEN; i++)
		out[i] = (unsigned char)(md5->digest[i / 4] >> 8 * (i % 4));
}

/* A state that has seen one block. */
static bool put_back(const unsigned char *state, wc_Md5 *md5)
{
	if (wc_InitMd5(md5) != 0)
		return false;
	for (size_t i = 0; i < STATE_LEN / 4; i++)
		md5->digest[i] = (word32)state[4 * i] | (word32)state[4 * i + 1] << 8 |
				 (word32)state[4 * i + 2] << 16 | (word32)state[4 * i + 3] << 24;
	md5->loLen = BLOCK_LEN;
	return true;
}

static bool after_key(const unsigned char key[BLOCK_LEN], unsigned char pad, unsigned char *out)
{
	unsigned char block[BLOCK_LEN];
	wc_Md5 md5;
	bool done;

	for (size_t i = 0; i < BLOCK_LEN; i++)
		block[i] = key[i] ^ pad;
	done = wc_InitMd5(&md5) == 0 && wc_Md5Update(&md5, block, BLOCK_LEN) == 0;
	if (done)
		take_out(&md5, out);
	explicit_bzero(block, sizeof(block));
	explicit_bzero(&md5, sizeof(md5));
	return done;
}

static bool derive(const char *password, unsigned char out[CONTEXT_LEN])
{
	unsigned char key[BLOCK_LEN] = { 0 };
	size_t len = strlen(password);
	wc_Md5 md5;
	bool done = true;

	if (len <= BLOCK_LEN)
		memcpy(key, password, len);
	else
		done = wc_InitMd5(&md5) == 0 &&
		       wc_Md5Update(&md5, (const byte *)password, (word32)len) == 0 &&
		       wc_Md5Final(&md5, key) == 0;
	done = done && after_key(key, 0x5c, out) && after_key(key, 0x36, out + STATE_LEN);
	explicit_bzero(key, sizeof(key));
	return done;
}

bool scheme_cram_md5_is_of(const struct scheme *scheme, struct slice raw, const char *password)
{
	unsigned char made[CONTEXT_LEN];
	bool match = derive(password, made) && scheme_equal(made, raw.ptr, CONTEXT_LEN);

	(void)scheme;
	explicit_bzero(made, sizeof(made));
	return match;
}

int scheme_cram_md5_make(const struct scheme *scheme, const char *password, struct buf *out,
			 struct error *err)
{
	unsigned char made[CONTEXT_LEN];
	bool done = derive(password, made);

	(void)scheme;
	if (done)
		buf_append(out, made, sizeof(made));
	explicit_bzero(made, sizeof(made));
	return done ? 0 : error_set(err, -ENOMEM, "out of memory");
}

static bool hmac(const unsigned char context[CONTEXT_LEN], struct slice text,
		 unsigned char out[STATE_LEN])
{
	wc_Md5 md5;
	bool done = put_back(context + STATE_LEN, &md5) &&
		    wc_Md5Update(&md5, (const byte *)text.ptr, (word32)text.len) == 0 &&
		    wc_Md5Final(&md5, out) == 0 && put_back(context, &md5) &&
		    wc_Md5Update(&md5, out, STATE_LEN) == 0 && wc_Md5Final(&md5, out) == 0;

	explicit_bzero(&md5, sizeof(md5));
	return done;
}

static bool context_of(struct slice stored, unsigned char out[CONTEXT_LEN])
{
	struct scheme_parts parts;
	bool is_kept = false;

	if (scheme_split(stored, &parts, NULL) == 0) {
		if (parts.scheme->secrets & SCHEME_CLEARTEXT) {
			is_kept = derive(parts.raw, out);
		} else if (parts.scheme->secrets & SCHEME_CRAM_MD5) {
			memcpy(out, parts.raw, CONTEXT_LEN);
			is_kept = true;
		}
	}
	scheme_parts_wipe(&parts);
	return is_kept;
}

bool scheme_cram_md5_matches(struct slice stored, struct slice challenge, struct slice digest)
{
	unsigned char context[CONTEXT_LEN], wanted[STATE_LEN], given[STATE_LEN];
	bool match = digest.len == 2 * STATE_LEN && scheme_hex_decode(digest, given) &&
		     context_of(stored, context) && hmac(context, challenge, wanted) &&
		     scheme_equal(wanted, given, STATE_LEN);

	explicit_bzero(context, sizeof(context));
	return match;
}
