/*
 * includes - the files that aliases name by ":include:/file", as they were a second ago
 *
 * A file is read when it is first asked for, and looked at again by each
 * refresh; while it cannot be read what it held before stays. Shared by all threads.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

#define INCLUDE_BYTES_MAX (1u << 20)

struct includes;

struct includes *includes_new(void);
void includes_free(struct includes *includes); /* NULL is fine */

/* The text of a file, in the arena. Reads it, the first time. 0, or an error. */
int includes_get(struct includes *includes, const char *path, struct arena *arena,
		 struct slice *ret_text, struct error *err);

/* Takes up files that have changed. Blocks. Tells the log (which may be NULL) of those, and of trouble once. */
void includes_refresh(struct includes *includes, struct log *log);
