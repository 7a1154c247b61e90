/*
 * memory - malloc that never returns NULL
 *
 * For what has a limit of its own: containers whose callers bound what they
 * put in, sessions, messages, deliveries. When memory is out all the same,
 * the process says so and aborts, and after its restart the queue on disk is
 * whole.
 */
#pragma once

#include <stddef.h>

void *memory_new(size_t size); /* not zeroed */
void *memory_zeroed(size_t size);
void *memory_grow(void *old, size_t size);
