/* test_fallback - who may go on in the clear, and how */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "tls/fallback.h"

static const struct {
	enum tls_level level;
	enum tls_mode mode;
	enum tls_fallback not_offered, refused, handshake;
} cases[] = {
	{ TLS_LEVEL_NONE, TLS_MODE_STARTTLS, TLS_FALLBACK_CLEAR, TLS_FALLBACK_CLEAR,
	  TLS_FALLBACK_CLEAR_ANEW },
	{ TLS_LEVEL_MAY, TLS_MODE_STARTTLS, TLS_FALLBACK_CLEAR, TLS_FALLBACK_CLEAR,
	  TLS_FALLBACK_CLEAR_ANEW },
	{ TLS_LEVEL_MAY, TLS_MODE_IMPLICIT, TLS_FALLBACK_NONE, TLS_FALLBACK_NONE,
	  TLS_FALLBACK_NONE },
	{ TLS_LEVEL_ENCRYPT, TLS_MODE_STARTTLS, TLS_FALLBACK_NONE, TLS_FALLBACK_NONE,
	  TLS_FALLBACK_NONE },
	{ TLS_LEVEL_ENCRYPT, TLS_MODE_IMPLICIT, TLS_FALLBACK_NONE, TLS_FALLBACK_NONE,
	  TLS_FALLBACK_NONE },
	{ TLS_LEVEL_VERIFY, TLS_MODE_STARTTLS, TLS_FALLBACK_NONE, TLS_FALLBACK_NONE,
	  TLS_FALLBACK_NONE },
	{ TLS_LEVEL_VERIFY, TLS_MODE_IMPLICIT, TLS_FALLBACK_NONE, TLS_FALLBACK_NONE,
	  TLS_FALLBACK_NONE },
};

static void test_fallback(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tls_policy policy = { .level = cases[i].level };

		assert_int_equal(tls_fallback(&policy, cases[i].mode, TLS_FAILURE_NOT_OFFERED),
				 cases[i].not_offered);
		assert_int_equal(tls_fallback(&policy, cases[i].mode, TLS_FAILURE_REFUSED),
				 cases[i].refused);
		assert_int_equal(tls_fallback(&policy, cases[i].mode, TLS_FAILURE_HANDSHAKE),
				 cases[i].handshake);
	}
}

/* Clear text is sent only where the policy would let it through: the two must not disagree. */
static void test_fallback_is_permitted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tls_policy policy = { .level = cases[i].level };
		bool permitted = tls_policy_permits(&policy, false, false);

		if (cases[i].handshake != TLS_FALLBACK_NONE)
			assert_true(permitted);
		if (!permitted)
			assert_int_equal(cases[i].not_offered, TLS_FALLBACK_NONE);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fallback),
		cmocka_unit_test(test_fallback_is_permitted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
