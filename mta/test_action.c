/*
 * test_action - what an operator does to the queue reaches the deliveries
 *
 * Left alone, nothing would be tried again for an hour.
 */
#include "mta/test_operator.h"
#include "mta/test_peer.h"

#define LATER	 PEER_EHLO "C MAIL\nS 250 ok\nC RCPT\nS 450 later\n"
#define BACK_OFF 3600

static void start(struct rig *rig)
{
	rig_options(rig)->minimal_backoff_s = BACK_OFF;
	rig_options(rig)->maximal_backoff_s = BACK_OFF;
	rig_options(rig)->maximal_lifetime_s = 100 * BACK_OFF;
	rig_start(rig);
}

/* Deferred by the peer, and due at once when the operator says so. */
static void test_retry(void **state)
{
	static const char *const scripts[] = { LATER, PEER_EHLO PEER_MESSAGE "H\n" };
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	start(rig);
	rig_submit(rig, "bob@far.example");
	rig_wait_log(rig, "status=deferred");
	operator_wait_unclaimed(rig);
	operator_act(rig, QUEUE_RETRY, "bob@far.example");
	mta_look(rig_mta(rig));
	rig_wait_queued(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* A next hop that was down is tried at once as well. */
static void test_retry_next_hop(void **state)
{
	static const char *const scripts[] = { "S 421 no\n", PEER_EHLO PEER_MESSAGE "H\n" };
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	start(rig);
	rig_submit(rig, "bob@far.example");
	rig_wait_log(rig, "status=deferred");
	operator_wait_unclaimed(rig);
	operator_act(rig, QUEUE_RETRY, "bob@*");
	mta_retry(rig_mta(rig));
	rig_wait_queued(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* What is held when its attempt ends is found when it is let go. */
static void test_hold_and_release(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO "C MAIL\nS 250 ok\nC RCPT\nT\nS 450 later\n",
		PEER_EHLO PEER_MESSAGE "H\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	start(rig);
	rig_submit(rig, "bob@far.example");
	peer_wait_seen(peer, "RCPT");
	operator_act(rig, QUEUE_HOLD, "bob@*");
	peer_let_go(peer);
	rig_wait_log(rig, "status=deferred");
	operator_wait_unclaimed(rig);
	mta_look(rig_mta(rig)); /* it may still be looking when the next action is done */
	assert_int_equal(peer_messages(peer), 0);
	operator_act(rig, QUEUE_RELEASE, "bob@*");
	mta_look(rig_mta(rig));
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(peer), 1);
	rig_free(rig);
	peer_free(peer);
}

/* Given up by the operator: the sender hears of it as of any failure, and no peer does. */
static void test_bounce(void **state)
{
	struct peer *peer = peer_play(LATER "H\n"), *home = peer_play(PEER_EHLO PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none\n"
				  "client.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(peer), peer_port(home));

	(void)state;
	start(rig);
	rig_submit(rig, "bob@far.example");
	rig_wait_log(rig, "status=deferred");
	operator_wait_unclaimed(rig);
	operator_act(rig, QUEUE_HOLD, "bob@*");
	operator_act(rig, QUEUE_BOUNCE, "bob@*");
	mta_look(rig_mta(rig));
	rig_wait_log(rig, "dsn=5.7.0, status=bounced (returned by the operator)");
	rig_wait_queued(rig, 0);
	assert_true(peer_has_seen(home, "returned by the operator"));
	assert_int_equal(peer_messages(home), 1);
	assert_int_equal(peer_messages(peer), 0);
	rig_free(rig);
	peer_free(peer);
	peer_free(home);
}

/* While an attempt is on: it is returned if that does not deliver it, and without a wait. */
static void test_bounce_in_flight(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "T\nC DATA\nS 451 later\nH\n");
	struct peer *home = peer_play(PEER_EHLO PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none\n"
				  "client.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(peer), peer_port(home));

	(void)state;
	start(rig);
	rig_submit(rig, "bob@far.example");
	peer_wait_seen(peer, "RCPT");
	operator_act(rig, QUEUE_BOUNCE, "bob@*");
	mta_look(rig_mta(rig));
	peer_let_go(peer);
	rig_wait_log(rig, "status=deferred");
	rig_wait_log(rig, "dsn=5.7.0, status=bounced (returned by the operator)");
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(home), 1);
	rig_free(rig);
	peer_free(peer);
	peer_free(home);
}

/* Deleted while it is being sent: the attempt ends in peace, and nobody is told that it failed. */
static void test_delete_in_flight(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT "T\nC DATA\nS 354 go\nB\nS 550 no\nH\n");
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none\n"
				  "client.example = error:5.0.0 nobody should ask",
				  peer_port(peer));

	(void)state;
	start(rig);
	rig_submit_large(rig, "bob@far.example", 500000);
	peer_wait_seen(peer, "RCPT");
	operator_act(rig, QUEUE_DELETE, "bob@*");
	rig_wait_queued(rig, 0);
	peer_let_go(peer);
	rig_wait_log(rig, "dsn=5.0.0, status=bounced");
	operator_wait_unclaimed(rig);
	assert_int_equal(rig_queued(rig), 0);
	assert_int_equal(peer_messages(peer), 1);
	assert_false(rig_has_logged(rig, "notification"));
	rig_free(rig);
	peer_free(peer);
}

/* What waits for a connection goes by its rows again: one of these is held by then. */
static void test_reroute(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO PEER_RCPT
				      "C DATA\nS 354 go\nB\nT\nS 250 ok\n" PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("far.example = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_options(rig)->destination_concurrency = 1;
	start(rig);
	rig_submit(rig, "a@far.example");
	peer_wait_messages(peer, 1);
	rig_submit(rig, "b@far.example");
	rig_submit(rig, "c@far.example");
	operator_act(rig, QUEUE_HOLD, "b@far.example");
	operator_act(rig, QUEUE_REROUTE, "c@far.example");
	mta_reroute(rig_mta(rig));
	peer_let_go(peer);
	rig_wait_queued(rig, 1);
	assert_true(rig_has_logged(rig, "to=<c@far.example>"));
	assert_false(rig_has_logged(rig, "to=<b@far.example>"));
	rig_free(rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_retry),
		cmocka_unit_test(test_retry_next_hop),
		cmocka_unit_test(test_hold_and_release),
		cmocka_unit_test(test_bounce),
		cmocka_unit_test(test_bounce_in_flight),
		cmocka_unit_test(test_delete_in_flight),
		cmocka_unit_test(test_reroute),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
