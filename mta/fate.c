#include "mta/fate.h"

#include "base/macros.h"
#include "mta/backoff.h"

int64_t fate_expires_ms(const struct mta_options *options, const struct queue_message *m)
{
	int64_t lifetime_s =
		m->sender[0] ? options->maximal_lifetime_s : options->bounce_lifetime_s;

	return m->arrived_ms + lifetime_s * 1000;
}

/*
 * Most greylists let mail in after one to five minutes. But a server that says
 * 451 for ever must not be hammered: trebling from a minute on, this meets the
 * usual schedule, which doubles, at the fifth attempt.
 */
#define SOON_S	    60
#define SOON_GROWTH 3

bool fate_is_greylisting(const struct smtp_status *answer)
{
	const struct smtp_enhanced *e = &answer->enhanced;

	if (answer->code == 452) /* RFC 5321 section 4.5.3.1.10: too many recipients */
		return e->class == 4 && e->subject == 5 && e->detail == 3;
	return answer->code == 450 || answer->code == 451;
}

static int64_t wait_ms(const struct fate_facts *f, unsigned int attempts)
{
	const struct mta_options *options = f->options;
	int64_t usual_ms = backoff_ms(attempts, options->minimal_backoff_s,
				      options->maximal_backoff_s, f->random);
	int64_t soon_s = SOON_S;

	if (!f->is_greylisted)
		return usual_ms;
	for (unsigned int i = 1; i < attempts && soon_s < options->maximal_backoff_s; i++)
		soon_s *= SOON_GROWTH;
	return MIN(usual_ms, backoff_ms(1, soon_s, soon_s, f->random));
}

int64_t fate_next_try_ms(const struct fate_facts *f, unsigned int attempts)
{
	int64_t expires_ms = fate_expires_ms(f->options, f->message);
	int64_t next_ms = f->retry_ms;

	if (!f->is_uncounted || !f->retry_ms)
		next_ms = MAX(next_ms, f->now_ms + wait_ms(f, attempts));
	if (expires_ms > f->now_ms)
		next_ms = MIN(next_ms, expires_ms); /* the last attempt, and then it is known */
	return next_ms;
}

/* RFC 3461 section 4.1. Not given, it is up to us: failures, and delays where we report them. */
static bool wants(const struct queue_recipient *r, enum smtp_notify what)
{
	if (r->notify == 0)
		return what != SMTP_NOTIFY_SUCCESS;
	return r->notify & what;
}

static void delivered(const struct fate_facts *f, struct fate *fate)
{
	fate->status = QUEUE_DELIVERED;
	if (f->place != FATE_NEXT_HOP && f->message->sender[0] &&
	    wants(f->recipient, SMTP_NOTIFY_SUCCESS))
		fate->report = REPORT_SUCCESS;
}

/* Once for each recipient, and never for reports: who would read them? */
static bool is_time_to_warn(const struct fate_facts *f)
{
	int64_t warning_ms = f->options->delay_warning_s * 1000;

	return warning_ms > 0 && f->now_ms - f->message->arrived_ms >= warning_ms &&
	       f->message->sender[0] && !f->recipient->is_warned &&
	       wants(f->recipient, SMTP_NOTIFY_DELAY);
}

static void deferred(const struct fate_facts *f, struct fate *fate)
{
	fate->status = QUEUE_DEFERRED;
	fate->due_ms = fate_next_try_ms(f, fate->attempts);
	if (is_time_to_warn(f))
		fate->report = REPORT_DELAY;
}

/*
 * Whoever sent it is told, unless he wanted not to be. A message without a
 * sender is a report, which is never answered (RFC 5321 section 6.1): the
 * postmaster hears of it, and of his own mail nobody.
 */
static void bounced(const struct fate_facts *f, struct fate *fate)
{
	fate->status = QUEUE_BOUNCED;
	if (f->message->sender[0]) {
		fate->is_silenced = !wants(f->recipient, SMTP_NOTIFY_FAILURE);
		fate->report = fate->is_silenced ? REPORT_NONE : REPORT_FAILURE;
		return;
	}
	fate->is_dropped = f->message->kind == QUEUE_DOUBLE_BOUNCE ||
			   f->options->double_bounce_recipient[0] == '\0';
	fate->report = fate->is_dropped ? REPORT_NONE : REPORT_DOUBLE_BOUNCE;
}

void fate_decide(const struct fate_facts *f, struct fate *ret)
{
	struct fate fate = { .attempts = f->recipient->attempts + (f->is_uncounted ? 0 : 1) };

	fate.is_expired = f->class == SMTP_DEFERRED && !f->is_damaged &&
			  f->now_ms >= fate_expires_ms(f->options, f->message);
	if (f->class == SMTP_DELIVERED)
		delivered(f, &fate);
	else if (f->is_damaged)
		fate.status = QUEUE_HELD;
	else if (f->class == SMTP_DEFERRED && !fate.is_expired)
		deferred(f, &fate);
	else
		bounced(f, &fate);
	*ret = fate;
}
