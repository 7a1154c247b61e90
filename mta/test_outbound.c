/* test_outbound - next hops that are slow, rude, broken or gone, and what becomes of the mail */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

static struct rig *rig_for(struct peer *peer)
{
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	rig_options(rig)->destination_concurrency = 1;
	rig_start(rig);
	return rig;
}

static void test_reuse(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_MESSAGE PEER_MESSAGE PEER_MESSAGE "H\n");
	struct rig *rig = rig_for(peer);

	(void)state;
	for (unsigned int i = 1; i <= 3; i++) {
		rig_submit(rig, "bob@example.net");
		peer_wait_messages(peer, i);
	}
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_connections(peer), 1);
	rig_free(rig);
	peer_free(peer);
}

/* What a server says that has had enough of a connection is not said of the mail. */
static void test_reused_connection_ends(void **state)
{
	static const char *const ends[] = {
		"C MAIL FROM:\nS 421 4.7.0 too many messages on this connection\n",
		"C MAIL FROM:\n",
		"C MAIL FROM:\nR\n",
		"C MAIL FROM:\nS 250 ok\nC RCPT TO:\nS 421 4.3.2 I am going\n",
		"C MAIL FROM:\nS 250 ok\nC RCPT TO:\n",
		"C MAIL FROM:\nS 250 ok\nC RCPT TO:\nS 250 ok\nC DATA\nS 421 4.3.2 I am going\n",
		"S 421 4.4.2 idle for too long\n",
		"",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char first[1024];
		const char *scripts[] = { first, PEER_EHLO PEER_MESSAGE "H\n" };
		struct peer *peer = peer_new(scripts, 2);
		struct rig *rig = rig_for(peer);

		snprintf(first, sizeof(first), "%s%s", PEER_EHLO PEER_MESSAGE, ends[i]);
		rig_submit(rig, "bob@example.net");
		rig_wait_log(rig, "status=sent");
		rig_submit(rig, "eve@example.net");
		peer_wait_messages(peer, 2);
		rig_wait_queued(rig, 0);
		assert_false(rig_has_logged(rig, "status=deferred"));
		rig_free(rig);
		peer_free(peer);
	}
}

static const struct {
	const char *label;
	size_t size; /* 0: small */
	const char *scripts[2];
	const char *logged; /* by the first attempt */
	bool is_tried_again;
} cases[] = {
	{ "refused while it is being sent",
	  5000000,
	  { PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\nS 552 5.3.4 too much\nH\n" },
	  "dsn=5.3.4, status=bounced (552 5.3.4 too much",
	  false },
	{ "the end while it is being sent",
	  5000000,
	  { PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\nR\n", PEER_EHLO PEER_MESSAGE "H\n" },
	  "dsn=4.4.2, status=deferred (lost connection with 127.0.0.1",
	  true },
	{ "the end instead of the last reply",
	  0,
	  { PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\n", PEER_EHLO PEER_MESSAGE "H\n" },
	  "while sending end of data -- message may be sent more than once)",
	  true },
	{ "taken before it was sent",
	  5000000,
	  { PEER_EHLO PEER_RCPT "C DATA\ns 354 go|250 2.0.0 taken|\nH\n",
	    PEER_EHLO PEER_MESSAGE "H\n" },
	  "dsn=4.5.0, status=deferred (protocol error: ",
	  true },
	{ "all said at once",
	  0,
	  { "s 220 a|250 b|250 c|250 d|354 e|250 f|\nH\n", PEER_EHLO PEER_MESSAGE "H\n" },
	  "dsn=4.5.0, status=deferred (protocol error: ",
	  true },
	{ "the dot is refused",
	  0,
	  { PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nS 554 5.6.0 no\nH\n" },
	  "dsn=5.6.0, status=bounced (554 5.6.0 no",
	  false },
	{ "the dot is answered with 421",
	  0,
	  { PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nS 421 4.3.2 going\n",
	    PEER_EHLO PEER_MESSAGE "H\n" },
	  "dsn=4.3.2, status=deferred (421 4.3.2 going",
	  true },
	{ "the host is refused for good",
	  0,
	  { "S 554 5.7.1 go away\nH\n", PEER_EHLO PEER_MESSAGE "H\n" },
	  "status=deferred (host 127.0.0.1",
	  true },
	{ "no SMTP",
	  0,
	  { "S SSH-2.0-OpenSSH_9.2\nH\n", PEER_EHLO PEER_MESSAGE "H\n" },
	  "status=deferred (",
	  true },
	{ "not a word",
	  0,
	  { "", PEER_EHLO PEER_MESSAGE "H\n" },
	  "dsn=4.4.2, status=deferred (lost connection with 127.0.0.1",
	  true },
	{ "larger than the server takes",
	  1000,
	  { "S 220 peer\nC EHLO\nS 250-peer\nS 250 SIZE 100\nH\n" },
	  "dsn=5.3.4, status=bounced (not sent: message size ",
	  false },
};

static void test_one_message(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer *peer = peer_new(cases[i].scripts, cases[i].scripts[1] ? 2 : 1);
		struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u tls=none\n"
					  "client.example = discard:",
					  peer_port(peer));

		print_message("%s\n", cases[i].label);
		rig_start(rig);
		if (cases[i].size > 0)
			rig_submit_large(rig, "bob@example.net", cases[i].size);
		else
			rig_submit(rig, "bob@example.net");
		rig_wait_log(rig, cases[i].logged);
		if (cases[i].is_tried_again) /* the log may lag behind the queue */
			rig_wait_log(rig, "status=sent (250 2.0.0 taken)");
		rig_wait_queued(rig, 0);
		assert_int_equal(rig_has_logged(rig, "status=sent (250 2.0.0 taken)"),
				 cases[i].is_tried_again);
		rig_free(rig);
		peer_free(peer);
	}
}

/* A body that was damaged on disk ends without its final dot, and is kept for the operator. */
static void test_damaged_while_sending(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\nT\nH\n");
	struct rig *rig = rig_for(peer);

	(void)state;
	rig_submit_large(rig, "bob@example.net", 9 << 20);
	peer_wait_seen(peer, "\r\nSubject: a large test");
	rig_truncate_bodies(rig);
	peer_let_go(peer);
	rig_wait_log(rig, "dsn=4.3.0, status=deferred (cannot read the message: ");
	rig_stop(rig, 0);
	assert_false(peer_has_seen(peer, "\r\n.\r\n"));
	rig_restart(rig);
	rig_submit(rig, "eve@local");
	rig_wait_log(rig, "to=<eve@local>");
	rig_wait_queued(rig, 1);
	assert_int_equal(rig_count_logged(rig, "to=<bob@example.net>"), 1);
	rig_free(rig);
	peer_free(peer);
}

/* A peer that reads on after it has said no must not get what was deferred: it would come twice. */
static void test_nothing_follows_a_failure(void **state)
{
	struct peer *peer =
		peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nS 421 4.3.2 enough\nT\nH\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	peer_set_small_buffers(peer);
	rig_start(rig);
	rig_submit_large(rig, "bob@example.net", 120000);
	rig_wait_log(rig, "status=deferred");
	rig_submit(rig, "eve@local"); /* so the worker has gone on, and closed the connection */
	peer_let_go(peer);
	peer_wait_ends(peer, 1);
	assert_true(peer_has_seen(peer, "\r\n\r\n")); /* some of it */
	assert_false(peer_has_seen(peer, "\r\n.\r\n"));
	rig_free(rig);
	peer_free(peer);
}

/* A server that takes few connections still gets everything, without delay. */
static void test_few_connections(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO PEER_RCPT
		"C DATA\nS 354 go\nB\nT\nS 250 taken\n" PEER_MESSAGE PEER_MESSAGE PEER_MESSAGE
			PEER_MESSAGE "H\n",
		"S 421 4.7.0 too many connections\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(peer, 1);
	for (unsigned int i = 0; i < 4; i++)
		rig_submit(rig, "bob@example.net");
	peer_wait_connections(peer, 2);
	peer_let_go(peer);
	peer_wait_messages(peer, 5);
	rig_wait_queued(rig, 0);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_free(rig);
	peer_free(peer);
}

/* What comes while a next hop backs off waits with the rest; nobody knocks for it. */
static void test_back_off(void **state)
{
	static const char *const scripts[] = { "S 421 4.3.2 not today\n",
					       PEER_EHLO PEER_MESSAGE PEER_MESSAGE "H\n" };
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_for(peer);

	(void)state;
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "to=<bob@example.net>");
	rig_submit(rig, "eve@example.net");
	rig_wait_log(rig, "to=<eve@example.net>");
	assert_int_equal(peer_connections(peer), 1);
	rig_wait_queued(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=deferred"), 2);
	rig_free(rig);
	peer_free(peer);
}

/* The next hop that answers is the one to begin with, for a while. */
static void test_second_hop(void **state)
{
	struct peer *first = peer_play("S 421 not here\n"), *second;
	struct rig *rig;

	(void)state;
	second = peer_play(PEER_EHLO PEER_MESSAGE);
	rig = rig_new("* = relay:[127.0.0.1]:%u, [127.0.0.1]:%u tls=none", peer_port(first),
		      peer_port(second));
	rig_options(rig)->destination_concurrency = 1;
	rig_start(rig);
	for (unsigned int i = 1; i <= 3; i++) {
		rig_submit(rig, "bob@example.net");
		peer_wait_messages(second, i);
	}
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_connections(first), 1);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_free(rig);
	peer_free(first);
	peer_free(second);
}

/* A reply in UTF-8 goes to the sender as it is, and to his programs in ASCII. */
static void test_bounce(void **state)
{
	struct peer *peer =
		peer_play(PEER_EHLO "C MAIL\nS 250 ok\n"
				    "C RCPT\nS 550-5.1.1 gibt's\nS 550 5.1.1 n\xc3\xb6t\nH\n");
	struct peer *home =
		peer_play("S 220 peer\nC EHLO\nS 250-peer\nS 250 8BITMIME\n" PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u tls=none\n"
				  "client.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(peer), peer_port(home));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(home, 1);
	rig_wait_queued(rig, 0);
	assert_true(peer_has_seen(home, "MAIL FROM:<> BODY=8BITMIME\r\n"));
	assert_true(peer_has_seen(home, "\r\nAuto-Submitted: auto-replied\r\n"));
	assert_true(peer_has_seen(home, "<bob@example.net>:\r\n\r\n    There is no mailbox "));
	assert_true(peer_has_seen(home, "\r\n    host 127.0.0.1[127.0.0.1]:"));
	assert_true(peer_has_seen(home, " said:\r\n    550 5.1.1 gibt's n\xc3\xb6t\r\n"));
	assert_true(peer_has_seen(home, "\r\nDiagnostic-Code: smtp; 550 5.1.1 gibt's n??t\r\n"));
	assert_true(peer_has_seen(home, "\r\nStatus: 5.1.1\r\n"));
	assert_true(peer_has_seen(home, "\r\nSubject: a test\r\n\r\nhello\r\n"));
	rig_free(rig);
	peer_free(peer);
	peer_free(home);
}

/* What we found wrong with a next hop is not said to be its words. */
static void test_bounce_in_our_words(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO "C QUIT\n");
	struct peer *home = peer_play(PEER_EHLO PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u tls=encrypt\n"
				  "client.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(peer), peer_port(home));

	(void)state;
	rig_options(rig)->maximal_lifetime_s = 0;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	peer_wait_messages(home, 1);
	rig_wait_queued(rig, 0);
	assert_true(peer_has_seen(home, "\r\nDiagnostic-Code: X-Posthouse; 450 4.7.4 TLS is "));
	assert_false(peer_has_seen(home, " said:"));
	assert_false(peer_has_seen(home, "Remote-MTA"));
	rig_free(rig);
	peer_free(peer);
	peer_free(home);
}

/* Without the message there is nothing to return: the operator must look at it. */
static void test_bounce_of_nothing(void **state)
{
	struct rig *rig = rig_new("* = error:5.0.0 no");

	(void)state;
	rig_set_local_status(rig, 0);
	rig_start(rig);
	rig_submit_large(rig, "bob@local", 500000);
	rig_wait_local(rig, 1);
	rig_remove_bodies(rig);
	rig_set_local_status(rig, 550);
	rig_wait_log(rig, "cannot notify the sender: bodies/");
	rig_wait_log(rig, "to=<bob@local>, relay=virtual");
	assert_false(rig_has_logged(rig, "status=bounced"));
	rig_stop(rig, 0);
	rig_restart(rig);
	rig_submit(rig, "eve@local");
	rig_wait_log(rig, "to=<eve@local>");
	rig_wait_queued(rig, 1);
	assert_int_equal(rig_count_logged(rig, "to=<bob@local>"), 1);
	rig_free(rig);
}

/* ---- names ---- */

/* A name server that answers every question with the same response code. */
struct name_server {
	int fd;
	char address[32];
	_Atomic unsigned char rcode;
	pthread_t thread;
};

static void *answer_questions(void *arg)
{
	struct name_server *server = arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	unsigned char packet[512];
	ssize_t n;

	while ((n = recvfrom(server->fd, packet, sizeof(packet), 0, (struct sockaddr *)&from,
			     &len)) > 12) {
		packet[2] = 0x81; /* an answer (RFC 1035 section 4.1.1) */
		packet[3] = 0x80 | server->rcode;
		sendto(server->fd, packet, (size_t)n, 0, (struct sockaddr *)&from, len);
	}
	return NULL;
}

static void name_server_start(struct name_server *server, unsigned char rcode)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t len = sizeof(address);

	server->rcode = rcode;
	server->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	assert_int_equal(bind(server->fd, (struct sockaddr *)&address, len), 0);
	assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
	snprintf(server->address, sizeof(server->address), "127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&server->thread, NULL, answer_questions, server), 0);
}

static void name_server_stop(struct name_server *server)
{
	shutdown(server->fd, SHUT_RDWR);
	pthread_join(server->thread, NULL);
	close(server->fd);
}

/* That a domain did not exist is no answer for the mail that comes later. */
static void test_no_such_name(void **state)
{
	struct name_server server = { 0 };
	struct rig *rig = rig_new("example.net = smtp:\nclient.example = discard:");

	(void)state;
	name_server_start(&server, 3); /* NXDOMAIN */
	rig_options(rig)->dns.servers = server.address;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "dsn=5.4.4, status=bounced (example.net: name not found)");
	server.rcode = 2; /* SERVFAIL */
	rig_submit(rig, "eve@example.net");
	rig_wait_log(rig, "to=<eve@example.net>, relay=none");
	assert_true(rig_has_logged(rig, "dsn=4.4.3, status=deferred (example.net: "));
	rig_free(rig);
	name_server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_reused_connection_ends),
		cmocka_unit_test(test_one_message),
		cmocka_unit_test(test_damaged_while_sending),
		cmocka_unit_test(test_nothing_follows_a_failure),
		cmocka_unit_test(test_few_connections),
		cmocka_unit_test(test_back_off),
		cmocka_unit_test(test_second_hop),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_bounce_in_our_words),
		cmocka_unit_test(test_bounce_of_nothing),
		cmocka_unit_test(test_no_such_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
