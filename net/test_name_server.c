#include "net/test_name_server.h"

#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "net/internal.h"

#define HEADER_SIZE 12

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
	const char *mx;	  /* "10 mx1.example 20 mx2.example" */
	unsigned int soa; /* its minimum; 0: there is none */
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
	{ "soa", { 0, 0 }, { 0, 0 }, .soa = 30 },
	{ "mx", { 0, 0 }, { 1, 0 }, .mx = "20 mx2.example 10 mx1.example" },
	{ "equalmx", { 0, 0 }, { 0, 0 }, .mx = "20 c.example 10 a.example 10 b.example" },
	{ "nullmx", { 0, 0 }, { 0, 0 }, .mx = "0 ." },
	{ "brokenmx", { 0, 0 }, { 0, 0 }, .mx = "" },
};

const char *server_behaviour(unsigned int index)
{
	return index < ARRAY_SIZE(zone) ? zone[index].label : NULL;
}

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

/* "mx1.example", without compression; "." is the root. */
static void put_name(struct buf *out, struct slice name)
{
	struct slice label;

	while (slice_next_word(&name, ".", &label)) {
		buf_append(out, (char[]){ (char)label.len }, 1);
		buf_append_slice(out, label);
	}
	buf_append(out, "", 1);
}

/* Returns how many there are. */
static unsigned int put_mx(struct buf *out, const char *mx)
{
	struct slice rest = slice_from(mx ? mx : ""), preference, name;
	unsigned int count = 0;

	for (; slice_next_word(&rest, " ", &preference); count++) {
		struct buf data = { 0 };

		slice_next_word(&rest, " ", &name);
		put16(&data, (unsigned int)atoi(preference.ptr));
		put_name(&data, name);
		put_record(out, ns_t_mx, data.mem, buf_len(&data));
		buf_done(&data);
	}
	if (mx && count == 0) { /* half a preference */
		put_record(out, ns_t_mx, "\0", 1);
		count = 1;
	}
	return count;
}

/* One that lives for 100 seconds, of a zone whose names that are not there live for minimum_s. */
static void put_soa(struct buf *out, unsigned int minimum_s)
{
	char data[22] = { [21] = (char)minimum_s }; /* two roots as names */

	put_record(out, ns_t_soa, data, sizeof(data));
	out->mem[out->end - sizeof(data) - 3] = 100;
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
	struct buf mx = { 0 };

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
	if (type == ns_t_mx)
		count = put_mx(&mx, zone[behaviour].mx);
	put16(out, 0x8180 | (unsigned int)rcode);
	put16(out, 1);
	put16(out, count);
	put16(out, zone[behaviour].soa > 0);
	put16(out, 0);
	buf_append(out, question.ptr + HEADER_SIZE, end - HEADER_SIZE);
	buf_append_slice(out, buf_slice(&mx));
	buf_done(&mx);
	if (zone[behaviour].soa)
		put_soa(out, zone[behaviour].soa);
	for (unsigned int i = 0; type != ns_t_mx && i < count; i++) {
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

void server_start(struct server *server, struct loop *loop)
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

void server_stop(struct server *server)
{
	poller_free(server->poller);
	close(server->fd);
	listener_free(server->listener);
	stream_free(server->stream, 0);
}
