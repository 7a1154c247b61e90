/* test_newfile - files appear whole, or nothing has happened */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/macros.h"
#include "certs/newfile.h"

struct place {
	char directory[32];
	struct arena arena;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->directory, "newfile.XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;
	DIR *dir = opendir(p->directory);
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(p->directory);
	arena_done(&p->arena);
	free(p);
	return 0;
}

static const char *path(struct place *p, const char *name)
{
	return arena_printf(&p->arena, "%s/%s", p->directory, name);
}

static unsigned int count_files(const struct place *p)
{
	DIR *dir = opendir(p->directory);
	unsigned int count = 0;
	struct dirent *entry;

	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void assert_file(const char *file, const char *text, mode_t mode)
{
	char got[64] = { 0 };
	FILE *f = fopen(file, "re");
	struct stat st;

	assert_non_null(f);
	assert_int_equal(fread(got, 1, sizeof(got) - 1, f), strlen(text));
	fclose(f);
	assert_string_equal(got, text);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static int write_pair(struct place *p, const char *key, const char *cert, bool may_replace,
		      struct error *err)
{
	const struct certs_newfile files[] = {
		{ path(p, "a.key"), slice_from(key), true },
		{ path(p, "a.crt"), slice_from(cert), false },
	};

	return certs_newfile_write(files, ARRAY_SIZE(files), may_replace, err);
}

static void test_new(void **state)
{
	struct place *p = *state;
	struct error err = { 0 };
	mode_t old = umask(0);

	assert_int_equal(write_pair(p, "secret", "public", false, &err), 0);
	umask(old);
	assert_file(path(p, "a.key"), "secret", 0600);
	assert_file(path(p, "a.crt"), "public", 0644);
	assert_int_equal(count_files(p), 2);
}

static void test_in_the_way(void **state)
{
	struct place *p = *state;
	struct error err = { 0 };

	assert_int_equal(write_pair(p, "secret", "public", false, &err), 0);
	assert_int_equal(unlink(path(p, "a.key")), 0);
	assert_int_equal(write_pair(p, "other", "other", false, &err), -EEXIST);
	assert_non_null(strstr(err.text, "a.crt: exists already"));
	assert_file(path(p, "a.crt"), "public", 0644);
	assert_int_equal(count_files(p), 1); /* not a key that fits to nothing */
}

/* A link that leads nowhere is found only when the file is to be put there. */
static void test_link_in_the_way(void **state)
{
	struct place *p = *state;
	struct error err = { 0 };

	assert_int_equal(symlink("nowhere", path(p, "a.crt")), 0);
	assert_int_equal(write_pair(p, "secret", "public", false, &err), -EEXIST);
	assert_int_equal(count_files(p), 1);
}

static void test_replace(void **state)
{
	struct place *p = *state;
	struct error err = { 0 };

	assert_int_equal(write_pair(p, "secret", "public", false, &err), 0);
	assert_int_equal(chmod(path(p, "a.key"), 0644), 0);
	assert_int_equal(write_pair(p, "new secret", "new public", true, &err), 0);
	assert_file(path(p, "a.key"), "new secret", 0640); /* by its group, not by all */
	assert_file(path(p, "a.crt"), "new public", 0644);
	assert_int_equal(count_files(p), 2);
}

static void test_no_directory(void **state)
{
	struct place *p = *state;
	const struct certs_newfile file = { path(p, "none/a.key"), slice_from("secret"), true };
	struct error err = { 0 };

	assert_int_equal(certs_newfile_write(&file, 1, false, &err), -ENOENT);
	assert_non_null(strstr(err.text, "none/a.key: "));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_new, setup, teardown),
		cmocka_unit_test_setup_teardown(test_in_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_link_in_the_way, setup, teardown),
		cmocka_unit_test_setup_teardown(test_replace, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_directory, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
