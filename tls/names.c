/*
 * names - one walk over a certificate's names, with a different question each time
 *
 * The common name is put behind the alternative names as if it were one more
 * DNS name, if there is none of these.
 */
#include "tls/names.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "base/escape.h"
#include "tls/dane.h"

const char *tls_host_bare(const char *nexthop, struct arena *arena)
{
	struct slice host = slice_from(nexthop);

	if (host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']')
		host = slice_of(host.ptr + 1, host.len - 2);
	if (host.len > 1 && host.ptr[host.len - 1] == '.')
		host.len--;
	return arena_slicedup(arena, host);
}

/* Returns the length of the address, or 0. */
static size_t parse_address(const char *text, unsigned char address[16])
{
	if (inet_pton(AF_INET, text, address) == 1)
		return 4;
	return inet_pton(AF_INET6, text, address) == 1 ? 16 : 0;
}

bool tls_host_is_address(const char *host)
{
	unsigned char address[16];

	return parse_address(host, address) > 0;
}

/* Both bare. */
struct peer {
	const char *nexthop, *hostname;
};

static const char *resolve(const char *match, const struct peer *peer, struct arena *arena)
{
	if (strcasecmp(match, "nexthop") == 0)
		return peer->nexthop;
	if (strcasecmp(match, "hostname") == 0)
		return peer->hostname;
	if (strcasecmp(match, "dot-nexthop") == 0)
		return arena_printf(arena, ".%s", peer->nexthop);
	return arena_strdup(arena, match);
}

static void want(struct tls_names *names, const char *name)
{
	for (unsigned int i = 0; i < names->count; i++) {
		if (strcasecmp(names->wanted[i], name) == 0)
			return;
	}
	names->wanted[names->count++] = name;
}

/*
 * Postfix's smtp_tls_verify_cert_match and smtp_tls_secure_cert_match: the
 * latter does not believe what DNS says of mail exchangers. DANE does, as that
 * was signed (RFC 7672 section 3.2.2). No address has a subdomain.
 */
static void want_defaults(struct tls_names *names, const struct tls_policy *policy,
			  const struct peer *peer)
{
	if (policy->level == TLS_LEVEL_SECURE) {
		want(names, peer->nexthop);
		if (!tls_host_is_address(peer->nexthop))
			want(names, resolve("dot-nexthop", peer, &names->arena));
		return;
	}
	want(names, peer->hostname);
	if (policy->dane) {
		want(names, policy->dane->base);
		want(names, peer->nexthop);
	}
}

void tls_names_init(struct tls_names *names, const struct tls_policy *policy, const char *nexthop,
		    const char *hostname)
{
	struct peer peer;

	*names = (struct tls_names){ 0 };
	peer.nexthop = tls_host_bare(nexthop, &names->arena);
	peer.hostname = hostname ? tls_host_bare(hostname, &names->arena) : peer.nexthop;
	names->wanted =
		arena_alloc(&names->arena, (policy->match_count + 3) * sizeof(*names->wanted));
	if (policy->match_count == 0 || policy->dane)
		want_defaults(names, policy, &peer);
	for (unsigned int i = 0; i < policy->match_count && !policy->dane; i++)
		names->wanted[names->count++] = resolve(policy->match[i], &peer, &names->arena);
}

void tls_names_done(struct tls_names *names)
{
	arena_done(&names->arena);
	*names = (struct tls_names){ 0 };
}

static bool is_below(struct slice name, struct slice parent)
{
	size_t dot;

	if (name.len <= parent.len + 1)
		return false;
	dot = name.len - parent.len - 1;
	return name.ptr[dot] == '.' && slice_equal_nocase(slice_skip(name, dot + 1), parent);
}

/* A wildcard is the whole first label, and stands for exactly one (RFC 9525 section 6.3). */
static bool wildcard_covers(struct slice name, struct slice host)
{
	size_t dot = slice_find(host, '.');

	return name.len > 2 && name.ptr[0] == '*' && name.ptr[1] == '.' && dot > 0 &&
	       dot < host.len && slice_equal_nocase(slice_skip(name, 1), slice_skip(host, dot));
}

static bool dns_matches(const char *wanted, struct slice name)
{
	struct slice host = slice_from(wanted);

	if (host.len > 1 && host.ptr[0] == '.')
		return is_below(name, slice_skip(host, 1));
	return slice_equal_nocase(name, host) || wildcard_covers(name, host);
}

static bool name_matches(const char *wanted, const struct certs_name *name)
{
	unsigned char address[16];
	size_t len = parse_address(wanted, address);

	if (name->type == CERTS_NAME_DNS)
		return len == 0 && dns_matches(wanted, name->text);
	return len == name->text.len && memcmp(address, name->text.ptr, len) == 0;
}

static bool is_wanted(const struct tls_names *names, const struct certs_name *name)
{
	for (unsigned int i = 0; i < names->count; i++) {
		if (name_matches(names->wanted[i], name))
			return true;
	}
	return false;
}

struct walk {
	const struct certs_certificate *leaf;
	struct slice cursor;
	bool has_dns, is_over;
};

static bool next_name(struct walk *walk, struct certs_name *ret_name)
{
	if (certs_next_name(&walk->cursor, ret_name)) {
		walk->has_dns |= ret_name->type == CERTS_NAME_DNS;
		return true;
	}
	if (walk->has_dns || walk->is_over)
		return false;
	walk->is_over = true;
	ret_name->type = CERTS_NAME_DNS;
	return certs_common_name(walk->leaf->subject, &ret_name->text) && ret_name->text.len > 0;
}

static struct walk walk_start(const struct certs_certificate *leaf)
{
	return (struct walk){ .leaf = leaf, .cursor = leaf->alt_names };
}

static void show_name(const struct certs_name *name, char *out, size_t size)
{
	if (name->type == CERTS_NAME_DNS)
		escape_cstr(name->text, out, size);
	else if (!inet_ntop(name->text.len == 4 ? AF_INET : AF_INET6, name->text.ptr, out,
			    (socklen_t)size))
		out[0] = '\0';
}

bool tls_names_accept(const struct tls_names *names, const struct certs_certificate *leaf,
		      char *ret_name, size_t size)
{
	struct walk walk = walk_start(leaf);
	struct certs_name name;

	while (next_name(&walk, &name)) {
		if (is_wanted(names, &name)) {
			show_name(&name, ret_name, size);
			return true;
		}
	}
	return false;
}

void tls_names_first(const struct certs_certificate *leaf, char *out, size_t size)
{
	struct walk walk = walk_start(leaf);
	struct certs_name name;

	out[0] = '\0';
	if (next_name(&walk, &name))
		show_name(&name, out, size);
}

void tls_names_mismatch(const struct tls_names *names, const struct certs_certificate *leaf,
			char *out, size_t size)
{
	struct walk walk = walk_start(leaf);
	struct buf text = { 0 };
	struct certs_name name;
	unsigned int count = 0;
	char shown[80];

	buf_append_string(&text, names->count == 1 ? "certificate is not for the name "
						   : "certificate is for none of the names ");
	for (unsigned int i = 0; i < names->count; i++)
		buf_printf(&text, "%s%s", i > 0 ? ", " : "", names->wanted[i]);
	while (buf_len(&text) < size && next_name(&walk, &name)) {
		show_name(&name, shown, sizeof(shown));
		buf_printf(&text, "%s%s", count++ > 0 ? ", " : " (it names: ", shown);
	}
	buf_append_string(&text, count > 0 ? ")" : " (it names nobody)");
	escape_cstr(buf_slice(&text), out, size);
	buf_done(&text);
}
