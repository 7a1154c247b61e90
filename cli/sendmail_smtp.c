/*
 * sendmail -bs: the engine of smtp/server.h between standard input and output.
 * It may block, as there is nobody else to serve.
 */
#include "cli/sendmail.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "smtp/server.h"

#define READ_SIZE 65536

struct session {
	struct sendmail *sendmail;
	struct smtp_server *server;
	struct buf output;
	struct arena arena; /* the transaction's */
	struct drop_envelope envelope;
	size_t room; /* for recipients */
	struct drop_writer *writer;
	struct error error; /* of the writer; code 0: none */
	bool is_over;
};

static void answer(struct session *s, int code, struct smtp_enhanced enhanced, const char *text)
{
	struct smtp_status status;

	smtp_status_set(&status, code, enhanced, "%s", text);
	smtp_server_answer(s->server, &status);
}

static void forget(struct session *s)
{
	drop_free(s->writer);
	s->writer = NULL;
	s->error.code = 0;
	s->envelope = (struct drop_envelope){ .full_name = "", .envelope_id = "" };
	s->room = 0;
	arena_reset(&s->arena);
}

static void on_mail(void *arg, const struct smtp_mail *mail)
{
	struct session *s = arg;

	forget(s);
	s->envelope.sender = arena_strdup(&s->arena, mail->sender);
	s->envelope.envelope_id = arena_strdup(&s->arena, mail->envelope_id);
	s->envelope.returning = mail->returning;
	s->envelope.body_8bit = mail->body_8bit;
	answer(s, 250, ESC(2, 1, 0), "Ok");
}

/* The file has one NOTIFY for all recipients: whoever wants to hear something hears it of all. */
static void join_notify(struct session *s, unsigned int notify)
{
	if (s->envelope.notify == 0 || s->envelope.notify == SMTP_NOTIFY_NEVER)
		s->envelope.notify = notify;
	else if (notify != SMTP_NOTIFY_NEVER)
		s->envelope.notify |= notify;
}

static void on_rcpt(void *arg, const struct smtp_rcpt *rcpt)
{
	struct session *s = arg;
	struct drop_envelope *e = &s->envelope;

	if (e->recipient_count == s->room) {
		const char **more;

		s->room = s->room ? s->room * 2 : 16;
		more = arena_alloc(&s->arena, s->room * sizeof(*more));
		if (e->recipient_count > 0)
			memcpy(more, e->recipients, e->recipient_count * sizeof(*more));
		e->recipients = more;
	}
	e->recipients[e->recipient_count++] = arena_strdup(&s->arena, rcpt->recipient);
	join_notify(s, rcpt->notify);
	answer(s, 250, ESC(2, 1, 5), "Ok");
}

static void refuse(struct session *s)
{
	sendmail_not_stored(s->sendmail, &s->error);
	forget(s);
	answer(s, 451, ESC(4, 3, 0), "Error: queue file write error, try again later");
}

static void on_data(void *arg, const char *verb)
{
	struct session *s = arg;

	(void)verb;
	if (drop_create(s->sendmail->to.drop_directory, &s->envelope, &s->writer, &s->error) < 0)
		refuse(s);
	else
		answer(s, 354, ESC(0, 0, 0), "End data with <CR><LF>.<CR><LF>");
}

static void on_body(void *arg, struct slice bytes)
{
	struct session *s = arg;

	if (s->error.code == 0)
		drop_write(s->writer, bytes, &s->error);
}

static void on_end_of_data(void *arg)
{
	struct session *s = arg;
	char name[DROP_NAME_SIZE], text[64];

	if (s->error.code < 0 || drop_commit(s->writer, name, &s->error) < 0) {
		refuse(s);
		return;
	}
	forget(s);
	snprintf(text, sizeof(text), "Ok: queued as %s", name);
	answer(s, 250, ESC(2, 0, 0), text);
}

static void on_reset(void *arg, const struct smtp_status *why)
{
	(void)why;
	forget(arg);
}

static void on_quit(void *arg)
{
	struct session *s = arg;

	s->is_over = true;
}

static const struct smtp_server_events events = {
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.body = on_body,
	.end_of_data = on_end_of_data,
	.reset = on_reset,
	.quit = on_quit,
};

static int flush(struct session *s)
{
	while (buf_len(&s->output) > 0) {
		struct slice bytes = buf_slice(&s->output);
		ssize_t n = write(STDOUT_FILENO, bytes.ptr, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cli_error("sendmail: standard output: %s", strerror(errno));
			return CLI_IO;
		}
		buf_consume(&s->output, (size_t)n);
	}
	return CLI_DONE;
}

static int talk(struct session *s)
{
	struct buf input = { 0 };
	int code = CLI_DONE;

	smtp_server_greet(s->server, false);
	code = flush(s);
	while (code == CLI_DONE && !s->is_over) {
		ssize_t n = read(STDIN_FILENO, buf_reserve(&input, READ_SIZE), READ_SIZE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break; /* who hangs up in the midst of a message has sent none */
		buf_commit(&input, (size_t)n);
		buf_consume(&input, smtp_server_input(s->server, buf_slice(&input)));
		code = flush(s);
	}
	buf_done(&input);
	return code;
}

int sendmail_smtp(struct sendmail *sendmail)
{
	const struct smtp_server_options options = {
		.hostname = sendmail->to.hostname,
		.append_domain = sendmail->to.origin,
		.size_limit = sendmail->to.size_limit,
		.recipient_limit = DROP_RECIPIENTS_MAX,
		/* What a file of the drop directory cannot keep, or nobody here needs. */
		.discarded = SMTP_SMTPUTF8 | SMTP_CHUNKING | SMTP_BINARYMIME | SMTP_REQUIRETLS |
			     SMTP_ETRN | SMTP_LIMITS,
	};
	struct session s = { .sendmail = sendmail };
	int code;

	signal(SIGXFSZ, SIG_IGN);
	forget(&s);
	s.server = smtp_server_new(&options, &events, &s, &s.output);
	code = talk(&s);
	smtp_server_free(s.server);
	forget(&s);
	arena_done(&s.arena);
	buf_done(&s.output);
	return code;
}
