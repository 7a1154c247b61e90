/*
 * The rules are those of Maildir++ (the page of that name by S. Varshavchik)
 * as Dovecot keeps them: a file of 5120 bytes or more is written anew; one that
 * says "full" is believed only while it is a single sum that is younger than
 * fifteen minutes; a sum below zero is none. A new file is written in tmp/ and
 * renamed, and only if no folder changed while the mails were counted.
 *
 * Not so: a limit in the file that is not ours is no reason to count again. A
 * Dovecot with another limit would write its own, and each delivery would
 * count all mails.
 */
#include "edge/maildir_quota.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/parse.h"
#include "base/slice.h"

#define FILE_NAME   "maildirsize"
#define COUNT_TRIES 3
#define SUM_BYTES   256 /* a file with a sum alone has at most */

struct usage {
	int64_t bytes, count;
	uint64_t times; /* a sum over what changes with each change of a folder */
};

struct reading {
	struct usage used;
	bool is_sum; /* one line, fresh enough to be believed when it says "full" */
};

/* ---- the file ---- */

/* Whoever owns a home can put anything there, a pipe with nobody at its end too. */
static int open_file(int dir, const char *path, int flags)
{
	int fd = openat(dir, path, flags | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd >= 0 && (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))) {
		close(fd);
		errno = EINVAL;
		return -1;
	}
	return fd;
}

/* The number at *text, which ends where a blank or the line does. */
static bool read_number(const char **text, const char *end, int64_t *ret)
{
	const char *p = *text;
	int64_t value = 0;
	bool is_negative;

	while (p < end && (*p == ' ' || *p == '\t'))
		p++;
	is_negative = p < end && *p == '-';
	*text = p += is_negative;
	for (; p < end && *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *p - '0', &value))
			return false;
	if (p == *text || (p < end && *p != ' ' && *p != '\t'))
		return false;
	*text = p;
	*ret = is_negative ? -value : value;
	return true;
}

static bool add_line(struct slice line, struct usage *used)
{
	const char *text = line.ptr, *end = line.ptr + line.len;
	int64_t bytes, count;

	return read_number(&text, end, &bytes) && read_number(&text, end, &count) &&
	       !__builtin_add_overflow(used->bytes, bytes, &used->bytes) &&
	       !__builtin_add_overflow(used->count, count, &used->count);
}

/* What stands behind the last line feed is being written. */
static bool parse(struct slice text, struct usage *ret, unsigned int *ret_lines)
{
	size_t end = slice_find(text, '\n');

	*ret_lines = 0;
	*ret = (struct usage){ 0 };
	if (end == text.len)
		return false;
	for (text = slice_skip(text, end + 1); (end = slice_find(text, '\n')) < text.len;
	     text = slice_skip(text, end + 1), ++*ret_lines)
		if (!add_line(slice_first(text, end), ret))
			return false;
	return *ret_lines > 0 && ret->bytes >= 0 && ret->count >= 0;
}

/* Whether the file at path, seen from dir, can tell. */
static bool read_file(int dir, const char *path, struct reading *ret)
{
	CLEANUP(close_fdp) int fd = open_file(dir, path, O_RDONLY);
	char text[MAILDIR_QUOTA_BYTES];
	struct timespec now;
	unsigned int lines;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return false;
	n = read(fd, text, sizeof(text));
	if (n < 0 || (size_t)n >= sizeof(text) ||
	    !parse(slice_of(text, (size_t)n), &ret->used, &lines))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	ret->is_sum = lines == 1 && st.st_mtim.tv_sec >= now.tv_sec - MAILDIR_QUOTA_STALE_S;
	return true;
}

static bool is_over(const struct usage *used, uint64_t bytes, uint64_t limit)
{
	return bytes > limit || (uint64_t)used->bytes > limit - bytes;
}

/* ---- counting ---- */

/* As the name says, in front of the flags; else as the file is. */
static int64_t size_of(int dir, const char *name)
{
	const char *size = strstr(name, ",S=");
	struct slice digits = slice_from(size ? size + 3 : "");
	struct stat st;
	uint64_t value;

	digits = slice_first(digits, strspn(digits.ptr, "0123456789"));
	if (parse_uint(digits, INT64_MAX, &value))
		return (int64_t)value;
	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_size : -1;
}

static int count_files(int at, const char *name, struct usage *used)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	struct stat st;
	int64_t size;

	if (!dir) {
		int number = errno;

		if (fd >= 0)
			close(fd);
		return number == ENOENT || number == ENOTDIR || number == ELOOP ? 0 : -number;
	}
	if (fstat(fd, &st) == 0)
		used->times = used->times * 31 + (uint64_t)st.st_ino +
			      (uint64_t)st.st_mtim.tv_sec * 1000000000U +
			      (uint64_t)st.st_mtim.tv_nsec;
	while (errno = 0, (entry = readdir(dir)) != NULL) {
		size = entry->d_name[0] == '.' ? -1 : size_of(fd, entry->d_name);
		if (size < 0 || __builtin_add_overflow(used->bytes, size, &used->bytes))
			continue; /* no mail, or gone meanwhile */
		used->count++;
	}
	closedir(dir);
	return 0;
}

static int count_folder(int at, const char *name, struct usage *used)
{
	CLEANUP(close_fdp)
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == ELOOP ? 0 : -errno;
	r = count_files(fd, "new", used);
	return r == 0 ? count_files(fd, "cur", used) : r;
}

/* The inbox, and the folders, which lie side by side as ".Name". */
static int count_all(int at, struct usage *used, struct error *err)
{
	int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;

	*used = (struct usage){ 0 };
	if (!dir) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return error_set(err, r, "cannot list its folders: %s", strerror(-r));
	}
	r = count_folder(at, ".", used);
	while (r == 0 && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] == '.' && entry->d_name[1] != '\0' &&
		    strcmp(entry->d_name, "..") != 0)
			r = count_folder(at, entry->d_name, used);
	closedir(dir);
	return r < 0 ? error_set(err, r, "cannot count its mails: %s", strerror(-r)) : 0;
}

/* Without a file everybody counts for himself, so that this fails is no harm. */
static void write_file(int dir, const struct usage *used, uint64_t limit)
{
	struct timespec now;
	char name[80];
	int fd;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(name, sizeof(name), "tmp/%lld.M%ldP%ldF%d." FILE_NAME, (long long)now.tv_sec,
		 now.tv_nsec, (long)getpid(), dir);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (dprintf(fd, "%" PRIu64 "S\n%" PRId64 " %" PRId64 "\n", limit, used->bytes,
		    used->count) < 0 ||
	    renameat(dir, name, dir, FILE_NAME) < 0)
		unlinkat(dir, name, 0);
	close(fd);
}

/* While others move mail around, a count is good enough to decide by, but not to be kept. */
static int count_anew(int dir, uint64_t limit, struct usage *ret, struct error *err)
{
	struct usage again;
	int r = count_all(dir, ret, err);

	for (unsigned int i = 0; r == 0 && i < COUNT_TRIES; i++) {
		r = count_all(dir, &again, err);
		if (r == 0 && again.times == ret->times) {
			write_file(dir, ret, limit);
			return 0;
		}
		*ret = again;
	}
	return r;
}

int maildir_quota_check(int dir, uint64_t bytes, uint64_t limit_bytes, struct error *err)
{
	struct reading file;
	int r;

	if (read_file(dir, FILE_NAME, &file) &&
	    (file.is_sum || !is_over(&file.used, bytes, limit_bytes)))
		return is_over(&file.used, bytes, limit_bytes) ? MAILDIR_FULL : 0;
	r = count_anew(dir, limit_bytes, &file.used, err);
	if (r < 0)
		return r;
	return is_over(&file.used, bytes, limit_bytes) ? MAILDIR_FULL : 0;
}

int maildir_quota_peek(const char *path, uint64_t bytes, uint64_t limit_bytes)
{
	struct reading file;
	struct stat st;
	char name[4096];
	int n = snprintf(name, sizeof(name), "%s/" FILE_NAME, path);

	if (bytes > limit_bytes)
		return MAILDIR_FULL;
	/* A sum is short. Of long files, which are most, one call is all that they cost. */
	if (n < 0 || (size_t)n >= sizeof(name) || lstat(name, &st) < 0 || st.st_size > SUM_BYTES ||
	    !read_file(AT_FDCWD, name, &file))
		return 0;
	return file.is_sum && is_over(&file.used, bytes, limit_bytes) ? MAILDIR_FULL : 0;
}

void maildir_quota_add(int dir, uint64_t bytes)
{
	CLEANUP(close_fdp) int fd = open_file(dir, FILE_NAME, O_WRONLY | O_APPEND);

	/* One write() is one line, whoever else appends. */
	if (fd >= 0 && dprintf(fd, "%" PRIu64 " 1\n", bytes) < 0)
		return;
}
