/*
 * fuzz_dns - answers of name servers
 *
 * The first byte says what was asked for, the rest is the message.
 */
#include <string.h>

#include "net/dns_message.h"
#include "tests/fuzz/fuzz.h"

static void check_mx(const struct dns_records *records)
{
	for (size_t i = 0; i < records->count; i++) {
		MUST(records->mx[i].exchange && records->mx[i].preference <= UINT16_MAX);
		/* 255 bytes, each of which takes four characters when it is escaped */
		MUST(strlen(records->mx[i].exchange) <= 4 * 255);
	}
}

static void check_addresses(const struct dns_records *records, enum dns_type type)
{
	for (size_t i = 0; i < records->count; i++) {
		char text[NET_ADDRESS_TEXT_SIZE];

		MUST(records->addresses[i].sa.sa_family ==
		     (type == DNS_TYPE_A ? AF_INET : AF_INET6));
		MUST(net_address_ip(&records->addresses[i], text)[0] != '\0');
	}
}

static void check_tlsa(const struct dns_records *records, size_t size)
{
	size_t sum = 0;

	for (size_t i = 0; i < records->count; i++) {
		MUST(records->tlsa[i].data.len > 0);
		for (size_t j = 0; j < records->tlsa[i].data.len; j++)
			sum += (unsigned char)records->tlsa[i].data.ptr[j];
	}
	MUST(sum <= size * 255);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const enum dns_type types[] = { DNS_TYPE_A, DNS_TYPE_AAAA, DNS_TYPE_MX,
					       DNS_TYPE_TLSA };
	enum dns_message_outcome outcome;
	struct dns_records records;
	enum dns_type type;

	if (size == 0)
		return 0;
	type = types[data[0] % 4];
	outcome = dns_message_parse(slice_of((const char *)data + 1, size - 1), type, &records);
	MUST((outcome == DNS_MESSAGE_RECORDS) == (records.count > 0));
	MUST(records.count <= DNS_RECORDS_MAX);
	MUST(records.ttl_s <= INT32_MAX);
	if (type == DNS_TYPE_MX)
		check_mx(&records);
	else if (type == DNS_TYPE_TLSA)
		check_tlsa(&records, size);
	else
		check_addresses(&records, type);
	dns_records_done(&records);
	return 0;
}
