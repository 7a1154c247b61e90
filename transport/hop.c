/*
 * hop - one next hop: where brackets, colons and addresses meet
 *
 * As in Postfix's smtp(8), brackets or an address mean that there is no MX to
 * look for. Unlike there, an IPv6 address must stand in brackets: in
 * "2001:db8::1:25" nobody can tell whether 25 is a port.
 *
 * Next hops of lmtp: have a kind in front, as in Postfix's lmtp(8), and no MX;
 * the path of a socket is then all that follows, so it has no comma or blank.
 */
#include <arpa/inet.h>
#include <errno.h>

#include "base/escape.h"
#include "base/macros.h"
#include "base/nearest.h"
#include "base/parse.h"
#include "smtp/domain.h"
#include "transport/internal.h"

#define HOST_MAX  253 /* RFC 1035 section 2.3.4, written with dots */
#define LABEL_MAX 63

/* Not from /etc/services: a port must not depend on the machine. */
static const struct {
	const char *name;
	uint16_t port;
} services[] = {
	{ "smtp", 25 },	  { "lmtp", 24 },	  { "submission", 587 },
	{ "smtps", 465 }, { "submissions", 465 },
};

/* What is being parsed, for errors. */
struct hop_text {
	char shown[128];
	struct error *err;
};

static int parse_port(struct slice s, uint16_t *ret, const struct hop_text *text)
{
	const char *names[ARRAY_SIZE(services)], *near;
	uint64_t number = 0;
	char name[32];

	if (parse_uint(s, UINT16_MAX, &number) && number > 0) {
		*ret = (uint16_t)number;
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
		names[i] = services[i].name;
		if (slice_equal_nocase(s, slice_from(names[i]))) {
			*ret = services[i].port;
			return 0;
		}
	}
	escape_cstr(s, name, sizeof(name));
	near = nearest_name(name, names, ARRAY_SIZE(names));
	if (near)
		return error_set(text->err, -EINVAL, "%s: unknown service \"%s\"; did you mean %s?",
				 text->shown, name, near);
	return error_set(text->err, -EINVAL,
			 "%s: bad port \"%s\"; expected 1 to 65535, smtp, lmtp, submission, smtps "
			 "or submissions",
			 text->shown, name);
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_host_char(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || c == '-' || c == '_';
}

/* Labels of letters, digits, '-' and '_'; folded already. */
static bool is_host_name(const char *s)
{
	size_t label = 0, n;

	for (n = 0; s[n]; n++) {
		if (s[n] == '.' && (label == 0 || s[n + 1] == '\0'))
			return false;
		if (s[n] != '.' && !is_host_char(s[n]))
			return false;
		label = s[n] == '.' ? 0 : label + 1;
		if (label > LABEL_MAX)
			return false;
	}
	return n > 0 && n <= HOST_MAX;
}

/* No top-level domain is a number (RFC 3696 section 2), so this means an address. */
static bool ends_in_number(const char *s)
{
	const char *dot = strrchr(s, '.');

	for (s = dot ? dot + 1 : s; is_digit(*s); s++)
		;
	return *s == '\0';
}

/* A name or an IPv4 address. */
static int parse_host(struct slice s, struct arena *arena, struct transport_hop *ret,
		      const struct hop_text *text)
{
	unsigned char binary[sizeof(struct in6_addr)];
	char *host = smtp_domain_ascii(arena, s);
	size_t len = host ? strlen(host) : 0;

	if (len > 1 && host[len - 1] == '.')
		host[len - 1] = '\0';
	ret->host = host;
	if (memchr(s.ptr, '\0', s.len) || !host || !is_host_name(host))
		return error_set(text->err, -EINVAL, "%s: not a host name", text->shown);
	if (!ends_in_number(host))
		return 0;
	ret->mx = false;
	if (inet_pton(AF_INET, host, binary) != 1)
		return error_set(text->err, -EINVAL, "%s: not an IPv4 address", text->shown);
	return 0;
}

static bool parse_ipv6(struct slice s, struct arena *arena, struct transport_hop *ret)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr binary;

	if (!slice_copy(s, text, sizeof(text)) || inet_pton(AF_INET6, text, &binary) != 1)
		return false;
	inet_ntop(AF_INET6, &binary, text, sizeof(text));
	ret->host = arena_strdup(arena, text);
	ret->mx = false;
	return true;
}

/* "[host]" or "[host]:port"; *ret_port is what follows the colon. */
static int parse_bracketed(struct slice s, struct arena *arena, struct transport_hop *ret,
			   struct slice *ret_port, const struct hop_text *text)
{
	size_t close = slice_find(s, ']');
	struct slice host, rest;

	if (close == s.len)
		return error_set(text->err, -EINVAL, "%s: missing ']'", text->shown);
	host = slice_skip(slice_first(s, close), 1);
	rest = slice_skip(s, close + 1);
	if (rest.len && rest.ptr[0] != ':')
		return error_set(text->err, -EINVAL, "%s: expected [host]:port", text->shown);
	*ret_port = slice_skip(rest, 1);
	ret->mx = false;

	/* As an address literal has it, RFC 5321 section 4.1.3. */
	if (slice_starts_nocase(host, SLICE("IPv6:")))
		host = slice_skip(host, 5);
	else if (slice_find(host, ':') == host.len)
		return parse_host(host, arena, ret, text);
	if (!parse_ipv6(host, arena, ret))
		return error_set(text->err, -EINVAL, "%s: not an IPv6 address", text->shown);
	return 0;
}

/* "host" or "host:port" */
static int parse_bare(struct slice s, struct arena *arena, struct transport_hop *ret,
		      struct slice *ret_port, const struct hop_text *text)
{
	size_t colon = slice_find(s, ':');

	*ret_port = slice_skip(s, colon + 1);
	if (parse_ipv6(s, arena, ret))
		return error_set(text->err, -EINVAL,
				 "%s: an IPv6 address needs brackets: [%s] or [%s]:port",
				 text->shown, text->shown, text->shown);
	if (slice_find(*ret_port, ':') != ret_port->len)
		return error_set(
			text->err, -EINVAL,
			"%s: more than one colon; expected host:port or [IPv6 address]:port",
			text->shown);
	if (colon == 0)
		return error_set(text->err, -EINVAL, "%s: no host in front of the port",
				 text->shown);
	ret->mx = true;
	return parse_host(slice_first(s, colon), arena, ret, text);
}

bool hop_text_is_unix(struct slice s)
{
	return slice_equal(slice_first(s, 5), SLICE("unix:"));
}

int hop_parse(struct slice s, uint16_t default_port, struct arena *arena, struct transport_hop *ret,
	      struct error *err)
{
	struct hop_text text = { .err = err };
	struct transport_hop hop = { .port = default_port };
	struct slice port = { 0 };
	int r;

	escape_cstr(s, text.shown, sizeof(text.shown));
	if (hop_text_is_unix(s) && slice_find(s, '/') < s.len)
		return error_set(err, -EINVAL, "%s: a UNIX socket is reached by lmtp: alone",
				 text.shown);
	r = s.len && s.ptr[0] == '[' ? parse_bracketed(s, arena, &hop, &port, &text)
				     : parse_bare(s, arena, &hop, &port, &text);
	if (r >= 0 && port.len)
		r = parse_port(port, &hop.port, &text);
	if (r < 0)
		return r;
	hop.text = arena_printf(arena, hop.mx ? "%s:%u" : "[%s]:%u", hop.host, hop.port);
	*ret = hop;
	return 0;
}

bool hop_is_address(const struct transport_hop *hop)
{
	unsigned char binary[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, hop->host, binary) == 1 ||
	       inet_pton(AF_INET6, hop->host, binary) == 1;
}

/* Whose path is relative is found where the queue is, as with Postfix. */
static int parse_socket(struct slice path, const char *directory, struct arena *arena,
			struct transport_hop *ret, const struct hop_text *text)
{
	const char *copy = arena_slicedup(arena, path);

	if (path.len == 0)
		return error_set(text->err, -EINVAL, "%s: no path behind unix:", text->shown);
	for (size_t i = 0; i < path.len; i++)
		if ((unsigned char)path.ptr[i] < ' ' || path.ptr[i] == 127)
			return error_set(text->err, -EINVAL, "%s: a control character in a path",
					 text->shown);
	if (copy[0] != '/' && !directory)
		return error_set(text->err, -EINVAL, "%s: expected a path from the root",
				 text->shown);
	ret->path = copy[0] == '/' ? copy : arena_printf(arena, "%s/%s", directory, copy);
	ret->text = ret->host = arena_printf(arena, "unix:%s", ret->path);
	return 0;
}

int hop_parse_lmtp(struct slice s, const struct transport_options *options, struct arena *arena,
		   struct transport_hop *ret, struct error *err)
{
	struct hop_text text = { .err = err };
	struct transport_hop hop = { 0 };
	int r;

	escape_cstr(s, text.shown, sizeof(text.shown));
	if (s.len && s.ptr[0] == '/')
		return error_set(err, -EINVAL, "%s: a UNIX socket is written unix:%s", text.shown,
				 text.shown);
	if (hop_text_is_unix(s)) {
		r = parse_socket(slice_skip(s, 5), options->socket_directory, arena, &hop, &text);
	} else {
		if (slice_equal(slice_first(s, 5), SLICE("inet:")))
			s = slice_skip(s, 5);
		if (s.len == 0)
			return error_set(err, -EINVAL, "%s: no host behind inet:", text.shown);
		r = hop_parse(s, type_of(TRANSPORT_LMTP)->port, arena, &hop, err);
		if (r < 0)
			return r;
		hop.mx = false;
		hop.text = arena_printf(arena, "[%s]:%u", hop.host, hop.port);
	}
	if (r == 0)
		*ret = hop;
	return r;
}
