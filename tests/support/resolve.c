/*
 * resolve - the resolver for programs: what it makes of many maps, fast
 *
 * Standard input has one JSON object a line, a world:
 *
 *	{"transport_maps": "texthash:ts", "directory": "/tmp/x", "relayhost": "",
 *	 "default_transport": "smtp", "recipient_delimiter": "+",
 *	 "local": ["vm1.vm"], "addresses": ["b@vm2.vm"]}
 *
 * For each world a line is printed, an array with an object for each address:
 *
 *	{"transport": "relay", "nexthop": "[a], b", "hops": ["[a]:25", "b:25"],
 *	 "enhanced": "5.1.1", "text": "gone", "source": "ts:2"}
 *
 * Or {"map": "hash:/tmp/x/ts", "keys": ["vm2.vm"]}; then it is an array of the
 * values, null for those that are not there.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "transport/transport.h"

static const char *text_of(const json_t *world, const char *name)
{
	return json_string_value(json_object_get(world, name));
}

static int is_local(void *arg, struct slice domain, struct error *err)
{
	const json_t *domains = arg;

	(void)err;
	for (size_t i = 0; i < json_array_size(domains); i++)
		if (slice_equal(slice_from(json_string_value(json_array_get(domains, i))), domain))
			return MAP_FOUND;
	return MAP_NOT_FOUND;
}

static json_t *route_value(const struct transport_route *route)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];
	json_t *hops = json_array();

	for (unsigned int i = 0; i < route->hop_count; i++)
		json_array_append_new(hops, json_string(route->hops[i].text));
	smtp_status_enhanced_text(&route->status, enhanced);
	return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "transport", route->name, "nexthop",
			 route->nexthop, "hops", hops, "enhanced", enhanced, "text",
			 route->status.text, "source", route->source);
}

static json_t *resolve(struct transport *t, const char *address)
{
	const struct transport_route *route = NULL;
	struct error err = { 0 };
	json_t *value;

	if (transport_resolve(t, address, &route, &err) < 0)
		return json_pack("{s:s}", "error", err.text);
	value = route_value(route);
	transport_route_unref(route);
	return value;
}

static void print(const json_t *answers)
{
	json_dumpf(answers, stdout, 0);
	putchar('\n');
}

static int answer_keys(const json_t *keys, struct maps *maps, struct error *err)
{
	json_t *values = json_array();
	struct arena arena = { 0 };
	int r = 0;

	for (size_t i = 0; r >= 0 && i < json_array_size(keys); i++) {
		struct slice key = slice_from(json_string_value(json_array_get(keys, i)));
		struct map_result result;

		r = maps_lookup(maps, key, &arena, &result, err);
		json_array_append_new(values,
				      r == MAP_FOUND ? json_string(result.value) : json_null());
	}
	if (r >= 0)
		print(values);
	json_decref(values);
	arena_done(&arena);
	return r < 0 ? r : 0;
}

static int answer(const json_t *world, struct maps *maps, struct error *err)
{
	const struct transport_options options = {
		.transport_maps = maps,
		.relayhost = text_of(world, "relayhost"),
		.default_transport = text_of(world, "default_transport"),
		.recipient_delimiter = text_of(world, "recipient_delimiter"),
		.socket_directory = "/spool",
		.is_local = is_local,
		.is_local_arg = json_object_get(world, "local"),
	};
	const json_t *addresses = json_object_get(world, "addresses");
	json_t *answers = json_array();
	struct transport *t = NULL;
	int r = transport_new(&options, &t, err);

	for (size_t i = 0; r == 0 && i < json_array_size(addresses); i++)
		json_array_append_new(answers,
				      resolve(t, json_string_value(json_array_get(addresses, i))));
	if (r == 0)
		print(answers);
	json_decref(answers);
	transport_free(t);
	return r;
}

static int answer_line(const char *line, struct error *err)
{
	json_error_t trouble;
	json_t *world = json_loads(line, 0, &trouble);
	CLEANUP(maps_freep) struct maps *maps = NULL;
	const json_t *keys;
	int r;

	if (!world)
		return error_set(err, -1, "%s", trouble.text);
	keys = json_object_get(world, "keys");
	r = maps_open(slice_from(text_of(world, keys ? "map" : "transport_maps")),
		      text_of(world, "directory"), &maps, err);
	if (r == 0)
		r = keys ? answer_keys(keys, maps, err) : answer(world, maps, err);
	json_decref(world);
	return r;
}

int main(void)
{
	CLEANUP(free_strp) char *line = NULL;
	struct error err = { 0 };
	size_t size = 0;
	int r = 0;

	while (r == 0 && getline(&line, &size, stdin) >= 0)
		r = answer_line(line, &err);
	if (r < 0)
		fprintf(stderr, "%s\n", err.text);
	return r < 0;
}
