/* test_outbound - next hops that are slow, rude, broken or gone, and what becomes of the mail */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reuse),
		cmocka_unit_test(test_reused_connection_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
