/*
 * A line for each thing that was learned, the last one about an address counts:
 *
 *	CHECKED-MS TAB VERDICT TAB CODE TAB X.Y.Z TAB ADDRESS TAB TEXT
 *
 * VERDICT is deliverable, undeliverable or forgotten. Addresses have no control
 * characters (smtp/address.h), and texts are escaped. Lines are appended, by one
 * write(2) for many; when most of them are out of date the file is written
 * anew beside the old one and renamed over it. After a crash a line may be torn, or
 * have zeros in it: then it is no line of ours. Behind a torn one nothing may be
 * appended, as the two would make one that says what nobody has said.
 */
#include "mta/verify_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/macros.h"
#include "base/parse.h"

#define NAME	       "verify.cache"
#define FORGOTTEN      "forgotten"
#define LINE_MAX_BYTES 2048

enum field { CHECKED, VERDICT, CODE, ENHANCED, ADDRESS, TEXT, FIELD_COUNT };

static int set_errno(struct error *err, const char *path)
{
	return error_set(err, -errno, "%s: %s", path, strerror(errno));
}

static bool split(struct slice line, struct slice fields[FIELD_COUNT])
{
	for (size_t i = 0; i + 1 < FIELD_COUNT; i++) {
		size_t len = slice_find(line, '\t');

		if (len == line.len)
			return false;
		fields[i] = slice_first(line, len);
		line = slice_skip(line, len + 1);
	}
	fields[TEXT] = line;
	return true;
}

static bool parse_fact(const struct slice fields[FIELD_COUNT], struct verify_fact *ret)
{
	struct slice enhanced = fields[ENHANCED];
	struct smtp_enhanced class = { 0 };
	uint64_t checked_ms, code;

	*ret = (struct verify_fact){ .verdict = VERIFY_DELIVERABLE };
	if (!slice_equal(fields[VERDICT], SLICE("deliverable")))
		ret->verdict = VERIFY_UNDELIVERABLE;
	if (!parse_uint(fields[CHECKED], INT64_MAX, &checked_ms) ||
	    !parse_uint(fields[CODE], 599, &code))
		return false;
	smtp_enhanced_parse(&enhanced, &class);
	ret->checked_ms = (int64_t)checked_ms;
	smtp_status_set_text(&ret->status, (int)code, class, fields[TEXT]);
	return true;
}

static void take_line(struct verify_cache *c, struct slice line)
{
	struct slice fields[FIELD_COUNT];
	struct verify_fact fact;
	char address[LINE_MAX_BYTES];

	if (slice_find(line, '\0') < line.len || !split(line, fields) || fields[ADDRESS].len == 0 ||
	    !slice_copy(fields[ADDRESS], address, sizeof(address)))
		return;
	if (slice_equal(fields[VERDICT], SLICE(FORGOTTEN)))
		verify_cache_forget(c, address);
	else if ((slice_equal(fields[VERDICT], SLICE("deliverable")) ||
		  slice_equal(fields[VERDICT], SLICE("undeliverable"))) &&
		 parse_fact(fields, &fact))
		verify_cache_put(c, address, &fact);
}

bool verify_file_exists(const char *directory)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" VERIFY_FILE_NAME, directory);
	return access(path, F_OK) == 0;
}

int verify_file_load(const char *directory, struct verify_cache *c, size_t *ret_lines,
		     struct error *err)
{
	CLEANUP(close_filep) FILE *file = NULL;
	CLEANUP(free_strp) char *line = NULL;
	char path[4096];
	size_t size = 0;
	ssize_t len;

	*ret_lines = 0;
	snprintf(path, sizeof(path), "%s/" VERIFY_FILE_NAME, directory);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? 0 : set_errno(err, path);
	while ((len = getline(&line, &size, file)) > 0) {
		++*ret_lines;
		if (line[len - 1] == '\n')
			take_line(c, slice_of(line, (size_t)len - 1));
		else
			*ret_lines = SIZE_MAX;
	}
	return ferror(file) ? set_errno(err, path) : 0;
}

void verify_file_write_line(struct buf *out, const char *address, const struct verify_fact *fact)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	if (!fact) {
		buf_printf(out, "0\t" FORGOTTEN "\t0\t0.0.0\t%s\t\n", address);
		return;
	}
	buf_printf(out, "%" PRId64 "\t%s\t%d\t%s\t%s\t%s\n", fact->checked_ms,
		   verify_verdict_name(fact->verdict), fact->status.code,
		   smtp_status_enhanced_text(&fact->status, enhanced), address, fact->status.text);
}

static int write_all(int fd, const char *path, struct slice bytes, struct error *err)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.ptr, bytes.len);

		if (n < 0 && errno != EINTR)
			return set_errno(err, path);
		bytes = slice_skip(bytes, n < 0 ? 0 : (size_t)n);
	}
	return 0;
}

static int write_file(const char *path, int flags, struct slice lines, struct error *err)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0600), r;

	if (fd < 0)
		return set_errno(err, path);
	r = write_all(fd, path, lines, err);
	if (close(fd) < 0 && r == 0)
		r = set_errno(err, path);
	return r;
}

int verify_file_append(const char *directory, struct slice lines, struct error *err)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/" VERIFY_FILE_NAME, directory);
	return write_file(path, O_APPEND, lines, err);
}

int verify_file_replace(const char *directory, struct slice lines, struct error *err)
{
	char path[4096], fresh[4096];
	int r;

	snprintf(path, sizeof(path), "%s/" VERIFY_FILE_NAME, directory);
	snprintf(fresh, sizeof(fresh), "%s/" VERIFY_FILE_NAME ".new", directory);
	r = write_file(fresh, O_TRUNC, lines, err);
	if (r == 0 && rename(fresh, path) < 0)
		r = set_errno(err, path);
	if (r < 0)
		unlink(fresh);
	return r;
}
