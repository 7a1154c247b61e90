/* Few files, named by the operator: so a list would do, but for aliases that come from a database. */
#include "edge/includes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "maps/text.h"

struct include {
	char *text;
	size_t len;
	struct stat stat;
	bool is_settled; /* by its stat alone: a young file may change and look the same */
	int trouble;	 /* the error that was told, 0: none */
};

struct includes {
	pthread_mutex_t lock;
	struct strmap files; /* path -> struct include */
};

struct includes *includes_new(void)
{
	struct includes *includes = memory_zeroed(sizeof(*includes));

	pthread_mutex_init(&includes->lock, NULL);
	return includes;
}

void includes_free(struct includes *includes)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	if (!includes)
		return;
	while ((entry = strmap_next(&includes->files, &cursor)) != NULL) {
		struct include *file = entry->value;

		free(file->text);
		free(file);
	}
	strmap_done(&includes->files);
	pthread_mutex_destroy(&includes->lock);
	free(includes);
}

int include_check(const char *path, struct error *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return error_set(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return error_set(err, -EINVAL, "%s: not a regular file", path);
	if (st.st_size > INCLUDE_BYTES_MAX)
		return error_set(err, -EFBIG, "%s: larger than %u bytes", path, INCLUDE_BYTES_MAX);
	if (st.st_mode & S_IWOTH)
		return error_set(err, -EPERM,
				 "%s: every account of this host may change it; chmod o-w", path);
	return 0;
}

/* -EAGAIN: somebody is writing it. */
static int read_file(const char *path, int64_t wall_ms, struct include *ret, struct error *err)
{
	int r = include_check(path, err);

	*ret = (struct include){ 0 };
	if (r == 0)
		r = text_read(path, path, &ret->text, &ret->len, &ret->stat, err);
	if (r < 0)
		return r;
	if (r == TEXT_CHANGING ||
	    text_is_part(&ret->stat, slice_of(ret->text, ret->len), wall_ms)) {
		free(ret->text);
		return error_set(err, -EAGAIN, "%s: the file is being written", path);
	}
	ret->is_settled = text_is_settled(&ret->stat, wall_ms);
	return 0;
}

int includes_get(struct includes *includes, const char *path, struct arena *arena,
		 struct slice *ret_text, struct error *err)
{
	struct include *file, read;
	int r = 0;

	pthread_mutex_lock(&includes->lock);
	file = strmap_get(&includes->files, slice_from(path));
	if (!file) {
		r = read_file(path, clock_wall_ms(&clock_system), &read, err);
		if (r == 0) {
			file = memory_zeroed(sizeof(*file));
			*file = read;
			strmap_put(&includes->files, slice_from(path), file);
		}
	}
	if (r == 0)
		*ret_text =
			slice_of(arena_slicedup(arena, slice_of(file->text, file->len)), file->len);
	pthread_mutex_unlock(&includes->lock);
	return r;
}

static bool is_as_seen(const char *path, const struct include *file)
{
	struct stat now;

	return file->trouble == 0 && file->is_settled && stat(path, &now) == 0 &&
	       now.st_dev == file->stat.st_dev && now.st_ino == file->stat.st_ino &&
	       text_is_unchanged(&now, &file->stat);
}

static void refresh_file(const char *path, int64_t wall_ms, struct include *file, struct log *log)
{
	struct include read;
	struct error err;
	bool is_same;
	int r;

	if (is_as_seen(path, file))
		return;
	r = read_file(path, wall_ms, &read, &err);
	if (r == 0) {
		is_same =
			slice_equal(slice_of(read.text, read.len), slice_of(file->text, file->len));
		free(file->text);
		*file = read;
		if (!is_same)
			log_write(log, "smtpd", LOG_LEVEL_INFO, "%s has changed and was taken up",
				  path);
	} else if (r != -EAGAIN && r != file->trouble) {
		file->trouble = r;
		log_write(log, "smtpd", LOG_LEVEL_ERROR, "%s; keeping what it held before",
			  err.text);
	}
}

void includes_refresh_at(struct includes *includes, int64_t wall_ms, struct log *log)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	pthread_mutex_lock(&includes->lock);
	while ((entry = strmap_next(&includes->files, &cursor)) != NULL)
		refresh_file(entry->key, wall_ms, entry->value, log);
	pthread_mutex_unlock(&includes->lock);
}

void includes_refresh(struct includes *includes, struct log *log)
{
	includes_refresh_at(includes, clock_wall_ms(&clock_system), log);
}
