/*
 * server_input - cuts lines from the input and runs the commands on them
 *
 * Nothing is buffered here: an incomplete line stays with the owner, who gives
 * it again with what came behind it. Only where a line is too long its
 * beginning is dropped at once, and the rest as it comes.
 *
 * Clients that speak something else get one reply and no more: browsers that
 * were lured into posting to this port, TLS on a port that begins in the
 * clear, and message text that is sent although DATA was refused.
 */
#include <assert.h>

#include "base/macros.h"
#include "smtp/server_internal.h"

#define IN(state) (1u << SERVER_##state)
#define IN_ANY	  (IN(GREETED) | IN(READY) | IN(MAIL) | IN(RCPT) | IN(CHUNKS))
#define IN_IDLE	  (IN(GREETED) | IN(READY))

/*
 * BEFORE_TLS: answered even where TLS is required (RFC 3207 section 4).
 * AFTER_HELLO: only after EHLO or HELO, if the options ask for that.
 * IDLE: brings no mail forward, so there is a limit to it.
 * WITH_OCTETS: a number of them follows, whatever becomes of it (RFC 3030).
 */
enum {
	BEFORE_TLS = 1u << 0,
	AFTER_HELLO = 1u << 1,
	IDLE = 1u << 2,
	WITH_OCTETS = 1u << 3,
};

static void cmd_unknown(struct smtp_server *s, struct slice args)
{
	(void)args;
	server_reply(s, 500, ESC(5, 5, 2), "Error: command not recognized");
}

/*
 * Order of commands: RFC 5321 section 4.1.4. Whatever is pipelined behind a
 * command is served in its turn (RFC 2920), but for STARTTLS, whose state
 * takes no input.
 */
const struct server_command server_commands[SERVER_COMMAND_COUNT] = {
	/* verb, run, allowed, flags, misplaced */
	{ "HELO", server_cmd_helo, IN_ANY, BEFORE_TLS | IDLE, NULL },
	{ "EHLO", server_cmd_ehlo, IN_ANY, BEFORE_TLS | IDLE, NULL },
	{ "STARTTLS", server_cmd_starttls, IN_ANY, BEFORE_TLS, NULL },
	{ "AUTH", server_cmd_auth, IN_IDLE, AFTER_HELLO, "MAIL transaction in progress" },
	{ "MAIL", server_cmd_mail, IN_IDLE, AFTER_HELLO, "nested MAIL command" },
	{ "RCPT", server_cmd_rcpt, IN(MAIL) | IN(RCPT), 0, "need MAIL command" },
	{ "DATA", server_cmd_data, IN(MAIL) | IN(RCPT), 0, "need RCPT command" },
	{ "BDAT", server_cmd_bdat, IN(MAIL) | IN(RCPT) | IN(CHUNKS), AFTER_HELLO | WITH_OCTETS,
	  "need RCPT command" },
	{ "RSET", server_cmd_rset, IN_ANY, IDLE, NULL },
	{ "NOOP", server_cmd_noop, IN_ANY, BEFORE_TLS | IDLE, NULL },
	{ "VRFY", server_cmd_vrfy, IN_ANY, IDLE, NULL },
	{ "ETRN", server_cmd_etrn, IN_IDLE, AFTER_HELLO | IDLE, "MAIL transaction in progress" },
	{ "QUIT", server_cmd_quit, IN_ANY, BEFORE_TLS, NULL },
	{ "HELP", server_cmd_help, IN_ANY, BEFORE_TLS | IDLE, NULL },
	{ "UNKNOWN", cmd_unknown, IN_ANY, BEFORE_TLS, NULL },
};

#define COMMAND_UNKNOWN (&server_commands[SERVER_COMMAND_COUNT - 1])

static const struct server_command *command_find(struct slice verb)
{
	const struct server_command *c = server_commands;

	while (c != COMMAND_UNKNOWN && !slice_equal_nocase(verb, slice_from(c->verb)))
		c++;
	return c;
}

static void begin_command(struct smtp_server *s, const struct server_command *c)
{
	s->command = c;
	s->verb = c->verb;
	s->counts[c - server_commands].total++;
	if (c->flags & IDLE)
		server_count_idle(s);
	if (!(c->flags & WITH_OCTETS))
		s->refusals = 0;
}

/* Why the command is not for now; false: it is. */
static bool find_objection(const struct smtp_server *s, const struct server_command *c,
			   struct smtp_status *ret)
{
	if (s->options->tls_required && !s->tls && !(c->flags & BEFORE_TLS))
		smtp_status_set(ret, 530, ESC(5, 7, 0), "Must issue a STARTTLS command first");
	else if (s->options->hello_required && !s->has_hello && c->flags & AFTER_HELLO)
		smtp_status_set(ret, 503, ESC(5, 5, 1), "Error: send HELO/EHLO first");
	else if (c->allowed & (1u << s->state))
		return false;
	else if (s->state == SERVER_CHUNKS)
		smtp_status_set(ret, 503, ESC(5, 5, 1), "Error: %s after BDAT", c->verb);
	else
		smtp_status_set(ret, 503, ESC(5, 5, 1), "Error: %s", c->misplaced);
	return true;
}

static void server_command(struct smtp_server *s, const struct server_command *c, struct slice args)
{
	struct smtp_status objection;

	if (!find_objection(s, c, &objection))
		c->run(s, args);
	else if (c->flags & WITH_OCTETS)
		server_bdat_refuse(s, args, &objection);
	else
		server_reply_status(s, &objection);
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* HTTP, the header of a message, binary bytes: nothing that a person or an SMTP client types. */
static bool is_foreign(const struct server_command *c, struct slice verb)
{
	static const char *const forbidden[] = { "CONNECT", "GET", "POST" };

	if (c != COMMAND_UNKNOWN)
		return false;
	if (!is_letter(*verb.ptr) || slice_find(verb, ':') < verb.len)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++)
		if (slice_equal_nocase(verb, slice_from(forbidden[i])))
			return true;
	return false;
}

static bool has_control_bytes(struct slice line)
{
	for (size_t i = 0; i < line.len; i++)
		if (((unsigned char)line.ptr[i] < ' ' && line.ptr[i] != '\t') || line.ptr[i] == 127)
			return true;
	return false;
}

/* What the client says next must not be read: say good-bye. */
static void hang_up(struct smtp_server *s, int code, struct smtp_enhanced enhanced,
		    const char *text)
{
	struct smtp_status status;

	smtp_status_set(&status, code, enhanced, "%s", text);
	server_append(s, &status);
	server_rejected(s, &status);
	server_over(s, &status);
}

static void refuse_line(struct smtp_server *s, const struct server_command *c, const char *text)
{
	if (c->flags & WITH_OCTETS)
		server_out_of_step(s, 500, ESC(5, 5, 2), text);
	else
		server_reply(s, 500, ESC(5, 5, 2), "%s", text);
}

static void take_command(struct smtp_server *s, struct slice line)
{
	const struct server_command *c = COMMAND_UNKNOWN;
	struct slice args = line, verb = { 0 };

	if (slice_next_word(&args, " \t", &verb))
		c = command_find(verb);
	begin_command(s, c);

	if (verb.len == 0)
		server_reply(s, 500, ESC(5, 5, 2), "Error: bad syntax");
	else if (is_foreign(c, verb))
		hang_up(s, 221, ESC(2, 7, 0), "Error: I can break rules, too. Goodbye.");
	else if (has_control_bytes(line))
		refuse_line(s, c, "Error: bad syntax");
	else
		server_command(s, c, slice_trim(args));
}

static void line_too_long(struct smtp_server *s)
{
	if (s->state == SERVER_AUTH) {
		server_auth_abort(s, 500, ESC(5, 5, 6), "Authentication exchange line is too long");
		return;
	}
	begin_command(s, COMMAND_UNKNOWN);
	server_reply(s, 500, ESC(5, 5, 2), "Error: command too long");
}

/* Drop what belongs to the line that is too long. */
static bool skip_line(struct smtp_server *s, struct slice *input)
{
	size_t lf = slice_find(*input, '\n');

	if (lf == input->len) {
		*input = slice_skip(*input, lf);
		return false;
	}
	*input = slice_skip(*input, lf + 1);
	s->skipping_line = false;
	line_too_long(s);
	return true;
}

/* The rest of it is dropped as it comes; but for BDAT, behind which octets come. */
static bool begin_skipping(struct smtp_server *s, struct slice line)
{
	const struct server_command *c = COMMAND_UNKNOWN;
	struct slice verb;

	if (s->state != SERVER_AUTH && slice_next_word(&line, " \t", &verb))
		c = command_find(verb);
	if (c->flags & WITH_OCTETS) {
		begin_command(s, c);
		refuse_line(s, c, "Error: command too long");
	} else {
		s->skipping_line = true;
	}
	return true;
}

static size_t line_max(const struct smtp_server *s, struct slice input)
{
	bool is_auth = s->state == SERVER_AUTH || slice_starts_nocase(input, SLICE("AUTH "));

	return is_auth ? SERVER_AUTH_LINE_MAX : SERVER_LINE_MAX;
}

/* Lines of commands may end in a bare LF: people type them, and no harm can hide behind it. */
static bool take_line(struct smtp_server *s, struct slice *input)
{
	size_t max = line_max(s, *input);
	struct slice window = slice_first(*input, max), line;
	size_t lf = slice_find(window, '\n');

	if (lf == window.len)
		return window.len == max && begin_skipping(s, window);
	line = slice_trim(slice_first(*input, lf));
	*input = slice_skip(*input, lf + 1);
	if (s->state == SERVER_AUTH)
		server_auth_response(s, line);
	else
		take_command(s, line);
	return true;
}

static bool is_first_word(const struct smtp_server *s)
{
	for (size_t i = 0; i < SERVER_COMMAND_COUNT; i++)
		if (s->counts[i].total > 0)
			return false;
	return !s->skipping_line;
}

/*
 * A TLS record (RFC 8446 section 5.1) instead of the first command: handshake,
 * version 3.x. It has no end of line to wait for.
 */
static bool take_tls_hello(struct smtp_server *s, struct slice *input, bool *ret_more)
{
	if (*input->ptr != 0x16 || s->tls || !is_first_word(s))
		return false;
	*ret_more = false;
	if (input->len == 1)
		return true; /* the second byte will tell */
	if (input->ptr[1] != 3)
		return false;
	s->verb = "CONNECT";
	hang_up(s, 554, ESC(5, 5, 0),
		s->options->starttls
			? "Error: this port speaks SMTP with STARTTLS, not implicit TLS"
			: "Error: this port speaks SMTP, not implicit TLS");
	return true;
}

bool server_take(struct smtp_server *s, struct slice *input)
{
	bool more = true;

	if (s->state == SERVER_DATA)
		server_data_take(s, input);
	else if (s->state == SERVER_CHUNK)
		server_bdat_take(s, input);
	else if (s->skipping_line)
		more = skip_line(s, input);
	else if (!take_tls_hello(s, input, &more))
		more = take_line(s, input);
	return more;
}
