/*
 * fuzz_map_sqlite - a FILE.cf of any bytes, and a key and a value behind its first NULs
 *
 * Whatever it says: SQL that SQLite takes has the parameters that we bind, and
 * no others; and the SQL is made without having seen the key.
 */
#include <sqlite3.h>
#include <string.h>

#include "maps/sqlite_config.h"
#include "maps/sqlite_query.h"
#include "tests/fuzz/fuzz.h"

static void take_complaint(void *arg, bool is_error, const char *source, const char *text)
{
	MUST(is_error && strncmp(source, "f:", 2) == 0 && source[2] >= '1');
	MUST(text[0] != '\0');
	++*(unsigned int *)arg;
}

/* One that fails to prepare, or more than one, is not ours to judge; a PRAGMA would do things. */
static void check_sql(const struct sqlite_query *query)
{
	sqlite3_stmt *statement = NULL;
	const char *tail = "";
	sqlite3 *db = NULL;

	if (strncasecmp(query->sql, "SELECT", 6) != 0)
		return;
	MUST(sqlite3_open(":memory:", &db) == SQLITE_OK);
	sqlite3_exec(db, "CREATE TABLE t (k TEXT, v TEXT)", NULL, NULL, NULL);
	if (sqlite3_prepare_v2(db, query->sql, -1, &statement, &tail) == SQLITE_OK && !tail[0])
		MUST(sqlite3_bind_parameter_count(statement) >= (int)query->field_count);
	sqlite3_finalize(statement);
	sqlite3_close(db);
}

static void apply(const struct sqlite_needs *needs, const struct sqlite_format *format,
		  struct slice key, struct slice value)
{
	struct sqlite_key parts;
	struct buf out = { 0 };

	if (!sqlite_key_split(key, needs, &parts))
		return;
	for (size_t i = 0; i < FIELD_COUNT; i++)
		MUST(parts.fields[i].len <= key.len);
	if (!sqlite_format_apply(format, &parts, value, &out))
		MUST(buf_len(&out) == 0);
	buf_done(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = slice_of((const char *)data, size);
	struct slice text = slice_first(rest, slice_find(rest, '\0')), key;
	unsigned int count = 0;
	struct complaints complaints = { .name = "f", .report = take_complaint, .arg = &count };
	struct arena arena = { 0 };
	struct sqlite_config config;
	struct sqlite_query query;
	struct sqlite_format format;
	const char *result_format;

	rest = slice_skip(rest, text.len + 1);
	key = slice_first(rest, slice_find(rest, '\0'));
	sqlite_config_parse(text, true, &arena, &config, &complaints);
	sqlite_config_parse(text, false, &arena, &config, &complaints);
	MUST((complaints.outcome < 0) == (count > 0));
	result_format = config.values[SETTING_RESULT_FORMAT];
	if (config.values[SETTING_QUERY] &&
	    sqlite_query_parse(slice_from(config.values[SETTING_QUERY]), &arena, &query, NULL) ==
		    0) {
		check_sql(&query);
		if (sqlite_format_parse(result_format ? result_format : "%s", &query.needs, &format,
					NULL) == 0)
			apply(&query.needs, &format, key, slice_skip(rest, key.len + 1));
	}
	arena_done(&arena);
	return 0;
}
