/*
 * test_dns - what the resolver makes of answers, and of those that never come
 *
 * A name server of our own runs on the loop that asks it. What it answers is
 * said by the first label of the name, see zone[] and serve().
 */

#include "net/dns.h"
#include "net/testing.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/internal.h"

#define HEADER_SIZE 12

struct server {
	struct loop *loop;
	int fd;
	struct poller *poller;
	struct listener *listener; /* on the same port: what does not fit into a datagram */
	struct stream *stream;
	struct net_address address;
	unsigned int queries, tcp_queries;
};

static void put16(struct buf *out, unsigned int value)
{
	char bytes[2] = { (char)(value >> 8), (char)value };

	buf_append(out, bytes, 2);
}

/* Owner: the name of the question. */
static void put_record(struct buf *out, int type, const void *bytes, size_t len)
{
	put16(out, 0xc000 | HEADER_SIZE);
	put16(out, (unsigned int)type);
	put16(out, ns_c_in);
	put16(out, 0);
	put16(out, 60);
	put16(out, (unsigned int)len);
	buf_append(out, bytes, len);
}

static const char ipv6_loopback[16] = { [15] = 1 };

/*
 * Behaviour by the first label of the name. Where A and AAAA differ, A's is
 * before the dash.
 */
static const struct {
	const char *label;
	int rcode[2]; /* for A, AAAA; -1: silence */
	unsigned int addresses[2];
} zone[] = {
	{ "both", { 0, 0 }, { 2, 1 } },
	{ "ipv4", { 0, 0 }, { 1, 0 } },
	{ "ipv6", { 0, 0 }, { 0, 1 } },
	{ "nodata", { 0, 0 }, { 0, 0 } },
	{ "nxdomain", { 3, 3 }, { 0, 0 } },
	{ "servfail", { 2, 2 }, { 0, 0 } },
	{ "refused", { 5, 5 }, { 0, 0 } },
	{ "notauth", { 9, 9 }, { 0, 0 } },
	{ "servfail-nodata", { 2, 0 }, { 0, 0 } },
	{ "nodata-servfail", { 0, 2 }, { 0, 0 } },
	{ "servfail-nxdomain", { 2, 3 }, { 0, 0 } },
	{ "ipv4-servfail", { 0, 2 }, { 1, 0 } },
	{ "many", { 0, 0 }, { 28, 0 } },     /* as much as a datagram holds */
	{ "truncated", { 0, 0 }, { 3, 0 } }, /* A by TCP only */
	{ "silent", { -1, -1 }, { 0, 0 } },
	{ "ipv4-silent", { 0, -1 }, { 1, 0 } },
	{ "broken", { 0, 0 }, { 1, 1 } },
};

/*
 * The same for those who ask by the AD and DO bits: what the server says of
 * its signatures, and TLSA records of "_25._tcp.LABEL".
 */
static const struct {
	const char *label;
	bool is_signed;
	int rcode;
	unsigned int records; /* of TLSA */
	bool is_alias;	      /* of real.example */
} signed_zone[] = {
	{ "signed", true, 0, 2, false }, { "unsigned", false, 0, 2, false },
	{ "notlsa", true, 0, 0, false }, { "notlsaname", true, 3, 0, false },
	{ "bogus", true, 2, 0, false },	 { "alias", true, 0, 1, true },
	{ "cut", true, 0, 1, false },	 { "short", true, 0, 1, false },
};

static void put_answer(struct buf *out, struct slice question, size_t end, unsigned int flags,
		       unsigned int count)
{
	buf_append(out, question.ptr, 2);
	put16(out, 0x8180 | flags);
	put16(out, 1);
	put16(out, count);
	put16(out, 0);
	put16(out, 0);
	buf_append(out, question.ptr + HEADER_SIZE, end - HEADER_SIZE);
}

static void put_tlsa(struct buf *out, unsigned int count, bool is_short)
{
	unsigned char record[3 + 32] = { 3, 1, 1 };

	for (unsigned int i = 0; i < count; i++) {
		memset(record + 3, (int)(0xa0 + i), 32);
		put_record(out, 52, record, is_short ? 3 : sizeof(record));
	}
}

/* Whether it was one of these; then the answer is appended to out. */
static bool serve_signed(struct slice question, size_t end, int type, struct buf *out)
{
	static const char alias[] = "\x04real\x07"
				    "example";
	const char *name = question.ptr + HEADER_SIZE;
	bool is_ad_asked = question.ptr[3] & 0x20;
	bool is_do_asked = question.len == end + 11 && question.ptr[question.len - 4] & 0x80;

	if (type == 52)
		name += strlen("_25._tcp") + 1;
	for (size_t i = 0; i < ARRAY_SIZE(signed_zone); i++) {
		size_t len = strlen(signed_zone[i].label);
		unsigned int flags =
			signed_zone[i].is_signed && is_ad_asked && is_do_asked ? 0x20 : 0;
		unsigned int addresses = type == ns_t_a;

		if ((size_t)name[0] != len || memcmp(name + 1, signed_zone[i].label, len) != 0)
			continue;
		if (type == 52) {
			put_answer(out, question, end, flags | (unsigned int)signed_zone[i].rcode,
				   signed_zone[i].records);
			put_tlsa(out, signed_zone[i].records,
				 strcmp(signed_zone[i].label, "short") == 0);
			if (strcmp(signed_zone[i].label, "cut") == 0)
				out->end -= 3;
			return true;
		}
		put_answer(out, question, end, flags, addresses + signed_zone[i].is_alias);
		if (signed_zone[i].is_alias)
			put_record(out, ns_t_cname, alias, sizeof(alias));
		/* The owner is not looked at behind an alias: it is that of the question here. */
		if (addresses && signed_zone[i].is_alias) {
			buf_append(out, alias, sizeof(alias));
			put16(out, ns_t_a);
			put16(out, ns_c_in);
			put16(out, 0);
			put16(out, 60);
			put16(out, 4);
			buf_append(out, "\x7f\0\0\x01", 4);
		} else if (addresses) {
			put_record(out, ns_t_a, "\x7f\0\0\x01", 4);
		}
		return true;
	}
	return false;
}

static size_t find_behaviour(struct slice label)
{
	for (size_t i = 0; i < ARRAY_SIZE(zone); i++) {
		if (slice_equal_nocase(label, slice_from(zone[i].label)))
			return i;
	}
	fail_msg("asked for \"%.*s\"", (int)label.len, label.ptr);
	return 0;
}

/* Appends the answer to question, or nothing for silence. */
static void serve(struct slice question, bool is_tcp, struct buf *out)
{
	struct slice label =
		slice_of(question.ptr + HEADER_SIZE + 1, (unsigned char)question.ptr[HEADER_SIZE]);
	size_t behaviour, end = HEADER_SIZE;
	int type, rcode;
	unsigned int is_aaaa, count;

	while (question.ptr[end] != 0)
		end += 1 + (unsigned char)question.ptr[end];
	end++;
	type = (unsigned char)question.ptr[end] << 8 | (unsigned char)question.ptr[end + 1];
	end += 4;
	if (serve_signed(question, end, type, out))
		return;
	behaviour = find_behaviour(label);
	is_aaaa = type == ns_t_aaaa;
	rcode = zone[behaviour].rcode[is_aaaa];
	count = zone[behaviour].addresses[is_aaaa];
	if (rcode < 0)
		return;

	buf_append(out, question.ptr, 2);
	if (count > 0 && !is_tcp && strcmp(zone[behaviour].label, "truncated") == 0) {
		rcode |= 0x200; /* TC: ask again by TCP */
		count = 0;
	}
	put16(out, 0x8180 | (unsigned int)rcode);
	put16(out, 1);
	put16(out, count);
	put16(out, 0);
	put16(out, 0);
	buf_append(out, question.ptr + HEADER_SIZE, end - HEADER_SIZE);
	for (unsigned int i = 0; i < count; i++) {
		char ipv4[4] = { 127, 0, 0, (char)(i + 1) };

		put_record(out, type, is_aaaa ? ipv6_loopback : ipv4, is_aaaa ? 16 : 4);
	}
	if (strcmp(zone[behaviour].label, "broken") == 0)
		out->end -= 3;
}

static void on_question(void *arg, unsigned int events)
{
	struct server *server = arg;
	struct net_address from = { .len = sizeof(from.storage) };
	struct buf answer = { 0 };
	char question[512];
	ssize_t n;

	(void)events;
	n = recvfrom(server->fd, question, sizeof(question), 0, &from.sa, &from.len);
	if (n < HEADER_SIZE)
		return;
	server->queries++;
	serve(slice_of(question, (size_t)n), false, &answer);
	if (buf_len(&answer) > 0)
		sendto(server->fd, answer.mem, buf_len(&answer), 0, &from.sa, from.len);
	buf_done(&answer);
	loop_stop(server->loop);
}

static void on_tcp_question(void *arg)
{
	struct server *server = arg;
	struct slice bytes = buf_slice(stream_input(server->stream));
	struct buf answer = { 0 };
	size_t len;

	if (bytes.len < 2)
		return;
	len = (size_t)(unsigned char)bytes.ptr[0] << 8 | (unsigned char)bytes.ptr[1];
	if (bytes.len < 2 + len)
		return;
	server->tcp_queries++;
	serve(slice_of(bytes.ptr + 2, len), true, &answer);
	put16(stream_output(server->stream), (unsigned int)buf_len(&answer));
	buf_append_slice(stream_output(server->stream), buf_slice(&answer));
	buf_consume(stream_input(server->stream), 2 + len);
	buf_done(&answer);
}

static void on_tcp_closed(void *arg, const struct error *err)
{
	struct server *server = arg;

	(void)err;
	stream_free(server->stream, 0);
	server->stream = NULL;
	loop_stop(server->loop);
}

static const struct stream_events tcp_events = { .readable = on_tcp_question,
						 .closed = on_tcp_closed };

static void on_accepted(void *arg, struct stream *stream)
{
	struct server *server = arg;

	server->stream = stream;
	stream_set_events(stream, &tcp_events, server);
}

static const struct listener_events tcp_listener_events = { .accepted = on_accepted };

static void server_start(struct server *server, struct loop *loop)
{
	struct error err;
	int fd;

	*server = (struct server){ .loop = loop };
	fd = test_listen(&server->address);
	assert_int_equal(
		listener_new(loop, fd, &tcp_listener_events, server, &server->listener, &err), 0);
	close(fd);

	server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(server->fd, &server->address.sa, server->address.len), 0);
	assert_int_equal(poller_new(loop, server->fd, on_question, server, &server->poller), 0);
	poller_want(server->poller, POLLER_READ);
}

static void server_stop(struct server *server)
{
	poller_free(server->poller);
	close(server->fd);
	listener_free(server->listener);
	stream_free(server->stream, 0);
}

static bool has_ipv6(void)
{
	struct net_address address, bound;
	int fd;

	assert_true(net_address_parse(SLICE("[::1]:0"), &address));
	fd = listener_bind(&address, &bound, NULL);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

struct question {
	struct loop *loop;
	struct dns *dns;
	struct dns_query *query;
	bool is_asking; /* dns_addresses() has not returned */
	bool is_answered, frees_dns;
	enum dns_outcome outcome;
	char addresses[1024], reason[256];
};

static void on_answer(void *arg, const struct dns_answer *answer)
{
	struct question *q = arg;
	char ip[NET_ADDRESS_TEXT_SIZE];

	assert_false(q->is_asking);
	assert_false(q->is_answered);
	q->is_answered = true;
	q->outcome = answer->outcome;
	assert_int_equal(answer->count > 0, answer->outcome == DNS_FOUND);
	assert_int_equal(!answer->reason, answer->outcome == DNS_FOUND);
	for (size_t i = 0; i < answer->count; i++) {
		assert_int_equal(net_address_port(&answer->addresses[i]), 0);
		strcat(strcat(q->addresses, i > 0 ? " " : ""),
		       net_address_ip(&answer->addresses[i], ip));
	}
	snprintf(q->reason, sizeof(q->reason), "%s", answer->reason ? answer->reason : "");
	dns_cancel(q->query); /* as a session does that is freed in here */
	if (q->frees_dns)
		dns_free(q->dns);
	loop_stop(q->loop);
}

static void ask(struct question *q, struct loop *loop, struct dns *dns, const char *host)
{
	*q = (struct question){ .loop = loop, .dns = dns, .is_asking = true };
	q->query = dns_addresses(dns, host, on_answer, q);
	q->is_asking = false;
}

static struct dns *resolver_new(struct loop *loop, const struct server *server, int timeout_ms,
				int tries)
{
	char text[NET_ADDRESS_TEXT_SIZE];
	struct dns_options options = { net_address_text(&server->address, text), timeout_ms,
				       tries };
	struct dns *dns;
	struct error err;

	if (dns_new(loop, &options, &dns, &err) < 0)
		fail_msg("%s", err.text);
	return dns;
}

#define NO_ANSWER "no DNS server gave an answer (server failure or refused)"

static const struct {
	const char *host;
	enum dns_outcome outcome;
	const char *said; /* the addresses, or the reason */
} cases[] = {
	{ "both.example", DNS_FOUND, "::1 127.0.0.1 127.0.0.2" },
	{ "BOTH.Example.", DNS_FOUND, "::1 127.0.0.1 127.0.0.2" },
	{ "ipv4.example", DNS_FOUND, "127.0.0.1" },
	{ "ipv6.example", DNS_FOUND, "::1" },
	{ "ipv4-servfail.example", DNS_FOUND, "127.0.0.1" },
	{ "ipv4", DNS_FOUND, "127.0.0.1" }, /* no search list */
	{ "nodata.example", DNS_NOT_FOUND, "nodata.example: name has no address" },
	{ "nxdomain.example", DNS_NOT_FOUND, "nxdomain.example: name not found" },
	{ "servfail.example", DNS_FAILED, "servfail.example: " NO_ANSWER },
	{ "refused.example", DNS_FAILED, "refused.example: " NO_ANSWER },
	{ "notauth.example", DNS_FAILED, "notauth.example: broken answer from DNS" },
	{ "broken.example", DNS_FAILED, "broken.example: broken answer from DNS" },

	/* One of two that failed may have had an address: never permanent. */
	{ "servfail-nodata.example", DNS_FAILED, "servfail-nodata.example: " NO_ANSWER },
	{ "nodata-servfail.example", DNS_FAILED, "nodata-servfail.example: " NO_ANSWER },
	{ "servfail-nxdomain.example", DNS_FAILED, "servfail-nxdomain.example: " NO_ANSWER },
	{ "silent.example", DNS_FAILED, "silent.example: no answer from DNS in time" },
	{ "ipv4-silent.example", DNS_FOUND, "127.0.0.1" },

	/* Without a question to the server. */
	{ "192.0.2.7", DNS_FOUND, "192.0.2.7" },
	{ "2001:db8::7", DNS_FOUND, "2001:db8::7" },
	{ "", DNS_NOT_FOUND, ": name not found" },
	{ ".", DNS_NOT_FOUND, ".: name not found" },
	{ "a..b", DNS_NOT_FOUND, "a..b: name not found" },
	{ "label-of-64-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example",
	  DNS_NOT_FOUND,
	  "label-of-64-characters-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx.example: name not "
	  "found" },
};

static void test_answers(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 2);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].outcome == DNS_FOUND && !has_ipv6() && strchr(cases[i].said, ' '))
			continue; /* the order is another one there */
		ask(&q, loop, dns, cases[i].host);
		RUN_UNTIL(loop, q.is_answered);
		if (q.outcome != cases[i].outcome ||
		    strcmp(q.outcome == DNS_FOUND ? q.addresses : q.reason, cases[i].said) != 0)
			fail_msg("\"%s\": outcome %d, \"%s\" %s", cases[i].host, q.outcome,
				 q.addresses, q.reason);
	}
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_tcp(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 5000, 2);
	ask(&q, loop, dns, "truncated.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_string_equal(q.addresses, "127.0.0.1 127.0.0.2 127.0.0.3");
	assert_int_equal(server.tcp_queries, 1);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_at_once(void **state)
{
	struct loop *loop = test_start();
	struct question questions[ARRAY_SIZE(zone)];
	char host[64];
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 2);
	for (size_t i = 0; i < ARRAY_SIZE(zone); i++) {
		snprintf(host, sizeof(host), "%s.example", zone[i].label);
		ask(&questions[i], loop, dns, host);
	}
	for (size_t i = 0; i < ARRAY_SIZE(zone); i++)
		RUN_UNTIL(loop, questions[i].is_answered);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_hosts_file(void **state)
{
	struct loop *loop = test_start();
	struct server server;
	struct question q;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 100, 1);
	ask(&q, loop, dns, "localhost");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FOUND);
	assert_non_null(strstr(q.addresses, "127.0.0.1"));
	assert_int_equal(server.queries, 0);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_cancel(void **state)
{
	struct loop *loop = test_start();
	struct question waiting, literal, other, unanswered;
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 20, 1);

	/* On its way, answered by the server, answered without it, and never. */
	ask(&waiting, loop, dns, "silent.example");
	dns_cancel(waiting.query);
	ask(&literal, loop, dns, "192.0.2.7");
	dns_cancel(literal.query);
	ask(&other, loop, dns, "both.example");
	dns_cancel(other.query);
	ask(&unanswered, loop, dns, "silent.example");
	RUN_UNTIL(loop, unanswered.is_answered);
	assert_false(waiting.is_answered || literal.is_answered || other.is_answered);
	dns_cancel(NULL);

	/* dns_free() drops what runs; once also from inside an answer. */
	ask(&waiting, loop, dns, "silent.example");
	ask(&literal, loop, dns, "192.0.2.7");
	ask(&other, loop, dns, "ipv4.example");
	literal.frees_dns = true;
	RUN_UNTIL(loop, literal.is_answered);
	assert_false(waiting.is_answered || other.is_answered);
	dns_free(NULL);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

/*
 * Nobody listens there: the next server is asked. (The kernel says so at once,
 * but of two queries that leave together c-ares learns it for one only.)
 */
static void test_next_server(void **state)
{
	struct loop *loop = test_start();
	struct net_address unused;
	char text[2][NET_ADDRESS_TEXT_SIZE], servers[256];
	struct dns_options options = { servers, 100, 1 };
	struct server server;
	struct question q;
	struct error err;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	unused = server.address;
	server_stop(&server);
	server_start(&server, loop);
	snprintf(servers, sizeof(servers), " %s,  %s ", net_address_text(&unused, text[0]),
		 net_address_text(&server.address, text[1]));
	assert_int_equal(dns_new(loop, &options, &dns, &err), 0);
	ask(&q, loop, dns, "ipv4.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FOUND);
	dns_free(dns);

	/* With that one alone there is no answer. */
	snprintf(servers, sizeof(servers), "%s", text[0]);
	assert_int_equal(dns_new(loop, &options, &dns, &err), 0);
	ask(&q, loop, dns, "ipv4.example");
	RUN_UNTIL(loop, q.is_answered);
	assert_int_equal(q.outcome, DNS_FAILED);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_servers_option(void **state)
{
	static const struct {
		const char *servers, *error; /* NULL: right */
	} options[] = {
		{ NULL, NULL },
		{ "", NULL },
		{ "192.0.2.1", NULL },
		{ "192.0.2.1:5300, [2001:db8::1]:53 [2001:db8::1]\t2001:db8::1", NULL },
		{ "ns.example", "resolver: \"ns.example\": expected ADDRESS or ADDRESS:PORT" },
		{ "192.0.2.1, 192.0.2.2:dns",
		  "resolver: \"192.0.2.2:dns\": expected ADDRESS or ADDRESS:PORT" },
	};
	struct loop *loop = test_start();
	struct error err;
	struct dns *dns;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct dns_options o = { .servers = options[i].servers };
		int r = dns_new(loop, &o, &dns, &err);

		if ((r == 0) != !options[i].error)
			fail_msg("%s", options[i].servers);
		if (r == 0)
			dns_free(dns);
		else
			assert_string_equal(err.text, options[i].error);
	}
	test_end(loop, NULL, NULL);
}

/* RFC 6724, as far as it can be seen on any machine: loopback is all that surely can be reached. */
struct secure {
	struct loop *loop;
	struct dns_query *query;
	char said[256];
};

static void on_secure(void *arg, const struct dns_answer *answer)
{
	struct secure *s = arg;

	snprintf(s->said, sizeof(s->said), "%d %zu %s %s", answer->outcome, answer->count,
		 answer->is_secure ? "secure" : "insecure", answer->canonical);
	dns_cancel(s->query);
	loop_stop(s->loop);
}

static void on_tlsa(void *arg, const struct dns_tlsa_answer *answer)
{
	struct secure *s = arg;
	int n = snprintf(s->said, sizeof(s->said), "%d %s", answer->outcome,
			 answer->is_secure ? "secure" : "insecure");

	for (size_t i = 0; i < answer->count; i++)
		n += snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %d/%d/%d %zu:%02x",
			      answer->records[i].usage, answer->records[i].selector,
			      answer->records[i].matching, answer->records[i].data.len,
			      (unsigned char)answer->records[i].data.ptr[31]);
	if (answer->reason)
		snprintf(s->said + n, sizeof(s->said) - (size_t)n, " %s", answer->reason);
	loop_stop(s->loop);
}

/* Only a server that was asked for it, and that is on this host, can make an answer secure. */
static void test_secure(void **state)
{
	static const struct {
		const char *host, *addresses, *tlsa;
	} secure_cases[] = {
		{ "signed.example", "1 1 secure signed.example",
		  "1 secure 3/1/1 32:a0 3/1/1 32:a1" },
		{ "unsigned.example", "1 1 insecure unsigned.example",
		  "1 insecure 3/1/1 32:a0 3/1/1 32:a1" },
		{ "notlsa.example", "1 1 secure notlsa.example",
		  "2 secure _25._tcp.notlsa.example: name has no TLSA record" },
		{ "notlsaname.example", "1 1 secure notlsaname.example",
		  "2 secure _25._tcp.notlsaname.example: name not found" },
		{ "bogus.example", "1 1 secure bogus.example",
		  "3 insecure _25._tcp.bogus.example: " NO_ANSWER },
		{ "alias.example", "1 1 secure real.example", "1 secure 3/1/1 32:a0" },
		{ "cut.example", "1 1 secure cut.example",
		  "3 secure _25._tcp.cut.example: broken answer from DNS" },
		{ "short.example", "1 1 secure short.example",
		  "3 secure _25._tcp.short.example: broken answer from DNS" },
		{ "127.0.0.1", "1 1 insecure 127.0.0.1", NULL },
		{ "localhost", NULL, NULL },
	};
	struct loop *loop = test_start();
	struct server server;
	struct dns *dns;

	(void)state;
	server_start(&server, loop);
	dns = resolver_new(loop, &server, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(secure_cases); i++) {
		struct secure s = { .loop = loop };
		char name[64];

		s.query = dns_secure_addresses(dns, secure_cases[i].host, on_secure, &s);
		while (!s.said[0])
			loop_run(loop);
		if (secure_cases[i].addresses)
			assert_string_equal(s.said, secure_cases[i].addresses);
		else
			assert_non_null(strstr(s.said, " insecure "));
		if (!secure_cases[i].tlsa)
			continue;
		s.said[0] = '\0';
		snprintf(name, sizeof(name), "_25._tcp.%s", secure_cases[i].host);
		dns_tlsa(dns, name, on_tlsa, &s);
		while (!s.said[0])
			loop_run(loop);
		assert_string_equal(s.said, secure_cases[i].tlsa);
	}
	/* Those that run are dropped with the resolver. */
	dns_tlsa(dns, "_25._tcp.signed.example", on_tlsa, NULL);
	dns_secure_addresses(dns, "signed.example", on_secure, NULL);
	dns_free(dns);
	server_stop(&server);
	test_end(loop, NULL, NULL);
}

static void test_local_servers(void **state)
{
	(void)state;
	assert_true(dns_servers_are_local("127.0.0.1"));
	assert_true(dns_servers_are_local("127.0.0.53:5300, [::1]:53 ::1"));
	assert_false(dns_servers_are_local("192.0.2.1"));
	assert_false(dns_servers_are_local("127.0.0.1, 192.0.2.1"));
	assert_false(dns_servers_are_local("[2001:db8::1]"));
	assert_false(dns_servers_are_local("what?"));
}

static void test_order(void **state)
{
	static const char *const ips[] = { "192.0.2.1", "127.0.0.2", "2001:db8::1", "127.0.0.1",
					   "::1" };
	struct net_address addresses[ARRAY_SIZE(ips)];
	char text[NET_ADDRESS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++)
		assert_true(net_address_parse_ip(slice_from(ips[i]), 0, &addresses[i]));
	net_order_addresses(addresses, ARRAY_SIZE(ips));
	if (!has_ipv6())
		skip();
	assert_string_equal(net_address_ip(&addresses[0], text), "::1");
	net_order_addresses(addresses, 0);
	net_order_addresses(NULL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(ips); i++) {
		if (strcmp(net_address_ip(&addresses[i], text), "127.0.0.2") == 0)
			assert_string_equal(net_address_ip(&addresses[i + 1], text), "127.0.0.1");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_at_once),
		cmocka_unit_test(test_tcp),
		cmocka_unit_test(test_hosts_file),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_next_server),
		cmocka_unit_test(test_servers_option),
		cmocka_unit_test(test_secure),
		cmocka_unit_test(test_local_servers),
		cmocka_unit_test(test_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
