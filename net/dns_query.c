/*
 * dns_query - what is asked, and what answers mean
 *
 * A query has parts, each of which waits for one entry of the cache (a name
 * and a type). A new entry is asked of c-ares by a message of ours, and not by
 * ares_getaddrinfo(): that one forgets, in 1.18, the failure of one family
 * when the other one says that it has no addresses, and mail would be returned
 * for a resolver's hiccup. Nor by ares_query(), which sets neither the AD bit
 * (RFC 6840 section 5.7) nor the DO bit (RFC 3225). So answers come as they
 * are, whatever their response code.
 *
 * c-ares cannot take back a question. Who has no more time, or is cancelled,
 * leaves the entry, and what is answered afterwards is for those who ask next.
 *
 * The user is called from a deferred task and never by c-ares, so it may do
 * what it likes, dns_free() included.
 */
#include "net/dns_internal.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <ctype.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/macros.h"

#define AD_OFFSET   3
#define AD_BIT	    0x20
#define DO_FROM_END 4 /* flags of an OPT record without options (RFC 6891 section 6.1.3) */
#define DO_BIT	    0x80
#define UDP_SIZE    1232 /* what fits through everywhere in one piece */
#define KEY_SIZE    1100 /* a name takes at most 4 times 255 bytes when all of it is escaped */

/*
 * How long the addresses of one family wait for those of the other: RFC 8305
 * section 3. Longer where these are of IPv6, as they may be of no use.
 */
#define WAIT_FOR_IPV6_MS 50
#define WAIT_FOR_IPV4_MS 2000

static void query_free(struct dns_query *q)
{
	for (unsigned int i = 0; i < q->part_count; i++) {
		list_remove(&q->parts[i].link);
		dns_entry_unref(q->parts[i].entry);
	}
	list_remove(&q->link);
	loop_defer_cancel(&q->answer);
	loop_timer_free(q->timer);
	free(q->addresses);
	free(q->host);
	free(q);
}

/* ---- answers ---- */

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

static int failure_of(const struct dns_part *part)
{
	return part->entry->is_known ? part->entry->failure : ARES_ETIMEOUT;
}

static bool is_name_unknown(const struct dns_query *q)
{
	bool is_unknown = q->is_nameless;

	for (unsigned int i = 0; i < q->part_count; i++)
		is_unknown |= q->parts[i].entry->is_name_unknown;
	return is_unknown;
}

/* Why nothing was found; what: "name has no address". */
static enum dns_outcome describe(const struct dns_query *q, const char *what, char *reason,
				 size_t size)
{
	for (unsigned int i = 0; i < q->part_count; i++) {
		int failure = failure_of(&q->parts[i]);

		/* Also where the other one said NXDOMAIN: some servers do for AAAA alone. */
		if (failure) {
			snprintf(reason, size, "%s: %s", q->host, failure_text(failure));
			return DNS_FAILED;
		}
	}
	snprintf(reason, size, "%s: %s", q->host, is_name_unknown(q) ? "name not found" : what);
	return DNS_NOT_FOUND;
}

/* A name is signed for all types, or for none. */
static bool is_secure(const struct dns_query *q)
{
	for (unsigned int i = 0; i < q->part_count; i++) {
		if (q->is_secure && q->dns->is_trusted && !failure_of(&q->parts[i]) &&
		    q->parts[i].entry->records.is_authentic)
			return true;
	}
	return false;
}

static void collect_addresses(struct dns_query *q)
{
	for (unsigned int i = 0; i < q->part_count; i++) {
		const struct dns_records *records = &q->parts[i].entry->records;

		if (records->count == 0)
			continue;
		memcpy(q->addresses + q->count, records->addresses,
		       records->count * sizeof(*q->addresses));
		q->count += records->count;
	}
	net_order_addresses(q->addresses, q->count);
}

static const char *canonical_of(const struct dns_query *q)
{
	for (unsigned int i = 0; i < q->part_count; i++) {
		if (q->parts[i].entry->records.canonical)
			return q->parts[i].entry->records.canonical;
	}
	return q->host;
}

/* The resolver may be gone when this returns; the query is on its own already. */
static void answer_addresses(struct dns_query *q)
{
	struct dns_answer answer = {
		.outcome = DNS_FOUND,
		.is_secure = is_secure(q),
		.canonical = canonical_of(q),
	};
	const char *what = q->refusal				     ? q->refusal
			   : q->dns->protocols == NET_PROTOCOLS_IPV4 ? "name has no IPv4 address"
			   : q->dns->protocols == NET_PROTOCOLS_IPV6 ? "name has no IPv6 address"
								     : "name has no address";
	char reason[512];

	collect_addresses(q);
	answer.addresses = q->addresses;
	answer.count = q->count;
	if (q->count == 0) {
		answer.outcome = describe(q, what, reason, sizeof(reason));
		answer.reason = reason;
	}
	q->answered.addresses(q->arg, &answer);
}

static void answer_mx(struct dns_query *q)
{
	const struct dns_records *records = &q->parts[0].entry->records;
	struct dns_mx_answer answer = {
		.outcome = DNS_FOUND,
		.is_secure = is_secure(q),
		.is_name_unknown = is_name_unknown(q),
		.records = records->mx,
		.count = records->count,
	};
	char reason[512];

	if (records->count == 0) {
		answer.outcome = describe(q, "name has no mail exchanger", reason, sizeof(reason));
		answer.reason = reason;
	}
	q->answered.mx(q->arg, &answer);
}

static void answer_tlsa(struct dns_query *q)
{
	const struct dns_records *records = &q->parts[0].entry->records;
	struct dns_tlsa_answer answer = {
		.outcome = DNS_FOUND,
		.is_secure = is_secure(q),
		.records = records->tlsa,
		.count = records->count,
	};
	char reason[512];

	if (records->count == 0) {
		answer.outcome = describe(q, "name has no TLSA record", reason, sizeof(reason));
		answer.reason = reason;
	}
	q->answered.tlsa(q->arg, &answer);
}

static void on_answer(struct loop_task *task)
{
	struct dns_query *q = CONTAINER_OF(task, struct dns_query, answer);

	list_remove(&q->link);
	q->is_answering = true;
	if (q->kind == DNS_KIND_ADDRESSES)
		answer_addresses(q);
	else if (q->kind == DNS_KIND_MX)
		answer_mx(q);
	else
		answer_tlsa(q);
	query_free(q);
}

/* With what there is by now. */
static void finish(struct dns_query *q)
{
	for (unsigned int i = 0; i < q->part_count; i++)
		list_remove(&q->parts[i].link);
	loop_timer_stop(q->timer);
	loop_defer(q->dns->loop, &q->answer);
}

static void on_timer(void *arg)
{
	finish(arg);
}

static void part_known(struct dns_part *part)
{
	struct dns_query *q = part->query;

	list_remove(&part->link);
	if (--q->waiting == 0)
		finish(q);
	else if (q->kind == DNS_KIND_ADDRESSES && part->entry->records.count > 0)
		loop_timer_start(q->timer, MIN(q->dns->limit_ms, part->type == DNS_TYPE_A
									 ? WAIT_FOR_IPV6_MS
									 : WAIT_FOR_IPV4_MS));
}

/* ---- questions to c-ares ---- */

struct question {
	struct dns *dns;
	struct dns_entry *entry; /* a reference */
	enum dns_type type;
};

/* What the outcome of c-ares and that of the message come to. */
static void take_answer(struct dns_entry *entry, enum dns_type type, int status,
			struct slice message)
{
	if (status != ARES_SUCCESS) {
		entry->is_name_unknown =
			status == ARES_EBADNAME; /* what cannot be a name has nothing, ever */
		entry->failure = status == ARES_EBADNAME ? 0 : status;
		return;
	}
	switch (dns_message_parse(message, type, &entry->records)) {
	case DNS_MESSAGE_RECORDS:
	case DNS_MESSAGE_NO_RECORDS:
		break;
	case DNS_MESSAGE_NO_NAME:
		entry->is_name_unknown = true;
		break;
	case DNS_MESSAGE_FAILURE:
	case DNS_MESSAGE_BROKEN:
		entry->failure = ARES_EBADRESP;
		break;
	}
}

static void on_message(void *arg, int status, int timeouts, unsigned char *bytes, int len)
{
	struct question *question = arg;
	struct dns_entry *entry = question->entry;
	struct dns *dns = question->dns;
	struct list waiters;

	(void)timeouts;
	if (!dns->is_closing) {
		take_answer(entry, question->type, status,
			    slice_of((const char *)bytes, bytes ? (size_t)len : 0));
		list_move(&waiters, &entry->waiters);
		dns_cache_keep(&dns->cache, entry, clock_mono_ms(dns->clock));
		LIST_FOREACH (item, &waiters)
			part_known(CONTAINER_OF(item, struct dns_part, link));
	}
	dns_entry_unref(entry);
	free(question);
}

static int make_message(const char *name, enum dns_type type, bool is_secure,
			unsigned char **ret_message, int *ret_len)
{
	unsigned short id = 0;
	int status;

	if (getrandom(&id, sizeof(id), 0) != sizeof(id))
		return ARES_ENOMEM;
	status = ares_create_query(name, ns_c_in, (int)type, id, 1, ret_message, ret_len,
				   is_secure ? UDP_SIZE : 0);
	if (status == ARES_SUCCESS && is_secure) {
		(*ret_message)[AD_OFFSET] |= AD_BIT;
		(*ret_message)[*ret_len - DO_FROM_END] |= DO_BIT;
	}
	return status;
}

/* May have the answer within the call. */
static void send_question(struct dns *dns, struct dns_entry *entry, const char *name,
			  enum dns_type type, bool is_secure)
{
	struct question *question = net_new(sizeof(*question));
	unsigned char *message = NULL;
	int len = 0, status;

	*question = (struct question){ dns, dns_entry_ref(entry), type };
	status = make_message(name, type, is_secure, &message, &len);
	if (status != ARES_SUCCESS) {
		on_message(question, status, 0, NULL, 0);
		return;
	}
	ares_send(dns->channel, message, len, on_message, question);
	ares_free_string(message);
}

/* Case and a final dot do not matter in names. */
static void make_key(const struct dns_query *q, enum dns_type type, char out[KEY_SIZE])
{
	size_t len;

	snprintf(out, KEY_SIZE, "%d%s %s", (int)type, q->is_secure ? "s" : "", q->host);
	len = strlen(out);
	if (out[len - 1] == '.')
		out[len - 1] = '\0';
	for (char *c = out; *c; c++)
		*c = (char)tolower((unsigned char)*c);
}

static void add_part(struct dns_query *q, enum dns_type type)
{
	struct dns_part *part = &q->parts[q->part_count++];

	part->query = q;
	part->type = type;
	list_init(&part->link);
}

/* All parts must have been added. */
static void ask(struct dns_query *q, struct dns_part *part)
{
	struct dns *dns = q->dns;
	char key[KEY_SIZE];
	bool is_new;

	make_key(q, part->type, key);
	part->entry = dns_cache_find(&dns->cache, key, clock_mono_ms(dns->clock));
	is_new = !part->entry;
	if (is_new)
		part->entry = dns_cache_add(&dns->cache, key);
	dns_entry_ref(part->entry);
	if (part->entry->is_known) {
		part_known(part);
		return;
	}
	list_push(&part->entry->waiters, &part->link);
	if (is_new)
		send_question(dns, part->entry, q->host, part->type, q->is_secure);
}

static void start(struct dns_query *q)
{
	q->waiting = q->part_count;
	if (q->waiting == 0) {
		finish(q);
		return;
	}
	loop_timer_start(q->timer, q->dns->limit_ms);
	for (unsigned int i = 0; i < q->part_count; i++)
		ask(q, &q->parts[i]);
	dns_schedule(q->dns);
}

/* ---- what needs no question ---- */

/* Addresses of one family from /etc/hosts. */
static void ask_hosts_file(struct dns_query *q, int family)
{
	struct hostent *entry = NULL;

	if (!net_protocols_have(q->dns->protocols, family) ||
	    ares_gethostbyname_file(q->dns->channel, q->host, family, &entry) != ARES_SUCCESS)
		return;
	for (char **ip = entry->h_addr_list; *ip && q->count < 2 * DNS_RECORDS_MAX; ip++) {
		struct net_address *a = &q->addresses[q->count++];

		*a = (struct net_address){ .len = family == AF_INET ? sizeof(a->in)
								    : sizeof(a->in6) };
		a->sa.sa_family = (sa_family_t)family;
		if (family == AF_INET)
			memcpy(&a->in.sin_addr, *ip, sizeof(a->in.sin_addr));
		else
			memcpy(&a->in6.sin6_addr, *ip, sizeof(a->in6.sin6_addr));
	}
	ares_free_hostent(entry);
}

/* Answers without a question: addresses, what is in /etc/hosts, and the root of all names. */
static bool answer_at_once(struct dns_query *q)
{
	if (strcmp(q->host, "") == 0 || strcmp(q->host, ".") == 0) {
		q->is_nameless = true;
		return true;
	}
	if (net_address_parse_ip(slice_from(q->host), 0, &q->addresses[0])) {
		q->count = net_protocols_have(q->dns->protocols, q->addresses[0].sa.sa_family);
		if (q->count == 0)
			q->refusal = "inet_protocols leaves out addresses of this kind";
		return true;
	}
	ask_hosts_file(q, AF_INET6);
	ask_hosts_file(q, AF_INET);
	return q->count > 0;
}

bool dns_is_in_hosts_file(struct dns *dns, const char *host)
{
	struct hostent *entry = NULL;
	bool is_there;

	is_there = ares_gethostbyname_file(dns->channel, host, AF_INET, &entry) == ARES_SUCCESS ||
		   ares_gethostbyname_file(dns->channel, host, AF_INET6, &entry) == ARES_SUCCESS;
	if (is_there)
		ares_free_hostent(entry);
	return is_there;
}

/* ---- for users ---- */

static struct dns_query *query_new(struct dns *dns, const char *host, enum dns_kind kind,
				   bool is_secure, void *arg)
{
	struct dns_query *q = net_new(sizeof(*q));

	q->dns = dns;
	q->answer.run = on_answer;
	q->timer = loop_timer_new(dns->loop, on_timer, q);
	q->kind = kind;
	q->is_secure = is_secure;
	q->arg = arg;
	q->host = slice_strdup(slice_from(host));
	list_push(&dns->queries, &q->link);
	return q;
}

static struct dns_query *ask_addresses(struct dns *dns, const char *host, bool is_secure,
				       void (*answered)(void *arg, const struct dns_answer *answer),
				       void *arg)
{
	struct dns_query *q = query_new(dns, host, DNS_KIND_ADDRESSES, is_secure, arg);

	q->answered.addresses = answered;
	q->addresses = net_new(2 * DNS_RECORDS_MAX * sizeof(*q->addresses));
	if (!answer_at_once(q)) {
		if (net_protocols_have(dns->protocols, AF_INET6))
			add_part(q, DNS_TYPE_AAAA);
		if (net_protocols_have(dns->protocols, AF_INET))
			add_part(q, DNS_TYPE_A);
	}
	start(q);
	return q;
}

struct dns_query *dns_addresses(struct dns *dns, const char *host,
				void (*answered)(void *arg, const struct dns_answer *answer),
				void *arg)
{
	return ask_addresses(dns, host, false, answered, arg);
}

struct dns_query *dns_secure_addresses(struct dns *dns, const char *host,
				       void (*answered)(void *arg, const struct dns_answer *answer),
				       void *arg)
{
	return ask_addresses(dns, host, true, answered, arg);
}

struct dns_query *dns_mx(struct dns *dns, const char *domain, bool is_secure,
			 void (*answered)(void *arg, const struct dns_mx_answer *answer), void *arg)
{
	struct dns_query *q = query_new(dns, domain, DNS_KIND_MX, is_secure, arg);

	q->answered.mx = answered;
	add_part(q, DNS_TYPE_MX);
	start(q);
	return q;
}

struct dns_query *dns_tlsa(struct dns *dns, const char *name,
			   void (*answered)(void *arg, const struct dns_tlsa_answer *answer),
			   void *arg)
{
	struct dns_query *q = query_new(dns, name, DNS_KIND_TLSA, true, arg);

	q->answered.tlsa = answered;
	add_part(q, DNS_TYPE_TLSA);
	start(q);
	return q;
}

void dns_cancel(struct dns_query *query)
{
	if (query && !query->is_answering)
		query_free(query);
}
