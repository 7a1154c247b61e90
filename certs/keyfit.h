/* keyfit - whether a private key belongs to a certificate */
#pragma once

#include <stdbool.h>

#include "base/slice.h"
#include "certs/identity.h"

struct WOLFSSL_CTX;

/* RSA and EC keys are; public_key is a certificate's SubjectPublicKeyInfo. */
bool keyfit_is_supported(struct slice public_key);

enum certs_key_kind keyfit_kind(struct slice public_key);

/* ctx has both loaded; key is PEM. */
bool keyfit_fits(const struct WOLFSSL_CTX *ctx, struct slice key, struct slice public_key);
