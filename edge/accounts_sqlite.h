/*
 * accounts_sqlite - accounts in a database, as PostfixAdmin keeps them
 *
 * FILE.cf has dbpath and query as a sqlite: map (docs/maps.md), and the scheme of
 * passwords that name none, default_pass_scheme (CRYPT). The query gives one
 * row for a login, with the columns password, and user or username where the
 * login is spelled otherwise. A password that is NULL or empty, or a nologin
 * that is not NULL, is an account that nobody can log in by. Columns of
 * Dovecot's that restrict a login are errors (edge/passwd_line.h); all others are
 * ignored.
 */
#pragma once

#include "edge/accounts.h"

struct accounts_sqlite;

int accounts_sqlite_open(const char *file, struct accounts_sqlite **ret, struct error *err);
void accounts_sqlite_free(struct accounts_sqlite *a); /* NULL is fine */

/* Reports each bad line, columns that are missing or refused, and what is likely not wanted. */
void accounts_sqlite_diagnose(const char *file, map_report *report, void *arg);

/* The database itself, in the arena. */
const char *accounts_sqlite_database(struct accounts_sqlite *a, struct arena *arena);

/* As those of edge/accounts.h. */
int accounts_sqlite_refresh(struct accounts_sqlite *a, struct error *err);
int accounts_sqlite_find(struct accounts_sqlite *a, const char *user, struct arena *arena,
			 struct account *ret, struct error *err);
unsigned int accounts_sqlite_secrets(struct accounts_sqlite *a);
struct slice accounts_sqlite_decoy(struct accounts_sqlite *a, struct arena *arena);
