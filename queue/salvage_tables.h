/*
 * salvage_tables - to which table a row belongs, and the way into the new database
 *
 * A row is known by the number and the types of its columns, which no two
 * tables share, and not by the page where it stands: so it is found wherever
 * damage has left it. The order of columns is that of the old schema, which a
 * queue brought up from an older format has differently; if that cannot be
 * read it is taken to be ours.
 */
#pragma once

#include "queue/salvage_page.h"
#include "queue/sql.h"

#define QUEUE_TABLES_MAX 8

struct queue_table_column {
	char name[32];
	char fallback[96]; /* an SQL literal, for what an older row does not have */
	enum queue_value_type type;
	bool is_nullable, has_default;
};

struct queue_table {
	char name[32];
	bool by_rowid;
	int key; /* the column that is the rowid; -1: none */
	unsigned int count;
	struct queue_table_column columns[QUEUE_COLUMNS_MAX];
	unsigned int least;	     /* columns that every row has */
	struct sqlite3_stmt *insert; /* into the new database; parameters are columns, from 1 on */
	struct queue_table_order {
		unsigned int count, least;
		enum queue_value_type types[QUEUE_COLUMNS_MAX];
		bool is_nullable[QUEUE_COLUMNS_MAX];
		int target[QUEUE_COLUMNS_MAX]; /* the column of ours; -1: there is none any more */
	} old;
};

struct queue_tables {
	struct queue_table list[QUEUE_TABLES_MAX];
	unsigned int count;
};

/* Those of the database that is open as to. *ret is released by queue_tables_done(). */
int queue_tables_open(struct sql *to, struct queue_image *from, struct queue_tables *ret,
		      struct error *err);
void queue_tables_done(struct queue_tables *tables);

struct queue_table *queue_tables_find(struct queue_tables *tables, const char *name);

/* The table of a row; NULL: none, so it is of an index, or makes no sense. */
struct queue_table *queue_tables_match(struct queue_tables *tables, const struct queue_row *row);

/* The integer in a column of a row, by the column's name. */
int64_t queue_table_number(const struct queue_table *table, const struct queue_row *row,
			   const char *column);

/* Bind a row, or nothing but defaults, to table->insert; what was bound must live until it ran. */
void queue_table_bind_row(struct queue_table *table, const struct queue_row *row);
void queue_table_bind_defaults(struct queue_table *table);
/* And one of its columns. */
void queue_table_bind(struct queue_table *table, const char *column, int64_t value);
void queue_table_bind_text(struct queue_table *table, const char *column, const char *value);
