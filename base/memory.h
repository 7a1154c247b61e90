/*
 * memory - malloc that never returns NULL
 *
 * For the containers of this folder, whose callers bound what they put in:
 * when memory is out all the same, the process says so and aborts, and after
 * its restart the queue on disk is whole.
 */
#pragma once

#include <stddef.h>

void *memory_new(size_t size); /* not zeroed */
void *memory_grow(void *old, size_t size);
