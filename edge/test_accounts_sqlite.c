/* test_accounts_sqlite - accounts in a database, and all that may be wrong with one */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sqlite3.h>

#include "base/macros.h"
#include "edge/accounts.h"

/* PostfixAdmin's table, as far as it matters. */
static const char schema[] =
	"CREATE TABLE mailbox (username TEXT PRIMARY KEY, password TEXT, active INTEGER);"
	"INSERT INTO mailbox VALUES"
	" ('alice@vm1.vm', 'cd3ba7deaad6e5ca23448ba42e379747a9e0f7f1fbc00c8a81bbaac395731b56', 1),"
	" ('Bob@vm1.vm', '{PLAIN}bob', 1), ('off@vm1.vm', '{PLAIN}off', 0),"
	" ('null@vm1.vm', NULL, 1), ('empty@vm1.vm', '', 1), ('bad@vm1.vm', 'nonsense', 1),"
	" ('md5@vm1.vm', '$1$BH5HRh3X$rlPY3zja0r9ldHU0xVGF/.', 1);";

#define QUERY                                                                                      \
	"query = SELECT username AS user, password, '/var/mail/%d' AS userdb_home FROM mailbox "   \
	"WHERE username = '%s' COLLATE NOCASE AND active = 1\n"
#define CF "dbpath = db\n" QUERY "default_pass_scheme = CRAM-MD5\n"

struct fixture {
	char dir[40], cf[64], db[64], passdb[80];
	struct accounts *accounts;
	struct arena arena;
	struct error err;
};

static void write_file(const char *file, const char *text)
{
	char fresh[80];
	FILE *stream;

	snprintf(fresh, sizeof(fresh), "%s.new", file);
	stream = fopen(fresh, "we");
	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
	assert_return_code(rename(fresh, file), 0);
}

static sqlite3 *execute(const struct fixture *f, const char *sql)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(f->db, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	return db;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/accounts.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->cf, sizeof(f->cf), "%s/a.cf", f->dir);
	snprintf(f->db, sizeof(f->db), "%s/db", f->dir);
	snprintf(f->passdb, sizeof(f->passdb), "sqlite:%s", f->cf);
	sqlite3_close(execute(f, schema));
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	accounts_free(f->accounts);
	arena_done(&f->arena);
	unlink(f->cf);
	unlink(f->db);
	rmdir(f->dir);
	free(f);
	return 0;
}

static const struct {
	const char *user, *password;
	int outcome;
	const char *name;
	bool match;
} cases[] = {
	{ "alice@vm1.vm", "secret", MAP_FOUND, "alice@vm1.vm", true },
	{ "alice@vm1.vm", "Secret", MAP_FOUND, "alice@vm1.vm", false },
	{ "BOB@vm1.vm", "bob", MAP_FOUND, "Bob@vm1.vm", true },
	{ "off@vm1.vm", "off", MAP_NOT_FOUND, NULL, false },
	{ "null@vm1.vm", "", MAP_FOUND, "null@vm1.vm", false },
	{ "empty@vm1.vm", "", MAP_FOUND, "empty@vm1.vm", false },
	{ "md5@vm1.vm", "secret", MAP_FOUND, "md5@vm1.vm", true },
	{ "nobody@vm1.vm", "x", MAP_NOT_FOUND, NULL, false },
	{ "", "", MAP_NOT_FOUND, NULL, false },
	{ "x' OR '1'='1", "secret", MAP_NOT_FOUND, NULL, false },
	{ "' UNION SELECT 'a', '{PLAIN}a', '' --@vm1.vm", "a", MAP_NOT_FOUND, NULL, false },
	{ "bad@vm1.vm", "nonsense", -EINVAL, NULL, false },
};

static void test_users(void **state)
{
	struct fixture *f = *state;

	write_file(f->cf, CF);
	assert_return_code(accounts_open(f->passdb, &f->accounts, &f->err), 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct account account = { 0 };
		int r = accounts_find(f->accounts, cases[i].user, &f->arena, &account, &f->err);

		if (r != cases[i].outcome)
			fail_msg("%s: outcome %d", cases[i].user, r);
		if (r == MAP_FOUND && strcmp(account.name, cases[i].name) != 0)
			fail_msg("%s: is %s", cases[i].user, account.name);
		if (r == MAP_FOUND && accounts_match(f->accounts, account.stored,
						     cases[i].password) != cases[i].match)
			fail_msg("%s: match?", cases[i].user);
		account_wipe(&account);
	}
	assert_non_null(strstr(f->err.text, "a.cf:2: user bad@vm1.vm: "));
	assert_int_equal(accounts_has(f->accounts, "Alice@vm1.vm", &f->err), MAP_FOUND);
	assert_int_equal(accounts_has(f->accounts, "carl@vm1.vm", &f->err), MAP_NOT_FOUND);
}

static void test_closed(void **state)
{
	struct fixture *f = *state;
	struct account account = { 0 };

	write_file(f->cf, "dbpath = db\nquery = SELECT password, NULLIF(username, "
			  "'null@vm1.vm') AS nologin FROM mailbox WHERE username = '%s'\n");
	assert_return_code(accounts_open(f->passdb, &f->accounts, &f->err), 0);
	assert_int_equal(accounts_find(f->accounts, "null@vm1.vm", &f->arena, &account, &f->err),
			 MAP_FOUND);
	assert_false(account.is_closed);
	assert_int_equal(accounts_find(f->accounts, "alice@vm1.vm", &f->arena, &account, &f->err),
			 MAP_FOUND);
	assert_true(account.is_closed && account.stored.len == 0);
}

static void test_default_scheme(void **state)
{
	struct fixture *f = *state;
	struct slice decoy;

	write_file(f->cf, CF);
	assert_return_code(accounts_open(f->passdb, &f->accounts, &f->err), 0);
	assert_int_equal(accounts_secrets(f->accounts), SCHEME_CRAM_MD5);
	decoy = accounts_decoy(f->accounts, &f->arena);
	assert_string_equal(scheme_name(decoy), "CRAM-MD5");

	/* A changed file is taken up; a bad one is told, and changes nothing. */
	write_file(f->cf, "dbpath = db\n" QUERY "default_pass_scheme = PLAIN\n");
	assert_int_equal(accounts_refresh(f->accounts, &f->err), 0);
	assert_int_equal(accounts_secrets(f->accounts), SCHEME_EVERY_SECRET);
	assert_int_equal(accounts_refresh(f->accounts, &f->err), MAP_NOT_CHANGED);
	write_file(f->cf, "dbpath = db\n");
	assert_true(accounts_refresh(f->accounts, &f->err) < 0);
	assert_int_equal(accounts_secrets(f->accounts), SCHEME_EVERY_SECRET);
	assert_int_equal(accounts_has(f->accounts, "alice@vm1.vm", &f->err), MAP_FOUND);
}

/* Then nothing is known; and when it is free again all is as before. */
static void test_locked(void **state)
{
	struct fixture *f = *state;
	struct account account = { 0 };
	sqlite3 *db;

	write_file(f->cf, CF);
	assert_return_code(accounts_open(f->passdb, &f->accounts, &f->err), 0);
	db = execute(f, "BEGIN EXCLUSIVE");
	assert_int_equal(accounts_find(f->accounts, "alice@vm1.vm", &f->arena, &account, &f->err),
			 -EAGAIN);
	sqlite3_close(db);
	assert_int_equal(accounts_find(f->accounts, "alice@vm1.vm", &f->arena, &account, &f->err),
			 MAP_FOUND);
	account_wipe(&account);
}

static const struct {
	const char *cf, *error;
} bad[] = {
	{ "dbpath = db\nquery = SELECT username FROM mailbox WHERE username = '%s'\n",
	  "a.cf:2 query: expected a column password" },
	{ "dbpath = db\nquery = SELECT password FROM mailbox\n",
	  "a.cf:2 query: it asks for no login" },
	{ "dbpath = db\n" QUERY "default_pass_scheme = MD4\n",
	  "a.cf default_pass_scheme: password scheme {MD4} is not known" },
	{ "dbpath = db\nquery = SELECT password, active AS allow_nets FROM mailbox WHERE "
	  "username = '%s'\n",
	  "a.cf:2 query: the column allow_nets is not available here" },
	{ "driver = sqlite\n", "a.cf:1 driver is Dovecot's; the database is SQLite" },
	{ "password_query = SELECT\n", "a.cf:1 password_query is Dovecot's; write query" },
	{ "result_format = x\n", "a.cf:1 unknown name \"result_format\"" },
	{ "dbpath = nodb\n" QUERY, "a.cf:1 dbpath: " },
	{ "dbpath = db\nquery = SELECT password FROM nosuch WHERE username = '%s'\n",
	  "a.cf:2 no such table: nosuch" },
	{ "dbpath = db\nquery = DELETE FROM mailbox WHERE username = '%s'\n",
	  "a.cf:2 query: expected a SELECT" },
	{ "dbpath = db\nquery = SELECT password FROM mailbox WHERE username = '%u'\n",
	  "a.cf:2 query: '%u' is what stands before the @" },
};

static void on_report(void *arg, bool is_error, const char *source, const char *text)
{
	char *first = arg;
	const char *name = strrchr(source, '/') + 1;

	(void)is_error;
	if (!first[0])
		snprintf(first, 600, "%s %s", name,
			 strncmp(text, source, strlen(source)) == 0 ? text + strlen(source) + 2
								    : text);
}

static void test_bad_files(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		char first[600] = "";

		write_file(f->cf, bad[i].cf);
		accounts_diagnose(f->passdb, on_report, first);
		if (strncmp(first, bad[i].error, strlen(bad[i].error)) != 0)
			fail_msg("expected \"%s\", found \"%s\"", bad[i].error, first);
	}
	write_file(f->cf, "dbpath = db\nquery = SELECT 'x' AS password FROM mailbox WHERE "
			  "username <> '%s'\n");
	assert_true(accounts_open(f->passdb, &f->accounts, &f->err) < 0);
	assert_non_null(strstr(f->err.text, "more than one row"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_users, setup, teardown),
		cmocka_unit_test_setup_teardown(test_closed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_default_scheme, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_files, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
