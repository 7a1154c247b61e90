/*
 * server - life of a session, its replies, and the answers of its owner
 *
 * Every command ends in exactly one server_settle(), which counts it, tells
 * the log of a refusal and knows the limits. The state is set before that,
 * since it may end the session. When an answer is needed the state is one of
 * SERVER_ASK_*; smtp_server_answer() finds what to do next by it, so it makes
 * no difference whether it is called inside of the event or later.
 */
#include "smtp/server.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
#include "base/memory.h"
#include "smtp/server_internal.h"

#define IDLE_COMMANDS_MAX  100 /* smtpd_junk_command_limit of Postfix */
#define JUNK_LIMIT_DEFAULT 20  /* smtpd_hard_error_limit of Postfix */

struct smtp_server *smtp_server_new(const struct smtp_server_options *options,
				    const struct smtp_server_events *events, void *arg,
				    struct buf *output)
{
	struct smtp_server *s = memory_new(sizeof(*s));

	*s = (struct smtp_server){
		.options = options,
		.events = events,
		.arg = arg,
		.output = output,
	};
	return s;
}

void smtp_server_free(struct smtp_server *s)
{
	if (!s)
		return;
	arena_done(&s->arena);
	buf_done(&s->body);
	free(s);
}

void server_enter(struct smtp_server *s, enum server_state state)
{
	s->state = state;
}

void server_enter_idle(struct smtp_server *s)
{
	server_enter(s, s->has_hello ? SERVER_READY : SERVER_GREETED);
}

/* Without SMTPUTF8 a reply is printable ASCII (RFC 5321 section 4.2). */
static void append_ascii(struct buf *out, struct slice text)
{
	char *to = buf_reserve(out, text.len);

	for (size_t i = 0; i < text.len; i++)
		to[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?';
	buf_commit(out, text.len);
}

void server_append(struct smtp_server *s, const struct smtp_status *status)
{
	size_t start = buf_len(s->output), used;
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_printf(s->output, "%d ", status->code);
	/* RFC 2034 section 4: replies of the other classes have none. */
	if (status->code >= 400 || (status->code >= 200 && status->code < 300))
		buf_printf(s->output, "%s ", smtp_status_enhanced_text(status, enhanced));
	used = buf_len(s->output) - start;
	append_ascii(s->output, slice_first(slice_from(status->text), SERVER_REPLY_MAX - 2 - used));
	buf_append_string(s->output, "\r\n");
}

void server_rejected(struct smtp_server *s, const struct smtp_status *status)
{
	if (s->events->rejected)
		s->events->rejected(s->arg, s->verb, status);
}

void server_transaction_end(struct smtp_server *s, const struct smtp_status *why)
{
	bool was_open = s->in_transaction;

	s->in_transaction = false;
	if (was_open && s->events->reset)
		s->events->reset(s->arg, why);
	s->mail = (struct smtp_mail){ 0 };
	s->rcpt = (struct smtp_rcpt){ 0 };
	s->rcpt_count = s->rcpt_overshoot = 0;
	arena_reset(&s->arena);
}

void server_over(struct smtp_server *s, const struct smtp_status *why)
{
	server_transaction_end(s, why);
	server_enter(s, SERVER_OVER);
	buf_done(&s->body);
	s->events->quit(s->arg);
}

void server_count_idle(struct smtp_server *s)
{
	if (++s->junk > IDLE_COMMANDS_MAX)
		s->errors++;
}

static void say_last(struct smtp_server *s, const char *text)
{
	struct smtp_status last;

	smtp_status_set(&last, 421, ESC(4, 7, 0), "%s Error: %s", s->options->hostname, text);
	server_append(s, &last);
	server_rejected(s, &last);
	server_over(s, &last);
}

void server_check_errors(struct smtp_server *s)
{
	unsigned int limit = s->options->junk_limit ? s->options->junk_limit : JUNK_LIMIT_DEFAULT;

	if (s->errors >= limit && s->state != SERVER_OVER)
		say_last(s, "too many errors");
}

void server_out_of_step(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
			const char *text)
{
	server_reply(s, code, enhanced, "%s", text);
	if (s->state != SERVER_OVER)
		say_last(s, "out of step");
}

void server_settle(struct smtp_server *s, const struct smtp_status *status)
{
	if (smtp_status_class(status) == SMTP_DELIVERED) {
		s->counts[s->command - server_commands].good++;
	} else {
		s->errors++;
		server_rejected(s, status);
	}

	if (status->code == 421) /* whoever says it closes (RFC 5321 section 3.8) */
		server_over(s, status);
	else
		server_check_errors(s);
}

void server_reply_status(struct smtp_server *s, const struct smtp_status *status)
{
	server_append(s, status);
	server_settle(s, status);
}

void server_reply(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		  const char *format, ...)
{
	char text[SMTP_STATUS_TEXT_SIZE];
	struct smtp_status status;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	smtp_status_set(&status, code, enhanced, "%s", text);
	server_reply_status(s, &status);
}

void smtp_server_greet(struct smtp_server *s, bool tls)
{
	assert(s->state == SERVER_NEW);
	s->tls = tls;
	buf_printf(s->output, "220 %s ESMTP Posthouse\r\n", s->options->hostname);
	server_enter(s, SERVER_GREETED);
}

bool smtp_server_is_waiting(const struct smtp_server *s)
{
	return s->state >= SERVER_ASK_AUTH && s->state <= SERVER_ASK_END;
}

void server_end_if_due(struct smtp_server *s)
{
	if (!s->ending || s->processing || smtp_server_is_waiting(s) ||
	    s->state == SERVER_STARTTLS || s->state == SERVER_OVER)
		return;
	server_append(s, &s->end_status);
	server_over(s, &s->end_status);
}

void smtp_server_end(struct smtp_server *s, const struct smtp_status *status)
{
	if (s->ending)
		return;
	s->ending = true;
	s->end_status = *status;
	server_end_if_due(s);
}

void smtp_server_answer(struct smtp_server *s, const struct smtp_status *status)
{
	static void (*const answered[])(struct smtp_server *, const struct smtp_status *) = {
		[SERVER_ASK_AUTH] = server_auth_answered, [SERVER_ASK_ETRN] = server_etrn_answered,
		[SERVER_ASK_MAIL] = server_mail_answered, [SERVER_ASK_RCPT] = server_rcpt_answered,
		[SERVER_ASK_DATA] = server_data_answered, [SERVER_ASK_CHUNK] = server_bdat_answered,
		[SERVER_ASK_END] = server_end_answered,
	};
	bool nested = s->processing;

	assert(smtp_server_is_waiting(s));
	s->processing = true;
	answered[s->state](s, status);
	s->processing = nested;
	server_end_if_due(s);
}

static bool may_take(const struct smtp_server *s)
{
	switch (s->state) {
	case SERVER_GREETED:
	case SERVER_READY:
	case SERVER_MAIL:
	case SERVER_RCPT:
	case SERVER_CHUNKS:
	case SERVER_AUTH:
		return !s->ending;
	case SERVER_DATA:
	case SERVER_CHUNK:
		return !s->ending && !s->paused;
	default:
		return false;
	}
}

size_t smtp_server_input(struct smtp_server *s, struct slice input)
{
	struct slice rest = input;

	assert(!s->processing);
	s->processing = true;
	while (rest.len > 0 && may_take(s) && server_take(s, &rest))
		;
	s->processing = false;
	server_end_if_due(s);
	return input.len - rest.len;
}

void smtp_server_pause(struct smtp_server *s)
{
	s->paused = true;
}

void smtp_server_resume(struct smtp_server *s)
{
	s->paused = false;
	if (!s->data_ended || (s->state != SERVER_DATA && s->state != SERVER_CHUNK))
		return;
	s->processing = true;
	if (s->state == SERVER_DATA)
		server_data_end(s);
	else
		server_bdat_end(s);
	s->processing = false;
	server_end_if_due(s);
}

void smtp_server_secured(struct smtp_server *s)
{
	assert(s->state == SERVER_STARTTLS);
	s->tls = true;
	s->has_hello = s->esmtp = false;
	s->authenticated = false;
	server_enter(s, SERVER_GREETED);
	server_end_if_due(s);
}

bool smtp_server_in_transaction(const struct smtp_server *s)
{
	return s->in_transaction;
}

bool smtp_server_has_lines(const struct smtp_server *s)
{
	return !s->mail.body_binary || smtp_data_is_lines(&s->reader);
}

bool smtp_server_in_message(const struct smtp_server *s)
{
	return s->state == SERVER_DATA || s->state == SERVER_CHUNK || s->state == SERVER_CHUNKS;
}

bool smtp_server_is_authenticated(const struct smtp_server *s)
{
	return s->authenticated;
}

const char *smtp_server_hello(const struct smtp_server *s)
{
	return s->has_hello ? s->hello : NULL;
}

const char *smtp_server_protocol(const struct smtp_server *s)
{
	static const char *const names[2][4] = {
		{ "ESMTP", "ESMTPA", "ESMTPS", "ESMTPSA" },
		{ "UTF8SMTP", "UTF8SMTPA", "UTF8SMTPS", "UTF8SMTPSA" },
	};

	if (!s->esmtp)
		return "SMTP";
	return names[s->mail.smtputf8][(s->tls ? 2 : 0) + (s->authenticated ? 1 : 0)];
}

static void append_lower(struct buf *out, const char *word)
{
	for (; *word; word++) {
		char c = *word >= 'A' && *word <= 'Z' ? (char)(*word - 'A' + 'a') : *word;

		buf_append(out, &c, 1);
	}
}

static void append_count(struct buf *out, const char *name, struct server_count count,
			 bool always_total)
{
	append_lower(out, name);
	buf_printf(out, "=%u", count.good);
	if (count.good != count.total || always_total)
		buf_printf(out, "/%u", count.total);
}

void smtp_server_summary(const struct smtp_server *s, struct buf *out)
{
	struct server_count all = { 0 };

	for (size_t i = 0; i < SERVER_COMMAND_COUNT; i++) {
		if (s->counts[i].total == 0)
			continue;
		append_count(out, server_commands[i].verb, s->counts[i], false);
		buf_append_string(out, " ");
		all.good += s->counts[i].good;
		all.total += s->counts[i].total;
	}
	/* "commands=0/0" is what Postfix says of a client that said nothing. */
	append_count(out, "commands", all, all.total == 0);
}
