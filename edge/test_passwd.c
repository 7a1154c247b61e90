/* test_passwd - the password file: what is read, what is refused, what is taken up */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/passwd.h"
#include "maps/map.h"

struct fixture {
	char dir[32], file[64];
};

static void write_file(const char *file, const char *text)
{
	char fresh[80];
	FILE *stream;

	/* A new inode each time, so that the change shows whatever the clock's grain. */
	snprintf(fresh, sizeof(fresh), "%s.new", file);
	stream = fopen(fresh, "we");
	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
	assert_return_code(rename(fresh, file), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/passwd.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/users", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->file);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void test_users(void **state)
{
	struct fixture *f = *state;
	struct passwd *passwd = NULL;
	struct error err;
	char user[256];

	write_file(f->file, "# users of vm1.vm\n\nalice@vm1.vm:{PLAIN}alice::::::\n"
			    "  Test1@vm1.vm:{PLAIN}te:ignored\n");
	assert_return_code(passwd_open(f->file, &passwd, &err), 0);
	assert_int_equal(passwd_check(passwd, "alice@vm1.vm", "alice", user), PASSWD_MATCH);
	assert_string_equal(user, "alice@vm1.vm");
	assert_int_equal(passwd_check(passwd, "ALICE@vm1.vm", "alice", user), PASSWD_MATCH);
	assert_int_equal(passwd_check(passwd, "test1@vm1.vm", "te", user), PASSWD_MATCH);
	assert_string_equal(user, "Test1@vm1.vm");
	assert_int_equal(passwd_check(passwd, "alice@vm1.vm", "Alice", user), PASSWD_MISMATCH);
	assert_int_equal(passwd_check(passwd, "alice", "alice", user), PASSWD_MISMATCH);
	assert_int_equal(passwd_check(passwd, "", "", user), PASSWD_MISMATCH);
	assert_true(passwd_has_user(passwd, "alice@VM1.vm"));
	assert_false(passwd_has_user(passwd, "bob@vm1.vm"));
	passwd_free(passwd);
}

static const struct {
	const char *text, *error;
} bad[] = {
	{ "alice@vm1.vm\n", "users:1: expected user:password" },
	{ "#\n:{PLAIN}x\n", "users:2: expected user:password" },
	{ "a:{PLAIN}x\nb:{NO}y\n", "users:2: password scheme {NO} is not known" },
	{ "a:{PLAIN}x\nA:{PLAIN}y\n", "users:2: user A is here twice" },
	{ "a:\n", "users:1: the password is empty" },
};

static void test_bad_files(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct passwd *passwd = NULL;
		struct error err;

		write_file(f->file, bad[i].text);
		assert_true(passwd_open(f->file, &passwd, &err) < 0);
		if (!strstr(err.text, bad[i].error))
			fail_msg("expected \"%s\" in \"%s\"", bad[i].error, err.text);
	}
}

static void test_refresh(void **state)
{
	struct fixture *f = *state;
	struct passwd *passwd = NULL;
	struct error err;
	char user[256];

	write_file(f->file, "a:{PLAIN}one\n");
	assert_return_code(passwd_open(f->file, &passwd, &err), 0);
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);

	write_file(f->file, "a:{PLAIN}two\n");
	assert_int_equal(passwd_refresh(passwd, &err), 0);
	assert_int_equal(passwd_check(passwd, "a", "two", user), PASSWD_MATCH);

	/* A bad version is said once, and the good one stays. So is a file that is gone. */
	write_file(f->file, "nonsense\n");
	assert_true(passwd_refresh(passwd, &err) < 0);
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_int_equal(passwd_check(passwd, "a", "two", user), PASSWD_MATCH);
	unlink(f->file);
	assert_true(passwd_refresh(passwd, &err) < 0);
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_int_equal(passwd_check(passwd, "a", "two", user), PASSWD_MATCH);

	/* An editor that writes in place has just emptied it, and then written half of it. */
	write_file(f->file, "");
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_true(passwd_has_user(passwd, "a"));
	write_file(f->file, "b:{PLAIN}thr");
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_true(passwd_has_user(passwd, "a"));

	write_file(f->file, "b:{PLAIN}three\n");
	assert_int_equal(passwd_refresh(passwd, &err), 0);
	assert_false(passwd_has_user(passwd, "a"));
	passwd_free(passwd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_users, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
