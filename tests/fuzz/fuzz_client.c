/*
 * fuzz_client - a server that says anything, to an owner who follows the rules
 *
 * The first byte chooses options. Then each byte is a step: the server sends a
 * reply of the table or bytes of the input, or the owner asks for something,
 * where he may. What must hold whatever the server does:
 * - a transaction ends with done(), each recipient told once, or with broken();
 * - a recipient is delivered only after the whole message was sent;
 * - nothing reaches the wire but whole commands and chunks, and messages with
 *   one end.
 */
#include <string.h>

#include "base/macros.h"
#include "smtp/client.h"
#include "tests/fuzz/fuzz.h"

#define RECIPIENTS_MAX 8
#define MAILS_MAX      6

/* What is likely to lead somewhere. */
static const char *const replies[] = {
	"220 mx\r\n",
	"250 Ok\r\n",
	"250-mx\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 STARTTLS\r\n",
	"250-mx\r\n250 STARTTLS\r\n",
	"250 2.1.5 Ok\r\n",
	"354 go\r\n",
	"421 4.3.2 closing\r\n",
	"450 4.2.0 later\r\n",
	"503-5.5.1 no\r\n503 5.5.1 no\r\n",
	"550 5.1.1 who?\r\n",
	"250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250 LIMITS RCPTMAX=2\r\n",
	"250 Ok\r\n250 Ok\r\n",
};

struct mail {
	struct smtp_transaction transaction;
	struct smtp_recipient recipients[RECIPIENTS_MAX];
	bool is_on;
	bool told[RECIPIENTS_MAX];
	bool sent_all; /* its message */
	char words[512];
};

struct owner {
	struct slice input; /* what is left of the fuzzer's bytes */
	struct smtp_client *client;
	struct buf from_server, output;
	char *lent; /* the input of the running smtp_client_input() */

	bool may_ask;		      /* nothing is under way */
	bool may_answer;	      /* challenge() was told */
	bool may_secure;	      /* starttls() was told */
	struct mail *giving;	      /* body_wanted() was told */
	bool by_bdat;		      /* what the server said means that messages go by it */
	bool may_pipeline, may_chunk; /* the options */
	bool has_failed, has_quit;
	bool eager; /* asks inside of events */

	struct mail mails[MAILS_MAX];
};

static uint8_t next_byte(struct owner *o)
{
	uint8_t byte = o->input.len > 0 ? (uint8_t)o->input.ptr[0] : 0;

	o->input = slice_skip(o->input, 1);
	return byte;
}

static struct slice next_bytes(struct owner *o)
{
	struct slice bytes = slice_first(o->input, next_byte(o));

	bytes = slice_first(o->input, bytes.len);
	o->input = slice_skip(o->input, bytes.len);
	return bytes;
}

static void check_status(const struct smtp_status *status)
{
	MUST(memchr(status->text, 0, sizeof(status->text)));
	for (const char *p = status->text; *p; p++)
		MUST((unsigned char)*p >= ' ' && *p != 0x7f);
}

/* A chunk behind its BDAT, which is at the front of rest. */
static struct slice skip_chunk(struct slice rest)
{
	size_t n = slice_find(rest, '\n');
	char *end;
	unsigned long len = strtoul(rest.ptr + strlen("BDAT "), &end, 10);

	MUST(*end == '\r' || memcmp(end, " LAST\r", 6) == 0);
	rest = slice_skip(rest, n + 1);
	MUST(len <= rest.len);
	return slice_skip(rest, len);
}

/* Outside of messages by DATA the wire has commands in whole lines, and whole chunks. */
static void check_commands(struct owner *o)
{
	static const char *const verbs[] = { "EHLO us\r", "HELO us\r", "LHLO us\r", "STARTTLS\r",
					     "RSET\r",	  "QUIT\r",    "DATA\r",    "MAIL FROM:<",
					     "RCPT TO:<", ".\r",       "BDAT ",	    "AUTH PLAIN",
					     "AAAA",	  "*\r" };
	struct slice rest = buf_slice(&o->output);

	while (rest.len > 0) {
		size_t n = slice_find(rest, '\n');
		bool is_known = false;

		MUST(n > 0 && n < rest.len && rest.ptr[n - 1] == '\r');
		for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
			is_known |= slice_starts_nocase(rest, slice_from(verbs[i]));
		MUST(is_known);
		for (size_t i = 0; i < n - 1; i++)
			MUST((unsigned char)rest.ptr[i] >= ' ' && rest.ptr[i] != 0x7f);
		if (slice_starts_nocase(rest, SLICE("BDAT ")))
			rest = skip_chunk(rest);
		else
			rest = slice_skip(rest, n + 1);
	}
	buf_clear(&o->output);
}

/* A message has one end of data, at its end. */
static void check_message(struct owner *o)
{
	static const char end[] = "\r\n.\r\n";
	struct slice got = buf_slice(&o->output);
	const char *found;

	if (got.len == 3) {
		MUST(memcmp(got.ptr, end + 2, 3) == 0);
	} else {
		found = memmem(got.ptr, got.len, end, strlen(end));
		MUST(found == got.ptr + got.len - strlen(end));
		MUST(memcmp(got.ptr, end + 2, 3) != 0);
	}
	buf_clear(&o->output);
}

static void ask(struct owner *o);

/* As when the connection is closed inside of an event: a later look at it is an error. */
static void drop_input(struct owner *o)
{
	free(o->lent);
	o->lent = NULL;
	buf_clear(&o->from_server);
}

static void ask_more(struct owner *o);

static void now_idle(struct owner *o)
{
	o->may_ask = true;
	if (o->eager && o->input.len > 0)
		ask(o);
}

static unsigned int mails_on(const struct owner *o)
{
	unsigned int count = 0;

	for (size_t i = 0; i < MAILS_MAX; i++)
		count += o->mails[i].is_on;
	return count;
}

static struct mail *mail_of(const struct smtp_transaction *t)
{
	struct mail *m = CONTAINER_OF(t, struct mail, transaction);

	MUST(m->is_on);
	return m;
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && !o->may_ask && mails_on(o) == 0);
	MUST(capabilities->auth);
	o->by_bdat = o->may_chunk && o->may_pipeline && capabilities->pipelining &&
		     capabilities->chunking;
	now_idle(o);
}

static void on_starttls(void *arg)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit);
	o->may_secure = true;
	drop_input(o);
}

static void on_starttls_refused(void *arg, const struct smtp_status *status)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit);
	MUST(smtp_status_class(status) != SMTP_DELIVERED);
	check_status(status);
	now_idle(o);
}

#define RESPONSE_MAX 600 /* enough for more than a command has room for */

/* Begins with three zeros, hence with AAAA in base64, for check_commands() to know. */
static struct slice next_response(struct owner *o, char memory[RESPONSE_MAX])
{
	size_t len = 3 + next_byte(o) * 2;

	memset(memory, 0, RESPONSE_MAX);
	return slice_of(memory, len);
}

static void log_in(struct owner *o)
{
	char memory[RESPONSE_MAX];
	struct slice response = next_response(o, memory);

	if (!o->may_ask)
		return;
	o->may_ask = false;
	smtp_client_auth(o->client, "PLAIN", next_byte(o) % 2 ? &response : NULL);
}

static void answer(struct owner *o)
{
	char memory[RESPONSE_MAX];

	if (!o->may_answer || o->has_failed)
		return;
	o->may_answer = false;
	if (next_byte(o) % 4 == 0)
		smtp_client_auth_cancel(o->client);
	else
		smtp_client_auth_answer(o->client, next_response(o, memory));
}

static void on_challenge(void *arg, struct slice challenge)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && !o->may_ask && !o->may_answer);
	MUST(challenge.len < 2048);
	o->may_answer = true;
	if (o->eager)
		answer(o);
}

static void on_authenticated(void *arg, const struct smtp_status *status)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && !o->may_ask && !o->may_answer);
	check_status(status);
	now_idle(o);
}

static void on_body_wanted(void *arg, const struct smtp_transaction *t)
{
	struct owner *o = arg;
	struct mail *m = mail_of(t);

	MUST(!o->has_failed && !o->giving && !m->sent_all);
	check_commands(o);
	o->giving = m;
}

static void on_recipient(void *arg, const struct smtp_transaction *t, unsigned int index,
			 const struct smtp_status *status)
{
	struct owner *o = arg;
	struct mail *m = mail_of(t);

	MUST(!o->has_failed && !o->has_quit);
	MUST(index < m->transaction.recipient_count && !m->told[index]);
	MUST(smtp_status_class(status) != SMTP_DELIVERED || m->sent_all);
	MUST(smtp_client_stage(o->client));
	check_status(status);
	m->told[index] = true;
}

static void end_mail(struct owner *o, struct mail *m)
{
	m->is_on = false;
	if (o->giving == m)
		o->giving = NULL;
}

static void on_done(void *arg, const struct smtp_transaction *t)
{
	struct owner *o = arg;
	struct mail *m = mail_of(t);

	MUST(!o->has_failed && !o->has_quit && !o->may_ask);
	for (unsigned int i = 0; i < m->transaction.recipient_count; i++)
		MUST(m->told[i]);
	MUST(o->giving != m || o->by_bdat);
	end_mail(o, m);
	if (mails_on(o) == 0)
		now_idle(o);
	else if (o->eager && o->input.len > 0)
		ask_more(o);
}

static void on_broken(void *arg, const struct smtp_transaction *t, enum smtp_break how,
		      const struct smtp_status *status)
{
	struct owner *o = arg;
	struct mail *m = mail_of(t);

	MUST(!o->has_failed && !o->has_quit && !o->may_ask);
	MUST(smtp_status_class(status) != SMTP_DELIVERED);
	MUST(how == SMTP_BREAK_MESSAGE || smtp_status_class(status) == SMTP_DEFERRED);
	check_status(status);
	end_mail(o, m);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && mails_on(o) == 0);
	MUST(smtp_status_class(status) != SMTP_DELIVERED);
	check_status(status);
	o->may_answer = false;
	o->has_failed = true;
	o->may_ask = false;
	drop_input(o);
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

static const char *next_word(struct owner *o, char **free_from)
{
	struct slice bytes = slice_first(next_bytes(o), 32);
	char *word = *free_from;

	if (bytes.len > 0)
		memcpy(word, bytes.ptr, bytes.len);
	word[bytes.len] = '\0';
	*free_from += bytes.len + 1;
	return word;
}

static void ask_notifications(struct owner *o, struct mail *m, char **free_from)
{
	uint8_t shape = next_byte(o);

	m->transaction.returning = shape % 3;
	m->transaction.smtputf8 = shape & 0x10;
	m->transaction.envelope_id = next_word(o, free_from);
	m->recipients[0].notify = shape >> 4;
	m->recipients[0].orcpt = next_word(o, free_from);
}

static void ask_transaction(struct owner *o)
{
	uint8_t shape = next_byte(o);
	struct mail *m = o->mails;
	char *free_from;

	while (m->is_on)
		m++;
	*m = (struct mail){ .is_on = true };
	free_from = m->words;
	m->transaction = (struct smtp_transaction){
		.sender = next_word(o, &free_from),
		.recipients = m->recipients,
		.recipient_count = 1 + shape % RECIPIENTS_MAX,
		.size = shape & 0x10 ? 2000 : 0,
		.body_8bit = shape & 0x20,
		.body_binary = (shape & 0x2f) == 0x23,
		.is_careful = shape & 0x8,
	};
	for (unsigned int i = 0; i < m->transaction.recipient_count; i++)
		m->recipients[i] = (struct smtp_recipient){
			.address = shape & 0x40 ? next_word(o, &free_from) : "a@y",
		};
	if (shape & 0x80)
		ask_notifications(o, m, &free_from);
	o->may_ask = false;
	smtp_client_transaction(o->client, &m->transaction);
}

/* One more behind those that are on. */
static void ask_more(struct owner *o)
{
	if (mails_on(o) < MAILS_MAX && smtp_client_has_room(o->client))
		ask_transaction(o);
}

static void ask(struct owner *o)
{
	if (!o->may_ask) {
		if (mails_on(o) > 0)
			ask_more(o);
		return;
	}
	o->may_ask = false;
	switch (next_byte(o) % 5) {
	case 0:
		smtp_client_starttls(o->client);
		break;
	case 1:
		smtp_client_rset(o->client);
		break;
	case 2:
		smtp_client_quit(o->client);
		o->has_quit = true;
		drop_input(o);
		break;
	default:
		ask_transaction(o);
		break;
	}
}

static void send_body(struct owner *o)
{
	struct mail *m = o->giving;
	bool is_last;

	if (!m)
		return;
	is_last = next_byte(o) % 2 == 0;
	if (is_last) {
		o->giving = NULL;
		m->sent_all = true;
	}
	smtp_client_body(o->client, next_bytes(o), is_last);
	if (o->by_bdat)
		check_commands(o);
	else if (is_last)
		check_message(o);
}

static void serve(struct owner *o, struct slice bytes)
{
	size_t len, used;

	buf_append_slice(&o->from_server, bytes);
	len = buf_len(&o->from_server);
	if (len == 0)
		return;
	o->lent = malloc(len);
	MUST(o->lent);
	memcpy(o->lent, buf_slice(&o->from_server).ptr, len);

	used = smtp_client_input(o->client, slice_of(o->lent, len));
	MUST(used <= len);
	if (o->lent)
		buf_consume(&o->from_server, used);
	else
		MUST(used == len);
	free(o->lent);
	o->lent = NULL;
}

static void step(struct owner *o)
{
	uint8_t what = next_byte(o);

	if (what < 0x80) {
		serve(o, slice_from(replies[what % ARRAY_SIZE(replies)]));
	} else if (what < 0xa0) {
		serve(o, next_bytes(o));
	} else if (what < 0xc0) {
		ask(o);
	} else if (what < 0xf0) {
		send_body(o);
	} else if (what < 0xf8 && o->may_secure && !o->has_failed) {
		o->may_secure = false;
		smtp_client_secured(o->client);
	} else if (what == 0xfd) {
		log_in(o);
	} else if (what == 0xfe) {
		answer(o);
	} else if (what == 0xff) {
		smtp_client_lost(o->client, "lost connection with mx");
		MUST(o->has_failed || o->has_quit);
	} else if (o->has_failed) {
		smtp_client_quit(o->client);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct owner o = { .input = slice_of((const char *)data, size) };
	uint8_t shape = next_byte(&o);
	struct smtp_client_options options = {
		.hello = "us",
		.lmtp = shape & 1,
		.no_pipelining = shape & 2,
	};

	o.eager = shape & 4;
	o.may_pipeline = !options.no_pipelining;
	o.may_chunk = !options.lmtp;
	o.client = smtp_client_new(&options, &events, &o, &o.output);
	while (o.input.len > 0) {
		step(&o);
		if (o.has_failed)
			buf_clear(&o.output); /* maybe half a message, which is never ended */
		else if (!o.giving || o.by_bdat)
			check_commands(&o);
		MUST(smtp_client_timeout_ms(o.client) >= 0 && smtp_client_stage(o.client));
	}
	smtp_client_free(o.client);
	buf_done(&o.from_server);
	buf_done(&o.output);
	return 0;
}
