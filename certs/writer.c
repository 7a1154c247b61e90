/*
 * writer - certificates written field by field (RFC 5280 section 4.1)
 *
 * wolfCrypt has a writer of its own, but the basicConstraints of its CAs are
 * not critical, which section 4.2.1.9 asks for and strict verifiers insist on;
 * nor does it write addresses among the names. So only keys and signatures
 * are the library's.
 */
#include "certs/writer.h"

#include <string.h>
#include <time.h>

#include "certs/der.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/hash.h>

#define OID_COMMON_NAME	      "\x55\x04\x03"
#define OID_KEY_ID	      "\x55\x1d\x0e"
#define OID_KEY_USAGE	      "\x55\x1d\x0f"
#define OID_ALT_NAME	      "\x55\x1d\x11"
#define OID_BASIC_CONSTRAINTS "\x55\x1d\x13"
#define OID_AUTHORITY_KEY_ID  "\x55\x1d\x23"
#define OID_EXTENDED_USAGE    "\x55\x1d\x25"
#define OID_FOR_SERVERS	      "\x2b\x06\x01\x05\x05\x07\x03\x01"
#define OID_FOR_CLIENTS	      "\x2b\x06\x01\x05\x05\x07\x03\x02"

/* BIT STRINGs of section 4.2.1.3: the number of unused bits, and the bits. */
#define USAGE_DIGITAL_SIGNATURE "\x07\x80"
#define USAGE_SIGN_CERTIFICATES "\x01\x06" /* and revocation lists */

#define SERIAL_SIZE 16 /* section 4.1.2.2: up to 20 */
#define YEAR_2050_S 2524608000

/*
 * RFC 7093 section 2, method 1. Ours are 20 bytes whatever the key, like those
 * of everybody else, so nothing that reads them is surprised.
 */
void writer_key_id(struct slice public_key, unsigned char out[WRITER_KEY_ID_SIZE])
{
	unsigned char hash[WC_SHA256_DIGEST_SIZE] = { 0 };
	struct slice info, skipped, bits = { 0 };

	if (der_take(&public_key, DER_SEQUENCE, &info) && der_take(&info, DER_SEQUENCE, &skipped) &&
	    der_take(&info, DER_BIT_STRING, &bits))
		bits = slice_skip(bits, 1);
	wc_Sha256Hash((const unsigned char *)bits.ptr, (word32)bits.len, hash);
	memcpy(out, hash, WRITER_KEY_ID_SIZE);
}

/* Positive, of full length, and 126 bits of it are random. */
static int put_serial(struct buf *out, struct error *err)
{
	unsigned char serial[SERIAL_SIZE] = { 0 };
	int r = certs_random(serial, sizeof(serial), err);

	serial[0] = (unsigned char)((serial[0] & 0x7f) | 0x40);
	if (r == 0)
		der_put(out, DER_INTEGER, slice_of((const char *)serial, sizeof(serial)));
	return r;
}

/* Section 4.1.2.5: the form depends on the year. */
static void put_time(struct buf *out, int64_t time_s)
{
	bool is_far = time_s >= YEAR_2050_S;
	time_t when = (time_t)time_s;
	char text[32];
	struct tm tm;
	size_t len;

	gmtime_r(&when, &tm);
	len = strftime(text, sizeof(text), is_far ? "%Y%m%d%H%M%SZ" : "%y%m%d%H%M%SZ", &tm);
	der_put(out, is_far ? DER_GENERALIZED_TIME : DER_UTC_TIME, slice_of(text, len));
}

/* A Name with one common name; with none where it is empty. */
void writer_name(struct buf *out, struct slice common_name)
{
	size_t name = der_begin(out, DER_SEQUENCE), set, pair;

	if (common_name.len > 0) {
		set = der_begin(out, DER_SET);
		pair = der_begin(out, DER_SEQUENCE);
		der_put(out, DER_OID, SLICE(OID_COMMON_NAME));
		der_put(out, DER_UTF8_STRING, common_name);
		der_end(out, pair);
		der_end(out, set);
	}
	der_end(out, name);
}

static void put_extension(struct buf *out, struct slice oid, bool is_critical, struct slice value)
{
	size_t extension = der_begin(out, DER_SEQUENCE);

	der_put(out, DER_OID, oid);
	if (is_critical)
		der_put(out, DER_BOOLEAN, SLICE("\xff"));
	der_put(out, DER_OCTET_STRING, value);
	der_end(out, extension);
}

static void put_constraints(struct buf *out, bool is_ca)
{
	struct buf value = { 0 };
	size_t fields = der_begin(&value, DER_SEQUENCE);

	if (is_ca) {
		der_put(&value, DER_BOOLEAN, SLICE("\xff"));
		der_put(&value, DER_INTEGER, slice_of("\0", 1)); /* no CAs below it */
	}
	der_end(&value, fields);
	put_extension(out, SLICE(OID_BASIC_CONSTRAINTS), true, buf_slice(&value));
	buf_done(&value);
}

static void put_key_usage(struct buf *out, bool is_ca)
{
	struct buf value = { 0 };

	der_put(&value, DER_BIT_STRING,
		is_ca ? SLICE(USAGE_SIGN_CERTIFICATES) : SLICE(USAGE_DIGITAL_SIGNATURE));
	put_extension(out, SLICE(OID_KEY_USAGE), true, buf_slice(&value));
	buf_done(&value);
}

static void put_extended_usage(struct buf *out)
{
	struct buf value = { 0 };
	size_t list = der_begin(&value, DER_SEQUENCE);

	der_put(&value, DER_OID, SLICE(OID_FOR_SERVERS));
	der_put(&value, DER_OID, SLICE(OID_FOR_CLIENTS));
	der_end(&value, list);
	put_extension(out, SLICE(OID_EXTENDED_USAGE), false, buf_slice(&value));
	buf_done(&value);
}

/* Which key it has, and which has signed it. */
static void put_key_ids(struct buf *out, struct slice own, struct slice issuer)
{
	struct buf value = { 0 };
	size_t fields;

	der_put(&value, DER_OCTET_STRING, own);
	put_extension(out, SLICE(OID_KEY_ID), false, buf_slice(&value));
	buf_clear(&value);
	fields = der_begin(&value, DER_SEQUENCE);
	der_put(&value, DER_CONTEXT | 0, issuer);
	der_end(&value, fields);
	put_extension(out, SLICE(OID_AUTHORITY_KEY_ID), false, buf_slice(&value));
	buf_done(&value);
}

static void put_extensions(struct buf *out, const struct writer_draft *d)
{
	size_t outer = der_begin(out, DER_CONTEXT | DER_CONSTRUCTED | 3);
	size_t list = der_begin(out, DER_SEQUENCE);
	bool is_ca = d->alt_names.len == 0;
	unsigned char key_id[WRITER_KEY_ID_SIZE];

	writer_key_id(d->public_key, key_id);
	put_constraints(out, is_ca);
	put_key_usage(out, is_ca);
	if (!is_ca) {
		put_extended_usage(out);
		/* Section 4.2.1.6: critical where there is no other name; "30 00" is none. */
		put_extension(out, SLICE(OID_ALT_NAME), d->subject.len <= 2, d->alt_names);
	}
	put_key_ids(out, slice_of((const char *)key_id, WRITER_KEY_ID_SIZE), d->issuer_key_id);
	der_end(out, list);
	der_end(out, outer);
}

static int put_to_be_signed(struct buf *out, const struct writer_draft *d,
			    const struct certs_key *key, struct error *err)
{
	size_t all = der_begin(out, DER_SEQUENCE), part;
	int r;

	part = der_begin(out, DER_CONTEXT | DER_CONSTRUCTED | 0);
	der_put(out, DER_INTEGER, SLICE("\x02")); /* version 3 */
	der_end(out, part);
	r = put_serial(out, err);
	if (r < 0)
		return r;
	buf_append_slice(out, certs_key_algorithm(key));
	buf_append_slice(out, d->issuer);
	part = der_begin(out, DER_SEQUENCE);
	put_time(out, d->period.not_before_s);
	put_time(out, d->period.not_after_s);
	der_end(out, part);
	buf_append_slice(out, d->subject);
	buf_append_slice(out, d->public_key);
	put_extensions(out, d);
	der_end(out, all);
	return 0;
}

int writer_certificate(const struct writer_draft *d, struct certs_key *key, struct buf *out,
		       struct error *err)
{
	struct buf signature = { 0 }, body = { 0 };
	size_t all;
	int r;

	buf_append(&signature, "\0", 1); /* no unused bits */
	r = put_to_be_signed(&body, d, key, err);
	if (r == 0)
		r = certs_key_sign(key, buf_slice(&body), &signature, err);
	if (r == 0) {
		all = der_begin(out, DER_SEQUENCE);
		buf_append_slice(out, buf_slice(&body));
		buf_append_slice(out, certs_key_algorithm(key));
		der_put(out, DER_BIT_STRING, buf_slice(&signature));
		der_end(out, all);
	}
	buf_done(&body);
	buf_done(&signature);
	return r;
}
