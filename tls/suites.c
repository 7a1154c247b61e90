/*
 * suites - AEAD with forward secrecy and nothing else: by default the library
 * would take ciphers without encryption, too
 *
 * ChaCha20 stands first as it is twice as fast here as AES (design: no AES-NI
 * in the distribution's build).
 */
#include "tls/suites.h"

#include "base/macros.h"

static const struct tls_suite suites[] = {
	{ 0x1303, "TLS_CHACHA20_POLY1305_SHA256", "TLS13-CHACHA20-POLY1305-SHA256", 256 },
	{ 0x1301, "TLS_AES_128_GCM_SHA256", "TLS13-AES128-GCM-SHA256", 128 },
	{ 0x1302, "TLS_AES_256_GCM_SHA384", "TLS13-AES256-GCM-SHA384", 256 },
	{ 0xcca9, "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305", 256 },
	{ 0xcca8, "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305", 256 },
	{ 0xc02b, "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256", 128 },
	{ 0xc02f, "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", 128 },
	{ 0xc02c, "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384", 256 },
	{ 0xc030, "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384", 256 },
};

const struct tls_suite *tls_suite_find(unsigned int id)
{
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (suites[i].id == id)
			return &suites[i];
	}
	return NULL;
}

void tls_suites_list(struct buf *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		if (i > 0)
			buf_append_string(out, ":");
		buf_append_string(out, suites[i].library_name);
	}
}
