/* test_scheme - stored passwords; the hashes were made by doveadm pw */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/scheme.h"

static const struct {
	const char *stored, *password;
	bool valid, match;
} cases[] = {
	{ "{PLAIN}alice", "alice", true, true },
	{ "{Plain}alice", "alice", true, true }, /* as the how-to writes it */
	{ "{CLEARTEXT}alice", "alice", true, true },
	{ "{PLAIN}alice", "Alice", true, false },
	{ "{PLAIN}alice", "alic", true, false },
	{ "{PLAIN}alice", "alicealice", true, false },
	{ "{PLAIN}alice", "", true, false },
	{ "{PLAIN}", "", false, false },
	{ "", "", false, false },
	{ "{PLAIN}with}brace", "with}brace", true, true },
	{ "alice", "alice", false, false }, /* no scheme: a hash is expected */
	{ "{CRYPT}*", "*", false, false },  /* what crypt(3) says when it fails */
	{ "{SSHA512}abcd", "x", false, false },
	{ "{PLAIN", "x", false, false },
	{ "{SHA512-CRYPT}$6$VPx1PeLKc4WuQQ18$mA9sO9O336qfO.sg"
	  "Km6Y.3xwjeheKDfkP5S2moY9PBkz0Rgxyh/pVG2SHFAPflahUvA.DSHPUBpSBb.z6w.PY/",
	  "secret", true, true },
	{ "{SHA256-CRYPT}$5$JL1UKKSoK/LmNuHD$v3pL6meilDN8RLSu"
	  "56TwFtylMrvWUR7JpJpwYVM/RD.",
	  "secret", true, true },
	{ "{MD5-CRYPT}$1$BH5HRh3X$rlPY3zja0r9ldHU0xVGF/.", "secret", true, true },
	{ "{BLF-CRYPT}$2y$05$zkO11kaN/oVfhMU.Yvn1TumdeuXJN1e1"
	  "c1FoOASoRtRELPRiY18Ri",
	  "secret", true, true },
	{ "{CRYPT}$2y$05$fvqsY866a32P0U16VCaJYu.3fZjukJdVuLjdtucZ8bNEfWtc6JakC", "secret", true,
	  true },
	{ "$5$JL1UKKSoK/LmNuHD$v3pL6meilDN8RLSu56TwFtylMrvWUR7JpJpwYVM/RD.", "secret", true, true },
	{ "{CRYPT}$2y$05$fvqsY866a32P0U16VCaJYu.3fZjukJdVuLjdtucZ8bNEfWtc6JakC", "Secret", true,
	  false },
};

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct slice stored = slice_from(cases[i].stored);
		struct error err;

		if ((scheme_validate(stored, &err) == 0) != cases[i].valid)
			fail_msg("%s: valid?", cases[i].stored);
		if (scheme_matches(stored, cases[i].password) != cases[i].match)
			fail_msg("%s against %s: match?", cases[i].stored, cases[i].password);
	}
}

static void test_unknown_is_explained(void **state)
{
	struct error err;

	(void)state;
	assert_true(scheme_validate(SLICE("{SSHA}x"), &err) < 0);
	assert_non_null(strstr(err.text, "{SSHA} is not known; expected PLAIN"));
	assert_true(scheme_validate(SLICE("alice"), &err) < 0);
	assert_non_null(strstr(err.text, "write {PLAIN}"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),
		cmocka_unit_test(test_unknown_is_explained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
