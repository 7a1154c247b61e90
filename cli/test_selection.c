/* test_selection - from what was typed to a filter of the queue, and what is refused on the way */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <jansson.h>

#include "base/macros.h"
#include "cli/selection.h"

#define NOW_MS INT64_C(1795245121000)

static const struct {
	const char *label;
	struct selection_words words;
	const char *request; /* or how the error begins */
} typed[] = {
	{ "nothing", { 0 }, "{}" },
	{ "all", { .all = true }, "{\"all\":true}" },
	{ "patterns",
	  { .sender = "<>", .recipient = "@x", .next_hop = "[h]:25" },
	  "{\"sender\":\"<>\",\"recipient\":\"@x\",\"next_hop\":\"[h]:25\"}" },
	{ "statuses", { .status = "held, active" }, "{\"statuses\":[\"held\",\"active\"]}" },
	{ "age", { .older_than = "2h" }, "{\"older_than\":7200}" },
	{ "bare age", { .older_than = "90" }, "{\"older_than\":90}" },
	{ "no status", { .status = ", " }, "!--status needs a value" },
	{ "no age", { .older_than = "yesterday" }, "!--older-than yesterday: expected a duration" },
	{ "not UTF-8", { .sender = "\xff" }, "!a filter is not UTF-8" },
};

static void test_words(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(typed); i++) {
		json_t *request = json_object();
		struct error err = { 0 };
		int r = selection_put(request, &typed[i].words, &err);
		char *text = json_dumps(request, JSON_COMPACT);

		if (typed[i].request[0] == '!') {
			assert_int_equal(r, -EINVAL);
			if (strncmp(err.text, typed[i].request + 1, strlen(typed[i].request) - 1))
				fail_msg("%s: %s", typed[i].label, err.text);
		} else if (r != 0 || strcmp(text, typed[i].request) != 0) {
			fail_msg("%s: %d, %s", typed[i].label, r, text);
		}
		free(text);
		json_decref(request);
	}
}

static int take(const char *arguments, struct control_request **ret_request, struct selection *ret,
		struct error *err)
{
	char line[4096];

	snprintf(line, sizeof(line), "{\"command\":\"c\"%s}", arguments);
	assert_int_equal(control_request_parse(slice_from(line), ret_request, err), 0);
	return selection_take(*ret_request, NOW_MS, ret, err);
}

static void test_filter(void **state)
{
	CLEANUP(control_request_freep) struct control_request *request = NULL;
	struct selection s = { 0 };
	struct error err;

	(void)state;
	assert_int_equal(
		take(",\"ids\":[\"1A\",\"2\",\"3\",\"1A\"],\"sender\":\"a\",\"recipient\":\"b\","
		     "\"next_hop\":\"c\",\"statuses\":[\"queued\",\"active\"],"
		     "\"older_than\":60",
		     &request, &s, &err),
		0);
	assert_true(s.is_given && !s.is_all);
	assert_int_equal(s.filter.id_count, 4);
	assert_int_equal(s.filter.ids[0], 0x1a);
	assert_int_equal(s.filter.ids[3], 0x1a);
	assert_string_equal(s.filter.sender, "a");
	assert_string_equal(s.filter.recipient, "b");
	assert_string_equal(s.filter.next_hop, "c");
	assert_int_equal(s.filter.statuses, (1u << QUEUE_QUEUED) | QUEUE_FILTER_ACTIVE);
	assert_int_equal(s.filter.arrived_before_ms, NOW_MS - 60000);
	selection_done(&s);
}

static const struct {
	const char *arguments;
	bool is_given, is_all;
	const char *error;
} requests[] = {
	{ "", false, false, NULL },
	{ ",\"ids\":[]", false, false, NULL },
	{ ",\"statuses\":[]", false, false, NULL },
	{ ",\"all\":true", false, true, NULL },
	{ ",\"all\":false", false, false, NULL },
	{ ",\"older_than\":0", true, false, NULL },
	{ ",\"all\":true,\"older_than\":0", 0, 0, "--all is everything" },
	{ ",\"all\":true,\"ids\":[\"1\"]", 0, 0, "--all is everything" },
	{ ",\"all\":1", 0, 0, "argument all: not true or false" },
	{ ",\"sender\":\"\"", 0, 0, "sender: empty" },
	{ ",\"recipient\":\"\"", 0, 0, "recipient: empty" },
	{ ",\"next_hop\":\"\"", 0, 0, "next_hop: empty" },
	{ ",\"ids\":[\"\"]", 0, 0, ": not the id" },
	{ ",\"ids\":[\"1\",\"x y\"]", 0, 0, "x y: not the id" },
	{ ",\"ids\":[\"FFFFFFFFFFFFFFFFF\"]", 0, 0, "FFFFFFFFFFFFFFFFF: not the id" },
	{ ",\"ids\":[1]", 0, 0, "argument ids: not a list of texts" },
	{ ",\"statuses\":[\"delivered\"]", 0, 0, "status delivered: unknown" },
	{ ",\"statuses\":\"held\"", 0, 0, "argument statuses: not a list" },
	{ ",\"older_than\":-2", 0, 0, "older_than: out of range" },
	{ ",\"older_than\":-1", 0, 0, "older_than: out of range" },
	{ ",\"older_than\":9223372036854775807", 0, 0, "older_than: out of range" },
	{ ",\"older_than\":\"1h\"", 0, 0, "argument older_than: not a number" },
};

static void test_requests(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		CLEANUP(control_request_freep) struct control_request *request = NULL;
		struct selection s = { 0 };
		struct error err = { 0 };
		int r = take(requests[i].arguments, &request, &s, &err);

		if (requests[i].error) {
			assert_int_equal(r, -EINVAL);
			if (strncmp(err.text, requests[i].error, strlen(requests[i].error)) != 0)
				fail_msg("%s: %s", requests[i].arguments, err.text);
		} else if (r != 0 || s.is_given != requests[i].is_given ||
			   s.is_all != requests[i].is_all) {
			fail_msg("%s: %d", requests[i].arguments, r);
		}
		selection_done(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_filter),
		cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
