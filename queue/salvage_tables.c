/*
 * salvage_tables - the shapes of rows
 *
 * SQLite itself tells the columns: of the new database, and of the old one in
 * a database in memory, in which the texts of the old schema are run. These
 * texts are ours, and only the first statement of one that begins as ours do
 * is run: with a list of columns, as one that selects could do anything.
 */
#include "queue/salvage_tables.h"

#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define CREATE "CREATE TABLE "
#define PREFIX "q_"

/* As it is in sqlite_schema. */
enum { SCHEMA_TYPE, SCHEMA_NAME, SCHEMA_TABLE, SCHEMA_ROOT, SCHEMA_SQL, SCHEMA_COLUMNS };

static enum queue_value_type type_of(const char *declared)
{
	if (strcmp(declared, "INTEGER") == 0)
		return QUEUE_INTEGER;
	return strcmp(declared, "TEXT") == 0 ? QUEUE_TEXT : QUEUE_BLOB;
}

static const char *plain_default(enum queue_value_type type)
{
	if (type == QUEUE_INTEGER)
		return "0";
	return type == QUEUE_TEXT ? "''" : "x''";
}

static void read_column(struct queue_table *t, struct sqlite3_stmt *st)
{
	struct queue_table_column *column = &t->columns[t->count];

	snprintf(column->name, sizeof(column->name), "%s", sql_text(st, 0));
	column->type = type_of(sql_text(st, 1));
	column->has_default = !sql_is_null(st, 3);
	snprintf(column->fallback, sizeof(column->fallback), "%s",
		 column->has_default ? sql_text(st, 3) : plain_default(column->type));
	if (t->by_rowid && sql_int(st, 4) == 1 && column->type == QUEUE_INTEGER)
		t->key = (int)t->count;
	column->is_nullable = sql_int(st, 2) == 0;
	t->count++;
	if (!column->has_default)
		t->least = t->count;
}

/* Columns in the order of the records: our keys stand in front anyway. No such table: count is 0. */
static int read_table(struct sql *sql, const char *name, struct queue_table *ret, struct error *err)
{
	struct sqlite3_stmt *st = NULL;
	int64_t is_tree_of_keys = 0;
	char text[160];
	int r;

	*ret = (struct queue_table){ .key = -1 };
	snprintf(ret->name, sizeof(ret->name), "%s", name);
	snprintf(text, sizeof(text), "SELECT wr FROM pragma_table_list('%s')", ret->name);
	r = sql_query_int(sql, text, &is_tree_of_keys, err);
	ret->by_rowid = !is_tree_of_keys;
	snprintf(text, sizeof(text),
		 "SELECT name, type, \"notnull\", dflt_value, pk FROM pragma_table_info('%s')",
		 ret->name);
	if (r == 0)
		r = sql_prepare_one(sql, text, &st, err);
	while (r == 0 && (r = sql_step(sql, st, err)) > 0) {
		if (ret->count < QUEUE_COLUMNS_MAX)
			read_column(ret, st);
		r = 0;
	}
	sql_finalize(st);
	return r;
}

static int find_column(const struct queue_table *t, const char *name)
{
	for (unsigned int i = 0; i < t->count; i++)
		if (strcmp(t->columns[i].name, name) == 0)
			return (int)i;
	return -1;
}

static void set_order(struct queue_table *t, const struct queue_table *old)
{
	struct queue_table_order *order = &t->old;

	order->count = old->count;
	order->least = old->least;
	for (unsigned int i = 0; i < old->count; i++) {
		order->types[i] = old->columns[i].type;
		order->is_nullable[i] = old->columns[i].is_nullable;
		order->target[i] = find_column(t, old->columns[i].name);
	}
}

/* What is bound as NULL gets the default; a row that is there already stays, but for the state. */
static int prepare_insert(struct sql *to, struct queue_table *t, struct error *err)
{
	const char *conflict = strcmp(t->name, "q_state") == 0 ? "REPLACE" : "IGNORE";
	struct buf text = { 0 };
	int r;

	buf_printf(&text, "INSERT OR %s INTO %s VALUES (", conflict, t->name);
	for (unsigned int i = 0; i < t->count; i++)
		buf_printf(&text, t->columns[i].is_nullable ? "%s?%u" : "%scoalesce(?%u, %s)",
			   i ? ", " : "", i + 1, t->columns[i].fallback);
	buf_append(&text, ")", 2);
	r = sql_prepare_one(to, buf_slice(&text).ptr, &t->insert, err);
	buf_done(&text);
	return r;
}

static int read_new(struct sql *to, struct queue_tables *tables, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = sql_prepare_one(to,
				"SELECT name FROM sqlite_schema WHERE type = 'table'"
				" AND substr(name, 1, 2) = '" PREFIX "' ORDER BY rowid",
				&st, err);

	if (r < 0)
		return r;
	while ((r = sql_step(to, st, err)) > 0 && tables->count < QUEUE_TABLES_MAX) {
		struct queue_table *t = &tables->list[tables->count];

		r = read_table(to, sql_text(st, 0), t, err);
		if (r < 0)
			break;
		tables->count++;
		set_order(t, t);
		r = prepare_insert(to, t, err);
		if (r < 0)
			break;
	}
	sql_finalize(st);
	return r;
}

/* ---- the old schema ---- */

static bool is_schema(const struct queue_row *row)
{
	const struct queue_value *v = row->values;

	return row->has_rowid && row->count == SCHEMA_COLUMNS &&
	       v[SCHEMA_TYPE].type == QUEUE_TEXT && v[SCHEMA_NAME].type == QUEUE_TEXT &&
	       v[SCHEMA_SQL].type == QUEUE_TEXT;
}

static bool lists_columns(struct slice sql)
{
	size_t name;

	if (!slice_starts_nocase(sql, SLICE(CREATE PREFIX)))
		return false;
	sql = slice_skip(sql, strlen(CREATE PREFIX));
	for (name = 0; name < sql.len && sql.ptr[name] >= 'a' && sql.ptr[name] <= 'z'; name++)
		;
	return slice_starts_nocase(slice_skip(sql, name), SLICE(" ("));
}

/* Returns whether it made one of the tables that were not known yet. */
static bool take_schema(struct sql *memory, const struct queue_row *row)
{
	struct slice sql = row->values[SCHEMA_SQL].bytes;
	struct sqlite3_stmt *st = NULL;
	struct buf text = { 0 };
	bool is_made = false;

	if (!lists_columns(sql))
		return false;
	buf_append_slice(&text, sql);
	buf_append(&text, "", 1);
	if (sql_prepare_one(memory, buf_slice(&text).ptr, &st, NULL) == 0 && st)
		is_made = sql_run(memory, st, NULL) == 0;
	sql_finalize(st);
	buf_done(&text);
	return is_made;
}

static void read_schema(struct sql *memory, struct queue_image *from, unsigned int count)
{
	struct queue_page page = { 0 };
	struct queue_row row;
	unsigned int found = 0;

	for (uint32_t n = 1; n <= queue_image_size(from) && found < count; n++) {
		if (queue_image_use(from, n) != QUEUE_PAGE_LIVE || !queue_page_open(&page, from, n))
			continue;
		while (queue_page_next(&page, &row))
			found += is_schema(&row) && take_schema(memory, &row);
	}
	queue_page_done(&page);
}

static int read_old(struct queue_image *from, struct queue_tables *tables, struct error *err)
{
	struct queue_table old;
	struct sql memory;
	int r = sql_open(&memory, ":memory:", false, err);

	if (r < 0)
		return r;
	read_schema(&memory, from, tables->count);
	for (unsigned int i = 0; i < tables->count && r == 0; i++) {
		r = read_table(&memory, tables->list[i].name, &old, err);
		if (r == 0 && old.count > 0 && old.by_rowid == tables->list[i].by_rowid)
			set_order(&tables->list[i], &old);
	}
	sql_close(&memory);
	return r;
}

int queue_tables_open(struct sql *to, struct queue_image *from, struct queue_tables *ret,
		      struct error *err)
{
	int r;

	*ret = (struct queue_tables){ 0 };
	r = read_new(to, ret, err);
	return r == 0 ? read_old(from, ret, err) : r;
}

void queue_tables_done(struct queue_tables *tables)
{
	for (unsigned int i = 0; i < tables->count; i++)
		sql_finalize(tables->list[i].insert);
	tables->count = 0;
}

struct queue_table *queue_tables_find(struct queue_tables *tables, const char *name)
{
	for (unsigned int i = 0; i < tables->count; i++)
		if (strcmp(tables->list[i].name, name) == 0)
			return &tables->list[i];
	return NULL;
}

/* ---- rows ---- */

/* The key is not stored in its column, which is NULL. */
static bool fits(const struct queue_table *t, unsigned int column, const struct queue_value *value)
{
	const struct queue_table_order *order = &t->old;
	bool is_key = t->key >= 0 && order->target[column] == t->key;

	if (is_key || value->type == QUEUE_NULL)
		return value->type == QUEUE_NULL && (is_key || order->is_nullable[column]);
	return value->type == order->types[column];
}

static bool matches(const struct queue_table *t, const struct queue_row *row)
{
	if (row->has_rowid != t->by_rowid || row->count > t->old.count || row->count < t->old.least)
		return false;
	for (unsigned int i = 0; i < row->count; i++)
		if (!fits(t, i, &row->values[i]))
			return false;
	return true;
}

struct queue_table *queue_tables_match(struct queue_tables *tables, const struct queue_row *row)
{
	for (unsigned int i = 0; i < tables->count; i++)
		if (matches(&tables->list[i], row))
			return &tables->list[i];
	return NULL;
}

int64_t queue_table_number(const struct queue_table *table, const struct queue_row *row,
			   const char *column)
{
	int wanted = find_column(table, column);

	if (wanted == table->key)
		return row->rowid;
	for (unsigned int i = 0; i < row->count; i++)
		if (table->old.target[i] == wanted)
			return row->values[i].number;
	return 0;
}

static void bind_value(struct sqlite3_stmt *st, int parameter, const struct queue_value *value)
{
	switch (value->type) {
	case QUEUE_NULL:
		sql_bind_null(st, parameter);
		break;
	case QUEUE_INTEGER:
		sql_bind_int(st, parameter, value->number);
		break;
	case QUEUE_TEXT:
		sql_bind_text_slice(st, parameter, value->bytes);
		break;
	case QUEUE_BLOB:
		sql_bind_blob(st, parameter, value->bytes);
		break;
	}
}

void queue_table_bind_row(struct queue_table *table, const struct queue_row *row)
{
	queue_table_bind_defaults(table);
	for (unsigned int i = 0; i < row->count; i++)
		if (table->old.target[i] >= 0)
			bind_value(table->insert, table->old.target[i] + 1, &row->values[i]);
	if (table->key >= 0)
		sql_bind_int(table->insert, table->key + 1, row->rowid);
}

void queue_table_bind_defaults(struct queue_table *table)
{
	for (unsigned int i = 0; i < table->count; i++)
		sql_bind_null(table->insert, (int)i + 1);
}

void queue_table_bind(struct queue_table *table, const char *column, int64_t value)
{
	sql_bind_int(table->insert, find_column(table, column) + 1, value);
}

void queue_table_bind_text(struct queue_table *table, const char *column, const char *value)
{
	sql_bind_text(table->insert, find_column(table, column) + 1, value);
}
