/* store_look - the rows that only readers ask for */
#include <errno.h>

#include "queue/private.h"
#include "queue/store_sql.h"

/* The whole table, in its own order: faster than any index that would have to be kept. */
static const char stats_text[] =
	"SELECT message, due_ms, status, next_hop FROM q_recipient WHERE status BETWEEN 0 AND 2"
	" ORDER BY message";
static const char arrived_text[] = "SELECT arrived_ms FROM q_message WHERE id = ?";
static const char history_text[] =
	"SELECT row, time_ms, status, has_tls_policy, verified, resumed, recipient, transport,"
	" next_hop, peer, source, reply, level, mode, protocol, cipher, peer_name, fingerprint,"
	" by_peer"
	" FROM q_ledger WHERE message = ? AND row > ? ORDER BY row";

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

int queue_store_history_next(struct queue_store *s, struct queue_history_row *ret,
			     struct error *err)
{
	struct sqlite3_stmt *st = s->late[STORE_LATE_HISTORY];
	int r = sql_step(&s->sql, st, err);
	int64_t status;

	if (r <= 0)
		return r;
	status = sql_int(st, 2);
	if (status < QUEUE_QUEUED || status > QUEUE_DELETED)
		return error_set(err, -EBADMSG,
				 "queue database: a ledger row has an unknown status");
	*ret = (struct queue_history_row){
		.number = sql_int(st, 0),
		.status = (enum queue_status)status,
		.recipient = sql_text(st, 6),
		.ledger = {
			.time_ms = sql_int(st, 1),
			.has_tls_policy = sql_int(st, 3) != 0,
			.verified = sql_int(st, 4) != 0,
			.resumed = sql_int(st, 5) != 0,
			.transport = sql_text(st, 7),
			.next_hop = sql_text(st, 8),
			.peer = sql_text(st, 9),
			.source = sql_text(st, 10),
			.reply = sql_text(st, 11),
			.level = sql_text(st, 12),
			.mode = sql_text(st, 13),
			.protocol = sql_text(st, 14),
			.cipher = sql_text(st, 15),
			.peer_name = sql_text(st, 16),
			.fingerprint = sql_text(st, 17),
			.by_peer = sql_int(st, 18) != 0,
		},
	};
	return 1;
}

void queue_store_history_end(struct queue_store *s)
{
	sql_reset(s->late[STORE_LATE_HISTORY]);
}
