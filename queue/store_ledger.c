/*
 * store_ledger - rows of the ledger, written and read
 *
 * Which columns there are stands in ledger_columns.h alone.
 */
#include <errno.h>
#include <stdio.h>

#include "queue/ledger_columns.h"
#include "queue/private.h"
#include "queue/store_sql.h"

#define MARK(type, column, field) "?"
#define MARKS			  QUEUE_LEDGER_COLUMNS(MARK, QUEUE_LEDGER_COMMA)
#define READ			  "SELECT " QUEUE_LEDGER_NAMES " FROM q_ledger"

static const char insert_text[] =
	"INSERT INTO q_ledger (" QUEUE_LEDGER_NAMES ") VALUES (" MARKS ")";
static const char history_text[] = READ " WHERE message = ? AND row > ? ORDER BY row";

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
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_INSERT, insert_text, &st, err);

	if (r < 0)
		return r;
	entry->number = s->ledger.row + 1;
	bind_entry(st, entry);
	r = sql_run(&s->sql, st, err);
	if (r == 0)
		s->ledger.row = entry->number;
	return r;
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

static int read_entry(struct sqlite3_stmt *st, struct queue_ledger_entry *ret, struct error *err)
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

	return r > 0 ? read_entry(st, ret, err) : r;
}

void queue_store_history_end(struct queue_store *s)
{
	sql_reset(s->late[STORE_LATE_HISTORY]);
}
