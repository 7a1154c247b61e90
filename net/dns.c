/*
 * dns - c-ares on our loop
 *
 * c-ares tells by on_socket_state() which of its sockets to watch, and by
 * ares_timeout() when it wants to be called. What is asked is in dns_query.c.
 */
#include "net/dns_internal.h"

#include <ares.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/parse.h"
#include "net/internal.h"

#define TIMEOUT_MS  3000
#define TRIES	    3
#define LIMIT_MS    20000
#define KNOWN_MAX   4096 /* answers that are kept */
#define SERVERS_MAX 16
#define DOMAIN_PORT 53

/* A socket of c-ares. */
struct dns_socket {
	struct dns *dns;
	struct list link;
	int fd;
	struct poller *poller;
	unsigned int wanted;
};

/* Sockets and time */

void dns_schedule(struct dns *dns)
{
	struct timeval memory, *wait;

	wait = ares_timeout(dns->channel, NULL, &memory);
	if (wait)
		loop_timer_start(dns->timer, wait->tv_sec * 1000 + wait->tv_usec / 1000 + 1);
	else
		loop_timer_stop(dns->timer);
}

static void on_timer(void *arg)
{
	struct dns *dns = arg;

	ares_process_fd(dns->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
	dns_schedule(dns);
}

static struct dns_socket *find_socket(struct dns *dns, int fd)
{
	LIST_FOREACH (item, &dns->sockets) {
		struct dns_socket *sock = CONTAINER_OF(item, struct dns_socket, link);

		if (sock->fd == fd)
			return sock;
	}
	return NULL;
}

static void on_socket_ready(void *arg, unsigned int events)
{
	struct dns_socket *sock = arg;
	struct dns *dns = sock->dns;
	int fd = sock->fd;
	bool is_broken = events & POLLER_BROKEN;

	/* May free the socket, by on_socket_state(). */
	ares_process_fd(dns->channel, is_broken || (events & POLLER_READ) ? fd : ARES_SOCKET_BAD,
			is_broken || (events & POLLER_WRITE) ? fd : ARES_SOCKET_BAD);

	sock = is_broken ? find_socket(dns, fd) : NULL;
	if (sock)
		poller_want(sock->poller, sock->wanted);
	dns_schedule(dns);
}

static struct dns_socket *add_socket(struct dns *dns, int fd)
{
	struct dns_socket *sock = net_new(sizeof(*sock));

	sock->dns = dns;
	sock->fd = fd;
	if (poller_new(dns->loop, fd, on_socket_ready, sock, &sock->poller) < 0) {
		/* Out of kernel memory: the query times out, and that is tried again. */
		free(sock);
		return NULL;
	}
	list_push(&dns->sockets, &sock->link);
	return sock;
}

static void on_socket_state(void *arg, ares_socket_t fd, int readable, int writable)
{
	struct dns *dns = arg;
	struct dns_socket *sock = find_socket(dns, fd);

	if (!readable && !writable) {
		if (sock) {
			list_remove(&sock->link);
			poller_free(sock->poller);
			free(sock);
		}
		return;
	}
	if (!sock)
		sock = add_socket(dns, fd);
	if (sock) {
		sock->wanted = (readable ? POLLER_READ : 0) | (writable ? POLLER_WRITE : 0);
		poller_want(sock->poller, sock->wanted);
	}
}

/* The resolver */

/* "192.0.2.1:53", "192.0.2.1", "[2001:db8::1]:53", "[2001:db8::1]" or "2001:db8::1". */
static bool parse_server(struct slice text, struct net_address *ret)
{
	struct slice ip = text;

	if (net_address_parse(text, ret))
		return true;
	if (text.len > 2 && text.ptr[0] == '[' && text.ptr[text.len - 1] == ']')
		ip = slice_of(text.ptr + 1, text.len - 2);
	return net_address_parse_ip(ip, DOMAIN_PORT, ret);
}

static void fill_server(struct ares_addr_port_node *node, const struct net_address *server)
{
	node->family = server->sa.sa_family;
	node->udp_port = node->tcp_port = net_address_port(server);
	if (node->family == AF_INET)
		memcpy(&node->addr.addr4, &server->in.sin_addr, sizeof(node->addr.addr4));
	else
		memcpy(&node->addr.addr6, &server->in6.sin6_addr, sizeof(node->addr.addr6));
}

static int set_servers(ares_channel channel, const char *servers, struct error *err)
{
	struct ares_addr_port_node nodes[SERVERS_MAX] = { 0 };
	struct slice rest = slice_from(servers), word;
	struct net_address server;
	size_t count = 0;
	int status;

	while (slice_next_word(&rest, ", \t", &word)) {
		if (!parse_server(word, &server))
			return error_set(err, -EINVAL,
					 "resolver: \"%.*s\": expected ADDRESS or ADDRESS:PORT",
					 (int)MIN(word.len, 80), word.ptr);
		if (count == SERVERS_MAX)
			return error_set(err, -E2BIG, "resolver: more than %d servers",
					 SERVERS_MAX);
		fill_server(&nodes[count], &server);
		if (count > 0)
			nodes[count - 1].next = &nodes[count];
		count++;
	}
	if (count == 0)
		return 0;

	status = ares_set_servers_ports(channel, nodes);
	if (status != ARES_SUCCESS)
		return error_set(err, -EINVAL, "resolver: %s", ares_strerror(status));
	return 0;
}

static bool is_loopback(const struct ares_addr_port_node *node)
{
	const unsigned char *ip = (const unsigned char *)&node->addr;

	if (node->family == AF_INET)
		return ip[0] == 127;
	return IN6_IS_ADDR_LOOPBACK((const struct in6_addr *)&node->addr.addr6);
}

static bool is_local(ares_channel channel)
{
	struct ares_addr_port_node *nodes = NULL;
	bool local;

	if (ares_get_servers_ports(channel, &nodes) != ARES_SUCCESS)
		return false;
	local = nodes != NULL;
	for (const struct ares_addr_port_node *node = nodes; node; node = node->next)
		local &= is_loopback(node);
	ares_free_data(nodes);
	return local;
}

bool dns_servers_are_local(const char *servers)
{
	ares_channel channel;
	bool local;

	if (ares_init(&channel) != ARES_SUCCESS)
		return false;
	local = set_servers(channel, servers ? servers : "", NULL) == 0 && is_local(channel);
	ares_destroy(channel);
	return local;
}

int dns_new(struct loop *loop, const struct dns_options *options, struct dns **ret_dns,
	    struct error *err)
{
	struct dns *dns = net_new(sizeof(*dns));
	struct ares_options ares = {
		.timeout = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS,
		.tries = options->tries > 0 ? options->tries : TRIES,
		.sock_state_cb = on_socket_state,
		.sock_state_cb_data = dns,
	};
	int status, r;

	/* ares_library_init() is for Windows; elsewhere it is a counter that threads would race for. */
	status = ares_init_options(&dns->channel, &ares,
				   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
	if (status != ARES_SUCCESS) {
		free(dns);
		return error_set(err, status == ARES_ENOMEM ? -ENOMEM : -EIO, "resolver: %s",
				 ares_strerror(status));
	}
	r = set_servers(dns->channel, options->servers ? options->servers : "", err);
	if (r < 0) {
		ares_destroy(dns->channel);
		free(dns);
		return r;
	}

	dns->is_trusted = is_local(dns->channel);
	dns->loop = loop;
	dns->limit_ms = options->limit_ms > 0 ? options->limit_ms : LIMIT_MS;
	dns->protocols = options->protocols;
	dns->clock = options->clock ? options->clock : &clock_system;
	dns_cache_init(&dns->cache, KNOWN_MAX);
	dns->timer = loop_timer_new(loop, on_timer, dns);
	list_init(&dns->sockets);
	list_init(&dns->queries);
	*ret_dns = dns;
	return 0;
}

void dns_forget(struct dns *dns)
{
	dns_cache_forget(&dns->cache);
}

struct loop *dns_loop(struct dns *dns)
{
	return dns->loop;
}

void dns_free(struct dns *dns)
{
	if (!dns)
		return;

	dns->is_closing = true;
	LIST_FOREACH (item, &dns->queries)
		dns_cancel(CONTAINER_OF(item, struct dns_query, link));
	ares_destroy(dns->channel);
	assert(list_is_empty(&dns->queries) && list_is_empty(&dns->sockets));
	dns_cache_done(&dns->cache);
	loop_timer_free(dns->timer);
	free(dns);
}
