/* test_error - text is set, put in front of, cut, and never overflows */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "base/error.h"
static void test_set(void **state)
{
	struct error err = { 0 };

	(void)state;
	assert_int_equal(error_set(&err, -ENOENT, "%s: %s", "routes", "gone"), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "routes: gone");
	assert_int_equal(error_set(NULL, -EIO, "nobody listens"), -EIO);
	error_prefix(NULL, "nobody");
}

static void test_set_from_itself(void **state)
{
	struct error err = { 0 };

	(void)state;
	error_set(&err, -EIO, "disk");
	error_set(&err, -EBUSY, "first: %s; then: lock", err.text);
	assert_string_equal(err.text, "first: disk; then: lock");
	assert_int_equal(err.code, -EBUSY);
}

static void test_prefix(void **state)
{
	struct error err = { 0 };

	(void)state;
	error_set(&err, -EINVAL, "unknown level");
	error_prefix(&err, "%s:%d", "routes", 2);
	assert_string_equal(err.text, "routes:2: unknown level");
	assert_int_equal(err.code, -EINVAL);
}

static void test_cut(void **state)
{
	struct error err = { 0 };
	char longer[2 * sizeof(err.text)];

	(void)state;
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';

	error_set(&err, -EINVAL, "%s", longer);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	error_prefix(&err, "routes");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "routes: xxx", 11);
	error_prefix(&err, "%s", longer);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_string_equal(err.text + sizeof(err.text) - 5, "xx: ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_set),
		cmocka_unit_test(test_set_from_itself),
		cmocka_unit_test(test_prefix),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
