/*
 * chain - the hashes that hold the ledger together
 *
 * The hash of a row is SHA-256 over the hash of the row in front of it and its
 * own columns, so no row can be changed, taken out or put in without changing
 * all hashes behind it. Each column that is not 0 or empty counts with its
 * number (ledger_columns.h): a byte; then a number with eight bytes, the
 * highest first, or a text with the four bytes of its length in front. Before
 * the first row there are 32 zeroes.
 */
#pragma once

#include "base/buf.h"
#include "queue/ledger.h"

/* What is to be hashed: begin, then all columns in order, then end, which empties the buffer. */
void queue_chain_begin(struct buf *bytes, const unsigned char previous[QUEUE_LEDGER_HASH_SIZE]);
void queue_chain_number(struct buf *bytes, unsigned int column, int64_t value);
void queue_chain_text(struct buf *bytes, unsigned int column, struct slice text);
void queue_chain_end(struct buf *bytes, unsigned char ret[QUEUE_LEDGER_HASH_SIZE]);

/* All of it, for an entry. */
void queue_chain_entry(struct buf *bytes, const unsigned char previous[QUEUE_LEDGER_HASH_SIZE],
		       const struct queue_ledger_entry *entry,
		       unsigned char ret[QUEUE_LEDGER_HASH_SIZE]);
