/*
 * sql - see sql.h
 *
 * A failed bind leaves its parameter NULL, which every column of ours
 * refuses, so it shows when the statement runs.
 */
#include "queue/sql.h"

#include <errno.h>
#include <limits.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/memory.h"
#include "queue/bodies.h"

#define BUSY_TIMEOUT_MS 5000 /* somebody recovers the log after a crash; nobody else ever locks */

/*
 * The system's own word on a failed read, write or open. SQLite keeps it only
 * for some failures (not for those of COMMIT), so errno is asked as well; it
 * is cleared before each call.
 */
static int system_errno(const struct sql *sql, int rc)
{
	if ((rc & 0xff) != SQLITE_IOERR && (rc & 0xff) != SQLITE_CANTOPEN)
		return 0;
	return errno > 0 || !sql->db ? errno : sqlite3_system_errno(sql->db);
}

static int translate(int rc, int number)
{
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_TOOBIG: /* nothing of ours is: it was read so */
		return -EUCLEAN;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return -EBUSY;
	case SQLITE_CONSTRAINT:
		return -EEXIST;
	case SQLITE_READONLY:
		return -EROFS;
	case SQLITE_PERM:
		return -EACCES;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_CANTOPEN:
		return number > 0 ? queue_errno(number) : -EIO;
	case SQLITE_IOERR:
		return number > 0 && queue_errno(number) == -ENOSPC ? -ENOSPC : -EIO;
	default:
		return -EIO;
	}
}

int sql_error(const struct sql *sql, int rc, struct error *err)
{
	int number = system_errno(sql, rc);

	return error_set(err, translate(rc, number), "queue database: %s (%d)%s%s",
			 sql->db ? sqlite3_errmsg(sql->db) : sqlite3_errstr(rc),
			 sql->db ? sqlite3_extended_errcode(sql->db) : rc, number > 0 ? ": " : "",
			 number > 0 ? strerror(number) : "");
}

/* Our texts are right: where one is not understood, the schema is not what it was. */
static int text_error(const struct sql *sql, int rc, struct error *err)
{
	int r = sql_error(sql, rc, err);

	return (rc & 0xff) == SQLITE_ERROR ? -EUCLEAN : r;
}

static int note_wal_frames(void *arg, struct sqlite3 *db, const char *name, int frames)
{
	struct sql *sql = arg;

	(void)db;
	(void)name;
	sql->wal_frames = frames;
	return SQLITE_OK;
}

/* One thread at a time uses the connection: it needs no mutex of its own. */
static int open_connection(struct sql *sql, const char *path, int flags, struct error *err)
{
	int rc, r;

	*sql = (struct sql){ 0 };
	errno = 0;
	rc = sqlite3_open_v2(path, &sql->db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
			     NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_busy_timeout(sql->db, BUSY_TIMEOUT_MS);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(sql->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(sql->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (rc != SQLITE_OK) {
		r = sql_error(sql, rc, err);
		error_prefix(err, "%s", path);
		sql_close(sql);
		return r;
	}
	return 0;
}

int sql_open(struct sql *sql, const char *path, bool read_only, struct error *err)
{
	int r = open_connection(sql, path, read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE,
				err);

	if (r == 0 && !read_only)
		sqlite3_wal_hook(sql->db, note_wal_frames, sql);
	return r;
}

int sql_open_still(struct sql *sql, const char *path, struct error *err)
{
	struct buf uri = { 0 };
	int r;

	buf_append_string(&uri, "file:");
	for (const char *c = path; *c; c++)
		buf_printf(&uri, strchr("%?#", *c) ? "%%%02X" : "%c", (unsigned char)*c);
	buf_append(&uri, "?immutable=1", sizeof("?immutable=1"));
	r = open_connection(sql, buf_slice(&uri).ptr, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, err);
	buf_done(&uri);
	return r;
}

int sql_prepare_one(struct sql *sql, const char *text, struct sqlite3_stmt **ret_statement,
		    struct error *err)
{
	int rc;

	errno = 0;
	rc = sqlite3_prepare_v3(sql->db, text, -1, SQLITE_PREPARE_PERSISTENT, ret_statement, NULL);
	return rc == SQLITE_OK ? 0 : text_error(sql, rc, err);
}

void sql_finalize(struct sqlite3_stmt *statement)
{
	sqlite3_finalize(statement);
}

int sql_prepare(struct sql *sql, const char *const *texts, size_t count, struct error *err)
{
	int r;

	sql->statements = memory_new(count * sizeof(*sql->statements));
	memset(sql->statements, 0, count * sizeof(*sql->statements));
	sql->count = count;
	for (size_t i = 0; i < count; i++) {
		r = sql_prepare_one(sql, texts[i], &sql->statements[i], err);
		if (r < 0)
			return r;
	}
	return 0;
}

void sql_close(struct sql *sql)
{
	for (size_t i = 0; i < sql->count; i++)
		sqlite3_finalize(sql->statements[i]);
	free(sql->statements);
	sqlite3_close(sql->db);
	*sql = (struct sql){ 0 };
}

void sql_abandon(struct sql *sql)
{
	if (sql->db)
		sqlite3_db_config(sql->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sql_close(sql);
}

int sql_exec(const struct sql *sql, const char *text, struct error *err)
{
	int rc;

	errno = 0;
	rc = sqlite3_exec(sql->db, text, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : text_error(sql, rc, err);
}

int sql_query_int(const struct sql *sql, const char *text, int64_t *ret, struct error *err)
{
	struct sqlite3_stmt *statement = NULL;
	int64_t value = 0;
	int rc, r = 0;

	errno = 0;
	rc = sqlite3_prepare_v2(sql->db, text, -1, &statement, NULL);
	if (rc != SQLITE_OK)
		return text_error(sql, rc, err);
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		value = sqlite3_column_int64(statement, 0);
	else if (rc != SQLITE_DONE)
		r = sql_error(sql, rc, err);
	sqlite3_finalize(statement);
	if (r == 0)
		*ret = value;
	return r;
}

int sql_run(const struct sql *sql, struct sqlite3_stmt *statement, struct error *err)
{
	int rc, r = 0;

	errno = 0;
	do {
		rc = sqlite3_step(statement);
	} while (rc == SQLITE_ROW);
	if (rc != SQLITE_DONE)
		r = sql_error(sql, rc, err);
	sqlite3_reset(statement);
	return r;
}

int sql_step(const struct sql *sql, struct sqlite3_stmt *statement, struct error *err)
{
	int rc, r = 0;

	errno = 0;
	rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		return 1;
	if (rc != SQLITE_DONE)
		r = sql_error(sql, rc, err);
	sqlite3_reset(statement);
	return r;
}

void sql_reset(struct sqlite3_stmt *statement)
{
	sqlite3_reset(statement);
}

void sql_bind_int(struct sqlite3_stmt *statement, int parameter, int64_t value)
{
	sqlite3_bind_int64(statement, parameter, value);
}

void sql_bind_null(struct sqlite3_stmt *statement, int parameter)
{
	sqlite3_bind_null(statement, parameter);
}

void sql_bind_text(struct sqlite3_stmt *statement, int parameter, const char *text)
{
	sqlite3_bind_text(statement, parameter, text ? text : "", -1, SQLITE_STATIC);
}

void sql_bind_text_slice(struct sqlite3_stmt *statement, int parameter, struct slice text)
{
	sqlite3_bind_text64(statement, parameter, text.len ? text.ptr : "", text.len, SQLITE_STATIC,
			    SQLITE_UTF8);
}

void sql_bind_blob(struct sqlite3_stmt *statement, int parameter, struct slice bytes)
{
	/* A NULL pointer would bind NULL instead of no bytes. */
	sqlite3_bind_blob64(statement, parameter, bytes.len ? bytes.ptr : "", bytes.len,
			    SQLITE_STATIC);
}

int64_t sql_int(struct sqlite3_stmt *statement, int column)
{
	return sqlite3_column_int64(statement, column);
}

bool sql_is_null(struct sqlite3_stmt *statement, int column)
{
	return sqlite3_column_type(statement, column) == SQLITE_NULL;
}

const char *sql_text(struct sqlite3_stmt *statement, int column)
{
	const unsigned char *text = sqlite3_column_text(statement, column);

	return text ? (const char *)text : "";
}

struct slice sql_blob(struct sqlite3_stmt *statement, int column)
{
	const void *ptr = sqlite3_column_blob(statement, column);

	return slice_of(ptr, (size_t)sqlite3_column_bytes(statement, column));
}

bool sql_in_transaction(const struct sql *sql)
{
	return !sqlite3_get_autocommit(sql->db);
}

int sql_changes(const struct sql *sql)
{
	return sqlite3_changes(sql->db);
}

int sql_checkpoint(struct sql *sql, struct error *err)
{
	int frames = 0, done = 0;
	int rc =
		sqlite3_wal_checkpoint_v2(sql->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &done);

	if (rc == SQLITE_BUSY) /* a reader recovers or checkpoints: the next one will do */
		return 0;
	if (rc != SQLITE_OK)
		return sql_error(sql, rc, err);
	if (frames == done)
		sql->wal_frames = 0;
	return 0;
}

int sql_renew_log(struct sql *sql, struct error *err)
{
	int frames = 0, done = 0, rc;

	errno = 0;
	sqlite3_busy_timeout(sql->db, 0);
	rc = sqlite3_wal_checkpoint_v2(sql->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, &frames, &done);
	sqlite3_busy_timeout(sql->db, BUSY_TIMEOUT_MS);
	if (rc == SQLITE_BUSY && frames == done && frames >= 0)
		rc = SQLITE_OK;
	if (rc != SQLITE_OK)
		return sql_error(sql, rc, err);
	sql->wal_frames = 0;
	return 0;
}
