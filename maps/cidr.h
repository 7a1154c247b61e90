/*
 * cidr - the patterns of a cidr: map: "192.0.2.0/24", "2001:db8::/32", "[::1]", "192.0.2.1"
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct cidr {
	int family; /* AF_INET, AF_INET6 */
	unsigned char bytes[16];
	unsigned int bits;
};

/* The word is one pattern; bits behind the prefix must be zero. */
int cidr_parse(struct slice word, struct cidr *ret, struct error *err);

/* An address alone, without brackets. False: it is none. */
bool cidr_parse_address(const char *text, struct cidr *ret);

/* Whether the address is in the network; both are of one family. */
bool cidr_contains(const struct cidr *network, const struct cidr *address);
