/* test_log - lines in a file: their form, rotation, threads, and text that tries to be two lines */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <regex.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/macros.h"

#define STAMP "^[A-Z][a-z]{2} [ 1-3][0-9] [0-2][0-9]:[0-5][0-9]:[0-6][0-9] mx1 "

struct fixture {
	char directory[64], path[80], rotated[80], destination[96];
	struct log *log;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err = { 0 };

	strcpy(f->directory, "/tmp/posthouse-log-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/log", f->directory);
	snprintf(f->rotated, sizeof(f->rotated), "%s/log.1", f->directory);
	snprintf(f->destination, sizeof(f->destination), "file:%s", f->path);
	if (log_open(f->destination, "mx1", &f->log, &err) < 0)
		fail_msg("%s", err.text);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	log_close(f->log);
	unlink(f->path);
	unlink(f->rotated);
	rmdir(f->directory);
	free(f);
	return 0;
}

static bool matches(const char *text, const char *pattern)
{
	regex_t regex;
	bool found;

	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	found = regexec(&regex, text, 0, NULL, 0) == 0;
	regfree(&regex);
	return found;
}

static const char *read_file(const char *path, char *out, size_t size)
{
	CLEANUP(close_filep) FILE *file = fopen(path, "re");

	assert_non_null(file);
	out[fread(out, 1, size - 1, file)] = '\0';
	return out;
}

static void test_form(void **state)
{
	static const char *const patterns[] = {
		STAMP "posthouse/smtpd\\[[0-9]+\\]: connect from mx\\[192\\.0\\.2\\.1\\]\n$",
		STAMP "posthouse/smtp\\[[0-9]+\\]: warning: slow\n$",
		STAMP "posthouse/qmgr\\[[0-9]+\\]: error: full\n$",
		STAMP "posthouse\\[[0-9]+\\]: fatal: 7\n$",
		STAMP "posthouse/smtpd\\[[0-9]+\\]: one\\?\\?two\\?three\\?\\?\n$",
	};
	struct fixture *f = *state;
	CLEANUP(close_filep) FILE *file = NULL;
	char line[256];
	struct stat st;
	size_t n = 0;

	errno = ENOTTY;
	log_write(f->log, "smtpd", LOG_LEVEL_INFO, "connect from mx[%s]", "192.0.2.1");
	assert_int_equal(errno, ENOTTY); /* left as it was */
	log_write(f->log, "smtp", LOG_LEVEL_WARNING, "slow");
	log_write(f->log, "qmgr", LOG_LEVEL_ERROR, "full");
	log_write(f->log, NULL, LOG_LEVEL_FATAL, "%d", 7);
	log_write(f->log, "smtpd", LOG_LEVEL_INFO, "one\r\ntwo\x1bthree\x7f\t");
	log_write(NULL, "smtpd", LOG_LEVEL_INFO, "nowhere");

	file = fopen(f->path, "re");
	while (fgets(line, sizeof(line), file)) {
		if (!matches(line, patterns[n]))
			fail_msg("line %zu: %s", n, line);
		n++;
	}
	assert_int_equal(n, ARRAY_SIZE(patterns));
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0137, 0); /* at most 0640 */
}

static void test_long_line(void **state)
{
	struct fixture *f = *state;
	CLEANUP(close_filep) FILE *file = NULL;
	char line[16384];
	size_t len;

	log_write(f->log, "smtpd", LOG_LEVEL_INFO, "%07000d", 1);
	log_write(f->log, "smtpd", LOG_LEVEL_INFO, "%020000d", 1);
	file = fopen(f->path, "re");
	assert_non_null(fgets(line, sizeof(line), file));
	assert_string_equal(line + strlen(line) - 3, "01\n");
	assert_non_null(fgets(line, sizeof(line), file));
	len = strlen(line);
	assert_int_equal(len, 8191);
	assert_string_equal(line + len - 5, "0...\n");
	assert_null(fgets(line, sizeof(line), file));
}

static void test_rotation(void **state)
{
	struct fixture *f = *state;
	struct error err = { 0 };
	struct stat st;

	log_write(f->log, NULL, LOG_LEVEL_INFO, "old");
	assert_int_equal(rename(f->path, f->rotated), 0);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "still old");
	assert_int_equal(access(f->path, F_OK), -1);
	assert_int_equal(log_reopen(f->log, &err), 0);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "new");
	assert_int_equal(stat(f->path, &st), 0);
	assert_true(st.st_size > 0);

	/* A directory stands where the file should be: the open file stays in use. */
	unlink(f->path);
	assert_int_equal(mkdir(f->path, 0700), 0);
	assert_int_equal(log_reopen(f->log, &err), -EISDIR);
	assert_true(strstr(err.text, f->path) == err.text);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "no harm");
	rmdir(f->path);
}

#define THREADS 4
#define LINES	2000

static void *write_lines(void *arg)
{
	struct fixture *f = arg;

	for (int i = 0; i < LINES; i++)
		log_write(f->log, "smtp", LOG_LEVEL_INFO, "%0100d end", i);
	return NULL;
}

static size_t count_whole_lines(const char *path)
{
	CLEANUP(close_filep) FILE *file = fopen(path, "re");
	char line[512];
	size_t count = 0;

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		const char *text = strstr(line, "]: ");

		assert_true(strncmp(line + 15, " mx1 posthouse/smtp[", 20) == 0);
		assert_non_null(text);
		assert_int_equal(strlen(text), 3 + 100 + 5);
		count++;
	}
	return count;
}

/* Lines of threads never mix, and none is lost while the file changes under them. */
static void test_threads(void **state)
{
	struct fixture *f = *state;
	pthread_t threads[THREADS];
	struct error err = { 0 };

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_lines, f), 0);
	assert_int_equal(rename(f->path, f->rotated), 0);
	assert_int_equal(log_reopen(f->log, &err), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(count_whole_lines(f->path) + count_whole_lines(f->rotated),
			 THREADS * LINES);
}

/* On a full disk lines are lost, in part or whole; the next one stands on a line of its own. */
static void test_disk_full(void **state)
{
	struct fixture *f = *state;
	struct rlimit limit, full;
	char text[1024];

	signal(SIGXFSZ, SIG_IGN);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "first");
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
	full = limit;
	full.rlim_cur = strlen(read_file(f->path, text, sizeof(text))) + 20;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &full), 0);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "second, which is begun");
	log_write(f->log, NULL, LOG_LEVEL_INFO, "third");
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	log_write(f->log, NULL, LOG_LEVEL_INFO, "fourth");
	log_write(f->log, NULL, LOG_LEVEL_INFO, "fifth");
	read_file(f->path, text, sizeof(text));
	assert_true(matches(text, "first\n[^\n]{20}\n[^\n]*: warning: 2 lines of this log could "
				  "not be written\n[^\n]*: fourth\n[^\n]*: fifth\n$"));
}

static void test_redirect(void **state)
{
	struct fixture *f = *state;
	char other[160], destination[200];
	struct error err = { 0 };

	snprintf(other, sizeof(other), "%s.other", f->path);
	snprintf(destination, sizeof(destination), "file:%s", other);
	log_write(f->log, "smtp", LOG_LEVEL_INFO, "%0100d end", 1);
	assert_int_equal(log_redirect(f->log, destination, &err), 0);
	log_write(f->log, "smtp", LOG_LEVEL_INFO, "%0100d end", 2);
	assert_int_equal(log_redirect(f->log, "file:/nonexistent/log", &err), -ENOENT);
	assert_int_equal(log_redirect(f->log, "nowhere", &err), -EINVAL);
	log_write(f->log, "smtp", LOG_LEVEL_INFO, "%0100d end", 3);
	assert_int_equal(count_whole_lines(f->path), 1);
	assert_int_equal(count_whole_lines(other), 2);

	assert_int_equal(log_redirect(f->log, "stderr", &err), 0);
	log_write(f->log, "smtp", LOG_LEVEL_INFO, "this line belongs to standard error");
	assert_int_equal(log_redirect(f->log, "syslog", &err), 0);
	assert_int_equal(log_reopen(f->log, &err), 0);
	snprintf(destination, sizeof(destination), "file:%s", f->path);
	assert_int_equal(log_redirect(f->log, destination, &err), 0);
	log_write(f->log, "smtp", LOG_LEVEL_INFO, "%0100d end", 4);
	assert_int_equal(count_whole_lines(f->path), 2);
	assert_int_equal(count_whole_lines(other), 2);
	assert_int_equal(unlink(other), 0);
}

static void test_open_errors(void **state)
{
	static const char *const cases[] = { "", "stdout", "file:", "/var/log/mail", "Syslog" };
	struct log *log = NULL;
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(log_open(cases[i], "mx1", &log, &err), -EINVAL);
		assert_non_null(strstr(err.text, "expected stderr, syslog, file:PATH"));
	}
	assert_int_equal(log_open("file:/nonexistent/log", "mx1", &log, &err), -ENOENT);
	assert_string_equal(err.text, "/nonexistent/log: No such file or directory");
	assert_null(log);
	log_close(NULL);

	assert_int_equal(log_open("stderr", "mx1", &log, &err), 0);
	assert_int_equal(log_reopen(log, &err), 0);
	log_close(log);
	assert_true(fcntl(STDERR_FILENO, F_GETFD) >= 0); /* not ours to close */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_form, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_long_line, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_rotation, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_threads, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_disk_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_redirect, set_up, tear_down),
		cmocka_unit_test(test_open_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
