/* test_domain - two spellings of one domain (RFC 5890, UTS 46) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "smtp/address.h"
#include "smtp/domain.h"

#define LABEL_63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void test_ascii(void **state)
{
	static const struct {
		const char *domain, *ascii; /* NULL: it cannot be one */
	} cases[] = {
		{ "", "" },
		{ "Example.NET", "example.net" },
		{ "under_score.example", "under_score.example" },
		{ "bücher.example", "xn--bcher-kva.example" },
		{ "BÜCHER.Example", "xn--bcher-kva.example" },
		{ "bu\xcc\x88"
		  "cher.example",
		  "xn--bcher-kva.example" }, /* u and two dots, apart */
		{ "XN--Bcher-KVA.example", "xn--bcher-kva.example" },
		{ "straße.example", "xn--strae-oqa.example" }, /* not "strasse": non-transitional */
		{ "例え.テスト", "xn--r8jz45g.xn--zckzah" },
		{ "例え。テスト", "xn--r8jz45g.xn--zckzah" }, /* the dot of that script */
		{ "bücher.example.", "xn--bcher-kva.example." },
		{ "xn--a", "xn--a" }, /* is no A-label, and somebody may have called it so */
		{ "[192.0.2.1]", "[192.0.2.1]" },
		{ "\xe2\x80\x8b.example", NULL }, /* a space without width */
		{ "hub\xef\xbc\xa0"
		  "other.example",
		  NULL },			    /* a wide @ */
		{ "１２７.０.０.１", "127.0.0.1" }, /* and who asks sees it */
		{ "\xff.example", NULL },
		{ LABEL_63 "ü.example", NULL },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = smtp_domain_ascii(&arena, slice_from(cases[i].domain));

		if (!got != !cases[i].ascii)
			fail_msg("%s: %s", cases[i].domain, got ? got : "none");
		if (got)
			assert_string_equal(got, cases[i].ascii);
	}
	arena_done(&arena);
}

static void test_respell(void **state)
{
	static const struct {
		const char *key, *other;
	} cases[] = {
		{ "xn--bcher-kva.example", "bücher.example" },
		{ "bücher.example", "xn--bcher-kva.example" },
		{ ".xn--bcher-kva.example", ".bücher.example" },
		{ "@xn--bcher-kva.example", "@bücher.example" },
		{ "bob@xn--bcher-kva.example", "bob@bücher.example" },
		{ "\"b@b\"@xn--bcher-kva.example", "\"b@b\"@bücher.example" },
		{ "jörg@bücher.example", "jörg@xn--bcher-kva.example" },
		{ "jörg@example.net", NULL }, /* local parts are no domains */
		{ "xn--r8jz45g@example.net", NULL },
		{ "example.net", NULL },
		{ "xn--a", NULL },
		{ "*", NULL },
		{ ".", NULL },
		{ "", NULL },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = smtp_domain_respell(&arena, slice_from(cases[i].key));

		if (!got != !cases[i].other)
			fail_msg("%s: %s", cases[i].key, got ? got : "none");
		if (got)
			assert_string_equal(got, cases[i].other);
	}
	arena_done(&arena);
}

static void test_fold(void **state)
{
	static const struct {
		const char *address, *folded;
	} cases[] = {
		{ "Bob@Example.NET", "bob@example.net" },
		{ "Bob@BÜCHER.example", "bob@xn--bcher-kva.example" },
		{ "Jörg@bücher.example", "jörg@xn--bcher-kva.example" },
		{ "bob@\xff.Example", "bob@\xff.example" }, /* nowhere, as written */
		{ "MAILER", "mailer" },
		{ "", "" },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(smtp_address_fold(&arena, cases[i].address), cases[i].folded);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ascii),
		cmocka_unit_test(test_respell),
		cmocka_unit_test(test_fold),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
