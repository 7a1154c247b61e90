/*
 * "*" comes as two listeners. Its IPv6 half may fail where there is no IPv6,
 * and when the port is a free one it tries to have that of the IPv4 half.
 */
#include "cli/bind.h"

#include <errno.h>
#include <unistd.h>

#include "net/listener.h"

static int bind_one(const struct config_listener *listener, const struct mta_service *first_half,
		    struct mta_service *ret, struct error *err)
{
	struct net_address address = listener->address;
	int fd = -EADDRINUSE;

	if (listener->is_second_half && net_address_port(&address) == 0 && first_half) {
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

int bind_services(const struct config *config, struct arena *arena,
		  struct mta_service **ret_services, unsigned int *ret_count, struct error *err)
{
	unsigned int count, bound = 0;
	const struct config_listener *listeners = config_listeners(config, &count);
	struct mta_service *services = arena_alloc(arena, count * sizeof(*services));

	for (unsigned int i = 0; i < count; i++) {
		int r = bind_one(&listeners[i], bound ? &services[bound - 1] : NULL,
				 &services[bound], err);

		if (r >= 0) {
			bound++;
		} else if (!listeners[i].is_second_half || !is_family_missing(r)) {
			bind_close(services, bound);
			error_prefix(err, "%s: listen: %s", config_source(config, CONFIG_LISTEN),
				     mta_service_name(listeners[i].kind));
			return r;
		}
	}
	*ret_services = services;
	*ret_count = bound;
	return 0;
}

void bind_close(const struct mta_service *services, unsigned int count)
{
	for (unsigned int i = 0; i < count; i++)
		close(services[i].fd);
}

void bind_format(struct buf *out, const struct mta_service *services, unsigned int count)
{
	char address[NET_ADDRESS_TEXT_SIZE];

	for (unsigned int i = 0; i < count; i++)
		buf_printf(out, "%s%s://%s", i ? "," : "", mta_service_name(services[i].kind),
			   net_address_text(&services[i].address, address));
}
