/*
 * address - parsing and printing by inet_pton() and inet_ntop()
 *
 * A peer that comes over IPv4 to a socket of both families shows as
 * ::ffff:192.0.2.1. It is printed and compared as 192.0.2.1, so that logs and
 * mynetworks don't depend on how the socket was opened.
 */
#include "net/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "base/parse.h"

bool net_protocols_have(enum net_protocols protocols, int family)
{
	return protocols == NET_PROTOCOLS_ALL ||
	       family == (protocols == NET_PROTOCOLS_IPV4 ? AF_INET : AF_INET6);
}

bool net_address_parse_ip(struct slice ip, uint16_t port, struct net_address *ret)
{
	struct net_address a = { 0 };
	char text[INET6_ADDRSTRLEN];

	if (!slice_copy(ip, text, sizeof(text)))
		return false;

	if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		a.len = sizeof(a.in);
	} else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		a.len = sizeof(a.in6);
	} else {
		return false;
	}
	net_address_set_port(&a, port);
	*ret = a;
	return true;
}

/* Splits "[IP]REST"; false when the bracket is not closed. */
static bool split_brackets(struct slice text, struct slice *ret_ip, struct slice *ret_rest)
{
	size_t end = slice_find(text, ']');

	if (end == text.len)
		return false;
	*ret_ip = slice_of(text.ptr + 1, end - 1);
	*ret_rest = slice_skip(text, end + 1);
	return true;
}

bool net_address_parse(struct slice text, struct net_address *ret)
{
	bool is_bracketed = text.len > 0 && text.ptr[0] == '[';
	struct net_address a;
	struct slice ip, rest;
	uint64_t port;

	if (is_bracketed) {
		if (!split_brackets(text, &ip, &rest))
			return false;
	} else {
		ip = slice_first(text, slice_find(text, ':'));
		rest = slice_skip(text, ip.len);
	}
	if (rest.len == 0 || rest.ptr[0] != ':' || !parse_uint(slice_skip(rest, 1), 65535, &port))
		return false;
	if (!net_address_parse_ip(ip, (uint16_t)port, &a))
		return false;
	if (is_bracketed != (a.sa.sa_family == AF_INET6))
		return false;
	*ret = a;
	return true;
}

/* The bytes of the IP, of an IPv4-mapped one those of its IPv4 address. */
static struct slice ip_bytes(const struct net_address *a)
{
	const char *bytes;

	if (a->sa.sa_family == AF_INET)
		return slice_of((const char *)&a->in.sin_addr, 4);
	if (a->sa.sa_family != AF_INET6)
		return slice_of(NULL, 0);

	bytes = (const char *)&a->in6.sin6_addr;
	if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		return slice_of(bytes + 12, 4);
	return slice_of(bytes, 16);
}

const char *net_address_ip(const struct net_address *a, char out[NET_ADDRESS_TEXT_SIZE])
{
	struct slice ip = ip_bytes(a);

	out[0] = '\0';
	if (ip.len > 0)
		inet_ntop(ip.len == 4 ? AF_INET : AF_INET6, ip.ptr, out, NET_ADDRESS_TEXT_SIZE);
	return out;
}

const char *net_address_network(const struct net_address *a, unsigned int ipv4_bits,
				unsigned int ipv6_bits, char out[NET_ADDRESS_TEXT_SIZE])
{
	struct slice ip = ip_bytes(a);
	unsigned int bits = MIN(ip.len == 4 ? ipv4_bits : ipv6_bits, (unsigned int)ip.len * 8);
	unsigned char base[16] = { 0 };
	size_t len;

	out[0] = '\0';
	if (ip.len == 0)
		return out;
	memcpy(base, ip.ptr, (bits + 7) / 8);
	if (bits % 8)
		base[bits / 8] &= (unsigned char)(0xff << (8 - bits % 8));
	inet_ntop(ip.len == 4 ? AF_INET : AF_INET6, base, out, NET_ADDRESS_TEXT_SIZE);
	len = strlen(out);
	if (bits < ip.len * 8)
		snprintf(out + len, NET_ADDRESS_TEXT_SIZE - len, "/%u", bits);
	return out;
}

const char *net_address_text(const struct net_address *a, char out[NET_ADDRESS_TEXT_SIZE])
{
	struct slice bytes = ip_bytes(a);
	char ip[NET_ADDRESS_TEXT_SIZE];

	out[0] = '\0';
	if (bytes.len > 0)
		snprintf(out, NET_ADDRESS_TEXT_SIZE, bytes.len == 4 ? "%.48s:%u" : "[%.48s]:%u",
			 net_address_ip(a, ip), net_address_port(a));
	return out;
}

bool net_address_equal(const struct net_address *a, const struct net_address *b)
{
	if (a->sa.sa_family != b->sa.sa_family || net_address_port(a) != net_address_port(b))
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0 &&
	       a->in6.sin6_scope_id == b->in6.sin6_scope_id;
}

uint16_t net_address_port(const struct net_address *a)
{
	if (a->sa.sa_family == AF_INET)
		return ntohs(a->in.sin_port);
	if (a->sa.sa_family == AF_INET6)
		return ntohs(a->in6.sin6_port);
	return 0;
}

void net_address_set_port(struct net_address *a, uint16_t port)
{
	if (a->sa.sa_family == AF_INET)
		a->in.sin_port = htons(port);
	else if (a->sa.sa_family == AF_INET6)
		a->in6.sin6_port = htons(port);
}

bool net_address_is_loopback(const struct net_address *a)
{
	struct slice ip = ip_bytes(a);

	if (ip.len == 4)
		return (unsigned char)ip.ptr[0] == 127;
	return ip.len == 16 && IN6_IS_ADDR_LOOPBACK(&a->in6.sin6_addr);
}

bool net_address_is_any(const struct net_address *a)
{
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == htonl(INADDR_ANY);
	return a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&a->in6.sin6_addr);
}

static bool is_same_ip(const struct sockaddr *sa, const struct net_address *a)
{
	if (!sa || sa->sa_family != a->sa.sa_family)
		return false;
	if (sa->sa_family == AF_INET)
		return ((const struct sockaddr_in *)(const void *)sa)->sin_addr.s_addr ==
		       a->in.sin_addr.s_addr;
	return sa->sa_family == AF_INET6 &&
	       memcmp(&((const struct sockaddr_in6 *)(const void *)sa)->sin6_addr,
		      &a->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

bool net_address_is_of_this_host(const struct net_address *a)
{
	struct ifaddrs *list;
	bool found = false;

	if (net_address_is_loopback(a))
		return true;
	if (getifaddrs(&list) < 0)
		return false;
	for (const struct ifaddrs *item = list; item && !found; item = item->ifa_next)
		found = is_same_ip(item->ifa_addr, a);
	freeifaddrs(list);
	return found;
}

/* Bytes of ip with all bits behind the first bits cleared; returns whether any was set. */
static bool mask_ip(unsigned char *ip, size_t len, unsigned int bits)
{
	bool was_set = false;

	for (size_t i = 0; i < len; i++) {
		unsigned int keep = MIN(8, bits - MIN(bits, i * 8));
		unsigned char mask = (unsigned char)(0xff00u >> keep);

		was_set |= (ip[i] & ~mask) != 0;
		ip[i] &= mask;
	}
	return was_set;
}

/* The base of a network in text as bytes of its own, IPv4-mapped ones untouched. */
static unsigned char *base_bytes(struct net_address *a, size_t *ret_len)
{
	if (a->sa.sa_family == AF_INET) {
		*ret_len = 4;
		return (unsigned char *)&a->in.sin_addr;
	}
	*ret_len = 16;
	return a->in6.sin6_addr.s6_addr;
}

int net_prefix_parse(struct slice text, struct net_prefix *ret, struct error *err)
{
	struct net_prefix prefix = { 0 };
	int shown = (int)MIN(text.len, 80);
	char ip_text[NET_ADDRESS_TEXT_SIZE];
	struct slice ip, rest;
	uint64_t bits;
	size_t len;
	unsigned char *bytes;

	if (text.len > 0 && text.ptr[0] == '[') {
		if (!split_brackets(text, &ip, &rest))
			return error_set(err, -EINVAL, "\"%.*s\": ']' is missing", shown, text.ptr);
	} else {
		ip = slice_first(text, slice_find(text, '/'));
		rest = slice_skip(text, ip.len);
	}
	if (!net_address_parse_ip(ip, 0, &prefix.base))
		return error_set(err, -EINVAL,
				 "\"%.*s\": not a network; expected an address such as 192.0.2.1, "
				 "192.0.2.0/24 or [2001:db8::]/32",
				 shown, text.ptr);

	bytes = base_bytes(&prefix.base, &len);
	bits = len * 8;
	if (rest.len > 0 &&
	    (rest.ptr[0] != '/' || !parse_uint(slice_skip(rest, 1), len * 8, &bits)))
		return error_set(err, -EINVAL, "\"%.*s\": bad prefix length; expected /0 to /%zu",
				 shown, text.ptr, len * 8);
	prefix.bits = (unsigned int)bits;

	if (mask_ip(bytes, len, prefix.bits))
		return error_set(err, -EINVAL,
				 "\"%.*s\": address bits are set behind the prefix length; perhaps "
				 "%s%s%s/%u is meant",
				 shown, text.ptr, len == 16 ? "[" : "",
				 net_address_ip(&prefix.base, ip_text), len == 16 ? "]" : "",
				 prefix.bits);
	*ret = prefix;
	return 0;
}

bool net_prefix_contains(const struct net_prefix *prefix, const struct net_address *a)
{
	struct slice base = ip_bytes(&prefix->base), ip = ip_bytes(a);
	unsigned int bits = prefix->bits, whole, rest;

	/* [::ffff:192.0.2.0]/120 is 192.0.2.0/24. A shorter one than /96 has no such base. */
	if (prefix->base.sa.sa_family == AF_INET6 && base.len == 4)
		bits -= MIN(bits, 96);
	if (base.len != ip.len || base.len == 0)
		return false;

	whole = bits / 8;
	rest = bits % 8;
	if (memcmp(base.ptr, ip.ptr, whole) != 0)
		return false;
	if (rest == 0)
		return true;
	return (((unsigned char)base.ptr[whole] ^ (unsigned char)ip.ptr[whole]) >> (8 - rest)) == 0;
}
