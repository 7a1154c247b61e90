/*
 * listener - accept() when the socket is readable, one connection at a time
 *
 * All workers watch the same socket. Each wake-up takes one connection only:
 * the poller is level-triggered, so the next one makes another wake-up, and
 * whichever worker is idle gets it. A worker that took all that is there would
 * keep them, and a burst of clients would be served by one core.
 */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "net/internal.h"

#define PAUSE_MS 1000

struct listener {
	struct loop *loop;
	const struct listener_events *events;
	void *arg;
	int fd;
	struct poller *poller;
	struct loop_timer *pause;
};

static int set_options(int fd, const struct net_address *address)
{
	int on = 1;

	/* A restart must not wait for connections of the old process to fade. */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	/* "*" is two sockets, one for each family, whatever the system's default is. */
	if (address->sa.sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	return 0;
}

static int bind_socket(int fd, const struct net_address *address, struct net_address *ret_bound)
{
	int r;

	r = set_options(fd, address);
	if (r < 0)
		return r;
	if (bind(fd, &address->sa, address->len) < 0)
		return -errno;
	if (listen(fd, SOMAXCONN) < 0)
		return -errno;

	*ret_bound = (struct net_address){ .len = sizeof(ret_bound->storage) };
	if (getsockname(fd, &ret_bound->sa, &ret_bound->len) < 0)
		return -errno;
	return 0;
}

int listener_bind(const struct net_address *address, struct net_address *ret_bound,
		  struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	char text[NET_ADDRESS_TEXT_SIZE];
	struct net_address bound;
	int r;

	fd = socket(address->sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	r = fd < 0 ? -errno : bind_socket(fd, address, &bound);
	if (r < 0)
		return error_set(err, r, "%s: %s", net_address_text(address, text), strerror(-r));

	*ret_bound = bound;
	r = fd;
	fd = -1;
	return r;
}

static void pause_accepting(struct listener *l, int code)
{
	struct error err;

	error_set(&err, code, "accept: %s", strerror(-code));
	poller_want(l->poller, 0);
	loop_timer_start(l->pause, PAUSE_MS);
	l->events->failed(l->arg, &err);
}

static void on_pause_end(void *arg)
{
	struct listener *l = arg;

	poller_want(l->poller, POLLER_READ);
}

/* Errors of one connection, which has gone, or of the network; accept(2) says to try again. */
static bool is_passing(int code)
{
	switch (-code) {
	case EAGAIN:
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENETDOWN:
	case ENOPROTOOPT:
	case EHOSTDOWN:
	case ENONET:
	case EHOSTUNREACH:
	case EOPNOTSUPP:
	case ENETUNREACH:
		return true;
	default:
		return false;
	}
}

static int accept_one(struct listener *l)
{
	struct net_address peer = { .len = sizeof(peer.storage) };
	struct stream *stream;
	int fd, r;

	fd = accept4(l->fd, &peer.sa, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = stream_adopt(l->loop, fd, &peer, &stream, NULL);
	if (r < 0)
		return r;
	l->events->accepted(l->arg, stream); /* may free l */
	return 0;
}

static void on_ready(void *arg, unsigned int events)
{
	struct listener *l = arg;
	int r;

	(void)events; /* when it is broken, accept() says why */
	r = accept_one(l);
	if (r < 0 && !is_passing(r))
		pause_accepting(l, r);
	else if (r < 0 && (events & POLLER_BROKEN))
		poller_want(l->poller, POLLER_READ);
}

int listener_new(struct loop *loop, int fd, const struct listener_events *events, void *arg,
		 struct listener **ret_listener, struct error *err)
{
	struct listener *l = net_new(sizeof(*l));
	int r;

	l->loop = loop;
	l->events = events;
	l->arg = arg;

	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	r = l->fd < 0 ? -errno : poller_new(loop, l->fd, on_ready, l, &l->poller);
	if (r < 0) {
		if (l->fd >= 0)
			close(l->fd);
		free(l);
		return error_set(err, r, "listener: %s", strerror(-r));
	}
	l->pause = loop_timer_new(loop, on_pause_end, l);
	poller_want(l->poller, POLLER_READ);
	*ret_listener = l;
	return 0;
}

void listener_free(struct listener *l)
{
	if (!l)
		return;
	poller_free(l->poller);
	loop_timer_free(l->pause);
	close(l->fd);
	free(l);
}
