/* memory - nothing is allocated on the way out either: the message is a constant */
#include "base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *or_abort(void *ptr)
{
	static const char text[] = "posthouse: fatal: out of memory\n";

	if (ptr)
		return ptr;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		abort(); /* nobody listens: just the same */
	abort();
}

void *memory_new(size_t size)
{
	return or_abort(malloc(size ? size : 1));
}

void *memory_grow(void *old, size_t size)
{
	return or_abort(realloc(old, size ? size : 1));
}

void *memory_zeroed(size_t size)
{
	return memset(memory_new(size), 0, size);
}
