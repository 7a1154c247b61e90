/* inotify, kqueue or the like, as libuv finds it. */
#include "net/file_watch.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "base/macros.h"
#include "net/internal.h"

struct file_watch {
	uv_fs_event_t uv;
	struct loop *loop;
	void (*changed)(void *arg);
	void *arg;
};

static void on_event(uv_fs_event_t *uv, const char *name, int events, int status)
{
	struct file_watch *watch = CONTAINER_OF(uv, struct file_watch, uv);
	struct loop *loop = watch->loop;

	(void)name;
	(void)events;
	(void)status; /* whatever it is: look */
	watch->changed(watch->arg);
	loop_settle(loop);
}

int file_watch_new(struct loop *loop, const char *path, void (*changed)(void *arg), void *arg,
		   struct file_watch **ret_watch, struct error *err)
{
	struct file_watch *watch = net_new(sizeof(*watch));
	int r;

	uv_fs_event_init(loop_uv(loop), &watch->uv);
	watch->loop = loop;
	watch->changed = changed;
	watch->arg = arg;
	r = uv_fs_event_start(&watch->uv, on_event, path, 0);
	if (r < 0) {
		file_watch_free(watch);
		return error_set(err, r, "%s: cannot be watched: %s", path, strerror(-r));
	}
	*ret_watch = watch;
	return 0;
}

static void on_closed(uv_handle_t *uv)
{
	free(CONTAINER_OF(uv, struct file_watch, uv));
}

void file_watch_free(struct file_watch *watch)
{
	if (watch)
		uv_close((uv_handle_t *)&watch->uv, on_closed);
}
