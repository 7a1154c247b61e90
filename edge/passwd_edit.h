/*
 * passwd_edit - changes one account of a password file, and lists them
 *
 * A change is whole or not there, whenever the process is killed or the power
 * fails: the new version is written beside the old one, synced, and renamed
 * over it. Comments and the order of lines stay, and so do owner, group and
 * mode. A link is followed. Several who edit at once wait for each other, and
 * nothing is lost; whoever edits the file by other means at that moment is
 * not noticed.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"
#include "base/slice.h"

enum passwd_action {
	PASSWD_ADD,
	PASSWD_SET,
	PASSWD_DELETE,
};

struct passwd_edit {
	enum passwd_action action;
	const char *user;    /* passwd_user_check() has been asked */
	struct slice stored; /* "{SCHEME}rest"; unused to delete */

	/*
	 * Group of a file that PASSWD_ADD makes because there is none, and that its
	 * group may then read; (gid_t)-1: nobody but its owner may.
	 */
	gid_t group;
};

enum passwd_edit_outcome {
	PASSWD_EDITED = 0,
	PASSWD_USER_EXISTS = 1, /* PASSWD_ADD */
	PASSWD_NO_USER = 2,	/* the others */
};

/*
 * Blocks on the disk, and while others edit. Returns an outcome, or an error,
 * and then nothing was changed; a line elsewhere that is not valid is one, as
 * the server would not take the file up.
 */
int passwd_edit(const char *file, const struct passwd_edit *edit, struct error *err);

/*
 * Whether a user can have this name: in a line of the file, and as the path
 * of a Maildir. Errors say why not, and do not quote it.
 */
int passwd_user_check(const char *user, struct error *err);

/* The stored password of an account, without its secret; "" where nobody can log in. */
typedef void passwd_visit(void *arg, struct slice user, const char *scheme);

/* Calls visit for each account in the order of the file. Errors name the first bad line. */
int passwd_list(const char *file, passwd_visit *visit, void *arg, struct error *err);
