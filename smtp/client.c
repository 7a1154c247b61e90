/*
 * The session: greeting, EHLO, STARTTLS, RSET, QUIT, and how replies find
 * their handlers. AUTH is in client_auth.c, transactions are in client_mail.c.
 *
 * One row of a table says for each kind of reply which command it answers,
 * how long to wait, and who handles 2xx (DATA: 3xx), 4xx and 5xx. A 421, a
 * reply that the row has no use for, one that was not asked for, and what is
 * no SMTP end the session, in one place each.
 */
#include "smtp/client_internal.h"

#include <assert.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"

#define SECONDS(n)  ((int64_t)(n)*1000)
#define MINUTES(n)  SECONDS((n)*60)
#define LIMIT(step) offsetof(struct smtp_timeouts, step##_ms)

static void greeted(struct smtp_client *c, const struct awaited *a);
static void hello_accepted(struct smtp_client *c, const struct awaited *a);
static void ehlo_refused(struct smtp_client *c, const struct awaited *a);
static void session_refused(struct smtp_client *c, const struct awaited *a);
static void starttls_accepted(struct smtp_client *c, const struct awaited *a);
static void starttls_refused(struct smtp_client *c, const struct awaited *a);
static void rset_accepted(struct smtp_client *c, const struct awaited *a);
static void rset_refused(struct smtp_client *c, const struct awaited *a);
static void quit_answered(struct smtp_client *c, const struct awaited *a);

/* The words of "doing" are Postfix's, which operators know from their logs. */
static const struct row {
	const char *command, *stage, *doing;
	size_t timeout; /* which of struct smtp_timeouts */
	int wanted;	/* the first digit that is success */
	void (*accepted)(struct smtp_client *c, const struct awaited *a);
	void (*deferred)(struct smtp_client *c, const struct awaited *a);   /* 4xx */
	void (*refused)(struct smtp_client *c, const struct awaited *a);    /* 5xx */
	void (*challenged)(struct smtp_client *c, const struct awaited *a); /* 334; or NULL */
} rows[] = {
	/* clang-format off */
	[AWAIT_GREETING] = {
		"", "initial greeting", "receiving the initial server greeting", LIMIT(helo),
		2, greeted, session_refused, session_refused,
	},
	[AWAIT_EHLO] = {
		"EHLO ", "EHLO", "performing the EHLO handshake", LIMIT(helo),
		2, hello_accepted, session_refused, ehlo_refused,
	},
	[AWAIT_HELO] = {
		"HELO ", "HELO", "performing the HELO handshake", LIMIT(helo),
		2, hello_accepted, session_refused, session_refused,
	},
	[AWAIT_LHLO] = {
		"LHLO ", "LHLO", "performing the LHLO handshake", LIMIT(helo),
		2, hello_accepted, session_refused, session_refused,
	},
	[AWAIT_STARTTLS] = {
		"STARTTLS", "STARTTLS", "receiving the STARTTLS response", LIMIT(starttls),
		2, starttls_accepted, starttls_refused, starttls_refused,
	},
	[AWAIT_AUTH] = {
		"AUTH ", "AUTH", "performing the AUTH exchange", LIMIT(helo),
		2, client_auth_answered, client_auth_answered, client_auth_answered,
		client_auth_challenged,
	},
	[AWAIT_AUTH_CANCEL] = {
		"*", "AUTH", "performing the AUTH exchange", LIMIT(helo),
		2, client_auth_not_cancelled, client_auth_answered, client_auth_answered,
	},
	[AWAIT_RSET] = {
		"RSET", "RSET", "sending RSET", LIMIT(rset),
		2, rset_accepted, rset_refused, rset_refused,
	},
	[AWAIT_MAIL] = {
		"MAIL FROM:", "MAIL FROM", "sending MAIL FROM", LIMIT(mail),
		2, client_mail_accepted, client_mail_refused, client_mail_refused,
	},
	[AWAIT_RCPT] = {
		"RCPT TO:", "RCPT TO", "sending RCPT TO", LIMIT(rcpt),
		2, client_rcpt_accepted, client_rcpt_refused, client_rcpt_refused,
	},
	[AWAIT_DATA] = {
		"DATA", "DATA", "sending DATA command", LIMIT(data_init),
		3, client_data_accepted, client_data_refused, client_data_refused,
	},
	[AWAIT_END] = {
		"", "end of data",
		"sending end of data -- message may be sent more than once", LIMIT(data_done),
		2, client_end_answered, client_end_answered, client_end_answered,
	},
	[AWAIT_EMPTY_END] = {
		"", "end of data", "sending end of data", LIMIT(data_done),
		2, client_empty_end_answered, client_empty_end_answered, client_empty_end_answered,
	},
	[AWAIT_CHUNK] = {
		"BDAT ", "BDAT", "sending message body", LIMIT(data_xfer),
		2, client_chunk_accepted, client_chunk_refused, client_chunk_refused,
	},
	[AWAIT_LAST] = {
		"BDAT ", "end of data",
		"sending end of data -- message may be sent more than once", LIMIT(data_done),
		2, client_chunk_accepted, client_chunk_refused, client_chunk_refused,
	},
	[AWAIT_QUIT] = {
		"QUIT", "QUIT", "sending QUIT", LIMIT(quit),
		2, quit_answered, quit_answered, quit_answered,
	},
	/* clang-format on */
};

/* RFC 5321 section 4.5.3.2 has no times for STARTTLS, RSET and QUIT: these are ours. */
static const struct smtp_timeouts default_timeouts = {
	.helo_ms = MINUTES(5),
	.starttls_ms = MINUTES(5),
	.mail_ms = MINUTES(5),
	.rcpt_ms = MINUTES(5),
	.data_init_ms = MINUTES(2),
	.data_xfer_ms = MINUTES(3),
	.data_done_ms = MINUTES(10),
	.rset_ms = SECONDS(20),
	.quit_ms = SECONDS(10),
};

struct smtp_client *smtp_client_new(const struct smtp_client_options *options,
				    const struct smtp_client_events *events, void *arg,
				    struct buf *output)
{
	struct smtp_client *c = memory_new(sizeof(*c));

	*c = (struct smtp_client){
		.options = *options,
		.events = events,
		.arg = arg,
		.output = output,
		.state = CLIENT_OPENING,
		.answering = AWAIT_NOTHING,
		.capabilities.auth = "",
	};
	list_init(&c->envelopes);
	list_init(&c->finished);
	client_await(c, AWAIT_GREETING, NULL, 0);
	return c;
}

void smtp_client_free(struct smtp_client *c)
{
	if (!c)
		return;
	buf_wipe(&c->held_response);
	buf_done(&c->awaited);
	smtp_reply_done(&c->reply);
	client_forget_envelopes(c);
	free(c);
}

#define FROM(state) (1u << CLIENT_##state)

void client_enter(struct smtp_client *c, enum client_state state)
{
	static const unsigned int origins[] = {
		[CLIENT_OPENING] = FROM(HANDSHAKE),
		[CLIENT_READY] = FROM(OPENING) | FROM(ASKING) | FROM(MAILING),
		[CLIENT_ASKING] = FROM(READY) | FROM(CHALLENGED),
		[CLIENT_CHALLENGED] = FROM(ASKING),
		[CLIENT_HANDSHAKE] = FROM(ASKING),
		[CLIENT_MAILING] = FROM(READY),
		[CLIENT_REFUSED] = FROM(OPENING),
		[CLIENT_LEAVING] = FROM(READY) | FROM(REFUSED),
		[CLIENT_OVER] = ~0u,
	};

	assert(origins[state] & (1u << c->state));
	c->state = state;
}

bool client_pipelines(const struct smtp_client *c)
{
	return c->capabilities.pipelining && !c->options.no_pipelining;
}

bool client_is_awaiting(const struct smtp_client *c)
{
	return buf_len(&c->awaited) > 0;
}

static size_t awaited_count(const struct smtp_client *c)
{
	return buf_len(&c->awaited) / sizeof(struct awaited);
}

static struct awaited first_awaited(const struct smtp_client *c)
{
	struct awaited a = { .what = AWAIT_NOTHING };

	if (client_is_awaiting(c))
		memcpy(&a, buf_slice(&c->awaited).ptr, sizeof(a));
	return a;
}

void client_await(struct smtp_client *c, enum client_await what, struct envelope *e,
		  unsigned int recipient)
{
	struct awaited a = { .what = what, .recipient = recipient, .envelope = e };

	buf_append(&c->awaited, &a, sizeof(a));
	if (e)
		e->owed++;
}

void client_ask(struct smtp_client *c, enum client_await what, struct envelope *e,
		unsigned int recipient)
{
	buf_append_string(c->output, rows[what].command);
	client_await(c, what, e, recipient);
}

static void ask_alone(struct smtp_client *c, enum client_await what, const char *argument)
{
	client_ask(c, what, NULL, 0);
	buf_append_string(c->output, argument);
	buf_append_string(c->output, "\r\n");
}

static void say_hello(struct smtp_client *c)
{
	ask_alone(c, c->options.lmtp ? AWAIT_LHLO : AWAIT_EHLO, c->options.hello);
}

/* Nothing of the session is left to use. state: CLIENT_OVER, or CLIENT_REFUSED to allow QUIT. */
static void end_session(struct smtp_client *c, enum client_state state,
			const struct smtp_status *status)
{
	bool is_told = c->state != CLIENT_LEAVING; /* after QUIT nobody wants to know */
	enum client_await at = c->answering;

	if (at == AWAIT_NOTHING)
		at = first_awaited(c).what;
	client_enter(c, state);
	buf_clear(&c->awaited);
	if (!is_told)
		return;
	client_break(c, at, status);
	c->events->failed(c->arg, status);
}

void client_fail(struct smtp_client *c, const struct smtp_status *status)
{
	end_session(c, CLIENT_OVER, status);
}

/* The transaction whose turn it is. */
static const struct envelope *first_envelope(const struct smtp_client *c)
{
	if (list_is_empty(&c->envelopes))
		return NULL;
	return CONTAINER_OF(c->envelopes.next, struct envelope, link);
}

static bool has_sent_message(const struct smtp_client *c)
{
	const struct envelope *e = first_envelope(c);

	return e && e->is_ended;
}

/* The server does not speak SMTP any more: what it has got it may have taken. */
static void fail_unclear(struct smtp_client *c, struct smtp_status *status)
{
	if (has_sent_message(c))
		smtp_status_set(status, status->code, status->enhanced,
				"%s -- message may be sent more than once", status->text);
	client_fail(c, status);
}

void client_protocol_error(struct smtp_client *c, enum client_await what)
{
	struct smtp_status *status = &c->reply.status;
	bool asked = what != AWAIT_NOTHING;

	smtp_status_set(status, 0, ESC(4, 5, 0), "protocol error: server said \"%d %s\" %s%s",
			status->code, status->text, asked ? "in reply to " : "unasked",
			asked ? rows[what].stage : "");
	fail_unclear(c, status);
}

static void greeted(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	say_hello(c);
}

static void session_refused(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	end_session(c, CLIENT_REFUSED, &c->reply.status);
}

static void hello_accepted(struct smtp_client *c, const struct awaited *a)
{
	if (a->what != AWAIT_HELO)
		client_capabilities_parse(buf_slice(&c->reply.lines), c->options.discard_keywords,
					  &c->capabilities, c->auth);
	client_enter(c, CLIENT_READY);
	c->events->ready(c->arg, &c->capabilities);
}

/* RFC 5321 section 3.2: a server of old, without extensions. */
static void ehlo_refused(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	ask_alone(c, AWAIT_HELO, c->options.hello);
}

void smtp_client_starttls(struct smtp_client *c)
{
	assert(c->state == CLIENT_READY);
	client_enter(c, CLIENT_ASKING);
	ask_alone(c, AWAIT_STARTTLS, "");
}

static void starttls_accepted(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	client_enter(c, CLIENT_HANDSHAKE);
	/* RFC 3207 section 4: what follows the 220 in the clear is no part of the session. */
	c->drop_input = true;
	c->events->starttls(c->arg);
}

static void starttls_refused(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	client_enter(c, CLIENT_READY);
	c->events->starttls_refused(c->arg, &c->reply.status);
}

void smtp_client_secured(struct smtp_client *c)
{
	assert(c->state == CLIENT_HANDSHAKE);
	client_enter(c, CLIENT_OPENING);
	/* RFC 3207 section 4.2: whatever was learned in the clear may be forged. */
	c->capabilities = (struct smtp_capabilities){ .auth = "" };
	c->unasked = false;
	say_hello(c);
}

void smtp_client_rset(struct smtp_client *c)
{
	assert(c->state == CLIENT_READY);
	client_enter(c, CLIENT_ASKING);
	ask_alone(c, AWAIT_RSET, "");
}

static void rset_accepted(struct smtp_client *c, const struct awaited *a)
{
	c->mail_open = false;
	if (a->envelope) {
		client_mail_reset(c, a);
		return;
	}
	client_enter(c, CLIENT_READY);
	c->events->ready(c->arg, &c->capabilities);
}

/* It says nothing about the mail: a 5xx to RSET must not return it to its sender. */
static void rset_refused(struct smtp_client *c, const struct awaited *a)
{
	client_protocol_error(c, a->what);
}

void smtp_client_quit(struct smtp_client *c)
{
	if (c->state != CLIENT_READY && c->state != CLIENT_REFUSED)
		return;
	client_enter(c, CLIENT_LEAVING);
	ask_alone(c, AWAIT_QUIT, "");
}

static void quit_answered(struct smtp_client *c, const struct awaited *a)
{
	(void)a;
	client_enter(c, CLIENT_OVER);
}

/* The owner has been asked for a message, and has not given all of it. */
static bool is_giving_body(const struct smtp_client *c)
{
	return c->sending && c->sending->step == STEP_BODY;
}

void smtp_client_lost(struct smtp_client *c, const char *reason)
{
	enum client_await what = first_awaited(c).what;
	const char *doing = what == AWAIT_NOTHING ? NULL : rows[what].doing;
	struct smtp_status status;

	if (c->state == CLIENT_REFUSED || c->state == CLIENT_OVER) {
		client_enter(c, CLIENT_OVER); /* failed() was told before */
		return;
	}
	if (has_sent_message(c))
		doing = rows[AWAIT_END].doing;
	else if (is_giving_body(c) && what == AWAIT_NOTHING)
		doing = rows[AWAIT_CHUNK].doing;
	else if (c->state == CLIENT_HANDSHAKE)
		doing = "performing the TLS handshake";
	else if (c->state == CLIENT_CHALLENGED)
		doing = rows[AWAIT_AUTH].doing;

	smtp_status_set(&status, 0, ESC(4, 4, 2), "%s%s%s", reason, doing ? " while " : "",
			doing ? doing : "");
	client_fail(c, &status);
}

/*
 * A server may say that it goes (421, or some other 4xx) at any time; then
 * that is the reason. Some refuse a message while it is still being sent, and
 * that too is an answer. Anything else is out of step: taking it for the reply
 * to the next command would mix up the fates of messages.
 */
static void handle_unasked(struct smtp_client *c)
{
	enum client_await what = first_awaited(c).what;
	int digit = c->reply.status.code / 100;
	bool is_in_body = is_giving_body(c) || has_sent_message(c);

	/* Behind BDAT a message may be on its way whose MAIL the server has not come to. */
	is_in_body &= what == AWAIT_NOTHING || what == AWAIT_END || what == AWAIT_CHUNK ||
		      what == AWAIT_LAST;
	if (digit == 4 || (digit == 5 && is_in_body))
		client_fail(c, &c->reply.status);
	else
		client_protocol_error(c, AWAIT_NOTHING);
}

static void handle_asked(struct smtp_client *c, const struct awaited *a)
{
	const struct row *row = &rows[a->what];
	int code = c->reply.status.code;

	if (code == 421 && a->what != AWAIT_QUIT) {
		/* RFC 5321 section 3.8: whatever the command was, the server is closing. */
		client_fail(c, &c->reply.status);
	} else if (code / 100 == row->wanted) {
		row->accepted(c, a);
	} else if (code == 334 && row->challenged) {
		row->challenged(c, a);
	} else if (code / 100 == 4) {
		row->deferred(c, a);
	} else if (code / 100 == 5) {
		row->refused(c, a);
	} else {
		client_protocol_error(c, a->what);
	}
}

/* The reply in c->reply; more: there are bytes behind it. */
static void handle_reply(struct smtp_client *c, bool more)
{
	struct awaited a = first_awaited(c);

	if (c->unasked) {
		handle_unasked(c);
		return;
	}
	buf_consume(&c->awaited, sizeof(a));
	if (a.envelope)
		a.envelope->owed--;
	/* What the handler sends cannot be answered by bytes that are here already. */
	c->answerable--;
	c->unasked = more && c->answerable == 0;

	c->answering = a.what;
	handle_asked(c, &a);
	c->answering = AWAIT_NOTHING;
}

size_t smtp_client_input(struct smtp_client *c, struct slice input)
{
	struct slice rest = input;

	if (!c->unasked)
		c->answerable = awaited_count(c);
	while (rest.len > 0) {
		if (c->state == CLIENT_HANDSHAKE || c->state == CLIENT_REFUSED ||
		    c->state == CLIENT_OVER)
			return input.len;
		if (c->answerable == 0)
			c->unasked = true;

		switch (smtp_reply_take(&rest, &c->reply)) {
		case SMTP_REPLY_COMPLETE:
			handle_reply(c, rest.len > 0);
			break;
		case SMTP_REPLY_PARTIAL:
			return input.len - rest.len;
		case SMTP_REPLY_MALFORMED:
			fail_unclear(c, &c->reply.status);
			return input.len;
		}
		/* The owner may have let go of the input: after STARTTLS, or with the session. */
		if (c->drop_input || c->state == CLIENT_LEAVING) {
			c->drop_input = false;
			return input.len;
		}
	}
	return input.len;
}

static int64_t limit_of(const struct smtp_client *c, size_t step)
{
	int64_t given_ms = *(const int64_t *)((const char *)&c->options.timeouts + step);

	return given_ms ? given_ms : *(const int64_t *)((const char *)&default_timeouts + step);
}

int64_t smtp_client_timeout_ms(const struct smtp_client *c)
{
	if (client_is_awaiting(c))
		return limit_of(c, rows[first_awaited(c).what].timeout);
	if (is_giving_body(c))
		return limit_of(c, LIMIT(data_xfer));
	if (c->state == CLIENT_HANDSHAKE)
		return limit_of(c, LIMIT(starttls));
	return 0;
}

const char *smtp_client_stage(const struct smtp_client *c)
{
	enum client_await what = c->answering;

	if (c->is_refusing)
		return "";
	if (what == AWAIT_NOTHING)
		what = first_awaited(c).what;
	if (what != AWAIT_NOTHING)
		return rows[what].stage;
	if (is_giving_body(c))
		return "message body";
	if (c->state == CLIENT_HANDSHAKE)
		return "TLS handshake";
	if (c->state == CLIENT_CHALLENGED)
		return rows[AWAIT_AUTH].stage;
	return "";
}

bool smtp_client_tells_verdict(const struct smtp_client *c)
{
	return !c->is_refusing && (c->answering == AWAIT_RCPT || c->answering == AWAIT_END ||
				   c->answering == AWAIT_CHUNK || c->answering == AWAIT_LAST);
}

const struct smtp_capabilities *smtp_client_capabilities(const struct smtp_client *c)
{
	return &c->capabilities;
}
