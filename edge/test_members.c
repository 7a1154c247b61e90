/* test_members - the right-hand sides of aliases, as Postfix reads them */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "edge/members.h"

/* Kind and text of each, "A:x|"; "!" for one that is of no use here; or the error. */
static const struct {
	const char *text, *want;
} cases[] = {
	{ "", "" },
	{ " , ,;\t", "" },
	{ "x", "A:x|" },
	{ "b c", "A:b|A:c|" },
	{ "b, c,, d ,", "A:b|A:c|A:d|" },
	{ "x;y", "A:x|A:y|" },
	{ "x@p.q y@p.q", "A:x@p.q|A:y@p.q|" },
	{ "Alice Foo <alice@x.y>, z", "A:alice@x.y|A:z|" },
	{ "\"Foo, Alice\" <alice@x.y>", "A:alice@x.y|" },
	{ "<root>, <a@b>", "A:root|A:a@b|" },
	{ "\"q l\"@dom", "A:\"q l\"@dom|" },
	{ "\"a,b\"@dom c", "A:\"a,b\"@dom|A:c|" },
	{ "k(zz)w", "A:k|A:w|" },
	{ "a (one, (two)) b", "A:a|A:b|" },
	{ "(only)", "" },
	{ "\\root, x", "A:root|A:x|" },
	{ "@c.vm", "A:@c.vm|" },
	{ ":include:/tmp/x, y", "I:/tmp/x|A:y|" },
	{ "\":include:/tmp/a b\"", "I:/tmp/a b|" },
	{ ":INCLUDE:/x", "I:/x|" },
	{ ":include:x", "!I:x|" },
	{ "\"|/bin/cmd x\", y", "!C:/bin/cmd x|A:y|" },
	{ "|/bin/cmd", "!C:/bin/cmd|" },
	{ "/file/name , \"/with space\"", "!F:/file/name|!F:/with space|" },
	{ "/a@b.c", "A:/a@b.c|" },
	{ "foo@bar@baz", "!A:foo@bar@baz|" },
	{ "x@", "!A:x@|" },
	{ "a:b", "!A:a:b|" },
	{ "\"a", "unbalanced '\"' in \"\"a\"" },
	{ "a(b", "unbalanced '(' in \"(b\"" },
	{ "<a@b", "unbalanced '<' in \"<a@b\"" },
};

static void test_members(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		CLEANUP(free_strp) char *got = NULL;
		struct slice rest = slice_from(cases[i].text);
		struct arena arena = { 0 };
		struct buf out = { 0 };
		struct member m;
		struct error err = { 0 };
		int r;

		while ((r = members_next(&rest, &arena, &m, &err)) > 0) {
			if (member_check(&m, NULL) < 0)
				buf_append_string(&out, "!");
			buf_printf(&out, "%c:%s|", "AIFC"[m.kind], m.text);
		}
		if (r < 0)
			buf_append_string(&out, err.text);
		got = buf_steal_string(&out);
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: got %s", cases[i].text, got);
		arena_done(&arena);
	}
}

/* A hostile value ends somewhere, whatever it is. */
static void test_any_bytes(void **state)
{
	static const char bytes[] = "a\"\\<>(),;:|/@ \t";
	uint32_t seed = 20261121;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		char text[24];
		struct slice rest = slice_of(text, 0);
		struct arena arena = { 0 };
		struct member m;
		int count = 0;

		for (size_t k = 0; k < sizeof(text) - 1; k++) {
			seed = seed * 1664525u + 1013904223u;
			text[k] = bytes[(seed >> 16) % (sizeof(bytes) - 1)];
		}
		rest.len = sizeof(text) - 1;
		while (members_next(&rest, &arena, &m, NULL) > 0) {
			member_check(&m, NULL);
			assert_true(++count <= (int)sizeof(text));
		}
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members),
		cmocka_unit_test(test_any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
