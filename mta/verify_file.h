/*
 * verify_file - the cache of address verification on disk, so that a restart
 * does not forget it: queue_directory/verify.cache
 *
 * It is a cache: losing it costs a question for each address, so nothing waits
 * for it and nothing is synced. Functions that touch the file block.
 */
#pragma once

#include "base/buf.h"
#include "base/error.h"
#include "mta/verify_cache.h"

#define VERIFY_FILE_NAME "verify.cache"

bool verify_file_exists(const char *directory);

/*
 * Put what the file has into the cache; *ret_lines: how many lines there were, or
 * SIZE_MAX: it must be replaced before anything is appended. No file is an
 * empty one. Lines that are none of ours are passed over.
 */
int verify_file_load(const char *directory, struct verify_cache *c, size_t *ret_lines,
		     struct error *err);

/* A line for the end of the file: what is known now; or that nothing is (fact NULL). */
void verify_file_write_line(struct buf *out, const char *address, const struct verify_fact *fact);

int verify_file_append(const char *directory, struct slice lines, struct error *err);

/* Replace the file as a whole. */
int verify_file_replace(const char *directory, struct slice lines, struct error *err);
