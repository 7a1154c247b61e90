/* load - the reading half of the store; nothing that was read is believed before it was checked */
#include <errno.h>
#include <limits.h>

#include "queue/body.h"
#include "queue/private.h"
#include "queue/store_sql.h"

#define REPLY_CODE_MAX 999
#define NOTIFY_ALL     (SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY)

void queue_store_scan_begin(struct queue_store *s, struct queue_due after)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_SCAN_SAME];

	sql_bind_int(st, 1, after.due_ms);
	sql_bind_int(st, 2, after.id);
	s->scan_after = after;
	s->scan_is_later = false;
}

int queue_store_scan_next(struct queue_store *s, struct queue_due *ret, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_SCAN_SAME];
	int r = 0;

	if (!s->scan_is_later) {
		r = sql_step(&s->sql, st, err);
		if (r == 0) {
			s->scan_is_later = true;
			sql_bind_int(s->sql.statements[STORE_SCAN_LATER], 1, s->scan_after.due_ms);
		}
	}
	if (s->scan_is_later) {
		st = s->sql.statements[STORE_SCAN_LATER];
		r = sql_step(&s->sql, st, err);
	}
	if (r > 0)
		*ret = (struct queue_due){ .due_ms = sql_int(st, 0), .id = sql_int(st, 1) };
	return r;
}

void queue_store_scan_end(struct queue_store *s)
{
	sql_reset(s->sql.statements[STORE_SCAN_SAME]);
	sql_reset(s->sql.statements[STORE_SCAN_LATER]);
}

void queue_store_waiting_begin(struct queue_store *s, int64_t waits_for, int64_t after_id)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_SCAN_WAITING];

	sql_bind_int(st, 1, waits_for);
	sql_bind_int(st, 2, after_id);
}

int queue_store_waiting_next(struct queue_store *s, int64_t *ret_id, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_SCAN_WAITING];
	int r = sql_step(&s->sql, st, err);

	if (r > 0)
		*ret_id = sql_int(st, 0);
	return r;
}

void queue_store_waiting_end(struct queue_store *s)
{
	sql_reset(s->sql.statements[STORE_SCAN_WAITING]);
}

static int set_damaged(struct error *err, const char *what)
{
	return error_set(err, -EBADMSG, "queue database: %s", what);
}

static const char *copy_text(struct queue_message *m, struct sqlite3_stmt *st, int column)
{
	const char *text = sql_text(st, column);

	return text[0] ? arena_strdup(&m->arena, text) : "";
}

static int read_message(struct sqlite3_stmt *st, struct queue_message *m,
			struct queue_stored_body *body, struct error *err)
{
	int64_t size = sql_int(st, 1), returning = sql_int(st, 13), kind = sql_int(st, 14);

	if (sql_is_null(st, 2) || sql_is_null(st, 10)) /* which no row of ours has: all are wrong */
		return error_set(err, -EUCLEAN, "queue database: rows of messages are none");
	if (size < 0)
		return set_damaged(err, "a message has a negative size");
	if (returning < SMTP_RETURN_DEFAULT || returning > SMTP_RETURN_HEADERS)
		return set_damaged(err, "a message has an unknown RET");
	if (kind < QUEUE_MAIL || kind > QUEUE_DOUBLE_BOUNCE)
		return set_damaged(err, "a message is of an unknown kind");
	m->arrived_ms = sql_int(st, 0);
	m->size = (uint64_t)size;
	m->body_8bit = sql_int(st, 4) != 0;
	m->sender = copy_text(m, st, 5);
	m->origin.client_ip = copy_text(m, st, 6);
	m->origin.hello = copy_text(m, st, 7);
	m->origin.protocol = copy_text(m, st, 8);
	m->origin.auth_user = copy_text(m, st, 9);
	m->origin.tls_protocol = copy_text(m, st, 10);
	m->origin.tls_cipher = copy_text(m, st, 11);
	m->smtputf8 = sql_int(st, 12) != 0;
	m->returning = (enum smtp_return)returning;
	m->kind = (enum queue_kind)kind;
	m->envelope_id = copy_text(m, st, 15);
	m->origin.cert_name = copy_text(m, st, 16);
	m->origin.cert_fingerprint = copy_text(m, st, 17);
	m->origin.cert_verified = sql_int(st, 18) != 0;
	m->body_binary = sql_int(st, 19) != 0;
	m->requiretls = sql_int(st, 20) != 0;
	*body = (struct queue_stored_body){
		.size = m->size,
		.checksum = (uint64_t)sql_int(st, 2),
		.in_file = sql_int(st, 3) != 0,
	};
	return 0;
}

static bool is_notify(int64_t notify)
{
	return notify == SMTP_NOTIFY_NEVER || (notify & ~(int64_t)NOTIFY_ALL) == 0;
}

static int read_recipient(struct sqlite3_stmt *st, struct queue_message *m, struct error *err)
{
	int64_t position = sql_int(st, 0), status = sql_int(st, 1);
	int64_t attempts = sql_int(st, 2), reply_code = sql_int(st, 4), notify = sql_int(st, 11);
	struct queue_recipient *r;

	if (position != m->recipient_count)
		return error_set(err, -EUCLEAN, "queue database: a recipient is missing");
	if (status < QUEUE_QUEUED || status > QUEUE_DELETED)
		return set_damaged(err, "a recipient has an unknown status");
	if (attempts < 0 || attempts > INT_MAX || reply_code < 0 || reply_code > REPLY_CODE_MAX)
		return set_damaged(err, "a recipient has impossible numbers");
	if (!is_notify(notify))
		return set_damaged(err, "a recipient has an unknown NOTIFY");

	r = queue_message_add_recipient(m, sql_text(st, 5), sql_text(st, 6));
	r->status = (enum queue_status)status;
	r->attempts = (unsigned int)attempts;
	r->due_ms = sql_int(st, 3);
	r->reply_code = (int)reply_code;
	r->next_hop = copy_text(m, st, 7);
	r->enhanced = copy_text(m, st, 8);
	r->reason = copy_text(m, st, 9);
	r->orcpt = copy_text(m, st, 10);
	r->notify = (unsigned int)notify;
	r->is_warned = sql_int(st, 12) != 0;
	r->is_returning = sql_int(st, 13) != 0;
	r->waits_for = sql_int(st, 14);
	return 0;
}

static int load_recipients(struct queue_store *s, struct queue_message *m, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_RECIPIENTS_LOAD];
	int r;

	sql_bind_int(st, 1, m->id);
	while ((r = sql_step(&s->sql, st, err)) > 0) {
		r = read_recipient(st, m, err);
		if (r < 0)
			break;
	}
	sql_reset(st);
	if (r == 0 && m->recipient_count == 0)
		return error_set(err, -EUCLEAN, "queue database: a message has no recipients");
	return r;
}

int queue_store_load(struct queue_store *s, int64_t id, struct queue_message **ret_message,
		     struct queue_stored_body *ret_body, struct error *err)
{
	CLEANUP(queue_message_freep) struct queue_message *m = NULL;
	struct sqlite3_stmt *st = s->sql.statements[STORE_MESSAGE_LOAD];
	int r;

	sql_bind_int(st, 1, id);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r < 0 ? r : QUEUE_STORE_NOT_FOUND;

	m = queue_message_make(id, 0);
	r = read_message(st, m, ret_body, err);
	sql_reset(st);
	if (r == 0)
		r = load_recipients(s, m, err);
	if (r < 0)
		return r;
	*ret_message = m;
	m = NULL;
	return 0;
}

static int load_memory(struct queue_store *s, const struct queue_bodies *bodies,
		       const struct queue_stored_body *stored, struct queue_message *m,
		       struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_BODY_LOAD];
	struct slice bytes;
	int r;

	sql_bind_int(st, 1, m->id);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r < 0 ? r : error_set(err, -EUCLEAN, "the body is missing");
	bytes = sql_blob(st, 0);
	if (bytes.len != stored->size)
		r = error_set(err, -EBADMSG, "the body is damaged: its size is wrong");
	else
		r = queue_body_load_memory(bodies, m->id, stored->checksum, bytes, &m->body, err);
	sql_reset(st);
	return r;
}

int queue_store_load_body(struct queue_store *s, const struct queue_bodies *bodies,
			  const struct queue_stored_body *stored, struct queue_message *m,
			  struct error *err)
{
	if (stored->in_file)
		return queue_body_load_file(bodies, m->id, stored->size, stored->checksum, &m->body,
					    err);
	return load_memory(s, bodies, stored, m, err);
}

int queue_store_list(struct queue_store *s, int64_t after, int64_t *ids, int max, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_LIST];
	int r, count = 0;

	sql_bind_int(st, 1, after);
	sql_bind_int(st, 2, max);
	while (count < max && (r = sql_step(&s->sql, st, err)) != 0) {
		if (r < 0)
			return r;
		ids[count] = sql_int(st, 0);
		if (ids[count] <= after) { /* or whoever asks for the next ones would never end */
			sql_reset(st);
			return error_set(err, -EUCLEAN, "queue database: ids do not ascend");
		}
		after = ids[count++];
	}
	sql_reset(st);
	return count;
}

int queue_store_has_file(struct queue_store *s, int64_t id, struct error *err)
{
	struct sqlite3_stmt *st = s->sql.statements[STORE_HAS_FILE];
	int r;

	sql_bind_int(st, 1, id);
	r = sql_step(&s->sql, st, err);
	sql_reset(st);
	return r;
}

int queue_store_snapshot_begin(struct queue_store *s, struct error *err)
{
	return sql_run(&s->sql, s->sql.statements[STORE_BEGIN_READ], err);
}

void queue_store_snapshot_end(struct queue_store *s)
{
	sql_run(&s->sql, s->sql.statements[STORE_COMMIT], NULL);
}
