/* test_dovecot_auth - exchanges with a Dovecot that says what the test wants, on the same loop */

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/testing.h"

#include "base/macros.h"
#include "edge/dovecot_auth.h"
#include "maps/map.h"
#include "mta/policy.h"
#include "net/unix.h"

#define HELLO                                                                                      \
	"VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\nSPID\t7\nCUID\t1\n"        \
	"COOKIE\tab\nDONE\n"
#define PLAIN "AGFsaWNlQHZtMS52bQBhbGljZQ==" /* \0alice@vm1.vm\0alice */

struct rig {
	char directory[64], path[96], log[96];
	struct loop *loop;
	struct listener *listener;
	struct end ends[4]; /* Dovecot's, of each connection */
	unsigned int connections;
	bool greets; /* at once */
	struct log *sink;
	struct dovecot_auth *auth;
	struct net_address local, peer;
	struct mta_client client;
	struct login_client who;
};

/* What a session would be. */
struct session {
	struct rig *rig;
	struct login *login;
	enum login_outcome outcome; /* 0: none yet */
	char text[256];		    /* the challenge, or "CODE X.Y.Z USER" */
	unsigned int answers;
};

static void on_answer(void *arg, const struct login_answer *answer)
{
	struct session *s = arg;
	const struct smtp_status *status = &answer->status;

	s->answers++;
	s->outcome = answer->outcome;
	if (answer->outcome == LOGIN_CHALLENGE)
		snprintf(s->text, sizeof(s->text), "%.*s", (int)answer->challenge.len,
			 answer->challenge.ptr);
	else
		snprintf(s->text, sizeof(s->text), "%d %u.%u.%u %s", status->code,
			 status->enhanced.class, status->enhanced.subject, status->enhanced.detail,
			 answer->user);
	loop_stop(s->rig->loop);
}

static void on_accepted(void *arg, struct stream *stream)
{
	struct rig *rig = arg;
	struct end *end = &rig->ends[rig->connections++];

	assert_true(rig->connections <= ARRAY_SIZE(rig->ends));
	end->loop = rig->loop;
	end->stream = stream;
	stream_set_events(stream, &end_events, end);
	if (rig->greets)
		end_send(end, HELLO);
	loop_stop(rig->loop);
}

static void on_failed(void *arg, const struct error *err)
{
	(void)arg;
	fail_msg("%s", err->text);
}

static void listen_there(struct rig *rig)
{
	static const struct listener_events events = { on_accepted, on_failed };
	struct error err;
	int fd = unix_listen(rig->path, 0600, &err);

	assert_true(fd >= 0);
	assert_int_equal(listener_new(rig->loop, fd, &events, rig, &rig->listener, &err), 0);
	close(fd);
}

static int setup(void **state)
{
	struct rig *rig = calloc(1, sizeof(*rig));
	struct dovecot_auth_options options = { .path = rig->path };
	char destination[128];
	struct error err;

	strcpy(rig->directory, "/tmp/posthouse-dovecot-XXXXXX");
	assert_non_null(mkdtemp(rig->directory));
	snprintf(rig->path, sizeof(rig->path), "%s/auth", rig->directory);
	snprintf(rig->log, sizeof(rig->log), "%s/log", rig->directory);
	snprintf(destination, sizeof(destination), "file:%s", rig->log);
	assert_int_equal(log_open(destination, "host", &rig->sink, &err), 0);
	options.log = rig->sink;
	rig->loop = test_start();
	rig->auth = dovecot_auth_new(&options);
	assert_true(net_address_parse_ip(SLICE("192.0.2.7"), 4444, &rig->peer));
	assert_true(net_address_parse_ip(SLICE("2001:db8::1"), 587, &rig->local));
	rig->client = (struct mta_client){ .address = &rig->peer, .encrypted = true };
	rig->who = (struct login_client){ .client = &rig->client, .local = &rig->local };
	*state = rig;
	return 0;
}

static int teardown(void **state)
{
	struct rig *rig = *state;

	for (unsigned int i = 0; i < rig->connections; i++) {
		if (rig->ends[i].stream)
			stream_free(rig->ends[i].stream, 0);
		buf_done(&rig->ends[i].received);
	}
	listener_free(rig->listener);
	dovecot_auth_free(rig->auth);
	loop_free(rig->loop);
	log_close(rig->sink);
	unlink(rig->path);
	unlink(rig->log);
	rmdir(rig->directory);
	free(rig);
	return 0;
}

static bool log_has(const struct rig *rig, const char *text)
{
	char line[1024];
	bool has = false;
	FILE *file = fopen(rig->log, "r");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file))
		has = has || strstr(line, text);
	fclose(file);
	return has;
}

static void begin(struct rig *rig, struct session *s, const char *mechanism, const char *initial,
		  size_t len)
{
	struct slice response = slice_of(initial, len);
	const struct login_request request = {
		.loop = rig->loop,
		.who = &rig->who,
		.service = "submission",
		.mechanism = mechanism,
		.initial = initial ? &response : NULL,
		.answer = on_answer,
		.arg = s,
	};

	*s = (struct session){ .rig = rig };
	s->login = dovecot_auth_begin(rig->auth, &request);
	assert_int_equal(s->answers, 0);
}

static void begin_plain(struct rig *rig, struct session *s)
{
	begin(rig, s, "PLAIN", "\0alice@vm1.vm\0alice", 19);
}

/* Run until the session has an answer, and look at it. */
static void expect(struct session *s, enum login_outcome outcome, const char *text)
{
	RUN_UNTIL(s->rig->loop, s->outcome != 0);
	assert_int_equal(s->outcome, outcome);
	assert_string_equal(s->text, text);
	assert_int_equal(s->answers, 1);
	s->outcome = 0;
	s->answers = 0;
}

static void end_session(struct session *s)
{
	s->login->methods->free(s->login);
}

static void connected(struct rig *rig, unsigned int count)
{
	RUN_UNTIL(rig->loop, rig->connections == count);
}

static void heard(struct rig *rig, unsigned int connection, const char *text)
{
	RUN_UNTIL(rig->loop, end_received(&rig->ends[connection], text));
	buf_clear(&rig->ends[connection].received);
}

static void hear_hello(struct rig *rig, unsigned int connection)
{
	char text[64];

	connected(rig, connection + 1);
	snprintf(text, sizeof(text), "VERSION\t1\t2\nCPID\t%ld\n", (long)getpid());
	heard(rig, connection, text);
}

#define PARAMETERS                                                                                 \
	"service=smtp\tnologin\tlip=2001:db8::1\tlport=587\trip=192.0.2.7\trport=4444\tsecured"

static void test_plain(void **state)
{
	struct rig *rig = *state;
	struct session s;

	listen_there(rig);
	begin_plain(rig, &s);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO);
	heard(rig, 0, "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\n");
	end_send(&rig->ends[0], "OK\t1\tuser=Alice\tother=1\n");
	expect(&s, LOGIN_SUCCESS, "235 2.7.0 Alice");
	end_session(&s);
	RUN_UNTIL(rig->loop, end_has(&rig->ends[0], "closed")); /* after the last exchange */
}

static void test_challenges(void **state)
{
	struct rig *rig = *state;
	struct session s;

	listen_there(rig);
	rig->client.encrypted = false;
	begin(rig, &s, "LOGIN", NULL, 0);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO);
	heard(rig, 0,
	      "AUTH\t1\tLOGIN\tservice=smtp\tnologin\tlip=2001:db8::1\tlport=587\trip=192.0.2.7\t"
	      "rport=4444\n");
	end_send(&rig->ends[0], "CONT\t1\tVXNlcm5hbWU6\n");
	expect(&s, LOGIN_CHALLENGE, "Username:");
	s.login->methods->step(s.login, SLICE("alice@vm1.vm"));
	heard(rig, 0, "CONT\t1\tYWxpY2VAdm0xLnZt\n");
	end_send(&rig->ends[0], "CONT\t1\t\n");
	expect(&s, LOGIN_CHALLENGE, "");
	s.login->methods->step(s.login, SLICE(""));
	heard(rig, 0, "CONT\t1\t\n");
	end_send(&rig->ends[0], "FAIL\t1\tuser=alice@vm1.vm\n");
	expect(&s, LOGIN_FAILURE, "535 5.7.8 alice@vm1.vm");
	end_session(&s);
}

static void test_many_at_once(void **state)
{
	struct rig *rig = *state;
	struct session a, b, c;

	listen_there(rig);
	begin_plain(rig, &a);
	begin_plain(rig, &b);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO);
	heard(rig, 0,
	      "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\nAUTH\t2\tPLAIN\t" PARAMETERS
	      "\tresp=" PLAIN "\n");
	begin_plain(rig, &c);
	heard(rig, 0, "AUTH\t3\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\n");
	end_send(&rig->ends[0], "OK\t3\tuser=c\nOK\t99\tuser=nobody\n");
	expect(&c, LOGIN_SUCCESS, "235 2.7.0 c");
	end_session(&c);
	end_send(&rig->ends[0], "OK\t1\tuser=a\nFAIL\t2\tuser=b\nOK\t3\tuser=late\n");
	expect(&a, LOGIN_SUCCESS, "235 2.7.0 a");
	expect(&b, LOGIN_FAILURE, "535 5.7.8 b");
	end_session(&a);
	end_session(&b);
	assert_int_equal(rig->connections, 1);
}

static const struct {
	const char *label, *reply;
	enum login_outcome outcome;
	const char *text, *logged;
} replies[] = {
	{ "a user", "OK\t1\tuser=a@b\n", LOGIN_SUCCESS, "235 2.7.0 a@b", NULL },
	{ "no user", "OK\t1\n", LOGIN_FAILURE, "454 4.7.0 ", "names no user" },
	{ "an empty user", "OK\t1\tuser=\n", LOGIN_FAILURE, "454 4.7.0 ", "names no user" },
	{ "a user with a line end", "OK\t1\tuser=a\001nb\n", LOGIN_FAILURE, "454 4.7.0 ",
	  "names no user" },
	{ "refused", "FAIL\t1\tuser=a@b\n", LOGIN_FAILURE, "535 5.7.8 a@b", NULL },
	{ "refused, of nobody", "FAIL\t1\n", LOGIN_FAILURE, "535 5.7.8 ", NULL },
	{ "for now", "FAIL\t1\tuser=a@b\ttemp\n", LOGIN_FAILURE, "454 4.7.0 a@b",
	  "its own log says why" },
	{ "for now, since 2.3", "FAIL\t1\tuser=a@b\tcode=temp_fail\n", LOGIN_FAILURE,
	  "454 4.7.0 a@b", "its own log says why" },
	{ "for a reason", "FAIL\t1\tuser=a\treason=Account\001tis\001nclosed\033[2J\n",
	  LOGIN_FAILURE, "535 5.7.8 a", "Dovecot refuses sasl_username=a: Account is closed?[2J" },
	{ "disabled", "FAIL\t1\tuser=a\tcode=user_disabled\tauthz\n", LOGIN_FAILURE, "535 5.7.8 a",
	  "Dovecot refuses sasl_username=a: user_disabled" },
	{ "a challenge that is none", "CONT\t1\t***\n", LOGIN_FAILURE, "454 4.7.0 ",
	  "a challenge is no base64" },
	{ "nonsense", "OK\tone\n", LOGIN_FAILURE, "454 4.7.0 ", "not the auth protocol" },
	{ "it hangs up", NULL, LOGIN_FAILURE, "454 4.7.0 ", "it has closed the connection" },
};

static void test_replies(void **state)
{
	struct rig *rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(replies); i++) {
		void *inner;
		struct session s;

		setup(&inner);
		rig = inner;
		listen_there(rig);
		begin_plain(rig, &s);
		hear_hello(rig, 0);
		end_send(&rig->ends[0], HELLO);
		heard(rig, 0, "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\n");
		if (replies[i].reply) {
			end_send(&rig->ends[0], replies[i].reply);
		} else {
			stream_free(rig->ends[0].stream, 0);
			rig->ends[0].stream = NULL;
		}
		RUN_UNTIL(rig->loop, s.outcome != 0);
		if (s.outcome != replies[i].outcome || strcmp(s.text, replies[i].text) != 0)
			fail_msg("%s: %d, %s", replies[i].label, (int)s.outcome, s.text);
		if (replies[i].logged && !log_has(rig, replies[i].logged))
			fail_msg("%s: not in the log", replies[i].label);
		end_session(&s);
		teardown(&inner);
	}
}

static const struct {
	const char *hello, *logged;
} bad_hellos[] = {
	{ "VERSION\t2\t0\nDONE\n", "it speaks version 2 of the auth protocol" },
	{ "MECH\tPLAIN\nDONE\n", "does not say which auth protocol" },
	{ "220 mta1.vm1.vm ESMTP Posthouse\r\nVERSION\n", "not the auth protocol of Dovecot" },
	{ "\n", "not the auth protocol of Dovecot" },
};

static void test_bad_hellos(void **state)
{
	struct rig *rig;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad_hellos); i++) {
		void *inner;
		struct session s;

		setup(&inner);
		rig = inner;
		listen_there(rig);
		begin_plain(rig, &s);
		hear_hello(rig, 0);
		end_send(&rig->ends[0], bad_hellos[i].hello);
		expect(&s, LOGIN_FAILURE, "454 4.7.0 ");
		if (!log_has(rig, bad_hellos[i].logged))
			fail_msg("%s: not in the log", bad_hellos[i].logged);
		assert_int_equal(buf_len(&rig->ends[0].received), 0); /* no password for those */
		end_session(&s);
		teardown(&inner);
	}
}

static void test_lines_without_end(void **state)
{
	struct rig *rig = *state;
	struct session s;
	char text[4096];

	listen_there(rig);
	begin_plain(rig, &s);
	hear_hello(rig, 0);
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	for (int i = 0; i < 8; i++)
		end_send(&rig->ends[0], text);
	expect(&s, LOGIN_FAILURE, "454 4.7.0 ");
	assert_true(log_has(rig, "a line of more than 16384 bytes"));
	end_session(&s);
}

static void test_nobody_there(void **state)
{
	struct rig *rig = *state;
	struct session s;

	begin_plain(rig, &s);
	expect(&s, LOGIN_FAILURE, "454 4.7.0 ");
	assert_true(log_has(rig, "/auth: No such file or directory"));
	end_session(&s);

	listen_there(rig); /* it has been started: the next one finds it */
	begin_plain(rig, &s);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO);
	heard(rig, 0, "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\n");
	end_send(&rig->ends[0], "OK\t1\tuser=a\n");
	expect(&s, LOGIN_SUCCESS, "235 2.7.0 a");
	end_session(&s);
}

/* The challenge was given, then Dovecot is restarted; the client has not heard of it. */
static void test_restart_between(void **state)
{
	struct rig *rig = *state;
	struct session s, next;

	listen_there(rig);
	begin(rig, &s, "LOGIN", NULL, 0);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO "");
	heard(rig, 0, "AUTH\t1\tLOGIN\t" PARAMETERS "\n");
	end_send(&rig->ends[0], "CONT\t1\tVXNlcm5hbWU6\n");
	expect(&s, LOGIN_CHALLENGE, "Username:");
	stream_free(rig->ends[0].stream, 0);
	rig->ends[0].stream = NULL;

	/* Others find the new one, and the old exchange does not: it fails, for now. */
	s.login->methods->step(s.login, SLICE("alice@vm1.vm"));
	expect(&s, LOGIN_FAILURE, "454 4.7.0 ");
	begin_plain(rig, &next);
	end_session(&s);
	hear_hello(rig, 1);
	end_send(&rig->ends[1], HELLO);
	heard(rig, 1, "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\n");
	end_send(&rig->ends[1], "OK\t1\tuser=a\n");
	expect(&next, LOGIN_SUCCESS, "235 2.7.0 a");
	end_session(&next);
}

static void test_the_client_goes(void **state)
{
	struct rig *rig = *state;
	struct session a, b;

	listen_there(rig);
	begin_plain(rig, &a);
	begin(rig, &b, "LOGIN", NULL, 0);
	hear_hello(rig, 0);
	end_send(&rig->ends[0], HELLO);
	heard(rig, 0,
	      "AUTH\t1\tPLAIN\t" PARAMETERS "\tresp=" PLAIN "\nAUTH\t2\tLOGIN\t" PARAMETERS "\n");
	a.login->methods->cancel(a.login);
	assert_int_equal(a.answers, 0);
	expect(&a, LOGIN_FAILURE, "454 4.7.0 ");
	heard(rig, 0, "CANCEL\t1\n");
	end_send(&rig->ends[0], "OK\t1\tuser=late\nCONT\t2\tVXNlcm5hbWU6\n");
	end_session(&a);
	expect(&b, LOGIN_CHALLENGE, "Username:");
	end_session(&b); /* the client has sent "*" */
	heard(rig, 0, "CANCEL\t2\n");
}

/* Whatever has been said by then, the client has its answer. */
static void test_it_hangs(void **state)
{
	struct rig *rig = *state;
	struct dovecot_auth_options options = { rig->path, rig->sink, 100 };
	struct session a, b;

	dovecot_auth_free(rig->auth);
	rig->auth = dovecot_auth_new(&options);
	listen_there(rig);
	begin_plain(rig, &a); /* it does not say a word */
	begin_plain(rig, &b);
	RUN_UNTIL(rig->loop, a.outcome != 0 && b.outcome != 0);
	expect(&a, LOGIN_FAILURE, "454 4.7.0 ");
	expect(&b, LOGIN_FAILURE, "454 4.7.0 ");
	assert_true(log_has(rig, "no answer within 0 s"));
	end_session(&a);
	end_session(&b);
	connected(rig, 1);
	RUN_UNTIL(rig->loop, end_has(&rig->ends[0], "closed"));

	rig->greets = true; /* another connection: it says hello, and then nothing */
	begin_plain(rig, &a);
	expect(&a, LOGIN_FAILURE, "454 4.7.0 ");
	end_session(&a);
	connected(rig, 2);
	RUN_UNTIL(rig->loop, end_has(&rig->ends[1], "closed"));
}

static void test_mechanisms(void **state)
{
	struct rig *rig = *state;
	char mechanisms[LOGIN_MECHANISMS_SIZE];
	struct session s;

	dovecot_auth_mechanisms(rig->auth, mechanisms);
	assert_string_equal(mechanisms, "PLAIN LOGIN"); /* nothing is known yet */
	listen_there(rig);
	begin(rig, &s, "LOGIN", NULL, 0);
	hear_hello(rig, 0);
	end_send(&rig->ends[0],
		 "VERSION\t1\t2\nMECH\tPLAIN\tplaintext\nMECH\tSCRAM-SHA-256\tmutual-auth\n"
		 "MECH\tSCRAM-SHA-256-PLUS\nMECH\tANONYMOUS\tanonymous\nMECH\tEXTERNAL\n"
		 "MECH\tAPOP\tprivate\tdictionary\nMECH\tCRAM-MD5\nMECH\tBAD NAME\nMECH\tlower\n"
		 "MECH\tWHOSE-NAME-IS-TOO-LONG\nMECH\t250 2.1.0 Ok\nDONE\n");
	expect(&s, LOGIN_FAILURE, "454 4.7.0 ");
	dovecot_auth_mechanisms(rig->auth, mechanisms);
	assert_string_equal(mechanisms, "PLAIN SCRAM-SHA-256 CRAM-MD5");
	assert_int_equal(buf_len(&rig->ends[0].received), 0); /* LOGIN would be an offence */
	end_session(&s);
}

/* ---- the question at the start, which blocks ---- */

struct speaker {
	int fd;
	const char *text;
	pthread_t thread;
};

static void *speak(void *arg)
{
	struct speaker *speaker = arg;
	int fd = accept(speaker->fd, NULL, NULL);

	while (*speaker->text && write(fd, speaker->text, 1) == 1) /* by bytes */
		speaker->text++;
	close(fd);
	return NULL;
}

/* A Dovecot is started anew, and asked. */
static int ask_anew(struct rig *rig, const char *hello, struct error *err)
{
	struct speaker speaker = { .text = hello };
	int r;

	unlink(rig->path);
	speaker.fd = unix_listen(rig->path, 0600, err);
	assert_true(speaker.fd >= 0);
	assert_int_equal(fcntl(speaker.fd, F_SETFL, 0), 0);
	assert_int_equal(pthread_create(&speaker.thread, NULL, speak, &speaker), 0);
	r = dovecot_auth_refresh(rig->auth, err);
	pthread_join(speaker.thread, NULL);
	assert_int_equal(dovecot_auth_refresh(rig->auth, err), MAP_NOT_CHANGED);
	close(speaker.fd);
	return r;
}

static void test_asking(void **state)
{
	struct rig *rig = *state;
	char mechanisms[LOGIN_MECHANISMS_SIZE];
	struct error err;

	assert_int_equal(dovecot_auth_ask(rig->auth, &err), -ENOENT);
	assert_int_equal(dovecot_auth_refresh(rig->auth, &err), MAP_NOT_CHANGED);
	assert_int_equal(ask_anew(rig, HELLO, &err), 0);
	assert_int_equal(ask_anew(rig, HELLO, &err), MAP_NOT_CHANGED);
	assert_int_equal(ask_anew(rig, "VERSION\t1\t2\nMECH\tCRAM-MD5\nDONE\n", &err), 0);
	dovecot_auth_mechanisms(rig->auth, mechanisms);
	assert_string_equal(mechanisms, "CRAM-MD5");
	assert_true(ask_anew(rig, "VERSION\t1\t2\nMECH\tPLAIN\n", &err) < 0);
	assert_non_null(strstr(err.text, "it has closed the connection"));
	assert_non_null(strstr(err.text, rig->path));
	assert_true(ask_anew(rig, "VERSION\t3\t0\n", &err) < 0);
	dovecot_auth_mechanisms(rig->auth, mechanisms);
	assert_string_equal(mechanisms, "CRAM-MD5"); /* the last that was said */
	unlink(rig->path);
	assert_int_equal(dovecot_auth_refresh(rig->auth, &err), MAP_NOT_CHANGED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
		cmocka_unit_test_setup_teardown(test_challenges, setup, teardown),
		cmocka_unit_test_setup_teardown(test_many_at_once, setup, teardown),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_bad_hellos),
		cmocka_unit_test_setup_teardown(test_lines_without_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nobody_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart_between, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_client_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(test_it_hangs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mechanisms, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asking, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
