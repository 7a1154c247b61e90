/*
 * test_ahead - several messages in flight on one connection, and what becomes
 * of each when it ends; and how many recipients go together
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

#define LONG_MS 3600000 /* a grace that no test waits for */

/* What is read of a message that was sent in one flight. */
#define FLIGHT	     "C MAIL FROM:\nC RCPT TO:\nK\n"
#define NEXT_FLIGHT  "C RSET\n" FLIGHT
#define TAKE_FIRST   "C MAIL FROM:\nC RCPT TO:\nS 250 ok\nS 250 ok\nK\nT\nS 250 taken\n"
#define THREE_BEHIND FLIGHT NEXT_FLIGHT NEXT_FLIGHT
#define TAKE	     "S 250 ok\nS 250 ok\nS 250 taken\n"

static struct rig *rig_not_started(struct peer *peer)
{
	struct rig *rig = rig_new("client.example = discard:\n"
				  "* = relay:[127.0.0.1]:%u tls=none",
				  peer_port(peer));

	rig_options(rig)->destination_concurrency = 1;
	rig_options(rig)->minimal_backoff_s = 1800;
	rig_options(rig)->maximal_backoff_s = 3600;
	return rig;
}

static struct rig *rig_for(struct peer *peer)
{
	struct rig *rig = rig_not_started(peer);

	rig_start(rig);
	return rig;
}

/* The first has been sent and waits for its answer; three are there for its connection. */
static void submit_four(struct rig *rig, struct peer *peer)
{
	rig_submit(rig, "one@example.net");
	peer_wait_messages(peer, 1);
	rig_submit(rig, "two@example.net");
	rig_submit(rig, "three@example.net");
	rig_submit(rig, "four@example.net");
}

static struct rig *rig_with_four(struct peer *peer)
{
	struct rig *rig = rig_for(peer);

	submit_four(rig, peer);
	return rig;
}

static void test_each_has_its_own_answer(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND
				      "S 250 ok\nS 250 ok\nS 250 taken two\n"
				      "S 250 reset\nS 250 ok\nS 550 5.1.1 who?\nS 503 5.5.1 no\n"
				      "S 250 reset\nS 250 ok\nS 250 ok\nS 554 5.6.0 not four\nH\n");
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	rig_wait_queued(rig, 0);
	rig_wait_log(rig, "to=<two@example.net>");
	assert_true(rig_has_logged(rig, "status=sent (250 2.0.0 taken two)"));
	assert_true(rig_has_logged(rig, "dsn=5.1.1, status=bounced (550 5.1.1 who?"));
	assert_true(rig_has_logged(rig, "dsn=5.6.0, status=bounced (554 5.6.0 not four"));
	assert_int_equal(peer_connections(peer), 1);
	rig_free(rig);
	peer_free(peer);
}

/* What the peer has not come to is sent again at once, over another connection, and not counted. */
static void test_closing_in_between(void **state)
{
	static const char *const ends[] = {
		"S 421 4.7.0 enough\n",
		"S 250 ok\nS 421 4.7.0 enough\n",
		TAKE "S 421 4.7.0 enough\n",
		TAKE "S 250 reset\nS 421 4.7.0 enough\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		char first[1024];
		const char *scripts[] = { first, PEER_EHLO "*\n" };
		struct peer *peer = peer_new(scripts, 2);
		struct rig *rig;

		print_message("%s", ends[i]);
		snprintf(first, sizeof(first), "%s%s", PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND,
			 ends[i]);
		rig = rig_with_four(peer);
		peer_let_go(peer);
		rig_wait_queued(rig, 0);
		rig_wait_log(rig, "to=<four@example.net>");
		assert_int_equal(rig_count_logged(rig, "status=sent"), 4);
		assert_false(rig_has_logged(rig, "status=deferred"));
		rig_free(rig);
		peer_free(peer);
	}
}

/* The same with messages in files, which are read while others are answered. */
static void test_closing_amid_files(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND "S 421 4.7.0 enough\n",
		PEER_EHLO "*\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_for(peer);

	(void)state;
	rig_submit(rig, "one@example.net");
	peer_wait_messages(peer, 1);
	rig_submit_large(rig, "two@example.net", 200000);
	rig_submit_large(rig, "three@example.net", 200000);
	rig_submit_large(rig, "four@example.net", 200000);
	peer_let_go(peer);
	rig_wait_queued(rig, 0);
	rig_wait_log(rig, "to=<four@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent"), 4);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_free(rig);
	peer_free(peer);
}

/* Nobody knows whether it has taken them: they wait, as ever. */
static void test_lost(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND TAKE);
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	rig_wait_log(rig, "to=<two@example.net>");
	rig_wait_log(rig, "to=<four@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	assert_int_equal(rig_count_logged(rig, "dsn=4.4.2, status=deferred (lost connection with "
					       "127.0.0.1[127.0.0.1]"),
			 2);
	assert_int_equal(rig_count_logged(rig, "message may be sent more than once)"), 2);
	rig_wait_queued(rig, 2);
	rig_free(rig);
	peer_free(peer);
}

/* A next hop that ends so gets one at a time for a while: no RSET, which would be ahead. */
static void test_once_bitten(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND TAKE,
		PEER_EHLO_CHUNKING TAKE_FIRST FLIGHT TAKE FLIGHT TAKE FLIGHT TAKE "H\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	rig_wait_queued(rig, 2);
	peer_wait_messages(peer, 4);
	rig_submit(rig, "five@example.net");
	peer_wait_messages(peer, 5);
	rig_submit(rig, "six@example.net");
	rig_submit(rig, "seven@example.net");
	rig_submit(rig, "eight@example.net");
	peer_let_go(peer);
	rig_wait_log(rig, "to=<eight@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent"), 6);
	assert_int_equal(rig_count_logged(rig, "status=deferred"), 2);
	rig_free(rig);
	peer_free(peer);
}

/* By DATA only the envelope of the next one is ahead, and that is not in doubt. */
static void test_lost_behind_the_dot(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO_PIPELINING
		"C MAIL FROM:\nC RCPT TO:\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nB\nT\n"
		"S 250 taken\nC MAIL FROM:\nC RCPT TO:\nC DATA\nS 250 ok\nS 250 ok\nS 354 go\nB\n"
		"C MAIL FROM:\nC RCPT TO:\nC DATA\n",
		PEER_EHLO "*\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	rig_wait_queued(rig, 1);
	rig_wait_log(rig, "to=<four@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent"), 3);
	assert_int_equal(rig_count_logged(rig, "status=deferred"), 1);
	assert_true(rig_has_logged(rig, "message may be sent more than once)"));
	rig_free(rig);
	peer_free(peer);
}

/* A stop waits for all answers that are owed. */
static void test_stop(void **state)
{
	struct peer *peer =
		peer_play(PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND
			  "W\n" TAKE "S 250 reset\n" TAKE "S 250 reset\n" TAKE PEER_QUIT);
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	peer_wait_messages(peer, 4);
	rig_stop_begin(rig, LONG_MS);
	peer_let_go(peer);
	rig_stop_wait(rig);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 4);
	rig_wait_queued(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* What nobody has answered for stays in the queue, all of it. */
static void test_stop_in_a_hurry(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND TAKE "H\n");
	struct rig *rig = rig_with_four(peer);

	(void)state;
	peer_let_go(peer);
	rig_wait_log(rig, "to=<two@example.net>");
	rig_stop_begin(rig, LONG_MS);
	rig_stop(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_wait_queued(rig, 2);
	rig_free(rig);
	peer_free(peer);
}

/*
 * The limit is that of the first reply that is owed; the others are in doubt
 * with it. That to RSET, as nothing else here waits for one.
 */
static void test_silence(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO_CHUNKING TAKE_FIRST THREE_BEHIND TAKE "H\n");
	struct rig *rig = rig_not_started(peer);

	(void)state;
	rig_options(rig)->timeouts.rset_ms = 500;
	rig_start(rig);
	submit_four(rig, peer);
	peer_let_go(peer);
	rig_wait_log(rig, "to=<three@example.net>");
	rig_wait_log(rig, "to=<four@example.net>");
	rig_wait_queued(rig, 2);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	assert_int_equal(rig_count_logged(rig, "dsn=4.4.2, status=deferred (conversation with "),
			 2);
	assert_int_equal(rig_count_logged(rig, "message may be sent more than once)"), 2);
	rig_free(rig);
	peer_free(peer);
}

/* Nor does more behind it give it more time, which comes all the while. */
static void test_silence_while_more_comes(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO_CHUNKING TAKE_FIRST FLIGHT "H\n",
		"H\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_not_started(peer);
	unsigned int count = 0;

	(void)state;
	rig_options(rig)->timeouts.mail_ms = 500;
	rig_start(rig);
	rig_submit(rig, "one@example.net");
	peer_wait_messages(peer, 1);
	rig_submit(rig, "two@example.net");
	peer_let_go(peer);
	peer_wait_messages(peer, 2);
	while (!rig_has_logged(rig, "(conversation with ")) {
		assert_true(++count < 15); /* so many are let through behind it */
		rig_submit(rig, "more@example.net");
		usleep(100000); /* to be slow is what this is about */
	}
	rig_stop(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* Without its last chunk a message that can't be read is none. */
static void test_damaged(void **state)
{
	struct peer *peer = peer_play(
		PEER_EHLO_CHUNKING "C MAIL FROM:\nC RCPT TO:\nS 250 ok\nS 250 ok\nC BDAT\nT\nH\n");
	struct rig *rig = rig_for(peer);

	(void)state;
	peer_set_small_buffers(peer);
	rig_submit_large(rig, "bob@example.net", 9 << 20);
	peer_wait_seen(peer, "\r\nSubject: a large test");
	rig_truncate_bodies(rig);
	peer_let_go(peer);
	rig_wait_log(rig, "dsn=4.3.0, status=deferred (cannot read the message: ");
	rig_stop(rig, 0);
	assert_false(peer_has_seen(peer, " LAST\r\n"));
	rig_wait_queued(rig, 1);
	rig_free(rig);
	peer_free(peer);
}

/* ---- recipients ---- */

#define EHLO_LIMITS(limits) "S 220 x\nC EHLO\nS 250-x\nS 250-PIPELINING\nS 250 LIMITS " limits "\n"
#define DATA_BODY	    "C DATA\nS 354 go\nB\nS 250 taken\n"

static void test_rcpt_max(void **state)
{
	struct peer *peer = peer_play(EHLO_LIMITS(
		"RCPTMAX=2") "C MAIL\nS 250 ok\n"
			     "C RCPT TO:<a@\nS 250 ok\nC RCPT TO:<b@\nS 250 ok\n" DATA_BODY
			     "C MAIL\nS 250 ok\nC RCPT TO:<c@\nS 250 ok\n" DATA_BODY "H\n");
	struct rig *rig = rig_for(peer);

	(void)state;
	rig_submit(rig, "a@example.net b@example.net c@example.net");
	rig_wait_queued(rig, 0);
	rig_wait_log(rig, "to=<c@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent (250 2.0.0 taken)"), 3);
	assert_int_equal(peer_connections(peer), 1);
	rig_free(rig);
	peer_free(peer);
}

/* RFC 5321 section 4.5.3.1.10: the rest goes at once, and from then on fewer go together. */
static void test_too_many_recipients(void **state)
{
	static const char *const refusals[] = {
		"S 452 4.5.3 too many\n",
		"S 452 too many\n",
		"S 552 5.5.3 too many\n",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		char script[2048];
		struct peer *peer;
		struct rig *rig;

		snprintf(script, sizeof(script),
			 PEER_EHLO "C MAIL\nS 250 ok\nC RCPT TO:<a@\nS 250 ok\n"
				   "C RCPT TO:<b@\n%sC RCPT TO:<c@\n%s" DATA_BODY
				   "C MAIL\nS 250 ok\nC RCPT TO:<b@\nS 250 ok\n" DATA_BODY
				   "C MAIL\nS 250 ok\nC RCPT TO:<c@\nS 250 ok\n" DATA_BODY "H\n",
			 refusals[i], refusals[i]);
		peer = peer_play(script);
		rig = rig_for(peer);
		rig_submit(rig, "a@example.net b@example.net c@example.net");
		rig_wait_queued(rig, 0);
		rig_wait_log(rig, "to=<c@example.net>");
		assert_int_equal(rig_count_logged(rig, "status=sent (250 2.0.0 taken)"), 3);
		assert_false(rig_has_logged(rig, "status=deferred"));
		rig_free(rig);
		peer_free(peer);
	}
}

/* But not where it is said to the first one, or the message is not taken, or it means a full disk. */
static void test_not_too_many(void **state)
{
	static const struct {
		const char *script;
		unsigned int sent, deferred;
	} cases[] = {
		{ "C RCPT TO:<a@\nS 452 4.5.3 none at all\nC RCPT TO:<b@\nS 452 4.5.3 none\nH\n", 0,
		  2 },
		{ "C RCPT TO:<a@\nS 250 ok\nC RCPT TO:<b@\nS 452 4.5.3 many\nC DATA\nS 354 go\nB\n"
		  "S 452 4.3.1 full\nH\n",
		  0, 2 },
		{ "C RCPT TO:<a@\nS 250 ok\nC RCPT TO:<b@\nS 452 4.3.1 full\n" DATA_BODY "H\n", 1,
		  1 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char script[1024];
		struct peer *peer;
		struct rig *rig;

		snprintf(script, sizeof(script), PEER_EHLO "C MAIL\nS 250 ok\n%s", cases[i].script);
		peer = peer_play(script);
		rig = rig_for(peer);
		rig_submit(rig, "a@example.net b@example.net");
		rig_wait_log(rig, "to=<a@example.net>");
		rig_wait_log(rig, "to=<b@example.net>");
		assert_int_equal(rig_count_logged(rig, "status=sent"), cases[i].sent);
		assert_int_equal(rig_count_logged(rig, "status=deferred (452"), cases[i].deferred);
		rig_free(rig);
		peer_free(peer);
	}
}

static void test_mail_max(void **state)
{
	struct peer *peer = peer_play(EHLO_LIMITS("MAILMAX=2") PEER_MESSAGE PEER_MESSAGE PEER_QUIT);
	struct rig *rig = rig_for(peer);

	(void)state;
	peer_allow_idle(peer);
	for (unsigned int i = 1; i <= 4; i++) {
		rig_submit(rig, "bob@example.net");
		peer_wait_messages(peer, i);
	}
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_connections(peer), 2);
	assert_false(rig_has_logged(rig, "status=deferred"));
	rig_free(rig);
	peer_free(peer);
}

/* Each domain has a connection of its own where the peer wants it so. */
static void test_rcpt_domain_max(void **state)
{
	static const char *const scripts[] = {
		EHLO_LIMITS(
			"RCPTDOMAINMAX=1") "C MAIL\nS 250 ok\nC RCPT TO:<a@example.net\nS 250 ok\n"
					   "C RCPT TO:<c@EXAMPLE.net\nS 250 ok\n" DATA_BODY
						   PEER_QUIT,
		EHLO_LIMITS("RCPTDOMAINMAX=1") "C MAIL\nS 250 ok\nC RCPT TO:<b@example.org\nS 250 "
					       "ok\n" DATA_BODY "H\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_for(peer);

	(void)state;
	rig_submit(rig, "a@example.net b@example.org c@EXAMPLE.net");
	rig_wait_queued(rig, 0);
	rig_wait_log(rig, "to=<b@example.org>");
	assert_int_equal(rig_count_logged(rig, "status=sent (250 2.0.0 taken)"), 3);
	rig_free(rig);
	peer_free(peer);
}

/* ---- limits of ours ---- */

enum { USES, IDLE, AGE, REUSE_LIMITS };

static void test_reuse_limits(void **state)
{
	(void)state;
	for (int i = 0; i < REUSE_LIMITS; i++) {
		struct peer *peer = peer_play(PEER_EHLO "*\n");
		struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));
		struct mta_options *options = rig_options(rig);

		options->destination_concurrency = 1;
		options->connection_uses = i == USES;
		if (i == IDLE)
			options->connection_idle_ms = 0;
		rig_start(rig);
		for (unsigned int sent = 1; sent <= 3; sent++) {
			rig_submit(rig, "bob@example.net");
			peer_wait_messages(peer, sent);
			if (i == AGE)
				rig_advance(rig, options->connection_age_ms + 1);
			else
				peer_wait_ends(peer, sent);
		}
		rig_wait_queued(rig, 0);
		assert_int_equal(peer_connections(peer), 3);
		assert_false(rig_has_logged(rig, "status=deferred"));
		rig_free(rig);
		peer_free(peer);
	}
}

/* A peer that announces what it does not have. */
static void test_discarded(void **state)
{
	struct peer *peer = peer_play("S 220 x\nC EHLO\nS 250-x\nS 250-PIPELINING\nS 250-SIZE 1\n"
				      "S 250 CHUNKING\n" PEER_RCPT DATA_BODY "H\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_options(rig)->discarded_keywords = "chunking, SIZE";
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_queued(rig, 0);
	rig_wait_log(rig, "status=sent (250 2.0.0 taken)");
	rig_free(rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_has_its_own_answer),
		cmocka_unit_test(test_closing_in_between),
		cmocka_unit_test(test_closing_amid_files),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_once_bitten),
		cmocka_unit_test(test_lost_behind_the_dot),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_stop_in_a_hurry),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_silence_while_more_comes),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_rcpt_max),
		cmocka_unit_test(test_too_many_recipients),
		cmocka_unit_test(test_not_too_many),
		cmocka_unit_test(test_mail_max),
		cmocka_unit_test(test_rcpt_domain_max),
		cmocka_unit_test(test_reuse_limits),
		cmocka_unit_test(test_discarded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
