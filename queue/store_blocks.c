/*
 * store_blocks - which addresses there are in which block of the ledger
 *
 * Four bytes of a hash for each sender and recipient of a block, in any order:
 * two kilobytes, which are looked through in no time. A block that has none of
 * these hashes need not be read. One in four million is read in vain. A block of
 * which nothing is noted yet (the last one, mostly) is read.
 */
#include <string.h>
#include <xxhash.h>

#include "queue/private.h"
#include "queue/store_sql.h"

static const char last_text[] = "SELECT max(block) FROM q_ledger_block";
static const char rows_text[] =
	"SELECT sender, recipient FROM q_ledger WHERE row BETWEEN ?1 AND ?1 + 255";
static const char insert_text[] = "INSERT INTO q_ledger_block (block, addresses) VALUES (?, ?)";
static const char load_text[] = "SELECT addresses FROM q_ledger_block WHERE block = ?";
static const char expire_text[] = "DELETE FROM q_ledger_block WHERE block < ?";

static uint32_t hash_address(const char *address)
{
	char lower[512]; /* what is longer counts with its beginning */
	size_t len = 0;

	for (; address[len] && len < sizeof(lower); len++)
		lower[len] = (char)(address[len] >= 'A' && address[len] <= 'Z' ? address[len] | 0x20
									       : address[len]);
	return (uint32_t)XXH3_64bits(lower, len);
}

static int64_t block_of(int64_t row)
{
	return row / QUEUE_LEDGER_BLOCK;
}

static int find_next(struct queue_store *s, int64_t *ret_block, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_BLOCK_LAST, last_text, &st, err);

	if (r == 0)
		r = sql_step(&s->sql, st, err);
	if (r < 0)
		return r;
	*ret_block = block_of(s->ledger.anchor.row);
	if (r > 0 && !sql_is_null(st, 0))
		*ret_block = MAX(*ret_block, sql_int(st, 0) + 1);
	sql_reset(st);
	return 0;
}

static void add_hash(uint32_t *hashes, size_t *count, uint32_t hash)
{
	if (*count < 2 || hashes[*count - 2] != hash) /* often the same sender as before */
		hashes[(*count)++] = hash;
}

static int note_block(struct queue_store *s, int64_t block, struct error *err)
{
	uint32_t hashes[2 * QUEUE_LEDGER_BLOCK];
	struct sqlite3_stmt *rows, *insert;
	size_t count = 0;
	int r = queue_store_prepare_late(s, STORE_LATE_BLOCK_ROWS, rows_text, &rows, err);

	if (r == 0)
		r = queue_store_prepare_late(s, STORE_LATE_BLOCK_INSERT, insert_text, &insert, err);
	if (r < 0)
		return r;
	sql_bind_int(rows, 1, block * QUEUE_LEDGER_BLOCK);
	while ((r = sql_step(&s->sql, rows, err)) > 0 && count + 2 <= ARRAY_SIZE(hashes)) {
		add_hash(hashes, &count, hash_address(sql_text(rows, 0)));
		add_hash(hashes, &count, hash_address(sql_text(rows, 1)));
	}
	sql_reset(rows);
	if (r < 0)
		return r;
	sql_bind_int(insert, 1, block);
	sql_bind_blob(insert, 2, slice_of((const char *)hashes, count * sizeof(hashes[0])));
	return sql_run(&s->sql, insert, err);
}

int queue_store_blocks_note(struct queue_store *s, int max, struct error *err)
{
	int64_t block = 0;
	int count = 0;
	int r = find_next(s, &block, err);

	while (r == 0 && count < max && block < block_of(s->ledger.head.row + 1)) {
		r = note_block(s, block++, err);
		count++;
	}
	return r < 0 ? r : count;
}

int queue_store_block_may_have(struct queue_store *s, int64_t row, const char *address,
			       struct error *err)
{
	uint32_t wanted = hash_address(address), hash;
	struct sqlite3_stmt *st;
	struct slice hashes;
	int r = queue_store_prepare_late(s, STORE_LATE_BLOCK_LOAD, load_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, block_of(row));
	r = sql_step(&s->sql, st, err);
	if (r <= 0)
		return r < 0 ? r : 1;
	r = 0;
	hashes = sql_blob(st, 0);
	for (; hashes.len >= sizeof(hash) && r == 0; hashes = slice_skip(hashes, sizeof(hash))) {
		memcpy(&hash, hashes.ptr, sizeof(hash));
		r = hash == wanted;
	}
	sql_reset(st);
	return r;
}

int queue_store_blocks_expire(struct queue_store *s, int64_t row, struct error *err)
{
	struct sqlite3_stmt *st;
	int r = queue_store_prepare_late(s, STORE_LATE_BLOCK_EXPIRE, expire_text, &st, err);

	if (r < 0)
		return r;
	sql_bind_int(st, 1, block_of(row));
	return sql_run(&s->sql, st, err);
}
