/*
 * arena - memory that is freed together
 *
 * One for each mail transaction, one for each session. Allocation never
 * returns NULL: it aborts when memory is out, as buf does and for the same
 * reason. A zeroed struct is an empty arena.
 */
#pragma once

#include <stdarg.h>

#include "base/slice.h"

struct arena_block;

struct arena {
	struct arena_block *blocks;
	size_t used; /* bytes handed out, for limits */
};

void arena_done(struct arena *a);

/* Frees all but one block of ordinary size, for reuse by the next transaction. */
void arena_reset(struct arena *a);

/* Aligned for any type and zeroed. */
void *arena_alloc(struct arena *a, size_t size);
char *arena_strdup(struct arena *a, const char *string); /* NULL gives NULL */
char *arena_slicedup(struct arena *a, struct slice s);	 /* as a C string */
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
