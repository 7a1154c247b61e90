/* test_completion - headers of users, in and out */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/macros.h"
#include "mta/completion.h"

#define ID    "Message-ID: <20251121070000.6F00D@mta.vm.vm>\r\n"
#define DATE  "Date: Fri, 21 Nov 2025 07:00:00 +0000 (UTC)\r\n"
#define FROM  "From: alice@vm1.vm\r\n"
#define ADDED ID DATE FROM
#define GIVEN "Message-ID: <1@x>\r\nDate: x\r\nFrom: a@x\r\n"

static const struct {
	const char *label, *in, *out;
} cases[] = {
	{ "complete", GIVEN "To: b@y\r\n\r\ntext\r\n", GIVEN "To: b@y\r\n\r\ntext\r\n" },
	{ "nothing there", "Subject: x\r\n\r\ntext\r\n", "Subject: x\r\n" ADDED "\r\ntext\r\n" },
	{ "no header, an empty line", "\r\ntext\r\n", ADDED "\r\ntext\r\n" },
	{ "no header, only a body", "hello there\r\n", ADDED "\r\nhello there\r\n" },
	{ "nothing at all", "", ADDED },
	{ "no body", "Subject: x\r\n", "Subject: x\r\n" ADDED },
	{ "no line end", "Subject: x", "Subject: x\r\n" ADDED },
	{ "an address and no line end", "To: bob", "To: bob@vm1.vm\r\n" ADDED },
	{ "runs into the body", "from: alice\r\nsubject: x\r\nalice say hello\r\n",
	  "from: alice@vm1.vm\r\nsubject: x\r\n" ID DATE "\r\nalice say hello\r\n" },
	{ "continues nothing", " A: b\r\n\r\n", ADDED "\r\n A: b\r\n\r\n" },
	{ "a date is missing", "Message-Id: <1@x>\r\nFROM: a@x\r\n\r\n",
	  "Message-Id: <1@x>\r\nFROM: a@x\r\n" DATE "\r\n" },
	{ "empty fields are there", "Date:\r\nMessage-ID:\r\nFrom:\r\n\r\n",
	  "Date:\r\nMessage-ID:\r\nFrom:\r\n\r\n" },
	{ "a wrong date is there", "Date: tomorrow\r\n\r\n", "Date: tomorrow\r\n" ID FROM "\r\n" },
	{ "what is in the body does not count", "X: y\r\n\r\nDate: x\r\nBcc: c@z\r\nTo: bob\r\n",
	  "X: y\r\n" ADDED "\r\nDate: x\r\nBcc: c@z\r\nTo: bob\r\n" },
	{ "a space before the colon", "Date : x\r\nFrom : a\r\n\r\n",
	  "Date : x\r\nFrom : a@vm1.vm\r\n" ID "\r\n" },
	{ "line feeds alone", "To: bob\nDate: x\n\ntext\n",
	  "To: bob@vm1.vm\nDate: x\n" ID FROM "\ntext\n" },

	{ "out of a mailbox file", "From alice Sat Nov 21\r\nTo: bob\r\n\r\nFrom x\r\n",
	  "X-Mailbox-Line: From alice Sat Nov 21\r\nTo: bob@vm1.vm\r\n" ADDED "\r\nFrom x\r\n" },
	{ "quoted by a mailbox file", ">From alice\r\nBcc: bob\r\n\r\n",
	  "X-Mailbox-Line: >From alice\r\n" ADDED "\r\n" },
	{ "not the first line", "To: bob\r\nFrom alice\r\nX: y\r\n\r\n",
	  "To: bob@vm1.vm\r\n" ADDED "\r\nFrom alice\r\nX: y\r\n\r\n" },
	{ "a sentence", "From here\r\n", "X-Mailbox-Line: From here\r\n" ADDED },

	{ "Bcc goes", GIVEN "Bcc: c@z\r\nTo: b@y\r\n\r\n", GIVEN "To: b@y\r\n\r\n" },
	{ "all of it", GIVEN "bcc: c@z,\r\n d@z\r\n\te@z\r\nBCC : f@z\r\nX: y\r\n\r\nBcc: t\r\n",
	  GIVEN "X: y\r\n\r\nBcc: t\r\n" },
	{ "Bcc is the last", GIVEN "Bcc: c@z", GIVEN },
	{ "only Bcc", "Bcc: c@z\r\n\r\nx\r\n", ADDED "\r\nx\r\n" },
	{ "Bcc-ish", GIVEN "X-Bcc: c\r\nBccs: d\r\n\r\n", GIVEN "X-Bcc: c\r\nBccs: d\r\n\r\n" },
	{ "what only delivery may add", GIVEN "Return-Path: <a@x>\r\nContent-Length: 3\r\n\r\n",
	  GIVEN "\r\n" },

	{ "bare addresses", GIVEN "To: bob, Carol <carol>, d@y\r\nCc: e (E)\r\nSubject: f\r\n\r\n",
	  GIVEN "To: bob@vm1.vm, Carol <carol@vm1.vm>, d@y\r\nCc: e@vm1.vm (E)\r\n"
		"Subject: f\r\n\r\n" },
	{ "fields that have addresses",
	  GIVEN "Sender: a\r\nReply-To: b\r\nErrors-To: c\r\nMail-Followup-To: d\r\n"
		"Return-Receipt-To: e\r\nApparently-To: f\r\n\r\n",
	  GIVEN "Sender: a@vm1.vm\r\nReply-To: b@vm1.vm\r\nErrors-To: c@vm1.vm\r\n"
		"Mail-Followup-To: d@vm1.vm\r\nReturn-Receipt-To: e@vm1.vm\r\n"
		"Apparently-To: f@vm1.vm\r\n\r\n" },
	{ "fields that have none", GIVEN "X-To: a\r\nDelivered-To: b\r\nList-Id: c\r\n\r\n",
	  GIVEN "X-To: a\r\nDelivered-To: b\r\nList-Id: c\r\n\r\n" },
	{ "folded", GIVEN "To: Bob\r\n  <bob>  ,\r\n\tcarol\r\n\r\n",
	  GIVEN "To: Bob\r\n  <bob@vm1.vm>  ,\r\n\tcarol@vm1.vm\r\n\r\n" },
	{ "groups", GIVEN "To: team: a, b@y;, undisclosed-recipients:;\r\n\r\n",
	  GIVEN "To: team: a@vm1.vm, b@y;, undisclosed-recipients:;\r\n\r\n" },
	{ "quoted local parts", GIVEN "To: \"bob b\", \"a@b\" <\"a@b\">\r\n\r\n",
	  GIVEN "To: \"bob b\"@vm1.vm, \"a@b\" <\"a@b\"@vm1.vm>\r\n\r\n" },
	{ "encoded words", GIVEN "To: =?utf-8?Q?J=C3=BCrgen?= <j>\r\n\r\n",
	  GIVEN "To: =?utf-8?Q?J=C3=BCrgen?= <j@vm1.vm>\r\n\r\n" },
	{ "UTF-8", GIVEN "To: j\303\274rgen, \346\225\231@x\r\n\r\n",
	  GIVEN "To: j\303\274rgen@vm1.vm, \346\225\231@x\r\n\r\n" },
	{ "what is no address", GIVEN "To: John Smith, \"open <bob>\r\nCc: <>\r\n\r\n",
	  GIVEN "To: John Smith, \"open <bob>\r\nCc: <>\r\n\r\n" },

	{ "resent", GIVEN "Resent-To: bob\r\n\r\n",
	  GIVEN "Resent-To: bob@vm1.vm\r\nResent-" ID "Resent-" DATE "Resent-" FROM "\r\n" },
	{ "resent, complete",
	  "Resent-From: a@x\r\nResent-Date: x\r\nResent-Message-ID: <1@x>\r\n" GIVEN "\r\n",
	  "Resent-From: a@x\r\nResent-Date: x\r\nResent-Message-ID: <1@x>\r\n" GIVEN "\r\n" },
	{ "Resent-Bcc goes", GIVEN "Resent-Bcc: c@z\r\nResent-From: a\r\n\r\n",
	  GIVEN "Resent-From: a@vm1.vm\r\nResent-" ID "Resent-" DATE "\r\n" },
};

static const struct completion_options options = {
	.origin = "vm1.vm",
	.hostname = "mta.vm.vm",
	.id = "6F00D",
	.sender = "alice@vm1.vm",
	.now_ms = 1763708400000,
};

/* In steps of any length; 0: a random length for each. */
static char *complete(struct slice in, size_t step, const struct completion_options *o)
{
	struct completion c;
	struct buf out = { 0 };

	completion_init(&c, o);
	while (in.len > 0) {
		size_t n = step ? step : 1 + (size_t)rand() % 17;

		completion_input(&c, slice_first(in, n), &out);
		in = slice_skip(in, n);
	}
	completion_end(&c, &out);
	completion_done(&c);
	return buf_steal_string(&out);
}

static void test_cases(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		for (size_t step = 1; step < 60; step++) {
			char *out = complete(slice_from(cases[i].in), step, &options);

			if (strcmp(out, cases[i].out) != 0)
				fail_msg("%s, step %zu: got\n%s", cases[i].label, step, out);
			free(out);
		}
	}
}

static void test_from(void **state)
{
	struct completion_options o = options;
	char *out;

	(void)state;
	o.full_name = "Alice A.";
	out = complete(SLICE("X: y\r\n\r\n"), 100, &o);
	assert_string_equal(out, "X: y\r\n" ID DATE "From: \"Alice A.\" <alice@vm1.vm>\r\n\r\n");
	free(out);

	o.sender = ""; /* nobody has a name */
	out = complete(SLICE("X: y\r\n\r\n"), 100, &o);
	assert_string_equal(out, "X: y\r\n" ID DATE "From: MAILER-DAEMON@vm1.vm\r\n\r\n");
	free(out);
}

/* A list on one line, as a program writes it: lines that we made too long are folded. */
static void test_fold(void **state)
{
	struct buf in = { 0 };
	struct slice rest, line;
	unsigned int lines = 0;
	char *out;

	(void)state;
	buf_append_string(&in, GIVEN "To: ");
	for (unsigned int i = 0; i < 150; i++)
		buf_printf(&in, "%suser%u", i ? ", " : "", i);
	buf_append_string(&in, "\r\n\r\n");
	out = complete(buf_slice(&in), 7, &options);
	rest = slice_from(out);
	while (slice_next_word(&rest, "\n", &line)) {
		assert_true(line.len <= 998);
		lines++;
	}
	assert_int_equal(lines, 4 + 2 + 1); /* two more of To, and the last */
	assert_non_null(strstr(out, ",\r\n\tuser"));
	assert_non_null(strstr(out, "user149@vm1.vm\r\n"));
	free(out);
	buf_done(&in);
}

/* More addresses than anybody writes pass as they are, without being held. */
static void test_long_field(void **state)
{
	size_t len = 1000000;
	char *in = malloc(len);
	struct completion c;
	struct buf out = { 0 };

	(void)state;
	for (size_t i = 0; i < len; i++)
		in[i] = i % 5 == 4 ? ',' : 'x';
	memcpy(in, GIVEN "To: ", strlen(GIVEN "To: "));
	memcpy(in + len - 4, "\r\n\r\n", 4);
	completion_init(&c, &options);
	for (size_t i = 0; i < len; i += 1000) {
		completion_input(&c, slice_of(in + i, 1000), &out);
		assert_true(c.field.size + c.reader.kept.size < 3 * COMPLETION_FIELD_MAX);
	}
	completion_end(&c, &out);
	completion_done(&c);
	assert_int_equal(buf_len(&out), len);
	assert_memory_equal(buf_slice(&out).ptr, in, len);
	buf_done(&out);
	free(in);
}

static void add_random(struct buf *b, const char *const *parts, size_t count, unsigned int most)
{
	for (unsigned int n = (unsigned int)rand() % most; n > 0; n--)
		buf_append_string(b, parts[(size_t)rand() % count]);
}

/* Pieces of any length give what the whole gives, and what comes out is complete. */
static void test_random(void **state)
{
	static const char *const parts[] = {
		"To:",	    "Bcc: ",	   "From:",	"Resent-From: ",
		"Date",	    "Message-ID:", "Subject: ", ":",
		" ",	    "\r\n",	   "\r\n",	"\n",
		"\r\n ",    "\t",	   "bob",	"a@b",
		"<",	    ">",	   ",",		";",
		"(",	    ")",	   "\"",	"\\",
		"[",	    "]",	   "\303\274",	".",
		"\r\n\r\n", "From x\r\n",  "team:",	"=?a?Q?b?=",
	};

	(void)state;
	srand(1);
	for (unsigned int round = 0; round < 5000; round++) {
		struct buf in = { 0 };
		char *whole, *pieces, *again;

		add_random(&in, parts, ARRAY_SIZE(parts), 40);
		whole = complete(buf_slice(&in), SIZE_MAX, &options);
		pieces = complete(buf_slice(&in), 0, &options);
		again = complete(slice_from(whole), 0, &options);
		assert_string_equal(pieces, whole);
		assert_string_equal(again, whole);
		free(whole);
		free(pieces);
		free(again);
		buf_done(&in);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cases),  cmocka_unit_test(test_from),
		cmocka_unit_test(test_fold),   cmocka_unit_test(test_long_field),
		cmocka_unit_test(test_random),
	};

	setenv("TZ", "UTC", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
