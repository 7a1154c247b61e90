/* test_dovecot_line - what we understand of a line of Dovecot's auth server */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/dovecot_line.h"

static const struct {
	const char *line;
	int outcome;
	enum dovecot_command command;
	uint32_t number;
	const char *word, *names;
} cases[] = {
	{ "VERSION\t1\t2", 0, DOVECOT_VERSION, 1, "", "2" },
	{ "VERSION\t2", 0, DOVECOT_VERSION, 2, "", "" },
	{ "VERSION", -1, 0, 0, NULL, NULL },
	{ "VERSION\tone", -1, 0, 0, NULL, NULL },
	{ "MECH\tPLAIN\tplaintext", 0, DOVECOT_MECH, 0, "PLAIN", "plaintext" },
	{ "MECH\tSCRAM-SHA-1", 0, DOVECOT_MECH, 0, "SCRAM-SHA-1", "" },
	{ "MECH", -1, 0, 0, NULL, NULL },
	{ "MECH\t\tplaintext", -1, 0, 0, NULL, NULL },
	{ "DONE", 0, DOVECOT_DONE, 0, "", "" },
	{ "SPID\t17", 0, DOVECOT_OTHER, 0, "", "17" },
	{ "COOKIE\t826c33abc2", 0, DOVECOT_OTHER, 0, "", "826c33abc2" },
	{ "OK\t7\tuser=a@b", 0, DOVECOT_OK, 7, "", "user=a@b" },
	{ "OK\t4294967295", 0, DOVECOT_OK, 4294967295, "", "" },
	{ "OK\t4294967296", -1, 0, 0, NULL, NULL },
	{ "OK\t-1", -1, 0, 0, NULL, NULL },
	{ "OK\t", -1, 0, 0, NULL, NULL },
	{ "FAIL\t2\tuser=a\ttemp", 0, DOVECOT_FAIL, 2, "", "user=a\ttemp" },
	{ "CONT\t3\t", 0, DOVECOT_CONT, 3, "", "" },
	{ "CONT\t3\tUGFzc3dvcmQ6", 0, DOVECOT_CONT, 3, "UGFzc3dvcmQ6", "" },
	{ "ok\t7", 0, DOVECOT_OTHER, 0, "", "7" },
	{ "", -1, 0, 0, NULL, NULL },
	{ "\tOK", -1, 0, 0, NULL, NULL },
	{ "220 mail.example ESMTP", 0, DOVECOT_OTHER, 0, "", "" },
};

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dovecot_line line;
		struct error err;
		int r = dovecot_line_parse(slice_from(cases[i].line), &line, &err);

		if ((r < 0) != (cases[i].outcome < 0))
			fail_msg("%s: got %d", cases[i].line, r);
		if (r == 0 && (line.command != cases[i].command || line.number != cases[i].number ||
			       !slice_equal(line.word, slice_from(cases[i].word)) ||
			       !slice_equal(line.names, slice_from(cases[i].names))))
			fail_msg("%s: %d, %u, \"%.*s\", \"%.*s\"", cases[i].line, (int)line.command,
				 line.number, (int)line.word.len, line.word.ptr,
				 (int)line.names.len, line.names.ptr);
	}
}

static void test_malformed_lines_are_shown_safely(void **state)
{
	struct dovecot_line line;
	struct error err;

	(void)state;
	assert_true(dovecot_line_parse(SLICE("OK\tx\033[2Jx\r"), &line, &err) < 0);
	assert_null(strchr(err.text, '\033'));
	assert_null(strchr(err.text, '\r'));
}

static const struct {
	const char *label;
	const char *names;
	size_t len; /* where there is a NUL in it; else 0 */
	const char *name;
	size_t size;
	const char *want; /* NULL: there is none */
} values[] = {
	{ "one", "user=alice", 0, "user", 64, "alice" },
	{ "behind others", "a\tb=c\tuser=alice\tz", 0, "user", 64, "alice" },
	{ "the first counts", "user=alice\tuser=bob", 0, "user", 64, "alice" },
	{ "not the end of a name", "master_user=root", 0, "user", 64, NULL },
	{ "not the front of a name", "username=root", 0, "user", 64, NULL },
	{ "not in a value", "reason=user=root", 0, "user", 64, NULL },
	{ "no value", "user", 0, "user", 64, "" },
	{ "empty value", "user=", 0, "user", 64, "" },
	{ "absent", "temp", 0, "user", 64, NULL },
	{ "nothing", "", 0, "user", 64, NULL },
	{ "escapes", "user=a\001tb\001nc\001rd\0011e", 0, "user", 64, "a\tb\nc\rd\001e" },
	{ "no more is in a value", "user=a=b", 0, "user", 64, "a=b" },
	{ "an escaped NUL", "user=a\0010b", 0, "user", 64, NULL },
	{ "a NUL", "user=a\0b", 8, "user", 64, NULL },
	{ "an unknown escape", "user=a\001xb", 0, "user", 64, NULL },
	{ "half an escape", "user=a\001", 0, "user", 64, NULL },
	{ "fits", "user=abc", 0, "user", 4, "abc" },
	{ "does not fit", "user=abcd", 0, "user", 4, NULL },
};

static void test_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		struct dovecot_line line = { .names = slice_from(values[i].names) };
		char out[64] = "before";
		bool has;

		if (values[i].len > 0)
			line.names.len = values[i].len;
		has = dovecot_line_value(&line, values[i].name, out, values[i].size);

		if (has != (values[i].want != NULL) ||
		    strcmp(out, values[i].want ? values[i].want : "") != 0)
			fail_msg("%s: %d, \"%s\"", values[i].label, has, out);
	}
}

static void test_names(void **state)
{
	struct dovecot_line line = { .names = SLICE("user=a\ttemp\tcode=x") };

	(void)state;
	assert_true(dovecot_line_has(&line, "temp"));
	assert_true(dovecot_line_has(&line, "code"));
	assert_false(dovecot_line_has(&line, "tem"));
	assert_false(dovecot_line_has(&line, "tempo"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_malformed_lines_are_shown_safely),
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
