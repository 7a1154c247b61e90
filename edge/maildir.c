#include "edge/maildir.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"

#define PIECE_BYTES 262144

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

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

static int make_dir(int at, const char *name)
{
	return mkdirat(at, name, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/*
 * Open base/path, making what is missing. The names on the way are synced on request: that one
 * is there does not say so, as somebody else may be about to.
 */
static int open_path(const char *base, const char *path, bool sync, struct error *err)
{
	struct slice rest = slice_from(path), part;
	int fd = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_set(err, -errno, "%s: %s", base, strerror(errno));
	while (slice_next_word(&rest, "/", &part)) {
		char name[NAME_MAX + 1];
		int next =
			slice_copy(part, name, sizeof(name)) ? make_dir(fd, name) : -ENAMETOOLONG;

		if (next == 0)
			next = open_dir(fd, name);
		if (next >= 0 && sync && fsync(fd) < 0) {
			int number = errno;

			close(next);
			next = -number;
		}
		close(fd);
		if (next < 0)
			return error_set(err, next, "%s/%s: %s", base, path, strerror(-next));
		fd = next;
	}
	return fd;
}

/* Append with CRLF turned into LF. A CR at the end is kept back: its LF comes with the next piece. */
static void append_as_lf(struct buf *out, struct slice in, bool *held_cr)
{
	while (in.len > 0) {
		const char *cr = memchr(in.ptr, '\r', in.len);
		size_t n = cr ? (size_t)(cr - in.ptr) : in.len;

		if (*held_cr && in.ptr[0] != '\n')
			buf_append_string(out, "\r");
		*held_cr = cr != NULL;
		buf_append(out, in.ptr, n);
		in = slice_skip(in, n + (cr ? 1 : 0));
	}
}

static int write_all(int fd, struct slice s)
{
	while (s.len > 0) {
		ssize_t n = write(fd, s.ptr, s.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		s = slice_skip(s, (size_t)n);
	}
	return 0;
}

static int write_message(int fd, const struct maildir_delivery *d, uint64_t *ret_size,
			 struct error *err)
{
	struct queue_body_reader reader;
	struct buf piece = { 0 }, out = { 0 };
	bool held_cr = false;
	int64_t n;
	int r = 0;

	*ret_size = 0;
	buf_append_slice(&out, d->header);
	queue_body_reader_init(&reader, d->body);
	do {
		buf_clear(&piece);
		n = queue_body_read(&reader, PIECE_BYTES, &piece, err);
		if (n < 0) {
			r = (int)n;
			break;
		}
		if (d->is_binary)
			buf_append_slice(&out, buf_slice(&piece));
		else
			append_as_lf(&out, buf_slice(&piece), &held_cr);
		if (n == 0 && held_cr)
			buf_append_string(&out, "\r");
		*ret_size += buf_len(&out);
		r = write_all(fd, buf_slice(&out));
		if (r < 0)
			error_set(err, r, "cannot write: %s", strerror(-r));
		buf_clear(&out);
	} while (n > 0 && r == 0);
	queue_body_reader_done(&reader);
	buf_done(&piece);
	buf_done(&out);
	if (r == 0 && fsync(fd) < 0)
		r = error_set(err, -errno, "cannot sync: %s", strerror(errno));
	return r;
}

static void make_name(const struct maildir_delivery *d, atomic_uint *counter, char out[NAME_MAX])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(out, NAME_MAX, "%lld.M%06ldP%ldQ%u.%.64s", (long long)now.tv_sec,
		 now.tv_nsec / 1000, (long)getpid(), atomic_fetch_add(counter, 1), d->hostname);
	for (char *c = out; *c; c++)
		if (*c == '/' || *c == ':' || *c == ',')
			*c = '_'; /* have a meaning in a Maildir */
}

static int deliver_at(int dir, const struct maildir_delivery *d, atomic_uint *counter,
		      struct error *err)
{
	CLEANUP(close_fdp) int tmp = open_dir(dir, "tmp");
	CLEANUP(close_fdp) int new = open_dir(dir, "new");
	CLEANUP(close_fdp) int fd = -1;
	char name[NAME_MAX], final[NAME_MAX + 32];
	uint64_t size;
	int r;

	if (tmp < 0 || new < 0) {
		r = MIN(tmp, new);
		return error_set(err, r, "cannot open tmp or new: %s", strerror(-r));
	}
	make_name(d, counter, name);
	fd = openat(tmp, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return error_set(err, -errno, "cannot create tmp/%s: %s", name, strerror(errno));
	r = write_message(fd, d, &size, err);
	if (r == 0) {
		snprintf(final, sizeof(final), "%s,S=%llu", name, (unsigned long long)size);
		if (renameat(tmp, name, new, final) < 0)
			r = error_set(err, -errno, "cannot rename to new/%s: %s", final,
				      strerror(errno));
	}
	if (r < 0) {
		unlinkat(tmp, name, 0);
		return r;
	}
	if (fsync(new) < 0)
		return error_set(err, -errno, "cannot sync new: %s", strerror(errno));
	return 0;
}

/*
 * Make the folders, tmp last: that it is there says that all other names are on the disk, those
 * on the way to the Maildir too. Whoever sees it missing does all of it again, as the one who was
 * here first may have been killed, or not be done yet.
 */
static int make_folders(int dir, const struct maildir_delivery *d, struct error *err)
{
	CLEANUP(close_fdp) int same = open_path(d->base, d->path, true, err);
	int r;

	if (same < 0)
		return same;
	r = make_dir(dir, "new");
	if (r == 0)
		r = make_dir(dir, "cur");
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	if (r == 0)
		r = make_dir(dir, "tmp");
	return r < 0 ? error_set(err, r, "cannot make tmp, new and cur: %s", strerror(-r)) : 0;
}

static bool has_folders(int dir)
{
	return faccessat(dir, "tmp", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	       faccessat(dir, "new", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
	       faccessat(dir, "cur", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int maildir_deliver(const struct maildir_delivery *d, atomic_uint *counter, struct error *err)
{
	int dir = open_path(d->base, d->path, false, err);
	int r = 0;

	if (dir < 0)
		return dir;
	if (!has_folders(dir))
		r = make_folders(dir, d, err);
	if (r == 0)
		r = deliver_at(dir, d, counter, err);
	if (r < 0)
		error_prefix(err, "%s/%s", d->base, d->path);
	close(dir);
	return r;
}
