/* server_commands - EHLO, and the commands that a transaction does not need */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/macros.h"
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

struct extension {
	struct slice keyword;
	enum smtp_extension bit;
};

/* In the order of Postfix's reply to EHLO, which has STARTTLS and AUTH behind VRFY. */
static const struct extension extensions[] = {
	{ { "PIPELINING", 10 }, SMTP_PIPELINING },
	{ { "SIZE", 4 }, SMTP_SIZE },
	{ { "VRFY", 4 }, SMTP_VRFY },
	{ { "ETRN", 4 }, SMTP_ETRN },
	{ { "ENHANCEDSTATUSCODES", 19 }, SMTP_ENHANCED_CODES },
	{ { "8BITMIME", 8 }, SMTP_8BITMIME },
	{ { "DSN", 3 }, SMTP_DSN },
	{ { "SMTPUTF8", 8 }, SMTP_SMTPUTF8 },
	{ { "CHUNKING", 8 }, SMTP_CHUNKING },
	{ { "BINARYMIME", 10 }, SMTP_BINARYMIME },
	{ { "LIMITS", 6 }, SMTP_LIMITS },
	{ { "REQUIRETLS", 10 }, SMTP_REQUIRETLS },
};

unsigned int smtp_extension_parse(struct slice keyword)
{
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++)
		if (slice_equal_nocase(keyword, extensions[i].keyword))
			return extensions[i].bit;
	return 0;
}

bool server_offers(const struct smtp_server *s, enum smtp_extension extension)
{
	unsigned int needed = extension;

	if (extension == SMTP_BINARYMIME) /* RFC 3030 section 3 */
		needed |= SMTP_CHUNKING;
	if (extension == SMTP_REQUIRETLS && !s->tls) /* RFC 8689 section 2 */
		return false;
	if (extension == SMTP_LIMITS && s->options->recipient_limit == 0)
		return false;
	if (extension == SMTP_ETRN && !s->options->etrn)
		return false;
	return s->esmtp && !(s->options->discarded & needed);
}

/* Appends a line of the reply, and remembers where it begins. */
static void announce(struct smtp_server *s, size_t *last, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void announce(struct smtp_server *s, size_t *last, const char *format, ...)
{
	char text[SERVER_HELLO_SIZE + 32];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	*last = buf_len(s->output);
	buf_printf(s->output, "250-%s\r\n", text);
}

static void announce_extension(struct smtp_server *s, size_t *last, const struct extension *e)
{
	if (e->bit == SMTP_SIZE && s->options->size_limit > 0)
		announce(s, last, "SIZE %" PRIu64, s->options->size_limit);
	else if (e->bit == SMTP_LIMITS) /* RFC 9422 section 4 */
		announce(s, last, "LIMITS RCPTMAX=%u", s->options->recipient_limit);
	else
		announce(s, last, "%s", e->keyword.ptr);
}

/* STARTTLS and AUTH depend on more than what was discarded. */
static void announce_security(struct smtp_server *s, size_t *last)
{
	if (s->options->starttls && !s->tls)
		announce(s, last, "STARTTLS");
	if (server_auth_is_offered(s))
		announce(s, last, "AUTH %s", s->options->auth);
	if (server_auth_is_offered(s) && s->options->auth_equals)
		announce(s, last, "AUTH=%s", s->options->auth);
}

void server_cmd_ehlo(struct smtp_server *s, struct slice args)
{
	size_t last = 0;

	if (!greeting(s, args, true))
		return;
	announce(s, &last, "%s", s->options->hostname);
	for (size_t i = 0; i < ARRAY_SIZE(extensions); i++) {
		if (extensions[i].bit == SMTP_ENHANCED_CODES)
			announce_security(s, &last);
		if (server_offers(s, extensions[i].bit))
			announce_extension(s, &last, &extensions[i]);
	}
	s->output->mem[s->output->start + last + 3] = ' '; /* "250 ", not "250-" */
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

	if (s->options->discarded & SMTP_VRFY) {
		server_reply(s, 502, ESC(5, 5, 1), "Error: command not implemented");
		return;
	}
	if (args.len == 0) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: VRFY address");
		return;
	}
	smtp_status_set_text(&status, 252, ESC(2, 0, 0), args);
	server_reply_status(s, &status);
}

/* A domain name in the arena; NULL: it is none. */
static const char *take_domain(struct smtp_server *s, struct slice text)
{
	struct slice path =
		slice_from(arena_printf(&s->arena, "<x@%.*s>", (int)text.len, text.ptr));
	const char *address;

	if (smtp_path_parse(&path, NULL, &s->arena, &address) != SMTP_PATH_OK || path.len > 0 ||
	    !smtp_address_is_ascii(address))
		return NULL;
	return smtp_address_domain(address).ptr;
}

/* RFC 1985. "@" in front: the subdomains too; "#": the name of a queue, of which we have none. */
void server_cmd_etrn(struct smtp_server *s, struct slice args)
{
	bool with_subdomains = slice_starts_nocase(args, SLICE("@"));
	struct slice name, more;
	const char *domain;

	if (!s->options->etrn || s->options->discarded & SMTP_ETRN) {
		server_reply(s, 502, ESC(5, 5, 1), "Error: command not implemented");
		return;
	}
	if (!slice_next_word(&args, " \t", &name) || slice_next_word(&args, " \t", &more)) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: ETRN domain");
		return;
	}
	if (slice_starts_nocase(name, SLICE("#"))) {
		server_reply(s, 459, ESC(4, 7, 1), "Error: queues have no names here");
		return;
	}
	arena_reset(&s->arena);
	domain = take_domain(s, slice_skip(name, with_subdomains));
	if (!domain) {
		server_reply(s, 501, ESC(5, 5, 4), "Error: invalid parameter syntax");
		return;
	}
	server_enter(s, SERVER_ASK_ETRN);
	s->events->etrn(s->arg, domain, with_subdomains);
}

void server_etrn_answered(struct smtp_server *s, const struct smtp_status *status)
{
	server_enter_idle(s);
	server_reply_status(s, status);
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
