/*
 * trust - each CA is tried in a throwaway context, so that one which the
 * library could not use is found at load time, and named
 */
#include "certs/identity.h"

#include <errno.h>

#include "base/buf.h"
#include "certs/pemfile.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>

struct certs_trust {
	struct buf pem;
	struct buf der; /* the same certificates, one behind the other */
	unsigned int count;
	WOLFSSL_CTX *trial; /* while loading */
};

static int take_ca(void *arg, const struct pem_block *block,
		   const struct certs_certificate *certificate, struct error *err)
{
	struct certs_trust *trust = arg;
	struct slice der = certificate->der;
	char name[128];
	int r;

	/* Expired ones load: whoever checks a chain looks at the date (and names the CA). */
	wolfSSL_ERR_clear_error();
	r = wolfSSL_CTX_load_verify_buffer_ex(trust->trial, (const unsigned char *)der.ptr,
					      (long)der.len, WOLFSSL_FILETYPE_ASN1, 0,
					      WOLFSSL_LOAD_FLAG_DATE_ERR_OKAY);
	if (r != WOLFSSL_SUCCESS)
		return error_set(err, -EINVAL, "(%s) can't be used as a CA (wolfSSL error %d: %s)",
				 certs_name_show(certificate->subject, name, sizeof(name)), r,
				 wolfSSL_ERR_reason_error_string((unsigned long)r));
	buf_append_slice(&trust->pem, block->text);
	buf_append_slice(&trust->der, der);
	trust->count++;
	return 0;
}

int certs_trust_load(const char *ca_file, struct certs_trust **ret_trust, struct error *err)
{
	CLEANUP(certs_trust_freep) struct certs_trust *trust = NULL;
	int r;

	trust = calloc(1, sizeof(*trust));
	if (!trust)
		return error_set(err, -ENOMEM, "%s: out of memory", ca_file);
	trust->trial = wolfSSL_CTX_new(wolfSSLv23_client_method());
	if (!trust->trial)
		return error_set(err, -ENOMEM, "%s: out of memory", ca_file);
	wolfSSL_CTX_SetMinRsaKey_Sz(trust->trial, CERTS_RSA_BITS_MIN);
	wolfSSL_CTX_SetMinEccKey_Sz(trust->trial, CERTS_ECC_BITS_MIN);
	r = pemfile_certificates(ca_file, take_ca, trust, err);
	if (r < 0)
		return r;
	wolfSSL_CTX_free(trust->trial);
	trust->trial = NULL;
	*ret_trust = trust;
	trust = NULL;
	return 0;
}

void certs_trust_free(struct certs_trust *trust)
{
	if (!trust)
		return;
	wolfSSL_CTX_free(trust->trial);
	buf_done(&trust->pem);
	buf_done(&trust->der);
	free(trust);
}

struct slice certs_trust_pem(const struct certs_trust *trust)
{
	return buf_slice(&trust->pem);
}

struct slice certs_trust_der(const struct certs_trust *trust)
{
	return buf_slice(&trust->der);
}

unsigned int certs_trust_count(const struct certs_trust *trust)
{
	return trust->count;
}
