/*
 * A reload finds most sockets open already, those of ports that only root may
 * open above all.
 *
 * "*" comes as two listeners. Its IPv6 half may fail where there is no IPv6,
 * and when the port is a free one it tries to have that of the IPv4 half.
 */
#include "cli/bind.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "net/listener.h"

static int bind_one(const struct config_listener *listener, const struct mta_service *first_half,
		    struct mta_service *ret, struct error *err)
{
	struct net_address address = listener->address;
	int fd = -EADDRINUSE;

	if (net_address_port(&address) == 0 && first_half) {
		net_address_set_port(&address, net_address_port(&first_half->address));
		fd = listener_bind(&address, &ret->address, err);
	}
	if (fd == -EADDRINUSE)
		fd = listener_bind(&listener->address, &ret->address, err);
	ret->kind = listener->kind;
	ret->fd = fd;
	return fd;
}

static bool is_family_missing(int r)
{
	return r == -EAFNOSUPPORT || r == -EADDRNOTAVAIL || r == -EPROTONOSUPPORT;
}

/* The socket of previous that serves for this listener, and is not taken yet; NULL: none. */
static const struct mta_service *find_open(const struct config_listener *listener,
					   const struct bindings *previous, const bool *taken,
					   unsigned int *ret_index)
{
	bool any_port = net_address_port(&listener->address) == 0;

	for (unsigned int i = 0; previous && i < previous->count; i++) {
		const struct mta_service *service = &previous->services[i];
		bool fits = any_port ? service->kind == listener->kind &&
					       net_address_equal(&previous->asked[i],
								 &listener->address)
				     : net_address_equal(&service->address, &listener->address);

		if (taken[i] || !fits)
			continue;
		*ret_index = i;
		return service;
	}
	return NULL;
}

/* That of the IPv4 half just opened, whose port the other one is to have; NULL: there is none. */
static const struct mta_service *first_half_of(const struct config_listener *listener,
					       const struct bindings *b)
{
	const struct net_address *before = b->count ? &b->asked[b->count - 1] : NULL;

	return listener->is_second_half && before && before->sa.sa_family == AF_INET &&
			       net_address_is_any(before)
		       ? &b->services[b->count - 1]
		       : NULL;
}

static int open_one(const struct config_listener *listener, const struct bindings *previous,
		    bool *taken, struct bindings *b, struct error *err)
{
	struct mta_service *ret = &b->services[b->count];
	const struct mta_service *first_half = first_half_of(listener, b);
	unsigned int index;
	const struct mta_service *open = find_open(listener, previous, taken, &index);

	b->asked[b->count] = listener->address;
	if (!open)
		return bind_one(listener, first_half, ret, err);
	taken[index] = true;
	*ret = *open;
	ret->kind = listener->kind;
	return 0;
}

/* inet_protocols is about "*"; an address that is written out is meant. */
static bool is_left_out(const struct config *config, const struct config_listener *listener,
			bool has_second_half)
{
	return (listener->is_second_half || has_second_half) &&
	       !net_protocols_have(config_protocols(config), listener->address.sa.sa_family);
}

int bind_services(const struct config *config, const struct bindings *previous, struct arena *arena,
		  struct bindings *ret, struct error *err)
{
	unsigned int count;
	const struct config_listener *listeners = config_listeners(config, &count);
	struct bindings b = { .services = arena_alloc(arena, count * sizeof(*b.services)),
			      .asked = arena_alloc(arena, count * sizeof(*b.asked)) };
	bool *taken = arena_alloc(arena, (previous ? previous->count : 0) + 1);

	memset(taken, 0, (previous ? previous->count : 0) + 1);
	for (unsigned int i = 0; i < count; i++) {
		bool has_second_half = i + 1 < count && listeners[i + 1].is_second_half;
		int r;

		if (is_left_out(config, &listeners[i], has_second_half))
			continue;
		r = open_one(&listeners[i], previous, taken, &b, err);
		if (r >= 0) {
			b.count++;
		} else if (!listeners[i].is_second_half || !is_family_missing(r)) {
			bind_close(&b, previous);
			error_prefix(err, "%s: listen: %s", config_source(config, CONFIG_LISTEN),
				     mta_service_name(listeners[i].kind));
			return r;
		}
	}
	*ret = b;
	return 0;
}

static bool has(const struct bindings *b, int fd)
{
	for (unsigned int i = 0; b && i < b->count; i++)
		if (b->services[i].fd == fd)
			return true;
	return false;
}

void bind_close(const struct bindings *bindings, const struct bindings *others)
{
	for (unsigned int i = 0; i < bindings->count; i++)
		if (!has(others, bindings->services[i].fd))
			close(bindings->services[i].fd);
}

bool bind_is_same(const struct bindings *a, const struct bindings *b)
{
	if (a->count != b->count)
		return false;
	for (unsigned int i = 0; i < a->count; i++)
		if (a->services[i].fd != b->services[i].fd ||
		    a->services[i].kind != b->services[i].kind)
			return false;
	return true;
}

void bind_format(struct buf *out, const struct bindings *bindings)
{
	char address[NET_ADDRESS_TEXT_SIZE];

	for (unsigned int i = 0; i < bindings->count; i++) {
		const struct mta_service *service = &bindings->services[i];

		buf_printf(out, "%s%s://%s", i ? "," : "", mta_service_name(service->kind),
			   net_address_text(&service->address, address));
	}
}
