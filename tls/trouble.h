/* trouble - what went wrong in a TLS session, in words for the operator who is called at night */
#pragma once

#include <stdbool.h>

#include "base/error.h"

struct WOLFSSL;

/* code: what wolfSSL_get_error() said. Sets err and returns its code, always negative. */
int tls_trouble(struct WOLFSSL *ssl, int code, struct error *err);

/* Why a certificate was refused: the error of a verify callback; NULL when there are no words. */
const char *tls_verify_trouble(int code);
