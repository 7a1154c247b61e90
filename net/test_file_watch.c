/* test_file_watch - a new name in a directory, and a change of it, are told */

#include "net/file_watch.h"
#include "net/testing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct seen {
	struct loop *loop;
	unsigned int count;
};

static void on_change(void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	loop_stop(seen->loop);
}

static void test_directory(void **state)
{
	char directory[] = "/tmp/posthouse-watch-XXXXXX", path[64], renamed[64];
	struct seen seen = { .count = 0 };
	struct file_watch *watch = NULL;
	struct error err;
	int fd;

	(void)state;
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof(path), "%s/a", directory);
	snprintf(renamed, sizeof(renamed), "%s/b", directory);
	assert_int_equal(loop_new(&seen.loop, &err), 0);
	assert_int_equal(file_watch_new(seen.loop, directory, on_change, &seen, &watch, &err), 0);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	loop_run(seen.loop);
	assert_true(seen.count > 0);
	seen.count = 0;
	assert_int_equal(rename(path, renamed), 0);
	loop_run(seen.loop);
	assert_true(seen.count > 0);
	file_watch_free(watch);
	loop_free(seen.loop);
	unlink(renamed);
	rmdir(directory);
}

static void test_absent(void **state)
{
	struct file_watch *watch = NULL;
	struct loop *loop = NULL;
	struct error err;

	(void)state;
	assert_int_equal(loop_new(&loop, &err), 0);
	assert_int_equal(file_watch_new(loop, "/nowhere/at/all", on_change, NULL, &watch, &err),
			 -ENOENT);
	assert_null(watch);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_directory),
		cmocka_unit_test(test_absent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
