/*
 * The message, in one of two ways, the same for all of a session.
 *
 * By DATA the server is asked first, and what follows is dot-stuffed. By BDAT
 * (RFC 3030) each piece goes as it is behind its length, and the answers come
 * when they come. A piece that was begun is always sent in full, whatever is
 * heard meanwhile, since the server counts; when one is refused, what follows
 * is not sent, and the session goes on.
 */
#include "smtp/client_internal.h"

#include <assert.h>

/*
 * Where chunks could not be pipelined, each would cost a round trip: DATA is
 * faster. What an LMTP server owes for BDAT LAST when it has refused all
 * recipients no RFC says.
 */
bool client_uses_bdat(const struct smtp_client *c)
{
	return c->capabilities.chunking && client_pipelines(c) && !c->options.lmtp;
}

/* Nothing of it is left to send. */
static void sent_all(struct smtp_client *c, struct envelope *e)
{
	e->step = STEP_NONE;
	c->sending = NULL;
}

void client_data_accepted(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	if (e->open > 0) {
		c->writer = (struct smtp_data_writer){ 0 };
		e->step = STEP_BODY;
		c->events->body_wanted(c->arg, e->transaction);
		return;
	}

	/*
	 * The server waits for a message although it has refused MAIL or each
	 * RCPT. RFC 2920 section 3.1: send an empty one. But if it means to
	 * deliver that to somebody, or if it is an LMTP server, which owes no
	 * reply then (RFC 2033 section 4.2), only hanging up is left.
	 */
	if (e->accepted > 0 || c->options.lmtp) {
		client_protocol_error(c, a->what);
		return;
	}
	buf_append_string(c->output, ".\r\n");
	client_await(c, AWAIT_EMPTY_END, e, 0);
	sent_all(c, e);
}

void client_data_refused(struct smtp_client *c, const struct awaited *a)
{
	client_tell_all(c, a->envelope, &c->reply.status);
	client_proceed(c, a->envelope);
}

static void await_end(struct smtp_client *c, struct envelope *e)
{
	if (!c->options.lmtp) {
		client_await(c, AWAIT_END, e, 0);
		return;
	}
	for (unsigned int i = 0; i < e->transaction->recipient_count; i++) {
		if (e->fates[i] == FATE_ACCEPTED)
			client_await(c, AWAIT_END, e, i);
	}
}

static void send_data(struct smtp_client *c, struct envelope *e, struct slice bytes, bool is_last)
{
	smtp_data_write(&c->writer, bytes, c->output);
	if (!is_last)
		return;
	smtp_data_finish(&c->writer, c->output);
	e->is_ended = true;
	await_end(c, e);
}

static void send_chunk(struct smtp_client *c, struct envelope *e, struct slice bytes, bool is_last)
{
	if (bytes.len == 0 && !is_last)
		return;
	client_ask(c, is_last ? AWAIT_LAST : AWAIT_CHUNK, e, 0);
	buf_printf(c->output, "%zu%s\r\n", bytes.len, is_last ? " LAST" : "");
	buf_append_slice(c->output, bytes);
	e->is_ended = is_last;
}

void smtp_client_body(struct smtp_client *c, struct slice bytes, bool is_last)
{
	struct envelope *e = c->sending;

	if (c->state == CLIENT_OVER)
		return; /* failed() was told while the owner was reading the message */
	assert(e && e->step == STEP_BODY);
	if (!e->by_bdat)
		send_data(c, e, bytes, is_last);
	else if (e->open > 0)
		send_chunk(c, e, bytes, is_last);
	if (is_last)
		sent_all(c, e);
}

/* Whatever the answer is: it is the fate of all, or with LMTP of one (RFC 2033 section 4.2). */
void client_end_answered(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	c->mail_open = false;
	if (c->options.lmtp)
		client_tell(c, e, a->recipient, &c->reply.status);
	else
		client_tell_all(c, e, &c->reply.status);
	client_proceed(c, e);
}

void client_empty_end_answered(struct smtp_client *c, const struct awaited *a)
{
	c->mail_open = false;
	client_proceed(c, a->envelope);
}

/*
 * BDAT LAST ends the transaction where it succeeds. It must not where part of
 * the message, or its MAIL but not its RCPT, was refused: a server that takes
 * it all the same is not to be relied upon.
 */
void client_chunk_accepted(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	if (a->what == AWAIT_LAST) {
		if (e->chunk_refused || (e->mail_refused && e->accepted > 0)) {
			client_protocol_error(c, a->what);
			return;
		}
		c->mail_open = false;
		client_tell_all(c, e, &c->reply.status);
	}
	client_proceed(c, e);
}

void client_chunk_refused(struct smtp_client *c, const struct awaited *a)
{
	a->envelope->chunk_refused = true;
	client_tell_all(c, a->envelope, &c->reply.status);
	client_proceed(c, a->envelope);
}
