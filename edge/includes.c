/* Few files, named by the operator: so a list would do, but for aliases that come from a database. */
#include "edge/includes.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "maps/text.h"

struct include {
	char *text;
	size_t len;
	struct stat stat;
	int trouble; /* the error that was told, 0: none */
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

/* One that is being written is read again. */
static int read_file(const char *path, struct include *ret, struct error *err)
{
	struct stat st;
	int r;

	if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size > INCLUDE_BYTES_MAX)
		return error_set(err, -EFBIG, "%s: larger than %u bytes", path, INCLUDE_BYTES_MAX);
	r = text_read(path, path, &ret->text, &ret->len, &ret->stat, err);
	return r == TEXT_CHANGING ? error_set(err, -EAGAIN, "%s: the file is being written", path)
				  : r;
}

int includes_get(struct includes *includes, const char *path, struct arena *arena,
		 struct slice *ret_text, struct error *err)
{
	struct include *file, read = { 0 };
	int r = 0;

	pthread_mutex_lock(&includes->lock);
	file = strmap_get(&includes->files, slice_from(path));
	if (!file) {
		r = read_file(path, &read, err);
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

static void refresh_file(const char *path, struct include *file, struct log *log)
{
	struct include read = { 0 };
	struct error err = { 0 };
	struct stat st;
	int r;

	if (file->trouble == 0 && stat(path, &st) == 0 && text_is_unchanged(&st, &file->stat))
		return;
	r = read_file(path, &read, &err);
	if (r == 0) {
		free(file->text);
		*file = read;
		log_write(log, "smtpd", LOG_LEVEL_INFO, "%s has changed and was taken up", path);
	} else if (r != file->trouble) {
		file->trouble = r;
		log_write(log, "smtpd", LOG_LEVEL_ERROR, "%s; keeping what it held before",
			  err.text);
	}
}

void includes_refresh(struct includes *includes, struct log *log)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	pthread_mutex_lock(&includes->lock);
	while ((entry = strmap_next(&includes->files, &cursor)) != NULL)
		refresh_file(entry->key, entry->value, log);
	pthread_mutex_unlock(&includes->lock);
}
