/* test_passwd - the password file: what is read, what is refused, what is taken up */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

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

/* Whether user may log in; its name to ret_name. */
static bool check(struct passwd *passwd, const char *user, const char *password, char ret_name[256])
{
	struct arena arena = { 0 };
	struct account account = { 0 };
	bool match = passwd_find(passwd, user, &arena, &account) == MAP_FOUND &&
		     scheme_matches(account.stored, password);

	if (match)
		snprintf(ret_name, 256, "%s", account.name);
	account_wipe(&account);
	arena_done(&arena);
	return match;
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
	assert_true(check(passwd, "alice@vm1.vm", "alice", user));
	assert_string_equal(user, "alice@vm1.vm");
	assert_true(check(passwd, "ALICE@vm1.vm", "alice", user));
	assert_true(check(passwd, "test1@vm1.vm", "te", user));
	assert_string_equal(user, "Test1@vm1.vm");
	assert_false(check(passwd, "alice@vm1.vm", "Alice", user));
	assert_false(check(passwd, "alice", "alice", user));
	assert_false(check(passwd, "", "", user));
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
	{ "a:{PLAIN}x\nA:{PLAIN}y\n", "users:2: user A is here twice, first in line 1" },
	{ "a:{PLAIN}\n", "users:1: the password is empty" },
	{ "a b:{PLAIN}x\n", "users:1: white space or a control character in the user name" },
	{ "a:{PLAIN}x::::::allow_nets=::1/128\n", "users:1: the extra field allow_nets" },
	{ "a:{PLAIN}x::::::userdb_a=b user=b\n", "users:1: the extra field user" },
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

/* Fields as Dovecot has them. */
static void test_fields(void **state)
{
	struct fixture *f = *state;
	struct passwd *passwd = NULL;
	struct error err;
	char user[256];

	write_file(f->file, "a:{PLAIN}x:1:1::/home/a::userdb_mail=maildir:~/m nologin=\r\n"
			    "b::::::\n" /* a mailbox without a login */
			    "c:{PLAIN}x ::::::nodelay=y userdb_quota_rule=*:storage=1G\r\n"
			    "d:{PLAIN}#}x\n"
			    "   # not an account: {NO}\n"
			    "e:::::::nopassword=y");
	assert_return_code(passwd_open(f->file, &passwd, &err), 0);
	assert_false(check(passwd, "a", "x", user));
	assert_true(passwd_has_user(passwd, "a"));
	assert_false(check(passwd, "b", "", user));
	assert_true(passwd_has_user(passwd, "b"));
	assert_true(check(passwd, "c", "x ", user));
	assert_true(check(passwd, "d", "#}x", user));
	assert_false(check(passwd, "e", "", user));
	assert_false(check(passwd, "e", "x", user));
	assert_true(passwd_has_user(passwd, "e"));
	passwd_free(passwd);
}

struct reports {
	char text[1000];
	size_t len;
};

static void on_report(void *arg, bool is_error, const char *source, const char *text)
{
	struct reports *r = arg;

	r->len += (size_t)snprintf(r->text + r->len, sizeof(r->text) - r->len, "%s %s %.20s\n",
				   is_error ? "error" : "warning", strrchr(source, '/') + 1, text);
}

static void test_every_line_is_reported(void **state)
{
	struct fixture *f = *state;
	struct reports reports = { "", 0 };

	write_file(f->file, "a:{PLAIN}x\nb\n c:{PLAIN}x\na:{PLAIN}y\nd:{NO}x\n"
			    "e:::::::nopassword\n");
	passwd_diagnose(f->file, on_report, &reports);
	assert_string_equal(reports.text, "error users:2 expected user:passwo\n"
					  "warning users:3 white space in front\n"
					  "error users:4 user a is here twice\n"
					  "error users:5 password scheme {NO}\n"
					  "warning users:6 the extra field nopa\n");
	unlink(f->file);
	reports = (struct reports){ "", 0 };
	passwd_diagnose(f->file, on_report, &reports);
	assert_non_null(strstr(reports.text, "error users"));
}

/* Only what all who can log in have may be offered; the decoy is as most have it. */
static void test_secrets(void **state)
{
	static const char context[] =
		"{CRAM-MD5}cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56";
	struct fixture *f = *state;
	struct accounts *accounts = NULL;
	struct arena arena = { 0 };
	struct error err;
	char passdb[100], text[600];

	snprintf(passdb, sizeof(passdb), "passwd-file:%s", f->file);
	write_file(f->file, "a:\n");
	assert_return_code(accounts_open(passdb, &accounts, &err), 0);
	assert_int_equal(accounts_secrets(accounts), 0);
	assert_string_equal(accounts_decoy(accounts, &arena).ptr, "");
	write_file(f->file, "a:\nb:{PLAIN}b\n");
	assert_int_equal(accounts_refresh(accounts, &err), 0);
	assert_int_equal(accounts_secrets(accounts), SCHEME_EVERY_SECRET);
	snprintf(text, sizeof(text), "a:\nb:{PLAIN}b\nc:%s\nd:%s\n", context, context);
	write_file(f->file, text);
	assert_int_equal(accounts_refresh(accounts, &err), 0);
	assert_int_equal(accounts_secrets(accounts), SCHEME_CRAM_MD5);
	assert_string_equal(accounts_decoy(accounts, &arena).ptr, context);
	assert_true(accounts_match(accounts, SLICE("{PLAIN}b"), "b"));
	arena_done(&arena);
	accounts_free(accounts);
}

static int64_t changed_ms(const char *file)
{
	struct stat st;

	assert_return_code(stat(file, &st), errno);
	return (int64_t)st.st_ctim.tv_sec * 1000 + st.st_ctim.tv_nsec / 1000000;
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
	assert_true(check(passwd, "a", "two", user));

	/* A bad version is said once, and the good one stays. So is a file that is gone. */
	write_file(f->file, "nonsense\n");
	assert_true(passwd_refresh(passwd, &err) < 0);
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_true(check(passwd, "a", "two", user));
	unlink(f->file);
	assert_true(passwd_refresh(passwd, &err) < 0);
	assert_int_equal(passwd_refresh(passwd, &err), MAP_NOT_CHANGED);
	assert_true(check(passwd, "a", "two", user));

	/* An editor that writes in place has just emptied it, and then written half of it. */
	write_file(f->file, "");
	assert_int_equal(passwd_refresh_at(passwd, changed_ms(f->file), &err), MAP_NOT_CHANGED);
	assert_true(passwd_has_user(passwd, "a"));
	write_file(f->file, "b:{PLAIN}thr");
	assert_int_equal(passwd_refresh_at(passwd, changed_ms(f->file), &err), MAP_NOT_CHANGED);
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
		cmocka_unit_test_setup_teardown(test_fields, setup, teardown),
		cmocka_unit_test_setup_teardown(test_every_line_is_reported, setup, teardown),
		cmocka_unit_test_setup_teardown(test_secrets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
