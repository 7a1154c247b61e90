/*
 * sqlite_config - the FILE.cf of a sqlite: map, as in sqlite_table(5)
 *
 * Names: dbpath, query, result_format, domain, expansion_limit. A name that is
 * none of these, or is given twice, is an error. So are select_field, table
 * and where_field, of which Postfix made queries before it had "query".
 *
 * That of a database of accounts has dbpath, query, domain and, as in
 * Dovecot's dovecot-sql.conf.ext, default_pass_scheme.
 */
#pragma once

#include "base/arena.h"
#include "maps/lines.h"

enum sqlite_setting {
	SETTING_DBPATH,
	SETTING_QUERY,
	SETTING_RESULT_FORMAT,
	SETTING_DOMAIN,
	SETTING_EXPANSION_LIMIT,
	SETTING_DEFAULT_PASS_SCHEME,
	SETTING_COUNT,
};

struct sqlite_config {
	const char *values[SETTING_COUNT]; /* in the arena; NULL: not given */
	uint32_t lines[SETTING_COUNT];	   /* 1 where it is not given */
	uint64_t expansion_limit;	   /* 0: none */
};

/* Complains about each bad line; the outcome is theirs. */
void sqlite_config_parse(struct slice text, bool is_of_accounts, struct arena *arena,
			 struct sqlite_config *ret, struct complaints *complaints);
