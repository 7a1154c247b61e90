/* test_sendmail_header - whom a message is for that names its recipients itself (-t) */

#include "cli/sendmail_header.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/macros.h"

static const struct {
	const char *label, *in;
	const char *to;	  /* with spaces; "!": refused */
	const char *text; /* what goes on; NULL: all */
} cases[] = {
	{ "one", "To: bob@b\r\n\r\nbody", "bob@b", NULL },
	{ "bare", "To: bob\r\n\r\n", "bob@origin", NULL },
	{ "To, Cc, Bcc", "To: a@x, b@x\r\nCc: c@x\r\nBcc: d@x\r\nSubject: s\r\n\r\n",
	  "a@x b@x c@x d@x", "To: a@x, b@x\r\nCc: c@x\r\nSubject: s\r\n\r\n" },
	{ "folded", "To: a@x,\r\n b@x\r\n\t, c@x\r\nbcc:\r\n d@x,\r\n e@x\r\nX: y\r\n\r\n",
	  "a@x b@x c@x d@x e@x", "To: a@x,\r\n b@x\r\n\t, c@x\r\nX: y\r\n\r\n" },
	{ "names and comments", "To: Bob (the (first)) <bob@b>, \"Doe, Jane\" <jane@c> (c)\r\n\r\n",
	  "bob@b jane@c", NULL },
	{ "group", "To: friends: a@x, B <b@x>;, c@x\r\nCc: undisclosed-recipients:;\r\n\r\n",
	  "a@x b@x c@x", NULL },
	{ "quoted local part", "To: \"bob smith\"@x\r\n\r\n", "\"bob smith\"@x", NULL },
	{ "encoded name", "To: =?utf-8?q?B=C3=B6b=2C_jr?= <bob@x>\r\n\r\n", "bob@x", NULL },
	{ "route", "To: <@relay.example:bob@x>\r\n\r\n", "bob@x", NULL },
	{ "resent", "To: a@x\r\nResent-To: b@x\r\nResent-Bcc: c@x\r\nBcc: d@x\r\n\r\n", "b@x c@x",
	  "To: a@x\r\nResent-To: b@x\r\n\r\n" },
	{ "nobody", "Subject: s\r\n\r\nTo: body@x\r\n", "", NULL },
	{ "without an end", "To: a@x\r\n", "a@x", NULL },
	{ "runs into the body", "To: a@x\r\nhello\r\nCc: b@x\r\n", "a@x", "To: a@x\r\nhello\r\n" },
	{ "no header", "hello\r\nTo: a@x\r\n", "", "hello\r\n" },
	{ "two words", "To: John Smith\r\n\r\n", "!", NULL },
	{ "open quote", "To: \"bob <bob@x>\r\n\r\n", "!", NULL },
	{ "no domain", "To: bob@\r\n\r\n", "!", NULL },
	{ "long list", "To: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x, b@x\r\n\r\n",
	  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@x b@x", NULL },
};

static void run(size_t i, size_t step)
{
	struct sendmail_header h = { .takes_recipients = true, .origin = "origin" };
	const struct sendmail_addresses *to;
	struct slice in = slice_from(cases[i].in), body = { 0 };
	char got[512] = "";

	for (size_t at = 0; at < in.len && !h.is_over; at += step) {
		struct slice piece = slice_first(slice_skip(in, at), step);

		sendmail_header_input(&h, &piece);
		body = piece;
	}
	if (!h.is_over)
		sendmail_header_end(&h);
	to = sendmail_header_recipients(&h);
	if (to->error.code)
		strcpy(got, "!");
	for (size_t n = 0; n < to->count && !to->error.code; n++) {
		strcat(got, n ? " " : "");
		strcat(got, to->list[n]);
	}
	if (strcmp(got, cases[i].to) != 0)
		fail_msg("%s: got '%s', %s", cases[i].label, got, to->error.text);
	if (cases[i].text && !slice_equal(buf_slice(&h.text), slice_from(cases[i].text)))
		fail_msg("%s: text is '%.*s'", cases[i].label, (int)buf_len(&h.text),
			 buf_slice(&h.text).ptr);
	if (i == 0 && step > 100)
		assert_true(slice_equal(body, SLICE("body")));
	sendmail_header_done(&h);
}

static void test_recipients(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		run(i, 1);
		run(i, 7);
		run(i, 10000);
	}
}

static void test_other_header(void **state)
{
	struct slice in = SLICE("Received: a\r\n b\r\nBcc: a@x\r\nreceived: c\r\n\r\n");
	struct slice rest = in;
	struct sendmail_header h = { .origin = "origin" };

	(void)state;
	sendmail_header_input(&h, &rest);
	assert_true(h.is_over);
	assert_int_equal(h.received_count, 2);
	assert_int_equal(sendmail_header_recipients(&h)->count, 0);
	assert_true(slice_equal(buf_slice(&h.text), in)); /* the server takes Bcc out */
	sendmail_header_done(&h);
}

static void test_arguments(void **state)
{
	struct sendmail_addresses a = { .count = 0 };

	(void)state;
	sendmail_addresses_add(&a, SLICE("bob,carol@x"), "origin");
	sendmail_addresses_add(&a, SLICE("Dave <dave@y>"), "origin");
	assert_int_equal(a.count, 3);
	assert_int_equal(a.error.code, 0);
	assert_string_equal(a.list[0], "bob@origin");
	assert_string_equal(a.list[2], "dave@y");
	sendmail_addresses_add(&a, SLICE("a b\x1b[2J"), "origin");
	assert_non_null(strstr(a.error.text, "a b?[2J: not an address"));
	sendmail_addresses_done(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_recipients),
		cmocka_unit_test(test_other_header),
		cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
