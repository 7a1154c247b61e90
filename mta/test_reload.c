/*
 * test_reload - other options while mail is under way: what has begun ends as
 * it began, what waits goes where the new ones say, and the old ones are
 * released when nobody needs them (freed then: sanitizers see who still did)
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mta/test_peer.h"
#include "mta/test_rig.h"

#define LONG_MS 3600000
#define TO_PEER "* = relay:[127.0.0.1]:%u tls=none"

static void test_sessions(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int old, new;

	(void)state;
	rig_start(rig);
	old = client_connect(rig);
	client_expect(old, "220 rig.example ");
	rig_options(rig)->hostname = "new.example";
	rig_reload(rig, "* = error:5.0.0 no");

	new = client_connect(rig);
	client_expect(new, "220 new.example ");
	client_send(old, "EHLO client.example\r\n");
	client_expect(old, "250 ");
	client_send(old, "MAIL FROM:<alice@client.example>\r\nRCPT TO:<bob@local>\r\nDATA\r\n");
	client_expect(old, "250 ");
	client_expect(old, "250 ");
	client_expect(old, "354 ");
	assert_int_equal(rig_released(rig), 0);
	client_send(old, "Subject: a test\r\n\r\nhello\r\n.\r\n");
	client_expect(old, "250 2.0.0 Ok: queued");
	rig_wait_log(rig, "status=sent");
	assert_int_equal(rig_released(rig), 0);
	client_send(old, "QUIT\r\n");
	client_expect(old, "221 ");
	client_expect_end(old);
	rig_wait_released(rig, 1);
	close(new);
	rig_free(rig);
}

/* A client in the middle of its message has the size limit, and all else, that it was told. */
static void test_session_in_data(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int fd;

	(void)state;
	rig_start(rig);
	fd = client_connect(rig);
	client_begin(fd, "bob@local");
	client_send(fd, "Subject: half\r\n\r\n");
	rig_options(rig)->message_size_limit = 10;
	rig_reload(rig, "* = error:5.0.0 no");
	client_send(fd, "the other half\r\n.\r\n");
	client_expect(fd, "250 2.0.0 Ok: queued");
	rig_wait_log(rig, "status=sent");
	client_send(fd, "QUIT\r\n");
	client_expect(fd, "221 ");
	client_expect_end(fd);
	rig_wait_released(rig, 1);
	rig_free(rig);
}

/* A peer that says nothing; a lane that is full; then a route to one that works. */
static void test_waiting(void **state)
{
	struct peer *mute = peer_play("H\n"), *peer = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(mute));

	(void)state;
	rig_options(rig)->destination_concurrency = 1;
	rig_start(rig);
	for (unsigned int i = 0; i < 5; i++)
		rig_submit(rig, "bob@example.net eve@example.org");
	peer_wait_connections(mute, 1);
	rig_reload(rig, TO_PEER, peer_port(peer));
	rig_wait_queued(rig, 0);
	rig_wait_released(rig, 1);
	assert_int_equal(peer_messages(peer), 5);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_free(rig);
	peer_free(mute);
	peer_free(peer);
}

/* They were one route, and are two, and one of those is a mailbox. */
static void test_routes_part(void **state)
{
	struct peer *mute = peer_play("H\n"), *peer = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(mute));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net eve@example.org nobody@example.com");
	peer_wait_connections(mute, 1);
	rig_reload(rig,
		   "example.net = relay:[127.0.0.1]:%u tls=none\n"
		   "example.org = virtual:\n* = discard:",
		   peer_port(peer));
	rig_wait_log(rig, "to=<bob@example.net>, relay=127.0.0.1");
	rig_wait_log(rig, "to=<eve@example.org>, relay=virtual");
	rig_wait_log(rig, "to=<nobody@example.com>, relay=none");
	rig_wait_queued(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 3);
	rig_free(rig);
	peer_free(mute);
	peer_free(peer);
}

/* The peer has the message: its answer counts, and then the connection ends in order. */
static void test_delivering(void **state)
{
	struct peer *old =
		peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nT\nS 250 ok\n" PEER_QUIT);
	struct peer *new = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(old));

	(void)state;
	rig_options(rig)->destination_concurrency = 1;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(old, 1);
	rig_submit(rig, "eve@example.net");
	rig_reload(rig, TO_PEER, peer_port(new));
	peer_wait_messages(new, 1);
	assert_int_equal(rig_released(rig), 0);
	peer_let_go(old);
	rig_wait_queued(rig, 0);
	peer_wait_seen(old, "QUIT");
	rig_wait_released(rig, 1);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	rig_free(rig);
	peer_free(old);
	peer_free(new);
}

/* The peer closes a reused connection as our commands come: the message goes by the new route. */
static void test_put_back(void **state)
{
	struct peer *old = peer_play(PEER_EHLO PEER_MESSAGE "C MAIL FROM:\nT\n");
	struct peer *new = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(old));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "status=sent");
	rig_submit(rig, "eve@example.net");
	peer_wait_seen(old, ".\r\nMAIL FROM:");
	rig_reload(rig, TO_PEER, peer_port(new));
	peer_let_go(old);
	peer_wait_messages(new, 1);
	rig_wait_queued(rig, 0);
	rig_wait_released(rig, 1);
	rig_free(rig);
	peer_free(old);
	peer_free(new);
}

static void test_idle_connection(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_MESSAGE PEER_QUIT);
	struct rig *rig = rig_new(TO_PEER, peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "status=sent");
	rig_reload(rig, "* = error:5.0.0 no");
	peer_wait_seen(peer, "QUIT");
	rig_wait_released(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* A next hop that is down is asked again at once: the reload may have mended it. */
static void test_backing_off(void **state)
{
	struct peer *peer = peer_play("S 421 4.3.2 not now\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(peer));

	(void)state;
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = 3600;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "status=deferred");
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "temporarily suspended");
	rig_reload(rig, TO_PEER, peer_port(peer));
	rig_submit(rig, "bob@example.net");
	peer_wait_connections(peer, 2);
	rig_wait_released(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* The name server never answers, and is not waited for. */
static void test_resolving(void **state)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct rig *rig = rig_new("* = relay:[mx.example.net] tls=none");
	struct mta_options *options = rig_options(rig);
	char server[32], question[512];

	(void)state;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(server, sizeof(server), "127.0.0.1:%u", ntohs(address.sin_port));
	options->dns.servers = server;
	options->dns.timeout_ms = LONG_MS;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	assert_true(recv(fd, question, sizeof(question), 0) > 0);
	rig_reload(rig, "* = discard:");
	rig_wait_queued(rig, 0);
	rig_wait_released(rig, 1);
	rig_free(rig);
	close(fd);
}

#define LOCAL_MAILS 40 /* more than two jobs take at once: one, and then as many as are enough */

/* What runs on the pool keeps what it runs with; what waits for it does not. */
static void test_local(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");

	(void)state;
	rig_set_local_status(rig, 0);
	rig_start(rig);
	for (unsigned int i = 0; i < LOCAL_MAILS; i++)
		rig_submit(rig, "bob@local");
	rig_wait_local(rig, 2);
	rig_reload(rig, "local = discard:");
	rig_wait_log(rig, "discarded");
	assert_int_equal(rig_released(rig), 0);
	rig_set_local_status(rig, 250);
	rig_wait_queued(rig, 0);
	rig_wait_released(rig, 1);
	assert_int_equal(rig_count_logged(rig, "status=sent"), LOCAL_MAILS);
	rig_free(rig);
}

/* A report to the sender is in the making while the disk keeps everybody waiting. */
static void test_committing(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int fd;

	(void)state;
	rig_start(rig);
	fd = client_connect(rig);
	client_begin(fd, "bob@local eve@example.net");
	rig_close_gate();
	client_send(fd, "Subject: a test\r\n\r\nhello\r\n.\r\n");
	rig_wait_at_gate();
	rig_reload(rig, "* = discard:");
	rig_open_gate();
	client_expect(fd, "250 2.0.0 Ok: queued");
	rig_wait_queued(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	close(fd);
	rig_wait_released(rig, 1);
	rig_free(rig);
}

static void test_ports(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int first, second, third;

	(void)state;
	rig_options(rig)->workers = 2;
	rig_start(rig);
	first = client_connect(rig);
	client_expect(first, "220 ");
	rig_open_port(rig, true);
	rig_reload(rig, "* = error:5.0.0 no");
	second = client_connect(rig);
	client_expect(second, "220 ");
	rig_open_port(rig, false);
	rig_reload(rig, "* = error:5.0.0 no");
	third = client_connect(rig);
	client_expect(third, "220 ");
	client_send(first, "QUIT\r\n");
	client_expect(first, "221 ");
	client_expect_end(first);
	rig_wait_released(rig, 1);
	rig_stop(rig, LONG_MS); /* ends the sessions, and with them the rest is released */
	assert_int_equal(rig_released(rig), 2);
	client_expect(second, "421 ");
	client_expect_end(second);
	client_expect(third, "421 ");
	client_expect_end(third);
	rig_free(rig);
}

/* A socket that no worker can use: the reload fails, and all is as before. */
static void test_failure(void **state)
{
	struct rig *rig = rig_new("* = discard:");
	struct mta_options *options = rig_options(rig);
	struct mta_service services[2] = { options->services[0], options->services[0] };
	struct error err;
	int fd;

	(void)state;
	options->workers = 2;
	rig_start(rig);
	fd = client_connect(rig);
	client_expect(fd, "220 rig.example ");
	net_address_set_port(&services[1].address, 1);
	services[1].fd = -1;
	options->hostname = "new.example";
	options->services = services;
	options->service_count = 2;
	assert_int_equal(rig_try_reload(rig, &err), -EBADF);
	assert_int_equal(rig_released(rig), 0);
	client_send(fd, "EHLO client.example\r\n");
	client_expect(fd, "250 ");
	close(fd);
	fd = client_connect(rig);
	client_expect(fd, "220 rig.example ");
	close(fd);
	rig_submit(rig, "bob@example.net");
	rig_wait_queued(rig, 0);
	options->service_count = 1;
	rig_free(rig);
}

static void test_stopping(void **state)
{
	struct rig *rig = rig_new("* = discard:");
	struct error err;

	(void)state;
	rig_start(rig);
	rig_stop_begin(rig, LONG_MS);
	assert_int_equal(rig_try_reload(rig, &err), -EBUSY);
	rig_stop_wait(rig);
	rig_free(rig);
}

/* A retired lane stops like any other. */
static void test_stop_after(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nH\n");
	struct rig *rig = rig_new(TO_PEER, peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(peer, 1);
	rig_reload(rig, TO_PEER, peer_port(peer));
	rig_stop(rig, 0);
	assert_int_equal(rig_released(rig), 1);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sessions),	cmocka_unit_test(test_session_in_data),
		cmocka_unit_test(test_waiting),		cmocka_unit_test(test_routes_part),
		cmocka_unit_test(test_delivering),	cmocka_unit_test(test_put_back),
		cmocka_unit_test(test_idle_connection), cmocka_unit_test(test_backing_off),
		cmocka_unit_test(test_resolving),	cmocka_unit_test(test_local),
		cmocka_unit_test(test_committing),	cmocka_unit_test(test_ports),
		cmocka_unit_test(test_failure),		cmocka_unit_test(test_stopping),
		cmocka_unit_test(test_stop_after),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
