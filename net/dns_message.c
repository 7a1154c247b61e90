/*
 * dns_message - one walk over a message: header, questions, answers, authority
 *
 * Names are expanded by c-ares, which knows about compression and its loops;
 * everything else is counted by hand, and each length is compared with what is
 * there before it is used.
 */
#include "net/dns_message.h"

#include <ares.h>
#include <arpa/nameser.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "net/internal.h"

/* Places in a message: RFC 1035 section 4.1.1, RFC 4035 section 3.2.3. */
#define HEADER_SIZE    12
#define RCODE_OFFSET   3 /* low four bits */
#define AD_OFFSET      3
#define AD_BIT	       0x20
#define QDCOUNT_OFFSET 4
#define ANCOUNT_OFFSET 6
#define NSCOUNT_OFFSET 8

#define TYPE_CNAME  5
#define TYPE_SOA    6
#define TTL_MAX	    0x7fffffff /* RFC 2181 section 8: more than that is 0 */
#define MX_HEAD	    2	       /* preference */
#define TLSA_HEAD   3	       /* usage, selector, matching type */
#define SOA_NUMBERS 20

struct walk {
	const unsigned char *bytes;
	int len, at;
};

struct record {
	unsigned int type;
	uint32_t ttl_s;
	int data_at; /* where its data begin, */
	unsigned int size;
};

static unsigned int get16(const unsigned char *bytes)
{
	return (unsigned int)bytes[0] << 8 | bytes[1];
}

static uint32_t get32(const unsigned char *bytes)
{
	return (uint32_t)get16(bytes) << 16 | get16(bytes + 2);
}

/* The name at w->at, which the caller frees; NULL: there is none. */
static char *take_name(struct walk *w)
{
	char *name = NULL, *copy;
	long used = 0;

	if (w->at >= w->len ||
	    ares_expand_name(w->bytes + w->at, w->bytes, w->len, &name, &used) != ARES_SUCCESS)
		return NULL;
	w->at += (int)used;
	copy = slice_strdup(slice_from(name));
	ares_free_string(name);
	return copy;
}

static bool skip_name(struct walk *w)
{
	char *name = take_name(w);

	free(name);
	return name != NULL;
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

static bool next_record(struct walk *w, struct record *ret)
{
	const unsigned char *head;

	if (!skip_name(w) || w->len - w->at < 10)
		return false;
	head = w->bytes + w->at;
	ret->type = get16(head);
	ret->ttl_s = get32(head + 4) > TTL_MAX ? 0 : get32(head + 4);
	ret->size = get16(head + 8);
	ret->data_at = w->at + 10;
	w->at += 10;
	if ((unsigned int)(w->len - w->at) < ret->size)
		return false;
	w->at += (int)ret->size;
	return true;
}

static void note_ttl(struct dns_records *records, uint32_t ttl_s)
{
	records->ttl_s = records->has_ttl ? MIN(records->ttl_s, ttl_s) : ttl_s;
	records->has_ttl = true;
}

/* A name within the data of a record, which may be compressed. */
static char *name_in(const struct walk *w, const struct record *record, unsigned int offset)
{
	struct walk inner = { w->bytes, w->len, record->data_at + (int)offset };
	char *name;

	if (record->size <= offset)
		return NULL;
	name = take_name(&inner);
	if (name && inner.at > record->data_at + (int)record->size) {
		free(name);
		return NULL;
	}
	return name;
}

/* ---- one for each type; false: the record is broken ---- */

static bool add_address(struct dns_records *records, int family, const unsigned char *ip,
			unsigned int size)
{
	struct net_address *a = &records->addresses[records->count];

	if (size != (family == AF_INET ? 4 : 16))
		return false;
	*a = (struct net_address){ .len = family == AF_INET ? sizeof(a->in) : sizeof(a->in6) };
	a->sa.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		memcpy(&a->in.sin_addr, ip, size);
	else
		memcpy(&a->in6.sin6_addr, ip, size);
	records->count++;
	return true;
}

static bool add_mx(struct dns_records *records, const struct walk *w, const struct record *record)
{
	struct dns_mx *mx = &records->mx[records->count];

	mx->exchange = name_in(w, record, MX_HEAD);
	if (!mx->exchange)
		return false;
	mx->preference = get16(w->bytes + record->data_at);
	records->count++;
	return true;
}

static bool add_tlsa(struct dns_records *records, const struct record *record)
{
	const char *data = records->bytes + record->data_at;

	if (record->size <= TLSA_HEAD)
		return false;
	records->tlsa[records->count++] = (struct dns_tlsa){
		.usage = (unsigned char)data[0],
		.selector = (unsigned char)data[1],
		.matching = (unsigned char)data[2],
		.data = slice_of(data + TLSA_HEAD, record->size - TLSA_HEAD),
	};
	return true;
}

static bool add_record(struct dns_records *records, const struct walk *w,
		       const struct record *record)
{
	const unsigned char *data = w->bytes + record->data_at;

	if (records->count == DNS_RECORDS_MAX)
		return true;
	switch (record->type) {
	case DNS_TYPE_A:
		return add_address(records, AF_INET, data, record->size);
	case DNS_TYPE_AAAA:
		return add_address(records, AF_INET6, data, record->size);
	case DNS_TYPE_MX:
		return add_mx(records, w, record);
	default:
		return add_tlsa(records, record);
	}
}

static void make_room(struct dns_records *records, enum dns_type type, unsigned int answers)
{
	size_t count = MIN(answers, DNS_RECORDS_MAX);

	if (type == DNS_TYPE_MX)
		records->mx = net_new(count * sizeof(*records->mx));
	else if (type == DNS_TYPE_TLSA)
		records->tlsa = net_new(count * sizeof(*records->tlsa));
	else
		records->addresses = net_new(count * sizeof(*records->addresses));
}

static bool parse_answers(struct walk *w, enum dns_type type, struct dns_records *records)
{
	unsigned int answers = get16(w->bytes + ANCOUNT_OFFSET);
	struct record record;

	make_room(records, type, answers);
	while (answers-- > 0) {
		if (!next_record(w, &record))
			return false;
		if (record.type == TYPE_CNAME) {
			free(records->canonical);
			records->canonical = name_in(w, &record, 0);
			if (!records->canonical)
				return false;
			note_ttl(records, record.ttl_s);
		} else if (record.type == type) {
			if (!add_record(records, w, &record))
				return false;
			note_ttl(records, record.ttl_s);
		}
	}
	return true;
}

/* How long it holds that there is nothing: RFC 2308 section 5. */
static void parse_authority(struct walk *w, struct dns_records *records)
{
	struct record record;

	for (unsigned int i = get16(w->bytes + NSCOUNT_OFFSET); i > 0 && next_record(w, &record);
	     i--) {
		if (record.type != TYPE_SOA || record.size < SOA_NUMBERS)
			continue;
		note_ttl(records,
			 MIN(record.ttl_s, get32(w->bytes + record.data_at + record.size - 4)));
		return;
	}
	/* That of an alias alone says nothing of what it leads to. */
	records->has_ttl = false;
}

static void drop_records(struct dns_records *records)
{
	for (size_t i = 0; records->mx && i < records->count; i++)
		free((char *)records->mx[i].exchange);
	records->count = 0;
}

enum dns_message_outcome dns_message_parse(struct slice message, enum dns_type type,
					   struct dns_records *ret)
{
	struct walk w;
	int rcode;

	*ret = (struct dns_records){ .is_authentic = false };
	if (message.len < HEADER_SIZE || message.len > UINT16_MAX)
		return DNS_MESSAGE_BROKEN;
	rcode = message.ptr[RCODE_OFFSET] & 0xf;
	if (rcode != ns_r_noerror && rcode != ns_r_nxdomain)
		return DNS_MESSAGE_FAILURE;
	ret->is_authentic = message.ptr[AD_OFFSET] & AD_BIT;
	if (type == DNS_TYPE_TLSA)
		ret->bytes = slice_strdup(message);
	w = (struct walk){ (const unsigned char *)message.ptr, (int)message.len, 0 };
	if (!skip_questions(&w) || !parse_answers(&w, type, ret)) {
		drop_records(ret); /* half of them could be those that are not meant */
		return DNS_MESSAGE_BROKEN;
	}
	if (rcode == ns_r_noerror && ret->count > 0)
		return DNS_MESSAGE_RECORDS;
	drop_records(ret);
	parse_authority(&w, ret);
	return rcode == ns_r_nxdomain ? DNS_MESSAGE_NO_NAME : DNS_MESSAGE_NO_RECORDS;
}

void dns_records_done(struct dns_records *records)
{
	drop_records(records);
	free(records->addresses);
	free(records->mx);
	free(records->tlsa);
	free(records->canonical);
	free(records->bytes);
	*records = (struct dns_records){ .is_authentic = false };
}
