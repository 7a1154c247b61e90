/*
 * test_server - how the engine and its owner work together: answers now and
 * later, pauses, the end of a session
 *
 * What the engine says to whom is shown by tests/dialogs/server.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "smtp/server.h"

/* A session and its owner, who notes in log what happens. */
struct session {
	struct smtp_server_options options;
	struct smtp_server *server;
	struct buf output;
	char log[1024];
	bool answers_late, pauses_at_body;
	struct smtp_status answer; /* code 0: a friendly one */
	size_t body_len;
};

static void note(struct session *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct session *t, const char *format, ...)
{
	size_t used = strlen(t->log);
	va_list args;

	va_start(args, format);
	vsnprintf(t->log + used, sizeof(t->log) - used, format, args);
	va_end(args);
}

static void answer(struct session *t, int code)
{
	struct smtp_status status;

	smtp_status_set(&status, code, ESC(0, 0, 0), "answer");
	smtp_server_answer(t->server, &status);
}

static void asked(struct session *t, int friendly)
{
	if (t->answers_late)
		return;
	if (t->answer.code)
		smtp_server_answer(t->server, &t->answer);
	else
		answer(t, friendly);
}

static void on_hello(void *arg, const char *name, bool esmtp)
{
	note(arg, "hello(%s,%d) ", name, esmtp);
}

static void on_starttls(void *arg)
{
	note(arg, "starttls ");
}

static void note_response(struct session *t, struct slice response)
{
	if (response.len < 20)
		note(t, "response(%.*s) ", (int)response.len, response.ptr);
	else
		note(t, "response(%zu bytes) ", response.len);
}

static void on_auth(void *arg, const char *mechanism, const struct slice *initial)
{
	struct session *t = arg;

	note(t, "auth(%s) ", mechanism);
	if (initial) {
		note_response(t, *initial);
		asked(t, 235);
	} else {
		smtp_server_challenge(t->server, SLICE("who?"));
	}
}

static void on_auth_response(void *arg, struct slice response)
{
	note_response(arg, response);
	asked(arg, 235);
}

static void on_auth_abort(void *arg)
{
	note(arg, "abort ");
}

static void on_mail(void *arg, const struct smtp_mail *mail)
{
	note(arg, "mail(%s) ", mail->sender);
	asked(arg, 250);
}

static void on_rcpt(void *arg, const struct smtp_rcpt *rcpt)
{
	note(arg, "rcpt(%s) ", rcpt->recipient);
	asked(arg, 250);
}

static void on_data(void *arg, const char *verb)
{
	note(arg, "%s ", strcmp(verb, "DATA") == 0 ? "data" : "bdat");
	asked(arg, 354);
}

static void on_body(void *arg, struct slice bytes)
{
	struct session *t = arg;

	t->body_len += bytes.len;
	if (t->pauses_at_body)
		smtp_server_pause(t->server);
}

static void on_end_of_data(void *arg)
{
	note(arg, "end ");
	asked(arg, 250);
}

static void on_reset(void *arg, const struct smtp_status *why)
{
	note(arg, "reset(%d) ", why ? why->code : 0);
}

static void on_rejected(void *arg, const char *verb, const struct smtp_status *status)
{
	note(arg, "rejected(%s,%d) ", verb, status->code);
}

static void on_quit(void *arg)
{
	note(arg, "quit ");
}

static const struct smtp_server_events events = {
	.hello = on_hello,
	.starttls = on_starttls,
	.auth = on_auth,
	.auth_response = on_auth_response,
	.auth_abort = on_auth_abort,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.body = on_body,
	.end_of_data = on_end_of_data,
	.reset = on_reset,
	.rejected = on_rejected,
	.quit = on_quit,
};

static void session_init(struct session *t)
{
	*t = (struct session){
		.options = {
			.hostname = "mx.test",
			.append_domain = "vm1.vm",
			.size_limit = 1000000,
			.recipient_limit = 2,
			.starttls = true,
			.auth = "PLAIN LOGIN",
			.auth_clear = true,
		},
	};
	t->server = smtp_server_new(&t->options, &events, t, &t->output);
}

static void session_done(struct session *t)
{
	smtp_server_free(t->server);
	buf_done(&t->output);
}

/* Gives text to the engine; returns what it left. */
static const char *give(struct session *t, const char *text)
{
	return text + smtp_server_input(t->server, slice_from(text));
}

static void expect_log(struct session *t, const char *want)
{
	assert_string_equal(t->log, want);
	t->log[0] = '\0';
}

static void expect_output(struct session *t, const char *want)
{
	char *got = buf_steal_string(&t->output);

	assert_string_equal(got, want);
	free(got);
}

/* As far as state: 'g' greeted, 'h' after HELO, 'r' with a recipient, 'd' in the data. */
static void bring_to(struct session *t, char state)
{
	const char *script = state == 'h'   ? "HELO c\r\n"
			     : state == 'r' ? "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
			     : state == 'd'
				     ? "HELO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
				     : "";
	bool late = t->answers_late;

	t->answers_late = false;
	smtp_server_greet(t->server, false);
	assert_string_equal(give(t, script), "");
	t->answers_late = late;
	buf_clear(&t->output);
	t->log[0] = '\0';
}

static void test_nothing_moves_before_the_answer(void **state)
{
	const char *rest = "HELO c\nMAIL FROM:<a>\r\nRCPT TO:<b>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n";
	struct session t;

	(void)state;
	session_init(&t);
	t.answers_late = true;
	smtp_server_greet(t.server, false);
	expect_output(&t, "220 mx.test ESMTP Posthouse\r\n");

	rest = give(&t, rest);
	assert_true(smtp_server_is_waiting(t.server));
	assert_string_equal(rest, "RCPT TO:<b>\r\nDATA\r\nx\r\n.\r\nQUIT\r\n");
	assert_string_equal(give(&t, rest), rest);
	expect_output(&t, "250 mx.test\r\n");
	expect_log(&t, "hello(c,0) mail(a@vm1.vm) ");
	assert_false(smtp_server_in_transaction(t.server));

	answer(&t, 250);
	assert_false(smtp_server_is_waiting(t.server));
	assert_true(smtp_server_in_transaction(t.server));
	expect_output(&t, "250 2.0.0 answer\r\n");
	rest = give(&t, rest);
	assert_string_equal(rest, "DATA\r\nx\r\n.\r\nQUIT\r\n");
	answer(&t, 250);
	rest = give(&t, rest);
	assert_string_equal(rest, "x\r\n.\r\nQUIT\r\n");
	answer(&t, 354);
	rest = give(&t, rest);
	assert_string_equal(rest, "QUIT\r\n");
	expect_log(&t, "rcpt(b@vm1.vm) data end ");
	answer(&t, 250);
	assert_false(smtp_server_in_transaction(t.server));
	assert_string_equal(give(&t, rest), "");
	expect_log(&t, "quit ");
	expect_output(&t, "250 2.0.0 answer\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
			  "250 2.0.0 answer\r\n221 2.0.0 Bye\r\n");
	session_done(&t);
}

static void test_incomplete_lines_stay_with_the_owner(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	assert_string_equal(give(&t, "HELO c\r\n"), "HELO c\r\n"); /* not greeted yet */
	bring_to(&t, 'g');
	assert_string_equal(give(&t, "HELO"), "HELO");
	assert_string_equal(give(&t, "HELO c\r"), "HELO c\r");
	assert_string_equal(give(&t, "NOOP\r\nHELO"), "HELO");
	expect_log(&t, "");
	session_done(&t);
}

static void test_long_lines_need_no_memory(void **state)
{
	char line[3000];
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'g');
	memset(line, 'x', sizeof(line));
	assert_int_equal(smtp_server_input(t.server, slice_of(line, 2047)), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(smtp_server_input(t.server, slice_of(line, 3000)), 3000);
	assert_int_equal(buf_len(&t.output), 0);
	assert_string_equal(give(&t, "x\nNOOP\r\n"), "");
	expect_output(&t, "500 5.5.2 Error: command too long\r\n250 2.0.0 Ok\r\n");
	expect_log(&t, "rejected(UNKNOWN,500) ");
	session_done(&t);
}

static void test_pause_holds_the_end_back(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'd');
	t.pauses_at_body = true;
	assert_string_equal(give(&t, "text\r\n.\r\nNOOP\r\n"), "NOOP\r\n");
	assert_int_equal(t.body_len, 6);
	expect_log(&t, "");
	assert_string_equal(give(&t, "NOOP\r\n"), "NOOP\r\n");
	smtp_server_resume(t.server);
	expect_log(&t, "end ");
	assert_string_equal(give(&t, "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"), "");
	expect_log(&t, "mail(a@b) rcpt(c@d) data ");
	smtp_server_resume(t.server); /* the next message has not ended yet */
	expect_log(&t, "");
	session_done(&t);
}

static void test_pause_stops_a_long_message(void **state)
{
	static char text[300000];
	size_t used;
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'd');
	memset(text, 'x', sizeof(text));
	t.pauses_at_body = true;
	used = smtp_server_input(t.server, slice_of(text, sizeof(text)));
	assert_in_range(used, 1, sizeof(text) / 2);
	assert_int_equal(t.body_len, used);
	assert_int_equal(smtp_server_input(t.server, slice_of(text, 10)), 0);
	smtp_server_resume(t.server);
	t.pauses_at_body = false;
	assert_int_equal(smtp_server_input(t.server, slice_of(text + used, sizeof(text) - used)),
			 sizeof(text) - used);
	assert_int_equal(t.body_len, sizeof(text));
	expect_log(&t, "");
	session_done(&t);
}

static void test_too_large_is_swallowed(void **state)
{
	static char text[100000];
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'd');
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 30; i++)
		assert_int_equal(smtp_server_input(t.server, slice_of(text, sizeof(text))),
				 sizeof(text));
	assert_in_range(t.body_len, 1, t.options.size_limit);
	expect_log(&t, "reset(552) ");
	assert_false(smtp_server_in_transaction(t.server));
	assert_int_equal(buf_len(&t.output), 0);
	assert_string_equal(give(&t, "\r\n.\r\nMAIL FROM:<>\r\n"), "");
	expect_log(&t, "rejected(END-OF-MESSAGE,552) mail() ");
	session_done(&t);
}

static void test_starttls_forgets(void **state)
{
	const char *rest = "RSET\r\nAUTH PLAIN YQ==\r\nMAIL FROM:<a@b>\r\nSTARTTLS\r\nQUIT\r\n";
	struct session t;

	(void)state;
	session_init(&t);
	smtp_server_greet(t.server, false);
	assert_null(smtp_server_hello(t.server));
	assert_string_equal(smtp_server_protocol(t.server), "SMTP");
	give(&t, "EHLO c\r\n");
	assert_string_equal(smtp_server_hello(t.server), "c");
	assert_string_equal(smtp_server_protocol(t.server), "ESMTP");
	rest = give(&t, rest);
	assert_string_equal(rest, "QUIT\r\n");
	assert_string_equal(give(&t, rest), rest);
	expect_log(&t, "hello(c,1) auth(PLAIN) response(a) mail(a@b) reset(0) starttls ");
	assert_true(smtp_server_is_authenticated(t.server));
	assert_string_equal(smtp_server_protocol(t.server), "ESMTPA");

	smtp_server_secured(t.server);
	assert_null(smtp_server_hello(t.server));
	assert_false(smtp_server_is_authenticated(t.server));
	assert_false(smtp_server_in_transaction(t.server));
	give(&t, "EHLO c\r\n");
	assert_string_equal(smtp_server_protocol(t.server), "ESMTPS");
	give(&t, "AUTH PLAIN AGEAcA==\r\n");
	assert_string_equal(smtp_server_protocol(t.server), "ESMTPSA");
	session_done(&t);
}

static void test_auth_is_an_exchange(void **state)
{
	struct session t;
	char line[12400];

	(void)state;
	session_init(&t);
	bring_to(&t, 'h');
	give(&t, "auth login\r\n");
	expect_output(&t, "334 d2hvPw==\r\n");
	assert_false(smtp_server_is_waiting(t.server));
	give(&t, "*\r\n");
	expect_output(&t, "501 5.7.0 Authentication aborted\r\n");
	give(&t, "AUTH PLAIN\r\n%%\r\n");
	expect_output(&t, "334 d2hvPw==\r\n501 5.5.2 Error: cannot decode response\r\n");
	expect_log(&t,
		   "auth(LOGIN) abort rejected(AUTH,501) auth(PLAIN) abort rejected(AUTH,501) ");

	/* A response of the longest line that is taken, and one that is longer. */
	memset(line, 'A', sizeof(line));
	strcpy(line + 12284, "\r\n");
	give(&t, "AUTH PLAIN\r\n");
	give(&t, line);
	expect_log(&t, "auth(PLAIN) response(9213 bytes) ");
	assert_true(smtp_server_is_authenticated(t.server));
	session_done(&t);

	session_init(&t);
	bring_to(&t, 'h');
	memset(line, 'A', sizeof(line));
	strcpy(line + 12300, "\r\n");
	give(&t, "AUTH PLAIN\r\n");
	give(&t, give(&t, line)); /* what is too long is dropped as it comes */
	expect_log(&t, "auth(PLAIN) abort rejected(AUTH,500) ");
	give(&t, "NOOP\r\n");
	expect_output(&t, "334 d2hvPw==\r\n500 5.5.6 Authentication exchange line is too long\r\n"
			  "250 2.0.0 Ok\r\n");
	session_done(&t);
}

static void test_auth_is_offered_as_of_now(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'h');
	t.options.auth = "";
	give(&t, "AUTH PLAIN YQ==\r\n");
	expect_log(&t, "rejected(AUTH,504) ");
	t.options.auth = "X-NEW";
	give(&t, "AUTH PLAIN YQ==\r\nAUTH x-new YQ==\r\nAUTH X-NEW\r\n");
	expect_log(&t, "rejected(AUTH,504) auth(X-NEW) response(a) rejected(AUTH,503) ");
	session_done(&t);
}

static void test_end(void **state)
{
	struct smtp_status status, other;
	struct session t;

	(void)state;
	smtp_status_set(&status, 421, ESC(4, 3, 2), "bye");
	smtp_status_set(&other, 421, ESC(4, 4, 2), "late");

	session_init(&t); /* instead of the greeting */
	smtp_server_end(t.server, &status);
	expect_output(&t, "421 4.3.2 bye\r\n");
	expect_log(&t, "quit ");
	session_done(&t);

	session_init(&t); /* in the data */
	bring_to(&t, 'd');
	smtp_server_end(t.server, &status);
	smtp_server_end(t.server, &other);
	expect_output(&t, "421 4.3.2 bye\r\n");
	expect_log(&t, "reset(421) quit ");
	assert_string_equal(give(&t, "QUIT\r\n"), "QUIT\r\n");
	session_done(&t);

	session_init(&t); /* while an answer is awaited: after it */
	bring_to(&t, 'd');
	t.answers_late = true;
	give(&t, ".\r\n");
	smtp_server_end(t.server, &status);
	expect_log(&t, "end ");
	answer(&t, 250);
	expect_output(&t, "250 2.0.0 answer\r\n421 4.3.2 bye\r\n");
	expect_log(&t, "quit ");
	session_done(&t);

	session_init(&t); /* during the handshake: after it */
	bring_to(&t, 'h');
	give(&t, "STARTTLS\r\n");
	smtp_server_end(t.server, &status);
	expect_output(&t, "220 2.0.0 Ready to start TLS\r\n");
	smtp_server_secured(t.server);
	expect_output(&t, "421 4.3.2 bye\r\n");
	expect_log(&t, "starttls quit ");
	session_done(&t);
}

static void end_in_hello(void *arg, const char *name, bool esmtp)
{
	struct session *t = arg;
	struct smtp_status status;

	(void)name;
	(void)esmtp;
	smtp_status_set(&status, 421, ESC(4, 3, 2), "bye");
	smtp_server_end(t->server, &status);
}

static void test_end_inside_of_an_event(void **state)
{
	struct smtp_server_events with_end = events;
	struct session t;

	(void)state;
	session_init(&t);
	smtp_server_free(t.server);
	with_end.hello = end_in_hello;
	t.server = smtp_server_new(&t.options, &with_end, &t, &t.output);
	bring_to(&t, 'g');
	assert_string_equal(give(&t, "HELO c\r\nNOOP\r\n"), "NOOP\r\n");
	expect_output(&t, "250 mx.test\r\n421 4.3.2 bye\r\n");
	expect_log(&t, "quit ");
	session_done(&t);
}

static void test_421_as_an_answer_ends(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'r');
	smtp_status_set(&t.answer, 421, ESC(4, 3, 0), "going down");
	assert_string_equal(give(&t, "RCPT TO:<e@f>\r\nDATA\r\n"), "DATA\r\n");
	expect_output(&t, "421 4.3.0 going down\r\n");
	expect_log(&t, "rcpt(e@f) rejected(RCPT,421) reset(421) quit ");
	session_done(&t);
}

static void test_refused_data_keeps_the_transaction(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	bring_to(&t, 'r');
	smtp_status_set(&t.answer, 452, ESC(4, 3, 1), "full");
	give(&t, "DATA\r\n");
	expect_log(&t, "data rejected(DATA,452) ");
	assert_true(smtp_server_in_transaction(t.server));
	give(&t, "RSET\r\n");
	expect_log(&t, "reset(0) ");
	session_done(&t);
}

static void test_replies_are_printable_and_short(void **state)
{
	struct session t;
	char *got;

	(void)state;
	session_init(&t);
	bring_to(&t, 'h');
	t.answer.code = 550;
	memset(t.answer.text, 'x', sizeof(t.answer.text) - 1);
	memcpy(t.answer.text, "\303\274\r\n", 4);
	give(&t, "MAIL FROM:<a@b>\r\n");
	got = buf_steal_string(&t.output);
	assert_int_equal(strlen(got), 512);
	got[18] = '\0';
	assert_string_equal(got, "550 5.0.0 ????xxxx");
	free(got);
	session_done(&t);
}

static void test_recipients_past_the_limit_end_somewhere(void **state)
{
	struct session t;

	(void)state;
	session_init(&t);
	t.options.junk_limit = 2;
	bring_to(&t, 'r');
	give(&t, "RCPT TO:<e@f>\r\n");
	for (int i = 0; i < 1001; i++) {
		assert_string_equal(give(&t, "RCPT TO:<g@h>\r\n"), "");
		buf_clear(&t.output);
		t.log[0] = '\0';
	}
	give(&t, "RCPT TO:<g@h>\r\n");
	expect_log(&t, "rejected(RCPT,452) rejected(RCPT,421) reset(421) quit ");
	session_done(&t);
}

static void test_summary(void **state)
{
	struct session t;
	struct buf summary = { 0 };
	char *got;

	(void)state;
	session_init(&t);
	smtp_server_greet(t.server, false);
	smtp_server_summary(t.server, &summary);
	got = buf_steal_string(&summary);
	assert_string_equal(got, "commands=0/0");
	free(got);

	give(&t, "EHLO c\r\nAUTH PLAIN AGEAcA==\r\nMAIL FROM:<a@b>\r\nRCPT TO:<>\r\nWHAT\r\n"
		 "RCPT TO:<c>\r\nDATA\r\n.\r\nQUIT\r\n");
	smtp_server_summary(t.server, &summary);
	got = buf_steal_string(&summary);
	assert_string_equal(got, "ehlo=1 auth=1 mail=1 rcpt=1/2 data=1 quit=1 unknown=0/1 "
				 "commands=6/8");
	free(got);
	session_done(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing_moves_before_the_answer),
		cmocka_unit_test(test_incomplete_lines_stay_with_the_owner),
		cmocka_unit_test(test_long_lines_need_no_memory),
		cmocka_unit_test(test_pause_holds_the_end_back),
		cmocka_unit_test(test_pause_stops_a_long_message),
		cmocka_unit_test(test_too_large_is_swallowed),
		cmocka_unit_test(test_starttls_forgets),
		cmocka_unit_test(test_auth_is_an_exchange),
		cmocka_unit_test(test_auth_is_offered_as_of_now),
		cmocka_unit_test(test_end),
		cmocka_unit_test(test_end_inside_of_an_event),
		cmocka_unit_test(test_421_as_an_answer_ends),
		cmocka_unit_test(test_refused_data_keeps_the_transaction),
		cmocka_unit_test(test_replies_are_printable_and_short),
		cmocka_unit_test(test_recipients_past_the_limit_end_somewhere),
		cmocka_unit_test(test_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
