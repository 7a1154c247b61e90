/* cidr - inet_pton(3) and a comparison of bits */
#include "maps/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/parse.h"

#define EXPECTED "expected an address, as 192.0.2.1 or 2001:db8::1, or a network, as 192.0.2.0/24"

static unsigned int bits_of(int family)
{
	return family == AF_INET6 ? 128 : 32;
}

bool cidr_parse_address(const char *text, struct cidr *ret)
{
	*ret = (struct cidr){ .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	ret->bits = bits_of(ret->family);
	return inet_pton(ret->family, text, ret->bytes) == 1;
}

/* Clears what is behind the prefix; returns whether that changed anything. */
static bool clear_host(struct cidr *network)
{
	bool changed = false;

	for (unsigned int bit = network->bits; bit < bits_of(network->family); bit++) {
		unsigned char mask = (unsigned char)(0x80 >> bit % 8);

		changed |= network->bytes[bit / 8] & mask;
		network->bytes[bit / 8] &= (unsigned char)~mask;
	}
	return changed;
}

/* "[address]/bits" and "[address/bits]" become "address/bits". */
static bool remove_brackets(struct slice word, char *out, size_t out_size)
{
	size_t close = slice_find(word, ']');
	struct slice behind = slice_skip(word, close + 1);

	if (word.len == 0 || word.ptr[0] != '[')
		return slice_copy(word, out, out_size);
	if (close == word.len || (behind.len && behind.ptr[0] != '/') ||
	    slice_find(word, '\0') != word.len || word.len > out_size)
		return false;
	snprintf(out, out_size, "%.*s%.*s", (int)close - 1, word.ptr + 1, (int)behind.len,
		 behind.len ? behind.ptr : "");
	return true;
}

int cidr_parse(struct slice word, struct cidr *ret, struct error *err)
{
	char text[80], shown[80], proper[INET6_ADDRSTRLEN];
	uint64_t bits;
	char *slash;

	escape_cstr(word, shown, sizeof(shown));
	if (!remove_brackets(word, text, sizeof(text)))
		return error_set(err, -EINVAL, "\"%s\": " EXPECTED, shown);
	slash = strchr(text, '/');
	if (slash)
		*slash = '\0';
	if (!cidr_parse_address(text, ret))
		return error_set(err, -EINVAL, "\"%s\": " EXPECTED, shown);
	if (!slash)
		return 0;
	if (!parse_uint(slice_from(slash + 1), bits_of(ret->family), &bits))
		return error_set(err, -EINVAL, "\"%s\": expected a prefix length of 0 to %u", shown,
				 bits_of(ret->family));
	ret->bits = (unsigned int)bits;
	if (!clear_host(ret))
		return 0;
	inet_ntop(ret->family, ret->bytes, proper, sizeof(proper));
	return error_set(err, -EINVAL, "\"%s\" has bits behind its prefix; the network is %s/%u",
			 shown, proper, ret->bits);
}

bool cidr_contains(const struct cidr *network, const struct cidr *address)
{
	unsigned int whole = network->bits / 8, left = network->bits % 8;

	if (memcmp(network->bytes, address->bytes, whole) != 0)
		return false;
	return left == 0 ||
	       ((network->bytes[whole] ^ address->bytes[whole]) & (0xff00 >> left) & 0xff) == 0;
}
