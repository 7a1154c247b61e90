/* test_unix - sockets that are files: modes, long paths, and who is at the other end */

#include "net/unix.h"
#include "net/testing.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

struct place {
	char directory[128], path[256];
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));

	strcpy(p->directory, "/tmp/posthouse-unix-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->path, sizeof(p->path), "%s/socket", p->directory);
	*state = p;
	return 0;
}

static int teardown(void **state)
{
	struct place *p = *state;

	unlink(p->path);
	rmdir(p->directory);
	free(p);
	return 0;
}

static void test_outcomes(void **state)
{
	struct place *p = *state;
	struct error err;
	struct stat st;
	int fd, other;

	assert_int_equal(unix_connect(p->path, &err), -ENOENT);
	fd = unix_listen(p->path, 0640, &err);
	assert_true(fd >= 0);
	assert_int_equal(stat(p->path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0640);
	assert_int_equal(unix_listen(p->path, 0600, &err), -EADDRINUSE);
	assert_non_null(strstr(err.text, p->path));

	other = unix_connect(p->path, &err);
	assert_true(other >= 0);
	close(other);
	close(fd);
	assert_int_equal(unix_connect(p->path, &err), -ECONNREFUSED);
}

static void test_long_path(void **state)
{
	struct place *p = *state;
	char name[121] = { 0 }, long_path[512];
	struct error err;
	int fd, other;

	memset(name, 'd', sizeof(name) - 1);
	snprintf(long_path, sizeof(long_path), "%s/%s", p->directory, name);
	assert_int_equal(mkdir(long_path, 0700), 0);
	strcat(long_path, "/socket");
	fd = unix_listen(long_path, 0600, &err);
	if (access("/proc/self/fd", F_OK) != 0) {
		assert_int_equal(fd, -ENAMETOOLONG);
	} else {
		assert_true(fd >= 0);
		other = unix_connect(long_path, &err);
		assert_true(other >= 0);
		close(other);
		close(fd);
		unlink(long_path);
	}
	*strrchr(long_path, '/') = '\0';
	rmdir(long_path);

	memset(long_path, 'x', 200);
	long_path[200] = '\0';
	assert_int_equal(unix_connect(long_path, &err), -ENAMETOOLONG);
}

static void on_accepted(void *arg, struct stream *stream)
{
	struct end *server = arg;

	server->stream = stream;
	stream_set_events(stream, &end_events, server);
	loop_stop(server->loop);
}

static void on_failed(void *arg, const struct error *err)
{
	(void)arg;
	fail_msg("%s", err->text);
}

static void test_stream(void **state)
{
	static const struct listener_events events = { on_accepted, on_failed };
	struct place *p = *state;
	struct loop *loop = test_start();
	struct end server = { .loop = loop };
	struct listener *listener;
	struct error err;
	uid_t uid = (uid_t)-1;
	int fd = unix_listen(p->path, 0600, &err), client;

	assert_true(fd >= 0);
	assert_int_equal(listener_new(loop, fd, &events, &server, &listener, &err), 0);
	close(fd);
	client = unix_connect(p->path, &err);
	assert_true(client >= 0);
	RUN_UNTIL(loop, server.stream);
	if (stream_peer_user(server.stream, &uid) != -ENOTSUP)
		assert_int_equal(uid, geteuid());

	assert_int_equal(write(client, "hello", 5), 5);
	RUN_UNTIL(loop, end_received(&server, "hello"));
	close(client);
	RUN_UNTIL(loop, end_has(&server, "closed"));
	listener_free(listener);
	test_end(loop, &server, NULL);
}

static void test_connect_stream(void **state)
{
	static const struct listener_events events = { on_accepted, on_failed };
	struct place *p = *state;
	struct loop *loop = test_start();
	struct end server = { .loop = loop }, client = { .loop = loop };
	struct listener *listener;
	struct error err;
	int fd = unix_listen(p->path, 0600, &err);

	assert_int_equal(listener_new(loop, fd, &events, &server, &listener, &err), 0);
	close(fd);
	client.stream = stream_connect_unix(loop, p->path, &end_events, &client);
	RUN_UNTIL(loop, server.stream && end_has(&client, "connected"));
	end_send(&client, "hello");
	RUN_UNTIL(loop, end_received(&server, "hello"));
	end_send(&server, "there");
	RUN_UNTIL(loop, end_received(&client, "there"));
	listener_free(listener);
	test_end(loop, &client, &server);
}

static void expect_refusal(struct loop *loop, const char *path, int code, const char *text)
{
	struct end client = { .loop = loop };

	client.stream = stream_connect_unix(loop, path, &end_events, &client);
	RUN_UNTIL(loop, end_has(&client, "closed"));
	assert_string_equal(client.log, "closed ");
	assert_int_equal(client.error.code, code);
	assert_string_equal(client.error.text, text);
	stream_free(client.stream, 0);
	buf_done(&client.received);
}

/* Nothing is waited for, not even by the loop: there may be nobody who accepts. */
static void test_connect_stream_fails(void **state)
{
	enum { MANY = 4096 };
	struct place *p = *state;
	struct loop *loop = test_start();
	struct end none = { .loop = loop };
	int fd, count = 0, *fds = calloc(MANY, sizeof(*fds));
	struct error err;

	expect_refusal(loop, p->path, -ENOENT, "No such file or directory");
	fd = unix_listen(p->path, 0600, &err);
	assert_int_equal(listen(fd, 1), 0);
	while (count < MANY && (fds[count] = unix_connect_at_once(p->path, &err)) >= 0)
		count++;
	assert_in_range(count, 1, MANY - 1);
	assert_int_equal(fds[count], -EAGAIN);
	expect_refusal(loop, p->path, -EAGAIN, "too many connections wait to be accepted");
	close(fd);
	expect_refusal(loop, p->path, -ECONNREFUSED, "Connection refused");
	while (count > 0)
		close(fds[--count]);
	free(fds);
	test_end(loop, &none, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_outcomes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_long_path, setup, teardown),
		cmocka_unit_test_setup_teardown(test_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connect_stream, setup, teardown),
		cmocka_unit_test_setup_teardown(test_connect_stream_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
