/* test_transport - which line decides for an address, and what then comes of it */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/macros.h"
#include "transport/internal.h"

/* Local are vm1.vm and .local.vm; of broken.vm nobody knows. */
static int is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	if (slice_equal(domain, SLICE("broken.vm")))
		return error_set(err, -EIO, "the list of domains cannot be read");
	return slice_equal(domain, SLICE("vm1.vm")) || slice_equal(domain, SLICE("a.local.vm"))
		       ? MAP_FOUND
		       : MAP_NOT_FOUND;
}

static const struct transport_options defaults = {
	.default_transport = "smtp",
	.default_transport_source = "main.conf:5",
	.relayhost_source = "main.conf:9",
	.tls = { .level = TLS_LEVEL_NONE, .source = "main.conf:7" },
	.is_local = is_local,
};

static struct transport *open_transport(const struct transport_options *options)
{
	struct transport *t = NULL;
	struct error error = { 0 };

	if (transport_new(options, &t, &error) < 0)
		fail_msg("%s", error.text);
	return t;
}

#define DESCRIBED_SIZE 1024

/* "NAME:HOPS|STATUS (SOURCE)" */
static const char *describe(const struct transport_route *route, char out[DESCRIBED_SIZE])
{
	size_t n = (size_t)snprintf(out, DESCRIBED_SIZE, "%s:", route->name);

	for (unsigned int i = 0; i < route->hop_count; i++)
		n += (size_t)snprintf(out + n, DESCRIBED_SIZE - n, "%s%s", i ? "," : "",
				      route->hops[i].text);
	if (route->status.code)
		n += (size_t)snprintf(out + n, DESCRIBED_SIZE - n, "%d %s", route->status.code,
				      route->status.text);
	snprintf(out + n, DESCRIBED_SIZE - n, " (%s)", route->source);
	return out;
}

/* Twice: the second time from the cache. */
static void expect(struct transport *t, const char *label, const char *address, const char *want)
{
	char got[DESCRIBED_SIZE];

	for (int i = 0; i < 2; i++) {
		const struct transport_route *route = NULL;
		struct error error = { 0 };
		int r = transport_resolve(t, address, &route, &error);

		if (r < 0)
			snprintf(got, sizeof(got), "error %s", error.text);
		else
			describe(route, got);
		if (strcmp(got, want) != 0)
			fail_msg("%s, %s: got %s", label, address, got);
		transport_route_unref(route);
	}
}

static const struct {
	const char *maps, *relayhost, *default_transport;
	const char *address, *want;
	const char *delimiter;
} cases[] = {
	/* no maps */
	{ NULL, "", "smtp", "u@vm2.vm", "smtp:vm2.vm:25 (main.conf:5)" },
	{ NULL, "", "relay-smtps", "u@VM2.vm", "relay-smtps:vm2.vm:465 (main.conf:5)" },
	{ NULL, "", "smtp:[x]", "u@vm2.vm", "smtp:[x]:25 (main.conf:5)" },
	{ NULL, "", "error:5.7.1 closed", "u@vm2.vm", "error:550 closed (main.conf:5)" },
	{ NULL, "[hub]:587", "smtp", "u@vm2.vm", "relay:[hub]:587 (main.conf:9)" },
	{ NULL, "[hub]", "error:no", "u@vm2.vm", "relay:[hub]:25 (main.conf:9)" },
	{ NULL, "[hub]", "smtp", "u@vm1.vm", "virtual: (local)" },
	{ NULL, "[hub]", "smtp", "U@VM1.vm", "virtual: (local)" },
	{ NULL, "[hub]", "smtp", "u@vm1.vm.", "virtual: (local)" },
	{ NULL, "[hub]", "smtp", "u@broken.vm", "error the list of domains cannot be read" },

	/* what cannot be a domain; with a relayhost that is the relayhost's affair */
	{ NULL, "", "smtp", "u@[192.0.2.1]", "smtp:[192.0.2.1]:25 (main.conf:5)" },
	{ NULL, "", "smtp", "u@[IPv6:2001:db8::1]", "smtp:[2001:db8::1]:25 (main.conf:5)" },
	{ NULL, "", "smtp", "u@192.0.2.1",
	  "error:550 no mail host can have the domain \"192.0.2.1\" (main.conf:5)" },
	{ NULL, "", "smtp", "u@vm2.vm:26",
	  "error:550 no mail host can have the domain \"vm2.vm:26\" (main.conf:5)" },
	{ NULL, "", "smtp", "u@[vm2.vm]",
	  "error:550 no mail host can have the domain \"[vm2.vm]\" (main.conf:5)" },
	{ NULL, "", "smtp", "u@[192.0.2.1]:26",
	  "error:550 no mail host can have the domain \"[192.0.2.1]:26\" (main.conf:5)" },
	{ NULL, "", "smtp", "u@a..b",
	  "error:550 no mail host can have the domain \"a..b\" (main.conf:5)" },
	{ NULL, "", "smtp", "u", "error:550 no mail host can have the domain \"\" (main.conf:5)" },
	{ NULL, "", "smtp", "", "error:550 no mail host can have the domain \"\" (main.conf:5)" },
	{ NULL, "[hub]", "smtp", "u@a..b", "relay:[hub]:25 (main.conf:9)" },

	/* the order of keys */
	{ "inline:{ u@x.vm2.vm=relay:[1.1.1.1], x.vm2.vm=relay:[b], .vm2.vm=relay:[c], *=relay:[d] "
	  "}",
	  "", "smtp", "U@x.VM2.vm", "relay:[1.1.1.1]:25 (inline:u@x.vm2.vm)" },
	{ "inline:{ u@x.vm2.vm=relay:[a], x.vm2.vm=relay:[b], .vm2.vm=relay:[c], *=relay:[d] }", "",
	  "smtp", "v@x.vm2.vm", "relay:[b]:25 (inline:x.vm2.vm)" },
	{ "inline:{ u@x.vm2.vm=relay:[a], x.vm2.vm=relay:[b], .vm2.vm=relay:[c], *=relay:[d] }", "",
	  "smtp", "v@y.x.vm2.vm", "relay:[c]:25 (inline:.vm2.vm)" },
	{ "inline:{ .x.vm2.vm=relay:[b], .vm2.vm=relay:[c], .vm=relay:[d] }", "", "smtp",
	  "v@y.x.vm2.vm", "relay:[b]:25 (inline:.x.vm2.vm)" },
	{ "inline:{ .x.vm2.vm=relay:[b], .vm2.vm=relay:[c], .vm=relay:[d] }", "", "smtp",
	  "v@x.vm2.vm", "relay:[c]:25 (inline:.vm2.vm)" },
	{ "inline:{ .x.vm2.vm=relay:[b], .vm2.vm=relay:[c], .vm=relay:[d] }", "", "smtp",
	  "v@vm3.vm", "relay:[d]:25 (inline:.vm)" },
	{ "inline:{ .vm=relay:[d] }", "", "smtp", "v@vm", "smtp:vm:25 (main.conf:5)" },
	{ "inline:{ vm2.vm=relay:[b] }", "", "smtp", "v@x.vm2.vm",
	  "smtp:x.vm2.vm:25 (main.conf:5)" },
	{ "inline:{ *=relay:[d] }", "[hub]", "smtp", "v@x.vm2.vm", "relay:[d]:25 (inline:*)" },
	{ "inline:{ *=relay:[d] }", "", "smtp", "nobody", "relay:[d]:25 (inline:*)" },
	{ "inline:{ .2.3]=relay:[d] }", "", "smtp", "v@[0.1.2.3]",
	  "smtp:[0.1.2.3]:25 (main.conf:5)" },
	{ "inline:{ [0.1.2.3]=relay:[d] }", "", "smtp", "v@[0.1.2.3]",
	  "relay:[d]:25 (inline:[0.1.2.3])" },
	{ "inline:{ vm2.vm=relay:[b] }", "", "smtp", "v@vm2.vm.", "relay:[b]:25 (inline:vm2.vm)" },

	/* several maps: key by key */
	{ "inline:{ vm2.vm=relay:[a] } inline:{ u@vm2.vm=relay:[b], vm2.vm=relay:[c] }", "", "smtp",
	  "u@vm2.vm", "relay:[b]:25 (inline:u@vm2.vm)" },
	{ "inline:{ vm2.vm=relay:[a] } inline:{ u@vm2.vm=relay:[b], vm2.vm=relay:[c] }", "", "smtp",
	  "v@vm2.vm", "relay:[a]:25 (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=relay:[a] } static:relay:[s]", "", "smtp", "v@vm2.vm",
	  "relay:[s]:25 (static:relay:[s])" },

	/* the extension of an address */
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "u+x@vm2.vm",
	  "relay:[b]:25 (inline:vm2.vm)" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "u+x@vm2.vm",
	  "relay:[a]:25 (inline:u@vm2.vm)", "+" },
	{ "inline:{ u@vm2.vm=relay:[a], u+x@vm2.vm=relay:[b] }", "", "smtp", "U+X@vm2.vm",
	  "relay:[b]:25 (inline:u+x@vm2.vm)", "+" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "u-x@vm2.vm.",
	  "relay:[a]:25 (inline:u@vm2.vm)", "+-" },
	{ "inline:{ u@vm1.vm=relay:[a] }", "", "smtp", "u+x@vm1.vm",
	  "relay:[a]:25 (inline:u@vm1.vm)", "+" },
	{ "inline:{ vm2.vm=relay:[a] } inline:{ u@vm2.vm=relay:[b] }", "", "smtp", "u+x@vm2.vm",
	  "relay:[b]:25 (inline:u@vm2.vm)", "+" },

	/* quotes that are not needed are no way around a line */
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "\"u\"@vm2.vm",
	  "relay:[a]:25 (inline:u@vm2.vm)" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "\"\\u\"@vm2.vm",
	  "relay:[a]:25 (inline:u@vm2.vm)" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] }", "", "smtp", "\"u+x\"@vm2.vm",
	  "relay:[a]:25 (inline:u@vm2.vm)", "+" },
	{ "inline:{ {u v@vm2.vm=relay:[a]}, vm2.vm=relay:[b] }", "", "smtp", "\"u v\"@vm2.vm",
	  "relay:[a]:25 (inline:u v@vm2.vm)" },
	{ "inline:{ {u v@vm2.vm=relay:[a]}, vm2.vm=relay:[b] }", "", "smtp", "\"u v+x\"@vm2.vm",
	  "relay:[a]:25 (inline:u v@vm2.vm)", "+" },
	{ "inline:{ {\"u v\"@vm2.vm=relay:[a]}, {u v@vm2.vm=relay:[b]} }", "", "smtp",
	  "\"u v\"@vm2.vm", "relay:[a]:25 (inline:\"u v\"@vm2.vm)" },
	/* patterns: the whole address, and nothing else */
	{ "regexp:{ {/@x\\.vm2\\.vm$/ relay:[a]} }", "", "smtp", "u@x.vm2.vm",
	  "relay:[a]:25 (regexp:{}:1)" },
	{ "regexp:{ {/^x\\.vm2\\.vm$/ relay:[a]}, {/^\\.vm2\\.vm$/ relay:[b]}, {/^\\*$/ relay:[c]} "
	  "}",
	  "", "smtp", "u@x.vm2.vm", "smtp:x.vm2.vm:25 (main.conf:5)" },
	{ "regexp:{ {!/@vm2\\.vm$/ relay:[a]} }", "", "smtp", "u@vm2.vm",
	  "smtp:vm2.vm:25 (main.conf:5)" },
	{ "regexp:{ {!/@vm2\\.vm$/ relay:[a]} }", "", "smtp", "u@vm3.vm",
	  "relay:[a]:25 (regexp:{}:1)" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] } regexp:{ {/./ relay:[c]} }", "", "smtp",
	  "u@vm2.vm", "relay:[a]:25 (inline:u@vm2.vm)" },
	{ "inline:{ u@vm2.vm=relay:[a], vm2.vm=relay:[b] } regexp:{ {/./ relay:[c]} }", "", "smtp",
	  "v@vm2.vm", "relay:[c]:25 (regexp:{}:1)" },
	{ "cidr:{ {0.0.0.0/0 relay:[a]} }", "", "smtp", "u@[192.0.2.1]",
	  "smtp:[192.0.2.1]:25 (main.conf:5)" },

	/* a local domain is captured by its own keys only */
	{ "regexp:{ {/./ relay:[a]} }", "", "smtp", "u@vm1.vm", "virtual: (local)" },
	{ "regexp:{ {!/@vm2\\.vm$/ relay:[a]} }", "", "smtp", "u@vm1.vm", "virtual: (local)" },
	{ "regexp:{ {/@vm1\\.vm$/ relay:[a]} }", "", "smtp", "u@vm1.vm",
	  "relay:[a]:25 (regexp:{}:1)" },
	{ "inline:{ .vm=relay:[a], *=relay:[b] } static:relay:[s]", "[hub]", "smtp", "u@vm1.vm",
	  "virtual: (local)" },
	{ "inline:{ .vm=relay:[a], .local.vm=relay:[a] }", "", "smtp", "u@a.local.vm",
	  "virtual: (local)" },
	{ "inline:{ .vm=relay:[a], .local.vm=relay:[a] }", "", "smtp", "u@b.local.vm",
	  "relay:[a]:25 (inline:.local.vm)" },
	{ "static:relay:[s] inline:{ vm1.vm=relay:[a] }", "", "smtp", "u@vm1.vm",
	  "relay:[a]:25 (inline:vm1.vm)" },
	{ "inline:{ u@vm1.vm=relay:[a] }", "", "smtp", "u@vm1.vm",
	  "relay:[a]:25 (inline:u@vm1.vm)" },
	{ "inline:{ u@vm1.vm=relay:[a] }", "", "smtp", "v@vm1.vm", "virtual: (local)" },
	{ "inline:{ {u@vm1.vm=error:5.1.6 moved} }", "", "smtp", "u@vm1.vm",
	  "error:550 moved (inline:u@vm1.vm)" },

	/* inheritance, as in transport(5) */
	{ "inline:{ vm2.vm=:, *=relay:[d] }", "", "smtp", "u@vm2.vm",
	  "smtp:vm2.vm:25 (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=:, *=relay:[d] }", "[hub]:26", "smtp", "u@vm2.vm",
	  "relay:[hub]:26 (inline:vm2.vm)" },
	{ "inline:{ vm1.vm=:, *=relay:[d] }", "[hub]", "smtp", "u@vm1.vm",
	  "virtual: (inline:vm1.vm)" },
	{ "inline:{ vm2.vm=:[x]:26 }", "", "smtp", "u@vm2.vm", "smtp:[x]:26 (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=:x }", "relay-smtps:[hub]:466", "smtp", "u@vm2.vm",
	  "relay-smtps:x:465 (inline:vm2.vm)" },
	{ "inline:{ vm1.vm=:[x] }", "[hub]", "smtp", "u@vm1.vm", "virtual: (inline:vm1.vm)" },
	{ "inline:{ vm2.vm=:closed }", "", "error:no", "u@vm2.vm",
	  "error:550 closed (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=smtp: }", "[hub]", "smtp", "u@vm2.vm",
	  "smtp:vm2.vm:25 (inline:vm2.vm)" },
	{ "inline:{ *=relay-smtps }", "[hub]", "smtp", "u@vm2.vm",
	  "relay-smtps:vm2.vm:465 (inline:*)" },
	{ "inline:{ *=error: }", "[hub]", "smtp", "u@vm2.vm",
	  "error:550 Address is undeliverable (inline:*)" },
	{ "inline:{ *=discard: }", "", "smtp", "u@vm2.vm", "discard:250 discarded (inline:*)" },
	{ "inline:{ *=virtual: }", "", "smtp", "u@vm2.vm", "virtual: (inline:*)" },
	{ "inline:{ *=local: }", "", "smtp", "u@vm2.vm", "local: (inline:*)" },
	{ "inline:{ *=lmtp: }", "", "smtp", "u@vm2.vm", "lmtp:[vm2.vm]:24 (inline:*)" },
	{ "inline:{ *=lmtp:unix:/a }", "", "smtp", "u@vm2.vm", "lmtp:unix:/a (inline:*)" },
	{ "inline:{ vm2.vm=:unix:/b }", "lmtp:unix:/a", "smtp", "u@vm2.vm",
	  "lmtp:unix:/b (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=:[x] }", "lmtp:unix:/a", "smtp", "u@vm2.vm",
	  "lmtp:[x]:24 (inline:vm2.vm)" },
	{ "inline:{ vm2.vm=:unix:/b }", "", "smtp", "u@vm2.vm",
	  "retry:451 inline:vm2.vm: unix:/b: a UNIX socket is reached by lmtp: alone "
	  "(inline:vm2.vm)" },

	/* a bad line makes its own mail wait */
	{ "inline:{ vm2.vm=relay-stmps:[x], vm3.vm=relay:[y] }", "", "smtp", "u@vm2.vm",
	  "retry:451 inline:vm2.vm: unknown transport \"relay-stmps\"; did you mean relay-smtps? "
	  "(inline:vm2.vm)" },
	{ "inline:{ vm2.vm=relay-stmps:[x], vm3.vm=relay:[y] }", "", "smtp", "u@vm3.vm",
	  "relay:[y]:25 (inline:vm3.vm)" },
};

static void test_resolve(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(maps_freep) struct maps *maps = NULL;
		struct transport_options options = defaults;
		struct transport *t;
		struct error error = { 0 };

		if (cases[i].maps && maps_open(slice_from(cases[i].maps), NULL, &maps, &error) < 0)
			fail_msg("%s: %s", cases[i].maps, error.text);
		options.transport_maps = maps;
		options.relayhost = cases[i].relayhost;
		options.default_transport = cases[i].default_transport;
		options.recipient_delimiter = cases[i].delimiter;
		t = open_transport(&options);
		expect(t, cases[i].maps, cases[i].address, cases[i].want);
		transport_free(t);
	}
}

static void note_lookup(void *arg, const struct transport_lookup *l)
{
	buf_printf(arg, "%s %s %s %s %s\n", l->parameter, l->map[0] ? l->map : "-",
		   l->key[0] ? l->key : "-", l->value ? l->value : "-",
		   l->source ? l->source : "-");
}

static void expect_trace(struct transport *t, const char *address, const char *want)
{
	const struct transport_route *route = NULL;
	CLEANUP(free_strp) char *got = NULL;
	struct buf out = { 0 };

	assert_int_equal(transport_resolve_traced(t, address, note_lookup, &out, &route, NULL), 0);
	transport_route_unref(route);
	got = buf_steal_string(&out);
	assert_string_equal(got, want);
}

/* Who asks why is told of each lookup, in the order in which they count. */
static void test_trace(void **state)
{
	static const char specs[] = "inline:{ .vm=relay:[a] } static:relay:[s]";
	struct transport_options options = defaults;
	CLEANUP(maps_freep) struct maps *maps = NULL;
	struct transport *t = open_transport(&options);

	(void)state;
	expect_trace(t, "U@vm2.vm",
		     "local - vm2.vm - -\n"
		     "relayhost - - - -\n"
		     "default_transport - - smtp main.conf:5\n");
	expect_trace(t, "u@vm1.vm", "local - vm1.vm yes local\n");
	transport_free(t);

	maps_open(slice_from(specs), NULL, &maps, NULL);
	options.transport_maps = maps;
	options.relayhost = "[hub]";
	t = open_transport(&options);
	expect_trace(t, "u@vm1.vm",
		     "local - vm1.vm yes local\n"
		     "transport_maps inline:{ .vm=relay:[a] } u@vm1.vm - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } vm1.vm - -\n");
	expect_trace(t, "u@vm2.vm",
		     "local - vm2.vm - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } u@vm2.vm - -\n"
		     "transport_maps static:relay:[s] u@vm2.vm relay:[s] "
		     "static:relay:[s]\n");
	transport_free(t);

	maps_free(maps);
	maps_open(SLICE("inline:{ .vm=relay:[a] }"), NULL, &maps, NULL);
	options.transport_maps = maps;
	t = open_transport(&options);
	expect_trace(t, "u@vm2.vm",
		     "local - vm2.vm - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } u@vm2.vm - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } vm2.vm - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } .vm relay:[a] inline:.vm\n");
	expect_trace(t, "u@x",
		     "local - x - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } u@x - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } x - -\n"
		     "transport_maps inline:{ .vm=relay:[a] } * - -\n"
		     "relayhost - - [hub] main.conf:9\n");
	transport_free(t);
}

static void test_enhanced(void **state)
{
	const struct transport_route *route = NULL;
	struct transport_options options = defaults;
	CLEANUP(maps_freep) struct maps *maps = NULL;
	char text[SMTP_ENHANCED_TEXT_SIZE];
	struct transport *t;

	(void)state;
	maps_open(SLICE("inline:{ a=nonsense:x, b=relay:[x] }"), NULL, &maps, NULL);
	options.transport_maps = maps;
	t = open_transport(&options);
	assert_int_equal(transport_resolve(t, "u@a", &route, NULL), 0);
	assert_string_equal(smtp_status_enhanced_text(&route->status, text), "4.3.5");
	transport_route_unref(route);
	assert_int_equal(transport_resolve(t, "u@a..b", &route, NULL), 0);
	assert_string_equal(smtp_status_enhanced_text(&route->status, text), "5.1.2");
	transport_route_unref(route);
	transport_free(t);
}

/* ": " keeps the TLS of the relayhost, and ":x" does not. */
static void test_inherited_tls(void **state)
{
	CLEANUP(maps_freep) struct maps *maps = NULL;
	struct transport_options options = defaults;
	static const struct {
		const char *address, *lane, *source;
	} want[] = {
		{ "u@a", "relay:[hub]:25 tls=encrypt protocols>=TLSv1.2", "main.conf:9" },
		{ "u@b", "relay:[hub]:25 tls=encrypt protocols>=TLSv1.3", "main.conf:9" },
		{ "u@c", "relay:[hub]:25 tls=may protocols>=TLSv1.2", "inline:c" },
		{ "u@d", "relay:[x]:25 tls=none protocols>=TLSv1.2", "main.conf:7" },
		{ "u@e", "relay:[hub]:25 tls=encrypt protocols>=TLSv1.2", "main.conf:9" },
	};
	struct transport *t;

	(void)state;
	maps_open(SLICE("inline:{ a=:, {b=: protocols=>=TLSv1.3}, {c=: tls=may}, d=:[x] }"), NULL,
		  &maps, NULL);
	options.transport_maps = maps;
	options.relayhost = "[hub] tls=encrypt";
	t = open_transport(&options);
	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		const struct transport_route *route = NULL;

		assert_int_equal(transport_resolve(t, want[i].address, &route, NULL), 0);
		assert_string_equal(route->lane, want[i].lane);
		assert_string_equal(route->tls.source, want[i].source);
		transport_route_unref(route);
	}
	transport_free(t);
}

/*
 * The domain of one recipient and the next hop of another: that it does not
 * exist is the end of the first one's mail, and a slip of the operator's else.
 */
static void test_same_next_hop_of_two_kinds(void **state)
{
	CLEANUP(maps_freep) struct maps *maps = NULL;
	const struct transport_route *own = NULL, *written = NULL, *same = NULL;
	struct transport_options options = defaults;
	struct transport *t;

	(void)state;
	maps_open(SLICE("inline:{ a.vm=smtp:b.vm }"), NULL, &maps, NULL);
	options.transport_maps = maps;
	t = open_transport(&options);
	assert_int_equal(transport_resolve(t, "u@b.vm", &own, NULL), 0);
	assert_int_equal(transport_resolve(t, "u@a.vm", &written, NULL), 0);
	assert_int_equal(transport_resolve(t, "eve@b.vm", &same, NULL), 0);
	assert_string_equal(own->hops[0].text, written->hops[0].text);
	assert_string_not_equal(own->lane, written->lane);
	assert_string_equal(own->lane, same->lane);
	transport_route_unref(own);
	transport_route_unref(written);
	transport_route_unref(same);
	transport_free(t);
}

static void test_new_errors(void **state)
{
	static const struct {
		const char *relayhost, *default_transport, *text;
	} bad[] = {
		{ "", "smpt", "main.conf:5: unknown transport \"smpt\"; did you mean smtp?" },
		{ "", "", "main.conf:5: expected TRANSPORT:NEXTHOP" },
		{ "", ":[x]", "main.conf:5: no transport in front of the colon" },
		{ "[hub", "smtp", "main.conf:9: [hub: missing ']'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct transport_options options = defaults;
		struct transport *t = NULL;
		struct error error = { 0 };

		options.relayhost = bad[i].relayhost;
		options.default_transport = bad[i].default_transport;
		assert_true(transport_new(&options, &t, &error) < 0);
		assert_string_equal(error.text, bad[i].text);
	}
}

static void write_file(const char *path, const char *text)
{
	char next[128];
	FILE *file;

	snprintf(next, sizeof(next), "%s.new", path);
	file = fopen(next, "we");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
	assert_int_equal(rename(next, path), 0);
}

/* A changed file decides at once; a route given out stays what it was. */
static void test_refresh(void **state)
{
	char dir[] = "/tmp/test_transport.XXXXXX", path[64], got[DESCRIBED_SIZE];
	CLEANUP(maps_freep) struct maps *maps = NULL;
	const struct transport_route *route = NULL;
	struct transport_options options = defaults;
	struct error error = { 0 };
	struct transport *t;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ts", dir);
	write_file(path, "# routes\nvm2.vm relay:[a]\n");
	assert_int_equal(maps_open(SLICE("hash:ts"), dir, &maps, &error), 0);
	options.transport_maps = maps;
	transport_guard_maps(&options);
	t = open_transport(&options);
	expect(t, "first", "u@vm2.vm", "relay:[a]:25 (ts:2)");
	assert_int_equal(transport_resolve(t, "u@vm2.vm", &route, NULL), 0);

	write_file(path, "# routes\nvm2.vm relay-smtps:[b]\n");
	assert_int_equal(maps_refresh(maps, &error), 0);
	expect(t, "second", "u@vm2.vm", "relay-smtps:[b]:465 (ts:2)");

	write_file(path, "vm3.vm :\n# routes\nvm2.vm relay-stmps:[c]\n");
	assert_true(maps_refresh(maps, &error) < 0);
	assert_string_equal(error.text,
			    "ts:3: unknown transport \"relay-stmps\"; did you mean relay-smtps?");
	assert_int_equal(maps_refresh(maps, &error), MAP_NOT_CHANGED);
	expect(t, "third", "u@vm2.vm", "relay-smtps:[b]:465 (ts:2)");

	transport_free(t);
	assert_string_equal(describe(route, got), "relay:[a]:25 (ts:2)");
	transport_route_unref(route);
	unlink(path);
	rmdir(dir);
}

/* More domains than the cache holds: what it drops is made again, what is used lives on. */
static void test_cache_is_bounded(void **state)
{
	struct transport *t = open_transport(&defaults);
	const struct transport_route *first = NULL;
	char address[64], want[64];

	(void)state;
	assert_int_equal(transport_resolve(t, "u@d0.vm", &first, NULL), 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < 5000; i++) {
			snprintf(address, sizeof(address), "u@d%d.vm", i);
			snprintf(want, sizeof(want), "smtp:d%d.vm:25 (main.conf:5)", i);
			expect(t, "", address, want);
		}
	}
	assert_string_equal(first->hops[0].text, "d0.vm:25");
	transport_route_unref(first);
	transport_free(t);
}

static void note(void *arg, bool is_error, const char *source, const char *text)
{
	buf_printf(arg, "%s: %s: %s\n", source, is_error ? "error" : "warning", text);
}

static void check(const struct transport_options *options, const char *want)
{
	CLEANUP(free_strp) char *got = NULL;
	struct buf out = { 0 };

	transport_check(options, note, &out);
	got = buf_steal_string(&out);
	if (strcmp(got, want) != 0)
		fail_msg("got\n%s", got);
}

static void test_check(void **state)
{
	char dir[] = "/tmp/test_transport.XXXXXX", path[64];
	CLEANUP(maps_freep) struct maps *maps = NULL;
	struct transport_options options = defaults;

	(void)state;
	check(&options, "");
	options.relayhost = "[hub]:465";
	check(&options,
	      "main.conf:9: warning: [hub]:465: at port 465 TLS starts with the first byte, "
	      "which relay: does not; relay-smtps: does\n");
	options.relayhost = "relay-stmps:[hub]";
	check(&options, "main.conf:9: error: unknown transport \"relay-stmps\"; did you mean "
			"relay-smtps?\n");
	options.relayhost = "";
	options.default_transport = "error";
	check(&options, "");

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/ts", dir);
	write_file(path, "vm1.vm :\n"
			 "vm2.vm relay-stmps:[hub]\n"
			 "vm3.vm relay:[hub]:465, [x]\n"
			 "*.vm4.vm relay:[hub]\n"
			 "@vm5.vm relay:[hub] tls=encrypt match=x\n"
			 "user@ relay:[hub]587\n"
			 "vm3.vm relay-smtps:[hub]:587\n"
			 "vm6.vm relay-smtps:[hub] tls=may\n"
			 "vm7.vm lmtp:hub:25\n"
			 "vm8.vm :unix:/run/lmtp\n"
			 "vm9.vm lmtp:unix:/run/lmtp tls=none\n");
	assert_int_equal(maps_open(SLICE("hash:ts, static:relay:[hub]"), dir, &maps, NULL), 0);
	options.transport_maps = maps;
	check(&options,
	      "ts:7: warning: duplicate key \"vm3.vm\": ts:3 counts, this one never does\n"
	      "ts:2: error: unknown transport \"relay-stmps\"; did you mean relay-smtps?\n"
	      "ts:3: warning: [hub]:465: at port 465 TLS starts with the first byte, which relay: "
	      "does not; relay-smtps: does\n"
	      "ts:4: warning: \"*.vm4.vm\" matches nothing; subdomains are written \".vm4.vm\"\n"
	      "ts:5: warning: \"@vm5.vm\" matches nothing; a domain is written \"vm5.vm\"\n"
	      "ts:5: warning: match= has no effect at level encrypt (of ts:5); verify and "
	      "secure have it\n"
	      "ts:6: warning: \"user@\" matches nothing; a whole address would\n"
	      "ts:6: error: [hub]587: expected [host]:port\n"
	      "ts:7: warning: [hub]:587: at port 587 TLS starts with STARTTLS, which relay-smtps: "
	      "does not use; relay: does\n"
	      "ts:8: error: tls=may: relay-smtps: is never weaker than encrypt; use relay: for "
	      "STARTTLS by choice\n"
	      "ts:9: warning: [hub]:25: port 25 is SMTP's, and no lmtp: is spoken there (RFC 2033 "
	      "section 5); relay: is\n"
	      "ts:11: error: a UNIX socket takes no TLS attributes, as it crosses no network\n"
	      "static:relay:[hub]: warning: has every address, so domains in the other maps are "
	      "never "
	      "looked up; a key \"*\" comes last\n");
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_enhanced),
		cmocka_unit_test(test_inherited_tls),
		cmocka_unit_test(test_same_next_hop_of_two_kinds),
		cmocka_unit_test(test_new_errors),
		cmocka_unit_test(test_refresh),
		cmocka_unit_test(test_cache_is_bounded),
		cmocka_unit_test(test_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
