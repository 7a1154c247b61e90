/* bind - the listening sockets of a server, opened while it may */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "config/config.h"

/*
 * Open every listener of the configuration, or none. The array belongs to the
 * arena, the descriptors to the caller (bind_close()).
 */
int bind_services(const struct config *config, struct arena *arena,
		  struct mta_service **ret_services, unsigned int *ret_count, struct error *err);
void bind_close(const struct mta_service *services, unsigned int count);

/* "smtp://127.0.0.1:2525,smtps://127.0.0.1:2465", with the ports as they are. */
void bind_format(struct buf *out, const struct mta_service *services, unsigned int count);
