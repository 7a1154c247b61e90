/*
 * newfile - link() puts a file where there is none, and fails where there is
 * one, whoever made it in between; rename() replaces it
 */
#include "certs/newfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"

#define FILES_MAX   4
#define SECRET_MODE 0600
#define SECRET_MASK 0640 /* what a replaced one may have had */
#define PUBLIC_MODE 0644

struct draft {
	char *temporary; /* NULL: it is not there (any more) */
	bool is_placed;
};

static int failed(const char *path, struct error *err)
{
	return error_set(err, -errno, "%s: %s", path, strerror(errno));
}

static int write_all(int fd, struct slice text)
{
	while (text.len > 0) {
		ssize_t n = write(fd, text.ptr, text.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		text = slice_skip(text, (size_t)n);
	}
	return fsync(fd);
}

/*
 * The server's account often reads a key by its group, and a renewal shall not
 * take that away. Whoever is not root may not give files away; the mode then
 * must not let a wrong group read.
 */
static int set_mode(int fd, const struct certs_newfile *file)
{
	mode_t mode = file->is_secret ? SECRET_MODE : PUBLIC_MODE;
	struct stat old;

	if (file->is_secret && stat(file->path, &old) == 0 &&
	    fchown(fd, old.st_uid, old.st_gid) == 0)
		mode = (old.st_mode & SECRET_MASK) | SECRET_MODE;
	return fchmod(fd, mode);
}

/* mkostemp() makes it with mode 0600 and for us alone. */
static int write_draft(const struct certs_newfile *file, struct draft *d, struct error *err)
{
	CLEANUP(close_fdp) int fd = -1;
	int r;

	if (asprintf(&d->temporary, "%s.XXXXXX", file->path) < 0) {
		d->temporary = NULL;
		return error_set(err, -ENOMEM, "%s: out of memory", file->path);
	}
	fd = mkostemp(d->temporary, O_CLOEXEC);
	if (fd < 0) {
		r = failed(file->path, err);
		free(d->temporary);
		d->temporary = NULL;
		return r;
	}
	if (write_all(fd, file->text) < 0 || set_mode(fd, file) < 0)
		return failed(file->path, err);
	return 0;
}

static int exists_error(const char *path, struct error *err)
{
	return error_set(err, -EEXIST, "%s: exists already; --force replaces it", path);
}

static int place(const struct certs_newfile *file, struct draft *d, bool may_replace,
		 struct error *err)
{
	if (may_replace) {
		if (rename(d->temporary, file->path) < 0)
			return failed(file->path, err);
		free(d->temporary);
		d->temporary = NULL;
		return 0;
	}
	if (link(d->temporary, file->path) < 0)
		return errno == EEXIST ? exists_error(file->path, err) : failed(file->path, err);
	d->is_placed = true;
	return 0;
}

/* So that the names survive a power cut, too. */
static int sync_directory(const char *path, struct error *err)
{
	CLEANUP(free_strp) char *copy = strdup(path);
	CLEANUP(close_fdp) int fd = -1;

	if (!copy)
		return error_set(err, -ENOMEM, "%s: out of memory", path);
	fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd >= 0 && fsync(fd) == 0 ? 0 : failed(path, err);
}

static int write_them(const struct certs_newfile *files, struct draft *drafts, unsigned int count,
		      bool may_replace, struct error *err)
{
	int r = 0;

	for (unsigned int i = 0; r == 0 && !may_replace && i < count; i++)
		if (access(files[i].path, F_OK) == 0)
			r = exists_error(files[i].path, err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = write_draft(&files[i], &drafts[i], err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = place(&files[i], &drafts[i], may_replace, err);
	for (unsigned int i = 0; r == 0 && i < count; i++)
		r = sync_directory(files[i].path, err);
	return r;
}

int certs_newfile_write(const struct certs_newfile *files, unsigned int count, bool may_replace,
			struct error *err)
{
	struct draft drafts[FILES_MAX] = { 0 };
	int r;

	if (count > FILES_MAX)
		return error_set(err, -E2BIG, "too many files at once");
	r = write_them(files, drafts, count, may_replace, err);
	for (unsigned int i = 0; i < count; i++) {
		if (drafts[i].temporary)
			unlink(drafts[i].temporary);
		if (r < 0 && drafts[i].is_placed)
			unlink(files[i].path);
		free(drafts[i].temporary);
	}
	return r;
}
