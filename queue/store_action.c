/*
 * store_action - the rows of what operators do
 *
 * Recipients that are pending are read in the order of their messages, and
 * changed one by one by their keys, after the reading has stopped: so what is
 * read never depends on what was just changed, and memory stays flat.
 */
#include "queue/private.h"
#include "queue/store_sql.h"

/* CROSS: the order of the tables is the order of the loops. */
static const char pending_text[] =
	"SELECT m.id, m.arrived_ms, m.due_ms, m.size, m.in_file, m.sender, r.position, r.status,"
	" r.attempts, r.due_ms, r.is_returning, r.address, r.next_hop"
	" FROM q_message m CROSS JOIN q_recipient r ON r.message = m.id"
	" WHERE m.id BETWEEN ? AND ? AND r.status < 3 ORDER BY m.id, r.position";

static const char change_text[] = "UPDATE q_recipient SET status = ?, due_ms = ?, is_returning = ?"
				  " WHERE message = ? AND position = ?";

/* What makes no sense waits for the operator, and it is he who asks. */
static enum queue_status status_of(int64_t number)
{
	return number == QUEUE_QUEUED || number == QUEUE_DEFERRED ? (enum queue_status)number
								  : QUEUE_HELD;
}

int queue_store_pending_begin(struct queue_store *s, int64_t first_id, int64_t last_id,
			      struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_PENDING, pending_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, first_id);
	sql_bind_int(st, 2, last_id);
	return 0;
}

int queue_store_pending_next(struct queue_store *s, struct queue_pending *ret, struct error *err)
{
	struct sqlite3_stmt *st = s->late[STORE_LATE_PENDING];
	int r = sql_step(&s->sql, st, err);

	if (r <= 0)
		return r;
	*ret = (struct queue_pending){
		.id = sql_int(st, 0),
		.arrived_ms = sql_int(st, 1),
		.message_due_ms = sql_is_null(st, 2) ? QUEUE_NEVER : sql_int(st, 2),
		.size = sql_int(st, 3),
		.in_file = sql_int(st, 4) != 0,
		.sender = sql_text(st, 5),
		.position = sql_int(st, 6),
		.status = status_of(sql_int(st, 7)),
		.attempts = sql_int(st, 8),
		.due_ms = sql_int(st, 9),
		.is_returning = sql_int(st, 10) != 0,
		.address = sql_text(st, 11),
		.next_hop = sql_text(st, 12),
	};
	return 1;
}

void queue_store_pending_end(struct queue_store *s)
{
	sql_reset(s->late[STORE_LATE_PENDING]);
}

int queue_store_change(struct queue_store *s, const struct queue_pending *p, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_CHANGE, change_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, p->status);
	sql_bind_int(st, 2, p->due_ms);
	sql_bind_int(st, 3, p->is_returning);
	sql_bind_int(st, 4, p->id);
	sql_bind_int(st, 5, p->position);
	r = sql_run(&s->sql, st, err);
	if (r == 0 && !queue_status_is_pending(p->status))
		s->counts.recipients -= sql_changes(&s->sql);
	return r;
}
