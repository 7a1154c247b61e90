/* test_dns_message - answers as bytes: those that are whole, and those that are not */
#include "net/dns_message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/macros.h"

/* Flags, counts of answer and authority; the question is for "a". */
#define HEAD(flags, answers, authority)                                                            \
	"\x12\x34\x81" flags "\0\x01\0" answers "\0" authority "\0\0"                              \
	"\x01"                                                                                     \
	"a\0\0\x01\0\x01"
#define OWNER	   "\xc0\x0c"
#define A(ttl, ip) OWNER "\0\x01\0\x01\0\0\0" ttl "\0\x04" ip
#define MX_TO_B                                                                                    \
	OWNER "\0\x0f\0\x01\0\0\0\x3c\0\x05\0\x0a\x01"                                             \
	      "b\0"
#define CNAME_TO_B                                                                                 \
	OWNER "\0\x05\0\x01\0\0\0\x14\0\x03\x01"                                                   \
	      "b\0"
#define SOA(ttl, min)                                                                              \
	OWNER "\0\x06\0\x01\0\0\0" ttl                                                             \
	      "\0\x16\0\0\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0" min

#define CASE(label, type, bytes, said)                                                             \
	{                                                                                          \
		label, type, bytes, sizeof(bytes) - 1, said                                        \
	}

static const struct {
	const char *label;
	enum dns_type type;
	const char *bytes;
	size_t len;
	const char *said; /* outcome, count, TTL, name at the end of CNAMEs */
} cases[] = {
	CASE("one address", DNS_TYPE_A, HEAD("\x80", "\x01", "\0") A("\x3c", "\x7f\0\0\x01"),
	     "1 1 60 -"),
	CASE("the least TTL", DNS_TYPE_A,
	     HEAD("\x80", "\x02", "\0") A("\x3c", "\x7f\0\0\x01") A("\x0a", "\x7f\0\0\x02"),
	     "1 2 10 -"),
	CASE("a TTL of more than 31 bits", DNS_TYPE_A,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x01\0\x01\x80\0\0\0\0\x04\x7f\0\0\x01",
	     "1 1 0 -"),
	CASE("behind an alias", DNS_TYPE_A,
	     HEAD("\x80", "\x02", "\0") CNAME_TO_B A("\x3c", "\x7f\0\0\x01"), "1 1 20 b"),
	CASE("an alias alone", DNS_TYPE_A, HEAD("\x80", "\x01", "\0") CNAME_TO_B, "2 0 - b"),
	CASE("an alias, and nothing there", DNS_TYPE_A,
	     HEAD("\x80", "\x01", "\x01") CNAME_TO_B SOA("\x0a", "\x0a"), "2 0 10 b"),
	CASE("of another type", DNS_TYPE_A, HEAD("\x80", "\x01", "\0") MX_TO_B, "2 0 - -"),
	CASE("an exchanger", DNS_TYPE_MX, HEAD("\x80", "\x01", "\0") MX_TO_B, "1 1 60 - 10 b"),
	CASE("none", DNS_TYPE_MX, HEAD("\x80", "\0", "\0"), "2 0 - -"),
	CASE("the minimum of the zone", DNS_TYPE_MX, HEAD("\x80", "\0", "\x01") SOA("\x3c", "\x1e"),
	     "2 0 30 -"),
	CASE("the TTL of the SOA", DNS_TYPE_MX, HEAD("\x80", "\0", "\x01") SOA("\x14", "\x1e"),
	     "2 0 20 -"),
	CASE("half a SOA", DNS_TYPE_MX, HEAD("\x80", "\0", "\x01") OWNER "\0\x06", "2 0 - -"),
	CASE("no such name", DNS_TYPE_MX, HEAD("\x83", "\0", "\x01") SOA("\x14", "\x1e"),
	     "3 0 20 -"),
	CASE("no such name, with records", DNS_TYPE_A,
	     HEAD("\x83", "\x01", "\0") A("\x3c", "\x7f\0\0\x01"), "3 0 - -"),
	CASE("server failure", DNS_TYPE_A, HEAD("\x82", "\0", "\0"), "4 0 - -"),

	CASE("nothing", DNS_TYPE_A, "", "5 0 - -"),
	CASE("half a header", DNS_TYPE_A, "\x12\x34\x81\x80\0", "5 0 - -"),
	CASE("without its question", DNS_TYPE_A, "\x12\x34\x81\x80\0\x01\0\x01\0\0\0\0", "5 0 - -"),
	CASE("less than promised", DNS_TYPE_A, HEAD("\x80", "\x02", "\0") A("\x3c", "\x7f\0\0\x01"),
	     "5 0 60 -"),
	CASE("an address of five bytes", DNS_TYPE_A,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x01\0\x01\0\0\0\x3c\0\x05\x7f\0\0\x01\0",
	     "5 0 - -"),
	CASE("an IPv6 address of four", DNS_TYPE_AAAA,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x1c\0\x01\0\0\0\x3c\0\x04\x7f\0\0\x01",
	     "5 0 - -"),
	CASE("data beyond the end", DNS_TYPE_A,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x01\0\x01\0\0\0\x3c\0\x09\x7f\0\0\x01",
	     "5 0 - -"),
	CASE("a preference alone", DNS_TYPE_MX,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x0f\0\x01\0\0\0\x3c\0\x02\0\x0a", "5 0 - -"),
	CASE("a name beyond its record", DNS_TYPE_MX,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x0f\0\x01\0\0\0\x3c\0\x04\0\x0a\x01"
					      "b\0",
	     "5 0 - -"),
	CASE("a name that leads to itself", DNS_TYPE_MX,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x0f\0\x01\0\0\0\x3c\0\x04\0\x0a\xc0\x21",
	     "5 0 - -"),
	CASE("the second of two is broken", DNS_TYPE_MX,
	     HEAD("\x80", "\x02", "\0") MX_TO_B OWNER "\0\x0f\0\x01\0\0\0\x3c\0\x02\0\x0a",
	     "5 0 60 -"),
	CASE("TLSA without data", DNS_TYPE_TLSA,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x34\0\x01\0\0\0\x3c\0\x03\x03\x01\x01",
	     "5 0 - -"),
	CASE("TLSA", DNS_TYPE_TLSA,
	     HEAD("\x80", "\x01", "\0") OWNER "\0\x34\0\x01\0\0\0\x3c\0\x04\x03\x01\x01\xaa",
	     "1 1 60 -"),
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* Of its very size, so that a sanitizer sees who reads behind it. */
		char *bytes = memcpy(malloc(MAX(cases[i].len, 1)), cases[i].bytes, cases[i].len);
		struct dns_records got;
		enum dns_message_outcome outcome =
			dns_message_parse(slice_of(bytes, cases[i].len), cases[i].type, &got);
		struct buf said = { 0 };
		char *text;

		buf_printf(&said, "%d %zu ", outcome, got.count);
		if (got.has_ttl)
			buf_printf(&said, "%u ", got.ttl_s);
		else
			buf_append_string(&said, "- ");
		buf_append_string(&said, got.canonical ? got.canonical : "-");
		if (got.mx && got.count)
			buf_printf(&said, " %u %s", got.mx[0].preference, got.mx[0].exchange);
		text = buf_steal_string(&said);
		if (strcmp(text, cases[i].said) != 0)
			fail_msg("%s: %s instead of %s", cases[i].label, text, cases[i].said);
		free(text);
		dns_records_done(&got);
		free(bytes);
	}
}

/* Those behind the last that is kept are not looked at, and the rest counts. */
static void test_many(void **state)
{
	static const char one[] = A("\x3c", "\x7f\0\0\x01");
	struct buf message = { 0 };
	struct dns_records got;

	(void)state;
	buf_append(&message, HEAD("\x80", "\x50", "\0"), sizeof(HEAD("\x80", "\x50", "\0")) - 1);
	for (int i = 0; i < 80; i++)
		buf_append(&message, one, sizeof(one) - 1);
	assert_int_equal(dns_message_parse(buf_slice(&message), DNS_TYPE_A, &got),
			 DNS_MESSAGE_RECORDS);
	assert_int_equal(got.count, DNS_RECORDS_MAX);
	dns_records_done(&got);
	buf_done(&message);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
