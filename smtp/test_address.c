/* test_address - which paths are taken from MAIL and RCPT, and as what (RFC 5321 section 4.1.2) */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "base/macros.h"
#include "smtp/address.h"

#define DOMAIN_63 "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc"
#define LOCAL_64  DOMAIN_63 "d"

static const struct {
	const char *label, *args;
	enum smtp_path_outcome outcome;
	const char *want, *rest;
} cases[] = {
	{ "plain", "<a@b.example>", SMTP_PATH_OK, "a@b.example", "" },
	{ "parameters follow", "<a@b>  SIZE=1 X", SMTP_PATH_OK, "a@b", "SIZE=1 X" },
	{ "null path", "<>", SMTP_PATH_OK, "", "" },
	{ "null path with a space", "< >", SMTP_PATH_OK, "", "" },
	{ "no domain", "<alice>", SMTP_PATH_OK, "alice@vm1.vm", "" },
	{ "postmaster", "<Postmaster>", SMTP_PATH_OK, "Postmaster@vm1.vm", "" },
	{ "by hand", "a@b", SMTP_PATH_OK, "a@b", "" },
	{ "by hand, spaces", "  alice  ", SMTP_PATH_OK, "alice@vm1.vm", "" },
	{ "by hand, parameter", "alice SIZE=1", SMTP_PATH_OK, "alice@vm1.vm", "SIZE=1" },
	{ "spaces inside", "<\t a@b >", SMTP_PATH_OK, "a@b", "" },
	{ "case is kept", "<Al.Ice@B.Example>", SMTP_PATH_OK, "Al.Ice@B.Example", "" },
	{ "source route", "<@relay.example,@r2:a@b>", SMTP_PATH_OK, "a@b", "" },
	{ "route without colon", "<@relay>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "route to nowhere", "<@relay:>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "atoms", "<!#$%&'*+-/=?^_`{|}~@b>", SMTP_PATH_OK, "!#$%&'*+-/=?^_`{|}~@b", "" },
	{ "dots anywhere", "<.a..b.@c>", SMTP_PATH_OK, ".a..b.@c", "" },
	{ "quoted", "<\"a b>@\\\"c\"@d>", SMTP_PATH_OK, "\"a b>@\\\"c\"@d", "" },
	{ "quoted by hand", "\"a b\"@d x", SMTP_PATH_OK, "\"a b\"@d", "x" },
	{ "quoted, no domain", "<\"a@b\">", SMTP_PATH_OK, "\"a@b\"@vm1.vm", "" },
	{ "quote without end", "<\"a@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "quote without end, escaped", "<\"a\\", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "text behind a quote", "<\"a\"b@c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "quote inside of an atom", "<a\"b\"@c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "address literal", "<a@[192.0.2.1]>", SMTP_PATH_OK, "a@[192.0.2.1]", "" },
	{ "IPv6 literal", "<a@[IPv6:2001:db8::1]>", SMTP_PATH_OK, "a@[IPv6:2001:db8::1]", "" },
	{ "literal without end", "<a@[192.0.2.1>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "empty literal", "<a@[]>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "absolute domain", "<a@b.example.>", SMTP_PATH_OK, "a@b.example", "" },
	{ "underscore", "<a@_b.example>", SMTP_PATH_OK, "a@_b.example", "" },
	{ "empty label", "<a@b..c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "leading dot", "<a@.b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "dot alone", "<a@.>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "empty domain", "<a@>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "empty local part", "<@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "two at signs", "<a@b@c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "slash in domain", "<a@b/../c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "comment", "<a(b)@c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "list", "<a@b,c@d>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "space inside", "<a b@c>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "brackets in brackets", "<<a@b>>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "bracket without end", "<a@b", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "text behind the bracket", "<a@b>c", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "control byte", "<a\001@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "control byte in quotes", "<\"a\tb\"@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "nothing", "", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "spaces alone", "   ", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "UTF-8", "<m\303\274ller@b>", SMTP_PATH_OK, "m\303\274ller@b", "" },
	{ "UTF-8 domain", "<a@m\303\274ller.\346\227\245>", SMTP_PATH_OK,
	  "a@m\303\274ller.\346\227\245", "" },
	{ "UTF-8 in quotes", "<\"m\303\274 l\"@b>", SMTP_PATH_OK, "\"m\303\274 l\"@b", "" },
	{ "Latin-1", "<m\374ller@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "UTF-8, cut", "<m\303@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "UTF-8, cut at the end", "m\303", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "overlong line end", "<a\300\215\300\212@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "C1 control character", "<a\302\205@b>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "line separator", "<a@b\342\200\250>", SMTP_PATH_MALFORMED, NULL, NULL },
	{ "longest of RFC 5321",
	  "<" LOCAL_64 "@" DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 ">", SMTP_PATH_OK,
	  LOCAL_64 "@" DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63, "" },
	{ "longer local part than it names", "<" LOCAL_64 LOCAL_64 "@b>", SMTP_PATH_OK,
	  LOCAL_64 LOCAL_64 "@b", "" },
	{ "domain too long", "<a@" DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 ".a>",
	  SMTP_PATH_TOO_LONG, NULL, NULL },
	{ "too long", "<" LOCAL_64 LOCAL_64 "@" DOMAIN_63 "." DOMAIN_63 "." DOMAIN_63 ".c>",
	  SMTP_PATH_TOO_LONG, NULL, NULL },
	{ "too long when completed", "<" LOCAL_64 LOCAL_64 LOCAL_64 LOCAL_64 DOMAIN_63 ">",
	  SMTP_PATH_TOO_LONG, NULL, NULL },
};

static void test_path_parse(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		/* An exact copy on the heap lets the sanitizer see a read behind the end. */
		size_t len = strlen(cases[i].args);
		char *exact = malloc(len ? len : 1);
		struct slice args = slice_of(memcpy(exact, cases[i].args, len), len);
		struct arena arena = { 0 };
		const char *got = NULL;
		enum smtp_path_outcome outcome;

		outcome = smtp_path_parse(&args, "vm1.vm", &arena, &got);
		if (outcome != cases[i].outcome)
			fail_msg("%s: got outcome %d", cases[i].label, outcome);
		if (outcome == SMTP_PATH_OK) {
			if (strcmp(got, cases[i].want) != 0)
				fail_msg("%s: got %s", cases[i].label, got);
			if (!slice_equal(args, slice_from(cases[i].rest)))
				fail_msg("%s: left %.*s", cases[i].label, (int)args.len, args.ptr);
		} else if (got || args.ptr != exact || args.len != len) {
			fail_msg("%s: changed its arguments", cases[i].label);
		}
		arena_done(&arena);
		free(exact);
	}
}

static void test_nul_is_malformed(void **state)
{
	const struct slice paths[] = { SLICE("<a\0b@c>"), SLICE("<a@b\0c>"), SLICE("<a@[1\0]>"),
				       SLICE("<\"a\0\"@b>"), SLICE("a\0@b") };
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		struct slice args = paths[i];
		const char *got;

		assert_int_equal(smtp_path_parse(&args, "d", &arena, &got), SMTP_PATH_MALFORMED);
	}
	arena_done(&arena);
}

static void test_without_append_domain(void **state)
{
	struct arena arena = { 0 };
	struct slice args = SLICE("<test1>");
	const char *got;

	(void)state;
	assert_int_equal(smtp_path_parse(&args, NULL, &arena, &got), SMTP_PATH_OK);
	assert_string_equal(got, "test1");
	arena_done(&arena);
}

static void test_parts(void **state)
{
	static const struct {
		const char *address, *local, *domain;
	} parts[] = {
		{ "a@b.example", "a", "b.example" },
		{ "\"a@x\"@b", "\"a@x\"", "b" },
		{ "\"a@x\"", "\"a@x\"", "" },
		{ "alice", "alice", "" },
		{ "", "", "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		struct slice local = smtp_address_local(parts[i].address);
		struct slice domain = smtp_address_domain(parts[i].address);

		if (!slice_equal(local, slice_from(parts[i].local)) ||
		    !slice_equal(domain, slice_from(parts[i].domain)))
			fail_msg("%s", parts[i].address);
	}
}

static void test_fold(void **state)
{
	struct arena arena = { 0 };

	(void)state;
	assert_string_equal(smtp_address_fold(&arena, "Al.[]ICE@B.Example"), "al.[]ice@b.example");
	assert_string_equal(smtp_address_fold(&arena, ""), "");
	arena_done(&arena);
}

static void test_forms(void **state)
{
	static const struct {
		const char *address, *plain, *quoted;
	} forms[] = {
		{ "bob@x", "bob@x", "bob@x" },
		{ "\"bob\"@x", "bob@x", "bob@x" },
		{ "\"b\\ob\"@x", "bob@x", "bob@x" },
		{ "\"bob b\"@x", "bob b@x", "\"bob b\"@x" },
		{ "\"a@y\"@x", "a@y@x", "\"a@y\"@x" },
		{ "\"a\\\"b\\\\\"@x", "a\"b\\@x", "\"a\\\"b\\\\\"@x" },
		{ "\".a\"@x", ".a@x", "\".a\"@x" },
		{ "\"a.\"@x", "a.@x", "\"a.\"@x" },
		{ "\"a..b\"@x", "a..b@x", "\"a..b\"@x" },
		{ "\"\"@x", "@x", "\"\"@x" },
		{ "b\xc3\xb6@x", "b\xc3\xb6@x", "b\xc3\xb6@x" },
		{ "a@[IPv6:::1]", "a@[IPv6:::1]", "a@[IPv6:::1]" },
		{ "alice", "alice", "alice" },
		{ "\"a@x\"", "\"a@x\"", NULL },
		{ "", "", "" },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		const char *plain = smtp_address_plain(&arena, forms[i].address);

		if (strcmp(plain, forms[i].plain) != 0)
			fail_msg("%s: plain is %s", forms[i].address, plain);
		if (forms[i].quoted &&
		    strcmp(smtp_address_quoted(&arena, plain), forms[i].quoted) != 0)
			fail_msg("%s: quoted is %s", plain, smtp_address_quoted(&arena, plain));
	}
	arena_done(&arena);
}

static void test_extension(void **state)
{
	static const struct {
		const char *address, *delimiters, *want;
	} splits[] = {
		{ "bob+lists@x", "+", "bob@x" },
		{ "bob+a+b@x", "+", "bob@x" },
		{ "bob+@x", "+", "bob@x" },
		{ "bob-lists@x", "+", NULL },
		{ "bob-lists@x", "+-", "bob@x" },
		{ "bob@x", "+", NULL },
		{ "+bob@x", "+", NULL },
		{ "bob@x+y", "+", NULL },
		{ "a@y+z@x", "+", "a@y@x" },
		{ "bob+lists@x", "", NULL },
		{ "bob+lists", "+", "bob" },
		{ "postmaster@x", "t", NULL },
		{ "MAILER-DAEMON@x", "-", NULL },
		{ "double-bounce@x", "-", NULL },
		{ "owner-list@x", "-", NULL },
		{ "list-request@x", "-", NULL },
		{ "-request@x", "-", NULL },
		{ "owner-list+x@x", "+", "owner-list@x" },
		{ "", "+", NULL },
	};
	struct arena arena = { 0 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(splits); i++) {
		const char *got = smtp_address_without_extension(&arena, splits[i].address,
								 splits[i].delimiters);

		if (!got != !splits[i].want || (got && strcmp(got, splits[i].want) != 0))
			fail_msg("%s by %s: got %s", splits[i].address, splits[i].delimiters,
				 got ? got : "nothing");
	}
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_path_parse),
		cmocka_unit_test(test_nul_is_malformed),
		cmocka_unit_test(test_without_append_domain),
		cmocka_unit_test(test_parts),
		cmocka_unit_test(test_fold),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_extension),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
