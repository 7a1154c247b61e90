/*
 * privileges - what a server started as root prepares for the account it
 * becomes, and becoming it
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"

struct privileges {
	const char *name; /* NULL: stay who we are */
	uid_t uid;
	gid_t gid;
};

/*
 * Look the account up. user "" or that of the caller: nothing will change.
 * -EPERM when we would have to be root to become it.
 */
int privileges_find(const char *user, struct privileges *ret, struct error *err);

/*
 * Make a directory, and what is missing above it, unless it is there. It belongs to the account,
 * and has this mode whatever the umask.
 */
int privileges_make_directory(const struct privileges *p, const char *path, mode_t mode,
			      struct error *err);

/*
 * Give a directory of the account its group, this mode, and directories in it
 * that are the account's alone. -EPERM: it belongs to somebody else. Nothing is
 * followed that the account, whom we need not trust, has put in its place.
 */
int privileges_furnish(const struct privileges *p, const char *path, const char *const *inner,
		       size_t count, mode_t mode, struct error *err);

/* Make an empty file, unless it is there, that the account can write to later. */
int privileges_make_file(const struct privileges *p, const char *path, mode_t mode,
			 struct error *err);

/* Become the account, for good; in any case nothing can be gained by running a setuid program. */
int privileges_drop(const struct privileges *p, struct error *err);
