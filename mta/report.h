/*
 * report - tells a sender what became of a message: not delivered, late, or
 * delivered (RFC 3461 section 6, RFC 3464 in the multipart/report of RFC 6522,
 * RFC 6533 for addresses in UTF-8)
 *
 * A report has three parts: words for a person, fields for a program, and the
 * message or its header. It comes from the null reverse-path and asks for no
 * notification itself, so a report is never answered by another.
 */
#pragma once

#include "base/error.h"
#include "mta/mta.h"

enum report_kind {
	REPORT_NONE,
	REPORT_FAILURE,
	REPORT_DELAY,
	REPORT_SUCCESS,
	REPORT_DOUBLE_BOUNCE, /* to the postmaster: a failure that has no sender to be told */
	REPORT_KIND_COUNT,
};

struct report_recipient {
	const struct queue_recipient *recipient;
	const struct smtp_status *status;
	bool is_discarded; /* as its route says, and so is nowhere */
	bool by_peer;	   /* the status is what relay said, "host[ip]:25"; else what we say */
	const char *relay;
	bool is_in_mailbox; /* of a success: nobody hands it on any more */
	bool expired;	    /* tried for the whole lifetime, and the last answer was temporary */
	int64_t attempted_ms;
};

struct report {
	enum report_kind kind;
	const struct queue_message *message; /* has a sender, unless it is a double bounce */
	const struct report_recipient *recipients;
	size_t recipient_count;
	int64_t expires_ms; /* when the message is tried for the last time */
};

/*
 * Make the message that tells. It goes to the queue with the outcomes it
 * reports. Blocks: the message may have to be read from disk. The caller owns
 * *ret.
 */
int report_compose(const struct mta_options *options, const struct report *report,
		   struct queue_message **ret, struct error *err);
