/* test_policy_maps - which entry of smtp_tls_policy_maps a route gets, and what is refused */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/buf.h"
#include "base/macros.h"
#include "transport/internal.h"

#define PIN "sha256:1111111111111111111111111111111111111111111111111111111111111111"

static int is_local(void *arg, struct slice domain, struct error *err)
{
	(void)arg;
	(void)err;
	return slice_equal(domain, SLICE("local.vm")) ? MAP_FOUND : MAP_NOT_FOUND;
}

static const struct transport_options defaults = {
	.default_transport = "smtp",
	.default_transport_source = "conf:5",
	.relayhost_source = "conf:9",
	.tls = { .level = TLS_LEVEL_ENCRYPT, .source = "conf:7" },
	.can_verify = true,
	.is_local = is_local,
};

static void open_maps(const char *specs, struct maps **ret)
{
	struct error err = { 0 };

	if (maps_open(slice_from(specs), NULL, ret, &err) < 0)
		fail_msg("%s: %s", specs, err.text);
}

/* "LANE's TLS (SOURCE)" of the route, or why there is none. */
static void expect(struct transport *t, const char *label, const char *address, const char *want)
{
	for (int i = 0; i < 2; i++) { /* the second time from the cache */
		const struct transport_route *route = NULL;
		struct error err = { 0 };
		char got[1024];

		assert_int_equal(transport_resolve(t, address, &route, &err), 0);
		if (route->status.code)
			snprintf(got, sizeof(got), "%d %s", route->status.code, route->status.text);
		else
			snprintf(got, sizeof(got), "%s (%s)", route->lane,
				 route->tls.source ? route->tls.source : "-");
		if (strcmp(got, want) != 0)
			fail_msg("%s, %s: got %s", label, address, got);
		transport_route_unref(route);
	}
}

#define V12 " protocols>=TLSv1.2"
#define OWN " of the recipient"

static const struct {
	const char *routes, *policies, *relayhost, *address, *want;
} cases[] = {
	/* keys in their order */
	{ "inline:{ a.vm=relay:[x]:26 }", "inline:{ [x]:26=verify, [x]=may, a.vm=may, .vm=may }",
	  "", "u@a.vm", "relay:[x]:26 tls=verify" V12 " (inline:[x]:26)" },
	{ "inline:{ a.vm=relay:[X]:26 }", "inline:{ [x]=verify, a.vm=may, .vm=may }", "", "u@a.vm",
	  "relay:[x]:26 tls=verify" V12 " (inline:[x])" },
	{ "inline:{ a.vm=relay:x:26 }", "inline:{ x=verify }", "", "u@a.vm",
	  "relay:x:26 tls=verify" V12 " (inline:x)" },
	{ "inline:{ a.vm=relay:[::1]:26 }", "inline:{ [::1]=verify }", "", "u@a.vm",
	  "relay:[::1]:26 tls=verify" V12 " (inline:[::1])" },
	{ "inline:{ a.vm=relay:[x] }", "inline:{ x=may, [x]:25=may, a.vm=verify, .vm=may }", "",
	  "u@a.vm", "relay:[x]:25 tls=verify" V12 " (inline:a.vm)" },
	{ "inline:{ .vm=relay:[x] }", "inline:{ .b.vm=verify, .vm=may }", "", "u@a.b.vm",
	  "relay:[x]:25 tls=verify" V12 " (inline:.b.vm)" },
	{ "inline:{ .vm=relay:[x] }", "inline:{ b.vm=may, vm=may }", "", "u@a.b.vm",
	  "relay:[x]:25 tls=encrypt" V12 " (conf:7)" },
	{ "", "inline:{ a.vm=verify }", "", "u@a.vm",
	  "smtp:a.vm:25 tls=verify" V12 OWN " (inline:a.vm)" },
	{ "", "inline:{ .vm=verify }", "", "u@a.vm",
	  "smtp:a.vm:25 tls=verify" V12 OWN " (inline:.vm)" },
	{ "", "inline:{ [x]=verify, a.vm=may }", "[x]", "u@a.vm",
	  "relay:[x]:25 tls=verify" V12 " (inline:[x])" },
	{ "", "inline:{ a.vm=verify }", "[x]", "u@a.vm",
	  "relay:[x]:25 tls=verify" V12 " (inline:a.vm)" },
	{ "", "static:may", "[x]", "u@a.vm", "relay:[x]:25 tls=may" V12 " (static:may)" },
	{ "inline:{ a.vm=: }", "inline:{ [x]=verify }", "[x]", "u@a.vm",
	  "relay:[x]:25 tls=verify" V12 " (inline:[x])" },
	{ "inline:{ a.vm=:[y] }", "inline:{ [x]=verify, [y]=may }", "[x]", "u@a.vm",
	  "relay:[y]:25 tls=may" V12 " (inline:[y])" },
	{ "inline:{ local.vm=relay:[x] }", "inline:{ local.vm=verify }", "", "u@local.vm",
	  "relay:[x]:25 tls=verify" V12 " (inline:local.vm)" },
	{ "", "inline:{ local.vm=verify }", "", "u@local.vm", "virtual: (-)" },

	/* lmtp: is a next hop as others are; of sockets nobody is asked */
	{ "inline:{ a.vm=lmtp:[x]:26 }", "inline:{ [x]=verify }", "", "u@a.vm",
	  "lmtp:[x]:26 tls=verify" V12 " (inline:[x])" },
	{ "inline:{ a.vm=lmtp:inet:[x]:26 }", "inline:{ [x]:26=verify, inet=may }", "", "u@a.vm",
	  "lmtp:[x]:26 tls=verify" V12 " (inline:[x]:26)" },
	{ "inline:{ a.vm=relay:inet:26 }", "inline:{ inet=verify, 26=may }", "", "u@a.vm",
	  "relay:inet:26 tls=verify" V12 " (inline:inet)" },
	{ "inline:{ a.vm=lmtp:unix:/x }", "static:verify", "", "u@a.vm",
	  "lmtp:unix:/x (inline:a.vm)" },
	{ "inline:{ a.vm=: }", "static:verify", "lmtp:unix:/x", "u@a.vm", "lmtp:unix:/x (conf:9)" },

	/* patterns are asked for all that Postfix asks for: no next hop without its port */
	{ "inline:{ a.vm=relay:[x]:26 }", "regexp:{ {/^\\[x\\]:26$/ verify} }", "", "u@a.vm",
	  "relay:[x]:26 tls=verify" V12 " (regexp:{}:1)" },
	{ "inline:{ a.vm=relay:[x]:26 }", "regexp:{ {/^\\[x\\]$/ may} }", "", "u@a.vm",
	  "relay:[x]:26 tls=encrypt" V12 " (conf:7)" },
	{ "inline:{ a.b.vm=relay:[x] }", "regexp:{ {/^\\.b\\.vm$/ verify} }", "", "u@a.b.vm",
	  "relay:[x]:25 tls=verify" V12 " (regexp:{}:1)" },
	{ "", "regexp:{ {/^(.*\\.)?b\\.vm$/ secure match=mx.${1}vm} }", "", "u@a.b.vm",
	  "smtp:a.b.vm:25 tls=secure" V12 " match=mx.a.vm" OWN " (regexp:{}:1)" },

	/* what the line says comes first, each word by itself */
	{ "inline:{ {a.vm=relay:[x] tls=encrypt} }", "inline:{ {[x]=verify match=h} }", "",
	  "u@a.vm", "relay:[x]:25 tls=encrypt" V12 " match=h (inline:a.vm)" },
	{ "inline:{ {a.vm=relay:[x] match=g} }",
	  "inline:{ {[x]=secure match=h protocols=>=TLSv1.3 servername=s} }", "", "u@a.vm",
	  "relay:[x]:25 tls=secure protocols>=TLSv1.3 match=g servername=s (inline:[x])" },
	{ "inline:{ {a.vm=relay:[x] tls=fingerprint} }", "inline:{ {[x]=may fingerprint=" PIN "} }",
	  "", "u@a.vm", "relay:[x]:25 tls=fingerprint" V12 " fingerprint=" PIN " (inline:a.vm)" },
	{ "inline:{ {a.vm=relay:[x] tls=fingerprint} }", "inline:{ [x]=may }", "", "u@a.vm",
	  "451 inline:a.vm: level fingerprint (of inline:a.vm) needs to know which: add "
	  "fingerprint=sha256:HEX" },

	/* implicit TLS stays what it is */
	{ "inline:{ a.vm=relay-smtps:[x] }", "inline:{ [x]=none }", "", "u@a.vm",
	  "relay-smtps:[x]:465 tls=encrypt" V12 " (inline:a.vm)" },
	{ "inline:{ a.vm=relay-smtps:[x] }", "inline:{ [x]=may }", "", "u@a.vm",
	  "relay-smtps:[x]:465 tls=encrypt" V12 " (inline:a.vm)" },
	{ "inline:{ a.vm=relay-smtps:[x] }", "inline:{ [x]=verify }", "", "u@a.vm",
	  "relay-smtps:[x]:465 tls=verify" V12 " (inline:[x])" },

	/* several next hops have one policy */
	{ "inline:{ {a.vm=relay:[x], [y]:26} }", "inline:{ [x]=verify, [y]:26=verify }", "",
	  "u@a.vm", "relay:[x]:25,[y]:26 tls=verify" V12 " (inline:[x])" },
	{ "inline:{ {a.vm=relay:[x], [y]} }", "inline:{ a.vm=verify }", "", "u@a.vm",
	  "relay:[x]:25,[y]:25 tls=verify" V12 " (inline:a.vm)" },
	{ "inline:{ {a.vm=relay:[x], [y]} }", "inline:{ [x]=verify }", "", "u@a.vm",
	  "451 inline:a.vm: the next hops of a route have one TLS policy, but smtp_tls_policy_maps "
	  "has nothing for [y], and inline:[x] for those in front of it" },
	{ "inline:{ {a.vm=relay:[x], [y]} }", "inline:{ [x]=verify, [y]=may }", "", "u@a.vm",
	  "451 inline:a.vm: the next hops of a route have one TLS policy, but smtp_tls_policy_maps "
	  "has inline:[y] for [y], and inline:[x] for those in front of it" },

	/* a bad entry makes its own mail wait */
	{ "inline:{ a.vm=relay:[x] }", "inline:{ [x]=verfy }", "", "u@a.vm",
	  "451 inline:a.vm: inline:[x]: verfy: unknown level; expected none, may, encrypt, verify, "
	  "secure, fingerprint, dane, dane-only (did you mean verify?)" },
	{ "inline:{ a.vm=relay:[x] }", "inline:{ [y]=verfy }", "", "u@a.vm",
	  "relay:[x]:25 tls=encrypt" V12 " (conf:7)" },
};

static void test_entries(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(maps_freep) struct maps *routes = NULL;
		CLEANUP(maps_freep) struct maps *policies = NULL;
		struct transport_options options = defaults;
		struct transport *t = NULL;
		struct error err = { 0 };

		open_maps(cases[i].routes, &routes);
		open_maps(cases[i].policies, &policies);
		options.transport_maps = routes;
		options.tls_policy_maps = policies;
		options.relayhost = cases[i].relayhost;
		if (transport_new(&options, &t, &err) < 0)
			fail_msg("%s", err.text);
		expect(t, cases[i].policies, cases[i].address, cases[i].want);
		transport_free(t);
	}
}

static void note_lookup(void *arg, const struct transport_lookup *l)
{
	if (strcmp(l->parameter, "smtp_tls_policy_maps") == 0)
		buf_printf(arg, "%s %s|", l->key, l->source ? l->source : "-");
}

static void test_trace(void **state)
{
	CLEANUP(maps_freep) struct maps *policies = NULL;
	CLEANUP(free_strp) char *got = NULL;
	struct transport_options options = defaults;
	const struct transport_route *route = NULL;
	struct buf out = { 0 };
	struct transport *t;

	(void)state;
	open_maps("inline:{ .vm=verify }", &policies);
	options.tls_policy_maps = policies;
	options.relayhost = "[x]:26";
	assert_int_equal(transport_new(&options, &t, NULL), 0);
	assert_int_equal(transport_resolve_traced(t, "u@a.vm", note_lookup, &out, &route, NULL), 0);
	got = buf_steal_string(&out);
	assert_string_equal(got, "[x]:26 -|[x] -|a.vm -|.vm inline:.vm|");
	transport_route_unref(route);
	transport_free(t);
}

/* The general level may be one that entries alone can fill. */
static void test_general_level(void **state)
{
	CLEANUP(maps_freep) struct maps *policies = NULL;
	struct transport_options options = defaults;
	struct transport *t = NULL;
	struct error err = { 0 };

	(void)state;
	options.tls.level = TLS_LEVEL_FINGERPRINT;
	assert_true(transport_new(&options, &t, &err) < 0);
	open_maps("inline:{ {a.vm=fingerprint match=" PIN "} }", &policies);
	options.tls_policy_maps = policies;
	assert_int_equal(transport_new(&options, &t, &err), 0);
	expect(t, "", "u@a.vm",
	       "smtp:a.vm:25 tls=fingerprint" V12 " fingerprint=" PIN OWN " (inline:a.vm)");
	expect(t, "", "u@b.vm",
	       "451 conf:5: level fingerprint (of conf:7) needs to know which: add "
	       "fingerprint=sha256:HEX");
	transport_free(t);
}

static void note(void *arg, bool is_error, const char *source, const char *text)
{
	buf_printf(arg, "%s: %s: %s\n", source, is_error ? "error" : "warning", text);
}

static void test_check(void **state)
{
	CLEANUP(maps_freep) struct maps *routes = NULL;
	CLEANUP(maps_freep) struct maps *policies = NULL;
	CLEANUP(free_strp) char *got = NULL;
	struct transport_options options = defaults;
	struct buf out = { 0 };

	(void)state;
	options.can_verify = false;
	open_maps("inline:{ a.vm=relay-smtps:[x], {b.vm=relay:[x], [y]}, "
		  "{c.vm=relay:[z] tls=fingerprint}, {d.vm=relay:[p] match=q}, "
		  "{.e.vm=relay:[z] tls=fingerprint}, {.g.vm=relay:[z] tls=dane} }",
		  &routes);
	open_maps("inline:{ [x]=may, {z=encrypt match=h}, *=encrypt, u@vm=may, [q]=secure, "
		  "f.vm=fingerprint, [p]=verfy, {[r]=may ciphers=high}, "
		  "{c.vm=fingerprint fingerprint=" PIN "} }",
		  &policies);
	options.transport_maps = routes;
	options.tls_policy_maps = policies;
	transport_check(&options, note, &out);
	transport_check_policies(&options, note, &out);
	got = buf_steal_string(&out);
	assert_string_equal(
		got,
		"inline:[x]: warning: level may has no effect on the relay-smtps: of inline:a.vm, "
		"which is never weaker than encrypt\n"
		"inline:b.vm: error: the next hops of a route have one TLS policy, but "
		"smtp_tls_policy_maps has nothing for [y], and inline:[x] for those in front of "
		"it\n"
		"inline:d.vm: error: inline:[p]: verfy: unknown level; expected none, may, "
		"encrypt, verify, secure, fingerprint, dane, dane-only (did you mean verify?)\n"
		"inline:.e.vm: warning: level fingerprint (of inline:.e.vm) needs to know which: "
		"add fingerprint=sha256:HEX; what has no such entry in smtp_tls_policy_maps will "
		"wait\n"
		"inline:.g.vm: error: level dane (of inline:.g.vm) needs a DNS server on this host "
		"that checks DNSSEC: set resolver = 127.0.0.1\n"
		"inline:z: warning: match= has no effect at level encrypt (of inline:z); verify "
		"and "
		"secure have it\n"
		"inline:*: warning: \"*\" matches nothing; keys are next hops, domains and "
		".domains\n"
		"inline:u@vm: warning: \"u@vm\" matches nothing; keys are next hops, domains and "
		".domains\n"
		"inline:[q]: error: level secure (of inline:[q]) needs a CA to verify by: set "
		"smtp_tls_CAfile\n"
		"inline:f.vm: error: level fingerprint (of inline:f.vm) needs to know which: add "
		"fingerprint=sha256:HEX\n"
		"inline:[p]: error: verfy: unknown level; expected none, may, encrypt, verify, "
		"secure, fingerprint, dane, dane-only (did you mean verify?)\n"
		"inline:[r]: error: ciphers=high: there is no ciphers here: only strong ones are "
		"used; remove it\n");
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

/* A changed entry decides at once, a bad version is refused. */
static void test_refresh(void **state)
{
	char dir[] = "/tmp/test_policy_maps.XXXXXX", path[64];
	CLEANUP(maps_freep) struct maps *policies = NULL;
	struct transport_options options = defaults;
	struct error err = { 0 };
	struct transport *t;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/pol", dir);
	write_file(path, "[x] may\n");
	assert_int_equal(maps_open(SLICE("hash:pol"), dir, &policies, &err), 0);
	options.tls_policy_maps = policies;
	options.relayhost = "[x]";
	transport_guard_maps(&options);
	assert_int_equal(transport_new(&options, &t, &err), 0);
	expect(t, "first", "u@a.vm", "relay:[x]:25 tls=may" V12 " (pol:1)");

	write_file(path, "[x] verify\n");
	assert_int_equal(maps_refresh(policies, &err), 0);
	expect(t, "second", "u@a.vm", "relay:[x]:25 tls=verify" V12 " (pol:1)");

	write_file(path, "# none\n[y] fingerprint\n[x] none\n");
	assert_true(maps_refresh(policies, &err) < 0);
	assert_string_equal(err.text,
			    "pol:2: level fingerprint (of pol:2) needs to know which: add "
			    "fingerprint=sha256:HEX");
	expect(t, "third", "u@a.vm", "relay:[x]:25 tls=verify" V12 " (pol:1)");
	transport_free(t);
	unlink(path);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_entries),	      cmocka_unit_test(test_trace),
		cmocka_unit_test(test_general_level), cmocka_unit_test(test_check),
		cmocka_unit_test(test_refresh),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
