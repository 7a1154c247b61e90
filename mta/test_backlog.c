/*
 * test_backlog - many messages for a next hop that is down, mute or slow: they
 * are touched rarely, are in nobody's way, and go out when it is back
 */
#include <poll.h>
#include <string.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

#define REFUSED "S 421 4.3.2 not now\n"
#define ALL	PEER_EHLO "*\n"
#define LONG_S	36000
#define HOUR_MS 3600000

static void ignore(void *arg)
{
	(void)arg;
}

struct stored {
	struct queue_append append;
	bool is_done;
};

static void note_done(struct queue_request *request)
{
	struct queue_append *append = CONTAINER_OF(request, struct queue_append, request);

	CONTAINER_OF(append, struct stored, append)->is_done = true;
}

/* Put a message into the queue as one that came age_ms ago and is due now. */
static void store(struct rig *rig, struct queue_port *port, const char *recipient, size_t size,
		  int64_t age_ms)
{
	struct stored stored = { .append.request.done = note_done };
	struct queue_message *m = queue_message_new(rig_options(rig)->queue);
	struct queue_release release = { .id = m->id };
	char *bytes = memset(malloc(size), 'x', size);
	struct error err;

	m->sender = "alice@client.example";
	m->arrived_ms -= age_ms;
	m->origin.client_ip = m->origin.hello = m->origin.protocol = "";
	m->origin.auth_user = m->origin.tls_protocol = m->origin.tls_cipher = "";
	queue_message_add_recipient(m, recipient, recipient);
	queue_body_append(m->body, (struct slice){ bytes, size });
	assert_int_equal(queue_body_finish(m->body, &err), 0);
	stored.append.message = m;
	queue_submit_append(port, &stored.append);
	while (!stored.is_done) {
		poll(NULL, 0, 1);
		queue_port_dispatch(port);
	}
	assert_int_equal(stored.append.request.result, 0);
	queue_submit_release(port, &release);
	queue_message_free(m);
	free(bytes);
}

/* Before the mta is started. */
static void store_many(struct rig *rig, const char *domain, unsigned int count, size_t size,
		       int64_t age_ms)
{
	struct queue_port *port = queue_port_new(rig_options(rig)->queue, ignore, NULL);
	char recipient[64];

	for (unsigned int i = 0; i < count; i++) {
		snprintf(recipient, sizeof(recipient), "u%u@%s", i, domain);
		store(rig, port, recipient, size, age_ms);
	}
	queue_port_free(port);
}

static void wait_count(struct rig *rig, const char *text, unsigned int count)
{
	for (unsigned int i = 0; rig_count_logged(rig, text) < count; i++) {
		if (i == RIG_PATIENCE_S * 100)
			fail_msg("%u times in the log: %s", rig_count_logged(rig, text), text);
		poll(NULL, 0, 10);
	}
}

static struct rig *rig_to(struct peer *peer)
{
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	rig_options(rig)->workers = 2;
	rig_options(rig)->destination_concurrency = 2;
	rig_options(rig)->maximal_backoff_s = LONG_S;
	rig_options(rig)->maximal_lifetime_s = 10 * LONG_S;
	return rig;
}

#define COUNT 400
#define FEW   20 /* one claim has room for them */

/* Each of them costs one transaction, and all of them together a few connections. */
static void test_down(void **state)
{
	struct peer *peer = peer_play(REFUSED);
	struct rig *rig = rig_to(peer);

	(void)state;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", COUNT, 1000, 0);
	rig_start(rig);
	wait_count(rig, "status=deferred", COUNT);
	rig_stop(rig, 0);
	assert_int_equal(rig_count_logged(rig, "status=deferred"), COUNT);
	assert_in_range(peer_connections(peer), 1, 2); /* one for each worker at most */
	assert_true(rig_count_logged(rig, "temporarily suspended") >= COUNT - 2);
	assert_int_equal(rig_queued(rig), COUNT);
	rig_free(rig);
	peer_free(peer);
}

/* Connections that fail one after another are not replaced by others, or it would never end. */
static void test_many_connections(void **state)
{
	struct peer *peer = peer_play(REFUSED);
	struct rig *rig = rig_to(peer);

	(void)state;
	rig_options(rig)->workers = 1;
	rig_options(rig)->destination_concurrency = 10;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", COUNT, 1000, 0);
	rig_start(rig);
	wait_count(rig, "status=deferred", COUNT);
	assert_in_range(peer_connections(peer), 1, 10);
	rig_free(rig);
	peer_free(peer);
}

/* It is back: all mail goes at once, though each message by itself is due in an hour or so. */
static void test_back(void **state)
{
	static const char *const scripts[] = { REFUSED, REFUSED, REFUSED, ALL };
	struct peer *peer = peer_new(scripts, ARRAY_SIZE(scripts));
	struct rig *rig = rig_to(peer);

	(void)state;
	store_many(rig, "dead.example", COUNT, 1000, HOUR_MS);
	rig_start(rig);
	rig_wait_queued(rig, 0);
	rig_stop(rig, 0);
	assert_int_equal(peer_messages(peer), COUNT);
	/* Once each and the probes; on a busy machine a few meet two probes. Not all, each time. */
	assert_true(rig_count_logged(rig, "status=deferred") <= COUNT + COUNT / 4);
	rig_free(rig);
	peer_free(peer);
}

/* So it is after a restart: the first mail that gets through brings all of the rest. */
static void test_restart(void **state)
{
	static const char *const scripts[] = { REFUSED, ALL };
	struct peer *peer = peer_new(scripts, ARRAY_SIZE(scripts));
	struct rig *rig = rig_to(peer);

	(void)state;
	rig_options(rig)->workers = rig_options(rig)->destination_concurrency = 1;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", COUNT, 1000, 0);
	rig_start(rig);
	wait_count(rig, "status=deferred", COUNT);
	rig_stop(rig, 0);
	rig_restart(rig);
	rig_submit(rig, "new@dead.example");
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(peer), COUNT + 1);
	rig_free(rig);
	peer_free(peer);
}

/* A reload sends it elsewhere, whatever its due times. */
static void test_reload(void **state)
{
	struct peer *dead = peer_play(REFUSED), *peer = peer_play(ALL);
	struct rig *rig = rig_to(dead);

	(void)state;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", COUNT, 1000, 0);
	rig_start(rig);
	wait_count(rig, "status=deferred", COUNT);
	rig_reload(rig, "* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(peer), COUNT);
	rig_free(rig);
	peer_free(dead);
	peer_free(peer);
}

/* So does one that comes while it is being recorded that mail waits for the old next hop. */
static void test_reload_meanwhile(void **state)
{
	struct peer *dead = peer_play(REFUSED), *peer = peer_play(ALL);
	struct rig *rig = rig_to(dead);

	(void)state;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", FEW, 1000, 0);
	rig_close_gate();
	rig_start(rig);
	wait_count(rig, "status=deferred", FEW);
	rig_wait_at_gate();
	rig_reload(rig, "* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));
	rig_open_gate();
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(peer), FEW);
	rig_free(rig);
	peer_free(dead);
	peer_free(peer);
}

/* While one connection finds out, no worker makes another, whatever comes meanwhile. */
static void test_one_probe(void **state)
{
	static const char *const scripts[] = { REFUSED, "T\n" REFUSED, ALL };
	struct peer *peer = peer_new(scripts, ARRAY_SIZE(scripts));
	struct rig *rig = rig_to(peer);

	(void)state;
	rig_start(rig);
	rig_submit(rig, "first@dead.example");
	peer_wait_connections(peer, 2);
	for (unsigned int i = 0; i < 20; i++)
		rig_submit(rig, "more@dead.example");
	wait_count(rig, "to=<more@dead.example>", 20);
	assert_int_equal(peer_connections(peer), 2);
	peer_let_go(peer);
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(peer), 21);
	rig_free(rig);
	peer_free(peer);
}

/* It is mute, and its mail fills the memory: others go first. */
static void test_mute(void **state)
{
	struct peer *mute = peer_play("H\n"), *peer = peer_play(ALL);
	struct rig *rig = rig_new("mute.example = relay:[127.0.0.1]:%u tls=none\n"
				  "good.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(mute), peer_port(peer));

	(void)state;
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = LONG_S;
	rig_options(rig)->memory_limit = 1 << 20;
	store_many(rig, "mute.example", COUNT, 10000, 0);
	store_many(rig, "good.example", 20, 10000, 0);
	rig_start(rig);
	peer_wait_messages(peer, 20);
	wait_count(rig, "more slowly than it comes", COUNT - 20); /* its connections keep theirs */
	assert_in_range(peer_connections(mute), 1, 20);
	rig_wait_queued(rig, COUNT);
	rig_free(rig);
	peer_free(mute);
	peer_free(peer);
}

/* It becomes slow, and its mail fills the memory: none of it is forgotten. */
static void test_slow(void **state)
{
	static const char *const scripts[] = { PEER_EHLO PEER_RCPT
					       "C DATA\nS 354 go\nB\nT\nS 250 ok\n*\n" };
	struct peer *slow = peer_new(scripts, 1), *peer = peer_play(ALL);
	struct rig *rig = rig_new("slow.example = relay:[127.0.0.1]:%u tls=none\n"
				  "good.example = relay:[127.0.0.1]:%u tls=none",
				  peer_port(slow), peer_port(peer));

	(void)state;
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = LONG_S;
	rig_options(rig)->destination_concurrency = 4;
	rig_options(rig)->memory_limit = 1 << 20;
	store_many(rig, "slow.example", COUNT, 10000, 0);
	store_many(rig, "good.example", 20, 10000, 0);
	rig_start(rig);
	peer_wait_messages(peer, 20);
	peer_let_go(slow);
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_messages(slow), COUNT);
	rig_free(rig);
	peer_free(slow);
	peer_free(peer);
}

/* It takes connections and no mail: that is not tried with every message of a backlog. */
static void test_fruitless(void **state)
{
	struct peer *peer = peer_play(PEER_EHLO "C MAIL\nS 421 4.3.2 not now\n");
	struct rig *rig = rig_to(peer);

	(void)state;
	rig_options(rig)->minimal_backoff_s = LONG_S;
	store_many(rig, "dead.example", COUNT, 1000, 0);
	rig_start(rig);
	wait_count(rig, "status=deferred", COUNT);
	assert_in_range(peer_connections(peer), 1, 25);
	rig_free(rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_down),
		cmocka_unit_test(test_back),
		cmocka_unit_test(test_restart),
		cmocka_unit_test(test_reload),
		cmocka_unit_test(test_one_probe),
		cmocka_unit_test(test_mute),
		cmocka_unit_test(test_slow),
		cmocka_unit_test(test_fruitless),
		cmocka_unit_test(test_many_connections),
		cmocka_unit_test(test_reload_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
