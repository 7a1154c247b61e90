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
#include "edge/scheme.h"
#include "maps/text.h"

#define STORED_MAX 512
#define SETTLED_MS 1000

struct table {
	struct strmap users; /* folded name -> struct user */
	struct arena arena;
};

struct user {
	const char *name;
	char *stored;
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

static struct slice fold(struct slice name, char out[256])
{
	size_t n = MIN(name.len, 255u);

	for (size_t i = 0; i < n; i++)
		out[i] = name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] | 32)
								  : name.ptr[i];
	return slice_of(out, n);
}

static int add_line(struct table *table, struct slice line, struct error *err)
{
	struct slice name = slice_first(line, slice_find(line, ':'));
	struct slice stored = slice_skip(line, name.len + 1);
	char folded[256];
	struct user *user;
	int r;

	if (name.len == 0 || name.len == line.len)
		return error_set(err, -EINVAL, "expected user:password");
	if (name.len > 255)
		return error_set(err, -EINVAL, "the user name is too long");
	stored = slice_first(stored, slice_find(stored, ':'));
	if (stored.len >= STORED_MAX)
		return error_set(err, -EINVAL, "the password is too long");
	r = scheme_validate(stored, err);
	if (r < 0)
		return r;

	user = arena_alloc(&table->arena, sizeof(*user));
	user->name = arena_slicedup(&table->arena, name);
	user->stored = arena_slicedup(&table->arena, stored);
	if (strmap_put(&table->users, fold(name, folded), user))
		return error_set(err, -EINVAL, "user %s is here twice", user->name);
	return 0;
}

static int add_lines(struct table *table, struct slice text, const char *file, struct error *err)
{
	int r = 0;

	for (unsigned int number = 1; r >= 0 && text.len > 0; number++) {
		size_t n = slice_find(text, '\n');
		struct slice line = slice_trim(slice_first(text, n));

		text = slice_skip(text, n + 1);
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		r = add_line(table, line, err);
		if (r < 0)
			error_prefix(err, "%s:%u", file, number);
	}
	return r;
}

static int table_load(struct slice text, const char *file, struct table **ret_table,
		      struct error *err)
{
	struct table *table = calloc(1, sizeof(*table));
	int r;

	if (!table)
		return error_set(err, -ENOMEM, "%s: out of memory", file);
	r = add_lines(table, text, file, err);
	if (r < 0) {
		table_free(table);
		return r;
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

static bool is_settled(const struct stat *st)
{
	int64_t changed_ms = (int64_t)st->st_ctim.tv_sec * 1000 + st->st_ctim.tv_nsec / 1000000;
	int64_t now_ms = clock_wall_ms(&clock_system);

	return now_ms < changed_ms || now_ms - changed_ms > SETTLED_MS;
}

/* Returns 0, TEXT_CHANGING, or an error. */
static int read_version(const char *file, struct version *ret, struct secret *ret_text,
			struct error *err)
{
	*ret = (struct version){ 0 };
	ret->trouble = text_read(file, file, &ret_text->ptr, &ret_text->len, &ret->stat, err);
	if (ret->trouble != 0)
		return ret->trouble;
	ret->digest = XXH3_64bits(ret_text->ptr, ret_text->len);
	ret->is_settled = is_settled(&ret->stat);
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
	r = read_version(file, &passwd->seen, &text, err);
	if (r == TEXT_CHANGING)
		return error_set(err, -EAGAIN, "%s: is being written to", file);
	if (r == 0)
		r = table_load(slice_of(text.ptr, text.len), file, &passwd->table, err);
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

/* It may be in the middle of being written. */
static bool is_suspect(const struct version *version, const struct secret *text)
{
	return !version->is_settled && (text->len == 0 || text->ptr[text->len - 1] != '\n');
}

int passwd_refresh(struct passwd *passwd, struct error *err)
{
	CLEANUP(wipe) struct secret text = { 0 };
	struct table *fresh = NULL, *old;
	struct version now, seen = passwd->seen;
	int r;

	if (is_as_seen(passwd))
		return MAP_NOT_CHANGED;
	r = read_version(passwd->file, &now, &text, err);
	if (r == TEXT_CHANGING || (r == 0 && is_suspect(&now, &text)))
		return MAP_NOT_CHANGED;
	passwd->seen = now;
	if (now.trouble == seen.trouble && now.digest == seen.digest)
		return MAP_NOT_CHANGED;
	if (r == 0)
		r = table_load(slice_of(text.ptr, text.len), passwd->file, &fresh, err);
	if (r < 0)
		return r;
	pthread_mutex_lock(&passwd->mutex);
	old = passwd->table;
	passwd->table = fresh;
	pthread_mutex_unlock(&passwd->mutex);
	table_free(old);
	return 0;
}

/* Copies out what is needed, so that the table may be replaced while we hash. */
static bool find(struct passwd *passwd, const char *user, char ret_name[256],
		 char ret_stored[STORED_MAX])
{
	char folded[256];
	const struct user *found = NULL;

	if (strlen(user) > 255)
		return false;
	pthread_mutex_lock(&passwd->mutex);
	found = strmap_get(&passwd->table->users, fold(slice_from(user), folded));
	if (found) {
		snprintf(ret_name, 256, "%s", found->name);
		snprintf(ret_stored, STORED_MAX, "%s", found->stored);
	}
	pthread_mutex_unlock(&passwd->mutex);
	return found != NULL;
}

bool passwd_has_user(struct passwd *passwd, const char *user)
{
	char name[256], stored[STORED_MAX];
	bool found = find(passwd, user, name, stored);

	explicit_bzero(stored, sizeof(stored));
	return found;
}

enum passwd_outcome passwd_check(struct passwd *passwd, const char *user, const char *password,
				 char ret_user[256])
{
	char stored[STORED_MAX] = "";
	bool match = find(passwd, user, ret_user, stored) &&
		     scheme_matches(slice_from(stored), password);

	explicit_bzero(stored, sizeof(stored));
	return match ? PASSWD_MATCH : PASSWD_MISMATCH;
}
