/* server_mail - MAIL and RCPT: the envelope and its parameters */
#include "base/parse.h"
#include "smtp/server_internal.h"

#define OVERSHOOT_MAX 1000 /* smtpd_recipient_overshoot_limit of Postfix */

enum {
	PARAMETER_SIZE = 1u << 0,
	PARAMETER_BODY = 1u << 1,
	PARAMETER_AUTH = 1u << 2,
};

static bool skip_keyword(struct slice *args, struct slice keyword)
{
	if (!slice_starts_nocase(*args, keyword))
		return false;
	*args = slice_trim(slice_skip(*args, keyword.len));
	return args->len > 0;
}

/* False, and a reply was made, if the path is not to be used. */
static bool path_is_fine(struct smtp_server *s, enum smtp_path_outcome outcome,
			 struct smtp_enhanced enhanced, const char *whose)
{
	switch (outcome) {
	case SMTP_PATH_OK:
		return true;
	case SMTP_PATH_MALFORMED:
		server_reply(s, 501, enhanced, "Bad %s address syntax", whose);
		break;
	case SMTP_PATH_TOO_LONG:
		server_reply(s, 501, enhanced, "Bad %s address syntax: too long", whose);
		break;
	case SMTP_PATH_NON_ASCII:
		server_reply(s, 553, ESC(5, 6, 7), "Must declare SMTPUTF8 to send unicode address");
		break;
	}
	return false;
}

static void unsupported(struct smtp_server *s, struct slice parameter)
{
	server_reply(s, 555, ESC(5, 5, 4), "Unsupported option: %.*s",
		     (int)slice_first(parameter, 100).len, parameter.ptr);
}

static bool take_size(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	if (!parse_uint(value, UINT64_MAX, &mail->size)) {
		server_reply(s, 501, ESC(5, 5, 4), "Bad message size syntax");
		return false;
	}
	if (s->options->size_limit > 0 && mail->size > s->options->size_limit) {
		server_reply(s, 552, ESC(5, 3, 4), "Message size exceeds fixed limit");
		return false;
	}
	return true;
}

static bool take_body(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	mail->body_8bit = slice_equal_nocase(value, SLICE("8BITMIME"));
	if (mail->body_8bit || slice_equal_nocase(value, SLICE("7BIT")))
		return true;
	server_reply(s, 501, ESC(5, 5, 4), "Bad BODY parameter syntax");
	return false;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* RFC 3461 section 4: "+2B" stands for a plus. False for what is no xtext, or not printable. */
static bool decode_xtext(struct slice value, char *out)
{
	for (size_t i = 0; i < value.len; i++) {
		char c = value.ptr[i];

		if (c == '+') {
			int high = i + 2 < value.len ? hex_value(value.ptr[i + 1]) : -1;
			int low = high >= 0 ? hex_value(value.ptr[i + 2]) : -1;

			if (low < 0)
				return false;
			c = (char)(high << 4 | low);
			i += 2;
		}
		if (c < ' ' || c > '~')
			return false;
		*out++ = c;
	}
	*out = '\0';
	return value.len > 0;
}

/* RFC 4954 section 5. */
static bool take_auth(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	char *decoded = arena_alloc(&s->arena, value.len + 1);

	if (!decode_xtext(value, decoded)) {
		server_reply(s, 501, ESC(5, 5, 4), "Bad AUTH parameter syntax");
		return false;
	}
	mail->auth = decoded;
	return true;
}

static const struct {
	struct slice name;
	unsigned int bit;
	bool (*take)(struct smtp_server *s, struct slice value, struct smtp_mail *mail);
} mail_parameters[] = {
	{ { "SIZE=", 5 }, PARAMETER_SIZE, take_size },
	{ { "BODY=", 5 }, PARAMETER_BODY, take_body },
	{ { "AUTH=", 5 }, PARAMETER_AUTH, take_auth },
};

static bool take_mail_parameter(struct smtp_server *s, struct slice parameter, unsigned int *seen,
				struct smtp_mail *mail)
{
	for (size_t i = 0; i < sizeof(mail_parameters) / sizeof(mail_parameters[0]); i++) {
		struct slice name = mail_parameters[i].name;
		unsigned int bit = mail_parameters[i].bit;

		if (!slice_starts_nocase(parameter, name))
			continue;
		if (bit == PARAMETER_AUTH && !s->options->auth)
			break;
		if (*seen & bit) {
			server_reply(s, 501, ESC(5, 5, 4), "Error: multiple %s options", name.ptr);
			return false;
		}
		*seen |= bit;
		return mail_parameters[i].take(s, slice_skip(parameter, name.len), mail);
	}
	unsupported(s, parameter);
	return false;
}

static bool parse_mail(struct smtp_server *s, struct slice args, struct smtp_mail *mail)
{
	enum smtp_path_outcome outcome;
	struct slice parameter;
	unsigned int seen = 0;

	if (!skip_keyword(&args, SLICE("FROM:"))) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: MAIL FROM:<address>");
		return false;
	}
	outcome = smtp_path_parse(&args, s->options->append_domain, &s->arena, &mail->sender);
	if (!path_is_fine(s, outcome, ESC(5, 1, 7), "sender"))
		return false;
	while (slice_next_word(&args, " \t", &parameter))
		if (!take_mail_parameter(s, parameter, &seen, mail))
			return false;
	return true;
}

void server_cmd_mail(struct smtp_server *s, struct slice args)
{
	struct smtp_mail mail = { 0 };

	if (s->options->auth_required && !s->user) {
		server_reply(s, 530, ESC(5, 7, 0), "Authentication required");
		return;
	}
	arena_reset(&s->arena); /* of what was refused before */
	if (!parse_mail(s, args, &mail))
		return;
	s->mail = mail;
	server_enter(s, SERVER_ASK_MAIL);
	s->events->mail(s->arg, &s->mail);
}

void server_mail_answered(struct smtp_server *s, const struct smtp_status *status)
{
	if (smtp_status_class(status) == SMTP_DELIVERED) {
		s->in_transaction = true;
		server_enter(s, SERVER_MAIL);
	} else {
		server_enter_idle(s);
	}
	server_reply_status(s, status);
}

/*
 * Past the limit a recipient is no error of the client's: it will come again
 * in the next message (RFC 5321 section 4.5.3.1.10). But not for ever.
 */
static void too_many_recipients(struct smtp_server *s)
{
	struct smtp_status status;

	smtp_status_set(&status, 452, ESC(4, 5, 3), "Error: too many recipients");
	server_append(s, &status);
	if (s->rcpt_overshoot++ < OVERSHOOT_MAX)
		server_rejected(s, &status);
	else
		server_settle(s, &status);
}

static bool parse_rcpt(struct smtp_server *s, struct slice args, struct smtp_rcpt *rcpt)
{
	struct slice path, parameter;
	enum smtp_path_outcome outcome;

	if (!skip_keyword(&args, SLICE("TO:"))) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: RCPT TO:<address>");
		return false;
	}
	path = args;
	outcome = smtp_path_parse(&args, NULL, &s->arena, &rcpt->original);
	if (outcome == SMTP_PATH_OK && !*rcpt->original)
		outcome = SMTP_PATH_MALFORMED; /* no mail goes to <> */
	rcpt->recipient = rcpt->original;
	if (outcome == SMTP_PATH_OK && smtp_address_domain(rcpt->original).len == 0)
		outcome = smtp_path_parse(&path, s->options->append_domain, &s->arena,
					  &rcpt->recipient);
	if (!path_is_fine(s, outcome, ESC(5, 1, 3), "recipient"))
		return false;
	if (slice_next_word(&args, " \t", &parameter)) {
		unsupported(s, parameter);
		return false;
	}
	return true;
}

void server_cmd_rcpt(struct smtp_server *s, struct slice args)
{
	struct smtp_rcpt rcpt = { 0 };

	if (s->options->recipient_limit > 0 && s->rcpt_count >= s->options->recipient_limit) {
		too_many_recipients(s);
		return;
	}
	if (!parse_rcpt(s, args, &rcpt))
		return;
	s->rcpt = rcpt;
	server_enter(s, SERVER_ASK_RCPT);
	s->events->rcpt(s->arg, &s->rcpt);
}

void server_rcpt_answered(struct smtp_server *s, const struct smtp_status *status)
{
	if (smtp_status_class(status) == SMTP_DELIVERED)
		s->rcpt_count++;
	server_enter(s, s->rcpt_count > 0 ? SERVER_RCPT : SERVER_MAIL);
	server_reply_status(s, status);
}
