/* test_inbound - clients that are slow, rude, broken or gone */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/inbound_session.h"
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

/* Whether the server ends a session that does nothing but send such bytes now and then. */
static void check_drip(const char *begin, const char *drip)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	char reply[128] = "";
	int fd;

	rig_options(rig)->session_timeout_s = 1;
	rig_start(rig);
	fd = client_connect(rig);
	if (begin)
		client_begin(fd, begin);
	else
		client_expect(fd, "220 ");
	for (unsigned int i = 0; i < 500 && !strstr(reply, "421 4.4.2"); i++) {
		usleep(20000); /* to be slow is what this is about */
		send(fd, drip, strlen(drip), MSG_NOSIGNAL);
		recv(fd, reply, sizeof(reply) - 1, MSG_DONTWAIT);
	}
	assert_non_null(strstr(reply, "421 4.4.2"));
	close(fd);
	rig_wait_log(rig, "timeout after ");
	rig_free(rig);
}

static void test_drip_command(void **state)
{
	(void)state;
	check_drip(NULL, "N");
}

static void test_drip_data(void **state)
{
	(void)state;
	check_drip("bob@local", "x\r\n");
}

/* A chunk is answered each time, and all the same they are one message. */
static void test_drip_chunks(void **state)
{
	static const char chunk[] = "BDAT 1\r\nx";
	struct rig *rig = rig_new("* = error:5.0.0 no");
	char reply[4096] = "";
	int fd;

	(void)state;
	rig_options(rig)->session_timeout_s = 1;
	rig_start(rig);
	fd = client_connect(rig);
	client_send(fd, "EHLO client\r\nMAIL FROM:<a@client.example>\r\nRCPT TO:<bob@local>\r\n");
	for (unsigned int i = 0; i < 500 && !strstr(reply, "421 4.4.2"); i++) {
		usleep(20000); /* to be slow is what this is about */
		send(fd, chunk + i % 3 * 3, 3, MSG_NOSIGNAL);
		memset(reply, 0, sizeof(reply));
		recv(fd, reply, sizeof(reply) - 1, MSG_DONTWAIT);
	}
	assert_non_null(strstr(reply, "421 4.4.2"));
	close(fd);
	rig_wait_log(rig, "timeout after BDAT");
	rig_free(rig);
}

/* Looking through the queue for clients takes a tenth of the time, after a first second. */
static void test_etrn_turns(void **state)
{
	struct inbound_limits *limits = inbound_limits_new();
	int64_t now_ms = 500000;
	char name[20];

	(void)state;
	assert_int_equal(inbound_limits_etrn_begin(limits, "a", now_ms), INBOUND_TURN_NOW);
	assert_int_equal(inbound_limits_etrn_begin(limits, "b", now_ms), INBOUND_TURN_BUSY);
	assert_int_equal(inbound_limits_etrn_begin(limits, "a", now_ms), INBOUND_TURN_LATELY);
	inbound_limits_etrn_end(limits, 400);
	assert_int_equal(inbound_limits_etrn_begin(limits, "a", now_ms + 9999),
			 INBOUND_TURN_LATELY);
	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		assert_int_equal(inbound_limits_etrn_begin(limits, name, now_ms), INBOUND_TURN_NOW);
		inbound_limits_etrn_end(limits, 400);
	}
	assert_int_equal(inbound_limits_etrn_begin(limits, "d", now_ms), INBOUND_TURN_BUSY);
	assert_int_equal(inbound_limits_etrn_begin(limits, "d", now_ms + 1990), INBOUND_TURN_BUSY);
	assert_int_equal(inbound_limits_etrn_begin(limits, "d", now_ms + 2000), INBOUND_TURN_NOW);
	inbound_limits_etrn_end(limits, 5000);
	assert_int_equal(inbound_limits_etrn_begin(limits, "a", now_ms + 50000), INBOUND_TURN_BUSY);
	assert_int_equal(inbound_limits_etrn_begin(limits, "a", now_ms + 53000), INBOUND_TURN_NOW);
	inbound_limits_etrn_end(limits, 0);

	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "name%d", i);
		inbound_limits_etrn_begin(limits, name, now_ms + 100000 + i);
		inbound_limits_etrn_end(limits, 0);
	}
	inbound_limits_free(limits);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replies_not_read), cmocka_unit_test(test_drip_command),
		cmocka_unit_test(test_drip_data),	 cmocka_unit_test(test_drip_chunks),
		cmocka_unit_test(test_etrn_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
