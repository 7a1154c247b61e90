/*
 * dns_message - what an answer of a name server says (RFC 1035 section 4)
 *
 * Bytes in, records out; no I/O. The bytes come from a network: whatever they
 * are, the result is records that fit together, or none.
 */
#pragma once

#include "net/dns.h"

#define DNS_RECORDS_MAX 32 /* of one answer; those behind are left out */

enum dns_type {
	DNS_TYPE_A = 1,
	DNS_TYPE_MX = 15,
	DNS_TYPE_AAAA = 28,
	DNS_TYPE_TLSA = 52,
};

enum dns_message_outcome {
	DNS_MESSAGE_RECORDS = 1, /* one at least of the type asked for */
	DNS_MESSAGE_NO_RECORDS,	 /* the name has none of this type */
	DNS_MESSAGE_NO_NAME,	 /* it does not exist, so it has none of any type */
	DNS_MESSAGE_FAILURE,	 /* a response code that is no answer */
	DNS_MESSAGE_BROKEN,
};

/* All memory is its own. */
struct dns_records {
	bool is_authentic; /* the AD bit */
	bool has_ttl;	   /* else nobody says for how long this holds, */
	uint32_t ttl_s;	   /*   which is the least of all that was used; RFC 2308 section 5 */
	char *canonical;   /* the end of a chain of CNAMEs; NULL: there was none */
	size_t count;	   /* of the one that is asked for: */
	struct net_address *addresses;
	struct dns_mx *mx;
	struct dns_tlsa *tlsa;
	char *bytes; /* what the records above point into; NULL: nothing */
};

/*
 * Records of the type in the answer section, whoever owns them: there may be
 * CNAMEs in front of them. ret is to be ended whatever comes back; without
 * DNS_MESSAGE_RECORDS its count is 0.
 */
enum dns_message_outcome dns_message_parse(struct slice message, enum dns_type type,
					   struct dns_records *ret);
void dns_records_done(struct dns_records *records);
