/* server_mail - MAIL and RCPT: the envelope and its parameters */
#include "base/macros.h"
#include "base/parse.h"
#include "smtp/server_internal.h"

#define OVERSHOOT_MAX 1000 /* smtpd_recipient_overshoot_limit of Postfix */

/* Of both commands; no command has two of one. */
enum {
	PARAMETER_SIZE = 1u << 0,
	PARAMETER_BODY = 1u << 1,
	PARAMETER_AUTH = 1u << 2,
	PARAMETER_RET = 1u << 3,
	PARAMETER_ENVID = 1u << 4,
	PARAMETER_SMTPUTF8 = 1u << 5,
	PARAMETER_NOTIFY = 1u << 6,
	PARAMETER_ORCPT = 1u << 7,
	PARAMETER_REQUIRETLS = 1u << 8,
};

/* What comes with extensions that HELO does not offer. */
#define ESMTP_ONLY                                                                                 \
	(PARAMETER_RET | PARAMETER_ENVID | PARAMETER_SMTPUTF8 | PARAMETER_NOTIFY |                 \
	 PARAMETER_ORCPT | PARAMETER_REQUIRETLS)

/* Those that have no value. */
#define BARE (PARAMETER_SMTPUTF8 | PARAMETER_REQUIRETLS)

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
	}
	return false;
}

/* RFC 6531 section 3.5: 550 to MAIL, 553 to RCPT. */
static bool script_is_fine(struct smtp_server *s, const char *address, bool smtputf8, int code)
{
	if (smtputf8 || smtp_address_is_ascii(address))
		return true;
	server_reply(s, code, ESC(5, 6, 7), "Must declare SMTPUTF8 to send unicode address");
	return false;
}

static void unsupported(struct smtp_server *s, struct slice parameter)
{
	server_reply(s, 555, ESC(5, 5, 4), "Unsupported option: %.*s",
		     (int)slice_first(parameter, 100).len, parameter.ptr);
}

static bool bad_parameter(struct smtp_server *s, const char *name)
{
	server_reply(s, 501, ESC(5, 5, 4), "Bad %s parameter syntax", name);
	return false;
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
	mail->body_binary = slice_equal_nocase(value, SLICE("BINARYMIME"));
	if (mail->body_binary && !server_offers(s, SMTP_BINARYMIME)) {
		unsupported(s, SLICE("BODY=BINARYMIME"));
		return false;
	}
	if (mail->body_8bit || mail->body_binary || slice_equal_nocase(value, SLICE("7BIT")))
		return true;
	return bad_parameter(s, "BODY");
}

/* Into the transaction's memory; NULL, and a reply was made, for what is no xtext. */
static const char *take_xtext(struct smtp_server *s, struct slice value, size_t max,
			      const char *name)
{
	struct buf decoded = { 0 };
	const char *text = NULL;

	if (smtp_xtext_decode(value, &decoded) && buf_len(&decoded) <= max)
		text = arena_slicedup(&s->arena, buf_slice(&decoded));
	else
		bad_parameter(s, name);
	buf_done(&decoded);
	return text;
}

/* RFC 4954 section 5. */
static bool take_auth(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	mail->auth = take_xtext(s, value, SERVER_LINE_MAX, "AUTH");
	return mail->auth != NULL;
}

static bool take_ret(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	return smtp_return_parse(value, &mail->returning) || bad_parameter(s, "RET");
}

static bool take_envid(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	mail->envelope_id = take_xtext(s, value, SMTP_ENVELOPE_ID_MAX, "ENVID");
	return mail->envelope_id != NULL;
}

/* RFC 6531 section 3.1: it has no value. */
static bool take_smtputf8(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	mail->smtputf8 = value.len == 0;
	return mail->smtputf8 || bad_parameter(s, "SMTPUTF8");
}

/* RFC 8689 section 2: it has no value either, and means nothing in the clear. */
static bool take_requiretls(struct smtp_server *s, struct slice value, struct smtp_mail *mail)
{
	if (value.len > 0)
		return bad_parameter(s, "REQUIRETLS");
	if (!s->tls) {
		server_reply(s, 530, ESC(5, 7, 10), "Error: REQUIRETLS is for sessions in TLS");
		return false;
	}
	mail->requiretls = true;
	return true;
}

static bool take_notify(struct smtp_server *s, struct slice value, struct smtp_rcpt *rcpt)
{
	return smtp_notify_parse(value, &rcpt->notify) || bad_parameter(s, "NOTIFY");
}

static bool take_orcpt(struct smtp_server *s, struct slice value, struct smtp_rcpt *rcpt)
{
	struct buf decoded = { 0 };
	bool is_fine = smtp_original_recipient_decode(value, s->mail.smtputf8, &decoded);

	if (is_fine)
		rcpt->orcpt = arena_slicedup(&s->arena, buf_slice(&decoded));
	buf_done(&decoded);
	return is_fine || bad_parameter(s, "ORCPT");
}

struct parameter {
	struct slice name;
	unsigned int bit;
	unsigned int extensions; /* enum smtp_extension: it comes with any of these */
	bool (*take_mail)(struct smtp_server *s, struct slice value, struct smtp_mail *mail);
	bool (*take_rcpt)(struct smtp_server *s, struct slice value, struct smtp_rcpt *rcpt);
};

static const struct parameter parameters[] = {
	{ { "SIZE", 4 }, PARAMETER_SIZE, SMTP_SIZE, take_size, NULL },
	{ { "BODY", 4 }, PARAMETER_BODY, SMTP_8BITMIME | SMTP_BINARYMIME, take_body, NULL },
	{ { "AUTH", 4 }, PARAMETER_AUTH, 0, take_auth, NULL },
	{ { "RET", 3 }, PARAMETER_RET, SMTP_DSN, take_ret, NULL },
	{ { "ENVID", 5 }, PARAMETER_ENVID, SMTP_DSN, take_envid, NULL },
	{ { "SMTPUTF8", 8 }, PARAMETER_SMTPUTF8, SMTP_SMTPUTF8, take_smtputf8, NULL },
	{ { "REQUIRETLS", 10 }, PARAMETER_REQUIRETLS, SMTP_REQUIRETLS, take_requiretls, NULL },
	{ { "NOTIFY", 6 }, PARAMETER_NOTIFY, SMTP_DSN, NULL, take_notify },
	{ { "ORCPT", 5 }, PARAMETER_ORCPT, SMTP_DSN, NULL, take_orcpt },
};

static bool is_offered(const struct smtp_server *s, const struct parameter *p)
{
	if (p->bit == PARAMETER_AUTH)
		return s->options->auth != NULL;
	if ((s->options->discarded & p->extensions) == p->extensions)
		return false;
	return s->esmtp || !(p->bit & ESMTP_ONLY);
}

/*
 * The parameter that is meant by NAME=VALUE; NULL, and a reply was made, if
 * there is none such, or it came before.
 */
static const struct parameter *find_parameter(struct smtp_server *s, struct slice text,
					      bool is_mail, unsigned int *seen)
{
	struct slice name = slice_first(text, slice_find(text, '='));

	for (size_t i = 0; i < ARRAY_SIZE(parameters); i++) {
		const struct parameter *p = &parameters[i];

		if (!slice_equal_nocase(name, p->name) || is_mail != (p->take_mail != NULL) ||
		    !is_offered(s, p) || (name.len == text.len && !(p->bit & BARE)))
			continue;
		if (*seen & p->bit) {
			server_reply(s, 501, ESC(5, 5, 4), "Error: multiple %s options",
				     p->name.ptr);
			return NULL;
		}
		*seen |= p->bit;
		return p;
	}
	unsupported(s, text);
	return NULL;
}

static struct slice value_of(struct slice parameter)
{
	size_t equals = slice_find(parameter, '=');

	return slice_skip(parameter, equals + 1);
}

static bool parse_mail_parameters(struct smtp_server *s, struct slice args, struct smtp_mail *mail)
{
	const struct parameter *p;
	unsigned int seen = 0;
	struct slice text;

	while (slice_next_word(&args, " \t", &text)) {
		p = find_parameter(s, text, true, &seen);
		if (!p || !p->take_mail(s, value_of(text), mail))
			return false;
	}
	return true;
}

static bool parse_rcpt_parameters(struct smtp_server *s, struct slice args, struct smtp_rcpt *rcpt)
{
	const struct parameter *p;
	unsigned int seen = 0;
	struct slice text;

	while (slice_next_word(&args, " \t", &text)) {
		p = find_parameter(s, text, false, &seen);
		if (!p || !p->take_rcpt(s, value_of(text), rcpt))
			return false;
	}
	return true;
}

static bool parse_mail(struct smtp_server *s, struct slice args, struct smtp_mail *mail)
{
	enum smtp_path_outcome outcome;

	if (!skip_keyword(&args, SLICE("FROM:"))) {
		server_reply(s, 501, ESC(5, 5, 4), "Syntax: MAIL FROM:<address>");
		return false;
	}
	outcome = smtp_path_parse(&args, s->options->append_domain, &s->arena, &mail->sender);
	if (!path_is_fine(s, outcome, ESC(5, 1, 7), "sender"))
		return false;
	return parse_mail_parameters(s, args, mail) &&
	       script_is_fine(s, mail->sender, mail->smtputf8, 550);
}

void server_cmd_mail(struct smtp_server *s, struct slice args)
{
	struct smtp_mail mail = { .envelope_id = "" };

	if (s->options->auth_required && !s->authenticated) {
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
	struct slice path;
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
	return parse_rcpt_parameters(s, args, rcpt) &&
	       script_is_fine(s, rcpt->recipient, s->mail.smtputf8, 553);
}

void server_cmd_rcpt(struct smtp_server *s, struct slice args)
{
	struct smtp_rcpt rcpt = { .orcpt = "" };

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
