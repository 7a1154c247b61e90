/* test_client_mail - mail transactions, pipelined and step by step, and with LMTP */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/test_client_play.h"

static const char *const pipelined[] = {
	"# one recipient\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"T 300 MAIL FROM\n"
	"S 250 2.1.0 Ok\n"
	"T 300 RCPT TO\n"
	"S 250 2.1.5 Ok\n"
	"T 120 DATA\n"
	"S 354 go on\n"
	"E body-wanted\n"
	"T 180 message body\n"
	"O body Subject: x||.dot|..|\n"
	"C Subject: x\n"
	"C \n"
	"C ..dot\n"
	"C ...\n"
	"O body no end of li\n"
	"O body ne\n"
	"O end\n"
	"C no end of line\n"
	"C .\n"
	"T 600 end of data\n"
	"S 250 2.0.0 Ok: queued as 4KZ91C2M\n"
	"E rcpt 0 250 2.0.0 Ok: queued as 4KZ91C2M (end of data)\n"
	"E done\n"
	"T 0\n",

	"# replies at once, the message inside of the event\n"
	"W body-wanted end\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 251 Ok\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"E body-wanted\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E rcpt 1 250 0.0.0 taken (end of data)\n"
	"E done\n",

	"# one transaction behind another\n"
	"W body-wanted end\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"E body-wanted\n"
	"C .\n"
	"W done mail s2@x b@y\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E done\n"
	"C MAIL FROM:<s2@x>\n"
	"C RCPT TO:<b@y>\n"
	"C DATA\n"
	"W body-wanted end\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"E body-wanted\n"
	"C .\n"
	"S 250 taken too\n"
	"E rcpt 0 250 0.0.0 taken too (end of data)\n"
	"E done\n",

	"# MAIL refused: what was sent ahead is answered and forgotten\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 550 5.7.1 not you\n"
	"E rcpt 0 550 5.7.1 not you (MAIL FROM)\n"
	"E rcpt 1 550 5.7.1 not you (MAIL FROM)\n"
	"T 300 RCPT TO\n"
	"S 503 5.5.1 need MAIL\n"
	"S 503 5.5.1 need MAIL\n"
	"T 120 DATA\n"
	"S 503 5.5.1 need RCPT\n"
	"E done\n"
	"+ MAIL\n",

	"# MAIL deferred, yet DATA gets 354\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 451 4.3.0 later\n"
	"S 503 no\n"
	"S 354 go\n"
	"E rcpt 0 451 4.3.0 later (MAIL FROM)\n"
	"C .\n"
	"S 554 nothing there\n"
	"E done\n",

	"# MAIL refused, yet RCPT and DATA are accepted: nobody gets an empty message\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 451 4.3.0 later\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E rcpt 0 451 4.3.0 later (MAIL FROM)\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"354 go\" in reply to DATA\n",

	"# every RCPT refused, DATA too; then RSET goes ahead\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"S 450 4.2.1 wait\n"
	"E rcpt 1 450 4.2.1 wait (RCPT TO)\n"
	"S 554 5.5.1 no valid recipients\n"
	"E done\n"
	"T 0\n"
	"+ RSET_MAIL\n"
	"S 250 flushed\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E done\n"
	"+ MAIL\n",

	"# every RCPT refused, DATA gets 354: an empty message to nobody\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 354 go on\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"C .\n"
	"T 600 end of data\n"
	"S 554 5.5.1 no valid recipients\n"
	"E done\n"
	"+ MAIL\n",

	"# the same, and the server takes it\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 354 go on\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"C .\n"
	"S 250 taken\n"
	"E done\n",

	"# the same, and then 421\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 354 go on\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"C .\n"
	"S 421 bye\n"
	"E broken envelope\n"
	"E failed 421 0.0.0 bye\n",

	"# some RCPT refused\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 1 250 0.0.0 taken (end of data)\n"
	"E done\n"
	"+ MAIL\n",

	"# DATA refused\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 250 Ok\n"
	"S 451 4.3.0 no room\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E rcpt 1 451 4.3.0 no room (DATA)\n"
	"E done\n"
	"+ RSET_MAIL\n",

	"# RSET refused: the message behind it is only deferred\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 554 no valid recipients\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E done\n"
	"+ RSET_MAIL\n"
	"S 500 what?\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"500 what?\" in reply to RSET\n",

	"# a probe by RSET makes the other unnecessary\n"
	"+ PIPELINING\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 554 no valid recipients\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E done\n"
	"O rset\n"
	"C RSET\n"
	"S 250 flushed\n"
	"E ready esmtp pipelining\n"
	"+ MAIL\n",

	"# 4xx after the data\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go on\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 452 4.3.1 full\n"
	"E rcpt 0 452 4.3.1 full (end of data)\n"
	"E rcpt 1 452 4.3.1 full (end of data)\n"
	"E done\n"
	"+ MAIL\n",

	"# 5xx after the data\n"
	"+ PIPELINING\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 452 4.5.3 too many\n"
	"S 354 go on\n"
	"E rcpt 1 452 4.5.3 too many (RCPT TO)\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 554-5.7.1 this is\n"
	"S 554 5.7.1 spam\n"
	"E rcpt 0 554 5.7.1 this is spam (end of data)\n"
	"E done\n"
	"+ MAIL\n",
};

static const char *const stepwise[] = {
	"# two recipients\n"
	"+ STEPWISE\n"
	"O mail <> a@y b@y\n"
	"C MAIL FROM:<>\n"
	"T 300 MAIL FROM\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"C RCPT TO:<b@y>\n"
	"T 300 RCPT TO\n"
	"S 450 4.2.0 wait\n"
	"E rcpt 1 450 4.2.0 wait (RCPT TO)\n"
	"C DATA\n"
	"T 120 DATA\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E done\n",

	"# the option\n"
	"! no pipelining\n"
	"+ PIPELINING\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n",

	"# MAIL refused: nothing is owed\n"
	"+ STEPWISE\n"
	"O mail s@x a@y b@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 550 5.7.1 not you\n"
	"E rcpt 0 550 5.7.1 not you (MAIL FROM)\n"
	"E rcpt 1 550 5.7.1 not you (MAIL FROM)\n"
	"E done\n"
	"O mail s2@x a@y\n"
	"C MAIL FROM:<s2@x>\n",

	"# every RCPT refused: no DATA, and RSET before the next\n"
	"+ STEPWISE\n"
	"O mail s@x a@y b@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"C RCPT TO:<b@y>\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 1 550 5.1.1 who? (RCPT TO)\n"
	"E done\n"
	"O mail s2@x a@y\n"
	"C RSET\n"
	"S 250 flushed\n"
	"C MAIL FROM:<s2@x>\n",

	"# DATA refused\n"
	"+ STEPWISE\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"C DATA\n"
	"S 554 5.3.0 no\n"
	"E rcpt 0 554 5.3.0 no (DATA)\n"
	"E done\n"
	"O mail s2@x a@y\n"
	"C RSET\n",

	"# quit needs no RSET\n"
	"+ STEPWISE\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"W done quit\n"
	"C RCPT TO:<a@y>\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E done\n"
	"C QUIT\n",
};

#define NO_BINARY                                                                                  \
	"554 5.6.1 not sent: the message is binary (BODY=BINARYMIME), and the server does not "    \
	"take that ()\n"

static const char *const parameters[] = {
	"# all\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-SIZE 1000\n"
	"S 250 8BITMIME\n"
	"E ready esmtp 8bitmime size=1000\n"
	"O mail s@x a@y size=1000 8bit\n"
	"C MAIL FROM:<s@x> SIZE=1000 BODY=8BITMIME\n",

	"# REQUIRETLS\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 REQUIRETLS\n"
	"E ready esmtp requiretls\n"
	"O mail s@x a@y requiretls\n"
	"C MAIL FROM:<s@x> REQUIRETLS\n",

	"# REQUIRETLS where there is none\n"
	"+ STEPWISE\n"
	"O mail s@x a@y requiretls\n"
	"E rcpt 0 550 5.7.30 not sent: the sender requires TLS all the way (REQUIRETLS), and the "
	"server does not offer it ()\n"
	"E done\n",

	"# the report goes on, as good as can be\n"
	"+ STEPWISE\n"
	"O mail <> a@y requiretls\n"
	"C MAIL FROM:<>\n",

	"# binary\n"
	"+ STEPWISE\n"
	"O mail s@x a@y b@y binary\n"
	"E rcpt 0 " NO_BINARY "E rcpt 1 " NO_BINARY "E done\n",

	"# unknown size, 7-bit\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-SIZE 1000\n"
	"S 250 8BITMIME\n"
	"E ready esmtp 8bitmime size=1000\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n",

	"# SIZE without a limit\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 SIZE 0\n"
	"E ready esmtp size=0\n"
	"O mail s@x a@y size=123456789012\n"
	"C MAIL FROM:<s@x> SIZE=123456789012\n",

	"# not offered: sent as it is\n"
	"+ STEPWISE\n"
	"O mail s@x a@y size=1000 8bit\n"
	"C MAIL FROM:<s@x>\n",

	"# too large: no transaction, also not for the next one\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 SIZE 1000\n"
	"E ready esmtp size=1000\n"
	"W done mail s@x c@y size=1002\n"
	"O mail s@x a@y b@y size=1001\n"
	"E rcpt 0 552 5.3.4 not sent: message size 1001 exceeds the limit 1000 that the server "
	"announced ()\n"
	"E rcpt 1 552 5.3.4 not sent: message size 1001 exceeds the limit 1000 that the server "
	"announced ()\n"
	"E done\n"
	"E rcpt 0 552 5.3.4 not sent: message size 1002 exceeds the limit 1000 that the server "
	"announced ()\n"
	"E done\n"
	"O mail s@x a@y size=1\n"
	"C MAIL FROM:<s@x> SIZE=1\n",

	"# control byte in the sender\n"
	"+ PIPELINING\n"
	"O mail s\r@x a@y b@y\n"
	"E rcpt 0 553 5.1.7 not sent: malformed sender address ()\n"
	"E rcpt 1 553 5.1.7 not sent: malformed sender address ()\n"
	"E done\n",

	"# bad recipients among good ones\n"
	"+ PIPELINING\n"
	"O mail s@x a\r@y b@y c\x7f@y d@y e>@y \"f>\"@y \"g@y\n"
	"E rcpt 0 553 5.1.3 not sent: malformed recipient address ()\n"
	"E rcpt 2 553 5.1.3 not sent: malformed recipient address ()\n"
	"E rcpt 4 553 5.1.3 not sent: malformed recipient address ()\n"
	"E rcpt 6 553 5.1.3 not sent: malformed recipient address ()\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<b@y>\n"
	"C RCPT TO:<d@y>\n"
	"C RCPT TO:<\"f>\"@y>\n"
	"C DATA\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 550 no\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E rcpt 3 550 0.0.0 no (RCPT TO)\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 taken\n"
	"E rcpt 1 250 0.0.0 taken (end of data)\n"
	"E rcpt 5 250 0.0.0 taken (end of data)\n"
	"E done\n",

	"# only bad recipients\n"
	"+ STEPWISE\n"
	"O mail s@x a\x01@y\n"
	"E rcpt 0 553 5.1.3 not sent: malformed recipient address ()\n"
	"E done\n",
};

#define U	"\303\274"
#define NO_UTF8 "553 5.6.7 not sent: SMTPUTF8 is required, and the server does not offer it ()\n"

static const char *const notifications[] = {
	"# passed on\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-PIPELINING\n"
	"S 250 DSN\n"
	"E ready esmtp pipelining dsn\n"
	"O mail s@x a@y notify=1 b@y notify=14 orcpt=rfc822;B+b@z c@y envid=Q=1 ret=hdrs\n"
	"C MAIL FROM:<s@x> RET=HDRS ENVID=Q+3D1\n"
	"C RCPT TO:<a@y> NOTIFY=NEVER\n"
	"C RCPT TO:<b@y> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;B+2Bb@z\n"
	"C RCPT TO:<c@y>\n"
	"C DATA\n",

	"# in full, and an original in UTF-8 written in ASCII\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 DSN\n"
	"E ready esmtp dsn\n"
	"O mail s@x a@y orcpt=utf-8;m" U "@z ret=full\n"
	"C MAIL FROM:<s@x> RET=FULL\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y> ORCPT=utf-8;m\\x{FC}@z\n",

	"# an original without a type is no original\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 DSN\n"
	"E ready esmtp dsn\n"
	"O mail s@x a@y orcpt=a@z\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n",

	"# not offered\n"
	"+ STEPWISE\n"
	"O mail s@x a@y notify=2 orcpt=rfc822;a@z envid=Q ret=hdrs\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n",
};

static const char *const utf8[] = {
	"# said where it is needed\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-8BITMIME\n"
	"S 250 SMTPUTF8\n"
	"E ready esmtp 8bitmime smtputf8\n"
	"W done mail s@x b@y\n"
	"O mail s@x m" U "@y 8bit\n"
	"C MAIL FROM:<s@x> BODY=8BITMIME SMTPUTF8\n"
	"S 250 Ok\n"
	"C RCPT TO:<m" U "@y>\n"
	"S 550 5.1.1 no\n"
	"E rcpt 0 550 5.1.1 no (RCPT TO)\n"
	"E done\n"
	"C RSET\n"
	"S 250 Ok\n"
	"C MAIL FROM:<s@x>\n",

	"# for the sender, for the header\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 SMTPUTF8\n"
	"E ready esmtp smtputf8\n"
	"W done mail s@x b@y utf8\n"
	"O mail m" U "@x b@y\n"
	"C MAIL FROM:<m" U "@x> SMTPUTF8\n"
	"S 550 no\n"
	"E rcpt 0 550 0.0.0 no (MAIL FROM)\n"
	"E done\n"
	"C MAIL FROM:<s@x> SMTPUTF8\n",

	"# not offered, and the header needs it\n"
	"+ STEPWISE\n"
	"W done mail m" U "@x b@y\n"
	"O mail s@x a@y b@y utf8\n"
	"E rcpt 0 " NO_UTF8 "E rcpt 1 " NO_UTF8 "E done\n"
	"E rcpt 0 " NO_UTF8 "E done\n",

	"# not offered, and some recipients do without\n"
	"+ PIPELINING\n"
	"O mail s@x a@y m" U "@y b@m" U "\n"
	"E rcpt 1 " NO_UTF8 "E rcpt 2 " NO_UTF8 "C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C DATA\n",
};

static const char *const lmtp[] = {
	"# one reply for each accepted recipient\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"S 250-mx\n"
	"S 250 PIPELINING\n"
	"E ready esmtp pipelining\n"
	"O mail s@x a@y b@y c@y d@y\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C RCPT TO:<b@y>\n"
	"C RCPT TO:<c@y>\n"
	"C RCPT TO:<d@y>\n"
	"C DATA\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"E rcpt 1 550 5.1.1 who? (RCPT TO)\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 2.0.0 stored\n"
	"E rcpt 0 250 2.0.0 stored (end of data)\n"
	"T 600 end of data\n"
	"S 452 4.2.2 over quota\n"
	"S 550 5.2.1 disabled\n"
	"E rcpt 2 452 4.2.2 over quota (end of data)\n"
	"E rcpt 3 550 5.2.1 disabled (end of data)\n"
	"E done\n"
	"+ MAIL\n",

	"# lost between the replies\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"S 250-mx\n"
	"S 250 PIPELINING\n"
	"E ready esmtp pipelining\n"
	"+ MAIL2\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"S 354 go\n"
	"+ BODY\n"
	"C hi\n"
	"C .\n"
	"S 250 2.0.0 stored\n"
	"E rcpt 0 250 2.0.0 stored (end of data)\n"
	"O lost lost connection with mx\n"
	"E broken message\n"
	"E failed 0 4.4.2 lost connection with mx while sending end of data -- message may be sent "
	"more than once\n",

	"# 354 without a recipient\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"S 250-mx\n"
	"S 250 PIPELINING\n"
	"E ready esmtp pipelining\n"
	"+ MAIL\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"S 354 go\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"354 go\" in reply to DATA\n",
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

static void test_parameters(void **state)
{
	(void)state;
	play_all(parameters, ARRAY_SIZE(parameters));
}

static void test_notifications(void **state)
{
	(void)state;
	play_all(notifications, ARRAY_SIZE(notifications));
}

static void test_utf8(void **state)
{
	(void)state;
	play_all(utf8, ARRAY_SIZE(utf8));
}

static void test_lmtp(void **state)
{
	(void)state;
	play_all(lmtp, ARRAY_SIZE(lmtp));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pipelined),  cmocka_unit_test(test_stepwise),
		cmocka_unit_test(test_parameters), cmocka_unit_test(test_notifications),
		cmocka_unit_test(test_utf8),	   cmocka_unit_test(test_lmtp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
