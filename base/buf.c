/*
 * buf - one block of memory; the bytes slide towards its end and are moved
 * back to its front when that is cheaper than growing
 *
 * Bytes move only when at least as many have been consumed since they last
 * did, and memory at least doubles, so each byte is copied a bounded number
 * of times however the buffer is used.
 */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

#define SIZE_MINIMUM 256

void buf_done(struct buf *b)
{
	free(b->mem);
	*b = (struct buf){ 0 };
}

void buf_wipe(struct buf *b)
{
	if (b->mem)
		explicit_bzero(b->mem, b->size);
	buf_done(b);
}

static void make_room(struct buf *b, size_t n)
{
	size_t len = buf_len(b), size;
	char *mem;

	if (b->start > 0 && b->start >= len && b->size - len >= n) {
		memcpy(b->mem, b->mem + b->start, len); /* no overlap: start >= len */
		b->start = 0;
		b->end = len;
		return;
	}

	assert(n <= SIZE_MAX / 4 && len <= SIZE_MAX / 4);
	size = MAX(MAX(b->size * 2, len + n), SIZE_MINIMUM);
	if (b->start == 0) {
		b->mem = memory_grow(b->mem, size);
	} else {
		mem = memory_new(size);
		memcpy(mem, b->mem + b->start, len);
		free(b->mem);
		b->mem = mem;
		b->start = 0;
		b->end = len;
	}
	b->size = size;
}

char *buf_reserve(struct buf *b, size_t n)
{
	if (b->size - b->end < n || !b->mem)
		make_room(b, n);
	return b->mem + b->end;
}

void buf_append(struct buf *b, const void *ptr, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(b, len), ptr, len);
	b->end += len;
}

void buf_append_slice(struct buf *b, struct slice s)
{
	buf_append(b, s.ptr, s.len);
}

void buf_append_string(struct buf *b, const char *string)
{
	buf_append(b, string, strlen(string));
}

void buf_printf(struct buf *b, const char *format, ...)
{
	char *end = buf_reserve(b, 128);
	size_t room = b->size - b->end;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(end, room, format, args);
	va_end(args);
	assert(len >= 0);

	if ((size_t)len >= room) {
		end = buf_reserve(b, (size_t)len + 1);
		va_start(args, format);
		vsnprintf(end, (size_t)len + 1, format, args);
		va_end(args);
	}
	b->end += (size_t)len;
}

void buf_consume(struct buf *b, size_t n)
{
	assert(n <= buf_len(b));
	b->start += n;
	if (b->start == b->end)
		b->start = b->end = 0;
}

void buf_clear(struct buf *b)
{
	b->start = b->end = 0;
}

void buf_shrink(struct buf *b, size_t keep)
{
	if (b->start == b->end && b->size > keep)
		buf_done(b);
}

char *buf_steal_string(struct buf *b)
{
	char *string;

	*buf_reserve(b, 1) = '\0';
	if (b->start > 0)
		memmove(b->mem, b->mem + b->start, buf_len(b) + 1);
	string = b->mem;
	*b = (struct buf){ 0 };
	return string;
}
