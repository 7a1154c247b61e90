/*
 * sql - one SQLite connection with its prepared statements
 *
 * Values are always bound, never put into the text. What SQLite reports is
 * translated into negative errno values here and nowhere else: -ENOSPC (disk
 * full), -EUCLEAN (database damaged), -EBUSY, -EEXIST (a constraint),
 * -EROFS, -EACCES, -ENOMEM, and -EIO for the rest.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/slice.h"

struct sqlite3;
struct sqlite3_stmt;

struct sql {
	struct sqlite3 *db;
	struct sqlite3_stmt **statements;
	size_t count;
	int wal_frames; /* in the write-ahead log after the last commit */
};

int sql_open(struct sql *sql, const char *path, bool read_only, struct error *err);
/*
 * For a database that nobody writes and that has no log: needs no file beside
 * it, and so no room on the disk.
 */
int sql_open_still(struct sql *sql, const char *path, struct error *err);
int sql_prepare(struct sql *sql, const char *const *texts, size_t count, struct error *err);
int sql_prepare_one(struct sql *sql, const char *text, struct sqlite3_stmt **ret_statement,
		    struct error *err); /* the caller's, to be finalized before closing */
void sql_finalize(struct sqlite3_stmt *statement); /* NULL is fine */
void sql_close(struct sql *sql);

/* Close without moving the log into the database, which is damaged. */
void sql_abandon(struct sql *sql);

/* Describe what went wrong with the last call; rc is what SQLite returned. */
int sql_error(const struct sql *sql, int rc, struct error *err);

/* Run a text that returns no rows of interest. */
int sql_exec(const struct sql *sql, const char *text, struct error *err);

/* Run a text and give the number in the first column of its first row, 0 if there is none. */
int sql_query_int(const struct sql *sql, const char *text, int64_t *ret, struct error *err);

/* Run a bound statement to its end, and reset it. */
int sql_run(const struct sql *sql, struct sqlite3_stmt *statement, struct error *err);

/*
 * Step: 1 with a row, 0 at the end. The statement is reset unless there is a
 * row; then sql_reset() is the caller's, as an open SELECT keeps a snapshot.
 */
int sql_step(const struct sql *sql, struct sqlite3_stmt *statement, struct error *err);
void sql_reset(struct sqlite3_stmt *statement);

/*
 * Bind; parameters count from 1. What is bound must live until the statement
 * was reset. A text that is NULL is stored as an empty one.
 */
void sql_bind_int(struct sqlite3_stmt *statement, int parameter, int64_t value);
void sql_bind_null(struct sqlite3_stmt *statement, int parameter);
void sql_bind_text(struct sqlite3_stmt *statement, int parameter, const char *text);
void sql_bind_text_slice(struct sqlite3_stmt *statement, int parameter, struct slice text);
void sql_bind_blob(struct sqlite3_stmt *statement, int parameter, struct slice bytes);

/* Columns of the row, counting from 0; slices and texts are valid until the next step or reset. */
int64_t sql_int(struct sqlite3_stmt *statement, int column);
bool sql_is_null(struct sqlite3_stmt *statement, int column);
const char *sql_text(struct sqlite3_stmt *statement, int column); /* never NULL */
struct slice sql_blob(struct sqlite3_stmt *statement, int column);

/* After an error SQLite may have rolled back by itself. */
bool sql_in_transaction(const struct sql *sql);
int sql_changes(const struct sql *sql);

/* Move what it can of the write-ahead log into the database, without waiting for readers. */
int sql_checkpoint(struct sql *sql, struct error *err);

/*
 * Move all of it, and cut the log to nothing unless a reader still looks at
 * it. Waits for nobody: -EBUSY where a reader is in the way of moving.
 */
int sql_renew_log(struct sql *sql, struct error *err);
