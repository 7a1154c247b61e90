/* test_sqlite - a map that asks a database, and all that may be wrong with one */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/macros.h"
#include "maps/internal.h"

#define SELECT "dbpath = db\nquery = SELECT v FROM t WHERE k = '%s'\n"

struct fixture {
	char path[64], db[80], cf[80];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->path, "/tmp/test_sqlite.XXXXXX");
	if (!mkdtemp(f->path))
		return -1;
	snprintf(f->db, sizeof(f->db), "%s/db", f->path);
	snprintf(f->cf, sizeof(f->cf), "%s/q.cf", f->path);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "db", "db-journal", "new", "q.cf", "domains" };
	struct fixture *f = *state;
	char path[96];

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", f->path, names[i]);
		unlink(path);
	}
	rmdir(f->path);
	free(f);
	return 0;
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static void run(sqlite3 *db, const char *sql)
{
	char *text = NULL;

	if (sqlite3_exec(db, sql, NULL, NULL, &text) != SQLITE_OK)
		fail_msg("%s: %s", sql, text);
}

static sqlite3 *open_database(const char *path)
{
	sqlite3 *db = NULL;

	assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
	return db;
}

static void execute(const char *path, const char *sql)
{
	sqlite3 *db = open_database(path);

	run(db, sql);
	sqlite3_close(db);
}

static void make_database(const struct fixture *f)
{
	execute(f->db, "CREATE TABLE t (k TEXT, v); "
		       "INSERT INTO t VALUES ('a', 'one'), ('m', 'x'), ('m', 'y'), ('e', ''), "
		       "('n', NULL), ('i', 42), ('c', 'a' || char(10) || 'b'), ('o''x', 'quoted'), "
		       "('u@d.example', 'mailbox')");
}

static struct map *open_map(const struct fixture *f, const char *cf)
{
	struct map *map = NULL;
	struct error err = { 0 };

	write_file(f->cf, cf);
	if (map_open(SLICE("sqlite:q.cf"), f->path, &map, &err) < 0)
		fail_msg("%s: %s", cf, err.text);
	return map;
}

/* The value; "-": there is none; or the text of the error. */
static void expect(struct map *map, const char *key, const char *want)
{
	struct arena arena = { 0 };
	struct map_result result;
	struct error err = { 0 };
	int r = map_lookup(map, slice_from(key), &arena, &result, &err);
	const char *got = r < 0 ? err.text : r == MAP_FOUND ? result.value : "-";

	if (strcmp(got, want) != 0)
		fail_msg("%s: \"%s\", expected \"%s\"", key, got, want);
	if (r == MAP_FOUND)
		assert_string_equal(result.source, "q.cf:2");
	arena_done(&arena);
}

static void test_lookups(void **state)
{
	const struct fixture *f = *state;
	struct map *map;

	make_database(f);
	map = open_map(f, SELECT);
	expect(map, "a", "one");
	expect(map, "A", "one");
	expect(map, "b", "-");
	expect(map, "m", "x,y");
	expect(map, "e", "-");
	expect(map, "n", "-");
	expect(map, "i", "42");
	expect(map, "o'x", "quoted");
	expect(map, "' OR '1'='1", "-");
	expect(map, "a'; DROP TABLE t; --", "-");
	expect(map, "a", "one");
	expect(map, "\xff", "-");
	expect(map, "", "-");
	expect(map, "c", "q.cf:2: a value holds control characters");
	map_free(map);
}

static void test_formats(void **state)
{
	const struct fixture *f = *state;
	struct map *map;

	make_database(f);
	map = open_map(f, SELECT "result_format = smtp:[%s]\n");
	expect(map, "m", "smtp:[x],smtp:[y]");
	map_free(map);
	map = open_map(f, SELECT "expansion_limit = 1\n");
	expect(map, "a", "one");
	expect(map, "m", "q.cf:2: more than the 1 rows of expansion_limit");
	map_free(map);
	map = open_map(f, "dbpath = db\nquery = SELECT v FROM t\n  WHERE k = '%u@d.%1'\n");
	expect(map, "u@a.example", "mailbox");
	expect(map, "u", "-");
	map_free(map);
}

static void test_domains(void **state)
{
	const struct fixture *f = *state;
	char path[96];
	struct map *map;

	make_database(f);
	snprintf(path, sizeof(path), "%s/domains", f->path);
	write_file(path, "x.example yes\n");
	map = open_map(f, "dbpath = db\nquery = SELECT 'yes'\ndomain = d.example, hash:domains\n");
	expect(map, "u@d.example", "yes");
	expect(map, "U@D.EXAMPLE", "yes");
	expect(map, "u@x.example", "yes");
	expect(map, "u@sub.d.example", "-");
	expect(map, "u@sub.x.example", "-");
	expect(map, "@d.example", "-");
	expect(map, "d.example", "-");
	expect(map, "u", "-");
	write_file(path, "y.example yes\n");
	assert_int_equal(map_refresh(map, NULL), 0);
	expect(map, "u@y.example", "yes");
	map_free(map);
}

static const struct {
	const char *cf, *error;
} refusals[] = {
	{ "query = SELECT 1\n", "q.cf:1: dbpath is missing, the file of the database" },
	{ "dbpath = db\n", "q.cf:1: query is missing" },
	{ "dbpath = db\nquery = SELECT v FROM t WHERE k = \"%s\"\n",
	  "q.cf:2: query: no parameter can stand within a name" },
#if SQLITE_VERSION_NUMBER < 3044000
	{ "dbpath = db\nquery = SELECT CONCAT(v, '@') FROM t\n",
	  "q.cf:2: no such function: CONCAT; write a || b for CONCAT(a, b)" },
#endif
	{ "dbpath = db\nquery = SELECT v FROM nowhere\n", "q.cf:2: no such table: nowhere" },
	{ "dbpath = db\nquery = SELECT FROM t\n", "q.cf:2: near \"FROM\": syntax error" },
	{ "dbpath = db\nquery = SELEKT 1\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = DELETE FROM t\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = INSERT INTO t VALUES (1, 2) RETURNING k\n",
	  "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = ATTACH '%s' AS x\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = EXPLAIN SELECT 1\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = PRAGMA user_version\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = WITH x AS (SELECT 1) DELETE FROM t\n",
	  "q.cf:2: query: expected a SELECT" },
	{ "dbpath = db\nquery = SELECT @$\n",
	  "q.cf:2: query: parameters of SQL are not for operators" },
	{ "dbpath = db\nquery = SELECT 1; SELECT 2\n", "q.cf:2: query: expected one statement" },
	{ "dbpath = db\nquery = ;\n", "q.cf:2: query: expected a SELECT" },
	{ "dbpath = other\nquery = SELECT 1\n", "q.cf:1: dbpath: " },
	{ "dbpath = .\nquery = SELECT 1\n", "q.cf:1: dbpath: " },
	{ "dbpath = q.cf\nquery = SELECT 1 FROM t\n", "q.cf:2: file is not a database" },
	{ SELECT "result_format = %x\n", "q.cf:3: result_format: \"%x\": expected %s" },
	{ SELECT "expansion_limit = many\n", "q.cf:3: expansion_limit: \"many\" is not a number" },
	{ SELECT "domain = sqlite:q.cf\n",
	  "q.cf:3: domain: the domains of a sqlite: map can't be" },
	{ SELECT "domain = a@b\n", "q.cf:3: domain: \"a@b\": expected a domain" },
	{ SELECT "domian = x\n", "q.cf:3: unknown name \"domian\"; did you mean domain?" },
	{ SELECT "hosts = x\n", "q.cf:3: unknown name \"hosts\"; expected dbpath, query" },
	{ SELECT "query = x\n", "q.cf:3: query is given twice, here and in line 2" },
	{ SELECT "table = x\n", "q.cf:3: table is not supported; write query = SELECT field FROM" },
	{ SELECT "x\n", "q.cf:3: expected \"name = value\", found \"x\"" },
	{ "dbpath =\n" SELECT, "q.cf:1: dbpath has no value" },
};

static void note_report(void *arg, bool is_error, const char *source, const char *text)
{
	assert_true(is_error);
	buf_printf(arg, "%s: %s|", source, text);
}

static void test_refused(void **state)
{
	const struct fixture *f = *state;

	make_database(f);
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct map *map = NULL;
		struct buf told = { 0 };
		struct error err = { 0 };

		write_file(f->cf, refusals[i].cf);
		if (map_open(SLICE("sqlite:q.cf"), f->path, &map, &err) >= 0)
			fail_msg("taken: %s", refusals[i].cf);
		if (strncmp(err.text, refusals[i].error, strlen(refusals[i].error)) != 0)
			fail_msg("%s: %s", refusals[i].cf, err.text);
		map_diagnose(SLICE("sqlite:q.cf"), false, f->path, note_report, &told);
		buf_append(&told, "", 1);
		if (strncmp(buf_slice(&told).ptr, refusals[i].error, strlen(refusals[i].error)) !=
		    0)
			fail_msg("%s: told %s", refusals[i].cf, buf_slice(&told).ptr);
		buf_done(&told);
	}
}

static void test_locked(void **state)
{
	const struct fixture *f = *state;
	struct map *map, *late;
	sqlite3 *db;

	make_database(f);
	map = open_map(f, SELECT);
	db = open_database(f->db);
	run(db, "BEGIN EXCLUSIVE");
	expect(map, "a", "q.cf:2: the database is locked");
	expect(map, "b", "q.cf:2: the database is locked");
	late = open_map(f, SELECT); /* locked is not broken */
	expect(late, "a", "q.cf:2: the database is locked");
	run(db, "COMMIT");
	expect(map, "a", "one");
	expect(map, "b", "-");
	expect(late, "a", "one");
	sqlite3_close(db);
	map_free(map);
	map_free(late);
}

static void test_endless(void **state)
{
	const struct fixture *f = *state;
	struct map *map;

	make_database(f);
	map = open_map(f, "dbpath = db\nquery = WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT "
			  "i + 1 FROM n) SELECT CASE '%s' WHEN 'a' THEN 'one' ELSE "
			  "(SELECT count(*) FROM n) END\n");
	expect(map, "a", "one");
	expect(map, "b", "q.cf:2: the query takes too long, and was cut off");
	expect(map, "a", "one");
	map_free(map);
}

static void test_missing_damaged_replaced(void **state)
{
	const struct fixture *f = *state;
	char new[96], text[200];
	struct map *map;

	make_database(f);
	map = open_map(f, SELECT);
	expect(map, "a", "one");
	snprintf(new, sizeof(new), "%s/new", f->path);
	execute(new, "CREATE TABLE t (k TEXT, v); INSERT INTO t VALUES ('a', 'two')");
	assert_int_equal(rename(new, f->db), 0);
	expect(map, "a", "two");

	unlink(f->db);
	snprintf(text, sizeof(text), "q.cf:1: dbpath: %s: No such file or directory", f->db);
	expect(map, "a", text);
	write_file(f->db, "this is no database, whatever its name says, and it is long enough");
	expect(map, "a", "q.cf:2: file is not a database");
	unlink(f->db);
	execute(f->db, "CREATE TABLE other (k)");
	expect(map, "a", "q.cf:2: no such table: t");
	execute(f->db, "CREATE TABLE t (k TEXT, v); INSERT INTO t VALUES ('a', 'three')");
	expect(map, "a", "three");
	execute(f->db, "DROP TABLE t");
	expect(map, "a", "q.cf:2: no such table: t");
	execute(f->db, "CREATE TABLE t (x, k TEXT, v); INSERT INTO t VALUES (0, 'a', 'four')");
	expect(map, "a", "four");
	map_free(map);
}

/* A new version may be right, and the database come a moment later. */
static void test_refresh(void **state)
{
	const struct fixture *f = *state;
	struct map *map;
	struct error err = { 0 };
	char new[96];

	make_database(f);
	map = open_map(f, SELECT);
	write_file(f->cf, "dbpath = new\nquery = SELECT v FROM t WHERE k = '%s'\n");
	assert_true(map_refresh(map, &err) < 0);
	assert_memory_equal(err.text, "q.cf:1: dbpath: ", 16);
	assert_int_equal(map_refresh(map, &err), MAP_NOT_CHANGED);
	expect(map, "a", "one");
	snprintf(new, sizeof(new), "%s/new", f->path);
	execute(new, "CREATE TABLE t (k TEXT, v); INSERT INTO t VALUES ('a', 'new')");
	assert_int_equal(map_refresh(map, &err), 0);
	expect(map, "a", "new");
	assert_int_equal(map_refresh(map, &err), MAP_NOT_CHANGED);
	map_free(map);
}

static void *look_up_often(void *arg)
{
	for (int i = 0; i < 200; i++)
		expect(arg, i % 2 ? "a" : "b", i % 2 ? "one" : "-");
	return NULL;
}

static void test_threads(void **state)
{
	const struct fixture *f = *state;
	pthread_t threads[4];
	struct map *map;

	make_database(f);
	map = open_map(f, SELECT);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, look_up_often, map), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	map_free(map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lookups, setup, teardown),
		cmocka_unit_test_setup_teardown(test_formats, setup, teardown),
		cmocka_unit_test_setup_teardown(test_domains, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_locked, setup, teardown),
		cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_damaged_replaced, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refresh, setup, teardown),
		cmocka_unit_test_setup_teardown(test_threads, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
