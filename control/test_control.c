/* test_control - the socket and its clients: good ones, slow ones, and such as want trouble */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/buf.h"
#include "base/macros.h"
#include "control/client.h"
#include "control/control.h"
#include "net/unix.h"

#define TIME_LIMIT_S 60
#define NOBODY	     65534

struct fixture {
	char directory[64], path[128];
	struct loop *loop;
	struct control_options options;
	struct control *control;
	unsigned int refusals;

	struct control_call *waiting; /* of "later" */
	unsigned int rows, row_limit; /* of "rows" */
	bool saw_gone;
};

static void on_refused(void *arg, const struct control_call *call)
{
	struct fixture *f = arg;

	assert_string_equal(control_request_command(control_call_request(call)), "act");
	f->refusals++;
}

static void run_echo(void *arg, struct control_call *call)
{
	struct error err = { 0 };
	const char *text = "";
	uid_t uid;

	(void)arg;
	if (control_call_user(call, &uid) && uid != NOBODY)
		assert_int_equal(uid, geteuid());
	if (control_request_text(control_call_request(call), "text", &text, &err) < 0)
		control_call_fail(call, CONTROL_USAGE, "%s", err.text);
	else
		control_call_end(call, json_pack("{s:s}", "text", text));
}

static void run_later(void *arg, struct control_call *call)
{
	struct fixture *f = arg;

	f->waiting = call;
	loop_stop(f->loop);
}

static void more_rows(void *arg, struct control_call *call)
{
	struct fixture *f = arg;

	if (control_call_is_gone(call)) {
		f->saw_gone = true;
		control_call_end(call, NULL);
		loop_stop(f->loop);
	} else if (f->rows == f->row_limit) {
		control_call_end(call, json_pack("{s:i}", "rows", (int)f->rows));
	} else {
		control_call_reply(call, json_pack("{s:i}", "row", (int)++f->rows));
	}
}

static void run_rows(void *arg, struct control_call *call)
{
	control_call_stream(call, more_rows, arg);
}

static const struct control_handler handlers[] = {
	{ "echo", "text", true, run_echo },
	{ "later", "", true, run_later },
	{ "rows", "", true, run_rows },
	{ "act", "text", false, run_echo },
};

static void open_control(struct fixture *f)
{
	struct error err;

	if (control_new(f->loop, &f->options, &f->control, &err) < 0)
		fail_msg("%s", err.text);
	for (size_t i = 0; i < ARRAY_SIZE(handlers); i++)
		control_register(f->control, &handlers[i], f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;

	alarm(TIME_LIMIT_S);
	strcpy(f->directory, "/tmp/posthouse-control-XXXXXX");
	assert_non_null(mkdtemp(f->directory));
	snprintf(f->path, sizeof(f->path), "%s/control", f->directory);
	assert_int_equal(loop_new(&f->loop, &err), 0);
	f->options = (struct control_options){ .path = f->path, .refused = on_refused, .arg = f };
	open_control(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	char lock[160];

	control_free(f->control);
	loop_free(f->loop);
	snprintf(lock, sizeof(lock), "%s.lock", f->path);
	unlink(lock);
	assert_int_equal(rmdir(f->directory), 0); /* the socket is gone */
	free(f);
	alarm(0);
	return 0;
}

/* ---- a client by hand ---- */

static int dial(const struct fixture *f)
{
	struct error err;
	int fd = unix_connect(f->path, &err);

	if (fd < 0)
		fail_msg("%s", err.text);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
}

static void on_turn(void *arg)
{
	loop_stop(arg);
}

/* Give the loop a turn, so that a test can look what has become of its client. */
static void turn(struct fixture *f)
{
	struct loop_timer *timer = loop_timer_new(f->loop, on_turn, f->loop);

	loop_timer_start(timer, 1);
	loop_run(f->loop);
	loop_timer_free(timer);
}

/* All that comes until the server hangs up; run the loop meanwhile. */
static char *read_all(struct fixture *f, int fd)
{
	struct buf out = { 0 };

	for (;;) {
		ssize_t n = recv(fd, buf_reserve(&out, 65536), 65536, MSG_DONTWAIT);

		if (n > 0)
			buf_commit(&out, (size_t)n);
		else if (n == 0 || errno == ECONNRESET)
			break;
		else
			turn(f);
	}
	close(fd);
	return buf_steal_string(&out);
}

static void expect(struct fixture *f, int fd, const char *wanted)
{
	CLEANUP(free_strp) char *got = read_all(f, fd);

	assert_string_equal(got, wanted);
}

static const struct {
	const char *request, *answer;
} dialogs[] = {
	{ "{\"command\":\"echo\",\"text\":\"hi\"}\n", "{\"text\":\"hi\",\"done\":true}\n" },
	{ "{\"command\":\"act\"}\n", "{\"text\":\"\",\"done\":true}\n" },
	{ "{\"command\":\"echo\"}\n{\"command\":\"act\"}\n", "{\"text\":\"\",\"done\":true}\n" },
	{ "\n", "{\"error\":\"empty request\",\"exit\":64}\n" },
	{ "{\"command\":\"ehco\\u001b\"}\n", "{\"error\":\"the running server does not know the "
					     "command \\\"ehco?\\\"\",\"exit\":64}\n" },
	{ "{\"command\":\"echo\",\"dry_run\":true}\n",
	  "{\"error\":\"unknown argument dry_run\",\"exit\":64}\n" },
	{ "{\"command\":\"echo\",\"text\":1}\n",
	  "{\"error\":\"argument text: not a text\",\"exit\":64}\n" },
};

static void test_dialogs(void **state)
{
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(dialogs); i++) {
		int fd = dial(f);

		say(fd, dialogs[i].request);
		expect(f, fd, dialogs[i].answer);
	}
	assert_int_equal(f->refusals, 0);
}

/* In pieces, and with the sending side shut down behind it, as nc -N does. */
static void test_pieces(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":");
	turn(f);
	say(fd, "\"echo\"}");
	turn(f);
	say(fd, "\n");
	shutdown(fd, SHUT_WR);
	expect(f, fd, "{\"text\":\"\",\"done\":true}\n");
}

/* Half a request is none. */
static void test_unfinished(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"echo\"}");
	shutdown(fd, SHUT_WR);
	expect(f, fd, "");
}

static void test_too_large(void **state)
{
	struct fixture *f = *state;
	char piece[8192];
	int fd = dial(f);

	memset(piece, 'x', sizeof(piece));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (size_t sent = 0; sent <= CONTROL_REQUEST_MAX;) {
		ssize_t n = send(fd, piece, sizeof(piece), MSG_NOSIGNAL);

		if (n > 0)
			sent += (size_t)n;
		else if (errno != EAGAIN)
			break;
		turn(f);
	}
	expect(f, fd, "{\"error\":\"the request has more than 1048576 bytes\",\"exit\":64}\n");
}

static void test_slow(void **state)
{
	struct fixture *f = *state;
	int fd;

	control_free(f->control);
	f->options.patience_ms = 1;
	open_control(f);
	fd = dial(f);
	say(fd, "{");
	expect(f, fd, "");

	/* One that does not read. But the server must have the time to read what it asks. */
	control_free(f->control);
	f->options.patience_ms = 1000;
	open_control(f);
	f->row_limit = 1000000;
	fd = dial(f);
	say(fd, "{\"command\":\"rows\"}\n");
	while (!f->saw_gone)
		turn(f);
	close(fd);
	assert_true(f->rows < f->row_limit);
}

static void test_later(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"later\"}\n");
	loop_run(f->loop);
	assert_non_null(f->waiting);
	turn(f);
	control_call_end(f->waiting, json_pack("{s:i}", "n", 1));
	expect(f, fd, "{\"n\":1,\"done\":true}\n");
}

static void on_answer_time(void *arg)
{
	struct fixture *f = arg;

	control_call_end(f->waiting, NULL);
}

/* The server ends while it works on one answer, and another is being read. */
static void test_leave(void **state)
{
	struct fixture *f = *state;
	struct loop_timer *timer = loop_timer_new(f->loop, on_answer_time, f);
	int waiting = dial(f), reading = dial(f), idle = dial(f);

	f->row_limit = 1000000;
	say(reading, "{\"command\":\"rows\"}\n");
	say(waiting, "{\"command\":\"later\"}\n");
	while (!f->waiting || f->rows == 0)
		turn(f);
	loop_timer_start(timer, 1);
	control_free(f->control);
	f->control = NULL;
	assert_true(f->saw_gone);
	loop_timer_free(timer);
	expect(f, waiting, "{\"done\":true}\n");
	expect(f, idle, "");
	close(reading);
}

static void test_gone_before_the_answer(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	say(fd, "{\"command\":\"later\"}\n");
	loop_run(f->loop);
	close(fd);
	turn(f);
	control_call_reply(f->waiting, json_object());
	turn(f);
	control_call_fail(f->waiting, CONTROL_IO, "too late");
	turn(f);
}

static void test_stream(void **state)
{
	CLEANUP(free_strp) char *got = NULL;
	struct fixture *f = *state;
	unsigned int rows = 0;
	int fd = dial(f);

	f->row_limit = 100000;
	say(fd, "{\"command\":\"rows\"}\n");
	for (int i = 0; i < 50; i++)
		turn(f);
	assert_true(f->rows > 0 && f->rows < f->row_limit / 2); /* it waits for us */
	got = read_all(f, fd);
	for (const char *p = got; (p = strchr(p, '\n')); p++)
		rows++;
	assert_int_equal(rows, f->row_limit + 1);
	assert_string_equal(strstr(got, "{\"rows\""), "{\"rows\":100000,\"done\":true}\n");
}

static void test_gone_amid_a_stream(void **state)
{
	struct fixture *f = *state;
	int fd = dial(f);

	f->row_limit = 1000000;
	say(fd, "{\"command\":\"rows\"}\n");
	turn(f);
	close(fd);
	while (!f->saw_gone)
		loop_run(f->loop);
}

static void test_many(void **state)
{
	struct fixture *f = *state;
	int fds[CONTROL_CONNECTIONS], fd;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = dial(f);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		turn(f);
	fd = dial(f);
	expect(f, fd,
	       "{\"error\":\"the server has too many of these connections; try again\","
	       "\"exit\":75}\n");
	close(fds[0]);
	turn(f);
	fds[0] = dial(f);
	say(fds[0], "{\"command\":\"echo\"}\n");
	expect(f, fds[0], "{\"text\":\"\",\"done\":true}\n");
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

/* ---- the file ---- */

static void test_stale(void **state)
{
	struct fixture *f = *state;
	struct control *other;
	struct error err;
	struct stat st;
	int fd;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, CONTROL_MODE_ALONE);
	assert_int_equal(control_new(f->loop, &f->options, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use by another server"));
	assert_int_equal(stat(f->path, &st), 0);
	control_free(f->control);
	f->control = NULL;
	assert_int_equal(stat(f->path, &st), -1);

	/* Left by a crash. */
	fd = unix_listen(f->path, 0600, &err);
	assert_true(fd >= 0);
	assert_int_equal(control_new(f->loop, &f->options, &other, &err), -EBUSY);
	assert_non_null(strstr(err.text, "in use by another program"));
	close(fd);
	open_control(f);
	control_free(f->control);
	f->control = NULL;

	/* A file that somebody may want to keep. */
	fd = open(f->path, O_CREAT | O_WRONLY, 0600);
	close(fd);
	assert_int_equal(control_new(f->loop, &f->options, &other, &err), -EEXIST);
	assert_int_equal(unlink(f->path), 0);
}

static void test_group(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	control_free(f->control);
	assert_int_equal(chmod(f->directory, 02755), 0);
	open_control(f);
	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 07777, CONTROL_MODE_WITH_GROUP);
}

/* ---- the other side ---- */

struct asker {
	struct fixture *fixture;
	const char *path, *command;
	json_t *object;
	struct error error;
	int result, exit_code, rows;
};

static void ask(struct asker *a)
{
	CLEANUP(control_client_closep) struct control_client *client = NULL;

	a->result = control_connect(a->path, 0, &client, &a->error);
	if (a->result == 0)
		a->result =
			control_send(client, json_pack("{s:s}", "command", a->command), &a->error);
	while (a->result == 0) {
		json_decref(a->object);
		a->object = NULL;
		a->result = control_receive(client, &a->object, &a->error);
		a->rows++;
	}
	if (a->result == CONTROL_FAILED)
		a->exit_code = control_client_exit(client);
}

static void *ask_in_thread(void *arg)
{
	struct asker *a = arg;

	ask(a);
	loop_stop(a->fixture->loop);
	return NULL;
}

static void ask_beside(struct asker *a)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, ask_in_thread, a), 0);
	loop_run(a->fixture->loop);
	pthread_join(thread, NULL);
}

static void test_client(void **state)
{
	struct fixture *f = *state;
	struct asker a = { .fixture = f, .path = f->path, .command = "rows" };

	f->row_limit = 20000;
	ask_beside(&a);
	assert_int_equal(a.result, CONTROL_DONE);
	assert_int_equal(a.rows, 20001);
	assert_int_equal(json_integer_value(json_object_get(a.object, "rows")), 20000);
	json_decref(a.object);

	a = (struct asker){ .fixture = f, .path = f->path, .command = "nothing" };
	ask_beside(&a);
	assert_int_equal(a.result, CONTROL_FAILED);
	assert_int_equal(a.exit_code, CONTROL_USAGE);
	assert_non_null(strstr(a.error.text, "does not know"));
}

static void test_client_without_server(void **state)
{
	struct fixture *f = *state;
	struct control_client *client;
	struct error err;
	int fd;

	control_free(f->control);
	f->control = NULL;
	assert_int_equal(control_connect(f->path, 0, &client, &err), CONTROL_NO_SERVER);
	fd = unix_listen(f->path, 0600, &err);

	/* One that hangs. */
	assert_int_equal(control_connect(f->path, 1, &client, &err), 0);
	assert_int_equal(control_send(client, json_object(), &err), 0);
	assert_int_equal(control_receive(client, NULL, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "does not answer"));
	control_client_close(client);

	/* One that dies. */
	assert_int_equal(control_connect(f->path, 0, &client, &err), 0);
	close(fd);
	assert_int_equal(control_receive(client, NULL, &err), -EAGAIN);
	assert_non_null(strstr(err.text, "went away"));
	control_client_close(client);
	assert_int_equal(control_connect(f->path, 0, &client, &err), CONTROL_NO_SERVER);
	unlink(f->path);
}

/* As another account, in a process of its own. Returns the exit code that the server gave. */
static int ask_as_nobody(struct fixture *f, const char *command)
{
	struct asker a = { .fixture = f, .path = f->path, .command = command };
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		if (setgid(NOBODY) < 0 || setuid(NOBODY) < 0)
			_exit(99);
		ask(&a);
		_exit(a.result == CONTROL_DONE	   ? 0
		      : a.result == CONTROL_FAILED ? a.exit_code
		      : a.result == -EACCES	   ? 98
						   : 97);
	}
	while (waitpid(pid, &status, WNOHANG) == 0)
		turn(f);
	return WEXITSTATUS(status);
}

static void test_others(void **state)
{
	struct fixture *f = *state;

	if (geteuid() != 0)
		skip();
	assert_int_equal(chmod(f->directory, 0755), 0);
	assert_int_equal(ask_as_nobody(f, "echo"), 98);

	control_free(f->control);
	assert_int_equal(chown(f->directory, 0, NOBODY), 0);
	assert_int_equal(chmod(f->directory, 02755), 0);
	open_control(f);
	assert_int_equal(ask_as_nobody(f, "echo"), 0);
	assert_int_equal(f->refusals, 0);
	assert_int_equal(ask_as_nobody(f, "act"), CONTROL_NOT_PERMITTED);
	assert_int_equal(f->refusals, 1);
	assert_int_equal(ask_as_nobody(f, "nothing"), CONTROL_USAGE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_dialogs),
		TEST(test_pieces),
		TEST(test_unfinished),
		TEST(test_too_large),
		TEST(test_slow),
		TEST(test_later),
		TEST(test_leave),
		TEST(test_gone_before_the_answer),
		TEST(test_stream),
		TEST(test_gone_amid_a_stream),
		TEST(test_many),
		TEST(test_stale),
		TEST(test_group),
		TEST(test_client),
		TEST(test_client_without_server),
		TEST(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
