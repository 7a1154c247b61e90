/*
 * A socket is known by its address: descriptors are numbers that come again.
 */
#include "mta/doors.h"

#include <stdlib.h>

#include "base/memory.h"
#include "mta/inbound.h"
#include "net/listener.h"

struct door {
	struct mta_worker *worker;
	const struct mta_service *service; /* of the options in use */
	struct net_address address;
	struct listener *listener;
	unsigned int shares; /* doors that it is in */
};

struct doors {
	const struct mta_options *options;
	unsigned int count;
	struct door *items[];
};

static void accepted(void *arg, struct stream *stream)
{
	struct door *door = arg;

	inbound_accept(door->worker, door->service->kind, stream);
}

static void accept_failed(void *arg, const struct error *err)
{
	struct door *door = arg;

	log_write(door->worker->options->log, "smtpd", LOG_LEVEL_ERROR,
		  "cannot accept connections: %s", err->text);
}

static const struct listener_events events = { .accepted = accepted, .failed = accept_failed };

static struct door *find(const struct doors *doors, const struct net_address *address)
{
	for (unsigned int i = 0; doors && i < doors->count; i++)
		if (net_address_equal(&doors->items[i]->address, address))
			return doors->items[i];
	return NULL;
}

static int open_door(struct mta_worker *worker, const struct mta_service *service,
		     struct door **ret, struct error *err)
{
	struct door *door = memory_zeroed(sizeof(*door));
	int r;

	door->worker = worker;
	door->service = service;
	door->address = service->address;
	r = listener_new(worker->loop, service->fd, &events, door, &door->listener, err);
	if (r < 0) {
		free(door);
		return r;
	}
	*ret = door;
	return 0;
}

int doors_new(struct mta_worker *worker, const struct mta_options *options,
	      const struct doors *previous, struct doors **ret_doors, struct error *err)
{
	unsigned int count = options->service_count;
	struct doors *doors = memory_zeroed(sizeof(*doors) + count * sizeof(doors->items[0]));

	doors->options = options;
	for (unsigned int i = 0; i < count; i++) {
		const struct mta_service *service = &options->services[i];
		struct door *door = find(previous, &service->address);
		int r = door ? 0 : open_door(worker, service, &door, err);

		if (r < 0) {
			doors_free(doors);
			return r;
		}
		door->shares++;
		doors->items[doors->count++] = door;
	}
	*ret_doors = doors;
	return 0;
}

void doors_enter(struct doors *doors)
{
	for (unsigned int i = 0; i < doors->count; i++)
		doors->items[i]->service = &doors->options->services[i];
}

void doors_free(struct doors *doors)
{
	if (!doors)
		return;
	for (unsigned int i = 0; i < doors->count; i++) {
		struct door *door = doors->items[i];

		if (--door->shares > 0)
			continue;
		listener_free(door->listener);
		free(door);
	}
	free(doors);
}
