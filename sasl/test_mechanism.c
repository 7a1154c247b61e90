/* test_mechanism - which mechanism is used, of those that are offered and admitted */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "sasl/sasl.h"

#define ALL "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-256-PLUS"

static const struct {
	const char *label, *offered, *filter;
	bool can_bind;
	const char *want;
} cases[] = {
	{ "the best", ALL, "", true, "SCRAM-SHA-256-PLUS" },
	{ "no filter at all", ALL, NULL, true, "SCRAM-SHA-256-PLUS" },
	{ "nothing to bind to", ALL, "", false, "SCRAM-SHA-256" },
	{ "SHA-1 before CRAM-MD5", "CRAM-MD5 SCRAM-SHA-1", "", true, "SCRAM-SHA-1" },
	{ "CRAM-MD5 before PLAIN", "PLAIN CRAM-MD5", "", true, "CRAM-MD5" },
	{ "PLAIN before LOGIN", "LOGIN PLAIN", "", true, "PLAIN" },
	{ "in small letters", "gssapi login", "", true, "LOGIN" },
	{ "no mechanism of ours", "GSSAPI XOAUTH2 NTLM", "", true, NULL },
	{ "a prefix is no mechanism", "PLAINER SCRAM-SHA-2", "", true, NULL },
	{ "nothing offered", "", "", true, NULL },

	{ "admitted alone", ALL, "plain", true, "PLAIN" },
	{ "order is ours", ALL, "login, plain", true, "PLAIN" },
	{ "excluded", ALL, "!scram-sha-256-plus, static:all", true, "SCRAM-SHA-256" },
	{ "exclusions alone leave nothing", ALL, "!login", true, NULL },
	{ "the first decides", "PLAIN", "!plain plain", true, NULL },
	{ "the first decides, too", "PLAIN", "plain !plain", true, "PLAIN" },
	{ "as in Postfix's manual", ALL, "!gssapi, !login, static:rest", false, "SCRAM-SHA-256" },
	{ "all but nothing", ALL, "!static:all", true, NULL },
	{ "not offered", "LOGIN", "plain", true, NULL },
};

static void test_choice(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *got = sasl_choose(cases[i].offered, cases[i].filter, cases[i].can_bind);

		if ((got == NULL) != (cases[i].want == NULL) ||
		    (got && strcmp(got, cases[i].want) != 0))
			fail_msg("%s: got %s", cases[i].label, got ? got : "none");
	}
}

static void test_filters(void **state)
{
	static const char *const good[] = { "", "plain, login", "!gssapi, !login, static:rest",
					    "SCRAM-SHA-256 PLAIN" };
	static const char *const bad[] = { "/etc/mechs", "hash:mechs", "plain:login", "!",
					   "plain, pl\xc3\xa4in" };
	struct error err;

	(void)state;
	assert_true(sasl_filter_admits_any("!plain, static:all"));
	assert_false(sasl_filter_admits_any("!plain, gssapi"));
	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(sasl_filter_check(good[i], &err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (sasl_filter_check(bad[i], &err) == 0)
			fail_msg("%s was taken", bad[i]);
}

static void test_who_speaks_first(void **state)
{
	(void)state;
	assert_true(sasl_client_speaks_first("PLAIN"));
	assert_true(sasl_client_speaks_first("SCRAM-SHA-256-PLUS"));
	assert_false(sasl_client_speaks_first("LOGIN"));
	assert_false(sasl_client_speaks_first("CRAM-MD5"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_filters),
		cmocka_unit_test(test_who_speaks_first),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
