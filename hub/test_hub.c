/* test_hub - who may send what through a hub */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "hub/hub.h"

static const struct {
	const char *client, *recipient;
	int code;
} cases[] = {
	{ "192.0.2.7", "bob@vm2.vm", 250 },
	{ "192.0.2.7", "bob@VM2.vm", 250 },
	{ "192.0.2.7", "bob@sub.vm3.vm", 250 },
	{ "192.0.2.7", "bob@vm3.vm", 554 },
	{ "192.0.2.7", "bob@elsewhere.example", 554 },
	{ "192.0.2.7", "bob%elsewhere.example@vm2.vm", 554 }, /* vm2.vm may take it for a route, */
	{ "192.0.2.7", "elsewhere.example!bob@vm2.vm", 554 },
	{ "192.0.2.7", "\"bob@elsewhere.example\"@vm2.vm", 554 },
	{ "192.0.2.7", "\"bob\"@vm2.vm", 250 },
	{ "10.1.2.3", "bob%elsewhere.example@vm2.vm", 250 }, /* and these may send there anyway */
	{ "192.0.2.7", "bob", 554 },
	{ "10.1.2.3", "bob@elsewhere.example", 250 },
};

static void test_relay(void **state)
{
	struct hub_options options = { 0 };
	struct net_prefix network;
	struct hub *hub = NULL;
	struct error err;

	(void)state;
	assert_return_code(net_prefix_parse(SLICE("10.0.0.0/8"), &network, &err), 0);
	assert_return_code(
		domains_open(SLICE("vm2.vm, .vm3.vm"), "/", &options.relay_domains, &err), 0);
	options.networks.prefixes = &network;
	options.networks.count = 1;
	assert_return_code(hub_new(&options, &hub, &err), 0);

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct net_address address;
		struct mta_client client = { .address = &address, .hello = "" };
		struct smtp_status status;

		assert_true(net_address_parse_ip(slice_from(cases[i].client), 1, &address));
		hub_policy.check_recipient(hub, &client, "a@b", cases[i].recipient, &status);
		if (status.code != cases[i].code)
			fail_msg("%s to %s: %d", cases[i].client, cases[i].recipient, status.code);
		hub_policy.check_sender(hub, &client, "anybody@anywhere", &status);
		assert_int_equal(status.code, 250);
	}
	assert_null(hub_policy.login_begin);
	hub_free(hub);
	domains_free(options.relay_domains);
}

static const struct {
	const char *client, *recipient;
	int code;
} known_cases[] = {
	{ "192.0.2.7", "bob@vm2.vm", 250 },
	{ "192.0.2.7", "BOB@VM2.vm", 250 },
	{ "192.0.2.7", "\"bob\"@vm2.vm", 250 },
	{ "192.0.2.7", "bob+lists@vm2.vm", 250 },
	{ "192.0.2.7", "bob-lists@vm2.vm", 550 },
	{ "192.0.2.7", "eve@vm2.vm", 550 },
	{ "192.0.2.7", "bob@vm4.vm", 554 },
	{ "192.0.2.7", "eve%vm4.vm@vm2.vm", 554 }, /* that it is no relay is the stronger word */
	{ "192.0.2.7", "anybody@catch.all", 250 },
	{ "192.0.2.7", "list+x@vm2.vm", 250 },
	{ "192.0.2.7", "list@vm2.vm", 550 },
	{ "10.1.2.3", "eve@vm2.vm", 550 },	      /* who is trusted hears it, too, */
	{ "10.1.2.3", "eve@elsewhere.example", 250 }, /* and other domains have no list */
	{ "192.0.2.7", "bob@xn--bcher-kva.vm", 250 },
	{ "192.0.2.7", "eve@xn--bcher-kva.vm", 550 },
};

static void set_up(struct hub_options *options, struct net_prefix *network)
{
	struct error err;

	*options = (struct hub_options){ .recipient_delimiter = "+" };
	assert_return_code(net_prefix_parse(SLICE("10.0.0.0/8"), network, &err), 0);
	assert_return_code(domains_open(SLICE("vm2.vm, catch.all, xn--bcher-kva.vm"), "/",
					&options->relay_domains, &err),
			   0);
	options->networks.prefixes = network;
	options->networks.count = 1;
}

static int ask(struct hub *hub, const char *ip, const char *recipient)
{
	struct net_address address;
	struct mta_client client = { .address = &address, .hello = "" };
	struct smtp_status status;

	assert_true(net_address_parse_ip(slice_from(ip), 1, &address));
	hub_policy.check_recipient(hub, &client, "a@b", recipient, &status);
	return status.code;
}

/* Who is not in relay_recipient_maps is refused before anything is taken for them. */
static void test_known_recipients(void **state)
{
	struct hub_options options;
	struct net_prefix network;
	struct hub *hub = NULL;
	struct error err;

	(void)state;
	set_up(&options, &network);
	assert_return_code(maps_open(SLICE("inline:{ bob@vm2.vm = x, list+x@vm2.vm = x, "
					   "bob@b\xc3\xbc"
					   "cher.vm = x }, inline:{ @catch.all = x }"),
				     "/", &options.relay_recipient_maps, &err),
			   0);
	assert_return_code(hub_new(&options, &hub, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(known_cases); i++) {
		int code = ask(hub, known_cases[i].client, known_cases[i].recipient);

		if (code != known_cases[i].code)
			fail_msg("%s to %s: %d", known_cases[i].client, known_cases[i].recipient,
				 code);
	}
	hub_free(hub);
	maps_free(options.relay_recipient_maps);
	domains_free(options.relay_domains);
}

static const struct {
	const char *client, *domain;
	int code;
	bool is_trusted;
} etrn_cases[] = {
	{ "192.0.2.7", "vm2.vm", 250, false },	 { "192.0.2.7", "VM2.VM", 250, false },
	{ "192.0.2.7", "a.vm3.vm", 250, false }, { "192.0.2.7", "vm3.vm", 459, false },
	{ "10.1.2.3", "vm2.vm", 250, true },	 { "10.1.2.3", "elsewhere.example", 459, true },
};

/* Only what we relay for anybody; who may send anywhere may not ask for everything. */
static void test_etrn(void **state)
{
	struct hub_options options = { 0 };
	struct net_prefix network;
	struct hub *hub = NULL;
	struct error err;

	(void)state;
	assert_return_code(net_prefix_parse(SLICE("10.0.0.0/8"), &network, &err), 0);
	assert_return_code(
		domains_open(SLICE("vm2.vm, .vm3.vm"), "/", &options.relay_domains, &err), 0);
	options.networks.prefixes = &network;
	options.networks.count = 1;
	assert_return_code(hub_new(&options, &hub, &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(etrn_cases); i++) {
		struct net_address address;
		struct mta_client client = { .address = &address, .hello = "" };
		struct smtp_status status;
		bool is_trusted;

		assert_true(net_address_parse_ip(slice_from(etrn_cases[i].client), 1, &address));
		hub_policy.check_etrn(hub, &client, etrn_cases[i].domain, &is_trusted, &status);
		assert_int_equal(status.code, etrn_cases[i].code);
		assert_int_equal(is_trusted, etrn_cases[i].is_trusted);
	}
	hub_free(hub);
	domains_free(options.relay_domains);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_relay),
		cmocka_unit_test(test_known_recipients),
		cmocka_unit_test(test_etrn),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
