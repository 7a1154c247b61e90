/* server_transcript - see the header; events are written when they come, replies before the next */
#include "tests/support/server_transcript.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/macros.h"
#include "base/utf8.h"
#include "smtp/address.h"

static void write_escaped(struct buf *out, struct slice text)
{
	for (size_t i = 0; i < text.len; i++) {
		unsigned char c = (unsigned char)text.ptr[i];

		if (c == '\r')
			buf_append_string(out, "\\r");
		else if (c == '\n')
			buf_append_string(out, "\\n");
		else if (c == '\\')
			buf_append_string(out, "\\\\");
		else if (c < ' ' || c > '~')
			buf_printf(out, "\\x%02x", c);
		else
			buf_append(out, &text.ptr[i], 1);
	}
}

/* RFC 5321 section 4.2: what every reply line must be. */
static void check_reply(struct slice line)
{
	assert(line.len >= 4 && line.len + 2 <= 512);
	assert(line.ptr[0] >= '2' && line.ptr[0] <= '5');
	assert(line.ptr[3] == ' ' || line.ptr[3] == '-');
	for (size_t i = 0; i < line.len; i++)
		assert(line.ptr[i] >= ' ' && line.ptr[i] <= '~');
}

static void write_replies(struct transcript *t)
{
	assert(!t->is_over || buf_len(&t->output) == 0);
	while (buf_len(&t->output) > 0) {
		struct slice all = buf_slice(&t->output), line = all;

		line.len = slice_find(all, '\n');
		assert(line.len < all.len && line.len > 0 && line.ptr[line.len - 1] == '\r');
		line.len--;
		check_reply(line);
		if (line.ptr[line.len - 1] == ' ')
			buf_printf(&t->lines, "S: %.*s\\x20\n", (int)line.len - 1, line.ptr);
		else
			buf_printf(&t->lines, "S: %.*s\n", (int)line.len, line.ptr);
		buf_consume(&t->output, line.len + 2);
	}
}

static void begin_event(struct transcript *t, const char *name)
{
	assert(!t->is_over && !t->in_handshake && !t->is_paused);
	write_replies(t);
	buf_printf(&t->lines, "E: %s", name);
}

static void write_field(struct transcript *t, const char *name, const char *value)
{
	buf_printf(&t->lines, " %s", name);
	write_escaped(&t->lines, slice_from(value));
}

static void end_event(struct transcript *t)
{
	buf_append_string(&t->lines, "\n");
}

static void write_status(struct transcript *t, const struct smtp_status *status)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_printf(&t->lines, " %d %s", status->code, smtp_status_enhanced_text(status, enhanced));
	write_field(t, "", status->text);
}

static const struct transcript_answer friendly[] = {
	{ "auth", NULL, { 235, { 2, 7, 0 }, "Authentication successful" } },
	{ "malformed", NULL, { 501, { 5, 5, 2 }, "Error: malformed response" } },
	{ "etrn", NULL, { 250, { 2, 0, 0 }, "Queuing started" } },
	{ "mail", NULL, { 250, { 2, 1, 0 }, "Ok" } },
	{ "rcpt", NULL, { 250, { 2, 1, 5 }, "Ok" } },
	{ "data", NULL, { 354, { 0, 0, 0 }, "" } },
	{ "end", NULL, { 250, { 2, 0, 0 }, "Ok: queued as 4KZ91C2M" } },
};

static const struct transcript_answer *find_answer(const struct transcript_answer *answers,
						   size_t count, const char *event,
						   const char *about)
{
	for (size_t i = 0; i < count; i++) {
		const struct transcript_answer *a = &answers[i];

		if (strcmp(a->event, event) == 0 && (!a->about || strcmp(a->about, about) == 0))
			return a;
	}
	return NULL;
}

/* Choose the answer to an event, and give it unless that is to be done later. */
static void asked(struct transcript *t, const char *event, const char *about)
{
	t->answer = find_answer(t->answers, t->answer_count, event, about);
	if (!t->answer)
		t->answer = find_answer(friendly, ARRAY_SIZE(friendly), event, about);
	assert(smtp_server_is_waiting(t->server));
	if (!t->is_late)
		transcript_continue(t);
}

static void on_hello(void *arg, const char *name, bool esmtp)
{
	struct transcript *t = arg;

	begin_event(t, "hello");
	write_field(t, "", name);
	write_field(t, esmtp ? "esmtp" : "smtp", "");
	end_event(t);
	assert(!t->is_open);
}

/* Owners drop the connection's buffers inside of the last event. */
static void drop_input(struct transcript *t)
{
	free(t->input);
	t->input = NULL;
}

static void on_starttls(void *arg)
{
	struct transcript *t = arg;

	begin_event(t, "starttls");
	end_event(t);
	assert(!t->is_open);
	t->in_handshake = true;
	drop_input(t);
}

/* The owner knows PLAIN and LOGIN, and tells of what was given to it whole. */
static void asked_for_challenge(struct transcript *t, const char *challenge)
{
	t->challenge = challenge;
	assert(smtp_server_is_waiting(t->server));
	if (!t->is_late)
		transcript_continue(t);
}

static void write_credentials(struct transcript *t, struct slice id, struct slice user,
			      struct slice password)
{
	char name[64];

	begin_event(t, "auth");
	write_field(t, t->is_login ? "LOGIN" : "PLAIN", "");
	buf_append_string(&t->lines, " id=");
	write_escaped(&t->lines, id);
	buf_append_string(&t->lines, " user=");
	write_escaped(&t->lines, user);
	buf_append_string(&t->lines, " password=");
	write_escaped(&t->lines, password);
	end_event(t);
	t->in_auth = false;
	slice_copy(slice_first(user, sizeof(name) - 1), name, sizeof(name));
	asked(t, "auth", name);
}

static bool is_malformed(const struct transcript *t, struct slice response)
{
	unsigned int nuls = 0;

	for (size_t i = 0; i < response.len; i++)
		nuls += response.ptr[i] == '\0';
	return nuls != (t->is_login ? 0 : 2);
}

static void on_auth_response(void *arg, struct slice response)
{
	struct transcript *t = arg;
	struct slice id = { 0 }, rest;

	assert(t->in_auth && !t->is_open && !smtp_server_is_authenticated(t->server));
	if (is_malformed(t, response)) {
		t->in_auth = false;
		asked(t, "malformed", "");
		return;
	}
	if (!t->is_login) {
		id = slice_first(response, slice_find(response, '\0'));
		rest = slice_skip(response, id.len + 1);
		response = slice_skip(rest, slice_find(rest, '\0') + 1);
		slice_copy(slice_first(rest, MIN(slice_find(rest, '\0'), sizeof(t->user) - 1)),
			   t->user, sizeof(t->user));
	} else if (!t->has_user) {
		slice_copy(slice_first(response, sizeof(t->user) - 1), t->user, sizeof(t->user));
		t->has_user = true;
		asked_for_challenge(t, "Password:");
		return;
	}
	write_credentials(t, id, slice_from(t->user), response);
}

static void on_auth(void *arg, const char *mechanism, const struct slice *initial)
{
	struct transcript *t = arg;

	assert(!t->in_auth);
	t->is_login = strcmp(mechanism, "LOGIN") == 0;
	t->in_auth = true;
	t->has_user = false;
	if (initial)
		on_auth_response(t, *initial);
	else
		asked_for_challenge(t, t->is_login ? "Username:" : "");
}

static void on_auth_abort(void *arg)
{
	struct transcript *t = arg;

	assert(t->in_auth);
	t->in_auth = false;
}

static void on_etrn(void *arg, const char *domain, bool with_subdomains)
{
	struct transcript *t = arg;

	assert(!t->is_open && *domain && strlen(domain) <= 255);
	begin_event(t, "etrn");
	write_field(t, with_subdomains ? "@" : "", domain);
	end_event(t);
	asked(t, "etrn", domain);
}

/* Printable, and UTF-8 only where that was asked for. */
static void check_text(const char *text, bool utf8)
{
	struct slice rest = slice_from(text);

	while (rest.len > 0) {
		uint32_t code = (unsigned char)*rest.ptr;
		size_t n = utf8 ? utf8_sequence(rest, &code) : 0;

		assert(!utf8_is_control(code) && (n > 0 || code < 0x80));
		rest = slice_skip(rest, n ? n : 1);
	}
}

static void check_address(const char *address, bool utf8)
{
	assert(strlen(address) <= SMTP_ADDRESS_MAX);
	check_text(address, utf8);
}

static void write_notify(struct transcript *t, unsigned int notify)
{
	if (!notify)
		return;
	buf_append_string(&t->lines, " notify=");
	smtp_notify_format(notify, &t->lines);
}

static void on_mail(void *arg, const struct smtp_mail *mail)
{
	struct transcript *t = arg;

	check_address(mail->sender, mail->smtputf8);
	assert(strlen(mail->envelope_id) <= SMTP_ENVELOPE_ID_MAX);
	check_text(mail->envelope_id, false);
	assert(!t->is_open);
	begin_event(t, "mail");
	write_field(t, "<", mail->sender);
	buf_append_string(&t->lines, ">");
	if (mail->size)
		buf_printf(&t->lines, " size=%" PRIu64, mail->size);
	if (mail->body_8bit)
		write_field(t, "8bit", "");
	if (mail->body_binary)
		write_field(t, "binary", "");
	if (mail->requiretls)
		write_field(t, "requiretls", "");
	t->is_binary = mail->body_binary;
	if (mail->auth)
		write_field(t, "auth=", mail->auth);
	if (mail->returning)
		write_field(t, mail->returning == SMTP_RETURN_FULL ? "ret=full" : "ret=hdrs", "");
	if (*mail->envelope_id)
		write_field(t, "envid=", mail->envelope_id);
	if (mail->smtputf8)
		write_field(t, "smtputf8", "");
	t->is_utf8 = mail->smtputf8;
	end_event(t);
	asked(t, "mail", mail->sender);
}

static void on_rcpt(void *arg, const struct smtp_rcpt *rcpt)
{
	struct transcript *t = arg;

	check_address(rcpt->recipient, t->is_utf8);
	check_address(rcpt->original, t->is_utf8);
	assert(strlen(rcpt->orcpt) <= SMTP_ORIGINAL_RECIPIENT_MAX);
	check_text(rcpt->orcpt, true);
	assert(t->is_open && *rcpt->recipient);
	begin_event(t, "rcpt");
	write_field(t, "<", rcpt->recipient);
	buf_append_string(&t->lines, ">");
	if (strcmp(rcpt->recipient, rcpt->original) != 0)
		write_field(t, "typed=", rcpt->original);
	write_notify(t, rcpt->notify);
	if (*rcpt->orcpt)
		write_field(t, "orcpt=", rcpt->orcpt);
	end_event(t);
	asked(t, "rcpt", rcpt->recipient);
}

static void on_data(void *arg, const char *verb)
{
	struct transcript *t = arg;

	assert(t->is_open);
	begin_event(t, strcmp(verb, "DATA") == 0 ? "data" : "data by BDAT");
	end_event(t);
	buf_clear(&t->body);
	asked(t, "data", "");
}

static void on_body(void *arg, struct slice bytes)
{
	struct transcript *t = arg;

	assert(t->is_open && !t->is_paused && bytes.len > 0);
	buf_append_slice(&t->body, bytes);
	assert(t->options.size_limit == 0 || buf_len(&t->body) <= t->options.size_limit);
	if (t->is_late) {
		t->is_paused = true;
		smtp_server_pause(t->server);
	}
}

static void write_body(struct transcript *t)
{
	while (buf_len(&t->body) > 0) {
		struct slice all = buf_slice(&t->body), line = all;

		line.len = slice_find(all, '\n');
		if (t->is_binary) {
			begin_event(t, "body ");
			write_escaped(&t->lines, all);
			end_event(t);
			return;
		}
		assert(line.len < all.len && line.len > 0 && line.ptr[line.len - 1] == '\r');
		line.len--;
		begin_event(t, line.len > 0 ? "body " : "body");
		write_escaped(&t->lines, line);
		end_event(t);
		buf_consume(&t->body, line.len + 2);
	}
}

static void on_end_of_data(void *arg)
{
	struct transcript *t = arg;

	assert(t->is_open);
	write_body(t);
	begin_event(t, t->is_binary && smtp_server_has_lines(t->server) ? "end lines" : "end");
	end_event(t);
	t->is_open = false;
	asked(t, "end", "");
}

static void on_reset(void *arg, const struct smtp_status *why)
{
	struct transcript *t = arg;

	assert(t->is_open);
	t->is_open = t->is_paused = false;
	begin_event(t, "reset");
	if (why)
		write_status(t, why);
	end_event(t);
}

static void on_rejected(void *arg, const char *verb, const struct smtp_status *status)
{
	struct transcript *t = arg;

	begin_event(t, "rejected");
	write_field(t, verb, "");
	write_status(t, status);
	end_event(t);
}

static void on_quit(void *arg)
{
	struct transcript *t = arg;

	assert(!t->is_open);
	begin_event(t, "quit");
	end_event(t);
	t->is_over = true;
	drop_input(t);
}

static const struct smtp_server_events events = {
	.hello = on_hello,
	.starttls = on_starttls,
	.auth = on_auth,
	.auth_response = on_auth_response,
	.auth_abort = on_auth_abort,
	.etrn = on_etrn,
	.mail = on_mail,
	.rcpt = on_rcpt,
	.data = on_data,
	.body = on_body,
	.end_of_data = on_end_of_data,
	.reset = on_reset,
	.rejected = on_rejected,
	.quit = on_quit,
};

void transcript_begin(struct transcript *t, bool tls)
{
	t->server = smtp_server_new(&t->options, &events, t, &t->output);
	smtp_server_greet(t->server, tls);
	write_replies(t);
}

void transcript_done(struct transcript *t)
{
	smtp_server_free(t->server);
	buf_done(&t->output);
	buf_done(&t->lines);
	buf_done(&t->body);
}

size_t transcript_input(struct transcript *t, struct slice bytes)
{
	bool is_stuck =
		t->is_over || t->in_handshake || t->is_paused || smtp_server_is_waiting(t->server);
	size_t used;

	t->input = malloc(bytes.len + !bytes.len);
	assert(t->input);
	if (bytes.len > 0)
		memcpy(t->input, bytes.ptr, bytes.len);
	used = smtp_server_input(t->server, slice_of(t->input, bytes.len));
	drop_input(t);
	assert(used <= bytes.len && (!is_stuck || used == 0));
	write_replies(t);
	return used;
}

bool transcript_continue(struct transcript *t)
{
	if (smtp_server_is_waiting(t->server) && t->challenge) {
		const char *challenge = t->challenge;

		t->challenge = NULL;
		smtp_server_challenge(t->server, slice_from(challenge));
	} else if (smtp_server_is_waiting(t->server)) {
		if (strcmp(t->answer->event, "mail") == 0)
			t->is_open = smtp_status_class(&t->answer->status) == SMTP_DELIVERED;
		smtp_server_answer(t->server, &t->answer->status);
		t->is_open = smtp_server_in_transaction(t->server);
	} else if (t->is_paused) {
		t->is_paused = false;
		smtp_server_resume(t->server);
	} else {
		return false;
	}
	write_replies(t);
	return true;
}

void transcript_secured(struct transcript *t)
{
	assert(t->in_handshake);
	t->in_handshake = false;
	smtp_server_secured(t->server);
	write_replies(t);
}

void transcript_end(struct transcript *t, const struct smtp_status *status)
{
	smtp_server_end(t->server, status);
	write_replies(t);
}
