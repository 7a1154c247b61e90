/*
 * standalone - runs a fuzz target on saved inputs, without libFuzzer
 *
 *	corpus_NAME PATH…	each a file, or a folder of files
 *
 * Fails when there is no input at all: that would be a wrong path.
 */
#include <dirent.h>
#include <errno.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tests/fuzz/fuzz.h"

static void fail(const char *path)
{
	fprintf(stderr, "%s: %s\n", path, strerror(errno));
	exit(1);
}

static void run_file(const char *path)
{
	CLEANUP(close_filep) FILE *file = fopen(path, "re");
	struct buf content = { 0 };
	uint8_t *copy;
	size_t n;

	if (!file)
		fail(path);
	while ((n = fread(buf_reserve(&content, 4096), 1, 4096, file)) > 0)
		buf_commit(&content, n);
	if (ferror(file))
		fail(path);

	/* Of exactly its size, so that the sanitizer sees a read beyond it. */
	n = buf_len(&content);
	copy = malloc(n + !n);
	if (!copy)
		fail(path);
	if (n > 0)
		memcpy(copy, buf_slice(&content).ptr, n);
	buf_done(&content);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

/* Returns how many inputs were run. */
static unsigned int run_path(const char *path)
{
	DIR *folder = opendir(path);
	struct dirent *entry;
	struct buf name = { 0 };
	unsigned int runs = 0;

	if (!folder && errno == ENOTDIR) {
		run_file(path);
		return 1;
	}
	if (!folder)
		fail(path);
	while ((entry = readdir(folder))) {
		if (entry->d_name[0] == '.')
			continue;
		buf_clear(&name);
		buf_printf(&name, "%s/%s", path, entry->d_name);
		buf_append(&name, "", 1);
		runs += run_path(buf_slice(&name).ptr);
	}
	buf_done(&name);
	closedir(folder);
	return runs;
}

int main(int argc, char **argv)
{
	unsigned int runs = 0;

	for (int i = 1; i < argc; i++)
		runs += run_path(argv[i]);
	printf("%u inputs\n", runs);
	return runs > 0 ? 0 : 1;
}
