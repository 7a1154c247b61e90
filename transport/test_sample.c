/* test_sample - addresses made up for patterns */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "transport/sample.h"

static const struct {
	const char *pattern, *address; /* NULL: none */
} cases[] = {
	{ "/^user@example\\.com$/", "user@example.com" },
	{ "/^user@example\\.com$/i", "user@example.com" },
	{ "~@example\\.com$~", "any@example.com" },
	{ "/@.*\\.example\\.com$/", "any@any.example.com" },
	{ "/@(.+\\.)?example\\.com$/", "any@any.example.com" },
	{ "/@(a|b)\\.example$/", "any@a.example" },
	{ "/^(x|(y|z))@d|e/", "x@d" },
	{ "/^[^@]+@d$/", "any@d" },
	{ "/^[]a]{2,3}@d$/", "any@d" },
	{ "/^u.@d$/", "ua@d" },
	{ "/^ab?c*@d$/", "abc@d" },
	{ "/example\\.com$/", "any@example.com" },
	{ "/\\.example\\.com$/", "any@any.example.com" },
	{ "/^owner-/", "any@owner-" },
	{ "/^owner@/", "owner@any" },
	{ "/./", "any@a" },
	{ "/.*/", "any@any" },
	{ "/^/", NULL },
	{ "//", NULL },
	{ "/\\w@d/", NULL },
	{ "/a b@d/", NULL },
	{ "!/@example\\.com$/", NULL },
	{ "10.0.0.0/8", NULL },
	{ "::/0", NULL },
	{ "[::1]/8", NULL },
	{ "/", NULL },
	{ "/[/", "any@a" },
	{ "", NULL },
};

static void test_samples(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct arena arena = { 0 };
		const char *got = pattern_sample_address(cases[i].pattern, "any", &arena);

		if (!got != !cases[i].address || (got && strcmp(got, cases[i].address) != 0))
			fail_msg("%s: %s", cases[i].pattern, got ? got : "none");
		arena_done(&arena);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_samples),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
