/* test_rules - regexp: and cidr: maps: what matches, what comes out, what is refused */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/macros.h"
#include "maps/rules.h"

static struct rules *parse(enum rules_syntax syntax, const char *text)
{
	struct rules *rules = NULL;
	struct error err = { 0 };

	if (rules_parse(syntax, slice_from(text), "f", NULL, NULL, &rules, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return rules;
}

struct lookup {
	const char *label, *text, *key, *value; /* value NULL: not found */
	uint32_t line;
};

static void check(enum rules_syntax syntax, const struct lookup *lookup)
{
	struct rules *rules = parse(syntax, lookup->text);
	struct arena arena = { 0 };
	struct error err = { 0 };
	const char *value = NULL;
	uint32_t line = 0;
	int r = rules_lookup(rules, slice_from(lookup->key), &arena, &value, &line, &err);

	if (r < 0)
		fail_msg("%s: %s", lookup->label, err.text);
	if ((r == MAP_FOUND) != (lookup->value != NULL))
		fail_msg("%s: outcome %d", lookup->label, r);
	if (lookup->value && (strcmp(value, lookup->value) != 0 || line != lookup->line))
		fail_msg("%s: line %u, \"%s\"", lookup->label, line, value);
	arena_done(&arena);
	rules_unref(rules);
}

static const struct lookup regexps[] = {
	{ "matches anywhere", "/exam/ yes", "a@example.com", "yes", 1 },
	{ "not found", "/^exam/ yes", "a@example.com", NULL, 0 },
	{ "the first counts", "/x/ no\n/a/ one\n/a/ two", "a", "one", 2 },
	{ "case does not matter", "/ABC/ yes", "abc", "yes", 1 },
	{ "case matters by flag i", "/ABC/i yes", "abc", NULL, 0 },
	{ "a flag given twice is none", "/ABC/ii yes", "abc", "yes", 1 },
	{ "extended", "/^(a|b)+$/ yes", "abba", "yes", 1 },
	{ "basic by flag x", "/^\\(a\\)\\1$/x $1", "aa", "a", 1 },
	{ "anchors at lines by flag m", "/^b$/m yes", "a\nb", "yes", 1 },
	{ "anchors at the ends without it", "/^b$/ yes", "a\nb", NULL, 0 },
	{ "other delimiters", "~a/b~ yes", "a/b", "yes", 1 },
	{ "an escaped delimiter", "/a\\/b/ yes", "a/b", "yes", 1 },
	{ "white space in a pattern", "/a b/ yes", "a b", "yes", 1 },
	{ "what must not match", "!/a/ yes", "b", "yes", 1 },
	{ "what must not match, and does", "!/a/ yes", "a", NULL, 0 },
	{ "not not", "!!/a/ yes", "a", "yes", 1 },
	{ "not, with a space", "! /a/ yes", "b", "yes", 1 },
	{ "a continued line", "/a/\n  yes\n  indeed", "a", "yes  indeed", 1 },
	{ "comments and empty lines", "# c\n\n/a/ x\n# c\n  # d\n/b/ y\n", "b", "y", 6 },
	{ "a comment in a line", "/a/\n# c\n yes", "a", "yes", 1 },
	{ "CR LF", "/a/ yes\r\n", "a", "yes", 1 },
	{ "a result of many words", "/a/ 550 5.7.1 no  way  ", "a", "550 5.7.1 no  way", 1 },
	{ "$1", "/^(.*)@(.*)$/ $2 $1", "u@d", "d u", 1 },
	{ "${1}", "/^(.*)@(.*)$/ x${1}y", "u@d", "xuy", 1 },
	{ "$(1)", "/^(.*)@(.*)$/ x$(1)y", "u@d", "xuy", 1 },
	{ "$$", "/a/ $$1 $$", "a", "$1 $", 1 },
	{ "$$ with $1", "/(a)/ $$$1", "a", "$a", 1 },
	{ "parentheses that took no part", "/^(a)|(b)$/ x$1$2", "b", "xb", 1 },
	{ "if", "if /a/\n/b/ yes\nendif\n/b/ no", "ab", "yes", 2 },
	{ "if does not apply", "if /a/\n/b/ yes\nendif\n/b/ no", "b", "no", 4 },
	{ "if not", "if !/a/\n/b/ yes\nendif\n/b/ no", "b", "yes", 2 },
	{ "nothing within if", "if /a/\n/c/ yes\nendif\n/b/ no", "ab", "no", 4 },
	{ "nested", "if /a/\nif /b/\n/c/ 1\nendif\n/./ 2\nendif\n/./ 3", "ac", "2", 5 },
	{ "nested, both apply", "if /a/\nif /b/\n/c/ 1\nendif\n/./ 2\nendif\n/./ 3", "abc", "1",
	  3 },
	{ "nested, none does", "if /a/\nif /b/\n/c/ 1\nendif\n/./ 2\nendif\n/./ 3", "b", "3", 7 },
	{ "IF in capitals, without a space", "IF/a/\n/./ yes\nENDIF", "a", "yes", 2 },
	{ "a byte order mark", "\xef\xbb\xbf/a/ yes", "a", "yes", 1 },
	{ "an empty file", "", "a", NULL, 0 },
};

static void test_regexp(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(regexps); i++)
		check(RULES_REGEXP, &regexps[i]);
}

static const struct lookup cidrs[] = {
	{ "a network", "192.0.2.0/24 yes", "192.0.2.77", "yes", 1 },
	{ "outside of it", "192.0.2.0/24 yes", "192.0.3.77", NULL, 0 },
	{ "an address", "192.0.2.1 yes", "192.0.2.1", "yes", 1 },
	{ "another", "192.0.2.1 yes", "192.0.2.2", NULL, 0 },
	{ "odd bits, in", "192.0.2.128/25 yes", "192.0.2.200", "yes", 1 },
	{ "odd bits, out", "192.0.2.128/25 yes", "192.0.2.100", NULL, 0 },
	{ "everything", "0.0.0.0/0 yes", "10.9.8.7", "yes", 1 },
	{ "everything, of the other family", "0.0.0.0/0 yes", "::1", NULL, 0 },
	{ "IPv6", "2001:db8::/32 yes", "2001:db8:1::2", "yes", 1 },
	{ "IPv6, outside", "2001:db8::/32 yes", "2001:db9::", NULL, 0 },
	{ "IPv6, odd bits", "2001:db8::/33 yes", "2001:db8:8000::", NULL, 0 },
	{ "IPv6, written otherwise", "2001:db8::1 yes", "2001:0DB8:0:0::1", "yes", 1 },
	{ "IPv6, everything", "::/0 yes", "::1", "yes", 1 },
	{ "brackets around the address", "[::1]/128 yes", "::1", "yes", 1 },
	{ "brackets around all", "[192.0.2.0/24] yes", "192.0.2.1", "yes", 1 },
	{ "what is not in it", "!192.0.2.0/24 yes", "10.0.0.1", "yes", 1 },
	{ "what is not in it, of the other family", "!192.0.2.0/24 yes", "::1", NULL, 0 },
	{ "not not", "!! 192.0.2.1 yes", "192.0.2.1", "yes", 1 },
	{ "the first counts", "10.0.0.0/8 a\n10.1.0.0/16 b", "10.1.2.3", "a", 1 },
	{ "if", "if 10.0.0.0/8\n10.1.0.0/16 b\nendif\n0.0.0.0/0 c", "10.1.2.3", "b", 2 },
	{ "if does not apply", "if 10.0.0.0/8\n::/0 b\nendif\n0.0.0.0/0 c", "11.1.2.3", "c", 4 },
	{ "if not", "if !10.0.0.0/8\n0.0.0.0/0 b\nendif", "11.1.2.3", "b", 2 },
	{ "a dollar sign is one", "10.0.0.1 $1 $$", "10.0.0.1", "$1 $$", 1 },
	{ "no address", "0.0.0.0/0 yes", "example.com", NULL, 0 },
	{ "no address, and none in it", "!10.0.0.0/8 yes", "example.com", NULL, 0 },
	{ "an address in brackets is none", "0.0.0.0/0 yes", "[10.0.0.1]", NULL, 0 },
	{ "a domain in letters of hex", "::/0 yes", "face", NULL, 0 },
};

static void test_cidr(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cidrs); i++)
		check(RULES_CIDR, &cidrs[i]);
}

struct refusal {
	enum rules_syntax syntax;
	const char *text, *error;
};

static const struct refusal refusals[] = {
	{ RULES_REGEXP, "/a/ x\n/b", "f:2: no closing / in \"/b\"" },
	{ RULES_REGEXP, "/a/q x", "f:1: \"q\" behind the pattern: expected the flags i, m, x" },
	{ RULES_REGEXP, "/a/", "f:1: no result behind the pattern" },
	{ RULES_REGEXP, "/(/ x", "f:1: Unmatched ( or \\(" },
	{ RULES_REGEXP, "/a/ $1", "f:1: $1 in the result, but the pattern has 0 pairs of paren" },
	{ RULES_REGEXP, "/(a)/ ${2}", "f:1: $2 in the result, but the pattern has 1 pairs" },
	{ RULES_REGEXP, "!/(a)/ $1", "f:1: $1 in the result of a pattern that must not match" },
	{ RULES_REGEXP, "/(a)/ $x", "f:1: \"$x\": expected $1 to $99" },
	{ RULES_REGEXP, "/(a)/ $1x", "f:1: \"$1x\": expected $1 to $99, or ${1} where letters" },
	{ RULES_REGEXP, "/(a)/ $0", "f:1: \"$0\": expected $1" },
	{ RULES_REGEXP, "/(a)/ ${1", "f:1: \"${1\" is not closed" },
	{ RULES_REGEXP, "/(a)/ $", "f:1: \"$\": expected $1" },
	{ RULES_REGEXP, "a b", "f:1: expected /pattern/, found \"a b\"" },
	{ RULES_REGEXP, "!a b", "f:1: expected /pattern/, found \"a b\"" },
	{ RULES_REGEXP, "!", "f:1: expected /pattern/, found \"\"" },
	{ RULES_REGEXP, " /a/ x", "f:1: a line that starts with white space continues" },
	{ RULES_REGEXP, "if /a/\n/b/ x", "f:1: if without an endif" },
	{ RULES_REGEXP, "endif", "f:1: endif without an if" },
	{ RULES_REGEXP, "if /a/ x\nendif", "f:1: \"x\" behind the pattern of if" },
	{ RULES_REGEXP, "if /a/\n /b/ x\nendif", "f:1: \"/b/ x\" behind the pattern of if" },
	{ RULES_REGEXP, "if /a/\nendif x", "f:2: \"x\" behind endif" },
	{ RULES_CIDR, "10.0.0.0/8", "f:1: no result behind the pattern" },
	{ RULES_CIDR, "10.0.0.1/8 x",
	  "f:1: \"10.0.0.1/8\" has bits behind its prefix; the network is 10.0.0.0/8" },
	{ RULES_CIDR, "10.0.0.0/33 x",
	  "f:1: \"10.0.0.0/33\": expected a prefix length of 0 to 32" },
	{ RULES_CIDR, "::/129 x", "f:1: \"::/129\": expected a prefix length of 0 to 128" },
	{ RULES_CIDR, "10.0.0.0/ x", "f:1: \"10.0.0.0/\": expected a prefix length" },
	{ RULES_CIDR, "example.com x", "f:1: \"example.com\": expected an address, as 192.0.2.1" },
	{ RULES_CIDR, "[10.0.0.1 x", "f:1: \"[10.0.0.1\": expected an address" },
	{ RULES_CIDR, "[10.0.0.1]x y", "f:1: \"[10.0.0.1]x\": expected an address" },
	{ RULES_CIDR, "! x", "f:1: \"x\": expected an address" },
	{ RULES_CIDR, "if 10.0.0.0/8", "f:1: if without an endif" },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct rules *rules = NULL;
		struct error err = { 0 };
		int r = rules_parse(refusals[i].syntax, slice_from(refusals[i].text), "f", NULL,
				    NULL, &rules, &err);

		if (r >= 0)
			fail_msg("taken: %s", refusals[i].text);
		if (strncmp(err.text, refusals[i].error, strlen(refusals[i].error)) != 0)
			fail_msg("%s: %s", refusals[i].text, err.text);
	}
}

static void count_report(void *arg, bool is_error, const char *source, const char *text)
{
	struct buf *out = arg;

	(void)text;
	assert_true(is_error);
	buf_printf(out, "%s ", source);
}

static void test_every_bad_line_is_told(void **state)
{
	struct rules *rules = NULL;
	struct buf out = { 0 };

	(void)state;
	assert_true(rules_parse(RULES_REGEXP, SLICE("/a\n/b/ x\n/c/\nif /(/\n/d/ y\nendif\n/e/q z"),
				"f", count_report, &out, &rules, NULL) < 0);
	buf_append(&out, "", 1);
	assert_string_equal(buf_slice(&out).ptr, "f:1 f:3 f:4 f:7 ");
	buf_done(&out);
}

static void test_long_keys_are_errors(void **state)
{
	struct rules *rules = parse(RULES_REGEXP, "!/^x/ y");
	struct arena arena = { 0 };
	struct error err = { 0 };
	char key[RULES_KEY_MAX + 1];
	const char *value;
	uint32_t line;

	(void)state;
	memset(key, 'a', sizeof(key));
	assert_int_equal(rules_lookup(rules, slice_of(key, RULES_KEY_MAX), &arena, &value, &line,
				      &err),
			 MAP_FOUND);
	assert_true(rules_lookup(rules, slice_of(key, sizeof(key)), &arena, &value, &line, &err) <
		    0);
	assert_true(rules_lookup(rules, slice_of("a\0b", 3), &arena, &value, &line, &err) < 0);
	arena_done(&arena);
	rules_unref(rules);
}

static void test_an_empty_result_is_an_error(void **state)
{
	struct rules *rules = parse(RULES_REGEXP, "/^a(.*)$/ $1");
	struct arena arena = { 0 };
	struct error err = { 0 };
	const char *value;
	uint32_t line;

	(void)state;
	assert_true(rules_lookup(rules, SLICE("a"), &arena, &value, &line, &err) < 0);
	assert_string_equal(err.text, "the result \"$1\" comes out empty");
	assert_int_equal(rules_lookup(rules, SLICE("a"), &arena, NULL, &line, &err), MAP_FOUND);
	arena_done(&arena);
	rules_unref(rules);
}

static void note_hidden(void *arg, const char *pattern, uint32_t line, uint32_t first_line)
{
	buf_printf(arg, "%s %u<%u ", pattern, line, first_line);
}

static void test_entries_and_what_is_hidden(void **state)
{
	struct rules *rules = parse(
		RULES_REGEXP, "!/a/i x\nif /b/\n/c/ y\nendif\n/c/ $$z\n/(c)/ $1\n/c/ v\n!/a/i w");
	struct rules_entry entry;
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(rules_count(rules), 6);
	rules_at(rules, 0, &entry);
	assert_string_equal(entry.pattern, "!/a/i");
	assert_string_equal(entry.result, "x");
	rules_at(rules, 2, &entry);
	assert_string_equal(entry.result, "$z");
	assert_int_equal(entry.line, 5);
	assert_false(entry.has_substitutions);
	rules_at(rules, 3, &entry);
	assert_string_equal(entry.result, "$1");
	assert_true(entry.has_substitutions);
	rules_find_hidden(rules, note_hidden, &out);
	buf_append(&out, "", 1);
	assert_string_equal(buf_slice(&out).ptr, "/c/ 7<5 !/a/i 8<1 ");
	buf_done(&out);
	rules_unref(rules);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_regexp),
		cmocka_unit_test(test_cidr),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_every_bad_line_is_told),
		cmocka_unit_test(test_long_keys_are_errors),
		cmocka_unit_test(test_an_empty_result_is_an_error),
		cmocka_unit_test(test_entries_and_what_is_hidden),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
