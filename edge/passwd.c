/*
 * The file is read whole into a table, which is replaced, never changed, when
 * the file is: readers copy what they need under a lock, and hash without it.
 *
 * Which version a file has is told, and which of them are left for the next
 * look, as maps/refresh.c has it: a file that is being written is for a moment
 * empty or ends in the middle of a line, and users who are gone for that
 * moment would have their mail returned.
 */
#include "edge/passwd.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <xxhash.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/strmap.h"
#include "edge/passwd_line.h"
#include "maps/lines.h"
#include "maps/text.h"

#define SCHEMES_MAX 32

struct user {
	const char *name;
	char *stored;
	bool is_closed;
	unsigned int line;
};

struct table {
	struct strmap users; /* folded name -> struct user */
	struct arena arena;
	unsigned int secrets;	  /* that all have who can log in */
	const struct user *decoy; /* the first of the most common scheme; NULL: nobody can log in */
	unsigned int counts[SCHEMES_MAX];	/* of users, by the scheme's place in its table */
	const struct user *firsts[SCHEMES_MAX]; /* of each */
};

/* What tells one version of the file from another. */
struct version {
	struct stat stat;
	uint64_t digest;
	bool is_settled; /* by its stat alone: a young file may change and look the same */
	int trouble;	 /* why it could not be read, 0: it could */
};

struct passwd {
	char *file;
	pthread_mutex_t mutex;
	struct table *table;
	struct version seen; /* the one that was read last, good or bad */
};

static void table_free(struct table *table)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!table)
		return;
	while ((entry = strmap_next(&table->users, &cursor)) != NULL) {
		struct user *user = entry->value;

		explicit_bzero(user->stored, strlen(user->stored));
	}
	strmap_done(&table->users);
	arena_done(&table->arena);
	free(table);
}

static struct slice fold(struct slice name, char out[PASSWD_USER_MAX])
{
	size_t n = MIN(name.len, (size_t)PASSWD_USER_MAX);

	for (size_t i = 0; i < n; i++)
		out[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] | 32)
								  : name.ptr[i];
	return slice_of(out, n);
}

static size_t place_of_scheme(struct slice stored)
{
	const char *name = scheme_name(stored), *other;
	size_t n = 0;

	while (n + 1 < SCHEMES_MAX && (other = scheme_at(n)) != NULL && strcmp(other, name) != 0)
		n++;
	return n;
}

/* What can be offered to all, and whom an unknown user is taken for. */
static void count_user(struct table *table, const struct user *user)
{
	struct slice stored = slice_from(user->stored);
	size_t n;

	if (stored.len == 0)
		return;
	n = place_of_scheme(stored);
	if (table->counts[n]++ == 0)
		table->firsts[n] = user;
	table->secrets =
		(table->decoy ? table->secrets : SCHEME_EVERY_SECRET) & scheme_secrets(stored);
	if (!table->decoy ||
	    table->counts[n] > table->counts[place_of_scheme(slice_from(table->decoy->stored))])
		table->decoy = table->firsts[n];
}

static void add_user(struct table *table, const struct passwd_line *line, unsigned int number,
		     struct complaints *complaints)
{
	char folded[PASSWD_USER_MAX];
	struct slice key = fold(line->user, folded);
	struct user *user = strmap_get(&table->users, key);

	if (user) {
		complain(complaints, number, "user %.*s is here twice, first in line %u",
			 (int)line->user.len, line->user.ptr, user->line);
		return;
	}
	user = arena_alloc(&table->arena, sizeof(*user));
	user->name = arena_slicedup(&table->arena, line->user);
	user->stored = arena_slicedup(&table->arena, line->password);
	user->is_closed = line->is_closed;
	user->line = number;
	strmap_put(&table->users, key, user);
	count_user(table, user);
}

static void warn(const struct complaints *complaints, unsigned int number, const char *text)
{
	char source[512];

	snprintf(source, sizeof(source), "%s:%u", complaints->name, number);
	if (complaints->report)
		complaints->report(complaints->arg, false, source, text);
}

static void add_lines(struct table *table, struct slice text, struct complaints *complaints)
{
	struct passwd_line line;
	struct slice raw;

	for (unsigned int number = 1; passwd_line_next(&text, &raw); number++) {
		struct error err;

		if (passwd_line_parse(raw, &line, &err) < 0)
			complain(complaints, number, "%s", err.text);
		else if (line.user.len > 0)
			add_user(table, &line, number, complaints);
		if (line.warning)
			warn(complaints, number, line.warning);
	}
}

static int table_load(struct slice text, struct complaints *complaints, struct table **ret_table)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return error_set(complaints->err, -ENOMEM, "%s: out of memory", complaints->name);
	add_lines(table, text, complaints);
	if (complaints->outcome < 0) {
		table_free(table);
		return complaints->outcome;
	}
	*ret_table = table;
	return 0;
}

/* Text with passwords in it. */
struct secret {
	char *ptr;
	size_t len;
};

static void wipe(struct secret *secret)
{
	if (secret->ptr)
		explicit_bzero(secret->ptr, secret->len);
	free(secret->ptr);
}

/* Returns 0, TEXT_CHANGING, or an error. */
static int read_version(const char *file, int64_t wall_ms, struct version *ret,
			struct secret *ret_text, struct error *err)
{
	*ret = (struct version){ 0 };
	ret->trouble = text_read(file, file, &ret_text->ptr, &ret_text->len, &ret->stat, err);
	if (ret->trouble != 0)
		return ret->trouble;
	ret->digest = XXH3_64bits(ret_text->ptr, ret_text->len);
	ret->is_settled = text_is_settled(&ret->stat, wall_ms);
	return 0;
}

int passwd_open(const char *file, struct passwd **ret_passwd, struct error *err)
{
	CLEANUP(passwd_freep) struct passwd *passwd = calloc(1, sizeof(*passwd));
	CLEANUP(wipe) struct secret text = { 0 };
	int r;

	if (!passwd || !(passwd->file = strdup(file)))
		return error_set(err, -ENOMEM, "%s: out of memory", file);
	pthread_mutex_init(&passwd->mutex, NULL);
	r = read_version(file, clock_wall_ms(&clock_system), &passwd->seen, &text, err);
	if (r == TEXT_CHANGING)
		return error_set(err, -EAGAIN, "%s: is being written to", file);
	if (r == 0)
		r = table_load(slice_of(text.ptr, text.len),
			       &(struct complaints){ .name = file, .err = err }, &passwd->table);
	if (r < 0)
		return r;
	*ret_passwd = passwd;
	passwd = NULL;
	return 0;
}

void passwd_free(struct passwd *passwd)
{
	if (!passwd)
		return;
	table_free(passwd->table);
	pthread_mutex_destroy(&passwd->mutex);
	free(passwd->file);
	free(passwd);
}

static bool is_as_seen(const struct passwd *passwd)
{
	const struct stat *seen = &passwd->seen.stat;
	struct stat now;

	return passwd->seen.is_settled && stat(passwd->file, &now) == 0 &&
	       now.st_dev == seen->st_dev && now.st_ino == seen->st_ino &&
	       text_is_unchanged(&now, seen);
}

int passwd_refresh_at(struct passwd *passwd, int64_t wall_ms, struct error *err)
{
	CLEANUP(wipe) struct secret text = { 0 };
	struct table *fresh = NULL, *old;
	struct version now, seen = passwd->seen;
	int r;

	if (is_as_seen(passwd))
		return MAP_NOT_CHANGED;
	r = read_version(passwd->file, wall_ms, &now, &text, err);
	if (r == TEXT_CHANGING ||
	    (r == 0 && text_is_part(&now.stat, slice_of(text.ptr, text.len), wall_ms)))
		return MAP_NOT_CHANGED;
	passwd->seen = now;
	if (now.trouble == seen.trouble && now.digest == seen.digest)
		return MAP_NOT_CHANGED;
	if (r == 0)
		r = table_load(slice_of(text.ptr, text.len),
			       &(struct complaints){ .name = passwd->file, .err = err }, &fresh);
	if (r < 0)
		return r;
	pthread_mutex_lock(&passwd->mutex);
	old = passwd->table;
	passwd->table = fresh;
	pthread_mutex_unlock(&passwd->mutex);
	table_free(old);
	return 0;
}

int passwd_refresh(struct passwd *passwd, struct error *err)
{
	return passwd_refresh_at(passwd, clock_wall_ms(&clock_system), err);
}

int passwd_validate(struct slice text, const char *name, struct error *err)
{
	struct complaints complaints = { .name = name, .err = err };
	struct table *table = NULL;
	int r = table_load(text, &complaints, &table);

	table_free(table);
	return r;
}

void passwd_diagnose(const char *file, map_report *report, void *arg)
{
	CLEANUP(wipe) struct secret text = { 0 };
	struct complaints complaints = { .name = file, .report = report, .arg = arg };
	struct version version;
	struct table *table = NULL;
	struct error err = { 0 };
	int r = read_version(file, clock_wall_ms(&clock_system), &version, &text, &err);

	if (r == -ENOENT)
		error_set(&err, r, "%s: %s; posthouse user add makes it", file, strerror(-r));
	if (r < 0)
		report(arg, true, file, err.text);
	if (r == 0 && table_load(slice_of(text.ptr, text.len), &complaints, &table) == 0)
		table_free(table);
}

static const struct user *find_user(const struct passwd *passwd, const char *name)
{
	char folded[PASSWD_USER_MAX];
	struct slice user = slice_from(name);

	return user.len <= PASSWD_USER_MAX ? strmap_get(&passwd->table->users, fold(user, folded))
					   : NULL;
}

/* Copies out what is needed, so that the table may be replaced while the caller hashes. */
int passwd_find(struct passwd *passwd, const char *user, struct arena *arena, struct account *ret)
{
	const struct user *found;

	pthread_mutex_lock(&passwd->mutex);
	found = find_user(passwd, user);
	if (found) {
		ret->name = arena_strdup(arena, found->name);
		ret->stored = slice_from(arena_strdup(arena, found->stored));
		ret->is_closed = found->is_closed;
	}
	pthread_mutex_unlock(&passwd->mutex);
	return found ? MAP_FOUND : MAP_NOT_FOUND;
}

bool passwd_has_user(struct passwd *passwd, const char *user)
{
	bool has;

	pthread_mutex_lock(&passwd->mutex);
	has = find_user(passwd, user) != NULL;
	pthread_mutex_unlock(&passwd->mutex);
	return has;
}

unsigned int passwd_secrets(struct passwd *passwd)
{
	unsigned int secrets;

	pthread_mutex_lock(&passwd->mutex);
	secrets = passwd->table->secrets;
	pthread_mutex_unlock(&passwd->mutex);
	return secrets;
}

struct slice passwd_decoy(struct passwd *passwd, struct arena *arena)
{
	const struct user *decoy;
	const char *stored;

	pthread_mutex_lock(&passwd->mutex);
	decoy = passwd->table->decoy;
	stored = arena_strdup(arena, decoy ? decoy->stored : "");
	pthread_mutex_unlock(&passwd->mutex);
	return slice_from(stored);
}
