/* test_login - exchanges of AUTH with an edge, as a session has them */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "edge/edge.h"
#include "net/loop.h"

struct fixture {
	char dir[32], users[64];
	struct edge_options options;
	struct edge *edge;
	struct loop *loop;
	struct mta_client client;
	struct login_client who;

	/* the exchange */
	struct login *login;
	bool is_asking;
	unsigned int answers;
	enum login_outcome outcome;
	char challenge[512], user[256];
	struct smtp_status status;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct error err;
	char passdb[100];
	FILE *stream;

	strcpy(f->dir, "/tmp/edge.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->users, sizeof(f->users), "%s/users", f->dir);
	snprintf(passdb, sizeof(passdb), "passwd-file:%s", f->users);
	stream = fopen(f->users, "we");
	fputs("alice@vm1.vm:{PLAIN}alice\ntest1@vm1.vm:{PLAIN}test1\n", stream);
	fclose(stream);

	f->options.hostname = "mta1.vm1.vm";
	f->options.mailbox_base = f->dir;
	f->options.passdb = passdb;
	assert_return_code(domains_open(SLICE("vm1.vm"), "/", &f->options.mailbox_domains, &err),
			   0);
	if (edge_new(&f->options, &f->edge, &err) < 0)
		fail_msg("%s", err.text);
	assert_return_code(loop_new(&f->loop, &err), 0);
	f->who.client = &f->client;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_free(f->loop);
	edge_free(f->edge);
	domains_free(f->options.mailbox_domains);
	unlink(f->users);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void on_answer(void *arg, const struct login_answer *answer)
{
	struct fixture *f = arg;

	assert_false(f->is_asking); /* never inside of begin() or step() */
	f->answers++;
	f->outcome = answer->outcome;
	f->status = answer->status;
	slice_copy(answer->challenge, f->challenge, sizeof(f->challenge));
	slice_copy(slice_from(answer->user ? answer->user : ""), f->user, sizeof(f->user));
	loop_stop(f->loop);
}

static void await(struct fixture *f)
{
	unsigned int answers = f->answers;

	while (f->answers == answers)
		loop_run(f->loop);
	assert_int_equal(f->answers, answers + 1);
}

static void begin(struct fixture *f, const char *mechanism, const struct slice *initial)
{
	const struct login_request request = {
		.loop = f->loop,
		.who = &f->who,
		.service = "submission",
		.mechanism = mechanism,
		.initial = initial,
		.answer = on_answer,
		.arg = f,
	};

	f->is_asking = true;
	f->login = edge_policy.login_begin(f->edge, &request);
	f->is_asking = false;
	await(f);
}

static void say(struct fixture *f, struct slice response)
{
	f->is_asking = true;
	f->login->methods->step(f->login, response);
	f->is_asking = false;
	await(f);
}

static void end(struct fixture *f)
{
	f->login->methods->free(f->login);
	f->login = NULL;
}

/* The whole of a PLAIN exchange. */
static int plain(struct fixture *f, struct slice message)
{
	begin(f, "PLAIN", &message);
	end(f);
	assert_int_not_equal(f->outcome, LOGIN_CHALLENGE);
	assert_int_equal(f->outcome == LOGIN_SUCCESS, f->status.code == 235);
	return f->status.code;
}

static int login(struct fixture *f, struct slice user, struct slice password)
{
	begin(f, "LOGIN", NULL);
	assert_string_equal(f->challenge, "Username:");
	say(f, user);
	if (f->outcome == LOGIN_CHALLENGE) {
		assert_string_equal(f->challenge, "Password:");
		say(f, password);
	}
	end(f);
	return f->status.code;
}

static void test_good(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(plain(f, SLICE("\0Alice@vm1.vm\0alice")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	assert_int_equal(plain(f, SLICE("alice@vm1.vm\0alice@vm1.vm\0alice")), 235);
	assert_int_equal(login(f, SLICE("alice@VM1.vm"), SLICE("alice")), 235);
	assert_string_equal(f->user, "alice@vm1.vm");
	begin(f, "PLAIN", NULL);
	assert_int_equal(f->outcome, LOGIN_CHALLENGE);
	assert_string_equal(f->challenge, "");
	say(f, SLICE("\0test1@vm1.vm\0test1"));
	assert_int_equal(f->status.code, 235);
	end(f);
}

/* One text for all, so that nobody learns who has an account. */
static void test_bad(void **state)
{
	static const struct slice messages[] = {
		{ "\0alice@vm1.vm\0bob", 17 },
		{ "\0bob@vm1.vm\0bob", 15 },
		{ "test1@vm1.vm\0alice@vm1.vm\0alice", 31 },
		{ "\0alice@vm1.vm\0", 14 }, /* empty: "anybody", to some checkers */
		{ "\0\0alice", 7 },
		{ "\0ali\rce\0alice", 13 },
		{ "x\ny\0alice@vm1.vm\0alice", 22 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++) {
		if (plain(f, messages[i]) != 535)
			fail_msg("case %zu: %d", i, f->status.code);
		assert_string_equal(f->status.text, "Error: authentication failed");
	}
	assert_int_equal(login(f, SLICE("alice@vm1.vm"), SLICE("")), 535);
	assert_int_equal(login(f, SLICE("alice@vm1.vm"), SLICE("b")), 535);
	assert_string_equal(f->user, "alice@vm1.vm");
}

static void test_malformed(void **state)
{
	static const struct slice messages[] = {
		{ "", 0 },
		{ "alice", 5 },
		{ "\0alice", 6 },
		{ "a\0b\0c\0", 6 },
		{ "\0alice\0pas\0d", 12 },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(messages); i++)
		if (plain(f, messages[i]) != 501)
			fail_msg("case %zu: %d", i, f->status.code);
	assert_int_equal(login(f, SLICE("ali\0ce"), SLICE("x")), 501);
	assert_int_equal(login(f, SLICE("alice"), SLICE("pass\0")), 501);
}

/* Who hangs up while a password is hashed is answered all the same, then freed. */
static void test_gone(void **state)
{
	const struct slice message = SLICE("\0alice@vm1.vm\0alice");
	struct fixture *f = *state;
	struct login_request request = {
		.loop = f->loop,
		.who = &f->who,
		.mechanism = "PLAIN",
		.initial = &message,
		.answer = on_answer,
		.arg = f,
	};

	f->login = edge_policy.login_begin(f->edge, &request);
	f->login->methods->cancel(f->login);
	await(f);
	end(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad, setup, teardown),
		cmocka_unit_test_setup_teardown(test_malformed, setup, teardown),
		cmocka_unit_test_setup_teardown(test_gone, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
