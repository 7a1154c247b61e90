/* test_inbound - clients that are slow, rude, broken or gone */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/test_rig.h"

/* Send as much as is taken, up to max bytes of these lines; returns how many lines went. */
static size_t push_lines(int fd, const char *line, size_t max)
{
	struct timeval patience = { .tv_sec = 1 };
	size_t len = strlen(line), sent = 0;
	ssize_t n = 1;

	/* A machine that is slow can only let the test pass when it should not. */
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	while (sent < max && n > 0) {
		n = send(fd, line + sent % len, len - sent % len, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
	}
	return sent / len;
}

/* Replies that nobody reads must not pile up: such a client is no more served until it reads. */
static void test_replies_not_read(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	size_t count;
	int fd;

	(void)state;
	rig_options(rig)->recipient_limit = 0;
	rig_set_small_buffers(rig);
	rig_start(rig);
	fd = client_connect(rig);
	client_send(fd, "EHLO client\r\nMAIL FROM:<a@client.example>\r\n");
	client_expect(fd, "220 ");
	client_expect(fd, "250 ");
	client_expect(fd, "250 ");
	count = push_lines(fd, "RCPT TO:<a@local>\r\n", 4 << 20);
	assert_true(count < 40000);
	for (size_t i = 0; i < count; i++)
		client_expect(fd, "250 2.1.5 Ok");
	close(fd);
	rig_free(rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies_not_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
