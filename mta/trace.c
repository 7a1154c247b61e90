#include "mta/trace.h"

#include <string.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/utf8.h"

/* ---- writing ---- */

static void add_client(struct buf *out, const struct trace_tls *tls)
{
	if (tls->client_name)
		buf_printf(out, "\t(Client CN \"%s\", Issuer \"%s\" (%s))\r\n", tls->client_name,
			   tls->client_issuer,
			   tls->is_client_trusted ? "verified OK" : "not verified");
	else if (tls->is_client_asked)
		buf_append_string(out, "\t(Client did not present a certificate)\r\n");
}

void trace_received(struct buf *out, const struct queue_message *m, const struct trace_tls *tls,
		    const char *hostname, const char *mail_name)
{
	const struct queue_origin *origin = &m->origin;
	bool ipv6 = strchr(origin->client_ip, ':') != NULL;
	char date[TIME_RFC5322_SIZE];

	buf_append_string(out, "Received: from ");
	escape_text(out, slice_from(origin->hello[0] ? origin->hello : "unknown"), 255);
	buf_printf(out, " ([%s%s])\r\n", ipv6 ? "IPv6:" : "", origin->client_ip);
	if (tls) {
		buf_printf(out, "\t(using %s with cipher %s (%u/%u bits))\r\n", tls->protocol,
			   tls->cipher, tls->bits, tls->bits);
		add_client(out, tls);
	}
	buf_printf(out, "\tby %s (%s) with %s id %s", hostname, mail_name, origin->protocol,
		   m->name);
	if (m->recipient_count == 1) {
		buf_append_string(out, "\r\n\tfor <");
		escape_text(out, slice_from(m->recipients[0].original), SMTP_STATUS_TEXT_SIZE);
		buf_append_string(out, ">");
	}
	buf_printf(out, "; %s\r\n", time_rfc5322(m->arrived_ms, date));
}

/* ---- reading ---- */

static void see(struct trace_scanner *t, enum header_line kind, struct slice line)
{
	if (kind != HEADER_FIELD && kind != HEADER_CONTINUED)
		return;
	t->has_8bit |= !utf8_is_ascii(line);
	if (kind != HEADER_FIELD)
		return;
	if (slice_starts_nocase(line, SLICE("Received:")))
		t->received_count++;
	else if (slice_equal_nocase(slice_trim(line), SLICE(TRACE_NOTICE)))
		t->is_notice = true;
}

void trace_scan(struct trace_scanner *t, struct slice bytes)
{
	enum header_line kind;
	struct slice line;

	while ((kind = header_next_line(&t->reader, &bytes, &line)) != 0)
		see(t, kind, line);
}

void trace_scan_end(struct trace_scanner *t)
{
	struct slice line;
	enum header_line kind = header_last_line(&t->reader, &line);

	if (kind)
		see(t, kind, line);
}

void trace_scanner_done(struct trace_scanner *t)
{
	header_reader_done(&t->reader);
}
