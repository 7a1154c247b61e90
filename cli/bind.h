/* bind - the listening sockets of a server, opened while it may */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"

struct bindings {
	struct mta_service *services;
	struct net_address *asked; /* for each: as configured, perhaps with port 0 */
	unsigned int count;
};

/*
 * Open every listener of the configuration, or none. Those that previous has
 * (NULL: none) are taken from there: of the same address, or for any free port,
 * the same wish. The arrays belong to the arena, the descriptors to the caller.
 */
int bind_services(const struct config *config, const struct bindings *previous, struct arena *arena,
		  struct bindings *ret, struct error *err);

/* Close those that are not also among the others; NULL: all. */
void bind_close(const struct bindings *bindings, const struct bindings *others);

/* Whether both have the same sockets for the same services. */
bool bind_is_same(const struct bindings *a, const struct bindings *b);

/* "smtp://127.0.0.1:2525,smtps://127.0.0.1:2465", with the ports as they are. */
void bind_format(struct buf *out, const struct bindings *bindings);
