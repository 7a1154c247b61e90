/* test_request - what a client may ask for, and what is refused with which words */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "base/buf.h"
#include "base/macros.h"
#include "control/request.h"

static const struct {
	const char *line, *command, *error; /* error: how it begins */
} cases[] = {
	{ "{\"command\":\"status\"}", "status", NULL },
	{ " { \"command\" : \"queue hold\" , \"x\":[] } ", "queue hold", NULL },
	{ "", NULL, "empty request" },
	{ " ", NULL, "malformed request" },
	{ "GET / HTTP/1.1", NULL, "malformed request" },
	{ "{}", NULL, "malformed request: no command" },
	{ "[\"command\"]", NULL, "malformed request: no command" },
	{ "{\"command\":1}", NULL, "malformed request: no command" },
	{ "{\"command\":null}", NULL, "malformed request: no command" },
	{ "{\"command\":\"a\",\"command\":\"b\"}", NULL, "malformed request: duplicate" },
	{ "{\"command\":\"a\"} {\"command\":\"b\"}", NULL, "malformed request: end of file" },
	{ "{\"command\":\"a\\u0000b\"}", NULL, "malformed request: \\u0000" },
	{ "{\"command\":\"\xff\"}", NULL, "malformed request: unable to decode" },
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct control_request *request = NULL;
		struct error err = { 0 };
		int r = control_request_parse(slice_from(cases[i].line), &request, &err);

		if (r != (cases[i].error ? -EINVAL : 0))
			fail_msg("%s: %d", cases[i].line, r);
		if (r == 0)
			assert_string_equal(control_request_command(request), cases[i].command);
		else if (strncmp(err.text, cases[i].error, strlen(cases[i].error)) != 0)
			fail_msg("%s: %s", cases[i].line, err.text);
		control_request_free(request);
	}
}

/* Nesting to exhaust the stack. */
static void test_deep(void **state)
{
	struct control_request *request;
	struct buf line = { 0 };
	struct error err;

	(void)state;
	buf_append_string(&line, "{\"command\":");
	for (unsigned int i = 0; i < 500000; i++)
		buf_append_string(&line, "[");
	assert_int_equal(control_request_parse(buf_slice(&line), &request, &err), -EINVAL);
	buf_done(&line);
}

static int take(void *arg, const char *text, struct error *err)
{
	buf_printf(arg, "%s,", text);
	return strcmp(text, "bad") == 0 ? error_set(err, -EINVAL, "bad text") : 0;
}

static struct control_request *parse(const char *line)
{
	struct control_request *request;
	struct error err;

	if (control_request_parse(slice_from(line), &request, &err) < 0)
		fail_msg("%s", err.text);
	return request;
}

static void test_arguments(void **state)
{
	CLEANUP(control_request_freep)
	struct control_request *r = parse(
		"{\"command\":\"c\",\"yes\":true,\"n\":-5,\"text\":\"t\",\"list\":[\"a\",\"b\"]}");
	const char *text = "unset";
	struct buf list = { 0 };
	struct error err;
	int64_t number = 7;
	bool flag = false;

	(void)state;
	assert_int_equal(control_request_flag(r, "yes", &flag, &err), 0);
	assert_true(flag);
	assert_int_equal(control_request_flag(r, "absent", &flag, &err), 0);
	assert_true(flag);
	assert_int_equal(control_request_number(r, "absent", &number, &err), 0);
	assert_int_equal(number, 7);
	assert_int_equal(control_request_number(r, "n", &number, &err), 0);
	assert_int_equal(number, -5);
	assert_int_equal(control_request_text(r, "absent", &text, &err), 0);
	assert_string_equal(text, "unset");
	assert_int_equal(control_request_text(r, "text", &text, &err), 0);
	assert_string_equal(text, "t");
	assert_int_equal(control_request_texts(r, "list", take, &list, &err), 0);
	assert_true(slice_equal(buf_slice(&list), SLICE("a,b,")));
	assert_int_equal(control_request_texts(r, "absent", take, &list, &err), 0);
	buf_done(&list);

	assert_int_equal(control_request_flag(r, "text", &flag, &err), -EINVAL);
	assert_string_equal(err.text, "argument text: not true or false");
	assert_int_equal(control_request_number(r, "text", &number, &err), -EINVAL);
	assert_int_equal(control_request_text(r, "list", &text, &err), -EINVAL);
	assert_int_equal(control_request_texts(r, "text", take, NULL, &err), -EINVAL);

	assert_int_equal(control_request_allow(r, "list n text yes", &err), 0);
	assert_int_equal(control_request_allow(r, "list n tex yes", &err), -EINVAL);
	assert_string_equal(err.text, "unknown argument text");
	assert_int_equal(control_request_allow(r, "", &err), -EINVAL);
}

static void test_lists(void **state)
{
	CLEANUP(control_request_freep)
	struct control_request *r =
		parse("{\"command\":\"c\",\"mixed\":[\"a\",1],\"bad\":[\"bad\",\"b\"]}");
	struct buf list = { 0 };
	struct error err;

	(void)state;
	assert_int_equal(control_request_texts(r, "mixed", take, &list, &err), -EINVAL);
	assert_string_equal(err.text, "argument mixed: not a list of texts");
	buf_clear(&list);
	assert_int_equal(control_request_texts(r, "bad", take, &list, &err), -EINVAL);
	assert_string_equal(err.text, "bad text");
	assert_true(slice_equal(buf_slice(&list), SLICE("bad,")));
	buf_done(&list);
}

static const struct {
	const char *request, *description;
} descriptions[] = {
	{ "{\"command\":\"c\"}", "" },
	{ "{\"ids\":[\"1A\",\"2B\"],\"command\":\"c\",\"dry_run\":true}", "1A 2B --dry-run" },
	{ "{\"command\":\"c\",\"older_than\":3600,\"statuses\":[\"held\",\"queued\"],\"all\":"
	  "false}",
	  "--older-than=3600 --statuses=held,queued" },
	{ "{\"command\":\"c\",\"sender\":\"*@x y\",\"odd\":{},\"ids\":[1]}",
	  "--sender=*@x y --odd=? ?" },
};

static void test_describe(void **state)
{
	struct buf long_line = { 0 }, out = { 0 };
	struct control_request *r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(descriptions); i++) {
		r = parse(descriptions[i].request);
		control_request_describe(r, &out);
		if (!slice_equal(buf_slice(&out), slice_from(descriptions[i].description)))
			fail_msg("%.*s", (int)buf_len(&out), buf_slice(&out).ptr);
		control_request_free(r);
		buf_clear(&out);
	}

	buf_append_string(&long_line, "{\"command\":\"c\",\"ids\":[\"1\"");
	for (unsigned int i = 0; i < 50000; i++)
		buf_append_string(&long_line, ",\"1\"");
	buf_append(&long_line, "]}", 3);
	r = parse(buf_slice(&long_line).ptr);
	control_request_describe(r, &out);
	assert_true(buf_len(&out) < 2000);
	control_request_free(r);
	buf_done(&long_line);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),	  cmocka_unit_test(test_deep),
		cmocka_unit_test(test_arguments), cmocka_unit_test(test_lists),
		cmocka_unit_test(test_describe),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
