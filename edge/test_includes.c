/* test_includes - files of members while they are written, and those that are not to be read */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "edge/includes.h"

struct fixture {
	char dir[32], path[64];
	struct includes *includes;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/includes.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/members", f->dir);
	f->includes = includes_new();
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	includes_free(f->includes);
	unlink(f->path);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* In place, as editors and scripts do. Returns when, as the file system has it. */
static int64_t write_file(const struct fixture *f, const char *text)
{
	FILE *stream = fopen(f->path, "we");
	struct stat st;

	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
	assert_return_code(stat(f->path, &st), errno);
	return (int64_t)st.st_ctim.tv_sec * 1000 + st.st_ctim.tv_nsec / 1000000;
}

static void expect(const struct fixture *f, const char *wanted)
{
	struct arena arena = { 0 };
	struct slice text;
	struct error err;

	assert_int_equal(includes_get(f->includes, f->path, &arena, &text, &err), 0);
	assert_string_equal(text.ptr, wanted);
	arena_done(&arena);
}

/* Half a list would leave the others without their mail. */
static void test_half_written(void **state)
{
	static const char *const halves[] = { "", "alice@vm1.vm\nbob@v" };
	const struct fixture *f = *state;

	write_file(f, "alice@vm1.vm\n");
	expect(f, "alice@vm1.vm\n");
	for (size_t i = 0; i < 2; i++) {
		int64_t written_ms = write_file(f, halves[i]);

		includes_refresh_at(f->includes, written_ms, NULL);
		expect(f, "alice@vm1.vm\n");
		includes_refresh_at(f->includes, written_ms + 2000, NULL);
		expect(f, halves[i]);
		includes_refresh_at(f->includes, write_file(f, "alice@vm1.vm\n"), NULL);
		expect(f, "alice@vm1.vm\n");
	}
}

static void test_not_read(void **state)
{
	const struct fixture *f = *state;
	struct arena arena = { 0 };
	struct slice text;
	struct error err;

	assert_int_equal(includes_get(f->includes, f->path, &arena, &text, &err), -ENOENT);
	write_file(f, "alice@vm1.vm\n");
	assert_return_code(chmod(f->path, 0666), errno);
	assert_int_equal(includes_get(f->includes, f->path, &arena, &text, &err), -EPERM);
	assert_return_code(truncate(f->path, INCLUDE_BYTES_MAX + 1), errno);
	assert_return_code(chmod(f->path, 0644), errno);
	assert_int_equal(includes_get(f->includes, f->path, &arena, &text, &err), -EFBIG);
	unlink(f->path);
	assert_return_code(mkfifo(f->path, 0600), errno);
	assert_int_equal(includes_get(f->includes, f->path, &arena, &text, &err), -EINVAL);
	arena_done(&arena);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_half_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_read, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
