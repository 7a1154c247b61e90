/* bodies - all paths are relative to an open directory, so it may be renamed while we run */
#include "queue/bodies.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DIRECTORIES    16
#define DIRECTORY_SIZE 2 /* "C" */
#define FILE_SIZE      (DIRECTORY_SIZE + QUEUE_ID_SIZE)

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

int queue_errno(int number)
{
	return number == EDQUOT || number == EFBIG ? -ENOSPC : -number;
}

static void format_directory(unsigned int index, char out[DIRECTORY_SIZE])
{
	snprintf(out, DIRECTORY_SIZE, "%X", index % DIRECTORIES);
}

static void format_file(int64_t id, char out[FILE_SIZE])
{
	format_directory((unsigned int)(id % DIRECTORIES), out);
	out[DIRECTORY_SIZE - 1] = '/';
	queue_id_format(id, out + DIRECTORY_SIZE);
}

static int open_directory(int at, const char *name, const char *shown, struct error *err)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, queue_errno(errno), "%s: %s", shown, strerror(errno));
	return fd;
}

static int sync_fd(int fd, const char *shown, struct error *err)
{
	if (fsync(fd) < 0)
		return error_set(err, queue_errno(errno), "%s: %s", shown, strerror(errno));
	return 0;
}

/*
 * All of them at once: a directory made later would need one more sync before its first file.
 * Synced even if all were there: who made them may have been killed before that.
 */
static int make_directories(int fd, struct error *err)
{
	char name[DIRECTORY_SIZE];

	for (unsigned int i = 0; i < DIRECTORIES; i++) {
		format_directory(i, name);
		if (mkdirat(fd, name, 0700) < 0 && errno != EEXIST)
			return error_set(err, queue_errno(errno), "bodies/%s: %s", name,
					 strerror(errno));
	}
	return sync_fd(fd, "bodies", err);
}

void queue_bodies_done(struct queue_bodies *b)
{
	if (b->fd >= 0)
		close(b->fd);
	b->fd = -1;
}

int queue_bodies_open(const char *directory, size_t memory_max, struct queue_bodies *ret,
		      struct error *err)
{
	CLEANUP(close_fdp) int at = -1;
	CLEANUP(close_fdp) int fd = -1;
	int r;

	at = open_directory(AT_FDCWD, directory, directory, err);
	if (at < 0)
		return at;
	if (mkdirat(at, "bodies", 0700) < 0 && errno != EEXIST)
		return error_set(err, queue_errno(errno), "%s/bodies: %s", directory,
				 strerror(errno));
	r = sync_fd(at, directory, err);
	if (r < 0)
		return r;

	fd = open_directory(at, "bodies", "bodies", err);
	if (fd < 0)
		return fd;
	r = make_directories(fd, err);
	if (r < 0)
		return r;

	queue_bodies_done(ret);
	ret->fd = fd;
	ret->memory_max = memory_max;
	fd = -1;
	return 0;
}

int queue_bodies_open_existing(const char *directory, struct queue_bodies *ret, struct error *err)
{
	CLEANUP(close_fdp) int at = -1;
	int fd;

	at = open_directory(AT_FDCWD, directory, directory, err);
	if (at < 0)
		return at;
	fd = open_directory(at, "bodies", "bodies", err);
	if (fd < 0 && fd != -ENOENT)
		return fd;
	*ret = (struct queue_bodies){ .fd = fd < 0 ? -1 : fd };
	return 0;
}

static int open_file(const struct queue_bodies *b, int64_t id, int flags, struct error *err)
{
	char name[FILE_SIZE];
	int fd;

	format_file(id, name);
	fd = openat(b->fd, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, queue_errno(errno), "bodies/%s: %s", name, strerror(errno));
	return fd;
}

int queue_bodies_create_file(const struct queue_bodies *b, int64_t id, struct error *err)
{
	return open_file(b, id, O_WRONLY | O_CREAT | O_EXCL, err);
}

int queue_bodies_open_file(const struct queue_bodies *b, int64_t id, struct error *err)
{
	return open_file(b, id, O_RDONLY, err);
}

int queue_bodies_sync_name(const struct queue_bodies *b, int64_t id, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	char name[DIRECTORY_SIZE];

	format_directory((unsigned int)(id % DIRECTORIES), name);
	fd = open_directory(b->fd, name, name, err);
	return fd < 0 ? fd : sync_fd(fd, name, err);
}

int queue_bodies_check_file(const struct queue_bodies *b, int64_t id, uint64_t size,
			    struct error *err)
{
	char name[FILE_SIZE];
	struct stat st;

	format_file(id, name);
	if (fstatat(b->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno == ENOENT)
			return error_set(err, -EBADMSG, "bodies/%s is missing", name);
		return error_set(err, queue_errno(errno), "bodies/%s: %s", name, strerror(errno));
	}
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size)
		return error_set(err, -EBADMSG, "bodies/%s has %lld bytes instead of %llu", name,
				 (long long)st.st_size, (unsigned long long)size);
	return 0;
}

int queue_bodies_remove_file(const struct queue_bodies *b, int64_t id, struct error *err)
{
	char name[FILE_SIZE];

	format_file(id, name);
	if (unlinkat(b->fd, name, 0) < 0 && errno != ENOENT)
		return error_set(err, -errno, "bodies/%s: %s", name, strerror(errno));
	return 0;
}

/* Names that are no ids are not ours: they are left alone. */
static int each_in(int fd, int (*visit)(void *arg, int64_t id, struct error *err), void *arg,
		   struct error *err)
{
	CLEANUP(close_directory) DIR *directory = fdopendir(fd);
	const struct dirent *entry;
	int64_t id;
	int r;

	if (!directory) {
		close(fd);
		return error_set(err, -errno, "bodies: %s", strerror(errno));
	}
	while ((entry = readdir(directory))) {
		r = queue_id_parse(entry->d_name, &id) ? visit(arg, id, err) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

int queue_bodies_each(const struct queue_bodies *b,
		      int (*visit)(void *arg, int64_t id, struct error *err), void *arg,
		      struct error *err)
{
	char name[DIRECTORY_SIZE];
	int fd, r;

	for (unsigned int i = 0; i < DIRECTORIES; i++) {
		format_directory(i, name);
		fd = open_directory(b->fd, name, name, err);
		r = fd < 0 ? fd : each_in(fd, visit, arg, err);
		if (r < 0)
			return r;
	}
	return 0;
}
