/*
 * dns - c-ares on our loop
 *
 * c-ares tells by on_socket_state() which of its sockets to watch, and by
 * ares_timeout() when it wants to be called. What is asked is one query for
 * AAAA and one for A, at once, over ares_query() and not ares_getaddrinfo():
 * that one forgets, in 1.18, the failure of one family when the other one
 * says that it has no addresses, and mail would be returned for a resolver's
 * hiccup. More types go the same way: a lookup each, and their own parser.
 *
 * The user is called from a deferred task and never by c-ares, so it may do
 * what it likes, dns_free() included.
 */
#include "net/dns.h"

#include <ares.h>
#include <arpa/nameser.h>
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

#define TIMEOUT_MS   5000
#define TRIES	     3
#define SERVERS_MAX  16
#define RECORDS_MAX  32 /* of one answer; those behind are left out */
#define DOMAIN_PORT  53
#define RCODE_OFFSET 3 /* in the header of an answer; low four bits (RFC 1035 section 4.1.1) */

struct dns {
	struct loop *loop;
	ares_channel channel;
	struct loop_timer *timer;
	struct list sockets; /* struct dns_socket */
	struct list queries; /* struct dns_query */
};

/* A socket of c-ares. */
struct dns_socket {
	struct dns *dns;
	struct list link;
	int fd;
	struct poller *poller;
	unsigned int wanted;
};

struct dns_query {
	struct dns *dns;
	struct list link;
	struct loop_task answer;
	void (*answered)(void *arg, const struct dns_answer *answer); /* NULL: cancelled */
	void *arg;
	char *host;
	bool is_answering;

	unsigned int running; /* lookups without an answer */
	int failure;	      /* ARES_E... of a lookup that found nothing out; 0: none */
	bool is_name_unknown; /* NXDOMAIN: not one record of any type */
	struct net_address addresses[2 * RECORDS_MAX];
	size_t count;
};

/* Sockets and time */

static void schedule(struct dns *dns)
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
	schedule(dns);
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
	schedule(dns);
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

	dns->loop = loop;
	dns->timer = loop_timer_new(loop, on_timer, dns);
	list_init(&dns->sockets);
	list_init(&dns->queries);
	*ret_dns = dns;
	return 0;
}

static void query_free(struct dns_query *q)
{
	list_remove(&q->link);
	loop_defer_cancel(&q->answer);
	free(q->host);
	free(q);
}

void dns_free(struct dns *dns)
{
	if (!dns)
		return;

	/* Those that c-ares still works on are freed by its last callback. */
	LIST_FOREACH (item, &dns->queries)
		dns_cancel(CONTAINER_OF(item, struct dns_query, link));
	ares_destroy(dns->channel);
	assert(list_is_empty(&dns->queries) && list_is_empty(&dns->sockets));
	loop_timer_free(dns->timer);
	free(dns);
}

/* Queries */

static const char *failure_text(int status)
{
	switch (status) {
	case ARES_ETIMEOUT:
		return "no answer from DNS in time";
	case ARES_ECONNREFUSED:
		/* c-ares asks the next server after SERVFAIL and REFUSED too, and ends with this. */
		return "no DNS server gave an answer (server failure or refused)";
	case ARES_EBADRESP:
		return "broken answer from DNS";
	default:
		return ares_strerror(status);
	}
}

static void on_answer(struct loop_task *task)
{
	struct dns_query *q = CONTAINER_OF(task, struct dns_query, answer);
	struct dns_answer answer = { DNS_FOUND, q->addresses, q->count, NULL };
	char reason[512];

	if (q->count > 0) {
		net_order_addresses(q->addresses, q->count);
	} else if (q->failure) {
		/* Also where the other lookup said NXDOMAIN: some servers do for AAAA alone. */
		answer.outcome = DNS_FAILED;
		snprintf(reason, sizeof(reason), "%s: %s", q->host, failure_text(q->failure));
	} else {
		answer.outcome = DNS_NOT_FOUND;
		snprintf(reason, sizeof(reason), "%s: %s", q->host,
			 q->is_name_unknown ? "name not found" : "name has no address");
	}
	if (q->count == 0)
		answer.reason = reason;

	/* The resolver may be gone when this returns; the query is on its own already. */
	list_remove(&q->link);
	q->is_answering = true;
	q->answered(q->arg, &answer);
	query_free(q);
}

static void finish(struct dns_query *q)
{
	if (q->answered)
		loop_defer(q->dns->loop, &q->answer);
	else
		query_free(q);
}

static void add_address(struct dns_query *q, int family, const void *ip)
{
	struct net_address *a = &q->addresses[q->count];

	if (q->count == ARRAY_SIZE(q->addresses))
		return;
	q->count++;
	a->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET) {
		a->len = sizeof(a->in);
		memcpy(&a->in.sin_addr, ip, sizeof(a->in.sin_addr));
	} else {
		a->len = sizeof(a->in6);
		memcpy(&a->in6.sin6_addr, ip, sizeof(a->in6.sin6_addr));
	}
}

static int parse_ipv4(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct ares_addrttl records[RECORDS_MAX];
	int count = RECORDS_MAX, status;

	status = ares_parse_a_reply(bytes, len, NULL, records, &count);
	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		add_address(q, AF_INET, &records[i].ipaddr);
	return status;
}

static int parse_ipv6(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct ares_addr6ttl records[RECORDS_MAX];
	int count = RECORDS_MAX, status;

	status = ares_parse_aaaa_reply(bytes, len, NULL, records, &count);
	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		add_address(q, AF_INET6, &records[i].ip6addr);
	return status;
}

/* One lookup has ended; the query has when all of its lookups have. */
static void lookup_done(struct dns_query *q, int status)
{
	switch (status) {
	case ARES_SUCCESS:
	case ARES_ENODATA:
		break;
	case ARES_ENOTFOUND:
	case ARES_EBADNAME: /* what cannot be a name has no address, ever */
		q->is_name_unknown = true;
		break;
	default:
		q->failure = status;
	}
	if (--q->running == 0)
		finish(q);
}

/* c-ares takes response codes that it does not know for success. */
static int check_rcode(int status, const unsigned char *bytes, int len)
{
	if (status != ARES_SUCCESS && status != ARES_ENODATA)
		return status;
	return len > RCODE_OFFSET && (bytes[RCODE_OFFSET] & 0xf) == 0 ? status : ARES_EBADRESP;
}

static void on_ipv4(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	(void)timeouts;
	status = check_rcode(status, bytes, len);
	lookup_done(arg, status == ARES_SUCCESS ? parse_ipv4(arg, bytes, len) : status);
}

static void on_ipv6(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	(void)timeouts;
	status = check_rcode(status, bytes, len);
	lookup_done(arg, status == ARES_SUCCESS ? parse_ipv6(arg, bytes, len) : status);
}

/* Addresses of one family from /etc/hosts. */
static void ask_hosts_file(struct dns_query *q, int family)
{
	struct hostent *entry = NULL;

	if (ares_gethostbyname_file(q->dns->channel, q->host, family, &entry) != ARES_SUCCESS)
		return;
	for (char **ip = entry->h_addr_list; *ip; ip++)
		add_address(q, family, *ip);
	ares_free_hostent(entry);
}

/* Answers without a question: addresses, what is in /etc/hosts, and the root of all names. */
static bool answer_at_once(struct dns_query *q)
{
	if (strcmp(q->host, "") == 0 || strcmp(q->host, ".") == 0) {
		q->is_name_unknown = true;
		return true;
	}
	if (net_address_parse_ip(slice_from(q->host), 0, &q->addresses[0])) {
		q->count = 1;
		return true;
	}
	ask_hosts_file(q, AF_INET6);
	ask_hosts_file(q, AF_INET);
	return q->count > 0;
}

struct dns_query *dns_addresses(struct dns *dns, const char *host,
				void (*answered)(void *arg, const struct dns_answer *answer),
				void *arg)
{
	struct dns_query *q = net_new(sizeof(*q));

	q->dns = dns;
	q->answer.run = on_answer;
	q->answered = answered;
	q->arg = arg;
	q->host = slice_strdup(slice_from(host));
	list_push(&dns->queries, &q->link);

	if (answer_at_once(q)) {
		finish(q);
		return q;
	}
	/* Both may answer within the call, as for a name that is too long. */
	q->running = 2;
	ares_query(dns->channel, host, ns_c_in, ns_t_aaaa, on_ipv6, q);
	ares_query(dns->channel, host, ns_c_in, ns_t_a, on_ipv4, q);
	schedule(dns);
	return q;
}

void dns_cancel(struct dns_query *query)
{
	if (!query || query->is_answering)
		return;
	query->answered = NULL;
	if (query->running == 0)
		query_free(query);
}
