/* address - an IP address and port */
#pragma once

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/error.h"
#include "base/slice.h"

struct net_address {
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_storage storage;
	};
	socklen_t len; /* 0: none */
};

#define NET_ADDRESS_TEXT_SIZE 64

/* inet_protocols */
enum net_protocols {
	NET_PROTOCOLS_ALL,
	NET_PROTOCOLS_IPV4,
	NET_PROTOCOLS_IPV6,
};

bool net_protocols_have(enum net_protocols protocols, int family);

/* "192.0.2.1" or "2001:db8::1", without brackets. False when ip is no address. */
bool net_address_parse_ip(struct slice ip, uint16_t port, struct net_address *ret);

/* "192.0.2.1:25" or "[2001:db8::1]:25". */
bool net_address_parse(struct slice text, struct net_address *ret);

/* The IP alone, IPv4-mapped addresses as IPv4; returns out. */
const char *net_address_ip(const struct net_address *a, char out[NET_ADDRESS_TEXT_SIZE]);

/* With port, brackets around IPv6; returns out. */
const char *net_address_text(const struct net_address *a, char out[NET_ADDRESS_TEXT_SIZE]);

/*
 * The network of so many bits that an address is in: "192.0.2.0/24",
 * "2001:db8::/64", or the address alone where it is all bits. Returns out.
 */
const char *net_address_network(const struct net_address *a, unsigned int ipv4_bits,
				unsigned int ipv6_bits, char out[NET_ADDRESS_TEXT_SIZE]);

uint16_t net_address_port(const struct net_address *a);
void net_address_set_port(struct net_address *a, uint16_t port);
bool net_address_equal(const struct net_address *a, const struct net_address *b); /* port too */
bool net_address_is_loopback(const struct net_address *a);
bool net_address_is_any(const struct net_address *a); /* 0.0.0.0, :: */

/* Whether an interface of this host has it now, or it is loopback. The port does not matter. */
bool net_address_is_of_this_host(const struct net_address *a);

/* One network of mynetworks: "127.0.0.0/8", "[::1]/128", "192.0.2.1". */
struct net_prefix {
	struct net_address base;
	unsigned int bits;
};

/* Bits set behind the prefix length are an error, as in Postfix: "192.0.2.1/24" is a slip. */
int net_prefix_parse(struct slice text, struct net_prefix *ret, struct error *err);
bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *a);
