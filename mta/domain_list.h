/* domain_list - lists of domains, asked in both spellings of a domain (smtp/domain.h) */
#pragma once

#include "maps/map.h"

/* MAP_FOUND, MAP_NOT_FOUND, or an error. */
int domain_list_has(struct domains *list, struct slice domain, struct error *err);
