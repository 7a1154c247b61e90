/*
 * report_fields - message/delivery-status (RFC 3464), or its form for UTF-8,
 * message/global-delivery-status (RFC 6533 section 3)
 */
#include "mta/report_parts.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "smtp/address.h"

/* For addresses alone. What a peer says in UTF-8 is no reason: '?' does for that. */
bool report_fields_need_utf8(const struct report *report)
{
	if (!smtp_address_is_ascii(report->message->sender))
		return true;
	for (size_t i = 0; i < report->recipient_count; i++) {
		const struct queue_recipient *r = report->recipients[i].recipient;

		if (!smtp_address_is_ascii(r->address) || !smtp_address_is_ascii(r->original) ||
		    !smtp_address_is_ascii(r->orcpt))
			return true;
	}
	return false;
}

/* The value of a field; ASCII unless the part is for UTF-8. */
static void value(struct buf *out, const char *text, bool utf8)
{
	size_t from = out->end - out->start;

	report_escape(out, text);
	if (utf8)
		return;
	for (size_t i = out->start + from; i < out->end; i++)
		if ((unsigned char)out->mem[i] >= 0x80)
			out->mem[i] = '?';
}

static void address_field(struct buf *out, const char *name, const char *address, bool utf8)
{
	buf_printf(out, "%s: %s; ", name, smtp_address_is_ascii(address) ? "rfc822" : "utf-8");
	value(out, address, utf8);
	buf_append_string(out, "\r\n");
}

/* RFC 3461 section 6.3 (a). */
static void message_fields(struct buf *out, const struct mta_options *options,
			   const struct queue_message *m, bool utf8)
{
	char date[TIME_RFC5322_SIZE], name[64];

	if (m->envelope_id[0]) {
		buf_append_string(out, "Original-Envelope-Id: ");
		value(out, m->envelope_id, utf8);
		buf_append_string(out, "\r\n");
	}
	buf_printf(out, "Reporting-MTA: dns; %s\r\n", options->hostname);
	buf_printf(out, "X-%s-Queue-ID: %s\r\n", options->mail_name, m->name);
	snprintf(name, sizeof(name), "X-%s-Sender", options->mail_name);
	if (m->sender[0])
		address_field(out, name, m->sender, utf8);
	buf_printf(out, "Arrival-Date: %s\r\n", time_rfc5322(m->arrived_ms, date));
}

/* As the sender knows it, where that is known: by ORCPT, or it was changed on its way here. */
static void original_recipient(struct buf *out, const struct queue_recipient *r, bool utf8)
{
	if (r->orcpt[0]) {
		buf_append_string(out, "Original-Recipient: ");
		value(out, r->orcpt, utf8);
		buf_append_string(out, "\r\n");
	} else if (strcmp(r->address, r->original) != 0) {
		address_field(out, "Original-Recipient", r->original, utf8);
	}
}

static const char *action(enum report_kind kind, const struct report_recipient *r)
{
	if (kind == REPORT_DELAY)
		return "delayed";
	if (kind == REPORT_SUCCESS)
		return r->by_peer && !r->is_in_mailbox ? "relayed" : "delivered";
	return "failed";
}

/* The peer's words with its codes, as it said them. */
static void diagnostic(struct buf *out, const struct report_recipient *r, bool utf8)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_printf(out, "Diagnostic-Code: %s; ", r->by_peer ? "smtp" : "X-Posthouse");
	if (r->status->code)
		buf_printf(out, "%d ", r->status->code);
	if (r->status->code && r->status->enhanced.class)
		buf_printf(out, "%s ", smtp_status_enhanced_text(r->status, enhanced));
	value(out, r->status->text, utf8);
	buf_append_string(out, "\r\n");
}

/* RFC 3464 section 2.3. */
static void recipient_fields(struct buf *out, const struct report *report,
			     const struct report_recipient *r, bool utf8)
{
	char date[TIME_RFC5322_SIZE], enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_append_string(out, "\r\n");
	original_recipient(out, r->recipient, utf8);
	address_field(out, "Final-Recipient", r->recipient->address, utf8);
	buf_printf(out, "Action: %s\r\n", action(report->kind, r));
	buf_printf(out, "Status: %s\r\n", smtp_status_enhanced_text(r->status, enhanced));
	if (r->by_peer)
		buf_printf(out, "Remote-MTA: dns; %.*s\r\n", (int)strcspn(r->relay, "["), r->relay);
	diagnostic(out, r, utf8);
	buf_printf(out, "Last-Attempt-Date: %s\r\n", time_rfc5322(r->attempted_ms, date));
	if (report->kind == REPORT_DELAY)
		buf_printf(out, "Will-Retry-Until: %s\r\n", time_rfc5322(report->expires_ms, date));
}

void report_fields(struct buf *out, const struct mta_options *options, const struct report *report,
		   bool utf8)
{
	message_fields(out, options, report->message, utf8);
	for (size_t i = 0; i < report->recipient_count; i++)
		recipient_fields(out, report, &report->recipients[i], utf8);
}
