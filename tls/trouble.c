/*
 * trouble - tables of words; a code that is in none is told as the library
 * tells it, with its number, for the search engines
 */
#include "tls/trouble.h"

#include <errno.h>

#include "base/macros.h"

#include <wolfssl/options.h>
#include <wolfssl/ssl.h>
#include <wolfssl/error-ssl.h>
#include <wolfssl/wolfcrypt/error-crypt.h>

struct words {
	int code;
	const char *text;
};

/* RFC 8446 section 6.2, and those of RFC 5246 section 7.2 that are no longer in it. */
static const struct words alerts[] = {
	{ 0, "close notify" },
	{ 10, "unexpected message" },
	{ 20, "bad record mac" },
	{ 21, "decryption failed" },
	{ 22, "record overflow" },
	{ 30, "decompression failure" },
	{ 40, "handshake failure (often: no protocol or cipher in common)" },
	{ 41, "no certificate" },
	{ 42, "bad certificate (it does not accept ours)" },
	{ 43, "unsupported certificate (it does not accept ours)" },
	{ 44, "certificate revoked (it does not accept ours)" },
	{ 45, "certificate expired (it does not accept ours)" },
	{ 46, "certificate unknown (it does not accept ours)" },
	{ 47, "illegal parameter" },
	{ 48, "unknown ca (it does not trust the CA of our certificate)" },
	{ 49, "access denied" },
	{ 50, "decode error" },
	{ 51, "decrypt error" },
	{ 60, "export restriction" },
	{ 70, "protocol version (no TLS version in common)" },
	{ 71, "insufficient security (it wants other ciphers)" },
	{ 80, "internal error" },
	{ 86, "inappropriate fallback" },
	{ 90, "user canceled" },
	{ 100, "no renegotiation" },
	{ 109, "missing extension" },
	{ 110, "unsupported extension" },
	{ 112, "unrecognized name (it is not the server that we asked for)" },
	{ 113, "bad certificate status response" },
	{ 115, "unknown psk identity" },
	{ 116, "certificate required (it wants a client certificate)" },
	{ 120, "no application protocol" },
};

static const struct words failures[] = {
	{ VERSION_ERROR, "no TLS version in common with the peer" },
	{ UNSUPPORTED_PROTO_VERSION, "no TLS version in common with the peer" },
	{ UNSUPPORTED_SUITE, "no cipher in common with the peer" },
	{ MATCH_SUITE_ERROR, "no protocol or cipher in common with the peer" },
	{ KEY_SHARE_ERROR, "no key exchange group in common with the peer" },
	{ ECC_CURVE_ERROR, "no key exchange group in common with the peer" },
	{ EXT_MISSING, "a part of the peer's handshake is missing" },
	{ UNKNOWN_RECORD_TYPE, "the peer sent something that is not TLS" },
	{ UNKNOWN_HANDSHAKE_TYPE, "the peer sent something that is not TLS" },
	{ PARSE_ERROR, "the peer sent something that is not TLS" },
	{ BUFFER_ERROR, "the peer's handshake is malformed" },
	{ INCOMPLETE_DATA, "the peer's handshake is malformed" },
	{ DECODE_E, "the peer's handshake is malformed" },
	{ LENGTH_ERROR, "the peer sent a TLS record that is too long" },
	{ HANDSHAKE_SIZE_ERROR, "a part of the peer's handshake is too long" },
	{ OUT_OF_ORDER_E, "the peer's handshake is out of order" },
	{ SANITY_MSG_E, "the peer's handshake is out of order" },
	{ DUPLICATE_MSG_E, "the peer's handshake is out of order" },
	{ NO_CHANGE_CIPHER_E, "the peer's handshake is out of order" },
	{ VERIFY_MAC_ERROR, "a TLS record was damaged or forged on its way" },
	{ DECRYPT_ERROR, "a TLS record was damaged or forged on its way" },
	{ AES_GCM_AUTH_E, "a TLS record was damaged or forged on its way" },
	{ MAC_CMP_FAILED_E, "a TLS record was damaged or forged on its way" },
	{ VERIFY_FINISHED_ERROR, "the handshake was damaged or forged on its way" },
	{ VERIFY_SIGN_ERROR, "the peer does not have the key of its certificate" },
	{ SIG_VERIFY_E, "the peer does not have the key of its certificate" },
	{ NO_PEER_CERT, "the peer sent no certificate" },
	{ SECURE_RENEGOTIATION_E, "the peer tries to renegotiate" },
	{ MEMORY_E, "out of memory" },
	{ MEMORY_ERROR, "out of memory" },
};

static const struct words refusals[] = {
	{ X509_V_ERR_CERT_SIGNATURE_FAILURE, "signature of the certificate is wrong" },
	{ X509_V_ERR_PATH_LENGTH_EXCEEDED, "a CA in the chain may not have CAs below it" },
	{ ASN_NAME_INVALID_E, "its CA may not sign for this name" },
	{ NOT_CA_ERROR, "a certificate in the chain is signed by one that is no CA" },
	{ MAX_CHAIN_ERROR, "the chain of certificates is too long" },
	{ RSA_KEY_SIZE_E, "a key in the chain is too short" },
	{ ECC_KEY_SIZE_E, "a key in the chain is too short" },
	{ EXTKEYUSE_AUTH_E, "certificate may not be used by a server" },
	{ KEYUSE_SIGNATURE_E, "certificate may not be used for signatures" },
	{ KEYUSE_ENCIPHER_E, "certificate may not be used for key exchange" },
	{ ASN_CRIT_EXT_E, "certificate has a critical extension that we don't know" },
	{ ASN_PARSE_E, "damaged certificate" },
};

static const char *find(const struct words *table, size_t count, int code)
{
	for (size_t i = 0; i < count; i++) {
		if (table[i].code == code)
			return table[i].text;
	}
	return NULL;
}

const char *tls_verify_trouble(int code)
{
	return find(refusals, ARRAY_SIZE(refusals), code);
}

static int alert_trouble(WOLFSSL *ssl, struct error *err)
{
	WOLFSSL_ALERT_HISTORY history;
	const char *text;

	wolfSSL_get_alert_history(ssl, &history);
	text = find(alerts, ARRAY_SIZE(alerts), history.last_rx.code);
	if (!text)
		return error_set(err, -EPROTO, "peer sent alert: %d", history.last_rx.code);
	return error_set(err, -EPROTO, "peer sent alert: %s", text);
}

int tls_trouble(struct WOLFSSL *ssl, int code, struct error *err)
{
	const char *text;

	if (code == FATAL_ERROR)
		return alert_trouble(ssl, err);
	text = find(failures, ARRAY_SIZE(failures), code);
	if (!text)
		text = tls_verify_trouble(code);
	if (text)
		return error_set(err, -EPROTO, "%s", text);
	return error_set(err, -EPROTO, "TLS failed: %s (wolfSSL error %d)",
			 wolfSSL_ERR_reason_error_string((unsigned long)code), code);
}
