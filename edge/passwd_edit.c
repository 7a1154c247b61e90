/*
 * The lock is one on the file itself, taken before it is read: flock(2), which
 * ends with the process. Since a change puts another file in its place, who
 * got the lock looks whether it is still the one that the path names, and
 * begins anew if not.
 *
 * The new version has a name of its own beside the old one. Under the lock
 * nobody else uses it, so one that is there was left by a process that was
 * killed, and is removed.
 */
#include "edge/passwd_edit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/cleanup.h"
#include "base/utf8.h"
#include "edge/maildir.h"
#include "edge/passwd.h"
#include "edge/passwd_line.h"
#include "edge/scheme.h"
#include "maps/text.h"

#define NEW_SUFFIX ".posthouse-new"

/* The file, locked. */
struct editing {
	char path[PATH_MAX]; /* without links */
	int fd;
	struct stat stat;
	char *text; /* a secret */
	size_t len;
	struct buf out; /* the new text, a secret */
};

static int system_error(struct error *err, const char *path)
{
	return error_set(err, -errno, "%s: %s", path, strerror(errno));
}

/* ---- the lines ---- */

/* Comments and empty lines are nobody's. */
static bool is_user(struct slice line, const char *user)
{
	struct slice name = passwd_line_user(line);

	return name.len > 0 && slice_equal_nocase(name, slice_from(user));
}

static bool has_user(struct slice text, const char *user)
{
	struct slice line;

	while (passwd_line_next(&text, &line))
		if (is_user(line, user))
			return true;
	return false;
}

/* One line as it stands, with its end, if it has one. */
static struct slice take_raw(struct slice *rest)
{
	struct slice raw = slice_first(*rest, slice_find(*rest, '\n') + 1);

	*rest = slice_skip(*rest, raw.len);
	return raw;
}

/* The line with another password; all that is behind it stays. */
static void set_password(struct slice raw, struct slice stored, struct buf *out)
{
	size_t user_len = slice_find(raw, ':') + 1;
	struct slice behind = slice_skip(raw, user_len);
	size_t len = 0;

	while (len < behind.len && !strchr(":\r\n", behind.ptr[len]))
		len++;
	buf_append_slice(out, slice_first(raw, user_len));
	buf_append_slice(out, stored);
	buf_append_slice(out, slice_skip(behind, len));
}

static void add_line(const struct passwd_edit *edit, struct buf *out)
{
	struct slice text = buf_slice(out);

	if (text.len > 0 && text.ptr[text.len - 1] != '\n')
		buf_append(out, "\n", 1);
	buf_append_string(out, edit->user);
	buf_append(out, ":", 1);
	buf_append_slice(out, edit->stored);
	buf_append(out, "\n", 1);
}

static int change_text(struct editing *e, const struct passwd_edit *edit)
{
	struct slice rest = slice_of(e->text, e->len);
	bool exists = has_user(rest, edit->user);

	if (edit->action == PASSWD_ADD && exists)
		return PASSWD_USER_EXISTS;
	if (edit->action != PASSWD_ADD && !exists)
		return PASSWD_NO_USER;
	/* No copy of it is left behind by growing. */
	buf_reserve(&e->out, e->len + strlen(edit->user) + SCHEME_STORED_MAX + 8);
	while (rest.len > 0) {
		struct slice raw = take_raw(&rest);

		if (!is_user(slice_first(raw, slice_find(raw, '\n')), edit->user))
			buf_append_slice(&e->out, raw);
		else if (edit->action == PASSWD_SET)
			set_password(raw, edit->stored, &e->out);
	}
	if (edit->action == PASSWD_ADD)
		add_line(edit, &e->out);
	return PASSWD_EDITED;
}

/* ---- the file ---- */

/* An empty one, where there is none. */
static int create(const char *file, gid_t group, struct error *err)
{
	CLEANUP(close_fdp) int fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno == EEXIST ? 0 : system_error(err, file);
	if (group != (gid_t)-1 && (fchown(fd, (uid_t)-1, group) < 0 || fchmod(fd, 0640) < 0))
		return system_error(err, file);
	return 0;
}

static bool is_still_there(const struct editing *e)
{
	struct stat now;

	return stat(e->path, &now) == 0 && now.st_dev == e->stat.st_dev &&
	       now.st_ino == e->stat.st_ino;
}

static int lock(struct editing *e, const char *file, struct error *err)
{
	for (;;) {
		if (!realpath(file, e->path))
			return system_error(err, file);
		e->fd = open(e->path, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
		if (e->fd < 0 || fstat(e->fd, &e->stat) < 0)
			return system_error(err, file);
		if (!S_ISREG(e->stat.st_mode))
			return error_set(err, -EINVAL, "%s: not a regular file", file);
		while (flock(e->fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return system_error(err, file);
		if (is_still_there(e))
			return fstat(e->fd, &e->stat) < 0 ? system_error(err, file) : 0;
		close(e->fd);
		e->fd = -1;
	}
}

static int read_text(struct editing *e, const char *file, struct error *err)
{
	struct stat unused;
	int r = text_read(e->path, file, &e->text, &e->len, &unused, err);

	if (r == TEXT_CHANGING)
		return error_set(err, -EAGAIN, "%s: somebody else writes to it just now", file);
	return r;
}

static int write_all(int fd, struct slice text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0)
			text = slice_skip(text, (size_t)n);
	}
	return 0;
}

/* Owner before mode: a change of owner takes bits away. */
static int fill_new(const struct editing *e, int fd)
{
	if (fchown(fd, e->stat.st_uid, e->stat.st_gid) < 0 ||
	    fchmod(fd, e->stat.st_mode & 07777) < 0)
		return -1;
	return write_all(fd, buf_slice(&e->out)) < 0 || fsync(fd) < 0 ? -1 : 0;
}

static int sync_directory(const char *path, struct error *err)
{
	CLEANUP(free_strp) char *directory = strdup(path);
	CLEANUP(close_fdp) int fd = -1;

	if (!directory)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	strrchr(directory, '/')[1] = '\0'; /* the path is absolute */
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0)
		return system_error(err, directory);
	return 0;
}

static int replace(const struct editing *e, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	char fresh[PATH_MAX + sizeof(NEW_SUFFIX)];

	snprintf(fresh, sizeof(fresh), "%s" NEW_SUFFIX, e->path);
	if (unlink(fresh) < 0 && errno != ENOENT)
		return system_error(err, fresh);
	fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return system_error(err, fresh);
	if (fill_new(e, fd) < 0 || rename(fresh, e->path) < 0) {
		system_error(err, fresh);
		unlink(fresh);
		return err->code;
	}
	return sync_directory(e->path, err);
}

static void end_editing(struct editing *e)
{
	if (e->fd >= 0)
		close(e->fd);
	if (e->text)
		explicit_bzero(e->text, e->len);
	free(e->text);
	buf_wipe(&e->out);
}

int passwd_edit(const char *file, const struct passwd_edit *edit, struct error *err)
{
	struct editing e = { .fd = -1 };
	struct error unused;
	int r = 0;

	err = err ? err : &unused;
	if (edit->action == PASSWD_ADD)
		r = create(file, edit->group, err);
	if (r == 0)
		r = lock(&e, file, err);
	if (r == 0)
		r = read_text(&e, file, err);
	if (r == 0)
		r = change_text(&e, edit);
	if (r == PASSWD_EDITED)
		r = passwd_validate(buf_slice(&e.out), file, err);
	if (r == 0)
		r = replace(&e, err);
	end_editing(&e);
	return r;
}

/* ---- names ---- */

static bool is_utf8(struct slice s)
{
	while (s.len > 0) {
		uint32_t code;
		size_t n = (unsigned char)s.ptr[0] < 0x80 ? 1 : utf8_sequence(s, &code);

		if (n == 0)
			return false;
		s = slice_skip(s, n);
	}
	return true;
}

/* Its Maildir is domain/local-part/. */
static bool has_safe_path(const char *user)
{
	struct arena arena = { 0 };
	const char *at = strrchr(user, '@');
	const char *path = at ? arena_printf(&arena, "%s/%.*s/", at + 1, (int)(at - user), user)
			      : arena_printf(&arena, "%s/", user);
	bool is_safe = maildir_path_is_safe(path) && !strchr(user, '/');

	arena_done(&arena);
	return is_safe;
}

int passwd_user_check(const char *user, struct error *err)
{
	size_t len = strlen(user);

	if (len == 0)
		return error_set(err, -EINVAL, "the user name is empty");
	if (len > PASSWD_USER_MAX)
		return error_set(err, -EINVAL, "the user name is longer than %d bytes",
				 PASSWD_USER_MAX);
	if (user[0] == '#')
		return error_set(err, -EINVAL, "a user name that begins with # would be a comment");
	for (size_t i = 0; i < len; i++)
		if ((unsigned char)user[i] <= ' ' || user[i] == 127 || strchr(":\"\\<>", user[i]))
			return error_set(err, -EINVAL,
					 "a user name has no white space, no control characters, "
					 "and none of : \" \\ < >");
	if (!is_utf8(slice_from(user)))
		return error_set(err, -EINVAL, "the user name is not UTF-8");
	if (!has_safe_path(user))
		return error_set(err, -EINVAL,
				 "the user name makes no directory for its mail: expected "
				 "user@domain, without /, and neither part . or ..");
	return 0;
}

/* ---- listing ---- */

int passwd_list(const char *file, passwd_visit *visit, void *arg, struct error *err)
{
	struct stat unused;
	struct slice rest, line;
	char *text = NULL;
	size_t len = 0;
	int r = text_read(file, file, &text, &len, &unused, err);

	if (r == TEXT_CHANGING)
		return error_set(err, -EAGAIN, "%s: is being written to", file);
	rest = slice_of(text, len);
	for (unsigned int number = 1; r == 0 && passwd_line_next(&rest, &line); number++) {
		struct passwd_line account;

		r = passwd_line_parse(line, &account, err);
		if (r < 0)
			error_prefix(err, "%s:%u", file, number);
		else if (account.user.len > 0)
			visit(arg, account.user,
			      account.password.len > 0 ? scheme_name(account.password) : "");
	}
	if (text)
		explicit_bzero(text, len);
	free(text);
	return r;
}
