/*
 * store - transactions, writing, and the counts
 *
 * The counts are kept in a row that each commit writes, so that a start need
 * not count a million messages. A failure rolls all of them back together.
 */
#include "queue/store.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "queue/body.h"
#include "queue/private.h"
#include "queue/schema.h"
#include "queue/store_sql.h"

#define PENDING " status < 3" /* before QUEUE_DELIVERED in enum queue_status */

/* clang-format off */
static const char *const texts[STORE_STATEMENTS] = {
	[STORE_BEGIN] = "BEGIN IMMEDIATE",
	[STORE_BEGIN_READ] = "BEGIN",
	[STORE_COMMIT] = "COMMIT",
	[STORE_ROLLBACK] = "ROLLBACK",
	[STORE_STATE_LOAD] =
		"SELECT ids_mark, messages, recipients, bytes,"
		" (SELECT coalesce(max(id), 0) FROM q_message), ledger_row, ledger_hash,"
		" anchor_row, anchor_hash, anchor_ms FROM q_state",
	[STORE_STATE_SAVE] =
		"UPDATE q_state SET ids_mark = ?, messages = ?, recipients = ?, bytes = ?,"
		" ledger_row = ?, ledger_hash = ?, anchor_row = ?, anchor_hash = ?, anchor_ms = ?",
	[STORE_OLDEST] = "SELECT arrived_ms FROM q_message ORDER BY id LIMIT 1",

	[STORE_MESSAGE_INSERT] =
		"INSERT INTO q_message (id, arrived_ms, due_ms, size, checksum, in_file,"
		" body_8bit, sender, client_ip, hello, protocol, auth_user, tls_protocol,"
		" tls_cipher, smtputf8, dsn_return, kind, envelope_id, cert_name,"
		" cert_fingerprint, cert_verified, body_binary, requiretls)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	[STORE_BODY_INSERT] = "INSERT INTO q_body (message, bytes) VALUES (?, ?)",
	[STORE_RECIPIENT_INSERT] =
		"INSERT INTO q_recipient (message, position, status, attempts, due_ms,"
		" reply_code, address, original, next_hop, enhanced, reason, orcpt, notify,"
		" is_warned, is_returning)"
		" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
	/*
	 * What the operator wanted while the attempt was running stays: a hold, and
	 * that a recipient is returned at once.
	 */
	[STORE_RECIPIENT_UPDATE] =
		"UPDATE q_recipient SET"
		" status = CASE WHEN status = 2 AND ?1 = 1 THEN 2 ELSE ?1 END,"
		" attempts = ?2, due_ms = iif(is_returning, min(due_ms, ?3), ?3),"
		" reply_code = ?4, next_hop = ?5, enhanced = ?6, reason = ?7,"
		" is_warned = is_warned OR ?10, waits_for = ?11"
		" WHERE message = ?8 AND position = ?9 AND" PENDING,
	[STORE_RECIPIENTS_LEFT] =
		"SELECT count(*), min(due_ms) FILTER (WHERE status < 2) FROM q_recipient"
		" WHERE message = ? AND" PENDING,
	[STORE_RECIPIENTS_HOLD] =
		"UPDATE q_recipient SET status = 2, reason = ? WHERE message = ? AND" PENDING,
	[STORE_MESSAGE_DUE] = "UPDATE q_message SET due_ms = ? WHERE id = ?",
	[STORE_MESSAGE_DELETE] = "DELETE FROM q_message WHERE id = ?",
	[STORE_BODY_DELETE] = "DELETE FROM q_body WHERE message = ?",
	[STORE_PENDING_DELETE] = "DELETE FROM q_recipient WHERE message = ? AND" PENDING,
	[STORE_RECIPIENTS_DELETE] = "DELETE FROM q_recipient WHERE message = ?",

	/* Two steps: SQLite would not seek to a pair within many equal due times. */
	[STORE_SCAN_SAME] =
		"SELECT due_ms, id FROM q_message WHERE due_ms = ? AND id > ?"
		" AND due_ms IS NOT NULL ORDER BY id",
	[STORE_SCAN_LATER] =
		"SELECT due_ms, id FROM q_message WHERE due_ms > ? AND due_ms IS NOT NULL"
		" ORDER BY due_ms, id",
	[STORE_SCAN_WAITING] =
		"SELECT DISTINCT message FROM q_recipient WHERE waits_for = ? AND message > ?"
		" AND status = 1 AND waits_for <> 0 ORDER BY message",
	[STORE_MESSAGE_LOAD] =
		"SELECT arrived_ms, size, checksum, in_file, body_8bit, sender, client_ip,"
		" hello, protocol, auth_user, tls_protocol, tls_cipher, smtputf8, dsn_return,"
		" kind, envelope_id, cert_name, cert_fingerprint, cert_verified, body_binary,"
		" requiretls FROM q_message WHERE id = ?",
	[STORE_RECIPIENTS_LOAD] =
		"SELECT position, status, attempts, due_ms, reply_code, address, original,"
		" next_hop, enhanced, reason, orcpt, notify, is_warned, is_returning, waits_for"
		" FROM q_recipient WHERE message = ? ORDER BY position",
	/* Where a page of another table got into this one, something else stands there. */
	[STORE_BODY_LOAD] = "SELECT bytes FROM q_body WHERE message = ?"
			    " AND typeof(bytes) = 'blob'",
	[STORE_LIST] = "SELECT id FROM q_message WHERE id > ? ORDER BY id LIMIT ?",
	[STORE_HAS_FILE] = "SELECT 1 FROM q_message WHERE id = ? AND in_file",
};
/* clang-format on */

static int load_oldest(struct queue_store *s, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_OLDEST];
	int r = sql_step(&s->sql, st, err);

	if (r < 0)
		return r;
	s->counts.oldest_ms = r > 0 ? sql_int(st, 0) : 0;
	sql_reset(st);
	return 0;
}

static struct slice hash_slice(const struct queue_ledger_link *link)
{
	return slice_of((const char *)link->hash, sizeof(link->hash));
}

static int load_state(struct queue_store *s, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_STATE_LOAD];
	int r = sql_step(&s->sql, st, err);
	int64_t last;

	if (r < 0)
		return r;
	if (r == 0)
		return error_set(err, -EUCLEAN, "queue database: its state is missing");
	last = sql_int(st, 4);
	s->ids_mark = MAX(sql_int(st, 0), last < INT64_MAX ? last + 1 : last);
	s->counts.messages = sql_int(st, 1);
	s->counts.recipients = sql_int(st, 2);
	s->counts.bytes = sql_int(st, 3);
	queue_store_ledger_read_ends(st, 5, &s->ledger);
	sql_reset(st);

	r = load_oldest(s, err);
	if (r < 0)
		return r;
	s->committed = s->counts;
	s->committed_ids_mark = s->ids_mark;
	s->committed_ledger = s->ledger;
	return 0;
}

/*
 * Where the root of the due index is another's page its times are no times: nothing
 * would ever be due, and nobody would notice. SQLite tells when an entry has no row.
 */
static int try_due_index(struct queue_store *s, struct error *err)
{
	static const char text[] =
		"SELECT (SELECT checksum FROM q_message WHERE due_ms IS NOT NULL ORDER BY due_ms"
		" LIMIT 1) IS (SELECT checksum FROM q_message WHERE due_ms IS NOT NULL ORDER BY"
		" due_ms DESC LIMIT 1)";
	int64_t is_one = 0;

	return sql_query_int(&s->sql, text, &is_one, err);
}

static bool has_log(const char *path)
{
	char log[4096];
	struct stat st;
	int len = snprintf(log, sizeof(log), "%s-wal", path);

	return len < 0 || (size_t)len >= sizeof(log) || stat(log, &st) < 0 ? errno != ENOENT
									   : st.st_size > 0;
}

static int start_store(struct queue_store *s, bool read_only, struct error *err)
{
	int r = read_only ? queue_schema_check(&s->sql, err) : queue_schema_prepare(&s->sql, err);
	if (r == 0)
		r = sql_prepare(&s->sql, texts, STORE_STATEMENTS, err);
	if (r == 0)
		r = load_state(s, err);
	if (r == 0 && !read_only)
		r = try_due_index(s, err);
	return r;
}

int queue_store_open(const char *path, bool read_only, struct queue_store **ret_store,
		     struct error *err)
{
	CLEANUP(queue_store_closep) struct queue_store *s = memory_new(sizeof(*s));
	int r;

	*s = (struct queue_store){ 0 };
	r = sql_open(&s->sql, path, read_only, err);
	if (r < 0)
		return r;
	r = start_store(s, read_only, err);
	if (r == -ENOSPC && read_only && !has_log(path)) {
		/* To share the database takes a file, and there is no room for it. */
		sql_close(&s->sql);
		r = sql_open_still(&s->sql, path, err);
		if (r == 0)
			r = start_store(s, true, err);
	}
	if (r < 0) {
		error_prefix(err, "%s", path);
		return r;
	}
	*ret_store = s;
	s = NULL;
	return 0;
}

int queue_store_prepare_late(struct queue_store *s, enum store_late_statement which,
			     const char *text, struct sqlite3_stmt **ret, struct error *err)
{
	int r = s->late[which] ? 0 : sql_prepare_one(&s->sql, text, &s->late[which], err);

	*ret = s->late[which];
	return r;
}

static void finalize_late(struct queue_store *s)
{
	for (size_t i = 0; i < STORE_LATE_STATEMENTS; i++)
		sql_finalize(s->late[i]);
}

void queue_store_close(struct queue_store *s)
{
	if (!s)
		return;
	finalize_late(s);
	sql_close(&s->sql);
	buf_done(&s->chain);
	free(s);
}

void queue_store_abandon(struct queue_store *s)
{
	if (!s)
		return;
	finalize_late(s);
	sql_abandon(&s->sql);
	free(s);
}

int queue_store_begin(struct queue_store *s, struct error *err)
{
	return sql_run(&s->sql, s->sql.statements[STORE_BEGIN], err);
}

static int save_state(struct queue_store *s, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_STATE_SAVE];

	sql_bind_int(st, 1, s->ids_mark);
	sql_bind_int(st, 2, s->counts.messages);
	sql_bind_int(st, 3, s->counts.recipients);
	sql_bind_int(st, 4, s->counts.bytes);
	sql_bind_int(st, 5, s->ledger.head.row);
	sql_bind_blob(st, 6, hash_slice(&s->ledger.head));
	sql_bind_int(st, 7, s->ledger.anchor.row);
	sql_bind_blob(st, 8, hash_slice(&s->ledger.anchor));
	sql_bind_int(st, 9, s->ledger.anchor_ms);
	return sql_run(&s->sql, st, err);
}

int queue_store_commit(struct queue_store *s, struct error *err)
{
	int r = load_oldest(s, err);

	if (r == 0)
		r = save_state(s, err);
	if (r == 0)
		r = sql_run(&s->sql, s->sql.statements[STORE_COMMIT], err);
	if (r < 0)
		return r;
	s->committed = s->counts;
	s->committed_ids_mark = s->ids_mark;
	s->committed_ledger = s->ledger;
	return 0;
}

void queue_store_rollback(struct queue_store *s)
{
	/* Should it fail there is nothing left to do: the next begin would say so. */
	if (sql_in_transaction(&s->sql))
		sql_run(&s->sql, s->sql.statements[STORE_ROLLBACK], NULL);
	s->counts = s->committed;
	s->ids_mark = s->committed_ids_mark;
	s->ledger = s->committed_ledger;
}

struct queue_counts queue_store_counts(const struct queue_store *s)
{
	return s->committed;
}

struct queue_ledger_link queue_store_ledger_head(const struct queue_store *s)
{
	return s->committed_ledger.head;
}

int64_t queue_store_ids_mark(const struct queue_store *s)
{
	return s->committed_ids_mark;
}

void queue_store_set_ids_mark(struct queue_store *s, int64_t mark)
{
	s->ids_mark = mark;
}

static int insert_message(struct queue_store *s, const struct queue_message *m, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_MESSAGE_INSERT];
	int64_t due_ms = queue_message_due_ms(m);

	sql_bind_int(st, 1, m->id);
	sql_bind_int(st, 2, m->arrived_ms);
	if (due_ms == QUEUE_NEVER)
		sql_bind_null(st, 3);
	else
		sql_bind_int(st, 3, due_ms);
	sql_bind_int(st, 4, (int64_t)m->body->size);
	sql_bind_int(st, 5, (int64_t)m->body->checksum);
	sql_bind_int(st, 6, m->body->in_file);
	sql_bind_int(st, 7, m->body_8bit);
	sql_bind_text(st, 8, m->sender);
	sql_bind_text(st, 9, m->origin.client_ip);
	sql_bind_text(st, 10, m->origin.hello);
	sql_bind_text(st, 11, m->origin.protocol);
	sql_bind_text(st, 12, m->origin.auth_user);
	sql_bind_text(st, 13, m->origin.tls_protocol);
	sql_bind_text(st, 14, m->origin.tls_cipher);
	sql_bind_int(st, 15, m->smtputf8);
	sql_bind_int(st, 16, m->returning);
	sql_bind_int(st, 17, m->kind);
	sql_bind_text(st, 18, m->envelope_id);
	sql_bind_text(st, 19, m->origin.cert_name);
	sql_bind_text(st, 20, m->origin.cert_fingerprint);
	sql_bind_int(st, 21, m->origin.cert_verified);
	sql_bind_int(st, 22, m->body_binary);
	sql_bind_int(st, 23, m->requiretls);
	return sql_run(&s->sql, st, err);
}

static int insert_body(struct queue_store *s, const struct queue_message *m, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_BODY_INSERT];

	if (m->body->in_file)
		return 0;
	sql_bind_int(st, 1, m->id);
	sql_bind_blob(st, 2, queue_body_memory(m->body));
	return sql_run(&s->sql, st, err);
}

static int insert_recipient(struct queue_store *s, const struct queue_message *m,
			    unsigned int position, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_RECIPIENT_INSERT];
	const struct queue_recipient *r = &m->recipients[position];

	sql_bind_int(st, 1, m->id);
	sql_bind_int(st, 2, position);
	sql_bind_int(st, 3, r->status);
	sql_bind_int(st, 4, r->attempts);
	sql_bind_int(st, 5, r->due_ms);
	sql_bind_int(st, 6, r->reply_code);
	sql_bind_text(st, 7, r->address);
	sql_bind_text(st, 8, r->original);
	sql_bind_text(st, 9, r->next_hop);
	sql_bind_text(st, 10, r->enhanced);
	sql_bind_text(st, 11, r->reason);
	sql_bind_text(st, 12, r->orcpt);
	sql_bind_int(st, 13, r->notify);
	sql_bind_int(st, 14, r->is_warned);
	sql_bind_int(st, 15, r->is_returning);
	return sql_run(&s->sql, st, err);
}

int queue_store_append(struct queue_store *s, const struct queue_message *m, struct error *err)
{
	int64_t pending = 0;
	int r;

	assert(m->body && m->body->is_finished);
	r = insert_message(s, m, err);
	if (r == 0)
		r = insert_body(s, m, err);
	for (unsigned int i = 0; i < m->recipient_count && r == 0; i++) {
		r = insert_recipient(s, m, i, err);
		pending += queue_status_is_pending(m->recipients[i].status);
	}
	if (r < 0)
		return r;
	assert(pending > 0); /* else it would never leave */

	s->counts.messages++;
	s->counts.recipients += pending;
	s->counts.bytes += (int64_t)m->body->size;
	return 0;
}

static int update_recipient(struct queue_store *s, const struct queue_message *m,
			    const struct queue_outcome *o, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_RECIPIENT_UPDATE];
	int r;

	sql_bind_int(st, 1, o->status);
	sql_bind_int(st, 2, o->attempts);
	sql_bind_int(st, 3, o->due_ms);
	sql_bind_int(st, 4, o->reply_code);
	sql_bind_text(st, 5, o->next_hop);
	sql_bind_text(st, 6, o->enhanced);
	sql_bind_text(st, 7, o->reason);
	sql_bind_int(st, 8, m->id);
	sql_bind_int(st, 9, o->recipient);
	sql_bind_int(st, 10, o->is_warned);
	sql_bind_int(st, 11, o->waits_for);
	r = sql_run(&s->sql, st, err);
	if (r == 0 && !queue_status_is_pending(o->status))
		s->counts.recipients -= sql_changes(&s->sql);
	return r;
}

static int run_with_id(struct queue_store *s, enum store_statement statement, int64_t id,
		       struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[statement];

	sql_bind_int(st, 1, id);
	return sql_run(&s->sql, st, err);
}

/* Recipients that are pending are off the count already, and perhaps all of them gone. */
static int remove_rows(struct queue_store *s, int64_t id, int64_t size, bool in_file,
		       bool has_recipients, struct error *err)
{
	int r = run_with_id(s, STORE_MESSAGE_DELETE, id, err);

	if (r < 0)
		return r;
	if (sql_changes(&s->sql) == 0)
		return 0; /* an operator was faster */
	s->counts.messages--;
	s->counts.bytes -= size;

	if (has_recipients)
		r = run_with_id(s, STORE_RECIPIENTS_DELETE, id, err);
	if (r == 0 && !in_file)
		r = run_with_id(s, STORE_BODY_DELETE, id, err);
	return r;
}

int queue_store_remove(struct queue_store *s, int64_t id, int64_t size, bool in_file,
		       struct error *err)
{
	return remove_rows(s, id, size, in_file, true, err);
}

static int remove_message(struct queue_store *s, const struct queue_message *m, bool has_recipients,
			  struct error *err)
{
	return remove_rows(s, m->id, (int64_t)m->body->size, m->body->in_file, has_recipients, err);
}

static int count_left(struct queue_store *s, int64_t id, int64_t *ret_left, int64_t *ret_due_ms,
		      struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_RECIPIENTS_LEFT];
	int r;

	sql_bind_int(st, 1, id);
	r = sql_step(&s->sql, st, err);
	if (r < 0)
		return r;
	*ret_left = sql_int(st, 0);
	*ret_due_ms = sql_is_null(st, 1) ? QUEUE_NEVER : sql_int(st, 1);
	sql_reset(st);
	return 0;
}

int queue_store_set_due(struct queue_store *s, int64_t id, int64_t due_ms, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_MESSAGE_DUE];

	if (due_ms == QUEUE_NEVER)
		sql_bind_null(st, 1);
	else
		sql_bind_int(st, 1, due_ms);
	sql_bind_int(st, 2, id);
	return sql_run(&s->sql, st, err);
}

/*
 * All recipients at once, each once, and all done: the usual case needs no
 * update before the delete.
 */
static bool finishes_all(const struct queue_record *record)
{
	if (record->outcome_count != record->message->recipient_count)
		return false;
	for (unsigned int i = 0; i < record->outcome_count; i++)
		if (record->outcomes[i].recipient != i ||
		    queue_status_is_pending(record->outcomes[i].status))
			return false;
	return true;
}

/*
 * All that were pending when the message was claimed are done now: the rows
 * that still are pending go at once, and count.
 */
static int record_all(struct queue_store *s, const struct queue_record *record,
		      struct queue_store_recorded *recorded, struct error *err)
{
	const struct queue_message *m = record->message;
	int r = run_with_id(s, STORE_PENDING_DELETE, m->id, err);
	int found = sql_changes(&s->sql);

	if (r < 0)
		return r;
	s->counts.recipients -= found;
	recorded->is_void = found == 0;
	recorded->removed = true;
	return remove_message(s, m, (unsigned int)found < m->recipient_count, err);
}

/* Some of them: what is left is asked from the rows, which know of all attempts. */
static int record_some(struct queue_store *s, const struct queue_record *record,
		       struct queue_store_recorded *recorded, struct error *err)
{
	const struct queue_message *m = record->message;
	int64_t left = 0;
	int found = 0, r = 0;

	for (size_t i = 0; i < record->outcome_count && r == 0; i++) {
		r = update_recipient(s, m, &record->outcomes[i], err);
		found += sql_changes(&s->sql);
	}
	if (r == 0)
		r = count_left(s, m->id, &left, &recorded->due_ms, err);
	if (r < 0)
		return r;
	recorded->is_void = found == 0;
	recorded->removed = left == 0;
	if (left > 0)
		return queue_store_set_due(s, m->id, recorded->due_ms, err);
	return remove_message(s, m, true, err);
}

int queue_store_record(struct queue_store *s, const struct queue_record *record,
		       struct queue_store_recorded *ret, struct error *err)
{
	const struct queue_message *m = record->message;
	struct queue_store_recorded recorded = { .due_ms = QUEUE_NEVER };
	int r = 0;

	for (size_t i = 0; i < record->outcome_count && r == 0; i++) {
		assert(record->outcomes[i].recipient < m->recipient_count);
		if (record->outcomes[i].ledger)
			r = queue_store_ledger_attempt(s, m, &record->outcomes[i], err);
	}
	if (r == 0)
		r = finishes_all(record) ? record_all(s, record, &recorded, err)
					 : record_some(s, record, &recorded, err);
	if (r == 0)
		*ret = recorded;
	return r;
}

int queue_store_hold(struct queue_store *s, int64_t id, const char *reason, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_RECIPIENTS_HOLD];
	int r;

	sql_bind_text(st, 1, reason);
	sql_bind_int(st, 2, id);
	r = sql_run(&s->sql, st, err);
	if (r == 0)
		r = queue_store_set_due(s, id, QUEUE_NEVER, err);
	if (r == 0 && sql_changes(&s->sql) == 0)
		r = QUEUE_STORE_NOT_FOUND;
	return r;
}

int queue_store_log_frames(const struct queue_store *s)
{
	return s->sql.wal_frames;
}

int queue_store_checkpoint(struct queue_store *s, struct error *err)
{
	return sql_checkpoint(&s->sql, err);
}

int queue_store_shrink(struct queue_store *s, int64_t pages_kept, int pages_max, bool *ret_more,
		       struct error *err)
{
	char text[64];
	int64_t pages = 0;
	int r = sql_query_int(&s->sql, "PRAGMA freelist_count", &pages, err);

	*ret_more = r == 0 && pages > pages_kept;
	if (!*ret_more)
		return r;
	snprintf(text, sizeof(text), "PRAGMA incremental_vacuum(%d)", pages_max);
	return sql_exec(&s->sql, text, err);
}

void queue_store_limit_log(struct queue_store *s, int64_t bytes)
{
	char text[64];

	snprintf(text, sizeof(text), "PRAGMA journal_size_limit = %lld", (long long)bytes);
	sql_exec(&s->sql, text, NULL); /* a setting in memory: cannot fail */
}

int queue_store_renew_log(struct queue_store *s, struct error *err)
{
	return sql_renew_log(&s->sql, err);
}
