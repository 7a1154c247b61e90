/* test_client_auth - AUTH (RFC 4954): each reply at each step */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/client.h"
#include "smtp/reply.h"
#include "smtp/test_client_play.h"

static const char *const accepted[] = {
	"# PLAIN: all in one line\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"T 300 AUTH\n"
	"C AUTH PLAIN YWJj\n"
	"S 235 2.7.0 Welcome\n"
	"E authenticated 235 2.7.0 Welcome\n"
	"T 0\n"
	"+ MAIL_AFTER\n",

	"# an empty initial response is a =\n"
	"+ AUTH_OFFERED\n"
	"O auth EXTERNAL ''\n"
	"C AUTH EXTERNAL =\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# LOGIN: the server asks twice\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 VXNlcm5hbWU6\n"
	"E challenge Username:\n"
	"T 0 AUTH\n"
	"O answer joe\n"
	"T 300 AUTH\n"
	"C am9l\n"
	"S 334 UGFzc3dvcmQ6\n"
	"E challenge Password:\n"
	"O answer secret\n"
	"C c2VjcmV0\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# an answer inside of the event\n"
	"+ AUTH_OFFERED\n"
	"O auth CRAM-MD5\n"
	"C AUTH CRAM-MD5\n"
	"W challenge answer x y\n"
	"S 334 PDFAbXg+\n"
	"E challenge <1@mx>\n"
	"C eCB5\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# an empty answer is an empty line\n"
	"+ AUTH_OFFERED\n"
	"O auth SCRAM-SHA-256 first\n"
	"C AUTH SCRAM-SHA-256 Zmlyc3Q=\n"
	"S 334 dj14\n"
	"E challenge v=x\n"
	"O answer \n"
	"C \n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# empty challenges, with and without a space\n"
	"+ AUTH_OFFERED\n"
	"O auth XX\n"
	"C AUTH XX\n"
	"S 334 \n"
	"E challenge \n"
	"O answer a\n"
	"C YQ==\n"
	"S 334\n"
	"E challenge \n"
	"O answer b\n"
	"C Yg==\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# the longest initial response for one line of 512\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN x372\n"
	"C AUTH PLAIN eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH"
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e"
	"Hh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh"
	"4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH"
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e"
	"Hh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# a longer one waits for an empty challenge\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN x373\n"
	"C AUTH PLAIN\n"
	"S 334 \n"
	"C eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e"
	"Hh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
	"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh"
	"4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eH"
	"h4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e"
	"Hh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4"
	"eHh4eHh4eHh4eHh4eHh4eHh4eA==\n"
	"T 300 AUTH\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n",

	"# the next transaction from inside of the event\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"W authenticated mail s@x a@y\n"
	"S 235 ok\n"
	"E authenticated 235 0.0.0 ok\n"
	"C MAIL FROM:<s@x>\n",
};

static const char *const refused[] = {
	"# 454 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 454 4.7.0 Temporary authentication failure\n"
	"E authenticated 454 4.7.0 Temporary authentication failure\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 432 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 432 4.7.12 A password transition is needed\n"
	"E authenticated 432 4.7.12 A password transition is needed\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 500 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 500 5.5.6 Authentication Exchange line is too long\n"
	"E authenticated 500 5.5.6 Authentication Exchange line is too long\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 501 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 501 5.5.2 Cannot decode\n"
	"E authenticated 501 5.5.2 Cannot decode\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 504 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 504 5.5.4 Unrecognized authentication type\n"
	"E authenticated 504 5.5.4 Unrecognized authentication type\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 530 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 530 5.7.0 Authentication required\n"
	"E authenticated 530 5.7.0 Authentication required\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 534 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 534 5.7.9 Authentication mechanism is too weak\n"
	"E authenticated 534 5.7.9 Authentication mechanism is too weak\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 535 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 535 5.7.8 Authentication credentials invalid\n"
	"E authenticated 535 5.7.8 Authentication credentials invalid\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 538 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 538 5.7.11 Encryption required\n"
	"E authenticated 538 5.7.11 Encryption required\n"
	"T 0\n"
	"O quit\n"
	"C QUIT\n",

	"# 454 to a response\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O answer a\n"
	"C YQ==\n"
	"S 454 4.7.0 Later\n"
	"E authenticated 454 4.7.0 Later\n"
	"+ MAIL_AFTER\n",

	"# 535 to a response\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O answer a\n"
	"C YQ==\n"
	"S 535 5.7.8 No\n"
	"E authenticated 535 5.7.8 No\n"
	"+ MAIL_AFTER\n",

	"# refused before the held response could leave\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN x373\n"
	"C AUTH PLAIN\n"
	"S 504 5.5.4 what?\n"
	"E authenticated 504 5.5.4 what?\n"
	"O quit\n"
	"C QUIT\n",

	"# cancelled\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O cancel\n"
	"T 300 AUTH\n"
	"C *\n"
	"S 501 5.7.0 Authentication cancelled\n"
	"E authenticated 501 5.7.0 Authentication cancelled\n"
	"O quit\n"
	"C QUIT\n",
};

static const char *const broken[] = {
	"# 421 to the command\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN abc\n"
	"C AUTH PLAIN YWJj\n"
	"S 421 4.7.0 too many failures\n"
	"E failed 421 4.7.0 too many failures\n",

	"# a challenge that is no base64\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 User name?\n"
	"E failed 0 4.5.0 protocol error: server said \"334 User name?\" in reply to AUTH\n",

	"# a challenge of two lines\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334-YWJj\n"
	"S 334 YWJj\n"
	"E failed 0 4.5.0 protocol error: server said \"334 YWJj YWJj\" in reply to AUTH\n",

	"# a challenge where the server must wait for the first response\n"
	"+ AUTH_OFFERED\n"
	"O auth PLAIN x373\n"
	"C AUTH PLAIN\n"
	"S 334 YWJj\n"
	"E failed 0 4.5.0 protocol error: server said \"334 YWJj\" in reply to AUTH\n",

	"# 354 is no challenge\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 354 YWJj\n"
	"E failed 0 4.5.0 protocol error: server said \"354 YWJj\" in reply to AUTH\n",

	"# 334 to another command\n"
	"+ AUTH_OFFERED\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 334 \n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"334 \" in reply to MAIL FROM\n",

	"# let in although it was cancelled\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O cancel\n"
	"C *\n"
	"S 235 Welcome\n"
	"E failed 0 4.5.0 protocol error: server said \"235 Welcome\" in reply to AUTH\n",

	"# another challenge although it was cancelled\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O cancel\n"
	"C *\n"
	"S 334 \n"
	"E failed 0 4.5.0 protocol error: server said \"334 \" in reply to AUTH\n",

	"# 235 before the response\n"
	"! one piece\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"S 235 Welcome\n"
	"E challenge \n"
	"E failed 0 4.5.0 protocol error: server said \"235 Welcome\" unasked\n",

	"# it goes while we think\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"S 421 4.4.2 too slow\n"
	"E failed 421 4.4.2 too slow\n",

	"# lost while the response is made\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"S 334 \n"
	"E challenge \n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while performing the AUTH exchange\n",

	"# lost while the reply is awaited\n"
	"+ AUTH_OFFERED\n"
	"O auth LOGIN\n"
	"C AUTH LOGIN\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while performing the AUTH exchange\n",
};

static void test_accepted(void **state)
{
	(void)state;
	play_all(accepted, ARRAY_SIZE(accepted));
}

static void test_refused(void **state)
{
	(void)state;
	play_all(refused, ARRAY_SIZE(refused));
}

static void test_broken(void **state)
{
	(void)state;
	play_all(broken, ARRAY_SIZE(broken));
}

struct listener {
	struct smtp_client *client;
	struct smtp_status failure;
};

static void log_in(void *arg, const struct smtp_capabilities *capabilities)
{
	struct listener *l = arg;

	(void)capabilities;
	smtp_client_auth(l->client, "LOGIN", NULL);
}

static void note_failure(void *arg, const struct smtp_status *status)
{
	struct listener *l = arg;

	l->failure = *status;
}

/* A reply line has its limit, and so a challenge has. */
static void test_huge_challenge(void **state)
{
	static const struct smtp_client_events events = { .ready = log_in, .failed = note_failure };
	struct smtp_client_options options = { .hello = "us.example" };
	struct buf output = { 0 }, input = { 0 };
	struct listener l = { 0 };

	(void)state;
	l.client = smtp_client_new(&options, &events, &l, &output);
	smtp_client_input(l.client, SLICE("220 mx\r\n"));
	smtp_client_input(l.client, SLICE("250 mx\r\n"));
	assert_string_equal(smtp_client_stage(l.client), "AUTH");
	buf_append_string(&input, "334 ");
	while (buf_len(&input) <= SMTP_REPLY_LINE_MAX)
		buf_append_string(&input, "QUJD");
	smtp_client_input(l.client, buf_slice(&input));
	assert_int_equal(l.failure.code, 0);
	assert_int_equal(l.failure.enhanced.class, 4);
	smtp_client_free(l.client);
	buf_done(&input);
	buf_done(&output);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_huge_challenge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
