/*
 * Listeners on all addresses answer on those of the interfaces, which are
 * asked of the kernel each time: they change, and it takes microseconds.
 */
#include "mta/self.h"

#include <string.h>
#include <strings.h>

struct self self_of(const struct mta_options *options)
{
	return (struct self){
		.hostname = options->hostname,
		.services = options->services,
		.service_count = options->service_count,
	};
}

bool self_has_name(const struct self *self, const char *name)
{
	size_t len = strlen(name);

	if (len > 0 && name[len - 1] == '.')
		len--;
	return self->hostname && strlen(self->hostname) == len &&
	       strncasecmp(self->hostname, name, len) == 0;
}

/*
 * Where the kernel would connect to: IPv4 that is written as IPv6 is IPv4, and
 * 0.0.0.0 and :: are this host. Both are found in DNS.
 */
static struct net_address destination_of(const struct net_address *address)
{
	struct net_address to = *address;
	char ip[NET_ADDRESS_TEXT_SIZE];

	net_address_parse_ip(slice_from(net_address_ip(address, ip)), net_address_port(address),
			     &to);
	if (net_address_is_any(&to))
		net_address_parse_ip(to.sa.sa_family == AF_INET ? SLICE("127.0.0.1") : SLICE("::1"),
				     net_address_port(address), &to);
	return to;
}

bool self_answers_at(const struct self *self, const struct net_address *address)
{
	const struct net_address to = destination_of(address);

	for (unsigned int i = 0; i < self->service_count; i++) {
		const struct net_address *ours = &self->services[i].address;

		if (net_address_equal(ours, &to))
			return true;
		if (net_address_is_any(ours) && ours->sa.sa_family == to.sa.sa_family &&
		    net_address_port(ours) == net_address_port(&to) &&
		    net_address_is_of_this_host(&to))
			return true;
	}
	return false;
}
