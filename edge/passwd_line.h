/*
 * passwd_line - one line of a password file, as Dovecot reads it
 *
 * "user:password:uid:gid:gecos:home:shell:extra fields". A line is empty, a
 * comment (its first character that is no white space is '#'), or an account.
 */
#pragma once

#include "base/error.h"
#include "base/slice.h"

#define PASSWD_USER_MAX 255 /* bytes of a user name */

struct passwd_line {
	struct slice user;     /* empty: an empty line, or a comment */
	struct slice password; /* "{SCHEME}rest"; empty: nobody can log in by it */
	bool is_closed;	       /* by nologin: nobody can log in by anything */
	const char *warning;   /* likely not what is wanted; NULL: nothing */
};

/*
 * line has no line feed. Slices are within it. Errors do not quote the
 * password. With nologin among the extra fields the password is empty, too.
 */
int passwd_line_parse(struct slice line, struct passwd_line *ret, struct error *err);

/*
 * Extra fields, of a line or as columns of a database. Dovecot lets fewer in by
 * those that are refused, so that they cannot be ignored.
 */
bool passwd_extra_is_refused(struct slice name);
#define PASSWD_EXTRA_REFUSED                                                                       \
	"is not available here, and without it more could log in than in Dovecot"

/*
 * The user name alone, where the line is an account of whatever kind, also one
 * that does not parse; else empty.
 */
struct slice passwd_line_user(struct slice line);

/* Text without its first line; that, without its end, is *ret_line. False: there was none. */
bool passwd_line_next(struct slice *rest, struct slice *ret_line);
