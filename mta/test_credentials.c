/* test_credentials - which entry of smtp_sasl_password_maps it is, and what becomes of a route */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/credentials.h"

struct rig {
	struct credentials_cache *cache;
	struct maps *maps;
	struct credentials_options options;
	const struct transport_route *route;
};

static void open_rig(struct rig *rig, const char *maps, const char *route)
{
	const struct transport_options transport = {
		.default_transport = "smtp",
		.tls.level = TLS_LEVEL_ENCRYPT,
		.can_verify = true,
	};

	*rig = (struct rig){ 0 };
	assert_int_equal(maps_open(slice_from(maps), "/", &rig->maps, NULL), 0);
	rig->options.password_maps = rig->maps;
	rig->cache = credentials_cache_new();
	assert_int_equal(transport_parse(&transport, route, "ts:1", &rig->route, NULL), 0);
}

static void close_rig(struct rig *rig)
{
	credentials_cache_free(rig->cache);
	transport_route_unref(rig->route);
	maps_free(rig->maps);
}

#define BY_HOP                                                                                     \
	"inline:{ [mx.example]:587 = a:1, [mx.example] = b:2, mx.example:587 = c:3, "              \
	"mx.example = d:4, @x.example = e:5, joe@x.example = f:6, none.example = : }"

static const struct {
	const char *label, *maps, *route, *sender;
	bool by_sender;
	const char *user, *password; /* NULL: nobody */
} cases[] = {
	{ "host and port", BY_HOP, "relay:[mx.example]:587", "joe@x.example", false, "a", "1" },
	{ "another port", BY_HOP, "relay:[mx.example]:25", "", false, "b", "2" },
	{ "default port", BY_HOP, "relay:[mx.example]", "", false, "b", "2" },
	{ "by MX", BY_HOP, "relay:mx.example:587", "", false, "c", "3" },
	{ "by MX, another port", BY_HOP, "relay:mx.example", "", false, "d", "4" },
	{ "case does not matter", BY_HOP, "relay:[MX.Example]:587", "", false, "a", "1" },
	{ "address", BY_HOP, "relay:[mx.example]:587", "Joe@X.example", true, "f", "6" },
	{ "domain of the sender", BY_HOP, "relay:[mx.example]:587", "ann@x.example", true, "e",
	  "5" },
	{ "extension of the sender", BY_HOP, "relay:[mx.example]:587", "joe+a@x.example", true, "f",
	  "6" },
	{ "extension of another", BY_HOP, "relay:[mx.example]:587", "ann+a@x.example", true, "e",
	  "5" },
	{ "another sender", BY_HOP, "relay:[mx.example]:587", "ann@y.example", true, "a", "1" },
	{ "no sender", BY_HOP, "relay:[mx.example]:587", "", true, "a", "1" },
	{ "unknown", BY_HOP, "relay:[other.example]", "", true, NULL, NULL },
	{ "nobody on purpose", BY_HOP, "relay:[none.example]", "", true, NULL, NULL },
	{ "an address, as written", "inline:{ 192.0.2.1:587 = a:1 }", "relay:192.0.2.1:587", "",
	  false, "a", "1" },
	{ "of IPv6", "inline:{ [2001:db8::1]:587 = a:1 }", "relay:[2001:db8::1]:587", "", false,
	  "a", "1" },
	{ "the first map", "inline:{ x.example = a:1 }, inline:{ [x.example] = b:2 }",
	  "relay:[x.example]", "", false, "b", "2" },
	{ "the same for all", "static:a:1", "relay:[x.example]", "", false, "a", "1" },
	{ "a password with colons", "static:a:1:2:", "relay:[x.example]", "", false, "a", "1:2:" },
	{ "a user alone", "static:a", "relay:[x.example]", "", false, NULL, NULL },
	{ "no password", "static:a:", "relay:[x.example]", "", false, NULL, NULL },
	{ "no user", "static::a", "relay:[x.example]", "", false, NULL, NULL },
};

static void test_search(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct credentials found;
		struct rig rig;
		int r;

		open_rig(&rig, cases[i].maps, cases[i].route);
		rig.options.by_sender = cases[i].by_sender;
		rig.options.recipient_delimiter = "+";
		r = credentials_find(&rig.options, cases[i].sender, &rig.route->hops[0], NULL, NULL,
				     &found, NULL);
		if (!cases[i].user && r != MAP_NOT_FOUND)
			fail_msg("%s: %d %s", cases[i].label, r, found.user);
		if (cases[i].user && (r != MAP_FOUND || strcmp(found.user, cases[i].user) != 0 ||
				      strcmp(found.password, cases[i].password) != 0))
			fail_msg("%s: %d %s", cases[i].label, r, r ? "" : found.user);
		credentials_done(&found);
		close_rig(&rig);
	}
}

struct notes {
	char text[400];
};

static void note(void *arg, const struct transport_lookup *lookup)
{
	struct notes *notes = arg;
	size_t len = strlen(notes->text);

	assert_string_equal(lookup->parameter, "smtp_sasl_password_maps");
	snprintf(notes->text + len, sizeof(notes->text) - len, "%s %s %s; ", lookup->key,
		 lookup->value ? lookup->value : "-", lookup->source ? lookup->source : "-");
	assert_null(strstr(lookup->map, "secret"));
}

/* Each lookup in its order, and never a password: neither as a value, nor in what a map is called. */
static void test_trace(void **state)
{
	static const struct {
		const char *maps, *want;
	} traced[] = {
		{ "inline:{ mx.example = joe:secret }",
		  "a@b - -; @b - -; [mx.example]:587 - -; [mx.example] - -; mx.example:587 - -; "
		  "mx.example joe inline:mx.example; " },
		{ "static:joe:secret", "a@b joe static:; " },
		{ "inline:{ @b = joe }", "a@b - -; @b nobody inline:@b; " },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(traced); i++) {
		struct notes notes = { "" };
		struct credentials found;
		struct rig rig;

		open_rig(&rig, traced[i].maps, "relay:[mx.example]:587");
		rig.options.by_sender = true;
		credentials_find(&rig.options, "a@b", &rig.route->hops[0], note, &notes, &found,
				 NULL);
		assert_string_equal(notes.text, traced[i].want);
		credentials_done(&found);
		close_rig(&rig);
	}
}

static const char *lane_for(struct rig *rig, const char *sender, char out[400])
{
	const struct transport_route *route = transport_route_ref(rig->route);

	assert_int_equal(credentials_add(rig->cache, &rig->options, sender, &route, NULL), 0);
	snprintf(out, 400, "%s", route->lane);
	transport_route_unref(route);
	return out;
}

/* Who logs in as somebody else, or as nobody, is in another lane; no password is in its name. */
static void test_lanes(void **state)
{
	char ann[400], joe[400], none[400], again[400];
	struct rig rig;

	(void)state;
	open_rig(&rig, "inline:{ ann@x = u1:secret, joe@x = u2:secret }", "relay:[a], [b]");
	rig.options.by_sender = true;
	lane_for(&rig, "ann@x", ann);
	lane_for(&rig, "joe@x", joe);
	lane_for(&rig, "eve@x", none);
	assert_string_equal(none, rig.route->lane);
	assert_string_not_equal(ann, joe);
	assert_string_not_equal(ann, none);
	assert_string_equal(ann, lane_for(&rig, "Ann@X", again));
	assert_null(strstr(ann, "secret"));
	assert_non_null(strstr(ann, "u1"));
	close_rig(&rig);
}

static void test_route(void **state)
{
	const struct transport_route *route;
	struct credentials found;
	struct rig rig;

	(void)state;
	open_rig(&rig, "inline:{ [b] = joe:secret }", "relay-smtps:[a], [b] tls=verify match=c");
	route = transport_route_ref(rig.route);
	assert_int_equal(credentials_add(rig.cache, &rig.options, "", &route, NULL), 0);
	assert_null(route->hops[0].login);
	assert_string_equal(route->hops[1].login, "joe");
	assert_string_equal(route->hops[1].login_key, "[b]");
	assert_string_equal(route->hops[1].host, "b");
	assert_int_equal(route->tls.level, TLS_LEVEL_VERIFY);
	assert_string_equal(route->tls.match[0], "c");
	assert_string_equal(route->source, "ts:1");

	assert_int_equal(credentials_find_again(&rig.options, &route->hops[1], &found, NULL),
			 MAP_FOUND);
	assert_string_equal(found.password, "secret");
	assert_string_equal(found.source, "inline:[b]");
	credentials_done(&found);
	transport_route_unref(route);
	close_rig(&rig);
}

/* What does not see a part of an address when it is routed must not see it when it logs in. */
static void test_pattern_before_the_part(void **state)
{
	static const char *const senders[] = { "joe+a@x.example", "ann@x.example" };
	char path[] = "/tmp/test_credentials.XXXXXX", maps[200];
	int fd = mkstemp(path);
	struct rig rig;

	(void)state;
	assert_int_equal(dprintf(fd, "/^joe@|^@/ other:1\n"), 19);
	close(fd);
	snprintf(maps, sizeof(maps), "regexp:%s, inline:{ joe@x.example=j:2, @x.example=x:3 }",
		 path);
	open_rig(&rig, maps, "relay:[a]");
	rig.options.by_sender = true;
	rig.options.recipient_delimiter = "+";
	for (size_t i = 0; i < ARRAY_SIZE(senders); i++) {
		const struct transport_route *route = transport_route_ref(rig.route);
		struct credentials found;

		assert_int_equal(credentials_add(rig.cache, &rig.options, senders[i], &route, NULL),
				 0);
		assert_string_equal(route->hops[0].login, i == 0 ? "j" : "x");
		assert_int_equal(credentials_find_again(&rig.options, &route->hops[0], &found,
							NULL),
				 MAP_FOUND);
		assert_string_equal(found.user, route->hops[0].login);
		credentials_done(&found);
		transport_route_unref(route);
	}
	close_rig(&rig);
	unlink(path);
}

static const struct transport_route *add(struct rig *rig, const char *sender)
{
	const struct transport_route *route = transport_route_ref(rig->route);

	assert_int_equal(credentials_add(rig->cache, &rig->options, sender, &route, NULL), 0);
	return route;
}

/* A message to a thousand has one route in memory; and of a thousand users not all are kept. */
static void test_routes_are_shared(void **state)
{
	const struct transport_route *one, *other, *same;
	struct buf maps = { 0 };
	char sender[32];
	struct rig rig;

	(void)state;
	buf_append_string(&maps, "inline:{");
	for (int i = 0; i < 3000; i++)
		buf_printf(&maps, "%s u%d@x = u%d:secret", i > 0 ? "," : "", i, i);
	buf_append(&maps, " }", 3);
	open_rig(&rig, buf_slice(&maps).ptr, "relay:[a]");
	rig.options.by_sender = true;
	one = add(&rig, "u1@x");
	other = add(&rig, "u2@x");
	same = add(&rig, "u1@x");
	assert_ptr_equal(one, same);
	assert_ptr_not_equal(one, other);
	for (int i = 0; i < 3000; i++) {
		snprintf(sender, sizeof(sender), "u%d@x", i);
		transport_route_unref(add(&rig, sender));
	}
	assert_string_equal(one->hops[0].login, "u1");
	transport_route_unref(one);
	transport_route_unref(other);
	transport_route_unref(same);
	buf_done(&maps);
	close_rig(&rig);
}

static void test_off(void **state)
{
	struct credentials_options off = { 0 };
	const struct transport_route *route;
	struct credentials found;
	struct rig rig;

	(void)state;
	open_rig(&rig, "static:a:b", "relay:[a]");
	route = rig.route;
	assert_int_equal(credentials_add(rig.cache, &off, "", &route, NULL), 0);
	assert_ptr_equal(route, rig.route);
	assert_int_equal(credentials_find_again(&off, &rig.route->hops[0], &found, NULL),
			 MAP_NOT_FOUND);
	credentials_done(&found);
	close_rig(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_trace),
		cmocka_unit_test(test_lanes),
		cmocka_unit_test(test_route),
		cmocka_unit_test(test_pattern_before_the_part),
		cmocka_unit_test(test_off),
		cmocka_unit_test(test_routes_are_shared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
