/* test_client_ahead - several transactions in flight, by BDAT and behind the final dot */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/macros.h"
#include "smtp/test_client_play.h"

/* A transaction of one recipient in one flight; RESET: behind one that has no answer yet. */
#define FLIGHT(tag, reset)                                                                         \
	"W body-wanted last hi|\n"                                                                 \
	"O mail s" tag "@x a@y tag=" tag "\n"                                                      \
	"E " tag " body-wanted\n" reset "C MAIL FROM:<s" tag "@x>\n"                               \
	"C RCPT TO:<a@y>\n"                                                                        \
	"C BDAT 4 LAST\n"                                                                          \
	"C hi\n"
#define RESET "C RSET\n"

/* The same with two recipients. */
#define FLIGHT2(tag, reset)                                                                        \
	"W body-wanted last hi|\n"                                                                 \
	"O mail s" tag "@x a@y b@y tag=" tag "\n"                                                  \
	"E " tag " body-wanted\n" reset "C MAIL FROM:<s" tag "@x>\n"                               \
	"C RCPT TO:<a@y>\n"                                                                        \
	"C RCPT TO:<b@y>\n"                                                                        \
	"C BDAT 4 LAST\n"                                                                          \
	"C hi\n"

#define TAKEN(tag, reply) "E " tag " rcpt 0 250 0.0.0 " reply " (end of data)\nE " tag " done\n"

static const char *const chunking[] = {
	"# one message in one flight, nothing is left open\n"
	"+ CHUNKING\n" FLIGHT("A", "") "T 300 MAIL FROM\n"
				       "O room yes\n"
				       "S 250 Ok\n"
				       "S 250 Ok\n"
				       "T 600 end of data\n"
				       "S 250 taken\n" TAKEN("A", "taken") "T 0\n" FLIGHT("B", ""),

	"# three behind each other: to each its own reply\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT2("B", RESET) FLIGHT(
		"C", RESET) "S 250 Ok\n"
			    "S 250 Ok\n"
			    "S 250 taken A\n"
			    "S 250 reset\n"
			    "S 250 Ok\n"
			    "S 550 5.1.1 who?\n"
			    "S 250 Ok\n"
			    "S 250 taken B\n"
			    "S 250 reset\n"
			    "S 250 Ok\n"
			    "S 250 Ok\n"
			    "S 452 4.3.1 full\n" TAKEN(
				    "A", "taken A") "E B rcpt 0 550 5.1.1 who? (RCPT TO)\n"
						    "E B rcpt 1 250 0.0.0 taken B (end of data)\n"
						    "E B done\n"
						    "E C rcpt 0 452 4.3.1 full (end of data)\n"
						    "E C done\n" FLIGHT("D", RESET),

	"# MAIL refused: what was sent ahead is answered and forgotten\n"
	"+ CHUNKING\n" FLIGHT("A", "")
		FLIGHT("B", RESET) "S 550 5.7.1 not you\n"
				   "E A rcpt 0 550 5.7.1 not you (MAIL FROM)\n"
				   "S 503 need MAIL\n"
				   "S 503 need MAIL\n"
				   "E A done\n"
				   "S 250 reset\n"
				   "S 250 Ok\n"
				   "S 250 Ok\n"
				   "S 250 taken\n" TAKEN("B", "taken"),

	"# every RCPT refused\n"
	"+ CHUNKING\n" FLIGHT2("A", "") FLIGHT("B", RESET) "S 250 Ok\n"
							   "S 550 5.1.1 who?\n"
							   "S 450 4.2.1 wait\n"
							   "S 554 5.5.1 no valid recipients\n"
							   "E A rcpt 0 550 5.1.1 who? (RCPT TO)\n"
							   "E A rcpt 1 450 4.2.1 wait (RCPT TO)\n"
							   "E A done\n"
							   "S 250 reset\n"
							   "S 250 Ok\n"
							   "S 250 Ok\n"
							   "S 250 taken\n" TAKEN("B", "taken"),

	"# every RCPT refused, and nobody gets what is taken\n"
	"+ CHUNKING\n" FLIGHT("A", "") "S 250 Ok\n"
				       "S 550 5.1.1 who?\n"
				       "S 250 taken\n"
				       "E A rcpt 0 550 5.1.1 who? (RCPT TO)\n"
				       "E A done\n",

	"# the message refused: the server may still be in the transaction\n"
	"+ CHUNKING\n" FLIGHT2("A", "") "S 250 Ok\n"
					"S 250 Ok\n"
					"S 250 Ok\n"
					"S 554 5.6.0 no\n"
					"E A rcpt 0 554 5.6.0 no (end of data)\n"
					"E A rcpt 1 554 5.6.0 no (end of data)\n"
					"E A done\n" FLIGHT("B", RESET),

	"# MAIL refused, yet RCPT and the message are taken: this is no SMTP\n"
	"+ CHUNKING\n" FLIGHT("A", "") "S 451 4.3.0 later\n"
				       "S 250 Ok\n"
				       "S 250 taken\n"
				       "E A rcpt 0 451 4.3.0 later (MAIL FROM)\n"
				       "E A broken message\n"
				       "E failed 0 4.5.0 protocol error: server said \"250 taken\" "
				       "in reply to end of data -- "
				       "message may be sent more than once\n",

	"# RSET refused: the one behind it is only deferred\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT("B", RESET) FLIGHT(
		"C", RESET) "S 250 Ok\n"
			    "S 250 Ok\n"
			    "S 250 taken\n" TAKEN(
				    "A", "taken") "S 500 what?\n"
						  "E B broken message\n"
						  "E C broken message\n"
						  "E failed 0 4.5.0 protocol error: server said "
						  "\"500 what?\" in reply to RSET -- message "
						  "may be sent more than once\n",

	"# 354 instead of the reply to BDAT\n"
	"+ CHUNKING\n" FLIGHT("A", "") "S 250 Ok\n"
				       "S 250 Ok\n"
				       "S 354 go\n"
				       "E A broken message\n"
				       "E failed 0 4.5.0 protocol error: server said \"354 go\" in "
				       "reply to end of data -- "
				       "message may be sent more than once\n",

	"# no SMTP any more\n"
	"! one piece\n"
	"+ CHUNKING\n" FLIGHT("A", "")
		FLIGHT("B", RESET) "S 250 Ok\n"
				   "S hello\n"
				   "E A broken message\n"
				   "E B broken message\n"
				   "E failed 0 4.5.0 server said something that is no SMTP: hello "
				   "-- message may be sent more "
				   "than once\n",

	"# empty\n"
	"+ CHUNKING\n"
	"W body-wanted end\n"
	"O mail s@x a@y\n"
	"E body-wanted\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C BDAT 0 LAST\n",

	"# dots and what is no line are sent as they are\n"
	"+ CHUNKING\n"
	"W body-wanted last .|..|.x|\n"
	"O mail s@x a@y\n"
	"E body-wanted\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C BDAT 11 LAST\n"
	"C .\n"
	"C ..\n"
	"C .x\n",
};

/* The session ends: whose message can the server have, and whose not? */
static const char *const ends[] = {
	"# 421 to MAIL: it has read no further\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT("B", RESET)
		FLIGHT("C", RESET) "S 421 4.7.0 enough\n"
				   "E A broken envelope\n"
				   "E B broken behind\n"
				   "E C broken behind\n"
				   "E failed 421 4.7.0 enough\n",

	"# 421 to RCPT of the second\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT("B", RESET)
		FLIGHT("C", RESET) "S 250 Ok\n"
				   "S 250 Ok\n"
				   "S 250 taken\n"
				   "S 250 reset\n"
				   "S 250 Ok\n"
				   "S 421 4.7.0 enough\n" TAKEN(
					   "A", "taken") "E B broken envelope\n"
							 "E C broken behind\n"
							 "E failed 421 4.7.0 enough\n",

	"# 421 to RSET\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT(
		"B", RESET) "S 250 Ok\n"
			    "S 250 Ok\n"
			    "S 250 taken\n" TAKEN("A", "taken") "S 421 4.7.0 enough\n"
								"E B broken envelope\n"
								"E failed 421 4.7.0 enough\n",

	"# 421 to the message\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT("B", RESET) "S 250 Ok\n"
							  "S 250 Ok\n"
							  "S 421 4.3.2 going\n"
							  "E A broken message\n"
							  "E B broken behind\n"
							  "E failed 421 4.3.2 going\n",

	"# lost before any reply: all that was sent may have been taken\n"
	"+ CHUNKING\n" FLIGHT("A", "")
		FLIGHT("B", RESET) "W body-wanted body hi|\n"
				   "O mail s@x a@y tag=C\n"
				   "E C body-wanted\n"
				   "C RSET\n"
				   "C MAIL FROM:<s@x>\n"
				   "C RCPT TO:<a@y>\n"
				   "C BDAT 4\n"
				   "C hi\n"
				   "O lost lost connection with mx\n"
				   "E A broken message\n"
				   "E B broken message\n"
				   "E C broken behind\n"
				   "E failed 0 4.4.2 lost connection with mx while sending end of "
				   "data -- message may be sent "
				   "more than once\n",

	"# lost between the messages\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT(
		"B", RESET) "S 250 Ok\n"
			    "S 250 Ok\n"
			    "S 250 taken\n" TAKEN(
				    "A", "taken") "S 250 reset\n"
						  "O lost lost connection with mx\n"
						  "E B broken message\n"
						  "E failed 0 4.4.2 lost connection with mx while "
						  "sending end of data -- message may be sent "
						  "more than once\n",

	"# lost before the message was sent\n"
	"+ CHUNKING\n"
	"O mail s@x a@y tag=A careful\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"O room no\n"
	"O lost lost connection with mx\n"
	"E A broken envelope\n"
	"E failed 0 4.4.2 lost connection with mx while sending MAIL FROM\n",

	"# a reply too many\n"
	"+ CHUNKING\n" FLIGHT(
		"A", "") "S 250 Ok\n"
			 "S 250 Ok\n"
			 "S 250 taken\n"
			 "S 250 taken\n" TAKEN(
				 "A", "taken") "E failed 0 4.5.0 protocol error: server said "
					       "\"250 taken\" unasked\n",

	"# a reply too early is not taken for that of what is asked inside of an event\n"
	"! one piece\n"
	"+ CHUNKING\n" FLIGHT("A", "") "W done mail s@x b@y tag=B careful\n"
				       "S 250 Ok\n"
				       "S 250 Ok\n"
				       "S 250 taken\n"
				       "S 250 Ok\n"
				       "S 250 Ok\n" TAKEN(
					       "A", "taken") "C MAIL FROM:<s@x>\n"
							     "C RCPT TO:<b@y>\n"
							     "E B broken envelope\n"
							     "E failed 0 4.5.0 protocol error: "
							     "server said \"250 Ok\" unasked\n",

	"# nor is a refusal that came too early taken for one of the message that is on its way\n"
	"! one piece\n"
	"+ CHUNKING\n" FLIGHT("A", "") "W done mail s@x b@y tag=B\n"
				       "S 250 Ok\n"
				       "S 250 Ok\n"
				       "S 250 taken\n"
				       "S 554 5.7.1 no\n" TAKEN(
					       "A", "taken") "E B body-wanted\n"
							     "C MAIL FROM:<s@x>\n"
							     "C RCPT TO:<b@y>\n"
							     "E B broken envelope\n"
							     "E failed 0 4.5.0 protocol error: "
							     "server said \"554 no\" unasked\n",

	"# nor while another is on\n"
	"! one piece\n"
	"+ CHUNKING\n" FLIGHT("A", "") FLIGHT("B", RESET) "W done mail s@x b@y tag=C careful\n"
							  "S 250 Ok\n"
							  "S 250 Ok\n"
							  "S 250 taken\n"
							  "S 250 reset\n"
							  "S 250 Ok\n"
							  "S 250 Ok\n"
							  "S 250 taken\n"
							  "S 250 too early\n" TAKEN("A", "taken")
								  TAKEN("B", "taken") RESET
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<b@y>\n"
	"E C broken envelope\n"
	"E failed 0 4.5.0 protocol error: server said \"250 too early\" unasked\n",
};

static const char *const chunks[] = {
	"# careful: the message waits for MAIL and RCPT\n"
	"+ CHUNKING\n"
	"O mail s@x a@y b@y careful\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C RCPT TO:<b@y>\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"W body-wanted last hi|\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"C BDAT 4 LAST\n"
	"C hi\n"
	"S 250 taken\n"
	"E rcpt 1 250 0.0.0 taken (end of data)\n"
	"E done\n",

	"# careful, and nobody is left to have it\n"
	"+ CHUNKING\n"
	"O mail s@x a@y careful\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"S 550 5.1.1 who?\n"
	"E rcpt 0 550 5.1.1 who? (RCPT TO)\n"
	"E done\n" FLIGHT("B", RESET),

	"# a large one waits, too, and goes in pieces\n"
	"+ CHUNKING\n"
	"O mail s@x a@y size=262145\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"O room no\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"T 180 message body\n"
	"O body one|\n"
	"C BDAT 5\n"
	"C one\n"
	"O room no\n"
	"T 180 BDAT\n"
	"S 250 5 bytes\n"
	"O body \n"
	"O body two|\n"
	"C BDAT 5\n"
	"C two\n"
	"O last three|\n"
	"C BDAT 7 LAST\n"
	"C three\n"
	"O room yes\n" FLIGHT("B", RESET) "S 250 5 bytes\n"
					  "T 600 end of data\n"
					  "S 250 taken\n"
					  "E rcpt 0 250 0.0.0 taken (end of data)\n"
					  "E done\n",

	"# a piece refused: told at once, and no more is sent\n"
	"+ CHUNKING\n"
	"O mail s@x a@y size=262145\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"O body one|\n"
	"C BDAT 5\n"
	"C one\n"
	"O body two|\n"
	"C BDAT 5\n"
	"C two\n"
	"S 552 5.3.4 too much\n"
	"E rcpt 0 552 5.3.4 too much (BDAT)\n"
	"O body three|\n"
	"O room no\n"
	"S 503 no\n"
	"E done\n" FLIGHT("B", RESET),

	"# refused before its end, which the owner gives meanwhile\n"
	"+ CHUNKING\n"
	"O mail s@x a@y size=262145\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"O body one|\n"
	"C BDAT 5\n"
	"C one\n"
	"O body two|\n"
	"C BDAT 5\n"
	"C two\n"
	"S 452 4.3.1 full\n"
	"E rcpt 0 452 4.3.1 full (BDAT)\n"
	"O last three|\n"
	"O room yes\n" FLIGHT("B", RESET) "S 503 no\n"
					  "E done\n",

	"# a piece refused, and the rest taken\n"
	"+ CHUNKING\n"
	"O mail s@x a@y size=262145\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"O body one|\n"
	"C BDAT 5\n"
	"C one\n"
	"O last two|\n"
	"C BDAT 5 LAST\n"
	"C two\n"
	"S 452 4.3.1 full\n"
	"E rcpt 0 452 4.3.1 full (BDAT)\n"
	"S 250 taken\n"
	"E broken message\n"
	"E failed 0 4.5.0 protocol error: server said \"250 taken\" in reply to end of data -- "
	"message may be sent more than once\n",

	"# 5xx when nothing is owed, amid the message: that is an answer\n"
	"+ CHUNKING\n"
	"O mail s@x a@y size=262145\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"S 250 Ok\n"
	"E body-wanted\n"
	"S 554 5.7.1 no more of this\n"
	"E broken message\n"
	"E failed 554 5.7.1 no more of this\n",

	"# too large: no word of it, with others under way\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-SIZE 1000\n"
	"S 250-PIPELINING\n"
	"S 250 CHUNKING\n"
	"E ready esmtp pipelining chunking size=1000\n" FLIGHT(
		"A", "") "O mail s@x a@y size=1001\n"
			 "E rcpt 0 552 5.3.4 not sent: message size 1001 exceeds the limit 1000 "
			 "that the server "
			 "announced ()\n"
			 "E done\n"
			 "O room yes\n"
			 "S 250 Ok\n"
			 "S 250 Ok\n"
			 "S 250 taken\n" TAKEN("A", "taken"),

	"# binary\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-8BITMIME\n"
	"S 250-PIPELINING\n"
	"S 250-CHUNKING\n"
	"S 250 BINARYMIME\n"
	"E ready esmtp pipelining 8bitmime chunking binarymime\n"
	"W body-wanted last x|\n"
	"O mail s@x a@y binary 8bit\n"
	"E body-wanted\n"
	"C MAIL FROM:<s@x> BODY=BINARYMIME\n"
	"C RCPT TO:<a@y>\n"
	"C BDAT 3 LAST\n"
	"C x\n",

	"# without CHUNKING, or where it is not used, there is no binary\n"
	"! discard\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250-DSN\n"
	"S 250-PIPELINING\n"
	"S 250-SIZE 100\n"
	"S 250-AUTH=PLAIN\n"
	"S 250-chunking\n"
	"S 250 BINARYMIME\n"
	"E ready esmtp pipelining binarymime\n"
	"O mail s@x a@y binary size=1000\n"
	"E rcpt 0 554 5.6.1 not sent: the message is binary (BODY=BINARYMIME), and the server does "
	"not take that ()\n"
	"E done\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C DATA\n",

	"# CHUNKING without PIPELINING is not worth it\n"
	"+ HELLO\n"
	"S 250-mx\n"
	"S 250 CHUNKING\n"
	"E ready esmtp chunking\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"C DATA\n",
};

#define FOUR(size)                                                                                 \
	"W body-wanted last hi|\n"                                                                 \
	"O mail s@x a@y" size "\n"                                                                 \
	"E body-wanted\n" RESET "C MAIL FROM:<s@x>\n"                                              \
	"C RCPT TO:<a@y>\n"                                                                        \
	"C BDAT 4 LAST\n"                                                                          \
	"C hi\n"

static const char *const windows[] = {
	"# sixteen\n"
	"+ CHUNKING\n" FLIGHT("A", "") FOUR("") FOUR("") FOUR("") FOUR("") FOUR("") FOUR("") FOUR(
		"") FOUR("") FOUR("") FOUR("") FOUR("") FOUR("") FOUR("") FOUR("")
		FOUR("") "O room no\n"
			 "S 250 Ok\n"
			 "S 250 Ok\n"
			 "S 250 taken\n" TAKEN("A", "taken") "O room yes\n" FOUR("") "O room no\n",

	"# or a MiB\n"
	"+ CHUNKING\n" FLIGHT("A", "") FOUR(" size=262144") FOUR(" size=262144")
		FOUR(" size=262144")
			FOUR(" size=262143") "O room yes\n" FOUR(" size=1") "O room no\n",
};

/* One recipient, by DATA; the next one can go behind its end. */
#define ENVELOPE(tag)                                                                              \
	"O mail s" tag "@x a@y tag=" tag "\n"                                                      \
	"C MAIL FROM:<s" tag "@x>\n"                                                               \
	"C RCPT TO:<a@y>\n"                                                                        \
	"C DATA\n"
#define DATA(tag)                                                                                  \
	"W body-wanted last hi|\n"                                                                 \
	"S 250 Ok\n"                                                                               \
	"S 250 Ok\n"                                                                               \
	"S 354 go\n"                                                                               \
	"E " tag " body-wanted\n"                                                                  \
	"C hi\n"                                                                                   \
	"C .\n"

static const char *const behind_the_dot[] = {
	"# two, and a third when there is room\n"
	"+ PIPELINING\n" ENVELOPE("A") "O room no\n" DATA("A") "O room yes\n" ENVELOPE(
		"B") "O "
		     "room "
		     "no\n"
		     "T 600 end of data\n"
		     "W body-wanted last hi|\n"
		     "S 250 taken A\n"
		     "S 250 Ok\n"
		     "S 250 Ok\n"
		     "S 354 go\n" TAKEN("A",
					"taken A") "E B body-wanted\n"
						   "C hi\n"
						   "C .\n" ENVELOPE("C") "S 250 taken B\n" TAKEN(
							   "B", "taken B"),

	"# the message is refused, the one behind it is not\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A")
		ENVELOPE("B") "S 554 5.6.0 no\n"
			      "E A rcpt 0 554 5.6.0 no (end of data)\n"
			      "E A done\n" DATA("B") "S 250 taken\n" TAKEN("B", "taken"),

	"# the one behind it is refused by MAIL\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A")
		ENVELOPE("B") "S 250 taken\n"
			      "S 550 5.7.1 not you\n"
			      "S 503 need MAIL\n"
			      "S 503 need MAIL\n" TAKEN(
				      "A", "taken") "E B rcpt 0 550 5.7.1 not you (MAIL FROM)\n"
						    "E B done\n" ENVELOPE("C"),

	"# by RCPT, and DATA gets 354: an empty message, and the next may follow\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A") ENVELOPE(
		"B") "S 250 taken\n"
		     "S 250 Ok\n"
		     "S 550 5.1.1 who?\n"
		     "S 354 go\n" TAKEN(
			     "A", "taken") "E B rcpt 0 550 5.1.1 who? (RCPT TO)\n"
					   "C .\n"
					   "O room yes\n" ENVELOPE(
						   "C") "S 554 no valid recipients\n"
							"E B done\n" DATA(
								"C") "S 250 taken\n" TAKEN("C",
											   "taken"),

	"# by DATA: the server is still in the transaction\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A")
		ENVELOPE("B") "S 250 taken\n"
			      "S 250 Ok\n"
			      "S 250 Ok\n"
			      "S 451 4.3.0 no room\n" TAKEN(
				      "A", "taken") "E B rcpt 0 451 4.3.0 no room (DATA)\n"
						    "E B done\n"
						    "O mail s@x a@y\n"
						    "C RSET\n"
						    "C MAIL FROM:<s@x>\n"
						    "C RCPT TO:<a@y>\n"
						    "C DATA\n",

	"# the dot is answered with 421\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A") ENVELOPE("B") "S 421 4.3.2 going\n"
							       "E A broken message\n"
							       "E B broken behind\n"
							       "E failed 421 4.3.2 going\n",

	"# the dot is answered, and MAIL behind it with 421\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A") ENVELOPE(
		"B") "S 250 taken\n"
		     "S 421 4.7.0 enough\n" TAKEN("A", "taken") "E B broken envelope\n"
								"E failed 421 4.7.0 enough\n",

	"# lost\n"
	"+ PIPELINING\n" ENVELOPE("A") DATA("A")
		ENVELOPE("B") "O lost lost connection with mx\n"
			      "E A broken message\n"
			      "E B broken behind\n"
			      "E failed 0 4.4.2 lost connection with mx while sending end of data "
			      "-- message may be sent "
			      "more than once\n",

	"# without PIPELINING each waits for its turn\n"
	"+ STEPWISE\n"
	"O mail s@x a@y\n"
	"C MAIL FROM:<s@x>\n"
	"O room no\n"
	"S 250 Ok\n"
	"C RCPT TO:<a@y>\n"
	"S 250 Ok\n"
	"C DATA\n"
	"W body-wanted last hi|\n"
	"S 354 go\n"
	"E body-wanted\n"
	"C hi\n"
	"C .\n"
	"O room no\n"
	"S 250 taken\n"
	"E rcpt 0 250 0.0.0 taken (end of data)\n"
	"E done\n"
	"O room yes\n",

	"# LMTP: by DATA, and behind all of its replies\n"
	"! lmtp\n"
	"S 220 mx LMTP\n"
	"C LHLO us.example\n"
	"S 250-mx\n"
	"S 250-CHUNKING\n"
	"S 250 PIPELINING\n"
	"E ready esmtp pipelining chunking\n"
	"O mail s@x a@y b@y tag=A\n"
	"C MAIL FROM:<s@x>\n"
	"C RCPT TO:<a@y>\n"
	"C RCPT TO:<b@y>\n"
	"C DATA\n"
	"S 250 Ok\n" DATA("A")
		ENVELOPE("B") "S 250 stored\n"
			      "S 452 4.2.2 over quota\n"
			      "E A rcpt 0 250 0.0.0 stored (end of data)\n"
			      "E A rcpt 1 452 4.2.2 over quota (end of data)\n"
			      "E A done\n" DATA("B") "S 250 stored\n" TAKEN("B", "stored"),
};

static void test_chunking(void **state)
{
	(void)state;
	play_all(chunking, ARRAY_SIZE(chunking));
}

static void test_ends(void **state)
{
	(void)state;
	play_all(ends, ARRAY_SIZE(ends));
}

static void test_chunks(void **state)
{
	(void)state;
	play_all(chunks, ARRAY_SIZE(chunks));
}

static void test_windows(void **state)
{
	(void)state;
	play_all(windows, ARRAY_SIZE(windows));
}

static void test_behind_the_dot(void **state)
{
	(void)state;
	play_all(behind_the_dot, ARRAY_SIZE(behind_the_dot));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunking),       cmocka_unit_test(test_ends),
		cmocka_unit_test(test_chunks),	       cmocka_unit_test(test_windows),
		cmocka_unit_test(test_behind_the_dot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
