/*
 * Mail transactions: RSET where needed, MAIL, RCPT…, DATA; what is sent when,
 * and what it means for a transaction when the session ends.
 *
 * With PIPELINING (RFC 2920) all commands up to DATA are appended at once, so
 * the replies to RCPT and DATA come even where MAIL was refused, and DATA may
 * be accepted where every RCPT was refused. Each such reply is awaited like
 * any other, and its handler finds that there is nothing left to decide.
 *
 * Envelopes are in the order of their replies. Only the newest may be in the
 * midst of being sent, so one reply of the server says of all before it what
 * has become of them, and of those behind it that their turn has not come.
 *
 * An envelope that goes behind a BDAT LAST without an answer begins with RSET:
 * should that message, or each of its recipients, be refused, the server may
 * stay in its transaction (RFC 3030 section 2 leaves that open), refuse our
 * MAIL, and take our RCPTs for its own. Behind the final dot there is no need:
 * that ends a transaction in any case (RFC 5321 section 4.1.1.4).
 *
 * An envelope without a message ends with RSET, in the same flight: a server that
 * is left in the middle of a transaction holds on to it, and to who waits behind it.
 *
 * A recipient's fate is told in the moment it is known: so the stage that an
 * owner asks for inside the event names the command that decided it.
 */
#include "smtp/client_internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/memory.h"

/*
 * How much may wait for an answer. More than that a break in the connection
 * could double; and over a link of 100 ms it is 160 messages, or 10 MiB, in a
 * second.
 */
#define IN_FLIGHT_MAX	    16
#define IN_FLIGHT_BYTES_MAX 1048576

/* A message up to this size is sent before it is known whether anybody may have it. */
#define UNASKED_BYTES_MAX 262144

void client_tell(struct smtp_client *c, struct envelope *e, unsigned int recipient,
		 const struct smtp_status *status)
{
	assert(e->fates[recipient] != FATE_TOLD);
	e->fates[recipient] = FATE_TOLD;
	e->open--;
	c->events->recipient(c->arg, e->transaction, recipient, status);
}

void client_tell_all(struct smtp_client *c, struct envelope *e, const struct smtp_status *status)
{
	for (unsigned int i = 0; i < e->transaction->recipient_count; i++) {
		if (e->fates[i] != FATE_TOLD)
			client_tell(c, e, i, status);
	}
}

/*
 * The owner may begin the next transaction inside of done(), and that one may
 * be over before it has begun (too large for the server). A loop, as a queue
 * of such messages must not become as many nested calls.
 */
static void tell_done(struct smtp_client *c)
{
	struct list *link;

	if (c->telling_done)
		return;
	c->telling_done = true;
	while ((link = list_pop(&c->finished)) != NULL) {
		struct envelope *e = CONTAINER_OF(link, struct envelope, link);
		const struct smtp_transaction *t = e->transaction;

		free(e);
		c->events->done(c->arg, t);
	}
	c->telling_done = false;
}

static void finish(struct smtp_client *c, struct envelope *e)
{
	list_remove(&e->link);
	c->envelope_count--;
	c->envelope_bytes -= e->transaction->size;
	if (c->sending == e)
		c->sending = NULL;
	if (c->envelope_count == 0)
		client_enter(c, CLIENT_READY);
	list_push(&c->finished, &e->link);
	tell_done(c);
}

/* RFC 3461 section 5.2.1: passed on as they came. */
static void send_mail_dsn(struct smtp_client *c, const struct smtp_transaction *t)
{
	if (t->returning != SMTP_RETURN_DEFAULT)
		buf_printf(c->output, " RET=%s",
			   t->returning == SMTP_RETURN_FULL ? "FULL" : "HDRS");
	if (t->envelope_id && *t->envelope_id) {
		buf_append_string(c->output, " ENVID=");
		smtp_xtext_encode(t->envelope_id, c->output);
	}
}

static void send_mail(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;

	client_ask(c, AWAIT_MAIL, e, 0);
	buf_printf(c->output, "<%s>", t->sender);
	if (c->capabilities.size && t->size > 0)
		buf_printf(c->output, " SIZE=%" PRIu64, t->size);

	/*
	 * Without 8BITMIME the message goes as it is, undeclared: nearly all
	 * such servers pass the bytes on. RFC 6152 section 3 wants it converted
	 * or returned; converting would break signatures (DKIM).
	 */
	if (t->body_binary)
		buf_append_string(c->output, " BODY=BINARYMIME");
	else if (c->capabilities.eightbitmime && t->body_8bit)
		buf_append_string(c->output, " BODY=8BITMIME");
	if (c->capabilities.smtputf8 && client_needs_utf8(t))
		buf_append_string(c->output, " SMTPUTF8");
	if (c->capabilities.requiretls && t->requiretls)
		buf_append_string(c->output, " REQUIRETLS");
	if (c->capabilities.dsn)
		send_mail_dsn(c, t);
	buf_append_string(c->output, "\r\n");
}

static void send_rcpt_dsn(struct smtp_client *c, const struct smtp_recipient *r)
{
	struct buf orcpt = { 0 };

	if (r->notify) {
		buf_append_string(c->output, " NOTIFY=");
		smtp_notify_format(r->notify, c->output);
	}
	if (r->orcpt && smtp_original_recipient_encode(r->orcpt, &orcpt)) {
		buf_append_string(c->output, " ORCPT=");
		buf_append_slice(c->output, buf_slice(&orcpt));
	}
	buf_done(&orcpt);
}

static void send_rcpt(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_recipient *r = &e->transaction->recipients[e->next_recipient];

	client_ask(c, AWAIT_RCPT, e, e->next_recipient);
	buf_printf(c->output, "<%s>", r->address);
	if (c->capabilities.dsn)
		send_rcpt_dsn(c, r);
	buf_append_string(c->output, "\r\n");
}

static void find_next_recipient(struct envelope *e, unsigned int from)
{
	while (from < e->transaction->recipient_count && e->fates[from] == FATE_TOLD)
		from++;
	e->next_recipient = from;
	if (from < e->transaction->recipient_count)
		e->step = STEP_RCPT;
	else if (e->transaction->envelope_only)
		e->step = STEP_UNDO;
	else
		e->step = e->by_bdat ? STEP_CHUNKS : STEP_DATA;
}

static void send_step(struct smtp_client *c, struct envelope *e)
{
	switch (e->step) {
	case STEP_RSET:
		client_ask(c, AWAIT_RSET, e, 0);
		buf_append_string(c->output, "\r\n");
		e->step = STEP_MAIL;
		break;
	case STEP_MAIL:
		send_mail(c, e);
		find_next_recipient(e, 0);
		break;
	case STEP_RCPT:
		send_rcpt(c, e);
		find_next_recipient(e, e->next_recipient + 1);
		break;
	case STEP_DATA:
		client_ask(c, AWAIT_DATA, e, 0);
		buf_append_string(c->output, "\r\n");
		e->step = STEP_ANSWER;
		break;
	case STEP_UNDO:
		client_ask(c, AWAIT_RSET, e, 0);
		buf_append_string(c->output, "\r\n");
		e->step = STEP_NONE;
		c->sending = NULL;
		break;
	case STEP_CHUNKS:
		e->step = STEP_BODY;
		c->events->body_wanted(c->arg, e->transaction);
		break;
	case STEP_ANSWER:
	case STEP_BODY:
	case STEP_NONE:
		break;
	}
}

static bool may_send_step(const struct smtp_client *c, const struct envelope *e)
{
	switch (e->step) {
	case STEP_RSET:
	case STEP_MAIL:
	case STEP_RCPT:
	case STEP_DATA:
	case STEP_UNDO:
		return client_pipelines(c) || !client_is_awaiting(c);
	case STEP_CHUNKS:
		return e->owed == 0 ||
		       (!e->transaction->is_careful && e->transaction->size <= UNASKED_BYTES_MAX);
	case STEP_ANSWER:
	case STEP_BODY:
	case STEP_NONE:
		break;
	}
	return false;
}

/* All is known of it, but the server is still in the transaction. */
static bool must_undo(const struct smtp_client *c, const struct envelope *e)
{
	return e->step == STEP_UNDO && c->mail_open;
}

void client_proceed(struct smtp_client *c, struct envelope *e)
{
	if (e->open == 0 && e->owed == 0 && !must_undo(c, e)) {
		finish(c, e);
		return;
	}
	while (c->sending == e && (e->open > 0 || must_undo(c, e)) && may_send_step(c, e))
		send_step(c, e);
}

bool smtp_client_has_room(const struct smtp_client *c)
{
	if (c->state != CLIENT_MAILING)
		return c->state == CLIENT_READY;
	return client_pipelines(c) && !c->sending && c->envelope_count < IN_FLIGHT_MAX &&
	       c->envelope_bytes < IN_FLIGHT_BYTES_MAX;
}

/* Whether the server may be in a transaction when it reads the next MAIL: most say 503 then. */
static bool needs_reset(const struct smtp_client *c)
{
	if (c->envelope_count > 0)
		return CONTAINER_OF(c->envelopes.prev, struct envelope, link)->by_bdat;
	return c->mail_open;
}

void smtp_client_transaction(struct smtp_client *c, const struct smtp_transaction *t)
{
	struct envelope *e = memory_zeroed(sizeof(*e) + t->recipient_count);

	assert(smtp_client_has_room(c));
	e->transaction = t;
	e->open = t->recipient_count;
	e->by_bdat = client_uses_bdat(c) && !t->envelope_only;
	e->step = needs_reset(c) ? STEP_RSET : STEP_MAIL;

	if (c->state == CLIENT_READY)
		client_enter(c, CLIENT_MAILING);
	list_push(&c->envelopes, &e->link);
	c->envelope_count++;
	c->envelope_bytes += t->size;
	c->sending = e;
	c->is_refusing = true;
	client_refuse(c, e);
	c->is_refusing = false;
	client_proceed(c, e);
}

void client_mail_reset(struct smtp_client *c, const struct awaited *a)
{
	client_proceed(c, a->envelope);
}

void client_mail_accepted(struct smtp_client *c, const struct awaited *a)
{
	c->mail_open = true;
	client_proceed(c, a->envelope);
}

void client_mail_refused(struct smtp_client *c, const struct awaited *a)
{
	a->envelope->mail_refused = true;
	client_tell_all(c, a->envelope, &c->reply.status);
	client_proceed(c, a->envelope);
}

void client_rcpt_accepted(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	e->accepted++;
	if (!e->mail_refused && e->transaction->envelope_only)
		client_tell(c, e, a->recipient, &c->reply.status);
	else if (!e->mail_refused)
		e->fates[a->recipient] = FATE_ACCEPTED;
	client_proceed(c, e);
}

void client_rcpt_refused(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	if (!e->mail_refused)
		client_tell(c, e, a->recipient, &c->reply.status);
	client_proceed(c, e);
}

/* ---- the end of a session ---- */

/* For the envelope whose turn it is. at: what the session ended at. */
static enum smtp_break break_of_first(const struct envelope *e, enum client_await at, bool said_so)
{
	switch (at) {
	case AWAIT_RSET:
	case AWAIT_MAIL:
	case AWAIT_RCPT:
	case AWAIT_DATA:
		return e->is_ended && !said_so ? SMTP_BREAK_MESSAGE : SMTP_BREAK_ENVELOPE;
	default:
		return e->is_ended || e->step == STEP_BODY ? SMTP_BREAK_MESSAGE
							   : SMTP_BREAK_ENVELOPE;
	}
}

/*
 * What the server has said itself is said of the command that it answers, and
 * it has read no further (RFC 5321 section 3.8). Where it says nothing, it may
 * have taken all that was sent.
 */
void client_break(struct smtp_client *c, enum client_await at, const struct smtp_status *status)
{
	bool said_so = status->code != 0, is_first = true;
	struct list *link;

	c->sending = NULL;
	while ((link = list_pop(&c->envelopes)) != NULL) {
		struct envelope *e = CONTAINER_OF(link, struct envelope, link);
		const struct smtp_transaction *t = e->transaction;
		enum smtp_break how = SMTP_BREAK_BEHIND;

		if (is_first)
			how = break_of_first(e, at, said_so);
		else if (e->is_ended && !said_so)
			how = SMTP_BREAK_MESSAGE;
		is_first = false;
		free(e);
		c->events->broken(c->arg, t, how, status);
	}
}

void client_forget_envelopes(struct smtp_client *c)
{
	struct list *link;

	while ((link = list_pop(&c->envelopes)) != NULL || (link = list_pop(&c->finished)) != NULL)
		free(CONTAINER_OF(link, struct envelope, link));
}
