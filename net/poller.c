/*
 * poller - a uv_poll_t that takes care of its own memory
 *
 * uv_poll_start() costs two system calls in libuv 1.44, also where nothing
 * changes, so what is wanted is remembered and only changes reach libuv.
 */
#include "net/internal.h"

#include <stdlib.h>
#include <uv.h>

#include "base/macros.h"

struct poller {
	uv_poll_t uv;
	struct loop *loop;
	void (*ready)(void *arg, unsigned int events);
	void *arg;
	unsigned int wanted;
};

int poller_new(struct loop *loop, int fd, void (*ready)(void *arg, unsigned int events), void *arg,
	       struct poller **ret_poller)
{
	struct poller *poller = net_new(sizeof(*poller));
	int r;

	r = uv_poll_init(loop_uv(loop), &poller->uv, fd);
	if (r < 0) {
		free(poller);
		return r;
	}
	poller->loop = loop;
	poller->ready = ready;
	poller->arg = arg;
	*ret_poller = poller;
	return 0;
}

static void on_poll(uv_poll_t *uv, int status, int uv_events)
{
	struct poller *poller = CONTAINER_OF(uv, struct poller, uv);
	struct loop *loop = poller->loop;
	unsigned int events = 0;

	if (status < 0) {
		poller->wanted = 0;
		events = POLLER_BROKEN;
	}
	if (uv_events & UV_READABLE)
		events |= POLLER_READ;
	if (uv_events & UV_WRITABLE)
		events |= POLLER_WRITE;

	/* May free the poller, though not its memory: that is for on_closed(). */
	poller->ready(poller->arg, events);
	loop_settle(loop);
}

void poller_want(struct poller *poller, unsigned int events)
{
	int uv_events = 0;

	if (events == poller->wanted)
		return;
	poller->wanted = events;

	if (events & POLLER_READ)
		uv_events |= UV_READABLE;
	if (events & POLLER_WRITE)
		uv_events |= UV_WRITABLE;
	uv_poll_start(&poller->uv, uv_events, on_poll);
}

static void on_closed(uv_handle_t *uv)
{
	free(CONTAINER_OF(uv, struct poller, uv));
}

void poller_free(struct poller *poller)
{
	if (poller)
		uv_close((uv_handle_t *)&poller->uv, on_closed);
}
