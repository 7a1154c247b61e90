/*
 * rules - the contents of a regexp: or cidr: map: patterns that are tried in order
 *
 * The grammar is that of regexp_table(5) and cidr_table(5): "PATTERN RESULT",
 * "!PATTERN RESULT", "if PATTERN" or "if !PATTERN" up to its "endif". A key is
 * compared whole; the first line that matches counts.
 *
 * Stricter than Postfix, which warns and leaves out the line, we refuse the
 * file for a bad one: a rule that is missing sends mail another way.
 *
 * Filled once, then never changed and shared by reference counting. Callable
 * from any thread.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "maps/map.h"

#define RULES_KEY_MAX 1024

struct rules;

enum rules_syntax {
	RULES_REGEXP,
	RULES_CIDR,
};

struct rules_entry {
	const char *pattern; /* as written, with '!' and flags */
	const char *result;  /* as written */
	uint32_t line;
	bool has_substitutions; /* $1 and the like in the result */
};

/* As text_parse(): the error is that of the first bad line, report is given each. */
int rules_parse(enum rules_syntax syntax, struct slice text, const char *name, map_report *report,
		void *arg, struct rules **ret_rules, struct error *err);
struct rules *rules_ref(struct rules *rules);
void rules_unref(struct rules *rules); /* NULL is fine */
DEFINE_CLEANUP(struct rules *, rules_unref);

/*
 * MAP_FOUND, with the result (in the arena) and the line; MAP_NOT_FOUND; or an
 * error: a key that is longer than RULES_KEY_MAX or holds a NUL, no memory to
 * match, a result that came out empty. ret_result may be NULL.
 */
int rules_lookup(const struct rules *rules, struct slice key, struct arena *arena,
		 const char **ret_result, uint32_t *ret_line, struct error *err);

/* The lines with a result, in the order of the file. */
size_t rules_count(const struct rules *rules);
void rules_at(const struct rules *rules, size_t index, struct rules_entry *ret);

/* Reports each line with the pattern of an earlier one that is always tried first. */
typedef void rules_hidden(void *arg, const char *pattern, uint32_t line, uint32_t first_line);
void rules_find_hidden(const struct rules *rules, rules_hidden *report, void *arg);
