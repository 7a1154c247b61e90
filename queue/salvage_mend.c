/*
 * salvage_mend - the rules, one after the other
 *
 * 1. A recipient of whom the ledger has a final outcome is done: an old copy
 *    of its row came back. So is a message that has nothing pending, of which
 *    the ledger has such an outcome, and a part of which is gone as well.
 * 2. A message that has lost its own row gets one, with the sender that the
 *    ledger knows. Its recipients are held: nobody can say any more whether
 *    the body is what it was.
 * 3. Where a recipient is missing, or may be, one is put whose address is
 *    LOST_ADDRESS, and held. It keeps the message while the others are
 *    delivered, and bounced it tells the sender.
 * 4. What has lost its body is held.
 * 5. Due times, counts and marks are worked out anew.
 */
#include "queue/salvage_mend.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/macros.h"
#include "base/memory.h"
#include "queue/ids.h"
#include "queue/queue.h"

#define PIECE	     65536
#define YEAR_US	     (INT64_C(366) * 86400 * 1000000)
#define LOST_ADDRESS "lost-recipient@damaged.invalid" /* RFC 2606 section 2: nobody has it */
#define HELD_REASON  "a part of this message was lost with a damaged database"
#define LOST_REASON  "this recipient was lost with a damaged database, if there was one"
#define FINAL	     "status BETWEEN 3 AND 5"
#define PENDING	     "status < 3"
#define PRESENT                                                                                    \
	"(SELECT id FROM q_message UNION SELECT message FROM q_body UNION "                        \
	"SELECT message FROM q_recipient)"

static const char *const before[] = {
	/* A status that is none says nothing about what is done. */
	"UPDATE q_recipient SET status = 2, reason = '" HELD_REASON "' WHERE status NOT BETWEEN 0 "
	"AND 5",
	/* Numbers that nobody can reckon with. A body that has another size is found damaged. */
	"UPDATE q_message SET size = 0 WHERE size NOT BETWEEN 0 AND 1 << 40",
	"UPDATE q_state SET ledger_row = 0, anchor_row = 0"
	" WHERE ledger_row NOT BETWEEN 0 AND 1 << 60 OR anchor_row NOT BETWEEN 0 AND ledger_row",

	"UPDATE q_recipient AS r SET status = (SELECT max(status) FROM q_ledger AS l WHERE"
	" l.message = r.message AND l.recipient = r.address)"
	" WHERE r." PENDING " AND r.message IN (SELECT message FROM q_ledger WHERE " FINAL ")"
	" AND (SELECT count(*) FROM q_ledger AS l WHERE l.message = r.message"
	" AND l.recipient = r.address AND l." FINAL ")"
	" >= (SELECT count(*) FROM q_recipient AS s WHERE s.message = r.message"
	" AND s.address = r.address)",

	"CREATE TEMP TABLE done AS SELECT id FROM " PRESENT " AS p"
	" WHERE NOT EXISTS (SELECT 1 FROM q_recipient WHERE message = p.id AND " PENDING ")"
	" AND EXISTS (SELECT 1 FROM q_ledger WHERE message = p.id AND " FINAL ")"
	" AND (id IN (SELECT id FROM uncertain)"
	" OR NOT EXISTS (SELECT 1 FROM q_message WHERE id = p.id)"
	" OR (NOT EXISTS (SELECT 1 FROM q_body WHERE message = p.id)"
	" AND (SELECT in_file FROM q_message WHERE id = p.id) = 0))",
	"DELETE FROM q_message WHERE id IN (SELECT id FROM done)",
	"DELETE FROM q_body WHERE message IN (SELECT id FROM done)",
	"DELETE FROM q_recipient WHERE message IN (SELECT id FROM done)",
};

static const char *const after[] = {
	"UPDATE q_message SET due_ms = (SELECT min(due_ms) FROM q_recipient"
	" WHERE message = id AND status < 2)",
	"UPDATE q_state SET"
	" messages = (SELECT count(*) FROM q_message),"
	" recipients = (SELECT count(*) FROM q_recipient WHERE " PENDING "),"
	" bytes = (SELECT coalesce(sum(size), 0) FROM q_message)",
};

static int run_all(struct queue_mend *m, const char *const *texts, size_t count, struct error *err)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		r = sql_exec(m->sql, texts[i], err);
	return r;
}

static void note_held(struct queue_mend *m, int64_t id)
{
	buf_append(&m->result->held, &id, sizeof(id));
}

static int list_ids(struct queue_mend *m, const char *text, struct buf *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = sql_prepare_one(m->sql, text, &st, err);

	if (r < 0)
		return r;
	while ((r = sql_step(m->sql, st, err)) > 0) {
		int64_t id = sql_int(st, 0);

		buf_append(ret, &id, sizeof(id));
	}
	sql_finalize(st);
	return r;
}

static bool take_id(struct buf *ids, int64_t *ret)
{
	if (buf_len(ids) == 0)
		return false;
	memcpy(ret, buf_slice(ids).ptr, sizeof(*ret));
	buf_consume(ids, sizeof(*ret));
	return true;
}

static int hold(struct queue_mend *m, int64_t id, struct error *err)
{
	char text[192];

	note_held(m, id);
	snprintf(text, sizeof(text),
		 "UPDATE q_recipient SET status = 2, reason = '" HELD_REASON "'"
		 " WHERE message = %lld AND " PENDING,
		 (long long)id);
	return sql_exec(m->sql, text, err);
}

static int hold_all(struct queue_mend *m, const char *which, struct error *err)
{
	struct buf ids = { 0 };
	int64_t id;
	int r = list_ids(m, which, &ids, err);

	while (r == 0 && take_id(&ids, &id))
		r = hold(m, id, err);
	buf_done(&ids);
	return r;
}

/* ---- messages without a row ---- */

struct measure {
	uint64_t size, checksum;
	bool in_file;
};

static void measure_file(const struct queue_bodies *bodies, int64_t id, struct measure *ret)
{
	CLEANUP(close_fdp) int fd = queue_bodies_open_file(bodies, id, NULL);
	XXH3_state_t *state;
	char *piece;
	ssize_t n;

	if (fd < 0)
		return;
	state = XXH3_createState();
	piece = memory_new(PIECE);
	XXH3_64bits_reset(state);
	while ((n = read(fd, piece, PIECE)) > 0) {
		XXH3_64bits_update(state, piece, (size_t)n);
		ret->size += (uint64_t)n;
	}
	ret->in_file = true;
	ret->checksum = XXH3_64bits_digest(state);
	XXH3_freeState(state);
	free(piece);
}

/* Size and checksum of a body as it is. */
static int measure(struct queue_mend *m, int64_t id, struct measure *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	struct slice bytes;
	int r = sql_prepare_one(m->sql, "SELECT bytes FROM q_body WHERE message = ?", &st, err);

	*ret = (struct measure){ 0 };
	if (r < 0)
		return r;
	sql_bind_int(st, 1, id);
	r = sql_step(m->sql, st, err);
	if (r > 0) {
		bytes = sql_blob(st, 0);
		ret->size = bytes.len;
		ret->checksum = XXH3_64bits(bytes.ptr, bytes.len);
	} else if (r == 0) {
		measure_file(m->bodies, id, ret);
	}
	sql_finalize(st);
	return MIN(r, 0);
}

/* An id is about the time when the message came, in microseconds. */
static int add_message(struct queue_mend *m, struct sqlite3_stmt *sender, int64_t id,
		       struct error *err)
{
	struct queue_table *table = queue_tables_find(m->tables, "q_message");
	struct measure body;
	int r = measure(m, id, &body, err);

	if (r < 0)
		return r;
	sql_bind_int(sender, 1, id);
	r = sql_step(m->sql, sender, err);
	if (r < 0)
		return r;
	queue_table_bind_defaults(table);
	queue_table_bind(table, "id", id);
	queue_table_bind(table, "arrived_ms", MIN(id / 1000, m->now_ms));
	queue_table_bind(table, "size", (int64_t)body.size);
	queue_table_bind(table, "checksum", (int64_t)body.checksum);
	queue_table_bind(table, "in_file", body.in_file);
	queue_table_bind_text(table, "sender", r > 0 ? sql_text(sender, 0) : "");
	r = sql_run(m->sql, table->insert, err);
	sql_reset(sender);
	return r;
}

static int add_messages(struct queue_mend *m, struct error *err)
{
	struct sqlite3_stmt *sender = NULL;
	struct buf ids = { 0 };
	int64_t id;
	int r = list_ids(m, "SELECT id FROM " PRESENT " WHERE id NOT IN (SELECT id FROM q_message)",
			 &ids, err);

	if (r == 0)
		r = sql_prepare_one(m->sql, "SELECT sender FROM q_ledger WHERE message = ? LIMIT 1",
				    &sender, err);
	while (r == 0 && take_id(&ids, &id)) {
		r = add_message(m, sender, id, err);
		if (r == 0)
			r = hold(m, id, err);
	}
	sql_finalize(sender);
	buf_done(&ids);
	return r;
}

/* ---- recipients that are missing ---- */

struct missing {
	int64_t message, position;
};

static void note_missing(struct queue_mend *m, struct buf *ret, int64_t message, int64_t position)
{
	struct missing missing = { message, position };

	buf_append(ret, &missing, sizeof(missing));
	note_held(m, message);
}

/* The end of a message: one more where nothing would be left to do, or where more may have been. */
static void end_message(struct queue_mend *m, struct buf *ret, int64_t id, int64_t next,
			bool is_pending)
{
	struct slice doubtful = buf_slice(&m->doubtful);
	int64_t first = INT64_MAX;

	while (doubtful.len >= sizeof(first)) {
		memcpy(&first, doubtful.ptr, sizeof(first));
		if (first >= id)
			break;
		doubtful = slice_skip(doubtful, sizeof(first));
	}
	buf_consume(&m->doubtful, buf_len(&m->doubtful) - doubtful.len);
	if (!is_pending || (doubtful.len > 0 && first == id))
		note_missing(m, ret, id, next);
}

/* Doubtful messages are in the order of ids, as these are. */
static int find_missing(struct queue_mend *m, struct sqlite3_stmt *st, struct buf *ret,
			struct error *err)
{
	int64_t id = 0, next = 0;
	bool is_pending = true;
	int r;

	while ((r = sql_step(m->sql, st, err)) > 0) {
		if (sql_int(st, 0) != id) {
			end_message(m, ret, id, next, is_pending);
			id = sql_int(st, 0);
			next = 0;
			is_pending = false;
		}
		if (sql_is_null(st, 1))
			continue; /* it has no recipient at all */
		is_pending |= sql_int(st, 2) < QUEUE_DELIVERED;
		for (; next < sql_int(st, 1); next++) {
			note_missing(m, ret, id, next);
			is_pending = true;
		}
		next++;
	}
	end_message(m, ret, id, next, is_pending);
	return r;
}

static int add_recipient(struct queue_mend *m, struct missing missing, struct error *err)
{
	struct queue_table *table = queue_tables_find(m->tables, "q_recipient");

	queue_table_bind_defaults(table);
	queue_table_bind(table, "message", missing.message);
	queue_table_bind(table, "position", missing.position);
	queue_table_bind(table, "status", QUEUE_HELD);
	queue_table_bind_text(table, "address", LOST_ADDRESS);
	queue_table_bind_text(table, "original", LOST_ADDRESS);
	queue_table_bind_text(table, "reason", LOST_REASON);
	return sql_run(m->sql, table->insert, err);
}

static int add_recipients(struct queue_mend *m, struct error *err)
{
	struct sqlite3_stmt *st;
	struct missing missing;
	struct buf list = { 0 };
	int r = sql_prepare_one(m->sql,
				"SELECT m.id, r.position, r.status FROM q_message AS m"
				" LEFT JOIN q_recipient AS r ON r.message = m.id"
				" ORDER BY m.id, r.position",
				&st, err);

	if (r < 0)
		return r;
	r = find_missing(m, st, &list, err);
	sql_finalize(st);
	for (struct slice s = buf_slice(&list); r == 0 && s.len > 0;
	     s = slice_skip(s, sizeof(missing))) {
		memcpy(&missing, s.ptr, sizeof(missing));
		r = add_recipient(m, missing, err);
	}
	buf_done(&list);
	return r;
}

/* ---- ids ---- */

/* The old mark counts if it is one that can have been. */
static int set_mark(struct queue_mend *m, struct error *err)
{
	int64_t mark = 0, last = 0, most;
	char text[96];
	int r = sql_query_int(m->sql, "SELECT ids_mark FROM q_state", &mark, err);

	if (r == 0)
		r = sql_query_int(m->sql,
				  "SELECT max((SELECT coalesce(max(id), 0) FROM q_message),"
				  " (SELECT coalesce(max(message), 0) FROM q_ledger))",
				  &last, err);
	if (r < 0)
		return r;
	last = MIN(last, QUEUE_MEND_KEY_MAX);
	most = MAX(last, m->now_ms < INT64_MAX / 2000 ? m->now_ms * 1000 : 0) + YEAR_US;
	if (mark <= last || mark > most)
		mark = last + 1 + QUEUE_IDS_BLOCK; /* a mark is no further ahead of what is used */
	snprintf(text, sizeof(text), "UPDATE q_state SET ids_mark = %lld",
		 (long long)MAX(mark, m->ids_mark));
	return sql_exec(m->sql, text, err);
}

int queue_mend(struct queue_mend *m, struct error *err)
{
	int r = run_all(m, before, ARRAY_SIZE(before), err);

	if (r == 0)
		r = add_messages(m, err);
	if (r == 0)
		r = add_recipients(m, err);
	if (r == 0) /* bodies in files are looked for when they are read */
		r = hold_all(m,
			     "SELECT id FROM q_message WHERE in_file = 0"
			     " AND id NOT IN (SELECT message FROM q_body)",
			     err);
	if (r == 0)
		r = set_mark(m, err);
	return r == 0 ? run_all(m, after, ARRAY_SIZE(after), err) : r;
}
