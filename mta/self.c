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

bool self_answers_at(const struct self *self, const struct net_address *address)
{
	for (unsigned int i = 0; i < self->service_count; i++) {
		const struct net_address *ours = &self->services[i].address;

		if (net_address_equal(ours, address))
			return true;
		if (net_address_is_any(ours) && ours->sa.sa_family == address->sa.sa_family &&
		    net_address_port(ours) == net_address_port(address) &&
		    net_address_is_of_this_host(address))
			return true;
	}
	return false;
}
