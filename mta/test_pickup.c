/* test_pickup - the drop directory of a running mta, and of one that stops or cannot store */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mta/drop.h"
#include "mta/intake.h"
#include "mta/test_rig.h"

struct place {
	struct rig *rig;
	char path[64];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->path, "/tmp/posthouse-pickup-XXXXXX");
	assert_non_null(mkdtemp(p->path));
	p->rig = rig_new("* = error:5.0.0 no");
	rig_options(p->rig)->drop_directory = p->path;
	*state = p;
	return 0;
}

static unsigned int count_files(const struct place *p, const char *folder)
{
	const struct dirent *entry;
	unsigned int count = 0;
	char path[128];
	DIR *directory;

	snprintf(path, sizeof(path), "%s/%s", p->path, folder);
	directory = opendir(path);
	while (directory && (entry = readdir(directory)) != NULL)
		count += entry->d_type == DT_REG;
	if (directory)
		closedir(directory);
	return count;
}

static void empty(const struct place *p, const char *folder)
{
	const struct dirent *entry;
	char path[128];
	DIR *directory;

	snprintf(path, sizeof(path), "%s/%s", p->path, folder);
	directory = opendir(path);
	assert_non_null(directory);
	while ((entry = readdir(directory)) != NULL)
		unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

static int teardown(void **state)
{
	struct place *p = *state;
	char path[128];

	rig_free(p->rig);
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", p->path, i ? DROP_TAKEN : DROP_BAD);
		rmdir(path);
	}
	assert_int_equal(rmdir(p->path), 0); /* nothing is left in there */
	free(p);
	return 0;
}

static void drop(struct place *p, const char *recipient, size_t size)
{
	const char *recipients[] = { recipient };
	struct drop_envelope envelope = {
		.sender = "alice@example.com",
		.full_name = "",
		.envelope_id = "",
		.recipients = recipients,
		.recipient_count = 1,
	};
	struct drop_writer *w = NULL;
	char name[DROP_NAME_SIZE];
	struct error err;

	assert_int_equal(drop_create(p->path, &envelope, &w, &err), 0);
	assert_int_equal(drop_write(w, SLICE("Subject: x\r\n\r\n"), &err), 0);
	for (size_t i = 0; i < size; i += 16)
		assert_int_equal(drop_write(w, SLICE("0123456789abcd\r\n"), &err), 0);
	assert_int_equal(drop_commit(w, name, &err), 0);
	drop_free(w);
}

static void test_more_than_a_round(void **state)
{
	struct place *p = *state;
	char text[64];

	for (unsigned int i = 0; i < 150; i++) {
		snprintf(text, sizeof(text), "bob%u@local", i);
		drop(p, text, i % 50 ? 100 : 300000);
	}
	rig_start(p->rig);
	for (unsigned int i = 0; i < 150; i++) {
		snprintf(text, sizeof(text), "to=<bob%u@local>", i);
		rig_wait_log(p->rig, text);
	}
	rig_wait_queued(p->rig, 0);
	rig_stop(p->rig, 1000);
	assert_int_equal(count_files(p, ""), 0);
	assert_int_equal(count_files(p, DROP_TAKEN), 0);
}

/* In the midst of a round: it is finished, or waits for the next start; and comes once. */
static void test_stop(void **state)
{
	struct place *p = *state;

	rig_start(p->rig);
	drop(p, "bob@local", 100);
	rig_stop(p->rig, 1000);
	rig_restart(p->rig);
	rig_wait_log(p->rig, "to=<bob@local>");
	rig_wait_queued(p->rig, 0);
	rig_stop(p->rig, 1000);
	assert_int_equal(rig_count_logged(p->rig, "to=<bob@local>"), 1);
}

/* The disk fails when what was taken is synced: the file stays, and is taken when it is mended. */
static void test_broken_disk(void **state)
{
	struct place *p = *state;

	drop(p, "bob@local", 100);
	rig_fail_syncs(true);
	rig_start(p->rig);
	rig_wait_log(p->rig, "Input/output error");
	assert_int_equal(count_files(p, DROP_TAKEN), 1);
	rig_stop(p->rig, 1000);
	rig_fail_syncs(false);
	rig_restart(p->rig);
	rig_wait_log(p->rig, "to=<bob@local>");
	rig_wait_queued(p->rig, 0);
	rig_stop(p->rig, 1000);
	assert_int_equal(rig_count_logged(p->rig, "to=<bob@local>"), 1);
}

/* Who was killed while he wrote has left a file, which goes after a day; others still write. */
static void test_leftovers(void **state)
{
	struct place *p = *state;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/.left", p->path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
	assert_true(fd >= 0);
	close(fd);
	drop(p, "bob@local", 100);
	rig_start(p->rig);
	rig_wait_log(p->rig, "to=<bob@local>");
	assert_int_equal(count_files(p, ""), 1);
	rig_stop(p->rig, 1000);
	rig_advance(p->rig, 2 * 86400 * INT64_C(1000));
	drop(p, "carol@local", 100);
	rig_restart(p->rig);
	rig_wait_log(p->rig, "to=<carol@local>");
	assert_int_equal(count_files(p, ""), 0);
	rig_stop(p->rig, 1000);
}

/* Each round ends, however many files there are that nobody can use; and the next one goes on. */
static void test_many_bad_files(void **state)
{
	const unsigned int count = INTAKE_FILES_MAX + 100;
	struct intake intake = { .has_waited_long = true };
	struct place *p = *state;
	char path[128];
	struct error err;
	int fd;

	for (unsigned int i = 0; i < count; i++) {
		snprintf(path, sizeof(path), "%s/%u", p->path, i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		assert_true(fd >= 0);
		close(fd);
	}
	assert_int_equal(intake_collect(rig_options(p->rig), INTAKE_NEW, &intake, &err), 0);
	assert_true(intake.has_more);
	assert_int_equal(count_files(p, ""), 100);
	intake_done(&intake);
	rig_start(p->rig);
	drop(p, "bob@local", 100);
	rig_wait_log(p->rig, "to=<bob@local>");
	rig_wait_queued(p->rig, 0);
	rig_stop(p->rig, 1000);
	assert_int_equal(count_files(p, DROP_BAD), count);
	empty(p, DROP_BAD);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_more_than_a_round), TEST(test_stop),		 TEST(test_broken_disk),
		TEST(test_leftovers),	      TEST(test_many_bad_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
