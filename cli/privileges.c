/*
 * The order matters: groups, then the group, then the user, since each step
 * needs the privileges that the last one gives away.
 */
#include "cli/privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "base/cleanup.h"

int privileges_find(const char *user, struct privileges *ret, struct error *err)
{
	const struct passwd *account;

	*ret = (struct privileges){ .name = NULL, .uid = geteuid(), .gid = getegid() };
	if (user[0] == '\0')
		return 0;
	errno = 0;
	account = getpwnam(user);
	if (!account)
		return error_set(err, errno ? -errno : -EINVAL, "user %s: %s", user,
				 errno ? strerror(errno) : "there is no such account");
	if (account->pw_uid == geteuid())
		return 0;
	if (geteuid() != 0)
		return error_set(err, -EPERM, "user %s: only root can become somebody else", user);
	*ret = (struct privileges){ user, account->pw_uid, account->pw_gid };
	return 0;
}

static int give_away(const struct privileges *p, int fd, const char *path, struct error *err)
{
	if (p->name && fchown(fd, p->uid, p->gid) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* Directories above the one that is wanted are ordinary ones of whoever starts us. */
static int make_parents(const char *path, struct error *err)
{
	CLEANUP(free_strp) char *parent = strdup(path);

	if (!parent)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	for (char *slash = strchr(parent + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(parent, 0755) < 0 && errno != EEXIST)
			return error_set(err, -errno, "%s: %s", parent, strerror(errno));
		*slash = '/';
	}
	return 0;
}

int privileges_make_directory(const struct privileges *p, const char *path, mode_t mode,
			      struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	struct stat st;
	int r;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0
					   : error_set(err, -ENOTDIR, "%s: not a directory", path);
	r = make_parents(path, err);
	if (r < 0)
		return r;
	if (mkdir(path, mode & 0700) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	r = give_away(p, fd, path, err);
	if (r == 0 && fchmod(fd, mode) < 0) /* last: whoever may do something there may do it now */
		r = error_set(err, -errno, "%s: %s", path, strerror(errno));
	return r;
}

/* Nobody else gets in before the inner ones are there, or could make others of their names. */
static int make_inner(const struct privileges *p, int fd, const char *name, struct error *err)
{
	CLEANUP(close_fdp) int inner = -1;
	struct stat st;

	if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	if (fchmod(fd, 0700) < 0 || mkdirat(fd, name, 0700) < 0)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (inner < 0)
		return error_set(err, -errno, "%s: %s", name, strerror(errno));
	return give_away(p, inner, name, err);
}

int privileges_furnish(const struct privileges *p, const char *path, const char *const *inner,
		       size_t count, mode_t mode, struct error *err)
{
	CLEANUP(close_fdp) int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (st.st_uid != p->uid)
		return error_set(err, -EPERM, "%s: does not belong to the server's account", path);
	for (size_t i = 0; i < count; i++) {
		int r = make_inner(p, fd, inner[i], err);

		if (r < 0) {
			error_prefix(err, "%s", path);
			return r;
		}
	}
	if (st.st_gid != p->gid && fchown(fd, (uid_t)-1, p->gid) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) < 0 || ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0))
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

int privileges_make_file(const struct privileges *p, const char *path, mode_t mode,
			 struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;

	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (fd < 0)
		return errno == EEXIST ? 0
				       : error_set(err, -errno, "%s: %s", path, strerror(errno));
	return give_away(p, fd, path, err);
}

static int become(const struct privileges *p, struct error *err)
{
	if (initgroups(p->name, p->gid) < 0 || setgid(p->gid) < 0 || setuid(p->uid) < 0)
		return error_set(err, -errno, "user %s: %s", p->name, strerror(errno));
	/* A way back would mean that nothing was given away. */
	if (p->uid != 0 && setuid(0) == 0)
		return error_set(err, -EPERM, "user %s: privileges were not given away", p->name);
	return 0;
}

int privileges_drop(const struct privileges *p, struct error *err)
{
	int r = p->name ? become(p, err) : 0;

	if (r < 0)
		return r;
#ifdef __linux__
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_set(err, -errno, "no_new_privs: %s", strerror(errno));
#endif
	return 0;
}
