/*
 * identity - files are read, their PEM blocks sorted out, and the parts tried
 * together in a throwaway context of the library that will use them: what it
 * takes here it takes later, and nothing else is kept
 */
#include "certs/identity.h"

#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/escape.h"
#include "certs/certificate.h"
#include "certs/keyfit.h"
#include "certs/pem.h"
#include "certs/pemfile.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

#define DAY_S 86400

struct certs_identity {
	struct buf chain;      /* PEM, the leaf first; no key in it */
	struct buf public_key; /* of the leaf, DER */
	struct pemfile key;    /* the file that the key was in */
	struct slice key_pem;  /* within key */
	struct certs_info info;
};

static int take_certificate(void *arg, const struct pem_block *block,
			    const struct certs_certificate *certificate, struct error *err)
{
	struct certs_identity *identity = arg;

	(void)err;
	if (buf_len(&identity->chain) == 0) {
		certs_certificate_info(certificate, &identity->info);
		buf_append_slice(&identity->public_key, certificate->public_key);
	}
	buf_append_slice(&identity->chain, block->text);
	return 0;
}

static int try_together(const struct certs_identity *identity, WOLFSSL_CTX *ctx,
			const char *cert_file, const char *key_file, struct error *err)
{
	struct slice chain = buf_slice(&identity->chain), key = identity->key_pem;
	int r;

	if (!keyfit_is_supported(buf_slice(&identity->public_key)))
		return error_set(err, -EINVAL, "%s: the certificate's key is neither RSA nor EC",
				 cert_file);
	wolfSSL_ERR_clear_error();
	r = wolfSSL_CTX_use_certificate_chain_buffer(ctx, (const unsigned char *)chain.ptr,
						     (long)chain.len);
	if (r != WOLFSSL_SUCCESS)
		return error_set(err, -EINVAL,
				 "%s: the certificate can't be used (wolfSSL error %d: %s)",
				 cert_file, r, wolfSSL_ERR_reason_error_string((unsigned long)r));
	r = wolfSSL_CTX_use_PrivateKey_buffer(ctx, (const unsigned char *)key.ptr, (long)key.len,
					      WOLFSSL_FILETYPE_PEM);
	if (r != WOLFSSL_SUCCESS)
		return error_set(err, -EINVAL,
				 "%s: the private key can't be used (wolfSSL error %d: %s)",
				 key_file, r, wolfSSL_ERR_reason_error_string((unsigned long)r));
	if (!keyfit_fits(ctx, key, buf_slice(&identity->public_key)))
		return error_set(err, -EINVAL,
				 "%s: the private key does not belong to the certificate in %s",
				 key_file, cert_file);
	return 0;
}

static int check_fit(const struct certs_identity *identity, const char *cert_file,
		     const char *key_file, struct error *err)
{
	WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_server_method());
	int r;

	if (!ctx)
		return error_set(err, -ENOMEM, "%s: out of memory", cert_file);
	wolfSSL_CTX_SetMinRsaKey_Sz(ctx, CERTS_RSA_BITS_MIN);
	wolfSSL_CTX_SetMinEccKey_Sz(ctx, CERTS_ECC_BITS_MIN);
	r = try_together(identity, ctx, cert_file, key_file, err);
	wolfSSL_CTX_free(ctx);
	return r;
}

/* previous: whose key it is; NULL: read it. */
static int identity_load(struct certs_identity *identity, const char *cert_file,
			 const char *key_file, const struct certs_identity *previous,
			 struct error *err)
{
	int r = pemfile_certificates(cert_file, take_certificate, identity, err);

	if (r == 0 && previous)
		r = pemfile_copy(previous->key_pem, &identity->key, err);
	else if (r == 0)
		r = pemfile_read(key_file, &identity->key, err);
	if (r == 0)
		r = pemfile_find_key(&identity->key, key_file, &identity->key_pem, err);
	if (r == 0 && strcmp(cert_file, key_file) == 0 &&
	    pemfile_has_more_keys(&identity->key, identity->key_pem))
		r = error_set(err, -EINVAL,
			      "%s: more than one private key in it; give each, with its "
			      "certificates, a file of its own",
			      cert_file);
	return r < 0 ? r : check_fit(identity, cert_file, key_file, err);
}

int certs_identity_renew(const char *cert_file, const char *key_file,
			 const struct certs_identity *previous,
			 struct certs_identity **ret_identity, struct error *err)
{
	CLEANUP(certs_identity_freep) struct certs_identity *identity = NULL;
	int r;

	identity = calloc(1, sizeof(*identity));
	if (!identity)
		return error_set(err, -ENOMEM, "%s: out of memory", cert_file);
	r = identity_load(identity, cert_file, key_file && key_file[0] ? key_file : cert_file,
			  previous, err);
	if (r < 0)
		return r;
	*ret_identity = identity;
	identity = NULL;
	return 0;
}

int certs_identity_load(const char *cert_file, const char *key_file,
			struct certs_identity **ret_identity, struct error *err)
{
	return certs_identity_renew(cert_file, key_file, NULL, ret_identity, err);
}

void certs_identity_free(struct certs_identity *identity)
{
	if (!identity)
		return;
	buf_done(&identity->chain);
	buf_done(&identity->public_key);
	pemfile_done(&identity->key);
	free(identity);
}

struct slice certs_identity_chain_pem(const struct certs_identity *identity)
{
	return buf_slice(&identity->chain);
}

struct slice certs_identity_key_pem(const struct certs_identity *identity)
{
	return identity->key_pem;
}

enum certs_key_kind certs_identity_key_kind(const struct certs_identity *identity)
{
	return keyfit_kind(buf_slice(&identity->public_key));
}

const struct certs_info *certs_identity_info(const struct certs_identity *identity)
{
	return &identity->info;
}

int64_t certs_info_days_left(const struct certs_info *info, int64_t now_s)
{
	int64_t left_s = info->not_after_s - now_s;

	/* Rounded down also below zero: an hour too late is -1, not 0. */
	return left_s >= 0 ? left_s / DAY_S : -((DAY_S - 1 - left_s) / DAY_S);
}
