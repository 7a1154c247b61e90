/*
 * store_ledger - rows of the ledger, written, read and removed
 *
 * Which columns there are stands in ledger_columns.h alone. Row numbers are
 * given here and not by SQLite, which would begin again with 1 when the last
 * row has gone.
 */
#include <errno.h>
#include <string.h>

#include "queue/chain.h"
#include "queue/ledger_columns.h"
#include "queue/private.h"
#include "queue/store_sql.h"

#define MARK(type, column, field) "?"
#define MARKS			  QUEUE_LEDGER_COLUMNS(MARK, QUEUE_LEDGER_COMMA)
#define READ			  "SELECT " QUEUE_LEDGER_NAMES " FROM q_ledger"

static const char insert_text[] =
	"INSERT INTO q_ledger (" QUEUE_LEDGER_NAMES ", hash) VALUES (" MARKS ", ?)";
static const char history_text[] = READ " WHERE message = ? AND row > ? ORDER BY row";
static const char find_text[] =
	"SELECT min(row) FROM q_ledger WHERE time_ms >= ? AND row & 255 = 0";
static const char block_text[] = READ " WHERE row BETWEEN ?1 AND ?1 + 4095"
				      " AND kind = 0 AND time_ms >= ?2 AND in_clear >= ?3"
				      " ORDER BY row";
static const char sender_text[] =
	READ " WHERE row BETWEEN ?1 AND ?1 + 255 AND sender = ?2 COLLATE NOCASE ORDER BY row";
static const char recipient_text[] =
	READ " WHERE row BETWEEN ?1 AND ?1 + 255 AND recipient = ?2 COLLATE NOCASE ORDER BY row";

static const char deleted_text[] =
	"SELECT m.sender, m.arrived_ms, m.size, m.client_ip, m.hello, m.protocol, m.auth_user,"
	" m.tls_protocol, m.tls_cipher, m.cert_name, m.cert_fingerprint, m.cert_verified,"
	" r.address, r.next_hop"
	" FROM q_message m JOIN q_recipient r ON r.message = m.id WHERE m.id = ? AND r.position = "
	"?";

/* Those in front of a row that has expired have so too, whatever the clock said at the time. */
static const char last_old_text[] =
	"SELECT row, time_ms, hash FROM"
	" (SELECT row, time_ms, hash FROM q_ledger ORDER BY row LIMIT ?)"
	" WHERE time_ms < ? ORDER BY row DESC LIMIT 1";
static const char expire_text[] = "DELETE FROM q_ledger WHERE row <= ?";

static void bind_entry(struct sqlite3_stmt *st, const struct queue_ledger_entry *entry)
{
	for (int i = 0; i < QUEUE_LEDGER_COLUMN_COUNT; i++) {
		const struct queue_ledger_column *column = &queue_ledger_columns[i];

		if (column->type == QUEUE_LEDGER_TEXT)
			sql_bind_text(st, i + 1, queue_ledger_text(entry, column));
		else
			sql_bind_int(st, i + 1, queue_ledger_number(entry, column));
	}
}

int queue_store_ledger_add(struct queue_store *s, struct queue_ledger_entry *entry,
			   struct error *err)
{
	unsigned char hash[QUEUE_LEDGER_HASH_SIZE];
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_INSERT, insert_text, &st, err);

	if (r < 0)
		return r;
	entry->number = s->ledger.head.row + 1;
	queue_chain_entry(&s->chain, s->ledger.head.hash, entry, hash);
	bind_entry(st, entry);
	sql_bind_blob(st, QUEUE_LEDGER_COLUMN_COUNT + 1,
		      slice_of((const char *)hash, sizeof(hash)));
	r = sql_run(&s->sql, st, err);
	if (r < 0)
		return r;
	s->ledger.head.row = entry->number;
	memcpy(s->ledger.head.hash, hash, sizeof(hash));
	return 0;
}

int queue_store_ledger_attempt(struct queue_store *s, const struct queue_message *m,
			       const struct queue_outcome *o, struct error *err)
{
	struct queue_ledger_entry entry = {
		.message = m->id,
		.status = o->status,
		.sender = m->sender,
		.recipient = m->recipients[o->recipient].address,
		.arrived_ms = m->arrived_ms,
		.size = (int64_t)m->size,
		.origin = m->origin,
		.row = *o->ledger,
	};

	return queue_store_ledger_add(s, &entry, err);
}

int queue_store_ledger_deleted(struct queue_store *s, int64_t id, int64_t position, int64_t now_ms,
			       struct error *err)
{
	struct queue_ledger_entry entry;
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_DELETED, deleted_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, id);
	sql_bind_int(st, 2, position);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r;
	entry = (struct queue_ledger_entry){
		.message = id,
		.status = QUEUE_DELETED,
		.sender = sql_text(st, 0),
		.recipient = sql_text(st, 12),
		.arrived_ms = sql_int(st, 1),
		.size = sql_int(st, 2),
		.origin = {
			.client_ip = sql_text(st, 3),
			.hello = sql_text(st, 4),
			.protocol = sql_text(st, 5),
			.auth_user = sql_text(st, 6),
			.tls_protocol = sql_text(st, 7),
			.tls_cipher = sql_text(st, 8),
			.cert_name = sql_text(st, 9),
			.cert_fingerprint = sql_text(st, 10),
			.cert_verified = sql_int(st, 11) != 0,
		},
		.row = {
			.kind = QUEUE_LEDGER_DELETED,
			.time_ms = now_ms,
			.next_hop = sql_text(st, 13),
			.reply = "deleted by the operator",
		},
	};
	r = queue_store_ledger_add(s, &entry, err);
	sql_reset(st);
	return r;
}

int queue_store_ledger_read(struct sqlite3_stmt *st, struct queue_ledger_entry *ret,
			    struct error *err)
{
	for (int i = 0; i < QUEUE_LEDGER_COLUMN_COUNT; i++) {
		const struct queue_ledger_column *column = &queue_ledger_columns[i];

		if (column->type == QUEUE_LEDGER_TEXT)
			queue_ledger_set_text(ret, column, sql_text(st, i));
		else if (queue_ledger_set_number(ret, column, sql_int(st, i)) < 0)
			return error_set(err, -EBADMSG,
					 "queue database: a ledger row has an unknown %s",
					 column->name);
	}
	return 1;
}

int queue_store_history_begin(struct queue_store *s, int64_t id, int64_t after, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_HISTORY, history_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, id);
	sql_bind_int(st, 2, after);
	return 0;
}

int queue_store_history_next(struct queue_store *s, struct queue_ledger_entry *ret,
			     struct error *err)
{
	struct sqlite3_stmt *st = s->late[STORE_LATE_HISTORY];
	int r = sql_step(&s->sql, st, err);

	return r > 0 ? queue_store_ledger_read(st, ret, err) : r;
}

void queue_store_history_end(struct queue_store *s)
{
	sql_reset(s->late[STORE_LATE_HISTORY]);
}

int queue_store_ledger_find(struct queue_store *s, int64_t since_ms, int64_t *ret_row,
			    struct error *err)
{
	struct queue_ledger_ends ends;
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_FIND, find_text, &st, err);

	if (r == 0)
		r = queue_store_ledger_ends(s, &ends, err);
	if (r < 0)
		return r;
	sql_bind_int(st, 1, since_ms);
	r = sql_step(&s->sql, st, err);
	if (r < 0)
		return r;
	if (r > 0 && !sql_is_null(st, 0)) /* it may have begun in the block in front of it */
		*ret_row = MAX(sql_int(st, 0) - QUEUE_LEDGER_BLOCK, 0);
	else
		*ret_row = ends.head.row & ~(int64_t)(QUEUE_LEDGER_BLOCK - 1);
	sql_reset(st);
	return 0;
}

int queue_store_ledger_begin(struct queue_store *s, const struct queue_ledger_query *query,
			     struct error *err)
{
	static const struct {
		enum store_late_statement statement;
		const char *text;
	} queries[] = {
		[QUEUE_LEDGER_ANY] = { STORE_LATE_LEDGER_BLOCK, block_text },
		[QUEUE_LEDGER_SENDER] = { STORE_LATE_LEDGER_SENDER, sender_text },
		[QUEUE_LEDGER_RECIPIENT] = { STORE_LATE_LEDGER_RECIPIENT, recipient_text },
	};
	int r = queue_store_prepare_late(s, queries[query->key].statement, queries[query->key].text,
					 &s->ledger_query, err);

	if (r < 0)
		return r;
	sql_bind_int(s->ledger_query, 1, query->first);
	if (query->key == QUEUE_LEDGER_ANY) {
		sql_bind_int(s->ledger_query, 2, query->since_ms);
		sql_bind_int(s->ledger_query, 3, query->in_clear);
	} else {
		sql_bind_text(s->ledger_query, 2, query->address);
	}
	return 0;
}

int queue_store_ledger_next(struct queue_store *s, struct queue_ledger_entry *ret,
			    struct error *err)
{
	int r = sql_step(&s->sql, s->ledger_query, err);

	return r > 0 ? queue_store_ledger_read(s->ledger_query, ret, err) : r;
}

void queue_store_ledger_end(struct queue_store *s)
{
	sql_reset(s->ledger_query);
}

/* ---- expiry ---- */

/* The last row to go, with its hash and time. 1, or 0: there is none among the first. */
static int find_last_old(struct queue_store *s, int64_t before_ms, int max,
			 struct queue_ledger_ends *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	struct slice hash;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_LAST_OLD, last_old_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, max);
	sql_bind_int(st, 2, before_ms);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r;
	ret->anchor.row = sql_int(st, 0);
	ret->anchor_ms = sql_int(st, 1);
	hash = sql_blob(st, 2);
	memset(ret->anchor.hash, 0, sizeof(ret->anchor.hash));
	if (hash.len == sizeof(ret->anchor.hash)) /* else it is older than the chain, or changed */
		memcpy(ret->anchor.hash, hash.ptr, hash.len);
	sql_reset(st);
	return 1;
}

static int remove_rows(struct queue_store *s, int64_t last, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_EXPIRE, expire_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, last);
	return sql_run(&s->sql, st, err);
}

int queue_store_ledger_expire(struct queue_store *s, int64_t before_ms, int max, bool *ret_more,
			      struct error *err)
{
	struct queue_ledger_ends found = { .anchor_ms = 0 };
	int r = find_last_old(s, before_ms, max, &found, err);

	*ret_more = false;
	if (r <= 0)
		return r;
	r = remove_rows(s, found.anchor.row, err);
	if (r == 0)
		r = queue_store_blocks_expire(s, found.anchor.row, err);
	if (r < 0)
		return r;
	*ret_more = true;
	if (found.anchor.row > s->ledger.anchor.row)
		s->ledger.anchor = found.anchor;
	s->ledger.anchor_ms = found.anchor_ms;
	return 0;
}
