/*
 * authority - the key, its certificate, and what it puts its name to; how a
 * certificate is written is in writer.c
 */
#include "certs/authority.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/escape.h"
#include "certs/der.h"
#include "certs/identity.h"
#include "certs/pem.h"
#include "certs/pemfile.h"
#include "certs/writer.h"

#define COMMON_NAME_MAX 64  /* ub-common-name */
#define DNS_NAME_MAX	253 /* RFC 1035 section 2.3.4, as text */
#define LABEL_MAX	63

struct certs_authority {
	struct certs_key *key;
	struct buf der, pem;
	struct certs_certificate certificate; /* of der */
	unsigned char key_id[WRITER_KEY_ID_SIZE];
	struct slice key_id_slice; /* its certificate's, else the one above */
};

/* ---- the CA ---- */

static int check_common_name(const char *name, struct error *err)
{
	struct slice s = slice_from(name);
	char shown[4 * COMMON_NAME_MAX];

	escape_cstr(slice_first(s, COMMON_NAME_MAX), shown, sizeof(shown));
	if (s.len == 0 || s.len > COMMON_NAME_MAX || strcmp(shown, name) != 0)
		return error_set(err, -EINVAL,
				 "%s: expected the name of a CA, of 1 to %d bytes in UTF-8", shown,
				 COMMON_NAME_MAX);
	return 0;
}

static void default_name(const struct certs_authority *a, char out[COMMON_NAME_MAX])
{
	snprintf(out, COMMON_NAME_MAX, "Posthouse CA %02x%02x%02x%02x", a->key_id[0], a->key_id[1],
		 a->key_id[2], a->key_id[3]);
}

static int sign_itself(struct certs_authority *a, const char *name,
		       const struct certs_period *period, struct error *err)
{
	struct writer_draft draft = { .period = *period, .public_key = certs_key_public(a->key) };
	char made[COMMON_NAME_MAX];
	struct buf subject = { 0 };
	int r;

	writer_key_id(draft.public_key, a->key_id);
	a->key_id_slice = slice_of((const char *)a->key_id, WRITER_KEY_ID_SIZE);
	default_name(a, made);
	writer_name(&subject, slice_from(name ? name : made));
	draft.issuer = draft.subject = buf_slice(&subject);
	draft.issuer_key_id = a->key_id_slice;
	r = writer_certificate(&draft, a->key, &a->der, err);
	buf_done(&subject);
	if (r == 0)
		r = certs_certificate_parse(buf_slice(&a->der), &a->certificate, err);
	if (r == 0)
		pem_encode(&a->pem, "CERTIFICATE", buf_slice(&a->der));
	return r;
}

int certs_authority_new(const char *name, const struct certs_period *period,
			struct certs_authority **ret_authority, struct error *err)
{
	CLEANUP(certs_authority_freep) struct certs_authority *a = NULL;
	int r = name ? check_common_name(name, err) : 0;

	if (r < 0)
		return r;
	a = calloc(1, sizeof(*a));
	if (!a)
		return error_set(err, -ENOMEM, "out of memory");
	r = certs_key_generate(&a->key, err);
	if (r == 0)
		r = sign_itself(a, name, period, err);
	if (r < 0)
		return r;
	*ret_authority = a;
	a = NULL;
	return 0;
}

static int take_first(void *arg, const struct pem_block *block,
		      const struct certs_certificate *certificate, struct error *err)
{
	struct certs_authority *a = arg;

	(void)err;
	if (buf_len(&a->der) == 0) {
		buf_append_slice(&a->der, certificate->der);
		buf_append_slice(&a->pem, block->text);
	}
	return 0;
}

static int load(struct certs_authority *a, const char *cert_file, const char *key_file,
		struct error *err)
{
	CLEANUP(certs_identity_freep) struct certs_identity *identity = NULL;
	int r;

	r = certs_identity_load(cert_file, key_file, &identity, err); /* do they fit? */
	if (r == 0)
		r = pemfile_certificates(cert_file, take_first, a, err);
	if (r == 0)
		r = certs_certificate_parse(buf_slice(&a->der), &a->certificate, err);
	if (r == 0 && !a->certificate.is_ca)
		r = error_set(err, -EINVAL, "%s: not the certificate of a CA", cert_file);
	if (r == 0)
		r = certs_key_read(certs_identity_key_pem(identity), &a->key, err);
	if (r < 0)
		return r;
	writer_key_id(a->certificate.public_key, a->key_id);
	a->key_id_slice = a->certificate.key_id.len > 0
				  ? a->certificate.key_id
				  : slice_of((const char *)a->key_id, WRITER_KEY_ID_SIZE);
	return 0;
}

int certs_authority_load(const char *cert_file, const char *key_file,
			 struct certs_authority **ret_authority, struct error *err)
{
	CLEANUP(certs_authority_freep) struct certs_authority *a = calloc(1, sizeof(*a));
	int r;

	if (!a)
		return error_set(err, -ENOMEM, "%s: out of memory", cert_file);
	r = load(a, cert_file, key_file, err);
	if (r < 0)
		return r;
	*ret_authority = a;
	a = NULL;
	return 0;
}

void certs_authority_free(struct certs_authority *a)
{
	if (!a)
		return;
	certs_key_free(a->key);
	buf_done(&a->der);
	buf_done(&a->pem);
	free(a);
}

struct slice certs_authority_pem(const struct certs_authority *a)
{
	return buf_slice(&a->pem);
}

struct slice certs_authority_key_pem(const struct certs_authority *a)
{
	return certs_key_pem(a->key);
}

const struct certs_certificate *certs_authority_certificate(const struct certs_authority *a)
{
	return &a->certificate;
}

/* ---- others ---- */

/* 4 or 16 bytes; 0 where it is no address. */
static size_t read_address(const char *name, unsigned char out[sizeof(struct in6_addr)])
{
	if (inet_pton(AF_INET, name, out) == 1)
		return sizeof(struct in_addr);
	return inet_pton(AF_INET6, name, out) == 1 ? sizeof(struct in6_addr) : 0;
}

/* RFC 1123 section 2.1. */
static bool is_label(struct slice s)
{
	if (s.len == 0 || s.len > LABEL_MAX || s.ptr[0] == '-' || s.ptr[s.len - 1] == '-')
		return false;
	for (size_t i = 0; i < s.len; i++) {
		char c = s.ptr[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
		    c != '-')
			return false;
	}
	return true;
}

static bool is_number(struct slice s)
{
	for (size_t i = 0; i < s.len; i++)
		if (s.ptr[i] < '0' || s.ptr[i] > '9')
			return false;
	return true;
}

/* A last label of digits would make it look like an address. */
static bool is_dns_name(struct slice s)
{
	struct slice label;
	size_t end;

	if (s.len > DNS_NAME_MAX)
		return false;
	if (s.len > 2 && s.ptr[0] == '*' && s.ptr[1] == '.')
		s = slice_skip(s, 2);
	do {
		end = slice_find(s, '.');
		label = slice_first(s, end);
		if (!is_label(label))
			return false;
		s = slice_skip(s, end);
		if (s.len > 0)
			s = slice_skip(s, 1);
		else
			return !is_number(label);
	} while (true);
}

static bool is_ascii(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s >= 0x80)
			return false;
	return true;
}

int certs_name_check(const char *name, struct error *err)
{
	unsigned char address[sizeof(struct in6_addr)];
	char shown[256];

	if (read_address(name, address) > 0 || is_dns_name(slice_from(name)))
		return 0;
	escape_cstr(slice_from(name), shown, sizeof(shown));
	if (!is_ascii(name))
		return error_set(err, -EINVAL,
				 "%s: a name in a certificate is ASCII; give its form that begins "
				 "with xn--, as `idn2` prints it",
				 shown);
	return error_set(err, -EINVAL,
			 "%s: expected a DNS name as hub.example or *.example, or an IP address",
			 shown);
}

static void put_alt_names(struct buf *out, const struct certs_request *request)
{
	size_t all = der_begin(out, DER_SEQUENCE);

	for (unsigned int i = 0; i < request->name_count; i++) {
		unsigned char address[sizeof(struct in6_addr)];
		size_t len = read_address(request->names[i], address);

		if (len > 0)
			der_put(out, DER_CONTEXT | 7, slice_of((const char *)address, len));
		else
			der_put(out, DER_CONTEXT | 2, slice_from(request->names[i]));
	}
	der_end(out, all);
}

int certs_authority_issue(struct certs_authority *a, const struct certs_request *request,
			  struct buf *out, struct error *err)
{
	struct writer_draft draft = { .period = request->period,
				      .public_key = request->public_key };
	struct slice first = slice_from(request->names[0]);
	struct buf subject = { 0 }, alt_names = { 0 }, der = { 0 };
	int r = 0;

	for (unsigned int i = 0; r == 0 && i < request->name_count; i++)
		r = certs_name_check(request->names[i], err);
	if (r < 0)
		return r;
	writer_name(&subject, first.len <= COMMON_NAME_MAX ? first : slice_of("", 0));
	put_alt_names(&alt_names, request);
	draft.issuer = a->certificate.subject;
	draft.issuer_key_id = a->key_id_slice;
	draft.subject = buf_slice(&subject);
	draft.alt_names = buf_slice(&alt_names);
	r = writer_certificate(&draft, a->key, &der, err);
	if (r == 0)
		pem_encode(out, "CERTIFICATE", buf_slice(&der));
	if (r == 0 && !slice_equal(a->certificate.issuer, a->certificate.subject))
		buf_append_slice(out, buf_slice(&a->pem));
	buf_done(&subject);
	buf_done(&alt_names);
	buf_done(&der);
	return r;
}
