/*
 * sqlite_query - the templates of a sqlite: map: the query, and the result_format
 *
 * A query becomes SQL with bound parameters; no part of a key ever stands in
 * it. '%s' in quotes is a parameter, quotes and all; within a longer string,
 * as '%u@example.com', the string becomes a concatenation. Where no parameter
 * can stand the query is refused: within names in double quotes, comments, or
 * words.
 *
 * %s key, %u local part, %d domain, %1 to %9 labels of the domain from its
 * end. In a result_format %s, %u and %d are of the value, %S, %U and %D of the
 * key; in a query case makes no difference. %% is a percent sign.
 */
#pragma once

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"

#define SQLITE_QUERY_LABELS 9

enum sqlite_field {
	FIELD_KEY,
	FIELD_USER,
	FIELD_DOMAIN,
	FIELD_LABEL, /* %1; the others follow */
	FIELD_COUNT = FIELD_LABEL + SQLITE_QUERY_LABELS,
};

/* What a key must have, so that both templates can be filled in. */
struct sqlite_needs {
	bool user, domain;
	unsigned int labels;
};

struct sqlite_query {
	const char *sql;		   /* in the arena; ?1 is the first of the fields */
	unsigned char fields[FIELD_COUNT]; /* enum sqlite_field, each once */
	unsigned int field_count;
	struct sqlite_needs needs;
};

struct sqlite_format {
	const char *text;
	bool needs_value_user, needs_value_domain;
};

/* Of a key, taken apart. The slices are of the key. */
struct sqlite_key {
	struct slice fields[FIELD_COUNT];
};

int sqlite_query_parse(struct slice text, struct arena *arena, struct sqlite_query *ret,
		       struct error *err);

/* text must outlive it; what it needs of keys is added to *needs. */
int sqlite_format_parse(const char *text, struct sqlite_needs *needs, struct sqlite_format *ret,
			struct error *err);

/* False: the key has not what is needed, so that nothing is to be asked. */
bool sqlite_key_split(struct slice key, const struct sqlite_needs *needs, struct sqlite_key *ret);

/* Appends the value of a row, behind a comma where out has one. False: it is skipped. */
bool sqlite_format_apply(const struct sqlite_format *format, const struct sqlite_key *key,
			 struct slice value, struct buf *out);
