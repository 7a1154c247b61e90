/*
 * certificate - one walk through the outer structure of a certificate
 *
 *	Certificate ::= SEQUENCE { tbsCertificate, algorithm, signature }
 *	tbsCertificate ::= SEQUENCE { [0] version, serial, algorithm, issuer,
 *		validity, subject, key, [1] id, [2] id, [3] extensions }
 *
 * We read these few fields ourselves, since names decide whom we send mail
 * to: the library's texts end at a NUL, and an embedded one would cut
 * "hub.example\0.attacker.example" to what it is not.
 */
#include "certs/certificate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <time.h>

#include "base/escape.h"
#include "base/macros.h"
#include "certs/der.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/hash.h>

#define OID_COMMON_NAME	       "\x55\x04\x03"
#define OID_ORGANIZATION       "\x55\x04\x0a"
#define OID_KEY_ID	       "\x55\x1d\x0e"
#define OID_SUBJECT_ALT_NAME   "\x55\x1d\x11"
#define OID_BASIC_CONSTRAINTS  "\x55\x1d\x13"
#define OID_EXTENDED_KEY_USAGE "\x55\x1d\x25"
#define OID_ANY_USAGE	       "\x55\x1d\x25\x00"
#define OID_SERVER_AUTH	       "\x2b\x06\x01\x05\x05\x07\x03\x01"
#define OID_CLIENT_AUTH	       "\x2b\x06\x01\x05\x05\x07\x03\x02"

#define GENERAL_NAME_EMAIL   (DER_CONTEXT | 1)
#define GENERAL_NAME_DNS     (DER_CONTEXT | 2)
#define GENERAL_NAME_ADDRESS (DER_CONTEXT | 7)

static bool two_digits(struct slice *s, int *ret)
{
	unsigned int tens, ones;

	if (s->len < 2)
		return false;
	tens = (unsigned int)s->ptr[0] - '0';
	ones = (unsigned int)s->ptr[1] - '0';
	if (tens > 9 || ones > 9)
		return false;
	*ret = (int)(tens * 10 + ones);
	*s = slice_skip(*s, 2);
	return true;
}

/* RFC 5280 section 4.1.2.5: both forms have seconds and end with Z. */
static bool read_time(struct slice *rest, int64_t *ret_s)
{
	struct der_item item;
	struct tm tm = { 0 };
	int century, year;
	struct slice s;

	if (!der_next(rest, &item))
		return false;
	s = item.content;
	if (item.tag == DER_GENERALIZED_TIME) {
		if (!two_digits(&s, &century) || !two_digits(&s, &year))
			return false;
	} else {
		if (item.tag != DER_UTC_TIME || !two_digits(&s, &year))
			return false;
		century = year < 50 ? 20 : 19;
	}
	if (!two_digits(&s, &tm.tm_mon) || !two_digits(&s, &tm.tm_mday) ||
	    !two_digits(&s, &tm.tm_hour) || !two_digits(&s, &tm.tm_min) ||
	    !two_digits(&s, &tm.tm_sec) || !slice_equal(s, SLICE("Z")))
		return false;

	tm.tm_year = century * 100 + year - 1900;
	tm.tm_mon -= 1;
	*ret_s = timegm(&tm);
	return true;
}

static bool read_validity(struct slice *rest, struct certs_certificate *c)
{
	struct slice validity;

	return der_take(rest, DER_SEQUENCE, &validity) && read_time(&validity, &c->not_before_s) &&
	       read_time(&validity, &c->not_after_s) && validity.len == 0;
}

/* A Name is kept with its header, so that two are equal when their bytes are. */
static bool read_name(struct slice *rest, struct slice *ret)
{
	struct der_item item;

	if (!der_next(rest, &item) || item.tag != DER_SEQUENCE)
		return false;
	*ret = item.whole;
	return true;
}

static bool read_basic_constraints(struct slice value, struct certs_certificate *c)
{
	struct slice fields, is_ca;

	if (!der_take(&value, DER_SEQUENCE, &fields))
		return false;
	if (der_take(&fields, DER_BOOLEAN, &is_ca))
		c->is_ca = is_ca.len == 1 && is_ca.ptr[0] != 0;
	return true;
}

static bool read_alt_names(struct slice value, struct certs_certificate *c)
{
	/* Twice would let two readers see different names (RFC 5280 section 4.2 forbids it). */
	return !c->alt_names.ptr && der_take(&value, DER_SEQUENCE, &c->alt_names);
}

/* RFC 5280 section 4.2.1.12: without it a certificate is for anything. */
static bool read_extended_key_usage(struct slice value, struct certs_certificate *c)
{
	struct slice usages, usage;

	if (!der_take(&value, DER_SEQUENCE, &usages))
		return false;
	c->is_for_clients = c->is_for_servers = false;
	while (der_take(&usages, DER_OID, &usage)) {
		bool is_any = slice_equal(usage, SLICE(OID_ANY_USAGE));

		c->is_for_clients |= is_any || slice_equal(usage, SLICE(OID_CLIENT_AUTH));
		c->is_for_servers |= is_any || slice_equal(usage, SLICE(OID_SERVER_AUTH));
	}
	return usages.len == 0;
}

static bool read_extension(struct slice extension, struct certs_certificate *c)
{
	struct slice oid, critical, value;

	if (!der_take(&extension, DER_OID, &oid))
		return false;
	der_take(&extension, DER_BOOLEAN, &critical); /* optional; the chain check heeds it */
	if (!der_take(&extension, DER_OCTET_STRING, &value))
		return false;
	if (slice_equal(oid, SLICE(OID_SUBJECT_ALT_NAME)))
		return read_alt_names(value, c);
	if (slice_equal(oid, SLICE(OID_BASIC_CONSTRAINTS)))
		return read_basic_constraints(value, c);
	if (slice_equal(oid, SLICE(OID_KEY_ID)))
		return der_take(&value, DER_OCTET_STRING, &c->key_id);
	if (slice_equal(oid, SLICE(OID_EXTENDED_KEY_USAGE)))
		return read_extended_key_usage(value, c);
	return true;
}

static bool read_extensions(struct slice rest, struct certs_certificate *c)
{
	struct slice outer, list, extension;
	struct der_item item;

	while (der_next(&rest, &item)) {
		if (item.tag != (DER_CONTEXT | DER_CONSTRUCTED | 3))
			continue; /* the unique identifiers of old */
		outer = item.content;
		if (!der_take(&outer, DER_SEQUENCE, &list))
			return false;
		while (der_take(&list, DER_SEQUENCE, &extension)) {
			if (!read_extension(extension, c))
				return false;
		}
		if (list.len > 0)
			return false;
	}
	return rest.len == 0;
}

static bool read_certificate(struct slice der, struct certs_certificate *c)
{
	struct slice outer, rest, version, skipped;
	struct der_item key;

	if (!der_take(&der, DER_SEQUENCE, &outer) || der.len > 0 ||
	    !der_take(&outer, DER_SEQUENCE, &rest))
		return false;
	version = (struct slice){ 0 };
	der_take(&rest, DER_CONTEXT | DER_CONSTRUCTED | 0, &version); /* version 1 has none */
	if (!der_take(&rest, DER_INTEGER, &skipped) || !der_take(&rest, DER_SEQUENCE, &skipped) ||
	    !read_name(&rest, &c->issuer) || !read_validity(&rest, c) ||
	    !read_name(&rest, &c->subject) || !der_next(&rest, &key) || key.tag != DER_SEQUENCE)
		return false;

	c->public_key = key.whole;
	c->is_ca = version.len == 0 && slice_equal(c->issuer, c->subject);
	return read_extensions(rest, c);
}

int certs_certificate_parse(struct slice der, struct certs_certificate *ret, struct error *err)
{
	struct certs_certificate c = {
		.der = der,
		.is_for_clients = true,
		.is_for_servers = true,
	};

	if (!read_certificate(der, &c))
		return error_set(err, -EBADMSG, "damaged certificate");
	*ret = c;
	return 0;
}

static bool is_word(struct slice s)
{
	for (size_t i = 0; i < s.len; i++) {
		unsigned char c = (unsigned char)s.ptr[i];

		if (c <= ' ' || c >= 0x7f)
			return false;
	}
	return s.len > 0;
}

bool certs_next_name(struct slice *cursor, struct certs_name *ret_name)
{
	struct der_item item;

	while (der_next(cursor, &item)) {
		ret_name->text = item.content;
		if (item.tag == GENERAL_NAME_DNS && is_word(item.content)) {
			ret_name->type = CERTS_NAME_DNS;
			return true;
		}
		if (item.tag == GENERAL_NAME_ADDRESS &&
		    (item.content.len == 4 || item.content.len == 16)) {
			ret_name->type = CERTS_NAME_ADDRESS;
			return true;
		}
	}
	return false;
}

bool certs_next_email(struct slice *cursor, struct slice *ret)
{
	struct der_item item;

	while (der_next(cursor, &item)) {
		if (item.tag != GENERAL_NAME_EMAIL || !is_word(item.content) ||
		    slice_find(item.content, '@') == item.content.len)
			continue;
		*ret = item.content;
		return true;
	}
	return false;
}

/* The last value of that type in a Name: SEQUENCE OF SET OF SEQUENCE { type, value }. */
static bool find_in_name(struct slice name, struct slice wanted, struct slice *ret)
{
	struct slice sets, set, pair, oid;
	struct der_item value;
	bool found = false;

	if (!der_take(&name, DER_SEQUENCE, &sets))
		return false;
	while (der_take(&sets, DER_SET, &set)) {
		while (der_take(&set, DER_SEQUENCE, &pair)) {
			if (!der_take(&pair, DER_OID, &oid) || !der_next(&pair, &value) ||
			    !slice_equal(oid, wanted))
				continue;
			*ret = value.content;
			found = true;
		}
	}
	return found;
}

bool certs_common_name(struct slice name, struct slice *ret)
{
	return find_in_name(name, SLICE(OID_COMMON_NAME), ret);
}

const char *certs_name_show(struct slice name, char *out, size_t out_size)
{
	const char *type = "CN=";
	struct slice value;

	out[0] = '\0';
	if (!certs_common_name(name, &value)) {
		type = "O=";
		if (!find_in_name(name, SLICE(OID_ORGANIZATION), &value))
			return out;
	}
	if (strlen(type) < out_size) {
		strcpy(out, type);
		escape_cstr(value, out + strlen(type), out_size - strlen(type));
	}
	return out;
}

void certs_fingerprint(struct slice der, char out[65])
{
	static const char digits[] = "0123456789abcdef";
	unsigned char hash[WC_SHA256_DIGEST_SIZE] = { 0 };

	wc_Sha256Hash((const unsigned char *)der.ptr, (word32)der.len, hash);
	for (size_t i = 0; i < sizeof(hash); i++) {
		out[2 * i] = digits[hash[i] >> 4];
		out[2 * i + 1] = digits[hash[i] & 15];
	}
	out[64] = '\0';
}

static void show_first_name(const struct certs_certificate *c, char *out, size_t out_size)
{
	struct slice cursor = c->alt_names;
	struct certs_name name;

	out[0] = '\0';
	if (!certs_next_name(&cursor, &name))
		return;
	if (name.type == CERTS_NAME_DNS)
		escape_cstr(name.text, out, out_size);
	else
		inet_ntop(name.text.len == 4 ? AF_INET : AF_INET6, name.text.ptr, out,
			  (socklen_t)out_size);
}

void certs_certificate_info(const struct certs_certificate *certificate,
			    struct certs_info *ret_info)
{
	struct slice common_name;

	*ret_info = (struct certs_info){ .not_before_s = certificate->not_before_s,
					 .not_after_s = certificate->not_after_s };
	if (certs_common_name(certificate->subject, &common_name))
		escape_cstr(common_name, ret_info->subject, sizeof(ret_info->subject));
	else
		show_first_name(certificate, ret_info->subject, sizeof(ret_info->subject));
	certs_fingerprint(certificate->der, ret_info->sha256);
}
