/* test_verify - what is known of addresses, for how long, and how it comes to be known */

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/macros.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"
#include "mta/verify_cache.h"
#include "mta/verify_file.h"

#define DAY_MS	INT64_C(86400000)
#define HOUR_MS INT64_C(3600000)

static const struct verify_options usual = {
	.sender = "",
	.positive_expire_s = 31 * 86400,
	.positive_refresh_s = 7 * 86400,
	.negative_expire_s = 3 * 86400,
	.negative_refresh_s = 3 * 3600,
	.keeps_refusals = true,
	.wait_ms = RIG_PATIENCE_S * 1000,
	.reject_code = 550,
	.defer_code = 450,
};

/* ---- ages ---- */

static const struct {
	enum verify_verdict verdict;
	bool is_brief;
	int64_t age_ms;
	enum verify_age want;
} ages[] = {
	{ VERIFY_DELIVERABLE, false, 0, VERIFY_CURRENT },
	{ VERIFY_DELIVERABLE, false, 7 * DAY_MS - 1, VERIFY_CURRENT },
	{ VERIFY_DELIVERABLE, false, 7 * DAY_MS, VERIFY_STALE },
	{ VERIFY_DELIVERABLE, false, 31 * DAY_MS - 1, VERIFY_STALE },
	{ VERIFY_DELIVERABLE, false, 31 * DAY_MS, VERIFY_EXPIRED },
	{ VERIFY_DELIVERABLE, false, -1, VERIFY_EXPIRED }, /* the clock was put back */
	{ VERIFY_UNDELIVERABLE, false, 3 * HOUR_MS - 1, VERIFY_CURRENT },
	{ VERIFY_UNDELIVERABLE, false, 3 * HOUR_MS, VERIFY_STALE },
	{ VERIFY_UNDELIVERABLE, false, 3 * DAY_MS, VERIFY_EXPIRED },
	{ VERIFY_UNDELIVERABLE, true, VERIFY_BRIEF_MS - 1, VERIFY_CURRENT },
	{ VERIFY_UNDELIVERABLE, true, VERIFY_BRIEF_MS, VERIFY_EXPIRED },
	{ VERIFY_UNKNOWN, false, VERIFY_BRIEF_MS - 1, VERIFY_CURRENT },
	{ VERIFY_UNKNOWN, false, VERIFY_BRIEF_MS, VERIFY_EXPIRED },
};

static void test_ages(void **state)
{
	struct verify_options forgetful = usual;
	struct verify_fact refused = { .verdict = VERIFY_UNDELIVERABLE, .checked_ms = 1000 };

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ages); i++) {
		const int64_t checked_ms = 400 * DAY_MS;
		struct verify_fact fact = { .verdict = ages[i].verdict,
					    .is_brief = ages[i].is_brief,
					    .checked_ms = checked_ms };
		enum verify_age age = verify_fact_age(&fact, &usual, checked_ms + ages[i].age_ms);

		if (age != ages[i].want)
			fail_msg("%zu: %d", i, age);
	}
	forgetful.keeps_refusals = false;
	assert_int_equal(verify_fact_age(&refused, &forgetful, 1000), VERIFY_EXPIRED);
}

/* ---- the table ---- */

static struct verify_fact fact_of(enum verify_verdict verdict, int code, const char *text)
{
	struct verify_fact fact = { .verdict = verdict, .checked_ms = 42 };

	smtp_status_set(&fact.status, code, ESC((unsigned short)(code / 100), 1, 1), "%s", text);
	return fact;
}

/* Names that nobody has push out none that somebody has. */
static void test_table_is_bounded(void **state)
{
	struct verify_cache *c = verify_cache_new();
	struct verify_fact good = fact_of(VERIFY_DELIVERABLE, 250, "Ok");
	struct verify_fact bad = fact_of(VERIFY_UNDELIVERABLE, 550, "no"), found;
	char name[64];

	(void)state;
	verify_cache_put(c, "bob@vm2.vm", &good);
	verify_cache_put(c, "first@vm2.vm", &bad);
	for (int i = 0; i < VERIFY_CACHE_MAX; i++) {
		snprintf(name, sizeof(name), "name%d@vm2.vm", i);
		verify_cache_put(c, name, &bad);
	}
	assert_int_equal(verify_cache_count(c), VERIFY_CACHE_MAX + 1);
	assert_false(verify_cache_get(c, "first@vm2.vm", &found));
	assert_true(verify_cache_get(c, "name0@vm2.vm", &found)); /* and now the last to go */
	verify_cache_put(c, "more@vm2.vm", &bad);
	assert_true(verify_cache_get(c, "name0@vm2.vm", &found));
	assert_false(verify_cache_get(c, "name1@vm2.vm", &found));
	assert_true(verify_cache_get(c, "bob@vm2.vm", &found));
	assert_int_equal(found.verdict, VERIFY_DELIVERABLE);

	verify_cache_put(c, "bob@vm2.vm", &bad); /* from one kind to the other */
	assert_int_equal(verify_cache_count(c), VERIFY_CACHE_MAX);
	verify_cache_forget(c, "bob@vm2.vm");
	assert_false(verify_cache_get(c, "bob@vm2.vm", &found));
	verify_cache_free(c);
}

/* ---- the file ---- */

struct place {
	char directory[32], path[64];
};

static void enter(struct place *p)
{
	strcpy(p->directory, "/tmp/test-verify-XXXXXX");
	assert_non_null(mkdtemp(p->directory));
	snprintf(p->path, sizeof(p->path), "%s/verify.cache", p->directory);
}

static void leave(struct place *p)
{
	unlink(p->path);
	assert_int_equal(rmdir(p->directory), 0);
}

static struct verify_cache *load(const struct place *p, size_t want_lines)
{
	struct verify_cache *c = verify_cache_new();
	struct error err;
	size_t lines;

	assert_int_equal(verify_file_load(p->directory, c, &lines, &err), 0);
	assert_int_equal(lines, want_lines);
	return c;
}

static void test_file(void **state)
{
	struct verify_fact good = fact_of(VERIFY_DELIVERABLE, 250, "Ok"), found;
	struct verify_fact bad = fact_of(VERIFY_UNDELIVERABLE, 550, "who? \t what?");
	struct buf lines = { 0 };
	struct verify_cache *c;
	struct place p;
	struct error err;

	(void)state;
	enter(&p);
	verify_cache_free(load(&p, 0)); /* there is none yet */
	verify_file_write_line(&lines, "bob@vm2.vm", &bad);
	verify_file_write_line(&lines, "bob@vm2.vm", &good);
	verify_file_write_line(&lines, "\"a b\"@vm2.vm", &bad);
	assert_int_equal(verify_file_append(p.directory, buf_slice(&lines), &err), 0);
	buf_clear(&lines);
	verify_file_write_line(&lines, "gone@vm2.vm", &good);
	verify_file_write_line(&lines, "gone@vm2.vm", NULL);
	assert_int_equal(verify_file_append(p.directory, buf_slice(&lines), &err), 0);

	c = load(&p, 5);
	assert_int_equal(verify_cache_count(c), 2);
	assert_true(verify_cache_get(c, "bob@vm2.vm", &found));
	assert_int_equal(found.verdict, VERIFY_DELIVERABLE);
	assert_int_equal(found.checked_ms, 42);
	assert_true(verify_cache_get(c, "\"a b\"@vm2.vm", &found));
	assert_int_equal(found.verdict, VERIFY_UNDELIVERABLE);
	assert_int_equal(found.status.code, 550);
	assert_int_equal(found.status.enhanced.detail, 1);
	assert_string_equal(found.status.text, bad.status.text);
	verify_cache_free(c);

	assert_int_equal(verify_file_replace(p.directory, SLICE(""), &err), 0);
	verify_cache_free(load(&p, 0));
	buf_done(&lines);
	leave(&p);
}

/* What a crash may leave; nothing of it is a fact that nobody has found. */
static const struct {
	const char *label, *text;
	size_t len, lines, facts;
} damages[] = {
#define DAMAGE(label, text, lines, facts)                                                          \
	{                                                                                          \
		label, text, sizeof(text) - 1, lines, facts                                        \
	}
	DAMAGE("torn", "1\tdeliverable\t250\t2.1.5\tbob@vm2", SIZE_MAX, 0),
	DAMAGE("torn, and one before it",
	       "1\tdeliverable\t250\t2.1.5\tbob@vm2.vm\tOk\n1\tdeliverable\t25", SIZE_MAX, 1),
	DAMAGE("zeros", "1\tdeliverable\t250\t2.1.5\tbob\0\0@vm2.vm\tOk\n", 1, 0),
	DAMAGE("another verdict", "1\tlikely\t250\t2.1.5\tbob@vm2.vm\tOk\n", 1, 0),
	DAMAGE("no time", "x\tdeliverable\t250\t2.1.5\tbob@vm2.vm\tOk\n", 1, 0),
	DAMAGE("no code", "1\tdeliverable\t999\t2.1.5\tbob@vm2.vm\tOk\n", 1, 0),
	DAMAGE("no address", "1\tdeliverable\t250\t2.1.5\t\tOk\n\n\n", 3, 0),
};

static void test_damaged_file(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct verify_cache *c;
		struct place p;
		struct error err;

		enter(&p);
		assert_int_equal(verify_file_append(p.directory,
						    slice_of(damages[i].text, damages[i].len),
						    &err),
				 0);
		c = load(&p, damages[i].lines);
		if (verify_cache_count(c) != damages[i].facts)
			fail_msg("%s: %zu facts", damages[i].label, verify_cache_count(c));
		verify_cache_free(c);
		leave(&p);
	}
}

/* ---- in a server ---- */

static int everybody(void *arg, const char *recipient, struct error *err)
{
	(void)arg;
	(void)recipient;
	(void)err;
	return 0;
}

struct server {
	struct mta_policy policy;
	struct rig *rig;
};

static void set_up(struct server *s, const struct peer *peer)
{
	s->rig = rig_new("asked = relay:127.0.0.1:%d tls=none", peer_port(peer));
	s->policy = *rig_options(s->rig)->policy;
	s->policy.must_verify = everybody;
	rig_options(s->rig)->policy = &s->policy;
	rig_options(s->rig)->verify = usual;
}

static void ask(struct server *s, const char *reply)
{
	int client = client_connect(s->rig);

	client_expect(client, "220");
	client_send(client, "EHLO x\r\nMAIL FROM:<a@b>\r\n");
	client_expect(client, "250");
	client_expect(client, "250");
	client_send(client, "RCPT TO:<bob@asked>\r\nQUIT\r\n");
	client_expect(client, reply);
	client_expect(client, "221");
	close(client);
}

#define ASKED(reply)                                                                               \
	PEER_EHLO_PIPELINING "C MAIL FROM:<>\nS 250 ok\nC RCPT TO:<bob@asked>\nS " reply           \
			     "\nC RSET\nS 250 ok\n" PEER_QUIT

static void test_time_goes_by(void **state)
{
	static const char *const scripts[] = { ASKED("250 first"), ASKED("250 second"),
					       ASKED("550 5.1.1 no"), ASKED("250 again") };
	struct peer *peer = peer_new(scripts, ARRAY_SIZE(scripts));
	struct server s;

	(void)state;
	set_up(&s, peer);
	rig_start(s.rig);
	ask(&s, "250");
	ask(&s, "250");
	assert_int_equal(rig_count_logged(s.rig, "status=deliverable"), 1);

	rig_advance(s.rig, 8 * DAY_MS); /* believed, and asked for behind the client */
	ask(&s, "250");
	rig_wait_log(s.rig, "status=deliverable (250 2.0.0 second)");

	rig_advance(s.rig, 32 * DAY_MS); /* not believed any more: the client waits */
	ask(&s, "550 5.1.1");
	ask(&s, "550 5.1.1");
	assert_int_equal(rig_count_logged(s.rig, "status=undeliverable"), 1);

	rig_advance(s.rig, 4 * HOUR_MS);
	ask(&s, "550 5.1.1");
	rig_wait_log(s.rig, "status=deliverable (250 2.0.0 again)");
	ask(&s, "250");
	assert_int_equal(peer_connections(peer), 4);
	rig_free(s.rig);
	peer_free(peer);
}

/* It is a cache: what cannot be kept is known all the same, until a restart. */
static void test_file_that_cannot_be_written(void **state)
{
	struct peer *peer = peer_play(ASKED("250 first"));
	char path[256];
	struct server s;

	(void)state;
	set_up(&s, peer);
	snprintf(path, sizeof(path), "%s/" VERIFY_FILE_NAME,
		 queue_directory(rig_options(s.rig)->queue));
	assert_int_equal(mkdir(path, 0700), 0);
	rig_start(s.rig);
	rig_wait_log(s.rig, "what was known of addresses is forgotten: ");
	ask(&s, "250");
	rig_wait_log(s.rig, "what is known of addresses is not kept: ");
	ask(&s, "250");
	assert_int_equal(peer_connections(peer), 1);
	rig_stop(s.rig, 0);
	assert_int_equal(rmdir(path), 0);
	rig_free(s.rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ages),
		cmocka_unit_test(test_table_is_bounded),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_damaged_file),
		cmocka_unit_test(test_time_goes_by),
		cmocka_unit_test(test_file_that_cannot_be_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
