/* test_sqlite_query - templates into SQL without a byte of a key, keys and values taken apart */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "maps/sqlite_query.h"

static const struct {
	const char *text, *sql;
	const char *fields; /* s u d 1 ... of ?1, ?2 ... */
} queries[] = {
	{ "SELECT a FROM t WHERE k = '%s'", "SELECT a FROM t WHERE k = ?1", "s" },
	{ "k = %s", "k = ?1", "s" },
	{ "k='%s'", "k=?1", "s" },
	{ "u = '%u' AND d = '%d'", "u = ?1 AND d = ?2", "ud" },
	{ "u = '%U' AND d = '%D' AND s = '%S' OR '%u'", "u = ?1 AND d = ?2 AND s = ?3 OR ?1",
	  "uds" },
	{ "d = '%2.%1'", "d = (?1 || '.' || ?2)", "21" },
	{ "k = '%u@x.example'", "k = (?1 || '@x.example')", "u" },
	{ "k LIKE '%%%s'", "k LIKE ('%' || ?1)", "s" },
	{ "k LIKE 'a%%'", "k LIKE 'a%'", "" },
	{ "k = 'it''s %s'", "k = ('it''s ' || ?1)", "s" },
	{ "k = '''%s'''", "k = ('''' || ?1 || '''')", "s" },
	{ "k = '%s''; DROP TABLE t; --'", "k = (?1 || '''; DROP TABLE t; --')", "s" },
	{ "k = '' AND 5 %% 2", "k = '' AND 5 % 2", "" },
	{ "k = '%s%s'", "k = (?1 || ?1)", "s" },
	{ "\"a''b\" = '%s'", "\"a''b\" = ?1", "s" },
	{ "\"a%%b\" = '%s'", "\"a%b\" = ?1", "s" },
	{ "`a'b` = '%s'", "`a'b` = ?1", "s" },
	{ "[a'b] = '%s'", "[a'b] = ?1", "s" },
	{ "/* it's */ '%s'", "/* it's */ ?1", "s" },
	{ "f('%s',%d)", "f(?1,?2)", "sd" },
	{ "SELECT '%s'alias", "SELECT ?1 alias", "s" },
	{ "SELECT '%s'5", "SELECT ?1 5", "s" },
	{ "SELECT x'00' || '%s'", "SELECT x'00' || ?1", "s" },
	{ "a->'$.b'", "a->'$.b'", "" },
	{ "-- all of it's a comment", "-- all of it's a comment", "" },
};

static void fields_of(const struct sqlite_query *query, char *out)
{
	for (unsigned int i = 0; i < query->field_count; i++)
		*out++ = "sud123456789"[query->fields[i]];
	*out = '\0';
}

static void test_queries(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(queries); i++) {
		struct arena arena = { 0 };
		struct sqlite_query query;
		struct error err = { 0 };
		char fields[FIELD_COUNT + 1];

		if (sqlite_query_parse(slice_from(queries[i].text), &arena, &query, &err) < 0)
			fail_msg("%s: %s", queries[i].text, err.text);
		assert_string_equal(query.sql, queries[i].sql);
		fields_of(&query, fields);
		assert_string_equal(fields, queries[i].fields);
		arena_done(&arena);
	}
}

static const struct {
	const char *text, *error;
} refusals[] = {
	{ "\"%s\" = 1", "no parameter can stand within a name in quotes: \"%s\"" },
	{ "`%s` = 1", "no parameter can stand within a name in quotes" },
	{ "[%s] = 1", "no parameter can stand within a name in brackets" },
	{ "1 -- %s", "no parameter can stand within a comment" },
	{ "1 /* %s */", "no parameter can stand within a comment" },
	{ "table_%s", "%s stands within a word" },
	{ "%stable", "%s stands within a word" },
	{ "1%u", "%u stands within a word" },
	{ "%u%d", "%u stands within a word" },
	{ "%s''", "%s stands within a word" },
	{ "x'%s'", "a string with a parameter stands right behind a word" },
	{ "x'4%s'", "a string with a parameter stands right behind a word" },
	{ "'%s", "a string has no closing '" },
	{ "'%s''", "a string has no closing '" },
	{ "\"a", "a name in quotes has no end" },
	{ "/* a", "a comment has no end" },
	{ "'%x'", "\"%x\": expected %s, %u, %d, %1 to %9, or %%" },
	{ "%0", "\"%0\": expected %s" },
	{ "a LIKE '%'", "\"%'\": expected %s" },
	{ "100%", "\"%\": expected %s" },
	{ "k = ?", "\"? \": parameters of SQL are not for operators" },
	{ "k = ?1", "\"?1\": parameters of SQL are not for operators" },
	{ "k = :key", "\":k\": parameters of SQL" },
	{ "k = @key", "\"@k\": parameters of SQL" },
	{ "k = $key", "\"$k\": parameters of SQL" },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct arena arena = { 0 };
		struct sqlite_query query;
		struct error err = { 0 };

		if (sqlite_query_parse(slice_from(refusals[i].text), &arena, &query, &err) >= 0)
			fail_msg("taken: %s: %s", refusals[i].text, query.sql);
		if (strncmp(err.text, refusals[i].error, strlen(refusals[i].error)) != 0)
			fail_msg("%s: %s", refusals[i].text, err.text);
		arena_done(&arena);
	}
}

static const struct {
	const char *query, *format, *key, *value;
	const char *result; /* "": the row is skipped; NULL: nothing is asked */
} results[] = {
	{ "'%s'", "%s", "k", "v", "v" },
	{ "'%s'", "%s", "", "v", NULL },
	{ "'%s'", "%s", "k", "", "" },
	{ "'%s'", "a%%b[%s]", "k", "v", "a%b[v]" },
	{ "'%u'", "%s", "user", "v", "v" },
	{ "'%u'", "%s", "@d", "v", NULL },
	{ "'%s'", "%s", "@d", "v", "v" },
	{ "'%d'", "%s", "user", "v", NULL },
	{ "'%d'", "%s", "user@", "v", NULL },
	{ "'%s'", "%D", "user", "v", NULL },
	{ "'%s'", "%U", "@d", "v", NULL },
	{ "'%1'", "%s", "user", "v", NULL },
	{ "'%2'", "%s", "u@com", "v", NULL },
	{ "'%2'", "%s", "u@.com", "v", NULL },
	{ "'%2'", "%s", "u@a..com.", "v", "v" },
	{ "'%s'", "%3.%2.%1", "u@a.b.c", "v", "a.b.c" },
	{ "'%s'", "%u at %d", "k", "x@y@z", "x@y at z" },
	{ "'%s'", "%u", "k", "x", "x" },
	{ "'%s'", "%u", "k", "@x", "" },
	{ "'%s'", "%d", "k", "x", "" },
	{ "'%s'", "%d", "k", "x@", "" },
	{ "'%s'", "%S %U %D %s", "u@d", "v", "u@d u d v" },
	{ "'%s'", "%U", "user", "v", "user" },
};

static void test_results(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(results); i++) {
		struct arena arena = { 0 };
		struct sqlite_query query;
		struct sqlite_format format;
		struct sqlite_key key;
		struct buf out = { 0 };
		bool is_asked;

		sqlite_query_parse(slice_from(results[i].query), &arena, &query, NULL);
		sqlite_format_parse(results[i].format, &query.needs, &format, NULL);
		is_asked = sqlite_key_split(slice_from(results[i].key), &query.needs, &key);
		if (is_asked != (results[i].result != NULL))
			fail_msg("%zu: asked: %d", i, is_asked);
		if (is_asked)
			sqlite_format_apply(&format, &key, slice_from(results[i].value), &out);
		buf_append(&out, "", 1);
		assert_string_equal(buf_slice(&out).ptr, is_asked ? results[i].result : "");
		buf_done(&out);
		arena_done(&arena);
	}
}

static void test_rows_are_joined(void **state)
{
	struct sqlite_needs needs = { 0 };
	struct sqlite_format format;
	struct sqlite_key key;
	struct buf out = { 0 };

	(void)state;
	assert_int_equal(sqlite_format_parse("<%s>", &needs, &format, NULL), 0);
	assert_true(sqlite_key_split(SLICE("k"), &needs, &key));
	assert_true(sqlite_format_apply(&format, &key, SLICE("a"), &out));
	assert_false(sqlite_format_apply(&format, &key, SLICE(""), &out));
	assert_true(sqlite_format_apply(&format, &key, SLICE("b"), &out));
	buf_append(&out, "", 1);
	assert_string_equal(buf_slice(&out).ptr, "<a>,<b>");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queries),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_results),
		cmocka_unit_test(test_rows_are_joined),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
