/* test_text - what a text file holds, after postmap(1), and what we refuse */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/macros.h"
#include "maps/text.h"

/* The entries as "LINE:KEY=VALUE|", or the error. */
static const struct {
	const char *label, *text, *want;
} cases[] = {
	{ "empty", "", "" },
	{ "no newline at the end", "a b", "1:a=b|" },
	{ "one letter each", "a b\n", "1:a=b|" },
	{ "tabs, and white space around", "a\t \tb c \t\r\n", "1:a=b c|" },
	{ "empty lines and comments", "\n  \n# x y\n \t# x y\na b\n#", "5:a=b|" },
	{ "folded", "User@VM1.vm Relay:[Hub]\n", "1:user@vm1.vm=Relay:[Hub]|" },
	{ "not ASCII: as it is", "\xc3\x9c b\n", "1:\xc3\x9c=b|" },
	{ "continued", "a b\n c\nd e\n", "1:a=b c|3:d=e|" },
	{ "value on the next line", "a\n\tb\n", "1:a=b|" },
	{ "continued behind comments and empty lines", "a b\n# x\n  # y\n\n   \n c\n", "1:a=b c|" },
	{ "continued, carriage returns", "a b\r\n c\r\n", "1:a=b c|" },
	{ "a hash sign inside of a line", "a #b\n", "1:a=#b|" },
	{ "quoted key", "\"x Y\" v w\n", "1:\"x y\"=v w|" },
	{ "quoted local part", "\"x y\"@d v\n", "1:\"x y\"@d=v|" },
	{ "quotes escaped", "\"a\\\"b c\" v\n", "1:\"a\\\"b c\"=v|" },
	{ "blank escaped", "a\\ b v\n", "1:a\\ b=v|" },
	{ "quotes in the value", "a \"b\n", "1:a=\"b|" },
	{ "given twice", "a b\nA c\n", "1:a=b|2:a=c|" },
	{ "byte order mark",
	  "\xef\xbb\xbf"
	  "a b\n",
	  "1:a=b|" },
	{ "no value", "a b\nc\n", "ts:2: expected \"key value\", found only \"c\"" },
	{ "no value, at the end", "c", "ts:1: expected \"key value\", found only \"c\"" },
	{ "no value, continuations do not help", "c\n # d\n\n",
	  "ts:1: expected \"key value\", found only \"c\"" },
	{ "alias file", "a b\nroot: me\n",
	  "ts:2: \"root: me\" is in the format \"key: value\"; expected \"key value\"" },
	{ "quote not closed", "\"a b\n", "ts:1: unbalanced '\"' in \"\"a b\"" },
	{ "continues nothing", "# x\n a b\n",
	  "ts:2: a line that starts with white space continues the one before, but there is none" },
	{ "hostile line", "\x1b[2J\n", "ts:1: expected \"key value\", found only \"?[2J\"" },
};

static void put_entries(struct buf *out, const struct table *table)
{
	for (size_t i = 0; i < table_count(table); i++) {
		const struct table_entry *entry = table_at(table, i);

		buf_printf(out, "%u:%s=%s|", entry->line, table_key(table, entry),
			   table_value(table, entry));
	}
}

static int parse(const char *text, size_t len, map_report *report, void *arg,
		 struct table **ret_table, struct error *err)
{
	char *copy = malloc(len + 1); /* not terminated, so that ASan sees a step too far */

	memcpy(copy, text, len);
	return text_parse(copy, len, "ts", report, arg, ret_table, err);
}

static void test_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(table_unrefp) struct table *table = NULL;
		CLEANUP(free_strp) char *got = NULL;
		struct buf out = { 0 };
		struct error error = { 0 };

		if (parse(cases[i].text, strlen(cases[i].text), NULL, NULL, &table, &error) < 0)
			buf_append_string(&out, error.text);
		else
			put_entries(&out, table);
		got = buf_steal_string(&out);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: got %s", cases[i].label, got);
	}
}

static void test_nul(void **state)
{
	struct table *table = NULL;
	struct error error = { 0 };

	(void)state;
	assert_true(parse("a b\0c\n", 6, NULL, NULL, &table, &error) < 0);
	assert_string_equal(error.text, "ts:1: a NUL byte in \"a b?c\"");
}

static void note(void *arg, bool is_error, const char *source, const char *text)
{
	buf_printf(arg, "%s %s %.8s|", is_error ? "error" : "warning", source, text);
}

/* Each bad line is reported, and the error is that of the first. */
static void test_report(void **state)
{
	static const char text[] = " x y\na\nb c\n\"d e\nf: g\n";
	CLEANUP(free_strp) char *got = NULL;
	struct table *table = NULL;
	struct buf out = { 0 };
	struct error error = { 0 };

	(void)state;
	assert_true(parse(text, strlen(text), note, &out, &table, &error) < 0);
	got = buf_steal_string(&out);
	assert_string_equal(got, "error ts:1 a line t|error ts:2 expected|error ts:4 "
				 "unbalanc|error ts:5 \"f: g\" i|");
	assert_memory_equal(error.text, "ts:1: ", 6);
}

/* Lookups find every key, and the first of two; nothing else. */
static void test_find(void **state)
{
	CLEANUP(table_unrefp) struct table *table = NULL;
	struct buf text = { 0 };
	struct slice all;
	char key[32];

	(void)state;
	for (int i = 0; i < 5000; i++)
		buf_printf(&text, "Key%d value%d\n", i % 4000, i);
	all = buf_slice(&text);
	assert_int_equal(parse(all.ptr, all.len, NULL, NULL, &table, NULL), 0);
	assert_int_equal(table_count(table), 5000);
	for (int i = 0; i < 8000; i++) {
		const struct table_entry *entry;

		snprintf(key, sizeof(key), "kEy%d", i);
		entry = table_find(table, slice_from(key));
		if (i < 4000)
			assert_int_equal(entry->line, i + 1);
		else
			assert_null(entry);
	}
	assert_null(table_find(table, slice_of("key1\0", 5)));
	assert_null(table_find(table, slice_of(NULL, 0)));
	assert_null(table_find(table, slice_of(all.ptr, TABLE_KEY_MAX + 1)));
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_report),
		cmocka_unit_test(test_find),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
