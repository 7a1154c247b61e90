/*
 * fate - what becomes of a recipient after an attempt, and who is told of it
 *
 * One function decides, from what is known, so that the whole of the rules can
 * be read and tested in one place. docs/queue.md has them as a table.
 */
#pragma once

#include "mta/report.h"

/* Where a delivered message is now. */
enum fate_place {
	FATE_MAILBOX,	 /* of this host */
	FATE_NEXT_HOP,	 /* a server that reports to the sender itself, if that was asked for */
	FATE_SILENT_HOP, /* a server that does not know DSN */
	FATE_NOWHERE,	 /* discarded, as a route says */
};

struct fate_facts {
	const struct mta_options *options;
	const struct queue_message *message;
	const struct queue_recipient *recipient; /* as it was before the attempt */
	enum smtp_class class;			 /* of the attempt's status */
	enum fate_place place;			 /* when delivered */
	bool is_damaged;			 /* the stored message is not what was accepted */
	bool is_uncounted;			 /* no attempt of its own, or only a probe */
	bool is_greylisted;			 /* the next hop wants it to come again soon */
	int64_t retry_ms;			 /* not before then; uncounted: then; 0: any */
	int64_t now_ms;
	uint32_t random; /* for the jitter */
};

struct fate {
	enum queue_status status;
	unsigned int attempts; /* with this one */
	int64_t due_ms;	       /* deferred: the next attempt */
	bool is_expired;       /* bounced because it was tried long enough */
	enum report_kind report;
	bool is_silenced; /* bounced, and the sender wanted not to be told (NOTIFY) */
	bool is_dropped;  /* bounced, and there is nobody who could be told */
};

/*
 * Whether this answer of a next hop, to RCPT or to the end of a message, may be
 * that of a greylist, or of one who only takes so many recipients at a time:
 * 450, 451, and 452 4.5.3. What its text says does not matter.
 */
bool fate_is_greylisting(const struct smtp_status *answer);

void fate_decide(const struct fate_facts *facts, struct fate *ret);

/* When the message is tried for the last time. */
int64_t fate_expires_ms(const struct mta_options *options, const struct queue_message *m);

/* The next attempt of a recipient that is deferred, never later than the last one. */
int64_t fate_next_try_ms(const struct fate_facts *facts, unsigned int attempts);
