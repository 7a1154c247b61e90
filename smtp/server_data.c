/*
 * server_data - DATA, the message, and its end
 *
 * A message that is too large or has a fault is doomed: the owner is told by
 * reset() at once, so that it can forget what it has, the rest is read to
 * the true end and dropped, and only then the refusal is sent. A server that
 * replied or hung up earlier would be misunderstood by clients that are still
 * sending, and the mail be tried again and again.
 */
#include "smtp/server_internal.h"

#define PIECE_MAX 65536 /* how much of the message is unstuffed at a time */

void server_cmd_data(struct smtp_server *s, struct slice args)
{
	if (args.len > 0) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: DATA");
		return;
	}
	if (s->rcpt_count == 0) { /* pipelined behind refused recipients (RFC 2920 section 3.1) */
		server_reply(s, 554, ESC(5, 5, 1), "Error: no valid recipients");
		return;
	}
	if (s->mail.body_binary) {
		server_reply(s, 503, ESC(5, 5, 1), "Error: BODY=BINARYMIME requires BDAT");
		return;
	}
	server_enter(s, SERVER_ASK_DATA);
	s->events->data(s->arg, s->verb);
}

void server_data_answered(struct smtp_server *s, const struct smtp_status *status)
{
	if (status->code != 354) {
		server_enter(s, SERVER_RCPT);
		server_reply_status(s, status);
		return;
	}
	s->reader = (struct smtp_data_reader){ 0 };
	s->doom = (struct smtp_status){ 0 };
	s->paused = s->data_ended = false;
	server_enter(s, SERVER_DATA);
	buf_append_string(s->output, "354 End data with <CR><LF>.<CR><LF>\r\n");
}

void server_data_doom(struct smtp_server *s, const struct smtp_status *why)
{
	s->doom = *why;
	server_transaction_end(s, &s->doom);
}

void server_data_judge(struct smtp_server *s)
{
	static const char *const faults[] = {
		[SMTP_DATA_BARE_CR] = "bare <CR> received",
		[SMTP_DATA_BARE_LF] = "bare <LF> received",
		[SMTP_DATA_NUL] = "NUL byte received",
	};

	struct smtp_status why;

	if (s->doom.code != 0)
		return;
	if (s->reader.fault != SMTP_DATA_FINE)
		smtp_status_set(&why, 550, ESC(5, 5, 2), "Error: %s", faults[s->reader.fault]);
	else if (s->options->size_limit > 0 && s->reader.size > s->options->size_limit)
		smtp_status_set(&why, 552, ESC(5, 3, 4), SERVER_TOO_BIG);
	else
		return;
	server_data_doom(s, &why);
}

void server_data_take(struct smtp_server *s, struct slice *input)
{
	struct slice piece = slice_first(*input, PIECE_MAX);
	size_t given = piece.len;
	bool ended = smtp_data_read(&s->reader, &piece, &s->body);

	*input = slice_skip(*input, given - piece.len);
	server_data_judge(s);
	if (s->doom.code == 0 && buf_len(&s->body) > 0)
		s->events->body(s->arg, buf_slice(&s->body));
	buf_clear(&s->body);
	s->data_ended = ended;
	if (ended && !s->paused)
		server_data_end(s);
}

void server_data_end(struct smtp_server *s)
{
	buf_done(&s->body); /* an idle session keeps no memory for it */
	s->verb = "END-OF-MESSAGE";
	if (s->doom.code != 0) {
		server_enter_idle(s);
		server_reply_status(s, &s->doom);
		return;
	}
	server_enter(s, SERVER_ASK_END);
	s->events->end_of_data(s->arg);
}

void server_end_answered(struct smtp_server *s, const struct smtp_status *status)
{
	s->in_transaction = false; /* the owner knows */
	server_transaction_end(s, NULL);
	server_enter_idle(s);
	if (smtp_status_class(status) == SMTP_DELIVERED)
		s->errors = s->junk = 0;
	server_reply_status(s, status);
}
