/*
 * keyfit - a signature by the one key, tried with the other
 *
 * Loading takes any private key, and wolfSSL_CTX_check_private_key() compares
 * RSA keys, but of EC keys it checks only that each is one (seen with 5.5.4).
 * So for those a hash is signed and verified, which is what it is all about.
 */
#include "certs/keyfit.h"

#include "certs/der.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/random.h>

#define OID_RSA "\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01"
#define OID_EC	"\x2a\x86\x48\xce\x3d\x02\x01"

#define OID_P256 "\x2a\x86\x48\xce\x3d\x03\x01\x07"
#define OID_P384 "\x2b\x81\x04\x00\x22"

#define KEY_DER_MAX 1024 /* an EC key of 521 bits is 223 bytes */

static bool is_key_type(struct slice public_key, struct slice wanted)
{
	struct slice info, algorithm, oid;

	return der_take(&public_key, DER_SEQUENCE, &info) &&
	       der_take(&info, DER_SEQUENCE, &algorithm) && der_take(&algorithm, DER_OID, &oid) &&
	       slice_equal(oid, wanted);
}

bool keyfit_is_supported(struct slice public_key)
{
	return is_key_type(public_key, SLICE(OID_RSA)) || is_key_type(public_key, SLICE(OID_EC));
}

enum certs_key_kind keyfit_kind(struct slice public_key)
{
	struct slice info, algorithm, oid, curve;

	if (!der_take(&public_key, DER_SEQUENCE, &info) ||
	    !der_take(&info, DER_SEQUENCE, &algorithm) || !der_take(&algorithm, DER_OID, &oid) ||
	    slice_equal(oid, SLICE(OID_RSA)) || !der_take(&algorithm, DER_OID, &curve))
		return CERTS_KEY_RSA;
	if (slice_equal(curve, SLICE(OID_P256)))
		return CERTS_KEY_P256;
	return slice_equal(curve, SLICE(OID_P384)) ? CERTS_KEY_P384 : CERTS_KEY_EC;
}

static bool sign_and_verify(ecc_key *private_key, ecc_key *public_key)
{
	static const unsigned char hash[32] = "any 32 bytes that can be signed";
	unsigned char signature[ECC_MAX_SIG_SIZE];
	word32 len = sizeof(signature);
	int verified = 0;
	WC_RNG rng;
	int r;

	if (wc_InitRng(&rng) != 0)
		return false;
	r = wc_ecc_sign_hash(hash, sizeof(hash), signature, &len, &rng, private_key);
	wc_FreeRng(&rng);
	return r == 0 &&
	       wc_ecc_verify_hash(signature, len, hash, sizeof(hash), &verified, public_key) == 0 &&
	       verified == 1;
}

static bool read_private_key(struct slice pem, ecc_key *key)
{
	unsigned char der[KEY_DER_MAX];
	word32 offset = 0;
	int len, r = -1;

	len = wc_KeyPemToDer((const unsigned char *)pem.ptr, (int)pem.len, der, sizeof(der), NULL);
	if (len > 0)
		r = wc_EccPrivateKeyDecode(der, &offset, key, (word32)len);
	explicit_bzero(der, sizeof(der));
	return r == 0;
}

bool keyfit_fits(const struct WOLFSSL_CTX *ctx, struct slice key, struct slice public_key)
{
	ecc_key ours, theirs;
	word32 offset = 0;
	bool fits = false;

	if (wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS)
		return false;
	if (is_key_type(public_key, SLICE(OID_RSA)))
		return true;

	if (wc_ecc_init(&theirs) != 0)
		return false;
	if (wc_EccPublicKeyDecode((const unsigned char *)public_key.ptr, &offset, &theirs,
				  (word32)public_key.len) == 0 &&
	    wc_ecc_init(&ours) == 0) {
		fits = read_private_key(key, &ours) && sign_and_verify(&ours, &theirs);
		wc_ecc_free(&ours);
	}
	wc_ecc_free(&theirs);
	return fits;
}
