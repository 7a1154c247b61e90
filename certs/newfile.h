/*
 * newfile - files that appear whole, or not at all
 *
 * Each is written beside its place under another name, readable by nobody
 * else from its first byte on, and moved there when all of them are on disk.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "base/slice.h"

struct certs_newfile {
	const char *path;
	struct slice text;
	bool is_secret; /* mode 0600; a secret that it replaces keeps owner, group and 0640 */
};

/*
 * In this order, so that a key comes before its certificate. Where one of them
 * exists already and may_replace is false: -EEXIST, and nothing has happened.
 */
int certs_newfile_write(const struct certs_newfile *files, unsigned int count, bool may_replace,
			struct error *err);
