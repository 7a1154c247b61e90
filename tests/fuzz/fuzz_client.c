/*
 * fuzz_client - a server that says anything, to an owner who follows the rules
 *
 * The first byte chooses options. Then each byte is a step: the server sends a
 * reply of the table or bytes of the input, or the owner asks for something,
 * where he may. What must hold whatever the server does:
 * - a transaction ends with done(), each recipient told once, or with failed();
 * - a recipient is delivered only after the whole message was sent;
 * - nothing reaches the wire but whole commands, and messages with one end.
 */
#include <string.h>

#include "base/macros.h"
#include "smtp/client.h"
#include "tests/fuzz/fuzz.h"

#define RECIPIENTS_MAX 8

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
};

struct owner {
	struct slice input; /* what is left of the fuzzer's bytes */
	struct smtp_client *client;
	struct buf from_server, output;
	char *lent; /* the input of the running smtp_client_input() */

	bool may_ask;	 /* nothing is under way */
	bool may_secure; /* starttls() was told */
	bool wants_body; /* body_wanted() was told */
	bool sent_all;	 /* the message of this transaction was sent whole */
	bool has_failed, has_quit;
	bool eager; /* asks inside of events */

	struct smtp_transaction transaction; /* recipient_count 0: none */
	struct smtp_recipient recipients[RECIPIENTS_MAX];
	bool told[RECIPIENTS_MAX];
	char words[512];
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

/* Outside of messages the wire has commands in whole lines. */
static void check_commands(struct owner *o)
{
	static const char *const verbs[] = { "EHLO us\r", "HELO us\r", "LHLO us\r", "STARTTLS\r",
					     "RSET\r",	  "QUIT\r",    "DATA\r",    "MAIL FROM:<",
					     "RCPT TO:<", ".\r" };
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

static void now_idle(struct owner *o)
{
	o->may_ask = true;
	if (o->eager && o->input.len > 0)
		ask(o);
}

static void on_ready(void *arg, const struct smtp_capabilities *capabilities)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && !o->may_ask && o->transaction.recipient_count == 0);
	MUST(capabilities->auth);
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

static void on_body_wanted(void *arg)
{
	struct owner *o = arg;

	MUST(!o->has_failed && o->transaction.recipient_count > 0 && !o->wants_body &&
	     !o->sent_all);
	check_commands(o);
	o->wants_body = true;
}

static void on_recipient(void *arg, unsigned int index, const struct smtp_status *status)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit);
	MUST(index < o->transaction.recipient_count && !o->told[index]);
	MUST(smtp_status_class(status) != SMTP_DELIVERED || o->sent_all);
	MUST(smtp_client_stage(o->client));
	check_status(status);
	o->told[index] = true;
}

static void on_done(void *arg)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit && !o->may_ask);
	for (unsigned int i = 0; i < o->transaction.recipient_count; i++)
		MUST(o->told[i]);
	o->transaction.recipient_count = 0;
	now_idle(o);
}

static void on_failed(void *arg, const struct smtp_status *status)
{
	struct owner *o = arg;

	MUST(!o->has_failed && !o->has_quit);
	MUST(smtp_status_class(status) != SMTP_DELIVERED);
	check_status(status);
	o->has_failed = true;
	o->may_ask = false;
	drop_input(o);
}

static const struct smtp_client_events events = {
	.ready = on_ready,
	.starttls = on_starttls,
	.starttls_refused = on_starttls_refused,
	.body_wanted = on_body_wanted,
	.recipient = on_recipient,
	.done = on_done,
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

static void ask_notifications(struct owner *o, char **free_from)
{
	uint8_t shape = next_byte(o);

	o->transaction.returning = shape % 3;
	o->transaction.smtputf8 = shape & 0x10;
	o->transaction.envelope_id = next_word(o, free_from);
	o->recipients[0].notify = shape >> 4;
	o->recipients[0].orcpt = next_word(o, free_from);
}

static void ask_transaction(struct owner *o)
{
	uint8_t shape = next_byte(o);
	char *free_from = o->words;

	memset(o->told, 0, sizeof(o->told));
	o->sent_all = false;
	o->transaction = (struct smtp_transaction){
		.sender = next_word(o, &free_from),
		.recipients = o->recipients,
		.recipient_count = 1 + shape % RECIPIENTS_MAX,
		.size = shape & 0x10 ? 2000 : 0,
		.body_8bit = shape & 0x20,
	};
	for (unsigned int i = 0; i < o->transaction.recipient_count; i++)
		o->recipients[i] = (struct smtp_recipient){
			.address = shape & 0x40 ? next_word(o, &free_from) : "a@y",
		};
	if (shape & 0x80)
		ask_notifications(o, &free_from);
	smtp_client_transaction(o->client, &o->transaction);
}

static void ask(struct owner *o)
{
	if (!o->may_ask)
		return;
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
	if (!o->wants_body)
		return;
	if (next_byte(o) % 2) {
		smtp_client_body(o->client, next_bytes(o));
		return;
	}
	o->wants_body = false;
	o->sent_all = true;
	smtp_client_body_end(o->client);
	if (o->has_failed)
		buf_clear(&o->output);
	else
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
	o.client = smtp_client_new(&options, &events, &o, &o.output);
	while (o.input.len > 0) {
		step(&o);
		if (o.has_failed && o.wants_body)
			buf_clear(&o.output); /* half a message, which is never ended */
		else if (!o.wants_body)
			check_commands(&o);
		MUST(smtp_client_timeout_ms(o.client) >= 0 && smtp_client_stage(o.client));
	}
	smtp_client_free(o.client);
	buf_done(&o.from_server);
	buf_done(&o.output);
	return 0;
}
