/*
 * Each script plays with a client, a server and an owner of its own. What the
 * client sends and tells is collected, and the script takes it line by line.
 */
#include "smtp/test_client_play.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "smtp/client.h"

#define RECIPIENTS_MAX 8
#define MAILS_MAX      20

/* What many conversations share. */
static const struct {
	const char *name, *script;
} fragments[] = {
	{ "HELLO", "S 220 mx ESMTP\n"
		   "C EHLO us.example\n" },
	{ "PIPELINING", "+ HELLO\n"
			"S 250-mx\n"
			"S 250 PIPELINING\n"
			"E ready esmtp pipelining\n" },
	{ "CHUNKING", "+ HELLO\n"
		      "S 250-mx\n"
		      "S 250-PIPELINING\n"
		      "S 250 CHUNKING\n"
		      "E ready esmtp pipelining chunking\n" },
	{ "STEPWISE", "+ HELLO\n"
		      "S 250 mx\n"
		      "E ready esmtp\n" },
	{ "AUTH_OFFERED", "+ HELLO\n"
			  "S 250-mx\n"
			  "S 250 AUTH PLAIN LOGIN\n"
			  "E ready esmtp auth=PLAIN LOGIN\n" },
	{ "MAIL_AFTER", "O mail s@x a@y\n"
			"C MAIL FROM:<s@x>\n" },
	{ "MAIL", "O mail s@x a@y\n"
		  "C MAIL FROM:<s@x>\n"
		  "C RCPT TO:<a@y>\n"
		  "C DATA\n" },
	{ "MAIL2", "O mail s@x a@y b@y\n"
		   "C MAIL FROM:<s@x>\n"
		   "C RCPT TO:<a@y>\n"
		   "C RCPT TO:<b@y>\n"
		   "C DATA\n" },
	{ "RSET_MAIL", "O mail s@x a@y\n"
		       "C RSET\n"
		       "C MAIL FROM:<s@x>\n"
		       "C RCPT TO:<a@y>\n"
		       "C DATA\n" },
	{ "BODY", "E body-wanted\n"
		  "O body hi|\n"
		  "O end\n" },
};

/* All different, so that a script sees which is used. */
static const struct smtp_timeouts odd_timeouts = {
	.helo_ms = 1000,
	.starttls_ms = 2000,
	.mail_ms = 3000,
	.rcpt_ms = 4000,
	.data_init_ms = 5000,
	.data_xfer_ms = 6000,
	.data_done_ms = 7000,
	.rset_ms = 8000,
	.quit_ms = 9000,
};

/* A transaction, with its memory. */
struct mail {
	struct smtp_transaction transaction;
	bool is_on;
	char tag[16]; /* "": its events have no name in front */
	char words[300];
	struct smtp_recipient recipients[RECIPIENTS_MAX];
};

struct play {
	char label[100];
	bool bytewise;
	struct smtp_client_options options;
	struct smtp_client *client;
	struct buf from_server; /* not yet given to the client */
	struct buf unused;	/* given, but not used up */
	struct buf output, events;
	char when[32], action[200]; /* of W; "": none */

	struct mail mails[MAILS_MAX];
	bool is_broken;
	struct smtp_status broken_by;
};

static void act(struct play *p, const char *action);
static void play_script(struct play *p, const char *script);

static void happened(struct play *p, const char *event)
{
	char action[sizeof(p->action)];

	if (strcmp(p->when, event) != 0)
		return;
	p->when[0] = '\0';
	strcpy(action, p->action);
	act(p, action);
}

static void write_status(struct play *p, const struct smtp_status *status)
{
	buf_printf(&p->events, " %d %u.%u.%u %s", status->code, status->enhanced.class,
		   status->enhanced.subject, status->enhanced.detail, status->text);
}

static void on_ready(void *arg, const struct smtp_capabilities *c)
{
	struct play *p = arg;

	buf_printf(&p->events, "ready%s%s%s%s%s%s%s%s%s%s", c->esmtp ? " esmtp" : "",
		   c->starttls ? " starttls" : "", c->pipelining ? " pipelining" : "",
		   c->eightbitmime ? " 8bitmime" : "", c->dsn ? " dsn" : "",
		   c->smtputf8 ? " smtputf8" : "", c->chunking ? " chunking" : "",
		   c->enhanced_codes ? " enhanced" : "", c->requiretls ? " requiretls" : "",
		   c->binarymime ? " binarymime" : "");
	if (c->size)
		buf_printf(&p->events, " size=%" PRIu64, c->size_limit);
	if (c->limits.rcpt_max)
		buf_printf(&p->events, " rcptmax=%u", c->limits.rcpt_max);
	if (c->limits.mail_max)
		buf_printf(&p->events, " mailmax=%u", c->limits.mail_max);
	if (c->limits.rcpt_domain_max)
		buf_printf(&p->events, " rcptdomainmax=%u", c->limits.rcpt_domain_max);
	if (c->auth[0])
		buf_printf(&p->events, " auth=%s", c->auth);
	buf_append_string(&p->events, "\n");
	assert_ptr_equal(c, smtp_client_capabilities(p->client));
	happened(p, "ready");
}

static void on_starttls(void *arg)
{
	struct play *p = arg;

	buf_append_string(&p->events, "starttls\n");
	happened(p, "starttls");
}

static void on_starttls_refused(void *arg, const struct smtp_status *status)
{
	struct play *p = arg;

	buf_append_string(&p->events, "starttls-refused");
	write_status(p, status);
	buf_append_string(&p->events, "\n");
	happened(p, "starttls-refused");
}

static void on_challenge(void *arg, struct slice challenge)
{
	struct play *p = arg;

	buf_printf(&p->events, "challenge %.*s\n", (int)challenge.len, challenge.ptr);
	happened(p, "challenge");
}

static void on_authenticated(void *arg, const struct smtp_status *status)
{
	struct play *p = arg;

	buf_append_string(&p->events, "authenticated");
	write_status(p, status);
	buf_append_string(&p->events, "\n");
	happened(p, "authenticated");
}

/* The transaction that an event is about, and its name in the event. */
static struct mail *mail_of(struct play *p, const struct smtp_transaction *t)
{
	struct mail *m = CONTAINER_OF(t, struct mail, transaction);

	assert_true(m->is_on);
	if (m->tag[0])
		buf_printf(&p->events, "%s ", m->tag);
	return m;
}

static void on_body_wanted(void *arg, const struct smtp_transaction *t)
{
	struct play *p = arg;

	mail_of(p, t);
	buf_append_string(&p->events, "body-wanted\n");
	happened(p, "body-wanted");
}

static void on_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			 const struct smtp_status *status)
{
	struct play *p = arg;

	mail_of(p, t);
	buf_printf(&p->events, "rcpt %u", index);
	write_status(p, status);
	buf_printf(&p->events, " (%s)\n", smtp_client_stage(p->client));
}

static void on_done(void *arg, const struct smtp_transaction *t)
{
	struct play *p = arg;

	mail_of(p, t)->is_on = false;
	buf_append_string(&p->events, "done\n");
	happened(p, "done");
}

static void on_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
		      const struct smtp_status *status)
{
	static const char *const hows[] = {
		[SMTP_BREAK_ENVELOPE] = "envelope",
		[SMTP_BREAK_MESSAGE] = "message",
		[SMTP_BREAK_BEHIND] = "behind",
	};
	struct play *p = arg;

	mail_of(p, t)->is_on = false;
	buf_printf(&p->events, "broken %s\n", hows[how]);
	p->broken_by = *status;
	p->is_broken = true;
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct play *p = arg;

	if (p->is_broken)
		assert_string_equal(p->broken_by.text, status->text);
	buf_append_string(&p->events, "failed");
	write_status(p, status);
	buf_append_string(&p->events, "\n");
	happened(p, "failed");
}

static const struct smtp_client_events events = {
	.ready = on_ready,
	.starttls = on_starttls,
	.starttls_refused = on_starttls_refused,
	.challenge = on_challenge,
	.authenticated = on_authenticated,
	.body_wanted = on_body_wanted,
	.recipient = on_recipient,
	.done = on_done,
	.broken = on_broken,
	.failed = on_failed,
};

/*
 * "SENDER RECIPIENT… [size=N] [8bit] [binary] [utf8] [requiretls] [careful] [asks] [envid=X]
 * [ret=full|hdrs] [tag=X]"; "<>" is the null sender. Behind a recipient: "notify=BITS", "orcpt=X".
 */
static void act_mail(struct play *p, const char *arguments)
{
	struct mail *m = p->mails;
	struct smtp_transaction *t;
	char *save;

	while (m->is_on)
		m++;
	assert_true(m < p->mails + MAILS_MAX);
	*m = (struct mail){ .is_on = true, .transaction.recipients = m->recipients };
	t = &m->transaction;
	snprintf(m->words, sizeof(m->words), "%s", arguments);
	t->sender = strtok_r(m->words, " ", &save);
	if (strcmp(t->sender, "<>") == 0)
		t->sender = "";
	for (char *word; (word = strtok_r(NULL, " ", &save));) {
		if (strncmp(word, "size=", 5) == 0) {
			t->size = strtoull(word + 5, NULL, 10);
		} else if (strcmp(word, "8bit") == 0) {
			t->body_8bit = true;
		} else if (strcmp(word, "binary") == 0) {
			t->body_binary = true;
		} else if (strcmp(word, "requiretls") == 0) {
			t->requiretls = true;
		} else if (strcmp(word, "careful") == 0) {
			t->is_careful = true;
		} else if (strcmp(word, "asks") == 0) {
			t->envelope_only = true;
		} else if (strncmp(word, "tag=", 4) == 0) {
			snprintf(m->tag, sizeof(m->tag), "%s", word + 4);
		} else if (strcmp(word, "utf8") == 0) {
			t->smtputf8 = true;
		} else if (strncmp(word, "envid=", 6) == 0) {
			t->envelope_id = word + 6;
		} else if (strncmp(word, "ret=", 4) == 0) {
			assert_true(smtp_return_parse(slice_from(word + 4), &t->returning));
		} else if (strncmp(word, "notify=", 7) == 0) {
			m->recipients[t->recipient_count - 1].notify = (unsigned int)atoi(word + 7);
		} else if (strncmp(word, "orcpt=", 6) == 0) {
			m->recipients[t->recipient_count - 1].orcpt = word + 6;
		} else {
			assert_true(t->recipient_count < RECIPIENTS_MAX);
			m->recipients[t->recipient_count++] =
				(struct smtp_recipient){ .address = word };
		}
	}
	smtp_client_transaction(p->client, t);
}

/* '|' is CRLF. */
static void act_body(struct play *p, const char *text, bool is_last)
{
	struct buf body = { 0 };

	for (; *text; text++)
		buf_append(&body, *text == '|' ? "\r\n" : text, *text == '|' ? 2 : 1);
	smtp_client_body(p->client, buf_slice(&body), is_last);
	buf_done(&body);
}

/* "MECHANISM [RESPONSE]"; "''" is an empty one, and xN has N times an x. */
static void act_auth(struct play *p, const char *arguments)
{
	char mechanism[32], text[200] = "", many[1000];
	struct slice response;
	int given = sscanf(arguments, "%31s %199[^\n]", mechanism, text), n;

	memset(many, 'x', sizeof(many));
	response = strcmp(text, "''") == 0 ? slice_from("") : slice_from(text);
	if (sscanf(text, "x%d", &n) == 1)
		response = slice_of(many, (size_t)n);
	smtp_client_auth(p->client, mechanism, given == 2 ? &response : NULL);
}

static void act(struct play *p, const char *action)
{
	const char *space = strchr(action, ' ');
	const char *argument = space ? space + 1 : "";
	size_t n = space ? (size_t)(space - action) : strlen(action);

	if (strncmp(action, "mail", n) == 0)
		act_mail(p, argument);
	else if (strncmp(action, "body", n) == 0)
		act_body(p, argument, false);
	else if (strncmp(action, "last", n) == 0)
		act_body(p, argument, true);
	else if (strncmp(action, "end", n) == 0)
		act_body(p, "", true);
	else if (strncmp(action, "room", n) == 0)
		assert_int_equal(smtp_client_has_room(p->client), strcmp(argument, "yes") == 0);
	else if (strncmp(action, "starttls", n) == 0)
		smtp_client_starttls(p->client);
	else if (strncmp(action, "auth", n) == 0)
		act_auth(p, argument);
	else if (strncmp(action, "answer", n) == 0)
		smtp_client_auth_answer(p->client, slice_from(argument));
	else if (strncmp(action, "cancel", n) == 0)
		smtp_client_auth_cancel(p->client);
	else if (strncmp(action, "secured", n) == 0)
		smtp_client_secured(p->client);
	else if (strncmp(action, "rset", n) == 0)
		smtp_client_rset(p->client);
	else if (strncmp(action, "quit", n) == 0)
		smtp_client_quit(p->client);
	else if (strncmp(action, "lost", n) == 0)
		smtp_client_lost(p->client, argument);
	else
		fail_msg("%s: unknown action %s", p->label, action);
}

static void give(struct play *p, struct slice bytes)
{
	buf_append_slice(&p->unused, bytes);
	buf_consume(&p->unused, smtp_client_input(p->client, buf_slice(&p->unused)));
}

static void flush_server(struct play *p)
{
	struct slice bytes = buf_slice(&p->from_server);

	for (size_t i = 0; p->bytewise && i < bytes.len; i++)
		give(p, slice_of(bytes.ptr + i, 1));
	if (!p->bytewise && bytes.len > 0)
		give(p, bytes);
	buf_clear(&p->from_server);
}

/* The next line of b must be want, followed by end. */
static void expect(struct play *p, struct buf *b, const char *end, const char *want)
{
	struct slice got = buf_slice(b);
	size_t n = slice_find(got, '\n') + 1;

	if (n > got.len)
		fail_msg("%s: expected \"%s\", got \"%.*s\"", p->label, want, (int)got.len,
			 got.ptr ? got.ptr : "");
	if (n != strlen(want) + strlen(end) || memcmp(got.ptr, want, strlen(want)) != 0 ||
	    memcmp(got.ptr + strlen(want), end, strlen(end)) != 0)
		fail_msg("%s: expected \"%s\", got \"%.*s\"", p->label, want,
			 (int)(n - strlen(end)), got.ptr);
	buf_consume(b, n);
}

static void expect_quiet(struct play *p, const char *before)
{
	struct slice output = buf_slice(&p->output), told = buf_slice(&p->events);

	if (output.len > 0 || told.len > 0)
		fail_msg("%s: before \"%s\": unexpected output \"%.*s\", events \"%.*s\"", p->label,
			 before, (int)output.len, output.ptr ? output.ptr : "", (int)told.len,
			 told.ptr ? told.ptr : "");
}

static void expect_timeout(struct play *p, const char *want)
{
	char got[64];

	snprintf(got, sizeof(got), "%" PRId64 "%s%s", smtp_client_timeout_ms(p->client) / 1000,
		 *smtp_client_stage(p->client) ? " " : "", smtp_client_stage(p->client));
	if (strcmp(got, want) != 0)
		fail_msg("%s: expected time-out %s, got %s", p->label, want, got);
}

static void play_fragment(struct play *p, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fragments); i++) {
		if (strcmp(fragments[i].name, name) == 0) {
			play_script(p, fragments[i].script);
			return;
		}
	}
	fail_msg("%s: there is no fragment %s", p->label, name);
}

static void play_line(struct play *p, const char *line)
{
	const char *text = line + 2;

	if (line[0] == 'S') {
		if (buf_len(&p->from_server) == 0)
			expect_quiet(p, line);
		buf_printf(&p->from_server, "%s\r\n", text);
		return;
	}
	if (line[0] != '+')
		flush_server(p);
	switch (line[0]) {
	case 'C':
		expect(p, &p->output, "\r\n", text);
		break;
	case 'E':
		expect(p, &p->events, "\n", text);
		break;
	case 'O':
		act(p, text);
		break;
	case '+':
		play_fragment(p, text);
		break;
	case 'W':
		assert_int_equal(sscanf(text, "%31s %199[^\n]", p->when, p->action), 2);
		break;
	case 'T':
		expect_timeout(p, text);
		break;
	default:
		fail_msg("%s: what is \"%s\"?", p->label, line);
	}
}

static void play_script(struct play *p, const char *script)
{
	char line[800];

	while (*script) {
		size_t n = strcspn(script, "\n");

		assert_true(n >= 2 && n < sizeof(line));
		snprintf(line, sizeof(line), "%.*s", (int)n, script);
		play_line(p, line);
		script += n + 1;
	}
}

static void play(const char *script, bool bytewise)
{
	struct play p = { .bytewise = bytewise, .options.hello = "us.example" };

	while (*script == '#' || *script == '!') {
		size_t n = strcspn(script, "\n");

		if (*script == '#')
			snprintf(p.label, sizeof(p.label), "%.*s", (int)n - 2, script + 2);
		p.options.lmtp |= strncmp(script, "! lmtp\n", n + 1) == 0;
		p.options.no_pipelining |= strncmp(script, "! no pipelining\n", n + 1) == 0;
		if (strncmp(script, "! discard\n", n + 1) == 0)
			p.options.discard_keywords = "dsn, CHUNKING size,auth";
		if (strncmp(script, "! limits\n", n + 1) == 0)
			p.options.timeouts = odd_timeouts;
		if (bytewise && strncmp(script, "! one piece\n", n + 1) == 0)
			return;
		script += n + 1;
	}

	p.client = smtp_client_new(&p.options, &events, &p, &p.output);
	play_script(&p, script);
	flush_server(&p);
	expect_quiet(&p, "the end");
	if (p.when[0])
		fail_msg("%s: %s did not happen", p.label, p.when);

	smtp_client_free(p.client);
	buf_done(&p.from_server);
	buf_done(&p.unused);
	buf_done(&p.output);
	buf_done(&p.events);
}

void play_all(const char *const *scripts, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		play(scripts[i], false);
		play(scripts[i], true);
	}
}
