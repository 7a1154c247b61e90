/*
 * listener - a socket that accepts connections, on several loops at once
 *
 * The descriptor is made before privileges are dropped and shared by all
 * workers: an idle worker wakes up first, so connections spread by load.
 */
#pragma once

#include "net/stream.h"

/*
 * Bind and listen. "*" listens are made as two addresses by the caller; IPv6
 * sockets are IPv6 only. Port 0 takes a free port; *ret_bound tells which.
 * Returns a descriptor (the caller closes it) or a negative error.
 */
int listener_bind(const struct net_address *address, struct net_address *ret_bound,
		  struct error *err);

struct listener;

struct listener_events {
	/* The new stream is the callee's; stream_set_events() must be called before returning. */
	void (*accepted)(void *arg, struct stream *stream);
	/* accept() failed: out of descriptors or memory. The listener pauses a second and goes on. */
	void (*failed)(void *arg, const struct error *err);
};

/* Accept on this loop from fd, which is duplicated. */
int listener_new(struct loop *loop, int fd, const struct listener_events *events, void *arg,
		 struct listener **ret_listener, struct error *err);
void listener_free(struct listener *l); /* NULL is fine */
