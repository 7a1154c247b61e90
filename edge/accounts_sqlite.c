/*
 * The map does the asking; what is told of the columns and of the default
 * scheme is found out by asking for a login that nobody has. That is done once for
 * each version of FILE.cf, and the decoy is made then, too.
 */
#include "edge/accounts_sqlite.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

#include "base/macros.h"
#include "base/memory.h"
#include "edge/passwd_line.h"

#define NOBODY	       "nobody@nowhere.invalid" /* RFC 2606 section 2 */
#define DEFAULT_SCHEME "CRYPT"

/* Of one version of FILE.cf. */
struct facts {
	unsigned int secrets;
	char decoy[SCHEME_STORED_MAX + 1];
};

struct accounts_sqlite {
	struct map *map;
	pthread_mutex_t mutex;
	struct facts facts; /* under mutex */
};

/* The value of a column, or NULL where it is NULL or not there. */
static const char *value_of(const struct map_row *row, const char *name)
{
	for (size_t i = 0; row->values && i < row->count; i++)
		if (slice_equal_nocase(slice_from(row->names[i]), slice_from(name)))
			return row->values[i];
	return NULL;
}

static bool has_column(const struct map_row *row, const char *name)
{
	for (size_t i = 0; i < row->count; i++)
		if (slice_equal_nocase(slice_from(row->names[i]), slice_from(name)))
			return true;
	return false;
}

/* user and password mean what they say here. Where nothing was asked there are no names. */
static int check_columns(const struct map_row *row, struct error *err)
{
	if (row->count == 0)
		return 0;
	if (!has_column(row, "password"))
		return error_set(err, -EINVAL,
				 "%s: query: expected a column password, as in SELECT username AS "
				 "user, password FROM ...",
				 row->source);
	for (size_t i = 0; i < row->count; i++) {
		struct slice name = slice_from(row->names[i]);

		if (!slice_equal_nocase(name, SLICE("user")) &&
		    !slice_equal_nocase(name, SLICE("username")) &&
		    !slice_equal_nocase(name, SLICE("password")) && passwd_extra_is_refused(name))
			return error_set(err, -EINVAL,
					 "%s: query: the column %s " PASSWD_EXTRA_REFUSED,
					 row->source, row->names[i]);
	}
	return 0;
}

static int make_decoy(const char *scheme, struct facts *ret, struct error *err)
{
	struct buf out = { 0 };
	int r = scheme_make(scheme, "decoy", &out, err);

	if (r == 0 && !slice_copy(buf_slice(&out), ret->decoy, sizeof(ret->decoy)))
		r = error_set(err, -EINVAL, "{%s}: too long", scheme);
	buf_wipe(&out);
	return r;
}

/* A database that is locked just now tells nothing about the columns: the next row will. */
static int learn(struct map *map, struct facts *ret, struct error *err)
{
	struct arena arena = { 0 };
	struct map_row row;
	const char *scheme;
	int r = map_select(map, SLICE(NOBODY), &arena, &row, err);

	*ret = (struct facts){ 0 };
	scheme = row.scheme ? row.scheme : DEFAULT_SCHEME;
	if (r >= 0)
		r = check_columns(&row, err);
	if (r == 0 || r == -EAGAIN) {
		r = scheme_find(scheme, &ret->secrets, err);
		if (r == 0)
			r = make_decoy(scheme, ret, err);
		if (r < 0)
			error_prefix(err, "%s: default_pass_scheme", map_file(map));
	}
	map_row_wipe(&row);
	arena_done(&arena);
	return r;
}

int accounts_sqlite_open(const char *file, struct accounts_sqlite **ret, struct error *err)
{
	struct accounts_sqlite *a = memory_zeroed(sizeof(*a));
	int r;

	pthread_mutex_init(&a->mutex, NULL);
	r = map_open_accounts(file, NULL, NULL, &a->map, err);
	if (r == 0)
		r = learn(a->map, &a->facts, err);
	if (r < 0)
		accounts_sqlite_free(a);
	else
		*ret = a;
	return r;
}

void accounts_sqlite_free(struct accounts_sqlite *a)
{
	if (!a)
		return;
	map_free(a->map);
	pthread_mutex_destroy(&a->mutex);
	free(a);
}

/* "FILE:LINE: TEXT", or without a line. */
static void report_error(const char *text, const char *file, map_report *report, void *arg)
{
	size_t len = strlen(file), digits = 0;
	char source[512];

	if (strncmp(text, file, len) == 0 && text[len] == ':')
		digits = strspn(text + len + 1, "0123456789");
	if (digits > 0 && text[len + 1 + digits] == ':') {
		snprintf(source, sizeof(source), "%.*s", (int)(len + 1 + digits), text);
		report(arg, true, source, text + len + digits + 3);
	} else {
		report(arg, true, file, text);
	}
}

void accounts_sqlite_diagnose(const char *file, map_report *report, void *arg)
{
	struct map *map = NULL;
	struct facts facts;
	struct error err = { 0 };
	int r = map_open_accounts(file, report, arg, &map, &err);

	/* Bad lines were reported; what is left to tell is that there were none to read. */
	if (r == 0 ? learn(map, &facts, &err) < 0 : access(file, R_OK) != 0)
		report_error(err.text, file, report, arg);
	map_free(map);
}

const char *accounts_sqlite_database(struct accounts_sqlite *a, struct arena *arena)
{
	return map_database(a->map, arena);
}

int accounts_sqlite_refresh(struct accounts_sqlite *a, struct error *err)
{
	struct facts facts;
	int r = map_refresh(a->map, err);

	if (r != 0)
		return r;
	r = learn(a->map, &facts, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&a->mutex);
	a->facts = facts;
	pthread_mutex_unlock(&a->mutex);
	return 0;
}

/* A password that names no scheme is of the default one; "$1$" says what it is, as in Dovecot. */
static const char *with_scheme(const struct map_row *row, const char *password, struct arena *arena)
{
	if (!password || !password[0])
		return "";
	if (password[0] == '{')
		return arena_strdup(arena, password);
	if (strncmp(password, "$1$", 3) == 0)
		return arena_printf(arena, "{MD5-CRYPT}%s", password);
	return arena_printf(arena, "{%s}%s", row->scheme ? row->scheme : DEFAULT_SCHEME, password);
}

static int read_row(const struct map_row *row, const char *user, struct arena *arena,
		    struct account *ret, struct error *err)
{
	const char *name = value_of(row, "user");
	int r = check_columns(row, err);

	if (r < 0)
		return r;
	if (!name)
		name = value_of(row, "username");
	if (!name || !name[0])
		name = user;
	if (strlen(name) > PASSWD_USER_MAX)
		return error_set(err, -EINVAL, "%s: a user name is too long", row->source);
	ret->name = arena_strdup(arena, name);
	ret->stored = SLICE("");
	ret->is_closed = value_of(row, "nologin") != NULL;
	if (ret->is_closed)
		return 0;
	ret->stored = slice_from(with_scheme(row, value_of(row, "password"), arena));
	if (ret->stored.len == 0)
		return 0;
	r = scheme_validate(ret->stored, err);
	if (r < 0)
		error_prefix(err, "%s: user %s", row->source, ret->name);
	return r;
}

int accounts_sqlite_find(struct accounts_sqlite *a, const char *user, struct arena *arena,
			 struct account *ret, struct error *err)
{
	struct map_row row;
	int r;

	*ret = (struct account){ 0 };
	if (!user[0] || strlen(user) > PASSWD_USER_MAX)
		return MAP_NOT_FOUND;
	r = map_select(a->map, slice_from(user), arena, &row, err);
	if (r == MAP_FOUND) {
		r = read_row(&row, user, arena, ret, err);
		if (r < 0)
			account_wipe(ret);
	}
	map_row_wipe(&row);
	return r;
}

unsigned int accounts_sqlite_secrets(struct accounts_sqlite *a)
{
	unsigned int secrets;

	pthread_mutex_lock(&a->mutex);
	secrets = a->facts.secrets;
	pthread_mutex_unlock(&a->mutex);
	return secrets;
}

struct slice accounts_sqlite_decoy(struct accounts_sqlite *a, struct arena *arena)
{
	const char *decoy;

	pthread_mutex_lock(&a->mutex);
	decoy = arena_strdup(arena, a->facts.decoy);
	pthread_mutex_unlock(&a->mutex);
	return slice_from(decoy);
}
