/*
 * internal - what the files of net/ share and nobody else includes
 *
 * libuv is known to loop.c, poller.c and file_watch.c alone: a poller tells the others when
 * a descriptor is ready, and they do their own reading and writing. That costs
 * nothing over libuv's streams and keeps what matters here in our hands: how
 * much is read at once, into which buffer, and that a write never blocks,
 * never copies and never raises SIGPIPE.
 */
#pragma once

#include "net/address.h"
#include "net/loop.h"

struct stream;

/* Zeroed memory; aborts when there is none, as base/buf.h does. */
void *net_new(size_t size);

/*
 * What lives on for a while after its user has freed it, such as a stream that
 * still sends. loop_free() ends it by leave(), which must call
 * loop_guest_remove() and free what is there.
 */
struct loop_guest {
	void (*leave)(struct loop_guest *guest);
	struct list link;
};

void loop_guest_add(struct loop *loop, struct loop_guest *guest);
void loop_guest_remove(struct loop_guest *guest); /* also one that was never added, if zeroed */

/* Run what was deferred; every callback of libuv ends with this. */
void loop_settle(struct loop *loop);

struct uv_loop_s *loop_uv(struct loop *loop);

/*
 * A poller watches one descriptor, level-triggered. It neither owns nor closes
 * it; free the poller first. After POLLER_BROKEN it watches nothing until
 * poller_want() is called again: the socket has an error, which the next
 * system call on it will tell.
 */
struct poller;

#define POLLER_READ   1u
#define POLLER_WRITE  2u
#define POLLER_BROKEN 4u

int poller_new(struct loop *loop, int fd, void (*ready)(void *arg, unsigned int events), void *arg,
	       struct poller **ret_poller);
void poller_want(struct poller *poller, unsigned int events); /* 0: nothing */
void poller_free(struct poller *poller); /* NULL is fine; safe inside ready() */

/* A stream over a connected, non-blocking socket, which becomes the stream's also on failure. */
int stream_adopt(struct loop *loop, int fd, const struct net_address *peer,
		 struct stream **ret_stream, struct error *err);

/*
 * Put addresses in the order to try: those that this host can reach first, and
 * of these as RFC 6724 section 6 has it, which is IPv6 before IPv4 as a rule.
 * Equals stay as they were. Sends nothing.
 */
void net_order_addresses(struct net_address *addresses, size_t count);
