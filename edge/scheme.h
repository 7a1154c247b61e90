/*
 * scheme - stored passwords: "{SCHEME}rest", as Dovecot writes them
 *
 * PLAIN and CLEARTEXT compare; CRYPT, MD5-CRYPT, SHA256-CRYPT, SHA512-CRYPT and
 * BLF-CRYPT go to crypt(3), which tells its methods apart by itself.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

/* Whether we could check passwords against stored; the error says why not. */
int scheme_validate(struct slice stored, struct error *err);

/* Blocks while it hashes: up to a tenth of a second. False also where stored is not valid. */
bool scheme_matches(struct slice stored, const char *password);
