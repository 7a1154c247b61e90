/* networks - what stands in the list itself comes first, as it cannot fail */
#include "mta/networks.h"

int networks_have(const struct networks *networks, const struct net_address *address,
		  struct error *err)
{
	struct arena arena = { 0 };
	struct map_result result;
	char ip[NET_ADDRESS_TEXT_SIZE];
	int r;

	for (unsigned int i = 0; i < networks->count; i++)
		if (net_prefix_contains(&networks->prefixes[i], address))
			return MAP_FOUND;
	if (!networks->maps || address->len == 0) /* who asks from nowhere is in no network */
		return MAP_NOT_FOUND;
	r = maps_lookup(networks->maps, slice_from(net_address_ip(address, ip)), &arena, &result,
			err);
	arena_done(&arena);
	return r;
}
