/*
 * test_passwd_edit - changes of a password file: what stays, what two at once
 * do, and what is there when the process is killed in the middle
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/macros.h"
#include "edge/passwd.h"
#include "edge/passwd_edit.h"

#define NO_GROUP ((gid_t)-1)

/* The linker puts these in the way of the functions that change files; see meson.build. */
static unsigned int calls_left; /* 0: nobody is killed */

static void maybe_die(void)
{
	if (calls_left > 0 && --calls_left == 0)
		raise(SIGKILL);
}

#define WRAP(result, name, parameters, arguments)                                                  \
	result __real_##name parameters;                                                           \
	result __wrap_##name parameters;                                                           \
	result __wrap_##name parameters                                                            \
	{                                                                                          \
		result r;                                                                          \
                                                                                                   \
		maybe_die();                                                                       \
		r = __real_##name arguments;                                                       \
		maybe_die();                                                                       \
		return r;                                                                          \
	}

WRAP(int, fchown, (int fd, uid_t user, gid_t group), (fd, user, group))
WRAP(int, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP(ssize_t, write, (int fd, const void *ptr, size_t len), (fd, ptr, len))
WRAP(int, fsync, (int fd), (fd))
WRAP(int, rename, (const char *from, const char *to), (from, to))
WRAP(int, unlink, (const char *path), (path))

struct fixture {
	char dir[32], file[64], left[80];
};

static void write_file(const char *file, const char *text)
{
	FILE *stream = fopen(file, "we");

	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
}

static void read_file(const char *file, char text[4096])
{
	FILE *stream = fopen(file, "re");

	assert_non_null(stream);
	text[fread(text, 1, 4095, stream)] = '\0';
	fclose(stream);
}

static void assert_file(const char *file, const char *wanted)
{
	char text[4096];

	read_file(file, text);
	assert_string_equal(text, wanted);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/passwd.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->file, sizeof(f->file), "%s/users", f->dir);
	snprintf(f->left, sizeof(f->left), "%s/users.posthouse-new", f->dir);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char link[80];

	snprintf(link, sizeof(link), "%s/link", f->dir);
	unlink(f->left);
	unlink(f->file);
	unlink(link);
	rmdir(f->dir);
	free(f);
	return 0;
}

static int edit(const char *file, enum passwd_action action, const char *user, const char *stored)
{
	struct passwd_edit e = { action, user, slice_from(stored), NO_GROUP };
	struct error err = { 0 };

	return passwd_edit(file, &e, &err);
}

static const struct {
	const char *label, *before;
	enum passwd_action action;
	const char *user;
	int outcome;
	const char *after;
} cases[] = {
	{ "first", "", PASSWD_ADD, "a", 0, "a:{PLAIN}new\n" },
	{ "behind the others", "# us\nb:{PLAIN}x\n\n", PASSWD_ADD, "a", 0,
	  "# us\nb:{PLAIN}x\n\na:{PLAIN}new\n" },
	{ "no line end", "b:{PLAIN}x", PASSWD_ADD, "a", 0, "b:{PLAIN}x\na:{PLAIN}new\n" },
	{ "there already", "A:{PLAIN}x\n", PASSWD_ADD, "a", PASSWD_USER_EXISTS, NULL },
	{ "in a comment only", "#a:{PLAIN}x\n", PASSWD_ADD, "a", 0, "#a:{PLAIN}x\na:{PLAIN}new\n" },
	{ "bad line elsewhere", "b\n", PASSWD_ADD, "a", -EINVAL, NULL },
	{ "password", "c:\na:{PLAIN}x\n# end", PASSWD_SET, "a", 0, "c:\na:{PLAIN}new\n# end" },
	{ "fields behind it", " A:{PLAIN}x:1:2::/h::userdb_a=b:c\r\nb:\n", PASSWD_SET, "a", 0,
	  " A:{PLAIN}new:1:2::/h::userdb_a=b:c\r\nb:\n" },
	{ "line end of elsewhere", "a:{PLAIN}x\r\n", PASSWD_SET, "a", 0, "a:{PLAIN}new\r\n" },
	{ "was empty", "a:", PASSWD_SET, "a", 0, "a:{PLAIN}new" },
	{ "a bad one made good", "a:{NO}x\n", PASSWD_SET, "a", 0, "a:{PLAIN}new\n" },
	{ "nobody", "b:\n", PASSWD_SET, "a", PASSWD_NO_USER, NULL },
	{ "gone", "# one\na:{PLAIN}x\nb:\n# two", PASSWD_DELETE, "A", 0, "# one\nb:\n# two" },
	{ "twice, gone", "a:\nb:\na:", PASSWD_DELETE, "a", 0, "b:\n" },
	{ "bad, gone", "a\nb:\n", PASSWD_DELETE, "a", 0, "b:\n" },
	{ "nobody to go", "b:\n", PASSWD_DELETE, "a", PASSWD_NO_USER, NULL },
	{ "the last", "a:\n", PASSWD_DELETE, "a", 0, "" },
	{ "comments are nobody's", "# one\n\na:\n", PASSWD_DELETE, "", PASSWD_NO_USER, NULL },
};

static void test_edits(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char text[4096];
		int r;

		write_file(f->file, cases[i].before);
		r = edit(f->file, cases[i].action, cases[i].user, "{PLAIN}new");
		if (r != cases[i].outcome)
			fail_msg("%s: outcome %d", cases[i].label, r);
		read_file(f->file, text);
		if (strcmp(text, cases[i].after ? cases[i].after : cases[i].before) != 0)
			fail_msg("%s: file is \"%s\"", cases[i].label, text);
		assert_int_not_equal(access(f->left, F_OK), 0);
	}
}

static void test_mode_and_link(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char link[80];

	snprintf(link, sizeof(link), "%s/link", f->dir);
	write_file(f->file, "");
	assert_return_code(chmod(f->file, 0604), 0);
	assert_return_code(symlink("users", link), 0);
	assert_int_equal(edit(link, PASSWD_ADD, "a", "{PLAIN}x"), 0);
	assert_return_code(lstat(link, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_return_code(lstat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0604);
	assert_file(f->file, "a:{PLAIN}x\n");
}

static void test_new_file(void **state)
{
	struct fixture *f = *state;
	struct passwd_edit e = { PASSWD_ADD, "a", SLICE("{PLAIN}x"), getegid() };
	struct error err = { 0 };
	struct stat st;

	assert_int_equal(edit(f->file, PASSWD_SET, "a", "{PLAIN}x"), -ENOENT);
	assert_int_equal(passwd_edit(f->file, &e, &err), 0);
	assert_return_code(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	unlink(f->file);
	assert_int_equal(edit(f->file, PASSWD_ADD, "a", "{PLAIN}x"), 0);
	assert_return_code(stat(f->file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_file(f->file, "a:{PLAIN}x\n");
}

static const struct {
	const char *name;
	bool is_good;
} names[] = {
	{ "alice@vm1.vm", true },  { "alice", true },
	{ "a+b@vm1.vm", true },	   { "", false },
	{ "#a@b", false },	   { "a:b@c", false },
	{ "a b@c", false },	   { "a\n@c", false },
	{ "a/b@c", false },	   { "..@c", false },
	{ ".@c", false },	   { "a@..", false },
	{ "a@", false },	   { "@c", false },
	{ "a@b/c", false },	   { "\xff@c", false },
	{ "..", false },	   { "a\\b@c", false },
	{ "j\xc3\xbcrg@c", true },
};

static void test_names(void **state)
{
	char long_name[300];
	struct error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if ((passwd_user_check(names[i].name, &err) == 0) != names[i].is_good)
			fail_msg("\"%s\": good?", names[i].name);
	memset(long_name, 'a', sizeof(long_name) - 1);
	long_name[sizeof(long_name) - 1] = '\0';
	assert_true(passwd_user_check(long_name, &err) < 0);
}

static void on_account(void *arg, struct slice user, const char *scheme)
{
	char *text = arg;

	sprintf(text + strlen(text), "%.*s=%s ", (int)user.len, user.ptr, scheme);
}

static void test_list(void **state)
{
	struct fixture *f = *state;
	struct error err;
	char text[200] = "";

	write_file(f->file, "# x\nb:{PLAIN.b64}eA==:1\na:\nc:{PLAIN}x::::::nologin\nd:$1$BH5HRh3X$"
			    "rlPY3zja0r9ldHU0xVGF/.\n");
	assert_int_equal(passwd_list(f->file, on_account, text, &err), 0);
	assert_string_equal(text, "b=PLAIN a= c= d=CRYPT ");
	write_file(f->file, "a:\nb\n");
	assert_true(passwd_list(f->file, on_account, text, &err) < 0);
	assert_non_null(strstr(err.text, "users:2: "));
}

/* A file as it should be: users by number, -1: no such user; else the number of its password. */
struct model {
	int users[6];
	unsigned int comments; /* lines "# N", each in its place */
};

static unsigned int next_random(unsigned int *seed)
{
	*seed = *seed * 1103515245u + 12345u;
	return *seed >> 16;
}

static void check_model(const struct fixture *f, const struct model *m)
{
	struct passwd *passwd = NULL;
	struct error err = { 0 };
	char text[4096], *line = text, *end;
	unsigned int comments = 0;

	if (passwd_open(f->file, &passwd, &err) != 0)
		fail_msg("%s", err.text);
	for (int i = 0; i < (int)ARRAY_SIZE(m->users); i++) {
		struct arena arena = { 0 };
		struct account account = { 0 };
		char user[20], password[20];

		snprintf(user, sizeof(user), "u%d@x", i);
		snprintf(password, sizeof(password), "{PLAIN}%d", m->users[i]);
		assert_int_equal(passwd_find(passwd, user, &arena, &account),
				 m->users[i] >= 0 ? MAP_FOUND : MAP_NOT_FOUND);
		if (m->users[i] >= 0)
			assert_true(slice_equal(account.stored, slice_from(password)));
		arena_done(&arena);
	}
	passwd_free(passwd);
	read_file(f->file, text);
	for (; *line; line = end + 1) {
		end = strchr(line, '\n');
		assert_non_null(end);
		if (line[0] == '#')
			assert_int_equal(atoi(line + 1), comments++);
	}
	assert_int_equal(comments, m->comments);
}

/* Whatever is done in whatever order, the file is as the model of it, comments in their order. */
static void test_any_order(void **state)
{
	struct fixture *f = *state;
	struct model m = { { -1, -1, -1, -1, -1, -1 }, 0 };
	unsigned int seed = 42;

	write_file(f->file, "");
	for (int round = 0; round < 200; round++) {
		int user = (int)(next_random(&seed) % ARRAY_SIZE(m.users));
		enum passwd_action action = next_random(&seed) % 3;
		bool there = m.users[user] >= 0;
		char name[20], stored[20];

		if (round % 10 == 0) {
			FILE *stream = fopen(f->file, "ae");

			assert_non_null(stream);
			fprintf(stream, "#%u\n", m.comments++);
			fclose(stream);
		}
		snprintf(name, sizeof(name), "u%d@x", user);
		snprintf(stored, sizeof(stored), "{PLAIN}%d", round);
		assert_int_equal(edit(f->file, action, name, stored),
				 action == PASSWD_ADD ? (there ? PASSWD_USER_EXISTS : 0)
						      : (there ? 0 : PASSWD_NO_USER));
		if (action == PASSWD_DELETE)
			m.users[user] = -1;
		else if (there == (action == PASSWD_SET))
			m.users[user] = round;
		check_model(f, &m);
	}
}

static void await(pid_t pid, int wanted_signal)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (wanted_signal)
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == wanted_signal);
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Each of several processes adds users of its own, and takes every other one away again. */
static void test_at_once(void **state)
{
	enum { PROCESSES = 4, ROUNDS = 6 };
	struct fixture *f = *state;
	struct passwd *passwd = NULL;
	struct error err;
	pid_t pids[PROCESSES];

	write_file(f->file, "# mine\n");
	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		for (int i = 0; pids[p] == 0 && i < ROUNDS; i++) {
			char user[20];

			snprintf(user, sizeof(user), "u%d-%d", p, i);
			if (edit(f->file, PASSWD_ADD, user, "{PLAIN}x") != 0 ||
			    (i % 2 && edit(f->file, PASSWD_DELETE, user, "") != 0))
				_exit(1);
		}
		if (pids[p] == 0)
			_exit(0);
	}
	for (int p = 0; p < PROCESSES; p++)
		await(pids[p], 0);
	assert_return_code(passwd_open(f->file, &passwd, &err), 0);
	for (int p = 0; p < PROCESSES; p++)
		for (int i = 0; i < ROUNDS; i++) {
			char user[20];

			snprintf(user, sizeof(user), "u%d-%d", p, i);
			assert_int_equal(passwd_has_user(passwd, user), i % 2 == 0);
		}
	passwd_free(passwd);
}

/* Before and behind each call that changes a file: there is the old version or the new. */
static void test_killed(void **state)
{
	static const char before[] = "# mine\nb:{PLAIN}b\n";
	static const char after[] = "# mine\nb:{PLAIN}b\na:{PLAIN}x\n";
	struct fixture *f = *state;
	unsigned int old = 0, fresh = 0;
	bool was_killed = true;

	for (unsigned int n = 1; was_killed; n++) {
		char text[4096];
		pid_t pid;
		int status;

		write_file(f->file, before);
		pid = fork();
		if (pid == 0) {
			calls_left = n;
			_exit(edit(f->file, PASSWD_ADD, "a", "{PLAIN}x"));
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		was_killed = WIFSIGNALED(status);
		read_file(f->file, text);
		if (strcmp(text, before) == 0)
			old++;
		else if (strcmp(text, after) == 0)
			fresh++;
		else
			fail_msg("killed at %u: \"%s\"", n, text);
		/* What it has left behind is in nobody's way, and goes. */
		assert_int_equal(edit(f->file, PASSWD_ADD, "c", "{PLAIN}c"), 0);
		assert_int_not_equal(access(f->left, F_OK), 0);
	}
	assert_true(old >= 8 && fresh >= 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_edits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mode_and_link, setup, teardown),
		cmocka_unit_test_setup_teardown(test_new_file, setup, teardown),
		cmocka_unit_test(test_names),
		cmocka_unit_test_setup_teardown(test_list, setup, teardown),
		cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
		cmocka_unit_test_setup_teardown(test_at_once, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
