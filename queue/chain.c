/*
 * chain - see chain.h
 *
 * The digest is wolfCrypt's, which the server carries for TLS anyway. The
 * bytes are put together first, as one long update is faster than many.
 */
#include "queue/chain.h"

#include <assert.h>

#include <wolfssl/options.h>
#include <wolfssl/wolfcrypt/sha256.h>

#include "queue/ledger_columns.h"

static void put_number(unsigned char *at, uint64_t value, size_t size)
{
	for (size_t i = 0; i < size; i++)
		at[i] = (unsigned char)(value >> (8 * (size - 1 - i)));
}

void queue_chain_begin(struct buf *bytes, const unsigned char previous[QUEUE_LEDGER_HASH_SIZE])
{
	buf_clear(bytes);
	buf_append(bytes, previous, QUEUE_LEDGER_HASH_SIZE);
}

void queue_chain_number(struct buf *bytes, unsigned int column, int64_t value)
{
	unsigned char piece[1 + 8] = { (unsigned char)column };

	if (value == 0)
		return;
	put_number(piece + 1, (uint64_t)value, 8);
	buf_append(bytes, piece, sizeof(piece));
}

void queue_chain_text(struct buf *bytes, unsigned int column, struct slice text)
{
	unsigned char piece[1 + 4] = { (unsigned char)column };

	if (text.len == 0)
		return;
	put_number(piece + 1, text.len, 4);
	buf_append(bytes, piece, sizeof(piece));
	buf_append_slice(bytes, text);
}

void queue_chain_end(struct buf *bytes, unsigned char ret[QUEUE_LEDGER_HASH_SIZE])
{
	struct slice all = buf_slice(bytes);
	wc_Sha256 sha;
	int r;

	r = wc_InitSha256(&sha);
	if (r == 0)
		r = wc_Sha256Update(&sha, (const unsigned char *)all.ptr, (word32)all.len);
	if (r == 0)
		r = wc_Sha256Final(&sha, ret);
	wc_Sha256Free(&sha);
	assert(r == 0); /* it has nothing that could fail */
	buf_clear(bytes);
}

void queue_chain_entry(struct buf *bytes, const unsigned char previous[QUEUE_LEDGER_HASH_SIZE],
		       const struct queue_ledger_entry *entry,
		       unsigned char ret[QUEUE_LEDGER_HASH_SIZE])
{
	queue_chain_begin(bytes, previous);
	for (unsigned int i = 0; i < QUEUE_LEDGER_COLUMN_COUNT; i++) {
		const struct queue_ledger_column *column = &queue_ledger_columns[i];

		if (column->type == QUEUE_LEDGER_TEXT)
			queue_chain_text(bytes, i, slice_from(queue_ledger_text(entry, column)));
		else
			queue_chain_number(bytes, i, queue_ledger_number(entry, column));
	}
	queue_chain_end(bytes, ret);
}
