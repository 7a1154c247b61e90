/* key - both kinds behind one face; what is given out is made when the key comes in */
#include "certs/key.h"

#include <errno.h>
#include <string.h>

#include "certs/pem.h"
#include "certs/pemfile.h"

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/signature.h>

#define DER_MAX	      8192 /* of RSA with 8192 bits: 4.7 KiB */
#define SIGNATURE_MAX 1024
#define P256_BYTES    32

/* AlgorithmIdentifiers: RFC 5758 section 3.2, RFC 4055 section 5. */
#define ECDSA_WITH_SHA256 "\x30\x0a\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"
#define RSA_WITH_SHA256	  "\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b\x05\x00"

struct certs_key {
	bool is_rsa;
	union {
		ecc_key ecc;
		RsaKey rsa;
	};
	WC_RNG rng;
	struct buf pem, public_der;
};

static int library_error(struct error *err, const char *what, int r)
{
	return error_set(err, -EIO, "%s (wolfSSL error %d: %s)", what, r, wc_GetErrorString(r));
}

static int key_new(bool is_rsa, struct certs_key **ret, struct error *err)
{
	struct certs_key *key = calloc(1, sizeof(*key));
	int r;

	if (!key)
		return error_set(err, -ENOMEM, "out of memory");
	key->is_rsa = is_rsa;
	r = wc_InitRng(&key->rng);
	if (r == 0)
		r = is_rsa ? wc_InitRsaKey(&key->rsa, NULL) : wc_ecc_init(&key->ecc);
	if (r == 0 && is_rsa)
		r = wc_RsaSetRNG(&key->rsa, &key->rng); /* it blinds what it computes */
	else if (r == 0)
		r = wc_ecc_set_rng(&key->ecc, &key->rng);
	if (r != 0) {
		certs_key_free(key);
		return library_error(err, "no random numbers", r);
	}
	*ret = key;
	return 0;
}

static int export_public(struct certs_key *key, struct error *err)
{
	unsigned char *out = (unsigned char *)buf_reserve(&key->public_der, DER_MAX);
	int len = key->is_rsa ? wc_RsaKeyToPublicDer(&key->rsa, out, DER_MAX)
			      : wc_EccPublicKeyToDer(&key->ecc, out, DER_MAX, 1);

	if (len <= 0)
		return library_error(err, "the public key can't be told", len);
	buf_commit(&key->public_der, (size_t)len);
	return 0;
}

static int export_pem(struct certs_key *key, struct error *err)
{
	unsigned char der[DER_MAX];
	word32 len = sizeof(der);
	int r = wc_EccKeyToPKCS8(&key->ecc, der, &len);

	if (r >= 0)
		pem_encode(&key->pem, "PRIVATE KEY", slice_of((const char *)der, len));
	explicit_bzero(der, sizeof(der));
	return r >= 0 ? 0 : library_error(err, "the key can't be written", r);
}

int certs_key_generate(struct certs_key **ret_key, struct error *err)
{
	CLEANUP(certs_key_freep) struct certs_key *key = NULL;
	int r = key_new(false, &key, err);

	if (r < 0)
		return r;
	r = wc_ecc_make_key_ex(&key->rng, P256_BYTES, &key->ecc, ECC_SECP256R1);
	if (r != 0)
		return library_error(err, "no key could be made", r);
	r = export_pem(key, err);
	if (r == 0)
		r = export_public(key, err);
	if (r < 0)
		return r;
	*ret_key = key;
	key = NULL;
	return 0;
}

static int decode(struct certs_key *key, const unsigned char *der, size_t len)
{
	word32 offset = 0;
	int r;

	if (key->is_rsa)
		return wc_RsaPrivateKeyDecode(der, &offset, &key->rsa, (word32)len);
	r = wc_EccPrivateKeyDecode(der, &offset, &key->ecc, (word32)len);
	/* Its public half is optional in the file. */
	if (r == 0 && key->ecc.type == ECC_PRIVATEKEY_ONLY)
		r = wc_ecc_make_pub_ex(&key->ecc, NULL, &key->rng);
	return r;
}

static int read_der(const unsigned char *der, size_t len, struct certs_key **ret, struct error *err)
{
	for (int is_rsa = 0; is_rsa <= 1; is_rsa++) {
		struct certs_key *key = NULL;
		int r = key_new(is_rsa, &key, err);

		if (r < 0)
			return r;
		if (decode(key, der, len) == 0) {
			*ret = key;
			return 0;
		}
		certs_key_free(key);
	}
	return error_set(err, -EINVAL, "the private key is neither EC nor RSA, or damaged");
}

int certs_key_read(struct slice pem, struct certs_key **ret_key, struct error *err)
{
	CLEANUP(certs_key_freep) struct certs_key *key = NULL;
	unsigned char der[DER_MAX];
	int len, r = -EINVAL;

	len = wc_KeyPemToDer((const unsigned char *)pem.ptr, (int)pem.len, der, sizeof(der), NULL);
	if (len > 0)
		r = read_der(der, (size_t)len, &key, err);
	else
		error_set(err, r, "damaged private key");
	explicit_bzero(der, sizeof(der));
	if (r < 0)
		return r;
	buf_append_slice(&key->pem, pem);
	r = export_public(key, err);
	if (r < 0)
		return r;
	*ret_key = key;
	key = NULL;
	return 0;
}

int certs_key_load(const char *path, struct certs_key **ret_key, struct error *err)
{
	struct pemfile file;
	struct slice pem;
	int r = pemfile_read(path, &file, err);

	if (r < 0)
		return r;
	r = pemfile_find_key(&file, path, &pem, err);
	if (r == 0) {
		r = certs_key_read(pem, ret_key, err);
		if (r < 0)
			error_prefix(err, "%s", path);
	}
	pemfile_done(&file);
	return r;
}

void certs_key_free(struct certs_key *key)
{
	if (!key)
		return;
	if (key->is_rsa)
		wc_FreeRsaKey(&key->rsa);
	else
		wc_ecc_free(&key->ecc);
	wc_FreeRng(&key->rng);
	if (key->pem.mem)
		explicit_bzero(key->pem.mem, key->pem.size);
	buf_done(&key->pem);
	buf_done(&key->public_der);
	explicit_bzero(key, sizeof(*key));
	free(key);
}

struct slice certs_key_pem(const struct certs_key *key)
{
	return buf_slice(&key->pem);
}

struct slice certs_key_public(const struct certs_key *key)
{
	return buf_slice(&key->public_der);
}

struct slice certs_key_algorithm(const struct certs_key *key)
{
	return key->is_rsa ? SLICE(RSA_WITH_SHA256) : SLICE(ECDSA_WITH_SHA256);
}

int certs_key_sign(struct certs_key *key, struct slice bytes, struct buf *out, struct error *err)
{
	unsigned char *at = (unsigned char *)buf_reserve(out, SIGNATURE_MAX);
	word32 len = SIGNATURE_MAX;
	const void *which = key->is_rsa ? (const void *)&key->rsa : (const void *)&key->ecc;
	int r;

	r = wc_SignatureGenerate(WC_HASH_TYPE_SHA256,
				 key->is_rsa ? WC_SIGNATURE_TYPE_RSA_W_ENC : WC_SIGNATURE_TYPE_ECC,
				 (const unsigned char *)bytes.ptr, (word32)bytes.len, at, &len,
				 which, key->is_rsa ? sizeof(key->rsa) : sizeof(key->ecc),
				 &key->rng);
	if (r != 0)
		return library_error(err, "signing failed", r);
	buf_commit(out, len);
	return 0;
}

int certs_random(void *out, size_t out_size, struct error *err)
{
	WC_RNG rng;
	int r = wc_InitRng(&rng);

	if (r == 0) {
		r = wc_RNG_GenerateBlock(&rng, out, (word32)out_size);
		wc_FreeRng(&rng);
	}
	return r == 0 ? 0 : library_error(err, "no random numbers", r);
}
