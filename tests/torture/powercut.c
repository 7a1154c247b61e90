/*
 * powercut - a layer between a program and libc that remembers what was not synced
 *
 * Preloaded into a server, it writes a log of all that changes below one
 * directory: each write with the bytes that were there and those that came,
 * each new, renamed or removed name, and each sync that was completed. When
 * the server has been killed, powercut.py takes back what no sync covers: what
 * is left then is a disk after the power failed.
 *
 * One mutex is held from the log entry to the end of the system call: the
 * order of the log is what happened, and only its last entry may be in flight.
 * A sync is an entry that says which earlier ones it covers; nothing is synced
 * in truth, as the page cache outlives the process. What is removed goes to a
 * folder of the same file system, since it may come back. What this layer does not know
 * how to remember ends the program, rather than slip through; what bypasses it
 * altogether is noticed by powercut.py, since the log then does not explain
 * the files.
 *
 *	POWERCUT_DIRECTORY	the absolute path that is watched, without links
 *	POWERCUT_LOG		the log, on a file system of its own
 *	POWERCUT_GRAVE		a directory for removed files, beside the watched one
 *	POWERCUT_PAUSE_US	how long a sync takes at most
 *	POWERCUT_LIE		"file" or "directory": syncs of such are not done, in
 *				silence; to see that the tests notice
 *	POWERCUT_FATAL_FILE	how the path of a file ends, whose n-th write is the last
 *	POWERCUT_FATAL_WRITE	thing that the program is about to do
 */
#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FDS_MAX	  65536
#define NAME_SIZE 256

enum type { WRITE = 1, TRUNCATE, SYNC, CREATE, MKDIR, RENAME, UNLINK, DONE, CANCEL };

/* One entry; two pieces of bytes follow. powercut.py reads these. */
struct entry {
	uint64_t type, sequence;
	uint64_t inode; /* of the file; of a directory that is synced */
	uint64_t a, b;	/* see where they are set */
	uint64_t len1, len2;
};

static struct {
	pthread_mutex_t mutex;
	char directory[4096];
	size_t directory_len;
	int log, grave;
	long pause_us;
	bool lies_of_files, lies_of_directories;
	const char *fatal_file;
	long fatal_write;
	uint64_t sequence;
	volatile unsigned char is_watched[FDS_MAX];
} layer = { .mutex = PTHREAD_MUTEX_INITIALIZER, .log = -1, .grave = -1 };

void powercut_give_up(const char *what)
{
	fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
	abort();
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

__attribute__((constructor)) static void start(void)
{
	const char *directory = setting("POWERCUT_DIRECTORY");
	const char *lie = setting("POWERCUT_LIE");

	if (!directory[0])
		return;
	snprintf(layer.directory, sizeof(layer.directory), "%s", directory);
	layer.pause_us = atol(setting("POWERCUT_PAUSE_US"));
	layer.lies_of_files = strcmp(lie, "file") == 0;
	layer.lies_of_directories = strcmp(lie, "directory") == 0;
	layer.fatal_file = setting("POWERCUT_FATAL_FILE");
	layer.fatal_write = atol(setting("POWERCUT_FATAL_WRITE"));
	layer.log = (int)syscall(SYS_openat, AT_FDCWD, setting("POWERCUT_LOG"),
				 O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	layer.grave = (int)syscall(SYS_openat, AT_FDCWD, setting("POWERCUT_GRAVE"),
				   O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (layer.log < 0 || layer.grave < 0)
		powercut_give_up("cannot open the log or the grave");
	layer.directory_len = strlen(layer.directory);
}

/* ---- what is watched ---- */

static bool ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

/*
 * Shared memory of SQLite's, rebuilt after a crash; a lock, which is only held or not; and the
 * ballast, whose bytes nobody reads.
 */
static bool is_volatile(const char *path)
{
	return ends_with(path, "-shm") || ends_with(path, ".lock") || ends_with(path, "ballast");
}

/* Whether the file or directory behind an open descriptor is below our directory, or is it. */
static bool is_below(int fd)
{
	char link[64], path[4096];
	ssize_t len;

	if (layer.directory_len == 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len < (ssize_t)layer.directory_len)
		return false;
	path[len] = '\0';
	return memcmp(path, layer.directory, layer.directory_len) == 0 &&
	       (path[layer.directory_len] == '/' || path[layer.directory_len] == '\0') &&
	       !is_volatile(path);
}

static void note(int fd, bool watched)
{
	if (fd >= 0 && fd < FDS_MAX)
		layer.is_watched[fd] = watched;
}

/* A note may be older than the descriptor, where libc closed it by itself: *st tells. */
static bool is_watched(int fd, struct stat *st)
{
	return fd >= 0 && fd < FDS_MAX && layer.is_watched[fd] && fstat(fd, st) == 0 &&
	       (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode));
}

/* A name in a directory. */
struct place {
	int fd; /* of the directory; -1: not watched */
	uint64_t directory;
	char name[NAME_SIZE];
};

static void place_find(struct place *p, int at, const char *path)
{
	const char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	char folder[4096] = ".";
	struct stat st;

	p->fd = -1;
	if (layer.directory_len == 0 || strlen(name) >= NAME_SIZE || is_volatile(name))
		return;
	if (slash)
		snprintf(folder, sizeof(folder), "%.*s", (int)(slash - path + 1), path);
	snprintf(p->name, sizeof(p->name), "%s", name);
	p->fd = (int)syscall(SYS_openat, at, folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (p->fd >= 0 && (!is_below(p->fd) || fstat(p->fd, &st) < 0)) {
		syscall(SYS_close, p->fd);
		p->fd = -1;
	}
	if (p->fd >= 0)
		p->directory = st.st_ino;
}

static void place_done(struct place *p)
{
	int saved = errno;

	if (p->fd >= 0)
		syscall(SYS_close, p->fd);
	errno = saved;
}

/* The inode of what is there; 0: nothing. */
static uint64_t place_inode(const struct place *p)
{
	struct stat st;

	return fstatat(p->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_ino : 0;
}

/* ---- the log, with the mutex held ---- */

static void append(enum type type, uint64_t inode, uint64_t a, uint64_t b, const void *bytes1,
		   size_t len1, const void *bytes2, size_t len2)
{
	int saved = errno;
	struct entry entry = { type, ++layer.sequence, inode, a, b, len1, len2 };
	struct iovec parts[] = {
		{ &entry, sizeof(entry) },
		{ (void *)(uintptr_t)bytes1, len1 },
		{ (void *)(uintptr_t)bytes2, len2 },
	};
	ssize_t len = (ssize_t)(sizeof(entry) + len1 + len2);

	if (syscall(SYS_writev, layer.log, parts, 3) != len)
		powercut_give_up("cannot write the log");
	errno = saved;
}

static void append_name(enum type type, uint64_t inode, const struct place *p)
{
	append(type, inode, p->directory, 0, p->name, strlen(p->name), "", 0);
}

/* What the last entry promised has come to nothing (inode 0), or has made this inode. */
static void append_end(int result, uint64_t inode)
{
	if (result < 0)
		append(CANCEL, 0, 0, 0, "", 0, "", 0);
	else if (inode)
		append(DONE, inode, 0, 0, "", 0, "", 0);
}

static void lock(void)
{
	pthread_mutex_lock(&layer.mutex);
}

static void unlock(void)
{
	pthread_mutex_unlock(&layer.mutex);
}

/* ---- contents ---- */

/* With the entry in the log, and nothing done. */
static void die_if_time(int fd)
{
	char link[64], path[4096];
	ssize_t len;

	if (layer.fatal_write == 0)
		return;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	path[len < 0 ? 0 : len] = '\0';
	if (ends_with(path, layer.fatal_file) && --layer.fatal_write == 0)
		raise(SIGKILL);
}

/* What is at offset now, as far as the file goes. The caller frees it. */
static char *read_old(int fd, const struct stat *st, uint64_t offset, size_t max, size_t *ret_len)
{
	uint64_t left = offset < (uint64_t)st->st_size ? (uint64_t)st->st_size - offset : 0;
	size_t len = left < max ? (size_t)left : max;
	char *bytes = malloc(len + 1), path[64];
	int reader = fd;

	/* The descriptor may be for writing only. */
	if (len > 0 && (fcntl(fd, F_GETFL) & O_ACCMODE) == O_WRONLY) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		reader = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	}
	if (!bytes || (len > 0 && pread(reader, bytes, len, (off_t)offset) != (ssize_t)len))
		powercut_give_up("cannot read what is overwritten");
	if (reader != fd)
		syscall(SYS_close, reader);
	*ret_len = len;
	return bytes;
}

/* offset -1: where the descriptor stands. a: offset; b: size of the file before. */
ssize_t powercut_write(int fd, const void *bytes, size_t len, off_t offset)
{
	struct stat st;
	uint64_t at = (uint64_t)offset;
	ssize_t n;
	size_t old_len;
	char *old;

	lock();
	if (!is_watched(fd, &st) || !S_ISREG(st.st_mode) || len == 0) {
		unlock();
		return offset < 0 ? syscall(SYS_write, fd, bytes, len)
				  : syscall(SYS_pwrite64, fd, bytes, len, offset);
	}
	if (offset < 0)
		at = fcntl(fd, F_GETFL) & O_APPEND ? (uint64_t)st.st_size
						   : (uint64_t)lseek(fd, 0, SEEK_CUR);
	old = read_old(fd, &st, at, len, &old_len);
	append(WRITE, st.st_ino, at, (uint64_t)st.st_size, old, old_len, bytes, len);
	die_if_time(fd);
	n = offset < 0 ? syscall(SYS_write, fd, bytes, len)
		       : syscall(SYS_pwrite64, fd, bytes, len, offset);
	append_end(n < 0 ? -1 : 0, 0);
	if (n >= 0 && (size_t)n != len)
		powercut_give_up("a short write");
	free(old);
	unlock();
	return n;
}

ssize_t powercut_writev(int fd, const struct iovec *parts, int count, off_t offset)
{
	size_t len = 0;
	struct stat st;
	ssize_t n;
	char *all, *end;

	if (!is_watched(fd, &st))
		return offset < 0 ? syscall(SYS_writev, fd, parts, count)
				  : syscall(SYS_pwritev, fd, parts, count, offset, 0);
	for (int i = 0; i < count; i++)
		len += parts[i].iov_len;
	end = all = malloc(len + 1);
	if (!all)
		powercut_give_up("writev");
	for (int i = 0; i < count; i++)
		end = mempcpy(end, parts[i].iov_base, parts[i].iov_len);
	n = powercut_write(fd, all, len, offset);
	free(all);
	return n;
}

/* a: new size; b: size before. */
int powercut_truncate(int fd, off_t size)
{
	struct stat st;
	size_t old_len = 0;
	char *old;
	int r;

	lock();
	if (!is_watched(fd, &st) || !S_ISREG(st.st_mode)) {
		unlock();
		return (int)syscall(SYS_ftruncate, fd, size);
	}
	old = read_old(fd, &st, (uint64_t)size, SIZE_MAX, &old_len);
	append(TRUNCATE, st.st_ino, (uint64_t)size, (uint64_t)st.st_size, old, old_len, "", 0);
	die_if_time(fd);
	r = (int)syscall(SYS_ftruncate, fd, size);
	append_end(r, 0);
	free(old);
	unlock();
	return r;
}

int powercut_allocate(int fd, int mode, off_t offset, off_t len)
{
	struct stat st;

	if (!is_watched(fd, &st))
		return (int)syscall(SYS_fallocate, fd, mode, offset, len);
	if (mode != 0) {
		errno = EOPNOTSUPP;
		powercut_give_up("fallocate");
	}
	return offset + len > st.st_size ? powercut_truncate(fd, offset + len) : 0;
}

/* a: the last entry that it covers, of all files where the inode is 0. What comes while it is running may be left out. */
int powercut_sync(int fd, long number)
{
	bool is_all = number == SYS_syncfs;
	struct timespec pause = { 0 };
	uint64_t covered;
	struct stat st;

	lock();
	if (!is_watched(fd, &st)) {
		unlock();
		return (int)syscall(number, fd);
	}
	covered = layer.sequence;
	unlock();
	if (layer.pause_us > 0) {
		clock_gettime(CLOCK_MONOTONIC, &pause);
		pause = (struct timespec){ .tv_nsec = pause.tv_nsec % layer.pause_us * 1000 };
		nanosleep(&pause, NULL);
	}
	if ((is_all || S_ISDIR(st.st_mode)) && layer.lies_of_directories)
		return 0;
	if ((is_all || !S_ISDIR(st.st_mode)) && layer.lies_of_files)
		return 0;
	lock();
	append(SYNC, is_all ? 0 : st.st_ino, covered, 0, "", 0, "", 0);
	unlock();
	return 0;
}

/* ---- names ---- */

int powercut_open(int at, const char *path, int flags, mode_t mode)
{
	struct place p = { .fd = -1 };
	struct stat st = { 0 };
	bool is_new = false;
	int fd;

	lock();
	if (flags & O_CREAT)
		place_find(&p, at, path);
	if (p.fd >= 0)
		is_new = place_inode(&p) == 0;
	if (is_new)
		append_name(CREATE, 0, &p);
	fd = (int)syscall(SYS_openat, at, path, p.fd >= 0 ? flags & ~O_TRUNC : flags, mode);
	if (is_new) {
		if (fd >= 0 && fstat(fd, &st) < 0)
			powercut_give_up("fstat");
		append_end(fd, st.st_ino);
	}
	note(fd, fd >= 0 && is_below(fd));
	place_done(&p);
	unlock();
	if (fd >= 0 && flags & O_TRUNC && fstat(fd, &st) == 0 && st.st_size > 0)
		powercut_truncate(fd, 0);
	return fd;
}

int powercut_mkdir(int at, const char *path, mode_t mode)
{
	struct place p;
	int r;

	lock();
	place_find(&p, at, path);
	if (p.fd >= 0)
		append_name(MKDIR, 0, &p);
	r = (int)syscall(SYS_mkdirat, at, path, mode);
	if (p.fd >= 0)
		append_end(r, r == 0 ? place_inode(&p) : 0);
	place_done(&p);
	unlock();
	return r;
}

/* Keep what is about to lose its name. */
static int bury(const struct place *p, uint64_t inode, bool by_link)
{
	char name[32];

	snprintf(name, sizeof(name), "%llu", (unsigned long long)inode);
	return (int)(by_link ? syscall(SYS_linkat, p->fd, p->name, layer.grave, name, 0)
			     : syscall(SYS_renameat2, p->fd, p->name, layer.grave, name, 0));
}

int powercut_unlink(int at, const char *path, int flags)
{
	struct place p;
	uint64_t inode;
	int r = -1;

	lock();
	place_find(&p, at, path);
	inode = p.fd >= 0 ? place_inode(&p) : 0;
	if (inode && flags & AT_REMOVEDIR)
		powercut_give_up("rmdir");
	if (inode) {
		append_name(UNLINK, inode, &p);
		r = bury(&p, inode, false);
		append_end(r, 0);
	} else {
		r = (int)syscall(SYS_unlinkat, at, path, flags);
	}
	place_done(&p);
	unlock();
	return r;
}

/* a and b: the directories. What was there under the new name is unlinked first. */
int powercut_rename(int at1, const char *path1, int at2, const char *path2)
{
	struct place from, to;
	uint64_t replaced;
	bool is_logged;
	int r;

	lock();
	place_find(&from, at1, path1);
	place_find(&to, at2, path2);
	is_logged = from.fd >= 0 && to.fd >= 0 && place_inode(&from);
	if (is_logged) {
		replaced = place_inode(&to);
		if (replaced && bury(&to, replaced, true) < 0)
			powercut_give_up("cannot keep what is replaced");
		append(RENAME, place_inode(&from), from.directory, to.directory, from.name,
		       strlen(from.name), to.name, strlen(to.name));
	} else if ((from.fd >= 0) != (to.fd >= 0)) {
		powercut_give_up("rename across the border");
	}
	r = (int)syscall(SYS_renameat2, at1, path1, at2, path2, 0);
	if (is_logged)
		append_end(r, 0);
	place_done(&from);
	place_done(&to);
	unlock();
	return r;
}

void powercut_forget(int fd)
{
	note(fd, false);
}

void powercut_refuse(int fd, const char *what)
{
	struct stat st;

	if (is_watched(fd, &st))
		powercut_give_up(what);
}

void powercut_refuse_name(int at, const char *path, const char *what)
{
	struct place p;

	place_find(&p, at, path);
	if (p.fd >= 0)
		powercut_give_up(what);
}
