/* test_aliases - what a file in the format of aliases(5) holds, as postalias(1) has it */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/macros.h"
#include "maps/aliases.h"

/* The entries as "LINE:KEY=VALUE|", or the error. */
static const struct {
	const char *label, *text, *want;
} cases[] = {
	{ "empty", "", "" },
	{ "no newline at the end", "a: b", "1:a=b|" },
	{ "white space around", "a :\t b , c \t\r\n", "1:a=b , c|" },
	{ "none at all", "a:b\n", "1:a=b|" },
	{ "folded", "Root: Alice@VM1.vm\n", "1:root=Alice@VM1.vm|" },
	{ "continued", "a: b,\n\tc\n  # no\n\n d\ne: f\n", "1:a=b,\tc d|6:e=f|" },
	{ "comments", "# x: y\n  # z\na: b # c\n", "3:a=b # c|" },
	{ "quoted", "\"G h\": x\n", "1:g h=x|" },
	{ "a colon in quotes", "\"g:i\" : x\n", "1:g:i=x|" },
	{ "escaped", "a\\:b: x\n", "1:a:b=x|" },
	{ "white space inside", "s s: x\n", "1:s s=x|" },
	{ "commands stay as they are", "c: \"|/bin/cmd x\"\n", "1:c=\"|/bin/cmd x\"|" },
	{ "includes, too", "c: :include:/tmp/x\n", "1:c=:include:/tmp/x|" },
	{ "twice", "a: b\nA: c\n", "1:a=b|2:a=c|" },
	{ "byte order mark",
	  "\xef\xbb\xbf"
	  "a: b\n",
	  "1:a=b|" },
	{ "no colon", "a: b\np\n",
	  "al:2: expected \"name: value, ...\" as in aliases(5), found \"p\"" },
	{ "as in other files", "a b\n",
	  "al:1: expected \"name: value, ...\" as in aliases(5), found \"a b\"" },
	{ "no value", "a:\n\nb: c\n", "al:1: \"a:\" stands for nobody" },
	{ "no name", ": c\n", "al:1: no name in front of the colon in \": c\"" },
	{ "with a domain", "m@x.y: x\n",
	  "al:1: \"m@x.y: x\": names of aliases are local, without a domain; use "
	  "virtual_alias_maps for others" },
	{ "quote not closed", "\"a: b\n", "al:1: unbalanced '\"' in \"\"a: b\"" },
	{ "continues nothing", " a: b\n",
	  "al:1: a line that starts with white space continues the one before, but there is none" },
};

static void put_entries(struct buf *out, const struct table *table)
{
	for (size_t i = 0; i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);

		buf_printf(out, "%u:%s=%s|", entry->line, table_key(table, entry),
			   table_value(table, entry));
	}
}

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(table_unrefp) struct table *table = NULL;
		CLEANUP(free_strp) char *got = NULL;
		size_t len = strlen(cases[i].text);
		char *text = malloc(len + 1);
		struct error err;
		struct buf out = { 0 };

		memcpy(text, cases[i].text, len);
		if (aliases_parse(text, len, "al", NULL, NULL, &table, &err) < 0)
			buf_append_string(&out, err.text);
		else
			put_entries(&out, table);
		got = buf_steal_string(&out);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: got %s", cases[i].label, got);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_parse) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
