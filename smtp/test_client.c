/* test_client - the session: greeting, EHLO, STARTTLS, QUIT, and every way it can end */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/test_client_play.h"

static const char *const hello[] = {
	"# greeting and EHLO\n"
	"T 300 initial greeting\n"
	"S 220-mx\n"
	"S 220 ESMTP\n"
	"C EHLO us.example\n"
	"T 300 EHLO\n"
	"S 250 mx\n"
	"E ready esmtp\n"
	"T 0\n",

	"# every capability\n"
	"+ HELLO\n"
	"S 250-mx.example greets you\n"
	"S 250-PIPELINING\n"
	"S 250-SIZE 52428800\n"
	"S 250-starttls\n"
	"S 250-AUTH PLAIN SCRAM-SHA-256\n"
	"S 250-AUTH=LOGIN\n"
	"S 250-ENHANCEDSTATUSCODES\n"
	"S 250-8BitMime\n"
	"S 250-DSN\n"
	"S 250-SMTPUTF8\n"
	"S 250-REQUIRETLS\n"
	"S 250-BINARYMIME\n"
	"S 250-LIMITS MAILMAX=100 RCPTMAX=50 RCPTDOMAINMAX=1\n"
	"S 250-X-UNKNOWN a b\n"
	"S 250 CHUNKING\n"
	"E ready esmtp starttls pipelining 8bitmime dsn smtputf8 chunking enhanced requiretls "
	"binarymime size=52428800 rcptmax=50 mailmax=100 rcptdomainmax=1 auth=PLAIN "
	"SCRAM-SHA-256\n",

	"# odd capabilities\n"
	"+ HELLO\n"
	"S 250-PIPELINING\n"
	"S 250-SIZE x\n"
	"S 250-STARTTLSX\n"
	"S 250-DSN=1\n"
	"S 250-  CHUNKING\n"
	"S 250-AUTH=LOGIN PL{}N\n"
	"S 250-\n"
	"S 250 8BITMIME please\n"
	"E ready esmtp 8bitmime chunking size=0 auth=LOGIN\n",

	"# odd limits\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-LIMITS\n"
	"S 250-limits rcptmax=7 MAILMAX=1000000 RCPTDOMAINMAX=-1 X=3 RCPTMAX MAILMAX=\n"
	"S 250 LIMITS MAILMAX=0 RCPTDOMAINMAX=2x RCPTDOMAINMAX2\n"
	"E ready esmtp rcptmax=7\n",

	"# SIZE without a number\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 SIZE\n"
	"E ready esmtp size=0\n",

	"# SIZE too large for us\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 SIZE 99999999999999999999999\n"
	"E ready esmtp size=0\n",

	"# greeting without text\n"
	"S 220\n"
	"C EHLO us.example\n",

	"# HELO after EHLO is refused\n"
	"+ HELLO\n"
	"S 502 5.5.2 what?\n"
	"C HELO us.example\n"
	"T 300 HELO\n"
	"S 250-mx\n"
	"S 250 PIPELINING\n"
	"E ready\n"
	"O mail s@x a@y size=5 8bit\n"
	"C MAIL FROM:<s@x>\n",

	"# HELO refused too\n"
	"+ HELLO\n"
	"S 502 what?\n"
	"C HELO us.example\n"
	"S 550 no\n"
	"E failed 550 0.0.0 no\n",

	"# EHLO deferred\n"
	"+ HELLO\n"
	"S 450 4.3.2 not now\n"
	"E failed 450 4.3.2 not now\n"
	"O quit\n"
	"C QUIT\n",

	"# EHLO: 421\n"
	"+ HELLO\n"
	"S 421 4.3.2 closing\n"
	"E failed 421 4.3.2 closing\n"
	"O quit\n",

	"# EHLO: 3xx\n"
	"+ HELLO\n"
	"S 334 go on\n"
	"E failed 0 4.5.0 protocol error: server said \"334 go on\" in reply to EHLO\n",

	"# greeting: 554\n"
	"S 554-no\n"
	"S 554 5.7.1 service\n"
	"E failed 554 5.7.1 no service\n"
	"O quit\n"
	"C QUIT\n"
	"T 10 QUIT\n"
	"S 221 bye\n"
	"T 0\n"
	"O lost connection lost\n",

	"# greeting: 450\n"
	"S 450 later\n"
	"E failed 450 0.0.0 later\n"
	"O lost connection lost\n",

	"# greeting: 421\n"
	"S 421 busy\n"
	"E failed 421 0.0.0 busy\n"
	"O lost connection lost\n"
	"S 220 mx\n",

	"# greeting: 354\n"
	"S 354 go\n"
	"E failed 0 4.5.0 protocol error: server said \"354 go\" in reply to initial greeting\n",

	"# lost before the greeting\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while receiving the initial server greeting\n"
	"O lost again\n"
	"O quit\n",

	"# lost after EHLO\n"
	"+ HELLO\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while performing the EHLO handshake\n",

	"# lost while idle\n"
	"+ STEPWISE\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx\n",

	"# quit\n"
	"+ STEPWISE\n"
	"O quit\n"
	"C QUIT\n"
	"O quit\n"
	"O lost connection lost\n"
	"O quit\n",

	"# what was there before QUIT is no reply to it\n"
	"! one piece\n"
	"W ready quit\n"
	"+ HELLO\n"
	"S 250 mx\n"
	"S 250 Ok\n"
	"E ready esmtp\n"
	"C QUIT\n"
	"T 10 QUIT\n",

	"# quit, 421\n"
	"+ STEPWISE\n"
	"O quit\n"
	"C QUIT\n"
	"S 421 bye\n",

	"# quit, nonsense\n"
	"+ STEPWISE\n"
	"O quit\n"
	"C QUIT\n"
	"S good bye\n",

	"# quit crosses a time-out\n"
	"+ STEPWISE\n"
	"O quit\n"
	"C QUIT\n"
	"S 421 idle too long\n"
	"S 221 bye\n",

	"# replies to QUIT that make no sense\n"
	"+ STEPWISE\n"
	"O quit\n"
	"C QUIT\n"
	"S 354 go on\n",

	"# rset as a probe\n"
	"+ STEPWISE\n"
	"O rset\n"
	"C RSET\n"
	"T 20 RSET\n"
	"S 250 flushed\n"
	"E ready esmtp\n",

	"# rset refused: the mail that waits is not\n"
	"+ STEPWISE\n"
	"O rset\n"
	"C RSET\n"
	"S 502 5.5.1 no\n"
	"E failed 0 4.5.0 protocol error: server said \"502 no\" in reply to RSET\n",

	"# rset, connection gone\n"
	"+ STEPWISE\n"
	"O rset\n"
	"C RSET\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while sending RSET\n",

	"# asked for inside of events\n"
	"W ready quit\n"
	"+ HELLO\n"
	"S 250 mx\n"
	"E ready esmtp\n"
	"C QUIT\n",

	"# LMTP\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"T 300 LHLO\n"
	"S 250 mx\n"
	"E ready esmtp\n",

	"# LHLO refused\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"S 500 what?\n"
	"E failed 500 0.0.0 what?\n",
};

static const char *const starttls[] = {
	"# accepted; capabilities are learned anew\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-AUTH PLAIN\n"
	"S 250-PIPELINING\n"
	"S 250 STARTTLS\n"
	"E ready esmtp starttls pipelining auth=PLAIN\n"
	"O starttls\n"
	"C STARTTLS\n"
	"T 300 STARTTLS\n"
	"S 220 2.0.0 go\n"
	"E starttls\n"
	"T 300 TLS handshake\n"
	"O secured\n"
	"C EHLO us.example\n"
	"S 250-mx\n"
	"S 250 DSN\n"
	"E ready esmtp dsn\n",

	"# HELO again within TLS\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 STARTTLS\n"
	"E ready esmtp starttls\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 220 go\n"
	"E starttls\n"
	"O secured\n"
	"C EHLO us.example\n"
	"S 500 what?\n"
	"C HELO us.example\n"
	"S 250 mx\n"
	"E ready\n",

	"# what is injected behind it is dropped\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 STARTTLS\n"
	"E ready esmtp starttls\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 220 go\n"
	"S 250-mx\n"
	"S 250 AUTH LOGIN\n"
	"E starttls\n"
	"O secured\n"
	"C EHLO us.example\n"
	"S 250 mx\n"
	"E ready esmtp\n",

	"# refused for now\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 STARTTLS\n"
	"E ready esmtp starttls\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 454 4.7.0 no TLS today\n"
	"E starttls-refused 454 4.7.0 no TLS today\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n",

	"# refused for good\n"
	"+ STEPWISE\n"
	"W starttls-refused quit\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 502 what?\n"
	"E starttls-refused 502 0.0.0 what?\n"
	"C QUIT\n",

	"# 421\n"
	"+ STEPWISE\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 421 no\n"
	"E failed 421 0.0.0 no\n",

	"# 3xx\n"
	"+ STEPWISE\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 334 go\n"
	"E failed 0 4.5.0 protocol error: server said \"334 go\" in reply to STARTTLS\n",

	"# lost in the handshake\n"
	"+ STEPWISE\n"
	"O starttls\n"
	"C STARTTLS\n"
	"S 220 go\n"
	"E starttls\n"
	"O lost lost connection with mx\n"
	"E failed 0 4.4.2 lost connection with mx while performing the TLS handshake\n",
};

static const char *const trouble[] = {
	"# 421 to MAIL\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 421 4.3.2 closing\n"
	"E broken envelope\n"
	"E failed 421 4.3.2 closing\n"
	"S 421 4.3.2 closing\n",

	"# 421 to a RCPT covers those without a status\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 421 4.3.2 closing\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E broken envelope\n"
	"E failed 421 4.3.2 closing\n",

	"# 421 to DATA\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 421 4.3.2 closing\n"
	"E broken envelope\n"
	"E failed 421 4.3.2 closing\n",

	"# 421 after the data\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 421 4.3.2 closing\n"
	"E broken message\n"
	"E failed 421 4.3.2 closing\n",

	"# 421 in the middle of the message\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E body-wanted\n"
	"O body hi|\n"
	"C hi\n"
	"S 421 4.4.2 too slow\n"
	"E broken message\n"
	"E failed 421 4.4.2 too slow\n"
	"O body more|\n"
	"O end\n"
	"O quit\n",

	"# refused in the middle of the message\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E body-wanted\n"
	"O body hi|\n"
	"C hi\n"
	"S 552 5.3.4 too big\n"
	"E broken message\n"
	"E failed 552 5.3.4 too big\n"
	"O end\n",

	"# accepted in the middle of the message: it was not\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E body-wanted\n"
	"O body hi|\n"
	"C hi\n"
	"S 250 taken\n"
	"E broken message\n"
	"E failed 0 4.5.0 protocol error: server said \"250 taken\" unasked\n",

	"# accepted before it was sent\n"
	"! one piece\n"
	"W body-wanted end\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"S 250 taken\n"
	"E body-wanted\n"
	"C .\n"
	"E broken message\n"
	"E failed 0 4.5.0 protocol error: server said \"250 taken\" unasked -- message may be sent "
	"more than once\n",

	"# a reply to MAIL that was there before it\n"
	"! one piece\n"
	"W ready mail s@x a@y\n"
	"+ HELLO\n"
	"S 250 mx\n"
	"S 250 Ok\n"
	"E ready esmtp\n"
	"C MAIL FROM:<s@x>\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"250 Ok\" unasked\n",

	"# 421 while idle\n"
	"+ STEPWISE\n"
	"S 421 4.4.2 idle too long\n"
	"E failed 421 4.4.2 idle too long\n"
	"O lost connection lost\n",

	"# 451 while idle\n"
	"+ STEPWISE\n"
	"S 451 4.4.2 idle too long\n"
	"E failed 451 4.4.2 idle too long\n",

	"# 5xx while idle is about no mail of ours\n"
	"+ STEPWISE\n"
	"S 554 5.3.0 go away\n"
	"E failed 0 4.5.0 protocol error: server said \"554 go away\" unasked\n",

	"# 250 while idle\n"
	"+ STEPWISE\n"
	"S 250 2.0.0 for you\n"
	"E failed 0 4.5.0 protocol error: server said \"250 for you\" unasked\n",

	"# the server takes MAIL for DATA: 250\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"250 Ok\" in reply to DATA\n",

	"# 354 to RCPT\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"354 go\" in reply to RCPT TO\n",

	"# 354 after the data\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 354 again\n"
	"E broken message\n"
	"E failed 0 4.5.0 protocol error: server said \"354 again\" in reply to end of data -- "
	"message may be sent more than once\n",

	"# lost after MAIL\n"
	"+ STEPWISE\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"O lost conversation with mx timed out\n"
	"E broken envelope\n"
	"E failed 0 4.4.2 conversation with mx timed out while sending MAIL FROM\n",

	"# lost among the recipients\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"O lost lost connection with mx\n"
	"E broken envelope\n"
	"E failed 0 4.4.2 lost connection with mx while sending RCPT TO\n",

	"# lost before the reply to DATA\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"O lost lost connection with mx\n"
	"E broken envelope\n"
	"E failed 0 4.4.2 lost connection with mx while sending DATA command\n",

	"# lost in the message\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E body-wanted\n"
	"O lost lost connection with mx\n"
	"E broken message\n"
	"E failed 0 4.4.2 lost connection with mx while sending message body\n"
	"O body hi|\n"
	"O end\n",

	"# lost before the last reply\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"O lost lost connection with mx\n"
	"E broken message\n"
	"E failed 0 4.4.2 lost connection with mx while sending end of data -- message may be sent "
	"more than once\n",

	"# limits of our own\n"
	"! limits\n"
	"T 1 initial greeting\n"
	"S 220 mx\n"
	"C EHLO us.example\n"
	"T 1 EHLO\n"
	"S 250-mx\n"
	"S 250 STARTTLS\n"
	"E ready esmtp starttls\n"
	"O rset\n"
	"C RSET\n"
	"T 8 RSET\n"
	"S 250 Ok\n"
	"E ready esmtp starttls\n"
	"O starttls\n"
	"C STARTTLS\n"
	"T 2 STARTTLS\n"
	"S 220 go\n"
	"E starttls\n"
	"T 2 TLS handshake\n"
	"O secured\n"
	"C EHLO us.example\n"
	"S 250 mx\n"
	"E ready esmtp\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"T 3 MAIL FROM\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"T 4 RCPT TO\n"
	"S 250 Ok\n"
	"C DATA\n"
	"T 5 DATA\n"
	"S 354 go\n"
	"E body-wanted\n"
	"T 6 message body\n"
	"O body hi|\n"
	"O end\n"
	"C hi\n"
	"C .\n"
	"T 7 end of data\n"
	"S 250 Ok\n"
	"E rcpt 0 250 0.0.0 Ok (end of data)\n"
	"E done\n"
	"O quit\n"
	"C QUIT\n"
	"T 9 QUIT\n",

	"# no SMTP at all\n"
	"! one piece\n"
	"S HTTP/1.1 400 Bad Request\n"
	"E failed 0 4.5.0 server said something that is no SMTP: HTTP/1.1 400 Bad Request (a web "
	"server?)\n",

	"# no SMTP in a transaction\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S ?\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 server said something that is no SMTP: ?\n",
};

static void test_hello(void **state)
{
	(void)state;
	play_all(hello, ARRAY_SIZE(hello));
}

static void test_starttls(void **state)
{
	(void)state;
	play_all(starttls, ARRAY_SIZE(starttls));
}

static void test_trouble(void **state)
{
	(void)state;
	play_all(trouble, ARRAY_SIZE(trouble));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hello),
		cmocka_unit_test(test_starttls),
		cmocka_unit_test(test_trouble),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
