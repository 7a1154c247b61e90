/* Each entry makes one listener, or two where it has "*". */
#include "config/listen.h"

#include <errno.h>
#include <stdio.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/nearest.h"
#include "base/parse.h"

static const struct service {
	const char *name;
	enum mta_service_kind kind;
	uint16_t port;
	bool needs_tls, needs_accounts;
} services[] = {
	{ "smtp", MTA_SERVICE_SMTP, 25, false, false },
	{ "smtps", MTA_SERVICE_SMTPS, 465, true, false },
	{ "submission", MTA_SERVICE_SUBMISSION, 587, true, true },
	{ "submissions", MTA_SERVICE_SUBMISSIONS, 465, true, true },
};

static const struct service *service_of(enum mta_service_kind kind)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (services[i].kind == kind)
			return &services[i];
	return NULL;
}

bool config_listen_needs_tls(enum mta_service_kind kind)
{
	return service_of(kind)->needs_tls;
}

bool config_listen_needs_accounts(enum mta_service_kind kind)
{
	return service_of(kind)->needs_accounts;
}

static const struct service *service_find(struct slice name)
{
	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		if (slice_equal_nocase(name, slice_from(services[i].name)))
			return &services[i];
	return NULL;
}

static int unknown_service(struct slice name, struct error *err)
{
	const char *names[ARRAY_SIZE(services)];
	char text[32];
	const char *near = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(services); i++)
		names[i] = services[i].name;
	if (slice_copy(name, text, sizeof(text)))
		near = nearest_name(text, names, ARRAY_SIZE(names));
	return error_set(
		err, -EINVAL,
		"unknown service %.*s; expected smtp, smtps, submission or submissions%s%s%s",
		(int)name.len, name.ptr, near ? "; did you mean " : "", near ? near : "",
		near ? "?" : "");
}

/* Split "SERVICE://HOST[:PORT]"; an address in brackets keeps its colons. */
static int split_entry(struct slice entry, const struct service **ret_service,
		       struct slice *ret_host, uint16_t *ret_port, struct error *err)
{
	size_t colon = slice_find(entry, ':');
	struct slice rest = slice_skip(entry, colon);
	const struct service *service;
	uint64_t port;
	size_t end;

	if (!slice_starts_nocase(rest, SLICE("://")))
		return error_set(err, -EINVAL, "expected SERVICE://ADDRESS:PORT, as smtp://*:25");
	service = service_find(slice_first(entry, colon));
	if (!service)
		return unknown_service(slice_first(entry, colon), err);

	rest = slice_skip(rest, 3);
	end = rest.len > 0 && rest.ptr[0] == '[' ? slice_find(rest, ']') + 1
						 : slice_find(rest, ':');
	end = MIN(end, rest.len);
	port = service->port;
	if (end < rest.len &&
	    (rest.ptr[end] != ':' || !parse_uint(slice_skip(rest, end + 1), UINT16_MAX, &port)))
		return error_set(err, -EINVAL,
				 "expected a port from 0 to 65535 behind the address");
	*ret_service = service;
	*ret_host = slice_first(rest, end);
	*ret_port = (uint16_t)port;
	return 0;
}

static int parse_host(struct slice host, uint16_t port, struct net_address *ret, struct error *err)
{
	bool in_brackets = host.len >= 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
	struct slice ip = in_brackets ? slice_first(slice_skip(host, 1), host.len - 2) : host;

	if (!net_address_parse_ip(ip, port, ret))
		return error_set(err, -EINVAL,
				 "expected *, an IPv4 address, or an IPv6 address in brackets");
	if ((ret->sa.sa_family == AF_INET6) != in_brackets)
		return error_set(err, -EINVAL, "brackets belong around IPv6 addresses only");
	return 0;
}

static bool is_every_address(const char *ip)
{
	return strcmp(ip, "0.0.0.0") == 0 || strcmp(ip, "::") == 0;
}

/* Whether the kernel would refuse to bind both. */
static bool is_in_conflict(const struct net_address *a, const struct net_address *b)
{
	char a_ip[NET_ADDRESS_TEXT_SIZE], b_ip[NET_ADDRESS_TEXT_SIZE];

	if (a->sa.sa_family != b->sa.sa_family || net_address_port(a) != net_address_port(b) ||
	    net_address_port(a) == 0)
		return false;
	net_address_ip(a, a_ip);
	net_address_ip(b, b_ip);
	return is_every_address(a_ip) || is_every_address(b_ip) || strcmp(a_ip, b_ip) == 0;
}

static int add_listener(struct buf *listeners, const struct config_listener *listener,
			struct error *err)
{
	const struct config_listener *others = (const void *)buf_slice(listeners).ptr;
	char text[NET_ADDRESS_TEXT_SIZE];

	for (size_t i = 0; i < buf_len(listeners) / sizeof(*others); i++)
		if (is_in_conflict(&listener->address, &others[i].address))
			return error_set(err, -EINVAL, "%s is already taken by an entry before",
					 net_address_text(&listener->address, text));
	buf_append(listeners, listener, sizeof(*listener));
	return 0;
}

static int add_entry(struct slice entry, struct buf *listeners, struct error *err)
{
	struct config_listener listener = { 0 };
	const struct service *service = NULL;
	struct slice host;
	uint16_t port = 0;
	int r;

	r = split_entry(entry, &service, &host, &port, err);
	if (r < 0)
		return r;
	listener.kind = service->kind;
	if (!slice_equal(host, SLICE("*"))) {
		r = parse_host(host, port, &listener.address, err);
		return r < 0 ? r : add_listener(listeners, &listener, err);
	}

	net_address_parse_ip(SLICE("0.0.0.0"), port, &listener.address);
	r = add_listener(listeners, &listener, err);
	if (r < 0)
		return r;
	net_address_parse_ip(SLICE("::"), port, &listener.address);
	listener.is_second_half = true;
	return add_listener(listeners, &listener, err);
}

int config_listen_parse(struct slice text, struct arena *arena,
			const struct config_listener **ret_listeners, unsigned int *ret_count,
			struct error *err)
{
	struct buf listeners = { 0 };
	struct slice entry;
	int r = 0;

	while (r == 0 && slice_next_word(&text, ", \t\r\n", &entry)) {
		r = add_entry(entry, &listeners, err);
		if (r < 0)
			error_prefix(err, "%.*s", (int)entry.len, entry.ptr);
	}
	if (r == 0 && buf_len(&listeners) == 0)
		r = error_set(err, -EINVAL, "expected at least one listener, as smtp://*:25");
	if (r == 0) {
		size_t size = buf_len(&listeners);
		struct config_listener *copy = arena_alloc(arena, size);

		memcpy(copy, buf_slice(&listeners).ptr, size);
		*ret_listeners = copy;
		*ret_count = (unsigned int)(size / sizeof(*copy));
	}
	buf_done(&listeners);
	return r;
}
