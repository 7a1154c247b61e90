/* server_commands - EHLO, and the commands that a transaction does not need */
#include <inttypes.h>
#include <stdlib.h>

#include "smtp/server_internal.h"

/*
 * The name goes into logs and Received headers, where these would end a word
 * or open a comment. Postfix writes '?' for them too.
 */
static void set_hello(struct smtp_server *s, struct slice name)
{
	for (size_t i = 0; i < name.len; i++) {
		char c = name.ptr[i];

		s->hello[i] = c > ' ' && c <= '~' && !strchr("<>()\\\";@", c) ? c : '?';
	}
	s->hello[name.len] = '\0';
	s->has_hello = true;
}

/* Either greeting begins the session anew; what AUTH gave stays (RFC 4954 section 3). */
static bool greeting(struct smtp_server *s, struct slice name, bool esmtp)
{
	struct smtp_status status;

	if (name.len == 0 || name.len >= sizeof(s->hello)) {
		/* RFC 2034 section 4: no enhanced codes in replies to EHLO and HELO. */
		smtp_status_set(&status, 501, ESC(0, 0, 0), "Syntax: %s hostname",
				s->command->verb);
		buf_printf(s->output, "501 %s\r\n", status.text);
		server_settle(s, &status);
		return false;
	}
	server_transaction_end(s, NULL);
	set_hello(s, name);
	s->esmtp = esmtp;
	server_enter(s, SERVER_READY);
	if (s->events->hello)
		s->events->hello(s->arg, s->hello, esmtp);
	return true;
}

static void settle_greeting(struct smtp_server *s)
{
	struct smtp_status status;

	smtp_status_set(&status, 250, ESC(0, 0, 0), "%s", s->options->hostname);
	server_settle(s, &status);
}

void server_cmd_helo(struct smtp_server *s, struct slice args)
{
	if (!greeting(s, args, false))
		return;
	buf_printf(s->output, "250 %s\r\n", s->options->hostname);
	settle_greeting(s);
}

void server_cmd_ehlo(struct smtp_server *s, struct slice args)
{
	if (!greeting(s, args, true))
		return;
	buf_printf(s->output, "250-%s\r\n250-PIPELINING\r\n", s->options->hostname);
	if (s->options->size_limit > 0)
		buf_printf(s->output, "250-SIZE %" PRIu64 "\r\n", s->options->size_limit);
	else
		buf_append_string(s->output, "250-SIZE\r\n");
	buf_append_string(s->output, "250-VRFY\r\n");
	if (s->options->starttls && !s->tls)
		buf_append_string(s->output, "250-STARTTLS\r\n");
	if (server_auth_is_offered(s))
		buf_printf(s->output, "250-AUTH %s\r\n", s->options->auth);
	buf_append_string(s->output, "250-ENHANCEDSTATUSCODES\r\n250-8BITMIME\r\n"
				     "250-DSN\r\n250 SMTPUTF8\r\n");
	settle_greeting(s);
}

/* RFC 3207. What the client said before is forgotten, its transaction too. */
void server_cmd_starttls(struct smtp_server *s, struct slice args)
{
	struct smtp_status status;

	if (args.len > 0) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: STARTTLS");
	} else if (s->tls) {
		server_reply(s, 554, ESC(5, 5, 1), "Error: TLS already active");
	} else if (!s->options->starttls) {
		server_reply(s, 502, ESC(5, 5, 1), "Error: command not implemented");
	} else {
		server_transaction_end(s, NULL);
		server_enter(s, SERVER_STARTTLS);
		smtp_status_set(&status, 220, ESC(2, 0, 0), "Ready to start TLS");
		server_reply_status(s, &status);
		s->events->starttls(s->arg);
	}
}

void server_cmd_rset(struct smtp_server *s, struct slice args)
{
	if (args.len > 0) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: RSET");
		return;
	}
	server_transaction_end(s, NULL);
	server_enter_idle(s);
	server_reply(s, 250, ESC(2, 0, 0), "Ok");
}

void server_cmd_noop(struct smtp_server *s, struct slice args)
{
	(void)args; /* ignored, RFC 5321 section 4.1.1.9 */
	server_reply(s, 250, ESC(2, 0, 0), "Ok");
}

/* Says nothing about which users exist (RFC 5321 section 7.3). */
void server_cmd_vrfy(struct smtp_server *s, struct slice args)
{
	struct smtp_status status;

	if (args.len == 0) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: VRFY address");
		return;
	}
	smtp_status_set_text(&status, 252, ESC(2, 0, 0), args);
	server_reply_status(s, &status);
}

void server_cmd_help(struct smtp_server *s, struct slice args)
{
	struct buf verbs = { 0 };
	struct smtp_status status;

	(void)args;
	for (size_t i = 0; i + 1 < SERVER_COMMAND_COUNT; i++) /* but for UNKNOWN */
		buf_printf(&verbs, " %s", server_commands[i].verb);
	buf_append(&verbs, "", 1);
	smtp_status_set(&status, 214, ESC(2, 0, 0), "Commands:%s", buf_slice(&verbs).ptr);
	server_reply_status(s, &status);
	buf_done(&verbs);
}

void server_cmd_quit(struct smtp_server *s, struct slice args)
{
	(void)args;
	server_transaction_end(s, NULL);
	server_reply(s, 221, ESC(2, 0, 0), "Bye");
	server_over(s, NULL);
}
