/*
 * Three parts: words for a human, fields for a program, and the message, or
 * only its header when it is large. Text of the peer was escaped when it came
 * in (struct smtp_status), addresses are escaped here: a header of ours never
 * gets a line end from outside.
 */
#include "mta/bounce.h"

#include <errno.h>
#include <string.h>

#include "base/escape.h"

#define RETURN_WHOLE_BYTES 50000 /* Postfix's bounce_size_limit */
#define HEADER_READ_BYTES  65536

static void address(struct buf *out, const char *text)
{
	escape_text(out, slice_from(text), SMTP_STATUS_TEXT_SIZE);
}

/* As the server said it: an enhanced status code only if there was one. */
static void status_text(struct buf *out, const struct bounce_recipient *r)
{
	char enhanced[SMTP_ENHANCED_TEXT_SIZE];

	if (r->status->code)
		buf_printf(out, "%d ", r->status->code);
	if (r->status->code && r->status->enhanced.class)
		buf_printf(out, "%s ", smtp_status_enhanced_text(r->status, enhanced));
	buf_append_string(out, r->status->text);
}

/* The fields for programs are ASCII (RFC 3464 section 2.1). */
static void diagnostic(struct buf *out, const struct bounce_recipient *r)
{
	struct buf text = { 0 };

	status_text(&text, r);
	for (size_t i = text.start; i < text.end; i++)
		if ((unsigned char)text.mem[i] >= 0x80)
			text.mem[i] = '?';
	buf_append_slice(out, buf_slice(&text));
	buf_done(&text);
}

/* Servers may answer in UTF-8. */
static bool has_8bit_text(const struct bounce_recipient *failed, size_t count)
{
	for (size_t i = 0; i < count; i++)
		for (const char *c = failed[i].status->text; *c; c++)
			if ((unsigned char)*c >= 0x80)
				return true;
	return false;
}

static void top_header(struct buf *out, const struct mta_options *options,
		       const struct queue_message *m, const struct queue_message *note)
{
	char date[TIME_RFC5322_SIZE];

	time_rfc5322(note->arrived_ms, date);
	buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\n", options->hostname,
		   options->mail_name, note->name, date);
	buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "From: MAILER-DAEMON@%s (Mail Delivery System)\r\n", options->hostname);
	buf_append_string(out, "Subject: Undelivered Mail Returned to Sender\r\nTo: ");
	address(out, m->sender);
	buf_printf(out, "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	buf_printf(out, "Message-ID: <%s@%s>\r\n", note->name, options->hostname);
	buf_printf(out,
		   "Content-Type: multipart/report; report-type=delivery-status;\r\n"
		   "\tboundary=\"%s/%s\"\r\n",
		   note->name, options->hostname);
	if (note->body_8bit)
		buf_append_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_append_string(out, "\r\nThis is a MIME-encapsulated message.\r\n");
}

static void boundary(struct buf *out, const struct mta_options *options,
		     const struct queue_message *note, const char *end)
{
	buf_printf(out, "\r\n--%s/%s%s\r\n", note->name, options->hostname, end);
}

static void human_part(struct buf *out, const struct mta_options *options,
		       const struct bounce_recipient *failed, size_t count)
{
	buf_append_string(out, "Content-Description: Notification\r\n"
			       "Content-Type: text/plain; charset=utf-8\r\n");
	if (has_8bit_text(failed, count))
		buf_append_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_append_string(out, "\r\n");
	buf_printf(out,
		   "This is the mail system at host %s.\r\n\r\n"
		   "Your message could not be delivered to one or more recipients.\r\n"
		   "It is attached below. Nothing more will be tried for them.\r\n",
		   options->hostname);
	for (size_t i = 0; i < count; i++) {
		const struct bounce_recipient *r = &failed[i];

		buf_append_string(out, "\r\n<");
		address(out, r->recipient->address);
		/* On lines of their own: each of these may be a few hundred bytes (RFC 5322 section 2.1.1). */
		buf_append_string(out, ">:\r\n    ");
		if (r->expired)
			buf_append_string(out,
					  "delivery was given up after many tries. The last: ");
		if (r->by_peer)
			buf_printf(out, "host %s said:\r\n    ", r->relay);
		status_text(out, r);
		buf_append_string(out, "\r\n");
	}
}

/* RFC 3464 sections 2.2 and 2.3. */
static void status_part(struct buf *out, const struct mta_options *options,
			const struct queue_message *m, const struct bounce_recipient *failed,
			size_t count)
{
	char date[TIME_RFC5322_SIZE], enhanced[SMTP_ENHANCED_TEXT_SIZE];

	buf_append_string(out, "Content-Description: Delivery report\r\n"
			       "Content-Type: message/delivery-status\r\n\r\n");
	buf_printf(out, "Reporting-MTA: dns; %s\r\n", options->hostname);
	buf_printf(out, "X-%s-Queue-ID: %s\r\n", options->mail_name, m->name);
	buf_printf(out, "X-%s-Sender: rfc822; ", options->mail_name);
	address(out, m->sender);
	buf_printf(out, "\r\nArrival-Date: %s\r\n", time_rfc5322(m->arrived_ms, date));
	for (size_t i = 0; i < count; i++) {
		const struct bounce_recipient *r = &failed[i];

		smtp_status_enhanced_text(r->status, enhanced);
		buf_append_string(out, "\r\nFinal-Recipient: rfc822; ");
		address(out, r->recipient->address);
		if (strcmp(r->recipient->address, r->recipient->original) != 0) {
			buf_append_string(out, "\r\nOriginal-Recipient: rfc822;");
			address(out, r->recipient->original);
		}
		buf_printf(out, "\r\nAction: failed\r\nStatus: %s\r\n", enhanced);
		if (r->by_peer)
			buf_printf(out, "Remote-MTA: dns; %.*s\r\n", (int)strcspn(r->relay, "["),
				   r->relay);
		buf_printf(out, "Diagnostic-Code: %s; ", r->by_peer ? "smtp" : "X-Posthouse");
		diagnostic(out, r);
		buf_append_string(out, "\r\n");
	}
}

/* Offset behind the empty line that ends the header, or all there is. */
static size_t header_length(struct slice message)
{
	const char *end = memmem(message.ptr, message.len, "\r\n\r\n", 4);

	return end ? (size_t)(end - message.ptr) + 2 : message.len;
}

static int original_part(struct buf *out, const struct queue_message *m, struct error *err)
{
	bool whole = m->size <= RETURN_WHOLE_BYTES;
	size_t want = whole ? RETURN_WHOLE_BYTES : HEADER_READ_BYTES;
	struct queue_body_reader reader;
	struct buf original = { 0 };
	int64_t n;

	queue_body_reader_init(&reader, m->body);
	do {
		n = queue_body_read(&reader, want, &original, err);
	} while (n > 0 && buf_len(&original) < want);
	queue_body_reader_done(&reader);

	if (n >= 0) {
		struct slice text = buf_slice(&original);

		buf_printf(out,
			   "Content-Description: Undelivered Message%s\r\nContent-Type: %s\r\n",
			   whole ? "" : " Headers",
			   whole ? "message/rfc822" : "text/rfc822-headers");
		if (m->body_8bit)
			buf_append_string(out, "Content-Transfer-Encoding: 8bit\r\n");
		buf_append_string(out, "\r\n");
		buf_append_slice(out, whole ? text : slice_first(text, header_length(text)));
	}
	buf_done(&original);
	return n < 0 ? (int)n : 0;
}

int bounce_compose(const struct mta_options *options, const struct queue_message *m,
		   const struct bounce_recipient *failed, size_t failed_count,
		   struct queue_message **ret, struct error *err)
{
	struct queue_message *note = queue_message_new(options->queue);
	struct buf text = { 0 };
	int r;

	note->arrived_ms = clock_wall_ms(options->clock);
	note->sender = "";
	note->body_8bit = m->body_8bit || has_8bit_text(failed, failed_count);
	queue_message_add_recipient(note, m->sender, m->sender);

	top_header(&text, options, m, note);
	boundary(&text, options, note, "");
	human_part(&text, options, failed, failed_count);
	boundary(&text, options, note, "");
	status_part(&text, options, m, failed, failed_count);
	boundary(&text, options, note, "");
	r = original_part(&text, m, err);
	boundary(&text, options, note, "--");

	if (r >= 0) {
		queue_body_append(note->body, buf_slice(&text));
		r = queue_body_finish(note->body, err);
	}
	buf_done(&text);
	if (r < 0) {
		queue_message_free(note);
		return r;
	}
	*ret = note;
	return 0;
}
