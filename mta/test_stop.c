/*
 * test_stop - SIGTERM at the worst moments: the mta ends, nothing is lost, and
 * nothing is sent twice that was not
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mta/test_peer.h"
#include "mta/test_rig.h"

#define LONG_MS 3600000 /* a grace that no test waits for */

/* A connection that is not ready yet has nothing that would be worth waiting for. */
static void test_connecting(void **state)
{
	struct peer *peer = peer_play("H");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_connections(peer, 1);
	rig_stop(rig, LONG_MS);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* A name server that never answers. */
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
	rig_stop(rig, LONG_MS);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	close(fd);
}

static void test_idle_session(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int fd;

	(void)state;
	rig_start(rig);
	fd = client_connect(rig);
	client_expect(fd, "220 ");
	rig_stop_begin(rig, LONG_MS);
	client_expect(fd, "421 4.3.2 ");
	client_expect_end(fd);
	rig_stop_wait(rig);
	rig_free(rig);
}

/* A message that is on its way in is waited for. */
static void test_session_in_data(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	int idle, fd;

	(void)state;
	rig_start(rig);
	idle = client_connect(rig);
	client_expect(idle, "220 ");
	fd = client_connect(rig);
	client_begin(fd, "bob@local");
	client_send(fd, "Subject: half\r\n");
	rig_stop_begin(rig, LONG_MS);
	client_expect(idle, "421 ");
	client_expect_end(idle);
	client_send(fd, "\r\nthe other half\r\n.\r\n");
	client_expect(fd, "250 2.0.0 Ok: queued");
	client_expect(fd, "421 4.3.2 ");
	client_expect_end(fd);
	rig_stop_wait(rig);
	rig_wait_queued(rig, 1);
	rig_free(rig);
}

/* The peer has the message: its answer is worth waiting for. */
static void test_delivering(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nT\nS 250 ok\n"
							  "C QUIT\nS 221 bye\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(peer, 1);
	rig_stop_begin(rig, LONG_MS);
	peer_let_go(peer);
	rig_stop_wait(rig);
	assert_true(rig_has_logged(rig, "status=sent"));
	rig_wait_queued(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* But not for ever. */
static void test_delivering_in_a_hurry(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nH\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(peer, 1);
	rig_stop_begin(rig, LONG_MS);
	rig_stop(rig, 0);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* What the peer cannot have is broken off early, what it has may still be answered. */
static void test_grace_and_answer(void **state)
{
	const char *const scripts[] = {
		PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nT\nS 250 ok\nC QUIT\nS 221 bye\n",
		PEER_EHLO "C MAIL FROM:\nS 250 ok\nC RCPT TO:\nH\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(peer, 1);
	rig_submit(rig, "carol@example.net");
	peer_wait_seen(peer, "RCPT TO:<carol@");
	rig_stop_in_turn(rig, 0, LONG_MS);
	peer_wait_ends(peer, 1); /* the second connection is gone, the first one is not */
	peer_let_go(peer);
	rig_stop_wait(rig);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 1);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* One who is kept waiting by his mailbox does not keep the next one waiting for long. */
static void test_local_late(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");

	(void)state;
	rig_set_local_status(rig, 0);
	rig_start(rig);
	rig_submit(rig, "bob@local");
	rig_wait_local(rig, 1);
	rig_submit(rig, "eve@local");
	rig_wait_local(rig, 2);
	rig_set_local_status(rig, 250);
	rig_wait_queued(rig, 0);
	rig_free(rig);
}

/* What runs on the pool is finished; what waits for it stays in the queue. */
static void test_local(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");

	(void)state;
	rig_set_local_status(rig, 0);
	rig_start(rig);
	for (unsigned int i = 0; i < 20; i++)
		rig_submit(rig, "bob@local");
	rig_wait_local(rig, 2);
	rig_stop_begin(rig, 0);
	rig_set_local_status(rig, 250);
	rig_stop_wait(rig);
	assert_true(rig_queued(rig) + rig_count_logged(rig, "status=sent") == 20);
	rig_restart(rig);
	rig_wait_queued(rig, 0);
	rig_free(rig);
}

/* The peer closed a reused connection as our commands came; by then there is no other. */
static void test_put_back(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_MESSAGE "C MAIL FROM:\nT\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));
	int idle;

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "status=sent");
	idle = client_connect(rig);
	client_expect(idle, "220 ");
	rig_submit(rig, "bob2@example.net");
	peer_wait_seen(peer, ".\r\nMAIL FROM:");
	rig_stop_begin(rig, LONG_MS);
	client_expect(idle, "421 ");
	client_expect_end(idle);
	peer_let_go(peer);
	rig_stop_wait(rig);
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* When it is about to be committed, even a stop in a hurry waits: the client must know. */
static void check_commit(size_t size)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");
	char piece[4096];
	int idle, fd;

	rig_start(rig);
	idle = client_connect(rig);
	client_expect(idle, "220 ");
	fd = client_connect(rig);
	client_begin(fd, "bob@local");
	rig_close_gate();
	client_send(fd, "Subject: a test\r\n\r\n");
	memset(piece, 'x', sizeof(piece));
	memcpy(piece + sizeof(piece) - 2, "\r\n", 2);
	for (size_t sent = 0; sent < size; sent += sizeof(piece))
		client_send_bytes(fd, piece, sizeof(piece));
	client_send(fd, ".\r\n");
	rig_wait_at_gate();
	rig_stop_begin(rig, 0);
	client_expect(idle, "421 ");
	client_expect_end(idle);
	rig_open_gate();
	client_expect(fd, "250 2.0.0 Ok: queued");
	client_expect(fd, "421 4.3.2 ");
	client_expect_end(fd);
	rig_stop_wait(rig);
	rig_wait_queued(rig, 1);
	rig_free(rig);
}

static void test_committing(void **state)
{
	(void)state;
	check_commit(0);
}

static void test_committing_file(void **state)
{
	(void)state;
	check_commit(1 << 20);
}

/* A delivery that the disk does not let us record must not keep us for ever. */
static void test_disk_fails(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");

	(void)state;
	rig_set_local_status(rig, 0);
	rig_start(rig);
	rig_submit(rig, "bob@local");
	rig_wait_local(rig, 1);
	rig_fail_syncs(true);
	rig_set_local_status(rig, 250);
	rig_wait_log(rig, "cannot record deliveries");
	rig_stop(rig, 0);
	rig_fail_syncs(false);
	rig_restart(rig);
	rig_wait_queued(rig, 0);
	rig_free(rig);
}

/* Who stops goes to no other address, which may be slow to answer, or slow to take mail. */
static void test_stops_at_this_address(void **state)
{
	struct peer *idle = peer_play(PEER_EHLO PEER_MESSAGE PEER_QUIT);
	struct peer *first = peer_play(PEER_EHLO "C MAIL FROM:\nT\nS 421 4.3.2 not now\n");
	struct peer *second = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new("example.org = relay:[127.0.0.1]:%u tls=none\n"
				  "* = relay:[127.0.0.1]:%u, [127.0.0.1]:%u tls=none",
				  peer_port(idle), peer_port(first), peer_port(second));

	(void)state;
	rig_options(rig)->workers = 1;
	rig_start(rig);
	rig_submit(rig, "eve@example.org");
	rig_wait_queued(rig, 0);
	rig_submit(rig, "bob@example.net");
	peer_wait_seen(first, "MAIL FROM:");
	rig_stop_begin(rig, LONG_MS);
	peer_wait_ends(idle, 1); /* it has come to the lanes */
	peer_let_go(first);
	rig_stop_wait(rig);
	assert_int_equal(peer_connections(second), 0);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(idle);
	peer_free(first);
	peer_free(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connecting),
		cmocka_unit_test(test_resolving),
		cmocka_unit_test(test_idle_session),
		cmocka_unit_test(test_session_in_data),
		cmocka_unit_test(test_delivering),
		cmocka_unit_test(test_delivering_in_a_hurry),
		cmocka_unit_test(test_grace_and_answer),
		cmocka_unit_test(test_local_late),
		cmocka_unit_test(test_local),
		cmocka_unit_test(test_put_back),
		cmocka_unit_test(test_stops_at_this_address),
		cmocka_unit_test(test_committing),
		cmocka_unit_test(test_committing_file),
		cmocka_unit_test(test_disk_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
