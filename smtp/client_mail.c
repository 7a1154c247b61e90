/*
 * One mail transaction: RSET where needed, MAIL, RCPT…, DATA, the message.
 *
 * With PIPELINING (RFC 2920) all commands up to DATA are appended at once, so
 * the replies to RCPT and DATA come even where MAIL was refused, and DATA may
 * be accepted where every RCPT was refused. Each such reply is awaited like
 * any other, and its handler finds that there is nothing left to decide.
 *
 * A recipient's fate is told in the moment it is known: so the stage that an
 * owner asks for inside the event names the command that decided it.
 */
#include "smtp/client_internal.h"

#include <assert.h>
#include <inttypes.h>

#include "smtp/address.h"

static void tell(struct smtp_client *c, struct envelope *e, unsigned int recipient,
		 const struct smtp_status *status)
{
	assert(e->fates[recipient] != FATE_TOLD);
	e->fates[recipient] = FATE_TOLD;
	e->open--;
	c->events->recipient(c->arg, recipient, status);
}

static void tell_all(struct smtp_client *c, struct envelope *e, const struct smtp_status *status)
{
	for (unsigned int i = 0; i < e->transaction->recipient_count; i++) {
		if (e->fates[i] != FATE_TOLD)
			tell(c, e, i, status);
	}
}

/*
 * The owner may begin the next transaction inside of done(), and that one may
 * be over before it has begun (too large for the server). A loop, as a queue
 * of such messages must not become as many nested calls.
 */
static void finish(struct smtp_client *c, struct envelope *e)
{
	e->transaction = NULL;
	client_enter(c, CLIENT_READY);

	if (c->telling_done) {
		c->done_again = true;
		return;
	}
	c->telling_done = true;
	do {
		c->done_again = false;
		c->events->done(c->arg);
	} while (c->done_again);
	c->telling_done = false;
}

/*
 * Whether an address can stand between < and > of a command. Addresses are
 * checked where they are accepted; but one that holds a CRLF would let its
 * author speak SMTP to the next hop in our name, and one that holds a '>'
 * outside of quotes would let him add parameters, so it is checked here again.
 */
static bool is_sendable(const char *address)
{
	bool quoted = false;

	for (const char *p = address; *p; p++) {
		unsigned char ch = (unsigned char)*p;

		if (ch < ' ' || ch == 0x7f)
			return false;
		if (quoted && ch == '\\' && p[1] >= ' ' && p[1] != 0x7f)
			p++;
		else if (ch == '"')
			quoted = !quoted;
		else if (!quoted && (ch == '<' || ch == '>'))
			return false;
	}
	return !quoted;
}

static bool needs_utf8(const struct smtp_transaction *t)
{
	if (t->smtputf8 || !smtp_address_is_ascii(t->sender))
		return true;
	for (unsigned int i = 0; i < t->recipient_count; i++)
		if (!smtp_address_is_ascii(t->recipients[i].address))
			return true;
	return false;
}

/*
 * The server does not know SMTPUTF8. RFC 6531 section 3.2: then what needs it
 * is not sent. Recipients in ASCII can have a message that is.
 */
static void refuse_utf8(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	bool all = t->smtputf8 || !smtp_address_is_ascii(t->sender);
	struct smtp_status status;

	smtp_status_set(&status, 553, ESC(5, 6, 7),
			"not sent: SMTPUTF8 is required, and the server does not offer it");
	for (unsigned int i = 0; i < t->recipient_count; i++)
		if (e->fates[i] != FATE_TOLD &&
		    (all || !smtp_address_is_ascii(t->recipients[i].address)))
			tell(c, e, i, &status);
}

/*
 * What the server cannot have as the sender wants it. Binary data goes by BDAT
 * alone (RFC 3030 section 3). A report for a message with REQUIRETLS goes on
 * without where there is no such server: better than none (RFC 8689 section 5).
 */
static bool refuse_needs(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	struct smtp_status status;

	if (t->requiretls && *t->sender && !c->capabilities.requiretls) {
		smtp_status_set(&status, 550, ESC(5, 7, 30),
				"not sent: the sender requires TLS all the way (REQUIRETLS), and "
				"the server does not offer it");
	} else if (t->body_binary) {
		smtp_status_set(&status, 554, ESC(5, 6, 1),
				"not sent: the message is binary (BODY=BINARYMIME), and the server "
				"does not take that");
	} else {
		return false;
	}
	tell_all(c, e, &status);
	return true;
}

/* Tell what can be known without asking the server. */
static void refuse_locally(struct smtp_client *c, struct envelope *e)
{
	const struct smtp_transaction *t = e->transaction;
	uint64_t limit = c->capabilities.size_limit;
	struct smtp_status status;

	if (!is_sendable(t->sender)) {
		smtp_status_set(&status, 553, ESC(5, 1, 7), "not sent: malformed sender address");
		tell_all(c, e, &status);
		return;
	}
	if (limit > 0 && t->size > limit) {
		smtp_status_set(&status, 552, ESC(5, 3, 4),
				"not sent: message size %" PRIu64 " exceeds the limit %" PRIu64
				" that the server announced",
				t->size, limit);
		tell_all(c, e, &status);
		return;
	}
	if (refuse_needs(c, e))
		return;
	for (unsigned int i = 0; i < t->recipient_count; i++) {
		if (is_sendable(t->recipients[i].address))
			continue;
		smtp_status_set(&status, 553, ESC(5, 1, 3),
				"not sent: malformed recipient address");
		tell(c, e, i, &status);
	}
	if (!c->capabilities.smtputf8)
		refuse_utf8(c, e);
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
	if (c->capabilities.eightbitmime && t->body_8bit)
		buf_append_string(c->output, " BODY=8BITMIME");
	if (c->capabilities.smtputf8 && needs_utf8(t))
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
	e->step = from < e->transaction->recipient_count ? STEP_RCPT : STEP_DATA;
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
		e->step = STEP_NONE;
		break;
	case STEP_NONE:
		break;
	}
}

/* Send what may be sent now. Without pipelining that waits until nothing is awaited. */
static void proceed(struct smtp_client *c, struct envelope *e)
{
	bool pipelining = c->capabilities.pipelining && !c->options.no_pipelining;

	if (client_is_awaiting(c))
		return;
	if (e->open == 0) {
		finish(c, e);
		return;
	}
	do {
		send_step(c, e);
	} while (pipelining && e->step != STEP_NONE);
}

void smtp_client_transaction(struct smtp_client *c, const struct smtp_transaction *t)
{
	struct envelope *e = &c->envelope;

	assert(c->state == CLIENT_READY);
	client_enter(c, CLIENT_ENVELOPE);
	c->answering = AWAIT_NOTHING;

	arena_reset(&c->arena);
	*e = (struct envelope){
		.transaction = t,
		.fates = arena_alloc(&c->arena, t->recipient_count),
		.open = t->recipient_count,
		/* Else most servers answer "503 nested MAIL command". */
		.step = c->mail_open ? STEP_RSET : STEP_MAIL,
	};
	refuse_locally(c, e);
	proceed(c, e);
}

void client_mail_reset(struct smtp_client *c, const struct awaited *a)
{
	proceed(c, a->envelope);
}

void client_mail_accepted(struct smtp_client *c, const struct awaited *a)
{
	c->mail_open = true;
	proceed(c, a->envelope);
}

void client_mail_refused(struct smtp_client *c, const struct awaited *a)
{
	a->envelope->mail_refused = true;
	tell_all(c, a->envelope, &c->reply.status);
	proceed(c, a->envelope);
}

void client_rcpt_accepted(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	e->accepted++;
	if (!e->mail_refused)
		e->fates[a->recipient] = FATE_ACCEPTED;
	proceed(c, e);
}

void client_rcpt_refused(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	if (!e->mail_refused)
		tell(c, e, a->recipient, &c->reply.status);
	proceed(c, e);
}

void client_data_accepted(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	if (e->open > 0) {
		c->writer = (struct smtp_data_writer){ 0 };
		client_enter(c, CLIENT_BODY);
		c->events->body_wanted(c->arg);
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
	client_enter(c, CLIENT_RESULT);
}

void client_data_refused(struct smtp_client *c, const struct awaited *a)
{
	tell_all(c, a->envelope, &c->reply.status);
	finish(c, a->envelope);
}

void smtp_client_body(struct smtp_client *c, struct slice bytes)
{
	if (c->state == CLIENT_OVER)
		return; /* failed() was told while the owner was reading the message */
	assert(c->state == CLIENT_BODY);
	smtp_data_write(&c->writer, bytes, c->output);
}

void smtp_client_body_end(struct smtp_client *c)
{
	struct envelope *e = &c->envelope;

	if (c->state == CLIENT_OVER)
		return;
	assert(c->state == CLIENT_BODY);
	smtp_data_finish(&c->writer, c->output);
	client_enter(c, CLIENT_RESULT);

	if (!c->options.lmtp) {
		client_await(c, AWAIT_END, e, 0);
		return;
	}
	for (unsigned int i = 0; i < e->transaction->recipient_count; i++) {
		if (e->fates[i] == FATE_ACCEPTED)
			client_await(c, AWAIT_END, e, i);
	}
}

/* Whatever the answer is: it is the fate of all, or with LMTP of one (RFC 2033 section 4.2). */
void client_end_answered(struct smtp_client *c, const struct awaited *a)
{
	struct envelope *e = a->envelope;

	c->mail_open = false;
	if (c->options.lmtp)
		tell(c, e, a->recipient, &c->reply.status);
	else
		tell_all(c, e, &c->reply.status);
	if (e->open == 0)
		finish(c, e);
}

void client_empty_end_answered(struct smtp_client *c, const struct awaited *a)
{
	c->mail_open = false;
	finish(c, a->envelope);
}
