/*
 * report_words - the part that people read
 *
 * For each recipient: what happened and whose fault that most likely is, what
 * the reader can do, and then the words of the server, for whoever is asked for
 * help. What happened is told by the enhanced status code (RFC 3463), whose
 * subject and detail mean the same for failures and delays; a server that gives
 * none is quoted only.
 */
#include "mta/report_parts.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

#define ANY_DETAIL 1000 /* no detail is as large */

struct advice {
	unsigned short subject, detail;
	const char *what; /* happened, and whose fault it is likely to be */
	const char *todo;
};

#define TELL_POSTMASTER "Tell your postmaster, and send this report along."
#define ASK_RECIPIENT	"Ask the recipient, by other means than this address."
#define TRY_LATER                                                                                  \
	"Send it again later, or reach the recipient by other means. If mail to others there "     \
	"fails too, tell your postmaster."
#define NO_ENCRYPTION                                                                              \
	"This message may travel only over an encrypted connection to a server that can prove "    \
	"its name, and there was none. It was not sent unprotected. The fault is in the set-up "   \
	"of one of the two mail servers, not in your message."
#define BAD_DOMAIN                                                                                 \
	"The domain of this address, the part behind the @, does not exist or takes no mail. "     \
	"Most likely it is misspelled."

/* The first that fits counts. */
static const struct advice advices[] = {
	{ 1, 1,
	  "There is no mailbox with this address. Most likely the address is misspelled, or the "
	  "mailbox was closed.",
	  "Check the address. If it is right, ask the recipient for the present one." },
	{ 1, 6, "The mailbox of this address has moved, and it is not known where to.",
	  "Ask the recipient for the new address." },
	{ 1, 2, BAD_DOMAIN, "Check the address." },
	{ 1, 10, BAD_DOMAIN, "Check the address." },
	{ 4, 4, BAD_DOMAIN, "Check the address. If it is right, tell your postmaster." },
	{ 1, 3, "This is not a valid address.", "Check the address for typing mistakes." },
	{ 1, 7, "The receiving server does not accept your address as a sender's.",
	  TELL_POSTMASTER },
	{ 1, 8, "The receiving server does not accept your address as a sender's.",
	  TELL_POSTMASTER },
	{ 2, 1, "The mailbox exists but takes no mail. Most likely it was switched off.",
	  ASK_RECIPIENT },
	{ 2, 2, "The recipient's mailbox is full. Only its owner can make room.",
	  "Let the recipient know, by other means than this address, and send the message again." },
	{ 2, 3, "The message is larger than this mailbox takes.",
	  "Send it again with fewer or smaller attachments." },
	{ 3, 4, "The message is larger than a mail server on its way takes.",
	  "Send it again with fewer or smaller attachments." },
	{ 4, 6,
	  "The message went in circles. Mail servers disagree about where mail for this address "
	  "belongs; that is a fault of their set-up, not of your message.",
	  TELL_POSTMASTER },
	{ 6, 7,
	  "The address, or the header of the message, is not written in plain ASCII letters alone, "
	  "and the receiving server cannot handle that.",
	  "If you and the recipient have addresses in plain letters too, use those." },
	{ 6, 9,
	  "The header of the message is not written in plain ASCII letters alone, and the "
	  "receiving server cannot handle that.",
	  "Use addresses in plain letters, if you and the recipient have such." },
	{ 7, 4, NO_ENCRYPTION, TELL_POSTMASTER },
	{ 7, 5, NO_ENCRYPTION, TELL_POSTMASTER },
	{ 7, 10, NO_ENCRYPTION, TELL_POSTMASTER },
	{ 7, ANY_DETAIL,
	  "The receiving server has rules against this message. It may take it for spam, or it "
	  "does not accept mail from you or from this server.",
	  "Its answer below may say what to change. If it does not, tell your postmaster, or reach "
	  "the recipient by other means." },
	{ 3, ANY_DETAIL, "A mail server on the way is in trouble. That is not your fault.",
	  TRY_LATER },
	{ 4, ANY_DETAIL,
	  "The receiving server could not be reached, or broke off. The fault is most likely on "
	  "its side, or in the network between.",
	  TRY_LATER },
	{ 5, ANY_DETAIL,
	  "The two mail servers did not understand each other. That is not your fault.",
	  TELL_POSTMASTER },
	{ 6, ANY_DETAIL, "The receiving server cannot handle the form of the message.",
	  "Send it again as plain text, and attachments in a common format." },
};

static const struct advice refused_by_peer = {
	0, 0, "The receiving server refused the message.",
	"Its answer below may say what to change. If it does not, tell your postmaster."
};

static const struct advice refused_here = {
	0, 0, "This mail server does not deliver to this address, for the reason below.",
	"If the reason does not help, tell your postmaster."
};

static const struct advice given_up_here = {
	0, 0, "An administrator of this mail server has taken the message out of its queue.",
	"If you do not know why, ask your postmaster."
};

static const struct advice *advice_for(const struct report_recipient *r)
{
	struct smtp_enhanced e = r->status->enhanced;

	if (r->recipient->is_returning && !r->by_peer)
		return &given_up_here;
	for (size_t i = 0; e.class && e.subject && i < ARRAY_SIZE(advices); i++)
		if (advices[i].subject == e.subject &&
		    (advices[i].detail == e.detail || advices[i].detail == ANY_DETAIL))
			return &advices[i];
	return r->by_peer ? &refused_by_peer : &refused_here;
}

/* ---- lines ---- */

/* Words in lines of REPORT_LINE_WIDTH, and an empty line behind them. */
static void paragraph(struct buf *out, const char *indent, const char *text)
{
	struct slice rest = slice_from(text), word;
	size_t width = 0;

	while (slice_next_word(&rest, " ", &word)) {
		if (width > 0 && width + 1 + word.len > REPORT_LINE_WIDTH) {
			buf_append_string(out, "\r\n");
			width = 0;
		}
		buf_append_string(out, width ? " " : indent);
		width += (width ? 1 : strlen(indent)) + word.len;
		buf_append_slice(out, word);
	}
	buf_append_string(out, "\r\n\r\n");
}

static void paragraph_printf(struct buf *out, const char *indent, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void paragraph_printf(struct buf *out, const char *indent, const char *format, ...)
{
	char text[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	paragraph(out, indent, text);
}

/* "5 days", "3 hours", "1 minute". */
static const char *duration(int64_t ms, char out[32])
{
	static const struct {
		int64_t seconds;
		const char *name;
	} units[] = { { 86400, "day" }, { 3600, "hour" }, { 60, "minute" }, { 1, "second" } };
	int64_t seconds = MAX(ms / 1000, 1);
	size_t i = 0;

	while (seconds < units[i].seconds)
		i++;
	snprintf(out, 32, "%lld %s%s", (long long)(seconds / units[i].seconds), units[i].name,
		 seconds / units[i].seconds == 1 ? "" : "s");
	return out;
}

/* On lines of their own: each of these may be a few hundred bytes (RFC 5322 section 2.1.1). */
static void quotation(struct buf *out, const struct report_recipient *r)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_append_string(out, "    ");
	if (r->by_peer)
		buf_printf(out, "host %s said:\r\n    ", r->relay);
	if (r->status->code)
		buf_printf(out, "%d ", r->status->code);
	if (r->status->code && r->status->enhanced.class)
		buf_printf(out, "%s ", smtp_status_enhanced_text(r->status, enhanced));
	buf_append_string(out, r->status->text);
	buf_append_string(out, "\r\n");
}

/* ---- recipients ---- */

static void failed(struct buf *out, const struct report *report, const struct report_recipient *r)
{
	const struct advice *advice = advice_for(r);
	char time[32];

	if (r->expired)
		paragraph_printf(out, "    ",
				 "It was tried again and again for %s, and has now been given up. "
				 "The last time:",
				 duration(r->attempted_ms - report->message->arrived_ms, time));
	paragraph(out, "    ", advice->what);
	if (report->kind == REPORT_FAILURE)
		paragraph(out, "    ", advice->todo);
	quotation(out, r);
}

static void delayed(struct buf *out, const struct report_recipient *r)
{
	paragraph(out, "    ", advice_for(r)->what);
	quotation(out, r);
}

static void succeeded(struct buf *out, const struct report_recipient *r)
{
	if (r->is_discarded) {
		paragraph(
			out, "    ",
			"It was taken, and thrown away: that is what this host does with all mail "
			"to this address.");
		return;
	}
	if (r->is_in_mailbox) {
		buf_append_string(out, "    It is in the mailbox.\r\n");
		return;
	}
	paragraph(out, "    ",
		  "It was handed to the next mail server, which does not send confirmations. If it "
		  "fails to deliver the message you will hear of that; if all goes well you will "
		  "not.");
	quotation(out, r);
}

static void recipient(struct buf *out, const struct report *report,
		      const struct report_recipient *r)
{
	buf_append_string(out, "<");
	report_escape(out, r->recipient->address);
	buf_append_string(out, ">:\r\n\r\n");
	switch (report->kind) {
	case REPORT_DELAY:
		delayed(out, r);
		break;
	case REPORT_SUCCESS:
		succeeded(out, r);
		break;
	default:
		failed(out, report, r);
		break;
	}
	buf_append_string(out, "\r\n");
}

static void introduction(struct buf *out, const struct report *report)
{
	const char *whom = report->recipient_count == 1 ? "the address" : "these addresses";
	char date[TIME_RFC5322_SIZE];

	switch (report->kind) {
	case REPORT_DELAY:
		paragraph(out, "", "THIS IS ONLY A WARNING. You need not send your message again.");
		paragraph_printf(out, "",
				 "Your message could not be delivered yet to %s below. There is "
				 "nothing to do for you: it is tried again until %s. If that is in "
				 "vain too you will get it back.",
				 whom, time_rfc5322(report->expires_ms, date));
		break;
	case REPORT_SUCCESS:
		paragraph_printf(out, "",
				 "You have asked to be told when your message arrives. This is "
				 "what became of it at %s below.",
				 whom);
		break;
	case REPORT_DOUBLE_BOUNCE:
		paragraph_printf(out, "",
				 "A message without a sender, as reports like this one are, could "
				 "not be delivered to %s below. So it can be returned to nobody, "
				 "and comes to you as the postmaster. It is attached, or its "
				 "header. Nothing more will be tried.",
				 whom);
		break;
	default:
		paragraph_printf(out, "",
				 "Your message could not be delivered to %s below. It is attached, "
				 "or its header. Nothing more will be tried.",
				 whom);
		break;
	}
}

void report_words(struct buf *out, const struct mta_options *options, const struct report *report)
{
	paragraph_printf(out, "", "This is the mail system at host %s.", options->hostname);
	introduction(out, report);
	for (size_t i = 0; i < report->recipient_count; i++)
		recipient(out, report, &report->recipients[i]);
}
