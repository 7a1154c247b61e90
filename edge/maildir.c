/*
 * Nothing but tmp/NAME tells that a message is on its way, and after a crash
 * nobody misses it: the message is in the queue. Mailboxes are opened by name for
 * each message and never kept, so that they can be moved and removed.
 *
 * Syncing is what a delivery costs. What is committed together is synced with
 * one syncfs() per file system and step instead of an fsync() for each file:
 * a journal is written once either way, but it is waited for once, too. Below
 * GROUP_MIN files it is fsync(), as syncfs() writes what others have written
 * to that file system as well; and where syncfs() may mean less than fsync().
 */
#include "edge/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/magic.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#endif

#include "base/cleanup.h"
#include "base/macros.h"
#include "edge/maildir_quota.h"

#define GROUP_MIN  4
#define TURN_US	   200	/* between two looks whether it is our turn */
#define TURN_TRIES 5000 /* for all mails of a commit together: a second */
#define ZFS_MAGIC  0x2fc12fc1

#ifdef O_PATH
#define OPEN_ON_THE_WAY O_PATH /* no right to list it is needed */
#else
#define OPEN_ON_THE_WAY O_RDONLY
#endif

bool maildir_path_is_safe(const char *path)
{
	struct slice rest = slice_from(path);

	if (rest.len == 0 || rest.ptr[rest.len - 1] != '/')
		return false;
	while (rest.len > 0) {
		size_t n = slice_find(rest, '/');
		struct slice part = slice_first(rest, n);

		if (part.len == 0 || slice_equal(part, SLICE(".")) ||
		    slice_equal(part, SLICE("..")))
			return false;
		for (size_t i = 0; i < part.len; i++)
			if ((unsigned char)part.ptr[i] < 32 || part.ptr[i] == 127)
				return false;
		rest = slice_skip(rest, n + 1);
	}
	return true;
}

void maildir_fail(struct maildir_mail *mail, const struct error *err)
{
	if (mail->result < 0)
		return;
	mail->result = err->code;
	mail->error = *err;
}

/* ---- the folders ---- */

/* Links in his home are its owner's, who may do himself what we do in his name. */
static int open_dir(int at, const char *name, int flags, const struct maildir_place *place)
{
	int fd = openat(at, name,
			flags | O_DIRECTORY | O_CLOEXEC | (place->is_home ? 0 : O_NOFOLLOW));

	return fd < 0 ? -errno : fd;
}

static int make_dir(int at, const char *name)
{
	return mkdirat(at, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Some file systems keep no directories that could be synced. */
static int sync_fd(int fd)
{
	return fsync(fd) < 0 && errno != EINVAL ? -errno : 0;
}

/* The names in a directory. In one that we may neither list nor write to we have made none. */
static int sync_names(int at)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return errno == EACCES && faccessat(at, ".", W_OK, AT_EACCESS) < 0 ? 0 : -errno;
	r = sync_fd(fd);
	close(fd);
	return r;
}

/* Where is it: 0 or the next directory on the way. */
static int step(int at, struct slice part, int flags, bool sync, const struct maildir_place *place)
{
	char name[NAME_MAX + 1];
	int next = slice_copy(part, name, sizeof(name)) ? open_dir(at, name, flags, place)
							: -ENAMETOOLONG;
	int r = 0;

	if (next == -ENOENT) {
		r = make_dir(at, name);
		next = r == 0 ? open_dir(at, name, flags, place) : r;
	}
	if (next >= 0 && sync)
		r = sync_names(at);
	if (next < 0 || r == 0)
		return next;
	close(next);
	return r;
}

/*
 * Open base/path, making what is missing. The names on the way are synced on request: that one
 * is there does not say so, as somebody else may be about to.
 */
static int open_path(const struct maildir_place *place, bool sync, struct error *err)
{
	struct slice rest = slice_from(place->path), part;
	int fd = open(place->base, OPEN_ON_THE_WAY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, -errno, "%s: %s", place->base, strerror(errno));
	while (slice_next_word(&rest, "/", &part)) {
		int next = step(fd, part, rest.len > 1 ? OPEN_ON_THE_WAY : O_RDONLY, sync, place);

		close(fd);
		if (next < 0)
			return error_set(err, next, "cannot open or make %.*s, as user %lu: %s",
					 (int)part.len, part.ptr, (unsigned long)geteuid(),
					 strerror(-next));
		fd = next;
	}
	return fd;
}

/*
 * Make the folders, tmp last: that it is there says that all other names are on the disk, those
 * on the way to the Maildir too. Whoever sees it missing does all of it again, as the one who was
 * here first may have been killed, or not be done yet.
 */
static int make_folders(int dir, const struct maildir_place *place, struct error *err)
{
	CLEANUP(close_fdp) int same = open_path(place, true, err);
	int r;

	if (same < 0)
		return same;
	r = make_dir(dir, "new");
	if (r == 0)
		r = make_dir(dir, "cur");
	if (r == 0)
		r = sync_fd(dir);
	if (r == 0)
		r = make_dir(dir, "tmp");
	return r < 0 ? error_set(err, r, "cannot make tmp, new and cur: %s", strerror(-r)) : 0;
}

/*
 * Open tmp and new, and see that cur is there: -ENOENT where one of them is missing. AT_EACCESS:
 * the carrier's real user is root, who without root's rights may not look.
 */
static int open_folders(struct maildir_mail *mail)
{
	mail->tmp = open_dir(mail->dir, "tmp", O_RDONLY, &mail->place);
	if (mail->tmp < 0)
		return mail->tmp;
	mail->new = open_dir(mail->dir, "new", O_RDONLY, &mail->place);
	if (mail->new < 0)
		return mail->new;
	return faccessat(mail->dir, "cur", F_OK, AT_SYMLINK_NOFOLLOW | AT_EACCESS) < 0 ? -errno : 0;
}

static void close_folders(struct maildir_mail *mail)
{
	if (mail->tmp >= 0)
		close(mail->tmp);
	if (mail->new >= 0)
		close(mail->new);
	mail->tmp = mail->new = -1;
}

/* ---- one mail ---- */

static void make_name(const char *hostname, atomic_uint *counter, char out[MAILDIR_NAME_SIZE])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(out, MAILDIR_NAME_SIZE, "%lld.M%06ldP%ldQ%u.%.64s", (long long)now.tv_sec,
		 now.tv_nsec / 1000, (long)getpid(), atomic_fetch_add(counter, 1), hostname);
	for (char *c = out; *c; c++)
		if (*c == '/' || *c == ':' || *c == ',')
			*c = '_'; /* have a meaning in a Maildir */
}

static int open_mail(struct maildir_mail *mail, struct error *err)
{
	int r = open_path(&mail->place, false, err);

	if (r < 0)
		return r;
	mail->dir = r;
	r = open_folders(mail);
	if (r == -ENOENT) {
		close_folders(mail);
		r = make_folders(mail->dir, &mail->place, err);
		if (r < 0)
			return r;
		r = open_folders(mail);
	}
	if (r < 0)
		return error_set(err, r, "cannot open tmp, new and cur: %s", strerror(-r));
	mail->file = openat(mail->tmp, mail->name,
			    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	return mail->file < 0 ? error_set(err, -errno, "cannot create tmp/%s: %s", mail->name,
					  strerror(errno))
			      : 0;
}

static void fail(struct maildir_mail *mail, struct error *err)
{
	error_prefix(err, "%s/%s", mail->place.base, mail->place.path);
	maildir_fail(mail, err);
}

static void clear(struct maildir_mail *mail)
{
	mail->result = 0;
	mail->dir = mail->tmp = mail->new = mail->file = -1;
	mail->size = 0;
	mail->is_renamed = false;
}

void maildir_refuse(struct maildir_mail *mail, const struct error *err)
{
	clear(mail);
	maildir_fail(mail, err);
}

void maildir_begin(struct maildir_mail *mail, const struct maildir_place *place,
		   const char *hostname, atomic_uint *counter)
{
	struct error err;

	clear(mail);
	mail->place = *place;
	make_name(hostname, counter, mail->name);
	if (open_mail(mail, &err) < 0)
		fail(mail, &err);
}

void maildir_write(struct maildir_mail *mail, struct slice bytes)
{
	struct error err;

	if (mail->result < 0)
		return;
	mail->size += bytes.len;
	while (bytes.len > 0) {
		ssize_t n = write(mail->file, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			error_set(&err, -errno, "cannot write: %s", strerror(errno));
			fail(mail, &err);
			return;
		}
		bytes = slice_skip(bytes, (size_t)n);
	}
}

/* ---- commit ---- */

typedef int which_fd(const struct maildir_mail *mail);

static int fd_of_file(const struct maildir_mail *mail)
{
	return mail->result == 0 ? mail->file : -1;
}

static int fd_of_new(const struct maildir_mail *mail)
{
	return mail->result == 0 && mail->is_renamed ? mail->new : -1;
}

static void set_synced(struct maildir_mail *mail, int r)
{
	struct error err;

	if (r == 0)
		return;
	error_set(&err, r, "cannot sync: %s", strerror(-r));
	fail(mail, &err);
}

#ifdef __linux__
/* A kernel hands its pages to a server (FUSE, 9p, CIFS), and does not tell it to sync them. */
static bool syncs_as_a_whole(int fd)
{
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return false;
	switch ((unsigned long)fs.f_type) {
	case BTRFS_SUPER_MAGIC:
	case EXT4_SUPER_MAGIC:
	case F2FS_SUPER_MAGIC:
	case OVERLAYFS_SUPER_MAGIC:
	case TMPFS_MAGIC:
	case XFS_SUPER_MAGIC:
	case ZFS_MAGIC:
		return true;
	}
	return false;
}
#endif

/* Errors of files that were written before are told to descriptors that were open then: tmp is. */
static int sync_file_system(const struct maildir_mail *mail)
{
#ifdef __linux__
	struct statfs fs;

	if (syncs_as_a_whole(mail->tmp)) {
		if (syncfs(mail->tmp) < 0 || fstatfs(mail->tmp, &fs) < 0)
			return -errno;
		/* ext4 becomes so when its journal breaks, and has nothing to sync from then on. */
		return fs.f_flags & ST_RDONLY ? -EROFS : 0;
	}
#else
	(void)mail;
#endif
	return -ENOSYS;
}

/* From mails[0] on, those of its file system that still have to be; is_done tells which have not. */
static void sync_with(struct maildir_mail *mails, size_t count, which_fd *fd_of, bool *is_done,
		      const dev_t *devices)
{
	size_t same = 0;
	int r = -ENOSYS;

	for (size_t i = 0; i < count; i++)
		same += !is_done[i] && devices[i] == devices[0];
	if (same >= GROUP_MIN)
		r = sync_file_system(&mails[0]);
	for (size_t i = 0; i < count; i++) {
		if (is_done[i] || devices[i] != devices[0])
			continue;
		is_done[i] = true;
		set_synced(&mails[i], r == -ENOSYS ? sync_fd(fd_of(&mails[i])) : r);
	}
}

static void sync_mails(struct maildir_mail *mails, size_t count, which_fd *fd_of)
{
	bool is_done[MAILDIR_COMMIT_MAX];
	dev_t devices[MAILDIR_COMMIT_MAX];

	for (size_t i = 0; i < count; i++) {
		struct stat st = { 0 };

		if (fd_of(&mails[i]) >= 0 && fstat(fd_of(&mails[i]), &st) < 0)
			set_synced(&mails[i], -errno);
		is_done[i] = fd_of(&mails[i]) < 0;
		devices[i] = st.st_dev;
	}
	for (size_t i = 0; i < count; i++)
		if (!is_done[i])
			sync_with(mails + i, count - i, fd_of, is_done + i, devices + i);
}

static int check_quota(struct maildir_mail *mail, struct error *err)
{
	int r;

	if (mail->place.limit_bytes == 0)
		return 0;
	r = maildir_quota_check(mail->dir, mail->size, mail->place.limit_bytes, err);
	if (r == MAILDIR_FULL)
		return error_set(
			err, -EDQUOT,
			"the mailbox is full: %llu bytes more would pass its limit of %llu",
			(unsigned long long)mail->size,
			(unsigned long long)mail->place.limit_bytes);
	return r;
}

/* The name is new. A server of NFS that answers twice says at last that there is nothing to rename. */
static int move(struct maildir_mail *mail, struct error *err)
{
	struct stat written, found;

	snprintf(mail->final, sizeof(mail->final), "%s,S=%llu", mail->name,
		 (unsigned long long)mail->size);
	if (renameat(mail->tmp, mail->name, mail->new, mail->final) < 0 &&
	    (errno != ENOENT || fstat(mail->file, &written) < 0 ||
	     fstatat(mail->new, mail->final, &found, AT_SYMLINK_NOFOLLOW) < 0 ||
	     written.st_ino != found.st_ino))
		return error_set(err, -errno, "cannot rename to new/%s: %s", mail->final,
				 strerror(errno));
	mail->is_renamed = true;
	return 0;
}

static int move_within_quota(struct maildir_mail *mail, struct error *err)
{
	int r = check_quota(mail, err);

	if (r == 0)
		r = move(mail, err);
	if (r == 0)
		maildir_quota_add(mail->dir, mail->size);
	return r;
}

/*
 * Threads that deliver into one of our mailboxes take turns, so that what one counts is
 * neither missed nor counted twice by another. Where there are no such locks it goes without,
 * and where the turn does not come: whoever may read the directory can lock it, and keep it so.
 * Not in mailboxes of others, who would do that: there is but one process for those.
 */
static void wait_for_turn(int dir, unsigned int *tries)
{
	const struct timespec pause = { .tv_nsec = TURN_US * 1000 };

	while (flock(dir, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK && *tries > 0) {
		nanosleep(&pause, NULL);
		--*tries;
	}
}

static int move_in_turn(struct maildir_mail *mail, const struct maildir_commit *how,
			unsigned int *tries, struct error *err)
{
	int r = how->become ? how->become(how->arg, mail, err) : 0;

	if (r < 0)
		return r;
	if (!how->become)
		wait_for_turn(mail->dir, tries);
	r = move_within_quota(mail, err);
	if (!how->become)
		flock(mail->dir, LOCK_UN);
	return r;
}

static void close_mail(struct maildir_mail *mail, const struct maildir_commit *how)
{
	const int fds[] = { mail->file, mail->new, mail->tmp, mail->dir };

	if (mail->file >= 0 && !mail->is_renamed &&
	    (!how->become || how->become(how->arg, mail, NULL) == 0))
		unlinkat(mail->tmp, mail->name, 0);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		if (fds[i] >= 0)
			close(fds[i]);
}

void maildir_commit(struct maildir_mail *mails, size_t count, const struct maildir_commit *how)
{
	unsigned int tries = TURN_TRIES;
	struct error err;

	sync_mails(mails, count, fd_of_file);
	for (size_t i = 0; i < count; i++)
		if (mails[i].result == 0 && move_in_turn(&mails[i], how, &tries, &err) < 0)
			fail(&mails[i], &err);
	sync_mails(mails, count, fd_of_new);
	for (size_t i = 0; i < count; i++)
		close_mail(&mails[i], how);
}
