/*
 * order - which address of a host to try first (RFC 6724 section 6)
 *
 * Of its rules these are kept: 1 (avoid unusable destinations), 5 (prefer a
 * matching label), 6 (prefer higher precedence) and 10 (leave the rest as it
 * is). 2, 3, 4, 7 and 8 are about scopes, deprecated and tunnelled addresses,
 * which don't decide between addresses that mail exchangers publish; 9 (longest
 * matching prefix) would undo the shuffling that DNS servers do to spread load.
 *
 * The kernel's choice of a source address is learnt by connecting a UDP
 * socket, which sends nothing.
 */
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "net/internal.h"

/* RFC 6724 section 2.1; the more specific ones first. IPv4 counts as IPv4-mapped. */
static const struct policy {
	unsigned char prefix[16];
	unsigned int bits;
	int precedence, label;
} policies[] = {
	{ { [15] = 1 }, 128, 50, 0 },	      /* ::1 */
	{ { [10] = 0xff, 0xff }, 96, 35, 4 }, /* IPv4 */
	{ { 0 }, 96, 1, 3 },		      /* IPv4-compatible, obsolete */
	{ { 0x20, 0x01, 0, 0 }, 32, 5, 5 },   /* Teredo */
	{ { 0x20, 0x02 }, 16, 30, 2 },	      /* 6to4 */
	{ { 0x3f, 0xfe }, 16, 1, 12 },	      /* 6bone, obsolete */
	{ { 0xfe, 0xc0 }, 10, 1, 11 },	      /* site-local, obsolete */
	{ { 0xfc }, 7, 3, 13 },		      /* unique local */
	{ { 0 }, 0, 40, 1 },
};

struct rank {
	bool is_usable, has_matching_label;
	int precedence;
};

static bool has_prefix(const unsigned char ip[16], const struct policy *p)
{
	unsigned int whole = p->bits / 8, rest = p->bits % 8;

	if (memcmp(ip, p->prefix, whole) != 0)
		return false;
	return rest == 0 || ((ip[whole] ^ p->prefix[whole]) >> (8 - rest)) == 0;
}

static const struct policy *policy_of(const struct net_address *a)
{
	unsigned char ip[16] = { [10] = 0xff, 0xff };
	const struct policy *p = policies;

	if (a->sa.sa_family == AF_INET)
		memcpy(ip + 12, &a->in.sin_addr, 4);
	else
		memcpy(ip, &a->in6.sin6_addr, 16);
	while (!has_prefix(ip, p))
		p++;
	return p;
}

static bool find_source(const struct net_address *destination, struct net_address *ret_source)
{
	CLEANUP(close_fdp) int fd = -1;
	struct net_address to = *destination;

	net_address_set_port(&to, 9); /* any but 0 */
	fd = socket(to.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, &to.sa, to.len) < 0)
		return false;
	ret_source->len = sizeof(ret_source->storage);
	return getsockname(fd, &ret_source->sa, &ret_source->len) == 0;
}

static struct rank rank_of(const struct net_address *a)
{
	const struct policy *policy = policy_of(a);
	struct rank rank = { .precedence = policy->precedence };
	struct net_address source;

	rank.is_usable = find_source(a, &source);
	rank.has_matching_label = rank.is_usable && policy_of(&source)->label == policy->label;
	return rank;
}

static bool is_better(const struct rank *a, const struct rank *b)
{
	if (a->is_usable != b->is_usable)
		return a->is_usable;
	if (a->has_matching_label != b->has_matching_label)
		return a->has_matching_label;
	return a->precedence > b->precedence;
}

static bool has_ipv6(const struct net_address *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (addresses[i].sa.sa_family == AF_INET6)
			return true;
	}
	return false;
}

void net_order_addresses(struct net_address *addresses, size_t count)
{
	CLEANUP(free_strp) char *memory = NULL;
	struct rank *ranks;

	/* IPv4 addresses are all alike to these rules, and the common case. */
	if (count < 2 || !has_ipv6(addresses, count))
		return;

	memory = net_new(count * sizeof(*ranks));
	ranks = (struct rank *)(void *)memory;
	for (size_t i = 0; i < count; i++) {
		struct net_address address = addresses[i];
		struct rank rank = rank_of(&address);
		size_t at = i;

		for (; at > 0 && is_better(&rank, &ranks[at - 1]); at--) {
			addresses[at] = addresses[at - 1];
			ranks[at] = ranks[at - 1];
		}
		addresses[at] = address;
		ranks[at] = rank;
	}
}
