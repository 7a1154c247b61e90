/* test_grammar - logical lines of a configuration file */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/macros.h"
#include "config/grammar.h"

static void on_setting(void *arg, unsigned int line, struct slice name, struct slice value)
{
	buf_printf(arg, "%u %.*s=[%.*s]\n", line, (int)name.len, name.ptr, (int)value.len,
		   value.len ? value.ptr : "");
}

static void on_fault(void *arg, unsigned int line, const char *text)
{
	buf_printf(arg, "%u fault: %s\n", line, text);
}

#define EXPECTED "expected NAME = VALUE"
#define NO_NAME	 EXPECTED ", and a name of letters, digits and underscores"
#define NO_START                                                                                   \
	"a line that starts with white space continues the one before it, and there is none"

#define TEXT(literal) literal, sizeof(literal) - 1 /* with a NUL byte in one of them */

static const struct {
	const char *label;
	const char *text;
	size_t len;
	const char *want;
} cases[] = {
	{ "nothing", TEXT(""), "" },
	{ "one setting", TEXT("mode = hub\n"), "1 mode=[hub]\n" },
	{ "no spaces", TEXT("mode=hub\n"), "1 mode=[hub]\n" },
	{ "no line end", TEXT("mode = hub"), "1 mode=[hub]\n" },
	{ "CRLF", TEXT("mode = hub\r\nuser = x\r\n"), "1 mode=[hub]\n2 user=[x]\n" },
	{ "empty value", TEXT("relayhost =\n"), "1 relayhost=[]\n" },
	{ "equals in the value", TEXT("a = b = c\n"), "1 a=[b = c]\n" },
	{ "comments and empty lines", TEXT("# x\n\n  # y\n \t\na = 1\n"), "5 a=[1]\n" },
	{ "a hash inside is a value", TEXT("a = 1 # 2\n"), "1 a=[1 # 2]\n" },
	{ "continued", TEXT("a = 1\n  2\n\t3\nb = 4\n"), "1 a=[1 2 3]\n4 b=[4]\n" },
	{ "continued from an empty value", TEXT("a =\n  1\n"), "1 a=[1]\n" },
	{ "comment between", TEXT("a = 1,\n# no\n  # no\n\n  2\n"), "1 a=[1, 2]\n" },
	{ "continued name", TEXT("a\n  = 1\n"), "1 a=[1]\n" },
	{ "nothing to continue", TEXT("  a = 1\n  b = 2\nc = 3\n"),
	  "1 fault: " NO_START "\n3 c=[3]\n" },
	{ "no equals sign", TEXT("mode hub\n  more\na = 1\n"), "1 fault: " EXPECTED "\n3 a=[1]\n" },
	{ "no name", TEXT("= hub\n"), "1 fault: " NO_NAME "\n" },
	{ "a name of two words", TEXT("my mode = hub\n"), "1 fault: " NO_NAME "\n" },
	{ "NUL byte", TEXT("a = 1\nb = \0\n  c\nd = 2\n"),
	  "1 a=[1]\n2 fault: the line holds a NUL byte\n4 d=[2]\n" },
};

static void test_config_grammar_read(void **state)
{
	static const struct config_grammar_events events = { .setting = on_setting,
							     .fault = on_fault };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf got = { 0 };
		char *text;

		config_grammar_read(slice_of(cases[i].text, cases[i].len), &events, &got);
		text = buf_steal_string(&got);
		if (strcmp(text, cases[i].want) != 0)
			fail_msg("%s: got\n%swanted\n%s", cases[i].label, text, cases[i].want);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_config_grammar_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
