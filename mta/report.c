/*
 * The parts are written one after another into memory: a report is never large,
 * as the original comes along whole only up to a limit. What a part needs in its
 * MIME header is known when its content is there, so that is written first.
 */
#include "mta/report_parts.h"

#include <errno.h>
#include <string.h>

#include "base/escape.h"
#include "base/utf8.h"
#include "mta/recipients.h"
#include "mta/trace.h"
#include "smtp/address.h"

#define RETURN_WHOLE_BYTES 50000 /* Postfix's bounce_size_limit */
#define HEADER_READ_BYTES  65536

/* The subjects are Postfix's: filters look for them. */
static const char *const subjects[] = {
	[REPORT_FAILURE] = "Undelivered Mail Returned to Sender",
	[REPORT_DELAY] = "Delayed Mail (still being retried)",
	[REPORT_SUCCESS] = "Successful Mail Delivery Report",
	[REPORT_DOUBLE_BOUNCE] = "Postmaster notice: undeliverable report",
};

struct composer {
	const struct mta_options *options;
	const struct report *report;
	struct queue_message *note; /* what is being made, */
	const char *to;		    /*   and for whom */
	struct buf text;
};

void report_escape(struct buf *out, const char *text)
{
	escape_text(out, slice_from(text), SMTP_STATUS_TEXT_SIZE);
}

static void top_header(struct composer *c)
{
	const struct mta_options *options = c->options;
	const struct queue_message *note = c->note;
	struct buf *out = &c->text;
	char date[TIME_RFC5322_SIZE];

	time_rfc5322(note->arrived_ms, date);
	buf_printf(out, "Received: by %s (%s)\r\n\tid %s; %s\r\n", options->hostname,
		   options->mail_name, note->name, date);
	buf_printf(out, "Date: %s\r\n", date);
	buf_printf(out, "From: MAILER-DAEMON@%s (Mail Delivery System)\r\n", options->hostname);
	buf_printf(out, "Subject: %s\r\nTo: ", subjects[c->report->kind]);
	report_escape(out, c->to);
	buf_printf(out, "\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n");
	buf_printf(out, "Message-ID: <%s@%s>\r\n", note->name, options->hostname);
	if (c->report->kind == REPORT_DOUBLE_BOUNCE)
		buf_append_string(out, TRACE_NOTICE "\r\n");
	buf_printf(out,
		   "Content-Type: multipart/report; report-type=%sdelivery-status;\r\n"
		   "\tboundary=\"%s/%s\"\r\n",
		   report_fields_need_utf8(c->report) ? "global-" : "", note->name,
		   options->hostname);
	if (note->body_8bit)
		buf_append_string(out, "Content-Transfer-Encoding: 8bit\r\n");
	buf_append_string(out, "\r\nThis is a MIME-encapsulated message.\r\n");
}

static void boundary(struct composer *c, const char *end)
{
	buf_printf(&c->text, "\r\n--%s/%s%s\r\n", c->note->name, c->options->hostname, end);
}

/* Takes the content, and leaves nothing in it. */
static void part(struct composer *c, const char *description, const char *type, struct buf *content)
{
	bool is_8bit = !utf8_is_ascii(buf_slice(content));

	boundary(c, "");
	buf_printf(&c->text, "Content-Description: %s\r\nContent-Type: %s\r\n", description, type);
	if (is_8bit)
		buf_append_string(&c->text, "Content-Transfer-Encoding: 8bit\r\n");
	buf_append_string(&c->text, "\r\n");
	buf_append_slice(&c->text, buf_slice(content));
	c->note->body_8bit |= is_8bit;
	buf_done(content);
}

static void words_part(struct composer *c)
{
	struct buf content = { 0 };

	report_words(&content, c->options, c->report);
	part(c, "Notification", "text/plain; charset=utf-8", &content);
}

static void fields_part(struct composer *c)
{
	bool utf8 = report_fields_need_utf8(c->report);
	struct buf content = { 0 };

	report_fields(&content, c->options, c->report, utf8);
	part(c, "Delivery report",
	     utf8 ? "message/global-delivery-status" : "message/delivery-status", &content);
}

/*
 * RFC 3461 section 6.2: only failures return the message, and only where that
 * was not ruled out; with REQUIRETLS it always is (RFC 8689 section 5). A
 * binary message would make a binary report, which few servers take.
 */
static bool returns_whole(const struct report *report)
{
	const struct queue_message *m = report->message;
	bool is_failure = report->kind == REPORT_FAILURE || report->kind == REPORT_DOUBLE_BOUNCE;

	return is_failure && m->returning != SMTP_RETURN_HEADERS && !m->requiretls &&
	       !m->body_binary && m->size <= RETURN_WHOLE_BYTES;
}

/* What is sent as text is lines, and holds no NUL; a header that is binary may be anything. */
static void make_lines(struct buf *text)
{
	struct slice in = buf_slice(text);
	struct buf out = { 0 };

	for (size_t i = 0; i < in.len; i++) {
		char c = in.ptr[i];

		if (c == '\r' && i + 1 < in.len && in.ptr[i + 1] == '\n')
			i++;
		if (c == '\r' || c == '\n')
			buf_append_string(&out, "\r\n");
		else
			buf_append(&out, c ? &c : "?", 1);
	}
	buf_done(text);
	*text = out;
}

/* The header with the line end of its last line, or all there is. */
static size_t header_length(struct slice message)
{
	const char *end = memmem(message.ptr, message.len, "\r\n\r\n", 4);

	return end ? (size_t)(end - message.ptr) + 2 : message.len;
}

static int read_original(const struct queue_message *m, size_t want, struct buf *out,
			 struct error *err)
{
	struct queue_body_reader reader;
	int64_t n;

	queue_body_reader_init(&reader, m->body);
	do {
		n = queue_body_read(&reader, want, out, err);
	} while (n > 0 && buf_len(out) < want);
	queue_body_reader_done(&reader);
	return n < 0 ? (int)n : 0;
}

static int original_part(struct composer *c, struct error *err)
{
	const struct queue_message *m = c->report->message;
	bool whole = returns_whole(c->report);
	struct buf original = { 0 }, content = { 0 };
	int r = read_original(m, whole ? RETURN_WHOLE_BYTES : HEADER_READ_BYTES, &original, err);

	if (r >= 0 && whole) {
		part(c, "Undelivered Message", m->smtputf8 ? "message/global" : "message/rfc822",
		     &original);
	} else if (r >= 0) {
		struct slice text;

		if (m->body_binary)
			make_lines(&original);
		text = buf_slice(&original);
		buf_append_slice(&content, slice_first(text, header_length(text)));
		part(c, "Message Headers",
		     m->smtputf8 ? "message/global-headers" : "text/rfc822-headers", &content);
	}
	buf_done(&original);
	return r;
}

static int write_all(struct composer *c, struct error *err)
{
	struct buf parts = { 0 };
	int r;

	words_part(c);
	fields_part(c);
	r = original_part(c, err);
	boundary(c, "--");
	if (r < 0)
		return r;

	/* The header comes first and depends on what is in the parts. */
	parts = c->text;
	c->text = (struct buf){ 0 };
	top_header(c);
	queue_body_append(c->note->body, buf_slice(&c->text));
	queue_body_append(c->note->body, buf_slice(&parts));
	buf_done(&parts);
	return queue_body_finish(c->note->body, err);
}

int report_compose(const struct mta_options *options, const struct report *report,
		   struct queue_message **ret, struct error *err)
{
	bool is_double = report->kind == REPORT_DOUBLE_BOUNCE;
	const char *to = is_double ? options->double_bounce_recipient : report->message->sender;
	struct queue_message *note = queue_message_new(options->queue);
	const struct smtp_rcpt rcpt = {
		.recipient = to, .original = to, .orcpt = "", .notify = SMTP_NOTIFY_NEVER
	};
	struct composer c = { .options = options, .report = report, .note = note, .to = to };
	struct smtp_status status;
	int r;

	note->arrived_ms = clock_wall_ms(options->clock);
	note->kind = is_double ? QUEUE_DOUBLE_BOUNCE : QUEUE_REPORT;
	note->requiretls = report->message->requiretls; /* it tells as much (RFC 8689 section 5) */
	note->smtputf8 = !smtp_address_is_ascii(to);	/* in the header */
	recipients_add(options, note, &rcpt, &status);

	if (note->recipient_count > 0)
		r = write_all(&c, err);
	else
		r = error_set(err, -EAGAIN, "<%s>: %s", to, status.text);
	buf_done(&c.text);
	if (r < 0) {
		queue_message_free(note);
		return r;
	}
	*ret = note;
	return 0;
}
