/*
 * store_chain - whether the ledger's rows still are what they were
 *
 * Rows are hashed as they are in the database, whatever is in them: a text
 * with its bytes, and not up to a NUL.
 *
 * Where a damaged database was mended, rows may be missing, and others may not
 * be what they were. For each place where the chain does not hold any more
 * there is then a record at the end, with the two rows that it lies between and
 * the hash that the second would have if it followed the first (the bridge). So
 * nothing can be changed there afterwards either. Rows that are lost at the
 * end have the record itself behind them.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "queue/chain.h"
#include "queue/ledger_columns.h"
#include "queue/private.h"
#include "queue/store_sql.h"

#define READ	    "SELECT " QUEUE_LEDGER_NAMES ", hash FROM q_ledger"
#define COLUMN_HASH QUEUE_LEDGER_COLUMN_COUNT
#define BRIDGE_SIZE (7 + 2 * QUEUE_LEDGER_HASH_SIZE + 1) /* "sha256:HEX" */
#define MEND_ROWS   4096

static const char ends_text[] =
	"SELECT ledger_row, ledger_hash, anchor_row, anchor_hash, anchor_ms FROM q_state";
static const char walk_text[] = READ " WHERE row > ? ORDER BY row LIMIT ?";
static const char count_text[] = "SELECT count(*) FROM q_ledger WHERE row <= ?";
static const char gap_text[] = READ " WHERE kind = 3 AND arrived_ms = ? AND size = ?"
				    " AND fingerprint = ?";

/* One that is no hash is that of no row: whoever looks at the chain will find it. */
static void read_link(struct sqlite3_stmt *st, int column, struct queue_ledger_link *ret)
{
	struct slice hash = sql_blob(st, column + 1);

	ret->row = sql_int(st, column);
	memset(ret->hash, 0, sizeof(ret->hash));
	if (hash.len == sizeof(ret->hash))
		memcpy(ret->hash, hash.ptr, hash.len);
}

void queue_store_ledger_read_ends(struct sqlite3_stmt *st, int column,
				  struct queue_ledger_ends *ret)
{
	read_link(st, column, &ret->head);
	read_link(st, column + 2, &ret->anchor);
	ret->anchor_ms = sql_int(st, column + 4);
}

int queue_store_ledger_ends(struct queue_store *s, struct queue_ledger_ends *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_ENDS, ends_text, &st, err);

	if (r == 0)
		r = sql_step(&s->sql, st, err);
	if (r == 0)
		return error_set(err, -EBADMSG, "queue database: its state is missing");
	if (r < 0)
		return r;
	queue_store_ledger_read_ends(st, 0, ret);
	sql_reset(st);
	return 0;
}

/* ---- following the chain ---- */

static void hash_row(struct queue_store *s, struct sqlite3_stmt *st,
		     const unsigned char previous[QUEUE_LEDGER_HASH_SIZE],
		     unsigned char ret[QUEUE_LEDGER_HASH_SIZE])
{
	queue_chain_begin(&s->chain, previous);
	for (unsigned int i = 0; i < QUEUE_LEDGER_COLUMN_COUNT; i++) {
		if (queue_ledger_columns[i].type == QUEUE_LEDGER_TEXT)
			queue_chain_text(&s->chain, i, sql_blob(st, (int)i));
		else
			queue_chain_number(&s->chain, i, sql_int(st, (int)i));
	}
	queue_chain_end(&s->chain, ret);
}

/* Whether the row is the record of the gap that it lies behind. */
static bool is_record_of(struct sqlite3_stmt *st, const struct queue_ledger_break *gap)
{
	struct queue_ledger_entry entry = { .number = 0 };

	return queue_store_ledger_read(st, &entry, NULL) > 0 &&
	       entry.row.kind == QUEUE_LEDGER_GAP && entry.arrived_ms == gap->before &&
	       entry.size == gap->after;
}

static int follow(struct queue_store *s, struct sqlite3_stmt *st, struct queue_ledger_link *at,
		  int (*broken)(void *arg, const struct queue_ledger_break *gap), void *arg)
{
	struct slice stored = sql_blob(st, COLUMN_HASH);
	struct queue_ledger_break gap = { .before = at->row, .after = sql_int(st, 0) };
	bool is_same;
	int r = 0;

	hash_row(s, st, at->hash, gap.bridge);
	is_same = stored.len == sizeof(gap.bridge) &&
		  memcmp(stored.ptr, gap.bridge, sizeof(gap.bridge)) == 0;
	if (!is_same || gap.after != gap.before + 1) {
		gap.is_gap = is_same && is_record_of(st, &gap);
		r = broken(arg, &gap);
	}
	if (r == 0)
		read_link(st, COLUMN_HASH - 1, at);
	at->row = gap.after;
	return r;
}

int queue_store_ledger_walk(struct queue_store *s, struct queue_ledger_link *at, int max,
			    int (*broken)(void *arg, const struct queue_ledger_break *gap),
			    void *arg, struct error *err)
{
	struct sqlite3_stmt *st;
	int count = 0;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_WALK, walk_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, at->row);
	sql_bind_int(st, 2, max);
	while ((r = sql_step(&s->sql, st, err)) > 0) {
		count++;
		r = follow(s, st, at, broken, arg);
		if (r != 0)
			break;
	}
	sql_reset(st);
	return r == 0 && count == max ? QUEUE_STORE_MORE : r;
}

int queue_store_ledger_link(struct queue_store *s, int64_t row, struct queue_ledger_link *ret,
			    struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_WALK, walk_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, row - 1);
	sql_bind_int(st, 2, 1);
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r;
	r = sql_int(st, 0) == row;
	read_link(st, COLUMN_HASH - 1, ret);
	ret->row = row;
	sql_reset(st);
	return r;
}

int queue_store_ledger_count(struct queue_store *s, int64_t last, int64_t *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_COUNT, count_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, last);
	r = sql_step(&s->sql, st, err);
	if (r > 0)
		*ret = sql_int(st, 0);
	sql_reset(st);
	return MIN(r, 0);
}

/* ---- gaps ---- */

static void name_bridge(const struct queue_ledger_break *gap, char ret[BRIDGE_SIZE])
{
	struct buf text = { 0 };

	buf_append_string(&text, "sha256:");
	for (size_t i = 0; i < sizeof(gap->bridge); i++)
		buf_printf(&text, "%02x", gap->bridge[i]);
	memcpy(ret, buf_slice(&text).ptr, BRIDGE_SIZE - 1);
	ret[BRIDGE_SIZE - 1] = '\0';
	buf_done(&text);
}

int queue_store_ledger_gap(struct queue_store *s, const struct queue_ledger_break *gap,
			   struct queue_ledger_entry *ret, struct error *err)
{
	struct sqlite3_stmt *st;
	char bridge[BRIDGE_SIZE] = "";
	int r = queue_store_prepare_late(s, STORE_LATE_LEDGER_GAP, gap_text, &st, err);

	if (r < 0)
		return r;
	sql_reset(st);
	if (!gap->is_gap)
		name_bridge(gap, bridge);
	sql_bind_int(st, 1, gap->before);
	sql_bind_int(st, 2, gap->after);
	sql_bind_text(st, 3, bridge);
	r = sql_step(&s->sql, st, err);
	return r > 0 ? queue_store_ledger_read(st, ret, err) : r;
}

/* ---- mending ---- */

struct mending {
	struct queue_store *store;
	struct buf gaps; /* struct queue_ledger_break */
	struct error *err;
};

static int note_gap(void *arg, const struct queue_ledger_break *gap)
{
	struct queue_ledger_entry known;
	struct mending *m = arg;
	int r = queue_store_ledger_gap(m->store, gap, &known, m->err);

	if (r == 0)
		buf_append(&m->gaps, gap, sizeof(*gap));
	return MIN(r, 0);
}

static int add_gap(struct queue_store *s, const struct queue_ledger_break *gap, int64_t now_ms,
		   struct error *err)
{
	struct queue_ledger_entry entry = {
		.arrived_ms = gap->before,
		.size = gap->after,
		.row = { .kind = QUEUE_LEDGER_GAP, .time_ms = now_ms },
	};
	char bridge[BRIDGE_SIZE], text[128];

	if (gap->after == gap->before + 1)
		snprintf(text, sizeof(text),
			 "row %lld or the one in front of it was lost with a damaged database",
			 (long long)gap->after);
	else
		snprintf(text, sizeof(text), "rows %lld to %lld were lost with a damaged database",
			 (long long)gap->before + 1, (long long)gap->after - 1);
	name_bridge(gap, bridge);
	entry.row.reply = text;
	if (!gap->is_gap)
		entry.row.fingerprint = bridge;
	return queue_store_ledger_add(s, &entry, err);
}

/* Where nobody knows where it began: in front of the first row there is. */
static int guess_anchor(struct queue_store *s, struct error *err)
{
	int64_t first = 0;
	int r = sql_query_int(&s->sql, "SELECT min(row) FROM q_ledger", &first, err);

	s->ledger = (struct queue_ledger_ends){ .anchor.row = first > 0 ? first - 1 : 0 };
	return r;
}

/* What is behind the last row that was found. */
static int mend_end(struct mending *m, const struct queue_ledger_link *last, int64_t now_ms)
{
	struct queue_ledger_break gap = { .before = last->row, .is_gap = true };
	struct queue_store *s = m->store;

	gap.after = MAX(s->ledger.head.row, last->row) + 1;
	s->ledger.head = *last;
	if (gap.after == last->row + 1)
		return 0;
	s->ledger.head.row = gap.after - 1;
	return add_gap(s, &gap, now_ms, m->err);
}

int queue_store_ledger_mend(struct queue_store *s, const struct queue_ledger_ends *ends,
			    int64_t now_ms, struct error *err)
{
	struct mending m = { .store = s, .err = err };
	struct queue_ledger_link at;
	struct queue_ledger_break gap;
	int r = 0;

	if (ends)
		s->ledger = *ends;
	else
		r = guess_anchor(s, err);
	at = s->ledger.anchor;
	while (r == 0 && (r = queue_store_ledger_walk(s, &at, MEND_ROWS, note_gap, &m, err)) ==
				 QUEUE_STORE_MORE)
		r = 0;
	if (r == 0)
		r = mend_end(&m, &at, now_ms);
	while (r == 0 && buf_len(&m.gaps) > 0) {
		memcpy(&gap, buf_slice(&m.gaps).ptr, sizeof(gap));
		buf_consume(&m.gaps, sizeof(gap));
		r = add_gap(s, &gap, now_ms, err);
	}
	buf_done(&m.gaps);
	return r;
}
