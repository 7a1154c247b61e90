/* test_address_list - addresses in fields of a header (RFC 5322 section 3.4 and appendix A) */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/macros.h"
#include "smtp/address_list.h"

/* found: a line for each address, cleaned; "bare" and "broken" ones are marked. */
static const struct {
	const char *label, *list, *found;
} cases[] = {
	{ "one", " bob@x.example\r\n", "bob@x.example\n" },
	{ "several", "a@x, b@y ,c@z", "a@x\nb@y\nc@z\n" },
	{ "nothing", " \r\n", "" },
	{ "empty members", ", a@x,, ,b@y,", "a@x\nb@y\n" },
	{ "bare", "bob", "bare bob\n" },
	{ "bare in brackets", "Bob B. <bob>", "bare bob\n" },
	{ "name and address", "Bob B. <bob@x>", "bob@x\n" },
	{ "quoted name", "\"B, ob <x>\" <bob@x>", "bob@x\n" },
	{ "comments", "(it's (nested) \\) a@b) bob (Bob, B.) , c@d (D)", "bare bob\nc@d\n" },
	{ "comments inside", "bob(x)@(y)x.example", "bob@x.example\n" },
	{ "folded", " Bob\r\n <bob\r\n\t@x>,\r\n alice", "bob@x\nbare alice\n" },
	{ "group", "A Group:Ed Jones <joe@where.test>,john;, bob",
	  "joe@where.test\nbare john\nbare bob\n" },
	{ "no members", "undisclosed-recipients:;", "" },
	{ "semicolons as commas", "a@x; bob; c", "a@x\nbare bob\nbare c\n" },
	{ "quoted local part", "\"john smith\", \"a@b\"@x", "bare \"john smith\"\n\"a@b\"@x\n" },
	{ "half quoted", "\"john\".smith", "bare \"john\".smith\n" },
	{ "backslash in quotes", "\"a\\\"b\" <bob>", "bare bob\n" },
	{ "domain literal", "bob@[IPv6:2001:db8::1], c@[10.0.0.1]",
	  "bob@[IPv6:2001:db8::1]\nc@[10.0.0.1]\n" },
	{ "route", "<@a.example,@b.example:bob@x>, carol", "bob@x\nbare carol\n" },
	{ "space around dots", "john . smith @ x . example", "john.smith@x.example\n" },
	{ "null", "<>", "" },
	{ "null with a name", "MAILER <>, bob", "bare bob\n" },
	{ "two words", "John Smith", "broken JohnSmith\n" },
	{ "two addresses without a comma", "a@x b@y", "broken a@xb@y\n" },
	{ "two brackets without a comma", "<a@x> <b>", "a@x\nbare b\n" },
	{ "words behind brackets", "<a@x> Bob, c", "a@x\nbare c\n" },
	{ "open quote", "a, \"bob", "bare a\nbroken \"bob\n" },
	{ "open comment", "bob (x", "broken bob(x\n" },
	{ "open bracket", "Bob <bob, carol", "broken bob,carol\n" },
	{ "open literal", "bob@[1.2", "broken bob@[1.2\n" },
	{ "encoded name", "=?utf-8?Q?J=C3=BCrgen?= <j>", "bare j\n" },
	{ "encoded word alone", "=?utf-8?Q?J=C3=BCrgen?=", "broken =?utf-8?Q?J=C3=BCrgen?=\n" },
	{ "UTF-8", "j\303\274rgen, J\303\274rgen <j@\303\274.example>",
	  "bare j\303\274rgen\nj@\303\274.example\n" },
	{ "extension, percent and bang", "bob+x, a%b, a!b", "bare bob+x\nbare a%b\nbare a!b\n" },
	{ "domain alone", "@x", "@x\n" },
	{ "no domain behind the at", "bob@", "bob@\n" },
};

static char *list(struct slice rest)
{
	struct address_list_item item;
	struct arena arena = { 0 };
	struct buf out = { 0 };

	while (address_list_next(&rest, &item)) {
		assert_false(item.is_bare && item.is_broken);
		buf_printf(&out, "%s%s%s\n", item.is_bare ? "bare " : "",
			   item.is_broken ? "broken " : "",
			   address_list_address(&arena, item.text));
	}
	assert_int_equal(rest.len, 0);
	arena_done(&arena);
	buf_append(&out, "", 0);
	return buf_steal_string(&out);
}

static void test_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *found = list(slice_from(cases[i].list));

		if (strcmp(found, cases[i].found) != 0)
			fail_msg("%s: got\n%s", cases[i].label, found);
		free(found);
	}
}

/* Whatever stands there: it ends, items lie inside and in order, and none is empty. */
static void test_any_bytes(void **state)
{
	static const char bytes[] = "ab@.,;:<>()[]\"\\ \t\r\n=?\303\274";
	uint32_t seed = 1;

	(void)state;
	for (unsigned int round = 0; round < 20000; round++) {
		char text[40];
		struct slice rest;
		struct address_list_item item;
		const char *before = text;
		size_t len;

		seed = seed * 1664525 + 1013904223;
		len = seed >> 16 & 31;
		for (size_t i = 0; i < len; i++) {
			seed = seed * 1664525 + 1013904223;
			text[i] = bytes[(seed >> 16) % (sizeof(bytes) - 1)];
		}
		rest = slice_of(text, len);
		while (address_list_next(&rest, &item)) {
			assert_true(item.text.len > 0);
			assert_true(item.text.ptr >= before);
			before = item.text.ptr + item.text.len;
			assert_true(before <= text + len);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
