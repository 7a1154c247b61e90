/* control - the socket: its lock, its file, and who comes in; call.c has the rest */
#include "control/control.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/memory.h"
#include "control/internal.h"
#include "net/unix.h"

/* Whoever has the lock is the one who may judge the socket that he finds. */
static int take_lock(struct control *c, struct error *err)
{
	CLEANUP(free_strp) char *path = NULL;

	if (asprintf(&path, "%s.lock", c->path) < 0)
		return error_set(err, -ENOMEM, "%s: out of memory", c->path);
	c->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lock_fd < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (flock(c->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return error_set(err, errno == EWOULDBLOCK ? -EBUSY : -errno, "%s: %s", c->path,
				 errno == EWOULDBLOCK ? "in use by another server"
						      : strerror(errno));
	return 0;
}

static int remove_stale(const char *path, struct error *err)
{
	struct stat st;
	int fd;

	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0
				       : error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, -EEXIST, "%s: there is a file, which is not a socket", path);
	fd = unix_connect(path, NULL);
	if (fd >= 0) {
		close(fd);
		return error_set(err, -EBUSY, "%s: in use by another program", path);
	}
	if (unlink(path) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

/*
 * With the set-group-id bit files get the group of their directory, and the
 * server need not be a member of it. Without peer credentials the file is the
 * only guard, so then it is for one account alone.
 */
static mode_t socket_mode(const char *path)
{
#ifdef SO_PEERCRED
	const char *slash = strrchr(path, '/');
	CLEANUP(free_strp)
	char *directory = slash ? strndup(path, (size_t)(slash - path)) : strdup(".");
	struct stat st;

	if (directory && stat(directory, &st) == 0 && (st.st_mode & S_ISGID))
		return CONTROL_MODE_WITH_GROUP;
#else
	(void)path;
#endif
	return CONTROL_MODE_ALONE;
}

static void on_accepted(void *arg, struct stream *stream)
{
	control_call_new(arg, stream);
}

static void on_failed(void *arg, const struct error *err)
{
	const struct control *c = arg;

	if (c->options.warn)
		c->options.warn(c->options.arg, err->text);
}

static const struct listener_events events = { .accepted = on_accepted, .failed = on_failed };

int control_new(struct loop *loop, const struct control_options *options,
		struct control **ret_control, struct error *err)
{
	struct control *c = memory_zeroed(sizeof(*c));
	int r;

	c->loop = loop;
	c->options = *options;
	if (c->options.patience_ms == 0)
		c->options.patience_ms = CONTROL_PATIENCE_MS;
	c->path = slice_strdup(slice_from(options->path));
	c->lock_fd = c->fd = -1;
	list_init(&c->calls);
	r = c->path ? take_lock(c, err) : error_set(err, -ENOMEM, "control: out of memory");
	if (r == 0)
		r = remove_stale(c->path, err);
	if (r == 0)
		r = c->fd = unix_listen(c->path, socket_mode(c->path), err);
	if (r >= 0)
		r = listener_new(loop, c->fd, &events, c, &c->listener, err);
	if (r < 0) {
		control_free(c);
		return r;
	}
	*ret_control = c;
	return 0;
}

/* Handlers that work on an answer need the loop; long answers are cut short. */
static void wait_for_answers(struct control *c)
{
	c->is_leaving = true;
	LIST_FOREACH (link, &c->calls)
		control_call_cut(control_call_from(link));
	while (c->pending > 0)
		loop_run(c->loop);
}

void control_free(struct control *c)
{
	if (!c)
		return;
	listener_free(c->listener);
	if (c->fd >= 0) {
		unlink(c->path);
		close(c->fd);
	}
	wait_for_answers(c);
	LIST_FOREACH (link, &c->calls)
		control_call_free(control_call_from(link));
	if (c->lock_fd >= 0)
		close(c->lock_fd);
	free(c->path);
	free(c);
}

void control_register(struct control *c, const struct control_handler *handler, void *arg)
{
	assert(c->entry_count < CONTROL_HANDLERS);
	c->entries[c->entry_count++] = (struct control_entry){ handler, arg };
}
