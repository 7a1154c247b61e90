/*
 * includes - the files that aliases name by ":include:/file", as they were a second ago
 *
 * A file is read when it is first asked for, and looked at again by each
 * refresh; while it cannot be read, or is just being written, what it held
 * before stays. One that every account of the host may write to is not read:
 * whose mail goes to whom is no business of theirs. Shared by all threads.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "base/log.h"

#define INCLUDE_BYTES_MAX (1u << 20)

struct includes;

/* Whether it is of a kind that is read (as in Postfix's local(8)): 0, or an error, which begins with the path. */
int include_check(const char *path, struct error *err);

struct includes *includes_new(void);
void includes_free(struct includes *includes); /* NULL is fine */

/* The text of a file, in the arena. Reads it, the first time. 0, or an error. */
int includes_get(struct includes *includes, const char *path, struct arena *arena,
		 struct slice *ret_text, struct error *err);

/* Takes up files that have changed. Blocks. Tells the log (which may be NULL) of those, and of trouble once. */
void includes_refresh(struct includes *includes, struct log *log);
void includes_refresh_at(struct includes *includes, int64_t wall_ms, struct log *log);
