/*
 * inbound_verify - RCPT waits until it is known whether there is such a
 * recipient (mta/verify.h), where the policy wants to know
 *
 * The engine stands still meanwhile, so a client that has sent its recipients
 * ahead hears of each in order; and it does not wait for longer than wait_ms.
 * What is said then is in Postfix's words.
 */
#include "mta/inbound_session.h"

#include "base/macros.h"

static const struct verify_options *options_of(const struct inbound *s)
{
	return &s->view->options->verify;
}

/*
 * Our code, with what the enhanced one of the next hop says, in the class of
 * ours; and its text, without its name.
 */
static void refuse(struct inbound *s, int code, const char *what, const struct smtp_status *why)
{
	struct smtp_enhanced enhanced = why->enhanced;
	struct smtp_status status;

	if (enhanced.class == 0 || enhanced.class == 2 || enhanced.subject == 0)
		enhanced = ESC(0, 1, 1);
	enhanced.class = (unsigned short)(code / 100);
	smtp_status_set(&status, code, enhanced, "<%.320s>: Recipient address rejected: %s: %s",
			s->asked.recipient, what, why->text);
	s->rcpt = s->asked.recipient;
	smtp_server_answer(s->server, &status);
	s->rcpt = NULL;
}

static void act(struct inbound *s)
{
	const struct verify_options *options = options_of(s);
	const struct verify_fact *answer = &s->verification.answer;
	struct smtp_status why = answer->status;

	switch (answer->verdict) {
	case VERIFY_DELIVERABLE:
		inbound_take_recipient(s, &s->asked);
		break;
	case VERIFY_UNDELIVERABLE:
		refuse(s, options->reject_code, "undeliverable address", &why);
		break;
	case VERIFY_UNKNOWN:
		why.enhanced = ESC(4, 1, 1); /* whatever is wrong there, here it is this */
		if (options->takes_unknown)
			inbound_take_recipient(s, &s->asked);
		else
			refuse(s, options->defer_code, "unverified address", &why);
		break;
	}
}

static void answered(struct verify_wait *wait)
{
	struct inbound *s = CONTAINER_OF(wait, struct inbound, verification);

	act(s);
	inbound_resume(s);
}

bool inbound_verify(struct inbound *s, const struct smtp_rcpt *rcpt)
{
	const struct mta_options *options = s->view->options;
	struct smtp_status status;
	struct error err;
	int r;

	if (!options->policy->must_verify)
		return false;
	r = options->policy->must_verify(options->policy_arg, rcpt->recipient, &err);
	if (r == MAP_NOT_FOUND)
		return false;
	s->asked = *rcpt;
	if (r < 0) {
		log_write(options->log, "smtpd", LOG_LEVEL_ERROR, "%s", err.text);
		smtp_status_set(&status, 451, ESC(4, 3, 0), "<%s>: Temporary lookup failure",
				rcpt->recipient);
		smtp_server_answer(s->server, &status);
		return true;
	}
	s->verification.answered = answered;
	if (verifier_ask(s->worker->verifier, rcpt->recipient, &s->verification))
		act(s);
	return true;
}

void inbound_verify_end(struct inbound *s)
{
	verifier_cancel(&s->verification);
}
