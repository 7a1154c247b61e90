/* test_address - addresses and networks as operators write them and peers show them */

#include "net/address.h"
#include "net/testing.h"

#include "base/macros.h"

static const struct {
	const char *text, *ip, *with_port; /* NULL: no address */
} addresses[] = {
	{ "127.0.0.1:25", "127.0.0.1", "127.0.0.1:25" },
	{ "0.0.0.0:0", "0.0.0.0", "0.0.0.0:0" },
	{ "192.0.2.1:65535", "192.0.2.1", "192.0.2.1:65535" },
	{ "[::1]:25", "::1", "[::1]:25" },
	{ "[2001:DB8:0::1]:465", "2001:db8::1", "[2001:db8::1]:465" },
	{ "[::ffff:192.0.2.1]:25", "192.0.2.1", "192.0.2.1:25" },
	{ "[::]:25", "::", "[::]:25" },
	{ "127.0.0.1", NULL, NULL },
	{ "127.0.0.1:", NULL, NULL },
	{ "127.0.0.1:65536", NULL, NULL },
	{ "127.0.0.1:25 ", NULL, NULL },
	{ "127.0.0.1:-1", NULL, NULL },
	{ "127.1:25", NULL, NULL },
	{ "[127.0.0.1]:25", NULL, NULL },
	{ "::1:25", NULL, NULL },
	{ "[::1]", NULL, NULL },
	{ "[::1]25", NULL, NULL },
	{ "[::1:25", NULL, NULL },
	{ "[]:25", NULL, NULL },
	{ "mail.example:25", NULL, NULL },
	{ ":25", NULL, NULL },
	{ "", NULL, NULL },
};

static void test_parse(void **state)
{
	char text[NET_ADDRESS_TEXT_SIZE];
	struct net_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
		if (net_address_parse(slice_from(addresses[i].text), &a) != !!addresses[i].ip)
			fail_msg("\"%s\"", addresses[i].text);
		if (!addresses[i].ip)
			continue;
		assert_string_equal(net_address_ip(&a, text), addresses[i].ip);
		assert_string_equal(net_address_text(&a, text), addresses[i].with_port);
	}
}

static void test_none(void **state)
{
	struct net_address none = { 0 };
	char text[NET_ADDRESS_TEXT_SIZE];

	(void)state;
	assert_string_equal(net_address_ip(&none, text), "");
	assert_string_equal(net_address_text(&none, text), "");
	assert_int_equal(net_address_port(&none), 0);
	assert_false(net_address_is_loopback(&none));
}

static void test_ip(void **state)
{
	struct net_address a;

	(void)state;
	assert_true(net_address_parse_ip(SLICE("2001:db8::1"), 587, &a));
	assert_int_equal(net_address_port(&a), 587);
	net_address_set_port(&a, 25);
	assert_int_equal(net_address_port(&a), 25);
	assert_int_equal(a.len, sizeof(struct sockaddr_in6));

	assert_false(net_address_parse_ip(SLICE("[::1]"), 25, &a));
	assert_false(net_address_parse_ip(SLICE("192.0.2.1\0"), 25, &a));
	assert_false(net_address_parse_ip(SLICE("192.0.2.256"), 25, &a));
	assert_false(net_address_parse_ip(SLICE(""), 25, &a));
}

static void test_loopback(void **state)
{
	static const struct {
		const char *ip;
		bool is_loopback;
	} cases[] = {
		{ "127.0.0.1", true },	{ "127.16.108.100", true },
		{ "::1", true },	{ "::ffff:127.0.0.1", true },
		{ "128.0.0.1", false }, { "::2", false },
		{ "::", false },	{ "::ffff:192.0.2.1", false },
	};
	struct net_address a;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(net_address_parse_ip(slice_from(cases[i].ip), 0, &a));
		if (net_address_is_loopback(&a) != cases[i].is_loopback)
			fail_msg("%s", cases[i].ip);
	}
}

static const struct {
	const char *prefix, *ip;
	bool contains;
} prefixes[] = {
	{ "127.0.0.0/8", "127.255.0.1", true },
	{ "127.0.0.0/8", "128.0.0.1", false },
	{ "192.0.2.0/25", "192.0.2.127", true },
	{ "192.0.2.0/25", "192.0.2.128", false },
	{ "192.0.2.1", "192.0.2.1", true },
	{ "192.0.2.1", "192.0.2.2", false },
	{ "192.0.2.0/24", "::ffff:192.0.2.9", true },
	{ "192.0.2.0/24", "2001:db8::1", false },
	{ "0.0.0.0/0", "203.0.113.7", true },
	{ "0.0.0.0/0", "::1", false },
	{ "[::1]/128", "::1", true },
	{ "[::1]", "::2", false },
	{ "[2001:db8::]/32", "2001:db8:ffff::1", true },
	{ "[2001:db8::]/33", "2001:db8:ffff::1", false },
	{ "2001:db8::/32", "2001:db9::1", false },
	{ "[::]/0", "2001:db8::1", true },
	{ "[::]/0", "192.0.2.1", false },
	{ "[::ffff:192.0.2.0]/120", "192.0.2.200", true },
	{ "[::ffff:192.0.2.0]/120", "192.0.3.1", false },
};

static void test_prefix(void **state)
{
	struct net_prefix prefix;
	struct net_address a;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++) {
		if (net_prefix_parse(slice_from(prefixes[i].prefix), &prefix, &err) < 0)
			fail_msg("%s", err.text);
		assert_true(net_address_parse_ip(slice_from(prefixes[i].ip), 25, &a));
		if (net_prefix_contains(&prefix, &a) != prefixes[i].contains)
			fail_msg("%s in %s", prefixes[i].ip, prefixes[i].prefix);
	}
}

static const struct {
	const char *text, *error;
} bad_prefixes[] = {
	{ "192.0.2.1/24", "\"192.0.2.1/24\": address bits are set behind the prefix length; "
			  "perhaps 192.0.2.0/24 is meant" },
	{ "[2001:db8::1]/64", "\"[2001:db8::1]/64\": address bits are set behind the prefix "
			      "length; perhaps [2001:db8::]/64 is meant" },
	{ "192.0.2.0/33", "\"192.0.2.0/33\": bad prefix length; expected /0 to /32" },
	{ "192.0.2.0/", "\"192.0.2.0/\": bad prefix length; expected /0 to /32" },
	{ "[::1]128", "\"[::1]128\": bad prefix length; expected /0 to /128" },
	{ "[::1/128", "\"[::1/128\": ']' is missing" },
	{ "example.net", "\"example.net\": not a network; expected an address such as 192.0.2.1, "
			 "192.0.2.0/24 or [2001:db8::]/32" },
};

static void test_prefix_errors(void **state)
{
	struct net_prefix prefix;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_prefixes); i++) {
		if (net_prefix_parse(slice_from(bad_prefixes[i].text), &prefix, &err) >= 0)
			fail_msg("%s was taken", bad_prefixes[i].text);
		assert_string_equal(err.text, bad_prefixes[i].error);
	}
}

static void test_networks_of_addresses(void **state)
{
	static const struct {
		const char *ip;
		unsigned int ipv4_bits, ipv6_bits;
		const char *want;
	} networks[] = {
		{ "192.0.2.77", 32, 64, "192.0.2.77" },
		{ "192.0.2.77", 24, 64, "192.0.2.0/24" },
		{ "192.0.2.77", 27, 64, "192.0.2.64/27" },
		{ "::ffff:192.0.2.77", 24, 64, "192.0.2.0/24" },
		{ "2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::/64" },
		{ "2001:db8:1:2:3:4:5:6", 32, 84, "2001:db8:1:2:3::/84" },
		{ "2001:db8::6", 32, 128, "2001:db8::6" },
	};
	char out[NET_ADDRESS_TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(networks); i++) {
		struct net_address a;

		assert_true(net_address_parse_ip(slice_from(networks[i].ip), 25, &a));
		assert_string_equal(net_address_network(&a, networks[i].ipv4_bits,
							networks[i].ipv6_bits, out),
				    networks[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_ip),
		cmocka_unit_test(test_loopback),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_prefix_errors),
		cmocka_unit_test(test_networks_of_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
