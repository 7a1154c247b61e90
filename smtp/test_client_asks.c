/* test_client_asks - transactions without a message, which ask who is there */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/test_client_play.h"

#define ASK2                                                                                       \
	"O mail <> a@y b@y asks\n"                                                                 \
	"C MAIL FROM:<>\n"                                                                         \
	"C RCPT TO:<a@y>\n"                                                                        \
	"C RCPT TO:<b@y>\n"                                                                        \
	"C RSET\n"

static const char *const pipelined[] = {
	"# each RCPT has its own answer, and nothing is left open\n"
	"+ PIPELINING\n" ASK2 "S 250 Ok\n"
	"S 250 2.1.5 Ok\n"
	"E rcpt 0 250 2.1.5 Ok (RCPT TO)\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 1 550 5.1.1 who? (RCPT TO)\n"
	"T 20 RSET\n"
	"S 250 reset\n"
	"E done\n"
	"T 0\n"
	"+ MAIL\n",

	"# a server with CHUNKING is told of no message either\n"
	"+ CHUNKING\n" ASK2 "S 250 Ok\n"
	"S 450 4.2.1 wait\n"
	"E rcpt 0 450 4.2.1 wait (RCPT TO)\n"
	"S 250 Ok\n"
	"E rcpt 1 250 0.0.0 Ok (RCPT TO)\n"
	"S 250 reset\n"
	"E done\n",

	"# mail may go behind it\n"
	"+ PIPELINING\n" ASK2 "O room yes\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E rcpt 0 250 0.0.0 Ok (RCPT TO)\n"
	"S 250 Ok\n"
	"E rcpt 1 250 0.0.0 Ok (RCPT TO)\n"
	"S 250 reset\n"
	"E done\n"
	"W body-wanted end\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"E body-wanted\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E done\n",

	"# MAIL refused: that is no word about recipients, whatever they hear\n"
	"+ PIPELINING\n" ASK2 "S 550 5.7.1 not you\n"
	"E rcpt 0 550 5.7.1 not you (MAIL FROM)\n"
	"E rcpt 1 550 5.7.1 not you (MAIL FROM)\n"
	"S 503 need MAIL\n"
	"S 250 Ok\n"
	"S 250 reset\n"
	"E done\n",

	"# the connection is lost in between: who was answered was answered\n"
	"+ PIPELINING\n" ASK2 "S 250 Ok\n"
	"S 250 Ok\n"
	"E rcpt 0 250 0.0.0 Ok (RCPT TO)\n"
	"O lost it broke\n"
	"E broken envelope\n"
	"E failed 0 4.4.2 it broke while sending RCPT TO\n",

	"# 421 to RCPT\n"
	"+ PIPELINING\n" ASK2 "S 250 Ok\n"
	"S 421 4.3.2 going\n"
	"E broken envelope\n"
	"E failed 421 4.3.2 going\n",

	"# RSET refused, when all is known\n"
	"+ PIPELINING\n" ASK2 "S 250 Ok\n"
	"S 250 Ok\n"
	"E rcpt 0 250 0.0.0 Ok (RCPT TO)\n"
	"S 250 Ok\n"
	"E rcpt 1 250 0.0.0 Ok (RCPT TO)\n"
	"S 500 what?\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"500 what?\" in reply to RSET\n",

	"# nothing to ask: an address that no command can hold\n"
	"+ PIPELINING\n"
	"O mail <> a>b@y asks\n"
	"E rcpt 0 553 5.1.3 not sent: malformed recipient address ()\n"
	"E done\n"
	"+ MAIL\n",
};

static const char *const stepwise[] = {
	"# step by step, and RSET\n"
	"+ STEPWISE\n"
	"O mail <> a@y b@y asks\n"
	"C MAIL FROM:<>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"C RCPT TO:<b@y>\n"
	"S 250 Ok\n"
	"E rcpt 1 250 0.0.0 Ok (RCPT TO)\n"
	"C RSET\n"
	"O room no\n"
	"S 250 reset\n"
	"E done\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n",

	"# MAIL refused: there is no transaction to end\n"
	"+ STEPWISE\n"
	"O mail <> a@y asks\n"
	"C MAIL FROM:<>\n"
	"S 450 4.7.1 later\n"
	"E rcpt 0 450 4.7.1 later (MAIL FROM)\n"
	"E done\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n",

	"# LMTP\n"
	"! lmtp\n"
	"S 220 hi\n"
	"C LHLO us.example\n"
	"S 250-hi\n"
	"S 250 PIPELINING\n"
	"E ready esmtp pipelining\n" ASK2 "S 250 Ok\n"
	"S 250 Ok\n"
	"E rcpt 0 250 0.0.0 Ok (RCPT TO)\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 1 550 5.1.1 who? (RCPT TO)\n"
	"S 250 reset\n"
	"E done\n",
};

static void test_pipelined(void **state)
{
	(void)state;
	play_all(pipelined, ARRAY_SIZE(pipelined));
}

static void test_stepwise(void **state)
{
	(void)state;
	play_all(stepwise, ARRAY_SIZE(stepwise));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_stepwise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
