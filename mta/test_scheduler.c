/* test_scheduler - mail is looked for when it is due, by whichever worker, and delivered once */
#include <pthread.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

#define LATER PEER_EHLO "C MAIL\nS 250 ok\nC RCPT\nS 450 later\n"

/*
 * One recipient becomes due while the message is still held by another, whose
 * delivery takes long. Nobody can claim it then; it must be found at once
 * when that delivery is over, and not at the next look once a minute.
 */
static void test_due_while_held(void **state)
{
	static const char *const once[] = { LATER, PEER_EHLO PEER_MESSAGE "H\n" };
	static const char *const twice[] = { LATER, LATER, PEER_EHLO PEER_MESSAGE "H\n" };
	struct peer *slow = peer_play(PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\nT\nS 250 ok\nH\n");
	struct peer *busy = peer_new(once, 2);
	struct peer *other = peer_new(twice, 3);
	struct rig *rig = rig_new("slow.example = relay:[127.0.0.1]:%u tls=none\n"
				  "busy.example = relay:[127.0.0.1]:%u tls=none\n"
				  "other.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(slow), peer_port(busy), peer_port(other));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "a@slow.example b@busy.example");
	rig_wait_log(rig, "to=<b@busy.example>");
	rig_submit(rig, "c@other.example");
	peer_wait_messages(other, 1); /* so much later the first recipient is due as well */
	rig_wait_queued(rig, 1);
	assert_int_equal(peer_connections(busy), 1);
	peer_let_go(slow);
	peer_wait_messages(busy, 1);
	rig_free(rig);
	peer_free(slow);
	peer_free(busy);
	peer_free(other);
}

/* Recipients that share a route share transactions, up to the limit. */
static void test_groups(void **state)
{
#define RCPT	 "C RCPT TO:\nS 250 ok\n"
#define TAKE	 "C DATA\nS 354 go\nB\nS 250 taken\n"
#define MAIL(to) "C MAIL FROM:\nS 250 ok\n" to TAKE
	struct peer *one =
		peer_play(PEER_EHLO MAIL(RCPT RCPT RCPT) MAIL(RCPT RCPT RCPT) MAIL(RCPT) "H\n");
	struct peer *two = peer_play(PEER_EHLO MAIL(RCPT RCPT) "H\n");
	struct rig *rig = rig_new("one.example = relay:[127.0.0.1]:%u tls=none\n"
				  "two.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(one), peer_port(two));

	(void)state;
	rig_options(rig)->destination_concurrency = 1;
	rig_options(rig)->destination_recipients = 3;
	rig_start(rig);
	rig_submit(rig, "a@one.example b@two.example c@one.example d@one.example e@one.example "
			"f@local g@one.example h@two.example i@one.example j@one.example");
	rig_wait_queued(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 10);
	rig_free(rig);
	peer_free(one);
	peer_free(two);
}

#define LOAD_CLIENTS  4
#define LOAD_MESSAGES 40 /* of each */

static void *submit_many(void *arg)
{
	for (unsigned int i = 0; i < LOAD_MESSAGES; i++) {
		if (i % 10 == 9)
			rig_submit_large(arg, "a@local b@rude.example c@good.example", 300000);
		else
			rig_submit(arg, "a@local b@rude.example c@good.example d@local");
	}
	return NULL;
}

/* Several workers, clients and next hops at once: all is delivered, and each message once. */
static void test_load(void **state)
{
	/* None of these ends behind a dot, so there is no excuse for doubles. */
	static const char *const rude[] = {
		"",
		"S 421 no\n",
		PEER_EHLO PEER_MESSAGE,
		PEER_EHLO PEER_MESSAGE PEER_MESSAGE "C MAIL\nR\n",
		PEER_EHLO PEER_RCPT "R\n",
		PEER_EHLO PEER_RCPT "C DATA\nS 451 later\n",
		PEER_EHLO "C MAIL\nS 421 no\n",
		PEER_EHLO PEER_MESSAGE "C MAIL\nS 250 ok\nC RCPT\nS 421 no\n",
		PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\nR\n",
		PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\nS 452 full\n",
		PEER_EHLO "*\n",
	};
	const unsigned int count = LOAD_CLIENTS * LOAD_MESSAGES;
	struct peer *bad = peer_new(rude, ARRAY_SIZE(rude)), *good = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new("rude.example = relay:[127.0.0.1]:%u tls=none\n"
				  "good.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(bad), peer_port(good));
	pthread_t clients[LOAD_CLIENTS];

	(void)state;
	/* While the next hop is down for both workers, one probes it; what the other has open is idle. */
	peer_allow_idle(bad);
	rig_options(rig)->workers = 2;
	rig_start(rig);
	for (unsigned int i = 0; i < LOAD_CLIENTS; i++)
		pthread_create(&clients[i], NULL, submit_many, rig);
	for (unsigned int i = 0; i < LOAD_CLIENTS; i++)
		pthread_join(clients[i], NULL);
	rig_wait_queued(rig, 0);
	rig_stop(rig, 0);
	assert_int_equal(peer_messages(good), count);
	assert_int_equal(peer_messages(bad), count);
	assert_int_equal(rig_count_logged(rig, "to=<c@good.example>"), count);
	assert_int_equal(rig_count_logged(rig, "status=sent"), 3 * count + count * 9 / 10);
	rig_free(rig);
	peer_free(bad);
	peer_free(good);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due_while_held),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
