/*
 * worker - what one thread of the mta owns; the files of mta/ share it
 *
 * Shared nothing: sessions, lanes and connections live and die on their
 * worker, and only its thread touches them.
 */
#pragma once

#include "base/strmap.h"
#include "mta/mta.h"
#include "net/loop.h"

struct health;
struct inbound_limits;
struct mta_view;
struct scheduler;
struct rates;
struct verifier;
struct verify;
struct slowdown;

struct mta_worker {
	const struct mta_options
		*options;      /* the newest: of view; good until the callback returns */
	struct mta_view *view; /* a reference; whatever lasts takes its own */
	struct inbound_limits
		*limits;	   /* connections for each client address, shared by all workers */
	struct health *health;	   /* of next hops, shared by all workers */
	struct rates *rates;	   /* of clients and users, shared by all workers */
	struct slowdown *slowdown; /* of failed logins, shared by all workers */
	struct mta *mta;	   /* for wishes to all workers */
	unsigned int index;
	struct loop *loop;
	struct queue_port *port;
	struct scheduler *scheduler;
	struct verify *verify; /* what is known of addresses, shared by all workers */
	struct verifier *verifier;
	struct list sessions; /* struct inbound */
	bool stopping;
};

static inline int64_t mta_now_ms(const struct mta_worker *w)
{
	return clock_wall_ms(w->options->clock);
}
