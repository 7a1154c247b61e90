/*
 * test_promise - what a peer sees before TLS is up, whatever it does
 *
 * interface.md section 5: with level encrypt or above, and with relay-smtps,
 * no byte of an envelope or message goes in the clear; with level may a failed
 * handshake is followed at once by a new connection in the clear.
 */
#include "mta/test_peer.h"
#include "mta/test_rig.h"

#include <unistd.h>

#include "base/macros.h"
#include "maps/map.h"

#define OFFER	"S 220 peer.example\nC EHLO\nS 250-peer.example\nS 250-PIPELINING\nS 250 STARTTLS\n"
#define START	OFFER "C STARTTLS\n"
#define GARBAGE START "S 220 go\nS 250 this is no TLS\nH\n"

/* What a thief in the middle would say to get the mail: it all comes before it is asked for. */
#define INJECTED START "s 220 go|250-peer.example|250 PIPELINING|250 ok|250 ok|354 go|250 ok|\n"

static const struct {
	const char *label, *route;
	const char *scripts[2]; /* of the first connection and those behind it */
	const char *logged;	/* what must be in the log */
	unsigned int connections;
} refusals[] = {
	{ "TLS is not offered",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { PEER_EHLO "C QUIT\n" },
	  "4.7.4, status=deferred (TLS is required, but was not offered by host 127.0.0.1",
	  1 },
	{ "EHLO is not known",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { "S 220 peer\nC EHLO\nS 502 what?\nC HELO\nS 250 peer\nC QUIT\n" },
	  "4.7.4, status=deferred (TLS is required, but was not offered by host 127.0.0.1",
	  1 },
	{ "STARTTLS is refused",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { START "S 454 4.7.0 not now\nC QUIT\n" },
	  "4.7.4, status=deferred (TLS is required, but host 127.0.0.1",
	  1 },
	{ "STARTTLS is refused for good",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { START "S 502 5.5.1 never\nC QUIT\n" },
	  "4.7.4, status=deferred (TLS is required, but host 127.0.0.1",
	  1 },
	{ "no TLS behind STARTTLS",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { GARBAGE },
	  "4.7.5, status=deferred (cannot start TLS with 127.0.0.1",
	  1 },
	{ "the end behind STARTTLS",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { START "S 220 go\n" },
	  "4.7.5, status=deferred (cannot start TLS with 127.0.0.1",
	  1 },
	{ "a reset behind STARTTLS",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { START "S 220 go\nR\n" },
	  "4.7.5, status=deferred (cannot start TLS with 127.0.0.1",
	  1 },
	{ "the end instead of an answer to STARTTLS",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { START },
	  "4.4.2, status=deferred (lost connection with 127.0.0.1",
	  1 },
	{ "replies behind the 220",
	  "relay:[127.0.0.1]:%u tls=encrypt",
	  { INJECTED },
	  "4.7.5, status=deferred (cannot start TLS with 127.0.0.1",
	  1 },
	{ "no TLS where a certificate is wanted",
	  "relay:[127.0.0.1]:%u tls=verify",
	  { PEER_EHLO "C QUIT\n" },
	  "4.7.4, status=deferred (TLS is required, but was not offered",
	  1 },
	{ "relay-smtps: a peer that greets in the clear",
	  "relay-smtps:[127.0.0.1]:%u",
	  { "S 220 peer.example\nH\n" },
	  "4.7.5, status=deferred (cannot start TLS with 127.0.0.1",
	  1 },
	{ "relay-smtps: a peer that hangs up",
	  "relay-smtps:[127.0.0.1]:%u",
	  { "R\n" },
	  "status=deferred (c",
	  1 },
};

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct peer *peer = peer_play(refusals[i].scripts[0]);
		char routes[128];
		struct rig *rig;

		print_message("%s\n", refusals[i].label);
		snprintf(routes, sizeof(routes), refusals[i].route, peer_port(peer));
		rig = rig_new("* = %s", routes);
		rig_options(rig)->transport.can_verify = true;
		rig_options(rig)->minimal_backoff_s = 3600;
		rig_options(rig)->maximal_backoff_s = 3600;
		/* relay-smtps is never weaker than encrypt, whatever this says. */
		rig_options(rig)->transport.tls.level = TLS_LEVEL_MAY;
		rig_start(rig);
		rig_submit(rig, "bob@example.net");
		rig_wait_log(rig, "status=");
		rig_wait_log(rig, refusals[i].logged);
		rig_stop(rig, 0);
		assert_int_equal(peer_connections(peer), refusals[i].connections);
		assert_false(peer_has_seen(peer, "MAIL"));
		assert_false(peer_has_seen(peer, "example.net"));
		assert_false(peer_has_seen(peer, "Subject"));
		if (strncmp(refusals[i].route, "relay-smtps", 11) == 0)
			assert_false(peer_has_seen(peer, "EHLO"));
		rig_wait_queued(rig, 1);
		rig_free(rig);
		peer_free(peer);
	}
}

static const struct {
	const char *label;
	const char *scripts[2];
	bool told; /* the log has a warning */
} fallbacks[] = {
	{ "TLS is not offered", { PEER_EHLO PEER_MESSAGE "H\n" }, false },
	{ "STARTTLS is refused", { START "S 454 4.7.0 not now\n" PEER_MESSAGE "H\n" }, true },
	{ "no TLS behind STARTTLS", { GARBAGE, OFFER PEER_MESSAGE "H\n" }, true },
	{ "the end behind STARTTLS", { START "S 220 go\n", OFFER PEER_MESSAGE "H\n" }, true },
	{ "a reset behind STARTTLS", { START "S 220 go\nR\n", OFFER PEER_MESSAGE "H\n" }, true },
	{ "replies behind the 220", { INJECTED, OFFER PEER_MESSAGE "H\n" }, true },
};

static void test_may(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(fallbacks); i++) {
		unsigned int count = fallbacks[i].scripts[1] ? 2 : 1;
		struct peer *peer = peer_new(fallbacks[i].scripts, count);
		struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=may", peer_port(peer));

		print_message("%s\n", fallbacks[i].label);
		rig_start(rig);
		rig_submit(rig, "bob@example.net");
		rig_wait_log(rig, "tls=may:clear, dsn=2.0.0, status=sent (250 2.0.0 taken)");
		rig_stop(rig, 0);
		assert_int_equal(peer_connections(peer), count);
		assert_int_equal(rig_has_logged(rig, "level may: sending in the clear"),
				 fallbacks[i].told);
		rig_free(rig);
		peer_free(peer);
	}
}

/* The clear connection was for that once: the next attempt asks for TLS again. */
static void test_may_again(void **state)
{
	static const char *const scripts[] = { GARBAGE,
					       OFFER "C MAIL FROM:\ns 451 a|503 b|503 c|\n",
					       GARBAGE, OFFER PEER_MESSAGE "H\n" };
	struct peer *peer = peer_new(scripts, ARRAY_SIZE(scripts));
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=may", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "status=deferred");
	rig_wait_log(rig, "status=sent");
	rig_stop(rig, 0);
	assert_int_equal(rig_count_logged(rig, "sending in the clear"), 2);
	rig_free(rig);
	peer_free(peer);
}

static void test_none(void **state)
{
	struct peer *peer = peer_play(OFFER PEER_MESSAGE "H\n");
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "tls=none:clear, dsn=2.0.0, status=sent");
	rig_free(rig);
	peer_free(peer);
}

static int everybody(void *arg, const char *recipient, struct error *err)
{
	(void)arg;
	(void)recipient;
	(void)err;
	return MAP_FOUND;
}

/* Nor does whoever only asks about a recipient tell more (mta/verify.h). */
static void test_refused_questions(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		struct peer *peer = peer_play(refusals[i].scripts[0]);
		struct mta_policy policy;
		char routes[128];
		struct rig *rig;
		int client;

		print_message("%s\n", refusals[i].label);
		snprintf(routes, sizeof(routes), refusals[i].route, peer_port(peer));
		rig = rig_new("* = %s", routes);
		policy = *rig_options(rig)->policy;
		policy.must_verify = everybody;
		rig_options(rig)->policy = &policy;
		rig_options(rig)->verify = (struct verify_options){
			.sender = "",
			.wait_ms = RIG_PATIENCE_S * 1000,
			.defer_code = 450,
		};
		rig_options(rig)->transport.can_verify = true;
		rig_options(rig)->minimal_backoff_s = 3600;
		rig_options(rig)->maximal_backoff_s = 3600;
		rig_options(rig)->transport.tls.level = TLS_LEVEL_MAY;
		rig_start(rig);
		client = client_connect(rig);
		client_expect(client, "220");
		client_send(client, "EHLO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.net>\r\n");
		client_expect(client, "250");
		client_expect(client, "250");
		client_expect(client, "450 4.1.1 <bob@example.net>: ");
		rig_wait_log(rig, "status=undeliverable");
		close(client);
		rig_stop(rig, 0);
		assert_int_equal(peer_connections(peer), refusals[i].connections);
		assert_false(peer_has_seen(peer, "MAIL"));
		assert_false(peer_has_seen(peer, "RCPT"));
		assert_false(peer_has_seen(peer, "example.net"));
		rig_free(rig);
		peer_free(peer);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_refused), cmocka_unit_test(test_refused_questions),
		cmocka_unit_test(test_may),	cmocka_unit_test(test_may_again),
		cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
