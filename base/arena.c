/*
 * arena - a chain of blocks; the first one is being filled
 *
 * What would not fit well gets a block of its own behind the first, so that
 * the room left in the first is not lost.
 */
#include "base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

#define BLOCK_SIZE 2048 /* enough for most sessions and transactions, small beside a TLS session */

struct arena_block {
	struct arena_block *next;
	size_t size, used; /* of bytes[] */
	alignas(max_align_t) char bytes[];
};

#define BLOCK_BYTES (BLOCK_SIZE - sizeof(struct arena_block))

static struct arena_block *block_new(size_t size)
{
	struct arena_block *block = memory_new(sizeof(*block) + size);

	block->next = NULL;
	block->size = size;
	block->used = 0;
	return block;
}

static void free_blocks(struct arena_block *block)
{
	while (block) {
		struct arena_block *next = block->next;

		free(block);
		block = next;
	}
}

void arena_done(struct arena *a)
{
	free_blocks(a->blocks);
	*a = (struct arena){ 0 };
}

void arena_reset(struct arena *a)
{
	struct arena_block *keep = NULL, **link = &a->blocks;

	while (*link && (*link)->size != BLOCK_BYTES)
		link = &(*link)->next;
	if (*link) {
		keep = *link;
		*link = keep->next;
		keep->next = NULL;
		keep->used = 0;
	}
	free_blocks(a->blocks);
	a->blocks = keep;
	a->used = 0;
}

/* Chains a block with room for size bytes. */
static struct arena_block *add_block(struct arena *a, size_t size)
{
	struct arena_block *block;

	if (size > BLOCK_BYTES / 4 && a->blocks) {
		block = block_new(size);
		block->next = a->blocks->next;
		a->blocks->next = block;
	} else {
		block = block_new(MAX(size, BLOCK_BYTES));
		block->next = a->blocks;
		a->blocks = block;
	}
	return block;
}

/* Not zeroed. */
static char *take(struct arena *a, size_t size)
{
	struct arena_block *block = a->blocks;
	char *ptr;

	assert(size <= SIZE_MAX / 2);
	size = (size + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
	if (!block || block->size - block->used < size)
		block = add_block(a, size);
	ptr = block->bytes + block->used;
	block->used += size;
	a->used += size;
	return ptr;
}

void *arena_alloc(struct arena *a, size_t size)
{
	return memset(take(a, size), 0, size);
}

char *arena_slicedup(struct arena *a, struct slice s)
{
	char *string = take(a, s.len + 1);

	if (s.len)
		memcpy(string, s.ptr, s.len);
	string[s.len] = '\0';
	return string;
}

char *arena_strdup(struct arena *a, const char *string)
{
	return string ? arena_slicedup(a, slice_from(string)) : NULL;
}

char *arena_printf(struct arena *a, const char *format, ...)
{
	char brief[256]; /* most texts are: then they are formatted once */
	char *string;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(brief, sizeof(brief), format, args);
	va_end(args);
	assert(len >= 0);
	if ((size_t)len < sizeof(brief))
		return arena_slicedup(a, slice_of(brief, (size_t)len));

	string = take(a, (size_t)len + 1);
	va_start(args, format);
	vsnprintf(string, (size_t)len + 1, format, args);
	va_end(args);
	return string;
}
