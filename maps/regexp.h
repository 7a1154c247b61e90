/*
 * regexp - the patterns of a regexp: map, and what its results make of a match
 *
 * POSIX regular expressions as regex(3) has them: extended and without regard
 * to case, unless the flags x and i turn that off. In a result $1, ${1} and
 * $(1) stand for what the first parentheses matched, $$ for a dollar sign.
 */
#pragma once

#include <regex.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#define REGEXP_GROUPS_MAX 99

struct regexp_pattern {
	bool is_negated;
	const char *text; /* between the delimiters; in the arena */
	int flags;	  /* of regcomp(3) */
};

/* Takes "/pattern/flags", with "!" in front or not, from the front of *rest. */
int regexp_take(struct slice *rest, struct arena *arena, struct regexp_pattern *ret,
		struct error *err);

/* group_count: the largest $n that will be asked for. The caller frees with regfree(). */
int regexp_compile(const struct regexp_pattern *pattern, unsigned int group_count, regex_t *ret,
		   struct error *err);

/* MAP_FOUND, MAP_NOT_FOUND, or an error. groups is for group_count + 1 of them, or NULL. */
int regexp_match(const regex_t *regex, const char *key, regmatch_t *groups,
		 unsigned int group_count, struct error *err);

/* The largest $n of a result to *ret_group_count, 0: none; or an error: it makes no sense. */
int regexp_result_check(struct slice result, unsigned int *ret_group_count, struct error *err);

/* Appends a result that regexp_result_check() took. groups may be NULL when it has no $n. */
void regexp_result_expand(struct slice result, const char *key, const regmatch_t *groups,
			  struct buf *out);
