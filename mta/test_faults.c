/*
 * test_faults - what is our fault, or the network's, never returns mail
 *
 * A message is returned when a server that was reached says no, or when what
 * decides is written down: a route, a size, a domain that does not exist.
 * Whatever else goes wrong, it waits. The servers' own answers at each stage
 * are in test_outbound.c and tests/integration/test_delivery.py.
 */
#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

/* A name server that answers every question with the same code; SILENT: not at all. */
enum { NO_ERROR = 0, SERVER_FAILURE = 2, NAME_ERROR = 3, REFUSED = 5, RUBBISH = 98, SILENT = 99 };

struct name_server {
	int fd, code;
	char address[32];
	pthread_t thread;
};

static void *answer_questions(void *arg)
{
	struct name_server *s = arg;
	unsigned char packet[512];
	struct sockaddr_in client;
	socklen_t len = sizeof(client);
	ssize_t n;

	while ((n = recvfrom(s->fd, packet, sizeof(packet), 0, (void *)&client, &len)) >= 12) {
		packet[2] |= 0x80; /* a response */
		packet[3] = (unsigned char)(0x80 | (s->code & 15));
		if (s->code == RUBBISH)
			memset(packet + 2, 0xff, (size_t)n - 2);
		if (s->code != SILENT)
			sendto(s->fd, packet, (size_t)n, 0, (void *)&client, len);
		len = sizeof(client);
	}
	return NULL;
}

static void name_server_start(struct name_server *s, int code)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(address);

	s->code = code;
	s->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	assert_int_equal(bind(s->fd, (void *)&address, sizeof(address)), 0);
	assert_int_equal(getsockname(s->fd, (void *)&address, &len), 0);
	snprintf(s->address, sizeof(s->address), "127.0.0.1:%u", ntohs(address.sin_port));
	assert_int_equal(pthread_create(&s->thread, NULL, answer_questions, s), 0);
}

static void name_server_stop(struct name_server *s)
{
	struct sockaddr_in address;
	socklen_t len = sizeof(address);

	assert_int_equal(getsockname(s->fd, (void *)&address, &len), 0);
	assert_int_equal(sendto(s->fd, "", 0, 0, (void *)&address, len),
			 0); /* too short to be one */
	pthread_join(s->thread, NULL);
	close(s->fd);
}

static const struct {
	const char *label, *route; /* of example.net; %u: the peer's port */
	const char *script;	   /* of the peer; NULL: it closes at once */
	int name_server;
	const char *want;
} faults[] = {
	/* the network */
	{ "nobody listens", "relay:[127.0.0.1]:1 tls=none", NULL, 0,
	  "dsn=4.4.1, status=deferred (connect to 127.0.0.1[127.0.0.1]:1: " },
	{ "no route to the host", "relay:[255.255.255.255]:25 tls=none", NULL, 0,
	  "dsn=4.4.1, status=deferred (connect to 255.255.255.255[255.255.255.255]:25: " },
	{ "connection closed at once", "relay:[127.0.0.1]:%u tls=none", "", 0,
	  "dsn=4.4.2, status=deferred (lost connection with " },
	{ "not SMTP", "relay:[127.0.0.1]:%u tls=none", "S HTTP/1.1 400 Bad Request\n", 0,
	  "dsn=4.5.0, status=deferred (" },
	{ "all is refused", "relay:[127.0.0.1]:%u tls=none", "S 554 5.7.1 go away\n", 0,
	  "dsn=4.7.1, status=deferred (host 127.0.0.1[127.0.0.1]:" },
	{ "EHLO and HELO are refused", "relay:[127.0.0.1]:%u tls=none",
	  "S 220 x\nC EHLO\nS 550 no\nC HELO\nS 550 no\n", 0,
	  "dsn=4.0.0, status=deferred (host 127.0.0.1[127.0.0.1]:" },

	/* names */
	{ "name server fails", "relay:[hub.example]:25 tls=none", NULL, SERVER_FAILURE,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "name server refuses", "relay:[hub.example]:25 tls=none", NULL, REFUSED,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "name server is silent", "relay:[hub.example]:25 tls=none", NULL, SILENT,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "name server is mad", "relay:[hub.example]:25 tls=none", NULL, RUBBISH,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "a next hop of ours does not exist", "relay:[hub.example]:25 tls=none", NULL, NAME_ERROR,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "a next hop of ours has no address", "relay:[hub.example]:25 tls=none", NULL, NO_ERROR,
	  "dsn=4.4.3, status=deferred (hub.example: " },
	{ "the domain is unknown for now", "smtp:", NULL, SERVER_FAILURE,
	  "dsn=4.4.3, status=deferred (example.net: " },

	/* TLS, ours and theirs */
	{ "nobody is trusted here", "relay:[127.0.0.1]:%u tls=verify", "", 0,
	  "dsn=4.3.5, status=deferred (" },
	{ "no STARTTLS", "relay:[127.0.0.1]:%u tls=encrypt", PEER_EHLO PEER_QUIT, 0,
	  "dsn=4.7.4, status=deferred (TLS is required, but was not offered by host " },
	{ "STARTTLS is refused for good", "relay:[127.0.0.1]:%u tls=encrypt",
	  "S 220 x\nC EHLO\nS 250-x\nS 250 STARTTLS\nC STARTTLS\nS 554 never\n" PEER_QUIT, 0,
	  "dsn=4.7.4, status=deferred (TLS is required, but host " },
	{ "no TLS where there must be", "relay-smtps:[127.0.0.1]:%u", "S 220 x\nH\n", 0,
	  "dsn=4.7.5, status=deferred (cannot start TLS with 127.0.0.1" },

	/* configuration */
	{ "a line that makes no sense", "relay-stmps:[127.0.0.1]:25", NULL, 0,
	  "dsn=4.3.5, status=deferred (" },
	{ "deferred by a route", "retry:4.7.0 closed today", NULL, 0,
	  "dsn=4.7.0, status=deferred (closed today)" },
};

/* These do not wait: somebody has decided. */
static const struct {
	const char *label, *route, *script;
	int name_server;
	const char *want;
} refusals[] = {
	{ "by a route", "error:5.7.1 no mail for you", NULL, 0,
	  "dsn=5.7.1, status=bounced (no mail for you)" },
	{ "the recipient's domain does not exist", "smtp:", NULL, NAME_ERROR,
	  "dsn=5.4.4, status=bounced (example.net: " },
	{ "too large for the next hop", "relay:[127.0.0.1]:%u tls=none",
	  "S 220 x\nC EHLO\nS 250-x\nS 250 SIZE 10\nH\n", 0,
	  "dsn=5.3.4, status=bounced (not sent: message size " },
	{ "by the next hop", "relay:[127.0.0.1]:%u tls=none",
	  PEER_EHLO "C MAIL\nS 250 ok\nC RCPT\nS 550 5.1.1 no\nH\n", 0,
	  "dsn=5.1.1, status=bounced (550 5.1.1 no)" },
};

struct scene {
	struct rig *rig;
	struct peer *peer;
	struct name_server names;
};

static void begin(struct scene *scene, const char *route, const char *script, int code)
{
	char routes[256];
	struct mta_options *options;

	scene->peer = script ? peer_play(script) : NULL;
	name_server_start(&scene->names, code);
	/* The only %u there is, if any, is in the table. */
	snprintf(routes, sizeof(routes), "example.net = %s\nclient.example = discard:", route);
	scene->rig = strstr(route, "%u") ? rig_new(routes, peer_port(scene->peer))
					 : rig_new("%s", routes);
	options = rig_options(scene->rig);
	options->minimal_backoff_s = options->maximal_backoff_s = 3600;
	options->dns = (struct dns_options){ scene->names.address, 100, 1 };
	rig_start(scene->rig);
	rig_submit(scene->rig, "bob@example.net");
}

static void end(struct scene *scene)
{
	rig_free(scene->rig);
	peer_free(scene->peer);
	name_server_stop(&scene->names);
}

static void test_mail_waits(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
		struct scene scene;

		print_message("%s\n", faults[i].label);
		begin(&scene, faults[i].route, faults[i].script, faults[i].name_server);
		rig_wait_log(scene.rig, "to=<bob@example.net>");
		if (!rig_has_logged(scene.rig, faults[i].want))
			fail_msg("%s: %s", faults[i].label,
				 rig_wait_log(scene.rig, "to=<bob@example.net>"));
		rig_stop(scene.rig, 1000);
		assert_false(rig_has_logged(scene.rig, "status=bounced"));
		assert_false(rig_has_logged(scene.rig, "removed"));
		end(&scene);
	}
}

static void test_mail_returns(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct scene scene;

		print_message("%s\n", refusals[i].label);
		begin(&scene, refusals[i].route, refusals[i].script, refusals[i].name_server);
		rig_wait_log(scene.rig, "to=<bob@example.net>");
		if (!rig_has_logged(scene.rig, refusals[i].want))
			fail_msg("%s: %s", refusals[i].label,
				 rig_wait_log(scene.rig, "to=<bob@example.net>"));
		rig_wait_log(scene.rig, "to=<alice@client.example>");
		rig_wait_queued(scene.rig, 0);
		end(&scene);
	}
}

/* Down for a whole lifetime: then the last answer is told, and not before. */
static void test_the_end_of_patience(void **state)
{
	struct scene scene;

	(void)state;
	begin(&scene, "relay:[127.0.0.1]:1 tls=none", NULL, 0);
	rig_wait_log(scene.rig, "status=deferred");
	rig_stop(scene.rig, 1000);
	rig_advance(scene.rig, 3600 * 1000);
	rig_restart(scene.rig);
	rig_wait_log(scene.rig, "dsn=4.4.1, status=bounced (connect to 127.0.0.1[127.0.0.1]:1: ");
	rig_wait_queued(scene.rig, 0);
	end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mail_waits),
		cmocka_unit_test(test_mail_returns),
		cmocka_unit_test(test_the_end_of_patience),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
