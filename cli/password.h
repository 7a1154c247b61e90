/* password - a new password from the terminal, without echo and twice, or from standard input */
#pragma once

#include "base/error.h"
#include "edge/scheme.h"

enum password_outcome {
	PASSWORD_READ = 0,
	PASSWORD_REFUSED =
		1, /* empty, too long, with a NUL, not the same twice; described in *err */
};

/*
 * user: whom the terminal asks for. Returns an outcome, or an error. The
 * password is a secret, to be wiped. Where standard input is no terminal its
 * first line is the password, and the rest is left unread.
 */
int password_read(const char *user, char ret[SCHEME_PASSWORD_MAX + 1], struct error *err);
