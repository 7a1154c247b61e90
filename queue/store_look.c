/* store_look - the rows that only readers ask for */
#include "queue/private.h"
#include "queue/store_sql.h"

/* The whole table, in its own order: faster than any index that would have to be kept. */
static const char stats_text[] =
	"SELECT message, due_ms, status, next_hop FROM q_recipient WHERE status BETWEEN 0 AND 2"
	" ORDER BY message";
static const char arrived_text[] = "SELECT arrived_ms FROM q_message WHERE id = ?";
static const char reason_text[] = "SELECT enhanced, reason FROM q_recipient"
				  " WHERE message = ? AND status = ? AND next_hop = ? LIMIT 1";

int queue_store_stats_begin(struct queue_store *s, struct error *err)
{
	struct sqlite3_stmt *st;

	return queue_store_prepare_late(s, STORE_LATE_STATS, stats_text, &st, err);
}

int queue_store_stats_next(struct queue_store *s, struct queue_stats_row *ret, struct error *err)
{
	struct sqlite3_stmt *st = s->late[STORE_LATE_STATS];
	int r = sql_step(&s->sql, st, err);

	if (r > 0)
		*ret = (struct queue_stats_row){
			.id = sql_int(st, 0),
			.due_ms = sql_int(st, 1),
			.status = (enum queue_status)sql_int(st, 2),
			.next_hop = sql_text(st, 3),
		};
	return r;
}

void queue_store_stats_end(struct queue_store *s)
{
	sql_reset(s->late[STORE_LATE_STATS]);
}

int queue_store_arrived(struct queue_store *s, int64_t id, int64_t *ret_ms, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_ARRIVED, arrived_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, id);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r < 0 ? r : QUEUE_STORE_NOT_FOUND;
	*ret_ms = sql_int(st, 0);
	sql_reset(st);
	return 0;
}

int queue_store_reason(struct queue_store *s, int64_t id, enum queue_status status,
		       const char *next_hop, struct arena *arena, const char **ret_reason,
		       struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_REASON, reason_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, id);
	sql_bind_int(st, 2, status);
	sql_bind_text(st, 3, next_hop);
	r = sql_step(&s->sql, st, err);
	*ret_reason = "";
	if (r > 0 && sql_text(st, 1)[0])
		*ret_reason = arena_printf(arena, "%s %s", sql_text(st, 0), sql_text(st, 1));
	sql_reset(st);
	return r < 0 ? r : 0;
}
