/*
 * dns_query - what is asked, and what answers mean
 *
 * Addresses are one query for AAAA and one for A, at once, over ares_query()
 * and not ares_getaddrinfo(): that one forgets, in 1.18, the failure of one
 * family when the other one says that it has no addresses, and mail would be
 * returned for a resolver's hiccup. More types go the same way: a lookup each,
 * and their own parser.
 *
 * What is to be secure is asked by messages of our own: c-ares sets neither
 * the AD bit (RFC 6840 section 5.7) nor the DO bit (RFC 3225). Their answers
 * come as they are, whatever their response code.
 *
 * The user is called from a deferred task and never by c-ares, so it may do
 * what it likes, dns_free() included.
 */
#include "net/dns_internal.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/macros.h"

/* Places in a message: RFC 1035 section 4.1.1, RFC 4035 section 3.2.3. */
#define HEADER_SIZE    12
#define RCODE_OFFSET   3 /* low four bits */
#define AD_OFFSET      3
#define AD_BIT	       0x20
#define QDCOUNT_OFFSET 4
#define ANCOUNT_OFFSET 6
#define DO_FROM_END    4 /* flags of an OPT record without options (RFC 6891 section 6.1.3) */
#define DO_BIT	       0x80
#define UDP_SIZE       1232 /* what fits through everywhere in one piece */
#define TYPE_TLSA      52

static void query_free(struct dns_query *q)
{
	list_remove(&q->link);
	loop_defer_cancel(&q->answer);
	buf_done(&q->bytes);
	free(q->canonical);
	free(q->host);
	free(q);
}

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

/* Why nothing was found; what: "name has no address". */
static enum dns_outcome describe(const struct dns_query *q, const char *what, char *reason,
				 size_t size)
{
	if (q->failure) {
		/* Also where the other lookup said NXDOMAIN: some servers do for AAAA alone. */
		snprintf(reason, size, "%s: %s", q->host, failure_text(q->failure));
		return DNS_FAILED;
	}
	snprintf(reason, size, "%s: %s", q->host, q->is_name_unknown ? "name not found" : what);
	return DNS_NOT_FOUND;
}

static void on_answer(struct loop_task *task)
{
	struct dns_query *q = CONTAINER_OF(task, struct dns_query, answer);
	struct dns_answer answer = {
		.outcome = DNS_FOUND,
		.addresses = q->addresses,
		.count = q->count,
		.is_secure = q->is_secure,
		.canonical = q->canonical ? q->canonical : q->host,
	};
	char reason[512];

	if (q->count > 0) {
		net_order_addresses(q->addresses, q->count);
	} else {
		answer.outcome = describe(q, "name has no address", reason, sizeof(reason));
		answer.reason = reason;
	}

	/* The resolver may be gone when this returns; the query is on its own already. */
	list_remove(&q->link);
	q->is_answering = true;
	q->answered(q->arg, &answer);
	query_free(q);
}

static void on_tlsa_answer(struct loop_task *task)
{
	struct dns_query *q = CONTAINER_OF(task, struct dns_query, answer);
	struct dns_tlsa_answer answer = {
		.outcome = DNS_FOUND,
		.is_secure = q->is_secure,
		.records = q->records,
		.count = q->count,
	};
	char reason[512];

	if (q->count == 0) {
		answer.outcome = describe(q, "name has no TLSA record", reason, sizeof(reason));
		answer.reason = reason;
	}
	list_remove(&q->link);
	q->is_answering = true;
	q->answered_tlsa(q->arg, &answer);
	query_free(q);
}

static void finish(struct dns_query *q)
{
	if (q->answered || q->answered_tlsa)
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
	struct ares_addrttl records[DNS_RECORDS_MAX];
	int count = DNS_RECORDS_MAX, status;

	status = ares_parse_a_reply(bytes, len, NULL, records, &count);
	for (int i = 0; status == ARES_SUCCESS && i < count; i++)
		add_address(q, AF_INET, &records[i].ipaddr);
	return status;
}

static int parse_ipv6(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct ares_addr6ttl records[DNS_RECORDS_MAX];
	int count = DNS_RECORDS_MAX, status;

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

/* ---- secure lookups ---- */

static unsigned int get16(const unsigned char *bytes)
{
	return (unsigned int)bytes[0] << 8 | bytes[1];
}

/* What c-ares makes of the answer to a query of its own. */
static int status_of(int status, const unsigned char *bytes, int len)
{
	if (status != ARES_SUCCESS)
		return status;
	if (len < HEADER_SIZE)
		return ARES_EBADRESP;
	switch (bytes[RCODE_OFFSET] & 0xf) {
	case ns_r_noerror:
		return get16(bytes + ANCOUNT_OFFSET) > 0 ? ARES_SUCCESS : ARES_ENODATA;
	case ns_r_nxdomain:
		return ARES_ENOTFOUND;
	default:
		return ARES_EBADRESP;
	}
}

static int receive(struct dns_query *q, int status, const unsigned char *bytes, int len)
{
	status = status_of(status, bytes, len);
	if ((status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND) &&
	    q->dns->is_trusted && bytes[AD_OFFSET] & AD_BIT)
		q->is_secure = true;
	return status;
}

/* The owner of the addresses: the end of the chain of CNAMEs. */
static void note_canonical(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct hostent *entry = NULL;

	if (q->canonical || ares_parse_a_reply(bytes, len, &entry, NULL, NULL) != ARES_SUCCESS)
		return;
	q->canonical = slice_strdup(slice_from(entry->h_name));
	ares_free_hostent(entry);
}

static void note_canonical6(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct hostent *entry = NULL;

	if (q->canonical || ares_parse_aaaa_reply(bytes, len, &entry, NULL, NULL) != ARES_SUCCESS)
		return;
	q->canonical = slice_strdup(slice_from(entry->h_name));
	ares_free_hostent(entry);
}

static void on_secure_ipv4(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct dns_query *q = arg;

	(void)timeouts;
	status = receive(q, status, bytes, len);
	if (status == ARES_SUCCESS) {
		status = parse_ipv4(q, bytes, len);
		note_canonical(q, bytes, len);
	}
	lookup_done(q, status);
}

static void on_secure_ipv6(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct dns_query *q = arg;

	(void)timeouts;
	status = receive(q, status, bytes, len);
	if (status == ARES_SUCCESS) {
		status = parse_ipv6(q, bytes, len);
		note_canonical6(q, bytes, len);
	}
	lookup_done(q, status);
}

/* A walk through the records of a message. */
struct walk {
	const unsigned char *bytes;
	int len, at;
};

static bool skip_name(struct walk *w)
{
	char *name = NULL;
	long used = 0;

	if (w->at >= w->len ||
	    ares_expand_name(w->bytes + w->at, w->bytes, w->len, &name, &used) != ARES_SUCCESS)
		return false;
	ares_free_string(name);
	w->at += (int)used;
	return true;
}

static bool skip_questions(struct walk *w)
{
	w->at = HEADER_SIZE;
	for (unsigned int i = get16(w->bytes + QDCOUNT_OFFSET); i > 0; i--) {
		if (!skip_name(w) || w->len - w->at < 4)
			return false;
		w->at += 4;
	}
	return true;
}

/* The next record: its type, and its data. */
static bool next_record(struct walk *w, unsigned int *ret_type, struct slice *ret_data)
{
	unsigned int size;

	if (!skip_name(w) || w->len - w->at < 10)
		return false;
	*ret_type = get16(w->bytes + w->at);
	size = get16(w->bytes + w->at + 8);
	w->at += 10;
	if ((unsigned int)(w->len - w->at) < size)
		return false;
	*ret_data = slice_of((const char *)w->bytes + w->at, size);
	w->at += (int)size;
	return true;
}

static void add_record(struct dns_query *q, struct slice data)
{
	if (q->count == DNS_RECORDS_MAX)
		return;
	q->records[q->count++] = (struct dns_tlsa){
		.usage = (unsigned char)data.ptr[0],
		.selector = (unsigned char)data.ptr[1],
		.matching = (unsigned char)data.ptr[2],
		.data = slice_skip(data, 3),
	};
}

/* All of the answer section, whoever their owner: there may be CNAMEs in front of them. */
static int parse_tlsa(struct dns_query *q, const unsigned char *bytes, int len)
{
	struct walk w = { .len = len };

	buf_append(&q->bytes, bytes, (size_t)len);
	w.bytes = (const unsigned char *)buf_slice(&q->bytes).ptr;
	if (!skip_questions(&w))
		return ARES_EBADRESP;
	for (unsigned int i = get16(w.bytes + ANCOUNT_OFFSET); i > 0; i--) {
		unsigned int type;
		struct slice data;

		if (!next_record(&w, &type, &data) || (type == TYPE_TLSA && data.len < 4)) {
			q->count = 0; /* half of them could be those that are not meant */
			return ARES_EBADRESP;
		}
		if (type == TYPE_TLSA)
			add_record(q, data);
	}
	return q->count > 0 ? ARES_SUCCESS : ARES_ENODATA;
}

static void on_tlsa(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct dns_query *q = arg;

	(void)timeouts;
	status = receive(q, status, bytes, len);
	lookup_done(q, status == ARES_SUCCESS ? parse_tlsa(q, bytes, len) : status);
}

/* Calls back within the call where no message can be made of the name. */
static void send_secure(struct dns_query *q, const char *name, int type, ares_callback answered)
{
	unsigned char *message = NULL;
	unsigned short id = 0;
	int len = 0, status;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id)) {
		answered(q, ARES_ENOMEM, 0, NULL, 0);
		return;
	}
	status = ares_create_query(name, ns_c_in, type, id, 1, &message, &len, UDP_SIZE);
	if (status != ARES_SUCCESS) {
		answered(q, status, 0, NULL, 0);
		return;
	}
	message[AD_OFFSET] |= AD_BIT;
	message[len - DO_FROM_END] |= DO_BIT;
	ares_send(q->dns->channel, message, len, answered, q);
	ares_free_string(message);
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

static struct dns_query *query_new(struct dns *dns, const char *host, void *arg,
				   void (*answer)(struct loop_task *task))
{
	struct dns_query *q = net_new(sizeof(*q));

	q->dns = dns;
	q->answer.run = answer;
	q->arg = arg;
	q->host = slice_strdup(slice_from(host));
	list_push(&dns->queries, &q->link);
	return q;
}

struct dns_query *dns_addresses(struct dns *dns, const char *host,
				void (*answered)(void *arg, const struct dns_answer *answer),
				void *arg)
{
	struct dns_query *q = query_new(dns, host, arg, on_answer);

	q->answered = answered;
	if (answer_at_once(q)) {
		finish(q);
		return q;
	}
	/* Both may answer within the call, as for a name that is too long. */
	q->running = 2;
	ares_query(dns->channel, host, ns_c_in, ns_t_aaaa, on_ipv6, q);
	ares_query(dns->channel, host, ns_c_in, ns_t_a, on_ipv4, q);
	dns_schedule(dns);
	return q;
}

struct dns_query *dns_secure_addresses(struct dns *dns, const char *host,
				       void (*answered)(void *arg, const struct dns_answer *answer),
				       void *arg)
{
	struct dns_query *q = query_new(dns, host, arg, on_answer);

	q->answered = answered;
	if (answer_at_once(q)) {
		finish(q);
		return q;
	}
	q->running = 2;
	send_secure(q, host, ns_t_aaaa, on_secure_ipv6);
	send_secure(q, host, ns_t_a, on_secure_ipv4);
	dns_schedule(dns);
	return q;
}

struct dns_query *dns_tlsa(struct dns *dns, const char *name,
			   void (*answered)(void *arg, const struct dns_tlsa_answer *answer),
			   void *arg)
{
	struct dns_query *q = query_new(dns, name, arg, on_tlsa_answer);

	q->answered_tlsa = answered;
	q->running = 1;
	send_secure(q, name, TYPE_TLSA, on_tlsa);
	dns_schedule(dns);
	return q;
}

void dns_cancel(struct dns_query *query)
{
	if (!query || query->is_answering)
		return;
	query->answered = NULL;
	query->answered_tlsa = NULL;
	if (query->running == 0)
		query_free(query);
}
