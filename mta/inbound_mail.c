/*
 * A transaction builds a queue_message: our Received field first, then the
 * data as it comes. While a large body is written to disk the engine is
 * paused, the input buffer fills, and TCP slows the client down.
 *
 * From the moment the queue has committed, the message is ours whatever
 * becomes of the connection: it goes to the scheduler even if nobody is left
 * to hear the 250.
 */
#include "mta/inbound_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "mta/maillog.h"
#include "mta/recipients.h"
#include "mta/scheduler.h"

static const struct mta_options *options_of(const struct inbound *s)
{
	return s->view->options;
}

static void answer(struct inbound *s, int code, struct smtp_enhanced enhanced, const char *text)
{
	struct smtp_status status;

	smtp_status_set(&status, code, enhanced, "%s", text);
	smtp_server_answer(s->server, &status);
}

static void forget(struct inbound *s)
{
	queue_message_free(s->message);
	s->message = NULL;
	s->accepted = 0;
	s->rcpt = NULL;
	s->disk_result = 0;
	trace_scanner_done(&s->scanner);
	s->scanner = (struct trace_scanner){ 0 };
	completion_done(&s->completion);
	s->completion = (struct completion){ 0 };
	buf_shrink(&s->piece, 65536);
	inbound_limits_add_bytes(s->worker->limits, -(int64_t)s->reserved_bytes);
	s->reserved_bytes = 0;
}

#define NO_ROOM "Insufficient system storage, try again later"

/* With BDAT the reply, and what is to be logged of it, come behind the octets. */
static void refuse_for_room(struct inbound *s)
{
	s->was_no_room = true;
	answer(s, 452, ESC(4, 3, 1), NO_ROOM);
}

bool inbound_is_for_room(const struct inbound *s, const struct smtp_status *status)
{
	return s->was_no_room && strcmp(status->text, NO_ROOM) == 0;
}

void inbound_reset(void *arg, const struct smtp_status *why)
{
	struct inbound *s = arg;

	(void)why; /* rejected() has logged it */
	forget(s);
}

void inbound_mail(void *arg, const struct smtp_mail *mail)
{
	struct inbound *s = arg;
	const struct mta_options *options = options_of(s);
	struct smtp_status status;

	s->stage = "MAIL";
	s->was_no_room = false;
	if (!inbound_count_event(s, RATE_MESSAGE, &status)) {
		inbound_answer_over_rate(s, &status);
		return;
	}
	if (!inbound_check_certificate(s)) {
		answer(s, 451, ESC(4, 3, 0), "Temporary lookup failure");
		return;
	}
	s->client.size = mail->size;
	options->policy->check_sender(options->policy_arg, &s->client, mail->sender, &status);
	if (smtp_status_class(&status) == SMTP_DELIVERED &&
	    !queue_has_room(options->queue, mail->size)) {
		refuse_for_room(s);
		return;
	}
	if (smtp_status_class(&status) == SMTP_DELIVERED) {
		s->message = queue_message_new(options->queue);
		s->message->arrived_ms = mta_now_ms(s->worker);
		s->message->sender = arena_strdup(&s->message->arena, mail->sender);
		s->message->body_8bit = mail->body_8bit;
		s->message->body_binary = mail->body_binary;
		s->message->requiretls = mail->requiretls;
		s->message->smtputf8 = mail->smtputf8;
		s->message->returning = mail->returning;
		s->message->envelope_id = arena_strdup(&s->message->arena, mail->envelope_id);
	}
	smtp_server_answer(s->server, &status);
}

static void answer_taken(struct inbound *s, const struct smtp_status *status)
{
	if (smtp_status_class(status) == SMTP_DELIVERED && s->accepted++ == 0)
		maillog_client(options_of(s)->log, s->message->name, &s->peer, s->login_mechanism,
			       s->client.user);
	smtp_server_answer(s->server, status);
	s->rcpt = NULL;
}

static void answer_later(struct loop_task *task)
{
	struct inbound *s = CONTAINER_OF(task, struct inbound, rcpt_task);

	s->rcpt_awaited = false;
	if (s->stream)
		answer_taken(s, &s->rcpt_status);
	inbound_resume(s);
}

/*
 * A thousand lookups for a list, and there may be a thousand of those in what
 * the client has sent: between two of them the others have their turn.
 */
void inbound_take_recipient(struct inbound *s, const struct smtp_rcpt *rcpt)
{
	struct smtp_status status;

	s->rcpt = rcpt->recipient;
	if (recipients_add(options_of(s), s->message, rcpt, &status) == 1) {
		answer_taken(s, &status);
		return;
	}
	s->rcpt_status = status;
	s->rcpt_task = (struct loop_task){ .run = answer_later };
	s->rcpt_awaited = true;
	loop_post(s->worker->loop, &s->rcpt_task);
}

static void answer_rcpt(struct inbound *s, const struct smtp_rcpt *rcpt,
			const struct smtp_status *status)
{
	if (smtp_status_class(status) != SMTP_DELIVERED)
		smtp_server_answer(s->server, status);
	else if (!inbound_verify(s, rcpt))
		inbound_take_recipient(s, rcpt);
	if (!s->rcpt_awaited)
		s->rcpt = NULL;
}

static void check_rcpt(struct inbound *s, const char *recipient, struct smtp_status *ret)
{
	const struct mta_options *options = options_of(s);

	options->policy->check_recipient(options->policy_arg, &s->client, s->message->sender,
					 recipient, ret);
}

static void rcpt_work(struct loop_work *work)
{
	struct inbound *s = CONTAINER_OF(work, struct inbound, rcpt_work);

	check_rcpt(s, s->rcpt_asked.recipient, &s->rcpt_status);
}

static void rcpt_done(struct loop_work *work)
{
	struct inbound *s = CONTAINER_OF(work, struct inbound, rcpt_work);

	s->rcpt_awaited = false;
	if (s->stream)
		answer_rcpt(s, &s->rcpt_asked, &s->rcpt_status);
	inbound_resume(s);
}

/* On the pool: the engine goes on when it has its answer. */
static void ask_for_rcpt(struct inbound *s, const struct smtp_rcpt *rcpt)
{
	struct arena *arena = &s->message->arena;

	s->rcpt_asked = (struct smtp_rcpt){
		.recipient = arena_strdup(arena, rcpt->recipient),
		.original = arena_strdup(arena, rcpt->original),
		.orcpt = arena_strdup(arena, rcpt->orcpt),
		.notify = rcpt->notify,
	};
	s->rcpt = s->rcpt_asked.recipient;
	s->rcpt_work = (struct loop_work){ .work = rcpt_work, .done = rcpt_done };
	s->rcpt_awaited = true;
	loop_work(s->worker->loop, &s->rcpt_work);
}

void inbound_rcpt(void *arg, const struct smtp_rcpt *rcpt)
{
	struct inbound *s = arg;
	const struct mta_options *options = options_of(s);
	struct smtp_status status;

	s->stage = "RCPT";
	if (!inbound_count_event(s, RATE_RECIPIENT, &status)) {
		inbound_answer_over_rate(s, &status);
		return;
	}
	s->rcpt = rcpt->recipient;
	if (options->policy->recipient_blocks &&
	    options->policy->recipient_blocks(options->policy_arg, rcpt->recipient)) {
		ask_for_rcpt(s, rcpt);
		return;
	}
	check_rcpt(s, rcpt->recipient, &status);
	answer_rcpt(s, rcpt, &status);
}

static void set_origin(struct inbound *s)
{
	struct queue_message *m = s->message;
	struct queue_origin *origin = &m->origin;
	const char *hello = smtp_server_hello(s->server);
	char ip[NET_ADDRESS_TEXT_SIZE];

	origin->client_ip = arena_strdup(&m->arena, net_address_ip(&s->peer, ip));
	origin->hello = arena_strdup(&m->arena, hello ? hello : "");
	origin->protocol = smtp_server_protocol(s->server);
	origin->auth_user = s->client.user ? arena_strdup(&m->arena, s->client.user) : "";
	origin->tls_protocol = s->client.encrypted ? s->tls.protocol : "";
	origin->tls_cipher = s->client.encrypted ? arena_strdup(&m->arena, s->tls.cipher) : "";
	origin->cert_name = arena_strdup(&m->arena, s->cert_name);
	origin->cert_fingerprint = arena_strdup(&m->arena, s->tls.fingerprint);
	origin->cert_verified = s->tls.trusted;
}

/* Mail that is relayed, for whomever, passes as it is. */
static void start_completion(struct inbound *s)
{
	const struct mta_options *options = options_of(s);
	const struct completion_options what = {
		.origin = options->origin,
		.hostname = options->hostname,
		.id = s->message->name,
		.sender = s->message->sender,
		.now_ms = s->message->arrived_ms,
	};

	s->is_completed = options->policy->is_submission_server && s->client.user;
	completion_init(&s->completion, &what);
}

void inbound_data(void *arg, const char *verb)
{
	struct inbound *s = arg;
	const struct mta_options *options = options_of(s);
	struct trace_tls tls;

	s->stage = verb;
	if (!queue_has_room(options->queue, 0)) {
		refuse_for_room(s);
		return;
	}
	if (inbound_limits_add_bytes(s->worker->limits, 0) > options->memory_limit) {
		answer(s, 452, ESC(4, 3, 1), "Insufficient memory now, try again later");
		return;
	}
	set_origin(s);
	start_completion(s);
	inbound_describe_tls(s, &tls);
	trace_received(&s->piece, s->message, s->client.encrypted ? &tls : NULL, options->hostname,
		       options->mail_name);
	queue_body_append(s->message->body, buf_slice(&s->piece));
	buf_clear(&s->piece);
	answer(s, 354, ESC(0, 0, 0), "End data with <CR><LF>.<CR><LF>");
}

/* ---- the disk ---- */

static void disk_work(struct loop_work *work)
{
	struct inbound *s = CONTAINER_OF(work, struct inbound, disk_work);

	s->disk_result = s->disk_step(s->message->body, &s->disk_error);
}

static void disk_done(struct loop_work *work)
{
	struct inbound *s = CONTAINER_OF(work, struct inbound, disk_work);

	s->writing = false;
	if (s->stream && s->disk_step == queue_body_spill)
		smtp_server_resume(s->server);
	inbound_resume(s);
}

static void start_disk(struct inbound *s, int (*step)(struct queue_body *body, struct error *err),
		       void (*done)(struct loop_work *work))
{
	s->disk_step = step;
	s->disk_work = (struct loop_work){ .work = disk_work, .done = done };
	s->writing = true;
	loop_work(s->worker->loop, &s->disk_work);
}

static void keep(struct inbound *s)
{
	size_t len = buf_len(&s->piece);

	if (len == 0)
		return;
	queue_body_append(s->message->body, buf_slice(&s->piece));
	buf_clear(&s->piece);
	if (!queue_body_in_file(s->message->body)) {
		s->reserved_bytes += len;
		inbound_limits_add_bytes(s->worker->limits, (int64_t)len);
	}
}

void inbound_body(void *arg, struct slice bytes)
{
	struct inbound *s = arg;

	if (s->disk_result < 0)
		return; /* it will be refused at the end */
	if (s->is_completed)
		completion_input(&s->completion, bytes, &s->piece);
	else
		buf_append_slice(&s->piece, bytes);
	trace_scan(&s->scanner, buf_slice(&s->piece));
	keep(s);
	if (queue_body_must_spill(s->message->body)) {
		smtp_server_pause(s->server);
		start_disk(s, queue_body_spill, disk_done);
	}
}

/* ---- the end of the data ---- */

static void refuse_for_disk(struct inbound *s, int code, const char *text)
{
	if (code == -ENOSPC && !queue_has_room(options_of(s)->queue, 0)) {
		forget(s);
		refuse_for_room(s);
		return;
	}
	log_write(options_of(s)->log, "smtpd", LOG_LEVEL_ERROR, "%s: cannot store the message: %s",
		  s->message->name, text);
	forget(s);
	if (code == -ENOSPC)
		answer(s, 452, ESC(4, 3, 1), NO_ROOM);
	else
		answer(s, 451, ESC(4, 3, 0), "Error: queue file write error, try again later");
}

static void committed(struct queue_request *request)
{
	struct inbound *s = CONTAINER_OF(request, struct inbound, append.request);
	struct queue_message *m = s->message;
	char text[64];

	s->committing = false;
	if (request->result < 0) {
		if (s->stream)
			refuse_for_disk(s, request->result, request->error.text);
		inbound_resume(s);
		return;
	}
	snprintf(text, sizeof(text), "Ok: queued as %s", m->name);
	s->message = NULL; /* the scheduler's from here on */
	forget(s);
	if (s->stream)
		answer(s, 250, ESC(2, 0, 0), text);
	scheduler_submit(s->worker->scheduler, m);
	inbound_resume(s);
}

/*
 * Many clients say SMTPUTF8 of everything. What is ASCII all the same can go
 * to any server, so only the header counts, and the client engine looks at the
 * addresses of each transaction. And some say BINARYMIME of everything.
 */
static void judge_message(struct inbound *s)
{
	struct queue_message *m = s->message;

	if (m->body_binary && smtp_server_has_lines(s->server)) {
		m->body_binary = false;
		m->body_8bit = true;
	}
	m->smtputf8 = m->smtputf8 && s->scanner.has_8bit;
	if (!m->sender[0] && s->scanner.is_notice)
		m->kind = QUEUE_DOUBLE_BOUNCE;
}

static void commit(struct inbound *s)
{
	s->message->size = queue_body_size(s->message->body);
	s->append = (struct queue_append){ .message = s->message };
	s->append.request.done = committed;
	s->committing = true;
	queue_submit_append(s->worker->port, &s->append);
}

static void finished(struct loop_work *work)
{
	struct inbound *s = CONTAINER_OF(work, struct inbound, disk_work);

	s->writing = false;
	if (s->disk_result >= 0) {
		commit(s); /* also when the client has gone: it may think that we have the message */
		return;
	}
	if (s->stream)
		refuse_for_disk(s, s->disk_result, s->disk_error.text);
	inbound_resume(s);
}

void inbound_end_of_data(void *arg)
{
	struct inbound *s = arg;

	s->stage = "end of data";
	if (s->is_completed)
		completion_end(&s->completion, &s->piece);
	trace_scan(&s->scanner, buf_slice(&s->piece));
	trace_scan_end(&s->scanner);
	keep(s);
	judge_message(s);
	if (s->scanner.received_count > options_of(s)->hop_limit) {
		forget(s);
		answer(s, 554, ESC(5, 4, 6), "Error: too many hops");
	} else if (s->disk_result < 0) {
		refuse_for_disk(s, s->disk_result, s->disk_error.text);
	} else if (queue_body_in_file(s->message->body)) {
		start_disk(s, queue_body_finish, finished);
	} else {
		queue_body_finish(s->message->body, &s->disk_error); /* in memory: cannot fail */
		commit(s);
	}
}
