/*
 * The file is read whole into a table, which is replaced, never changed, when
 * the file is: readers copy what they need under a lock, and hash without it.
 */
#include "edge/passwd.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/macros.h"
#include "base/strmap.h"
#include "edge/scheme.h"
#include "maps/map.h"

#define STORED_MAX 512

struct table {
	struct strmap users; /* folded name -> struct user */
	struct arena arena;
};

struct user {
	const char *name, *stored;
};

struct passwd {
	char *file;
	pthread_mutex_t mutex;
	struct table *table;
	struct stat seen; /* the version that was read last, good or bad */
};

static void table_free(struct table *table)
{
	if (!table)
		return;
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

static int read_lines(struct table *table, FILE *stream, const char *file, struct error *err)
{
	CLEANUP(free_strp) char *line = NULL;
	size_t size = 0;
	ssize_t len;
	int r = 0;

	for (unsigned int number = 1; r >= 0 && (len = getline(&line, &size, stream)) >= 0;
	     number++) {
		struct slice text = slice_trim(slice_of(line, (size_t)len));

		if (text.len == 0 || text.ptr[0] == '#')
			continue;
		r = add_line(table, text, err);
		if (r < 0)
			error_prefix(err, "%s:%u", file, number);
	}
	if (line)
		explicit_bzero(line, size);
	if (r >= 0 && ferror(stream))
		r = error_set(err, -EIO, "%s: cannot read", file);
	return r;
}

static int table_load(const char *file, struct stat *ret_seen, struct table **ret_table,
		      struct error *err)
{
	CLEANUP(close_filep) FILE *stream = fopen(file, "re");
	struct table *table;
	int r;

	if (!stream)
		return error_set(err, -errno, "%s: %s", file, strerror(errno));
	if (fstat(fileno(stream), ret_seen) < 0)
		return error_set(err, -errno, "%s: %s", file, strerror(errno));
	table = calloc(1, sizeof(*table));
	if (!table)
		return error_set(err, -ENOMEM, "%s: out of memory", file);
	r = read_lines(table, stream, file, err);
	if (r < 0) {
		table_free(table);
		return r;
	}
	*ret_table = table;
	return 0;
}

int passwd_open(const char *file, struct passwd **ret_passwd, struct error *err)
{
	struct passwd *passwd = calloc(1, sizeof(*passwd));
	int r;

	if (!passwd || !(passwd->file = strdup(file))) {
		free(passwd);
		return error_set(err, -ENOMEM, "%s: out of memory", file);
	}
	pthread_mutex_init(&passwd->mutex, NULL);
	r = table_load(file, &passwd->seen, &passwd->table, err);
	if (r < 0) {
		passwd_free(passwd);
		return r;
	}
	*ret_passwd = passwd;
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

static bool is_same_version(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

int passwd_refresh(struct passwd *passwd, struct error *err)
{
	struct table *fresh = NULL, *old;
	struct stat now;
	int r;

	if (stat(passwd->file, &now) < 0)
		now = (struct stat){ 0 }; /* gone: a version of its own */
	if (is_same_version(&now, &passwd->seen))
		return MAP_NOT_CHANGED;
	now = (struct stat){ 0 };
	r = table_load(passwd->file, &now, &fresh, err);
	passwd->seen = now;
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
