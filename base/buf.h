/*
 * buf - bytes that grow at the end and are consumed from the front
 *
 * A zeroed struct is an empty buffer. Appending aborts the process when
 * memory is out: every buffer that is fed from outside has a limit that its
 * user checks first, so this is never a remote's doing.
 */
#pragma once

#include "base/slice.h"

struct buf {
	char *mem;
	size_t start, end, size; /* the bytes are mem[start..end); size is allocated */
};

void buf_done(struct buf *b); /* frees the memory; b is empty and usable afterwards */

/*
 * The same for secrets: the memory is zeroed first. A buffer that grows may
 * leave copies elsewhere, so reserve enough before the first byte.
 */
void buf_wipe(struct buf *b);

static inline size_t buf_len(const struct buf *b)
{
	return b->end - b->start;
}

static inline struct slice buf_slice(const struct buf *b)
{
	return (struct slice){ b->mem ? b->mem + b->start : NULL, b->end - b->start };
}

/* Room for at least n bytes at the end; write there, then buf_commit() what was used. */
char *buf_reserve(struct buf *b, size_t n);

static inline void buf_commit(struct buf *b, size_t n)
{
	b->end += n;
}

void buf_append(struct buf *b, const void *ptr, size_t len);
void buf_append_slice(struct buf *b, struct slice s);
void buf_append_string(struct buf *b, const char *string);
void buf_printf(struct buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Drop the first n bytes; n must not be more than buf_len(). */
void buf_consume(struct buf *b, size_t n);

/* Drop all bytes, keep the memory. */
void buf_clear(struct buf *b);

/* Give memory back when the buffer is empty and has grown beyond keep bytes. */
void buf_shrink(struct buf *b, size_t keep);

/* The contents as a C string that the caller frees; b is empty afterwards. */
char *buf_steal_string(struct buf *b);
