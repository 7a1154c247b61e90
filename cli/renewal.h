/*
 * renewal - which names a certificate has, and which of them a new one keeps
 *
 * All strings are kept in the arena that is given.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

struct renewal_names {
	const char *const *names;
	unsigned int count;
};

/*
 * Those of the first certificate in the file, as `certs issue` takes them; its
 * common name where it has no others. -ENOENT: there is no such file.
 */
int renewal_read(const char *cert_file, struct arena *arena, struct renewal_names *ret,
		 struct error *err);

/* The first name, and behind it all others of the old. */
struct renewal_names renewal_keep(const char *first, const struct renewal_names *old,
				  struct arena *arena);

/* Append "a, b": those of the old that are not among the new. Returns how many. */
unsigned int renewal_lost(const struct renewal_names *old, const struct renewal_names *new_names,
			  struct buf *out);
