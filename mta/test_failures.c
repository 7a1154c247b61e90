/*
 * test_failures - the table of docs/delivery.md: what each failure at each
 * stage of a session leads to, with a second next hop and without
 */
#include <stdio.h>
#include <string.h>

#include "base/macros.h"
#include "mta/health.h"
#include "mta/test_peer.h"
#include "mta/test_rig.h"

enum {
	GREETING,
	EHLO,
	STARTTLS,
	MAIL,
	RCPT,
	DATA,
	BODY,
	END,
	STAGES,
};

/* What the peer has said and heard when its turn to fail has come. */
static const struct {
	const char *label, *script;
	const char *doing; /* in the words of the log */
} stages[STAGES] = {
	[GREETING] = { "greeting", "", "receiving the initial server greeting" },
	[EHLO] = { "EHLO", "S 220 x\nC EHLO\n", "performing the EHLO handshake" },
	[STARTTLS] = { "STARTTLS", "S 220 x\nC EHLO\nS 250-x\nS 250 STARTTLS\nC STARTTLS\n",
		       "receiving the STARTTLS response" },
	[MAIL] = { "MAIL", PEER_EHLO "C MAIL FROM:\n", "sending MAIL FROM" },
	[RCPT] = { "RCPT", PEER_EHLO "C MAIL FROM:\nS 250 ok\nC RCPT TO:\n", "sending RCPT TO" },
	[DATA] = { "DATA", PEER_EHLO PEER_RCPT "C DATA\n", "sending DATA command" },
	[BODY] = { "body", PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nC Received\n",
		   "sending message body" },
	[END] = { "end of data", PEER_EHLO PEER_RCPT "C DATA\nS 354 go\nB\n",
		  "sending end of data -- message may be sent more than once" },
};

/* What it does then. */
enum { SILENCE, DROP, DEFERRAL, REFUSAL, CLOSING, GARBAGE, KINDS };

static const struct {
	const char *label, *script;
} kinds[KINDS] = {
	[SILENCE] = { "silence", "H\n" },
	[DROP] = { "the end of the connection", "" },
	[DEFERRAL] = { "451", "S 451 4.7.1 later\nH\n" },
	[REFUSAL] = { "550", "S 550 5.7.1 no\nH\n" },
	[CLOSING] = { "421", "S 421 4.3.2 going\n" },
	[GARBAGE] = { "no SMTP", "S HTTP/1.1 400 Bad Request\nH\n" },
};

enum outcome {
	NEXT, /* the next address is tried at once; with none left: the next hop is down */
	NEXT_OF_MESSAGE, /* the same for this message alone: it waits, the next hop is not down */
	GO_ON,		 /* with the same host */
	WAIT,		 /* the message waits for the usual time */
	SOON,		 /* for a shorter one, as for a greylist */
	RETURN,		 /* to the sender */
};

static const enum outcome table[STAGES][KINDS] = {
	/* clang-format off */
	/*		SILENCE		DROP		 451	550	421		 no SMTP */
	[GREETING] = {	NEXT,		NEXT,		 NEXT,	NEXT,	NEXT,		 NEXT },
	[EHLO] = {	NEXT,		NEXT,		 NEXT,	NEXT,	NEXT,		 NEXT },
	[STARTTLS] = {	NEXT,		NEXT,		 GO_ON,	GO_ON,	NEXT,		 NEXT },
	[MAIL] = { NEXT_OF_MESSAGE, NEXT_OF_MESSAGE,	 WAIT,	RETURN, NEXT_OF_MESSAGE, NEXT_OF_MESSAGE },
	[RCPT] = { NEXT_OF_MESSAGE, NEXT_OF_MESSAGE,	 SOON,	RETURN, NEXT_OF_MESSAGE, NEXT_OF_MESSAGE },
	[DATA] = { NEXT_OF_MESSAGE, NEXT_OF_MESSAGE,	 WAIT,	RETURN, NEXT_OF_MESSAGE, NEXT_OF_MESSAGE },
	[BODY] = {	WAIT,		WAIT,		 WAIT,	RETURN, WAIT,		 WAIT },
	[END] = {	WAIT,		WAIT,		 SOON,	RETURN, WAIT,		 WAIT },
	/* clang-format on */
};

struct row {
	int stage, kind;
	enum outcome outcome;
	char label[100], script[1000];
};

static void fill_row(struct row *row, int stage, int kind)
{
	const char *rest = kinds[kind].script;

	row->stage = stage;
	row->kind = kind;
	row->outcome = table[stage][kind];
	if (row->outcome == GO_ON)
		rest = kind == DEFERRAL ? "S 451 4.7.1 later\n" PEER_MESSAGE "H\n"
					: "S 550 5.7.1 no\n" PEER_MESSAGE "H\n";
	if (row->outcome == SOON)
		rest = "S 451 4.7.1 later\n"; /* so that the next attempt makes a connection */
	if (stage == BODY && kind == SILENCE)
		rest = "T\nH\n"; /* it does not read, either */
	if (stage == EHLO && kind == REFUSAL)
		rest = "S 502 5.5.1 what?\nC HELO\nS 550 5.7.1 no\nH\n";
	snprintf(row->label, sizeof(row->label), "%s: %s", stages[stage].label, kinds[kind].label);
	snprintf(row->script, sizeof(row->script), "%s%s", stages[stage].script, rest);
}

#define SHORT_MS 300
#define LONG_MS	 5000 /* where somebody who is well has to keep it too, on a machine that is slow */

/* Only the limit that the row is about is short. */
static void set_limits(struct rig *rig, const struct row *row, bool is_alone)
{
	bool is_nobody_elses = is_alone && row->stage != EHLO; /* that one has greeted before */
	struct smtp_timeouts *t = &rig_options(rig)->timeouts;
	int64_t *const limits[STAGES] = {
		[GREETING] = &t->helo_ms,  [EHLO] = &t->helo_ms,     [STARTTLS] = &t->starttls_ms,
		[MAIL] = &t->mail_ms,	   [RCPT] = &t->rcpt_ms,     [DATA] = &t->data_init_ms,
		[BODY] = &t->data_xfer_ms, [END] = &t->data_done_ms,
	};

	if (row->kind == SILENCE)
		*limits[row->stage] = is_nobody_elses || row->stage >= BODY ? SHORT_MS : LONG_MS;
	rig_options(rig)->minimal_backoff_s = 1800;
	rig_options(rig)->maximal_backoff_s = 3600;
	rig_options(rig)->destination_concurrency = 1;
	rig_start(rig);
}

static void submit(struct rig *rig, const struct row *row)
{
	if (row->stage == BODY)
		rig_submit_large(rig, "bob@example.net", 8 << 20);
	else
		rig_submit(rig, "bob@example.net");
}

static void look_at(void *arg, const struct health_report *report)
{
	struct health_report *ret = arg;

	*ret = *report;
}

static void expect_down(struct rig *rig, const struct row *row)
{
	struct health_report report = { 0 };

	mta_each_next_hop(rig_mta(rig), look_at, &report);
	if (report.is_down != (row->outcome == NEXT))
		fail_msg("%s: the next hop is %s", row->label,
			 report.is_down ? "down" : "not down");
	if ((row->outcome == NEXT || row->outcome == NEXT_OF_MESSAGE) && !report.last_error_ms)
		fail_msg("%s: nobody knows what is wrong with the next hop", row->label);
}

/* Whatever the status is, it says what was going on, or quotes what was said. */
static void expect_reason(const struct row *row, const char *line)
{
	static const char *const said[KINDS] = {
		[SILENCE] = "timed out while ", [DROP] = "lost connection with ",
		[DEFERRAL] = "4.7.1 later",	[REFUSAL] = "5.7.1 no",
		[CLOSING] = "4.3.2 going",	[GARBAGE] = "HTTP/1.1 400 Bad Request",
	};
	const char *want = said[row->kind];

	if (row->outcome == NEXT && strchr(want, '.') == want + 1)
		want += strlen("4.7.1 "); /* "host … refused to talk to me: …" */
	if (!strstr(line, want))
		fail_msg("%s: no \"%s\" in %s", row->label, want, line);
	if (row->kind <= DROP && !strstr(line, stages[row->stage].doing))
		fail_msg("%s: no \"%s\" in %s", row->label, stages[row->stage].doing, line);
}

/* The only next hop there is. */
static void play_alone(const struct row *row)
{
	const char *scripts[] = { row->script, PEER_EHLO PEER_MESSAGE "H\n" };
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u tls=may\n"
				  "client.example = discard:",
				  peer_port(peer));
	const char *line;

	print_message("%s\n", row->label);
	if (row->stage == BODY && row->kind == SILENCE)
		peer_set_small_buffers(peer);
	set_limits(rig, row, true);
	submit(rig, row);
	line = rig_wait_log(rig, "to=<bob@example.net>");
	if (row->outcome == GO_ON) {
		assert_non_null(strstr(line, "status=sent"));
	} else {
		const char *want = row->outcome == RETURN ? "status=bounced" : "status=deferred";

		if (!strstr(line, want))
			fail_msg("%s: no %s in %s", row->label, want, line);
		expect_reason(row, line);
		expect_down(rig, row);
	}
	if (row->outcome == SOON) {
		rig_advance(rig, 70 * 1000);
		mta_look(rig_mta(rig));
		rig_wait_log(rig, "status=sent");
	}
	rig_free(rig);
	peer_free(peer);
}

/* One that stands in for it. */
static void play_with_another(const struct row *row)
{
	bool moves = row->outcome == NEXT || row->outcome == NEXT_OF_MESSAGE;
	struct peer *first = peer_play(row->script), *second = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u, [127.0.0.1]:%u tls=may\n"
				  "client.example = discard:",
				  peer_port(first), peer_port(second));
	const char *line;

	if (row->stage == BODY && row->kind == SILENCE)
		peer_set_small_buffers(first);
	set_limits(rig, row, false);
	submit(rig, row);
	line = rig_wait_log(rig, "to=<bob@example.net>");
	if (!moves) {
		assert_int_equal(peer_connections(second), 0);
	} else {
		if (!strstr(line, "status=sent"))
			fail_msg("%s: not sent: %s", row->label, line);
		expect_reason(row, rig_wait_log(rig, "; trying the next address"));
		assert_int_equal(peer_messages(second), 1);
		assert_int_equal(peer_connections(first), 1);
	}
	rig_free(rig);
	peer_free(first);
	peer_free(second);
}

static void play_stage(int stage)
{
	for (int kind = 0; kind < KINDS; kind++) {
		struct row row;

		fill_row(&row, stage, kind);
		play_alone(&row);
		play_with_another(&row);
	}
}

static void test_before_the_mail(void **state)
{
	(void)state;
	play_stage(GREETING);
	play_stage(EHLO);
	play_stage(STARTTLS);
}

static void test_envelope(void **state)
{
	(void)state;
	play_stage(MAIL);
	play_stage(RCPT);
	play_stage(DATA);
}

static void test_message(void **state)
{
	(void)state;
	play_stage(BODY);
	play_stage(END);
}

/* Where a recipient has had its answer the message goes to nobody else, and the rest waits. */
static void test_partly_answered(void **state)
{
	struct peer *first =
		peer_play(PEER_EHLO "C MAIL\nS 250 ok\nC RCPT\nS 550 5.1.1 no\nC RCPT\n");
	struct peer *second = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u, [127.0.0.1]:%u tls=none\n"
				  "client.example = discard:",
				  peer_port(first), peer_port(second));

	(void)state;
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = 3600;
	rig_start(rig);
	rig_submit(rig, "bob@example.net eve@example.net");
	rig_wait_log(rig, "to=<eve@example.net>");
	assert_true(rig_has_logged(rig, "dsn=5.1.1, status=bounced (550 5.1.1 no)"));
	assert_true(rig_has_logged(rig, "while sending RCPT TO)"));
	assert_int_equal(peer_connections(second), 0);
	rig_free(rig);
	peer_free(first);
	peer_free(second);
}

/* 4xx for one recipient does not delay the others; it alone is tried again, and soon. */
static void test_one_recipient_waits(void **state)
{
	static const char *const scripts[] = {
		PEER_EHLO
		"C MAIL\nS 250 ok\nC RCPT TO:<a@\nS 250 ok\nC RCPT TO:<b@\nS 450 4.2.0 come "
		"again\nC RCPT TO:<c@\nS 250 ok\nC DATA\nS 354 go\nB\nS 250 taken\n",
		PEER_EHLO
		"C MAIL\nS 250 ok\nC RCPT TO:<b@\nS 250 ok\nC DATA\nS 354 go\nB\nS 250 taken\nH\n",
	};
	struct peer *peer = peer_new(scripts, 2);
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = 3600;
	rig_start(rig);
	rig_submit(rig, "a@example.net b@example.net c@example.net");
	rig_wait_log(rig, "to=<c@example.net>");
	assert_int_equal(rig_count_logged(rig, "status=sent"), 2);
	assert_true(rig_has_logged(rig, "status=deferred (450 4.2.0 come again)"));
	peer_wait_ends(peer, 1);
	rig_advance(rig, 70 * 1000);
	mta_look(rig_mta(rig));
	peer_wait_messages(peer, 2);
	rig_wait_queued(rig, 0);
	rig_free(rig);
	peer_free(peer);
}

/* A probe that gets as far as MAIL is no attempt of the message that carries it, either. */
static void test_probe_that_is_let_in(void **state)
{
	static const char *const scripts[] = {
		"S 421 4.3.2 not today\n",
		PEER_EHLO "C MAIL FROM:\nS 421 4.3.2 not yet\n",
		PEER_EHLO PEER_MESSAGE "H\n",
	};
	struct peer *peer = peer_new(scripts, 3);
	struct rig *rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));

	(void)state;
	/* Were it counted it would be due after an hour; as a probe it waits for the next hop. */
	rig_options(rig)->minimal_backoff_s = 1;
	rig_options(rig)->maximal_backoff_s = 2;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	rig_wait_log(rig, "not today)");
	rig_wait_log(rig, "not yet)");
	rig_wait_log(rig, "status=sent");
	rig_wait_queued(rig, 0);
	assert_int_equal(peer_connections(peer), 3);
	rig_free(rig);
	peer_free(peer);
}

static void expect_up(void *arg, const struct health_report *report)
{
	(void)arg;
	assert_false(report->is_down);
}

/* One that hangs has its own slots, and not one more; mail for others goes by. */
static void test_hanging_holds_its_slots(void **state)
{
	struct peer *hanging = peer_play(PEER_EHLO "C MAIL FROM:\nH\n");
	struct peer *well = peer_play(PEER_EHLO "*\n");
	struct rig *rig = rig_new("example.net = relay:[127.0.0.1]:%u tls=none\n"
				  "example.org = relay:[127.0.0.1]:%u tls=none",
				  peer_port(hanging), peer_port(well));
	unsigned int slots = 2 * rig_options(rig)->workers;

	(void)state;
	rig_options(rig)->destination_concurrency = slots;
	rig_start(rig);
	for (unsigned int i = 0; i < 3 * slots; i++)
		rig_submit(rig, "bob@example.net");
	peer_wait_connections(hanging, 2);
	for (unsigned int i = 1; i <= 3 * slots; i++) {
		rig_submit(rig, "eve@example.org");
		peer_wait_messages(well, i);
	}
	assert_in_range(peer_connections(hanging), 2, slots);
	mta_each_next_hop(rig_mta(rig), expect_up, NULL);
	rig_wait_queued(rig, 3 * slots);
	assert_false(rig_has_logged(rig, "to=<bob@example.net>"));
	rig_free(rig);
	peer_free(hanging);
	peer_free(well);
}

/* What is no SMTP is quoted, made harmless, and cut; and where it can be told, who it is. */
static void test_no_smtp(void **state)
{
	static const struct {
		const char *script, *route, *want;
	} cases[] = {
		{ "S HTTP/1.1 400 Bad Request\nH\n", "relay:[127.0.0.1]:%u tls=none",
		  "status=deferred (server said something that is no SMTP: HTTP/1.1 400 Bad "
		  "Request (a "
		  "web server?))" },
		{ "S \x15\x03\x01\x01\x02\x02\x46\nH\n", "relay:[127.0.0.1]:%u tls=none",
		  "is no SMTP: ??????F (TLS: a port for TLS from the first byte? then use "
		  "relay-smtps:))" },
		{ "S \x1b[2J\xe2\x80\xae\x07 a\"b>\nH\n", "relay:[127.0.0.1]:%u tls=none",
		  "is no SMTP: ?[2J?? a\"b>)" },
		{ "S 220 hub.example ESMTP\nH\n", "relay-smtps:[127.0.0.1]:%u",
		  "is not TLS, it begins with \"220 hub.example ESMTP\"; wrong port, or wrong "
		  "transport: it speaks SMTP in the clear, and relay: begins TLS there)" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct peer *peer = peer_play(cases[i].script);
		char routes[200];
		struct rig *rig;

		/* The only %u there is stands in the table. */
		snprintf(routes, sizeof(routes), "* = %s", cases[i].route);
		rig = rig_new(routes, peer_port(peer));
		rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = 3600;
		rig_start(rig);
		rig_submit(rig, "bob@example.net");
		rig_wait_log(rig, cases[i].want);
		rig_free(rig);
		peer_free(peer);
	}
}

/* A line without an end is not waited for, and of it little is kept. */
static void test_endless_line(void **state)
{
	char script[4096] = "s 220 ";
	struct peer *peer;
	struct rig *rig;
	const char *line;

	(void)state;
	memset(script + strlen(script), 'x', 3000);
	strcat(script, "\nH\n");
	peer = peer_play(script);
	rig = rig_new("* = relay:[127.0.0.1]:%u tls=none", peer_port(peer));
	rig_options(rig)->minimal_backoff_s = rig_options(rig)->maximal_backoff_s = 3600;
	rig_start(rig);
	rig_submit(rig, "bob@example.net");
	line = rig_wait_log(rig, "status=deferred (server sent too long a line: 220 xxx");
	assert_true(strlen(line) < 600);
	rig_free(rig);
	peer_free(peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_before_the_mail),
		cmocka_unit_test(test_envelope),
		cmocka_unit_test(test_message),
		cmocka_unit_test(test_partly_answered),
		cmocka_unit_test(test_one_recipient_waits),
		cmocka_unit_test(test_probe_that_is_let_in),
		cmocka_unit_test(test_hanging_holds_its_slots),
		cmocka_unit_test(test_no_smtp),
		cmocka_unit_test(test_endless_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
