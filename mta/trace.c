#include "mta/trace.h"

#include <string.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/utf8.h"

#define JUDGE_BYTES 1024 /* so much of a line is enough to see whether it is a header field */

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

/* A header field starts with its name, of printable characters, and a colon (RFC 5322 section 2.2). */
static bool is_field(struct slice line)
{
	size_t i = 0;

	while (i < line.len && line.ptr[i] > 32 && line.ptr[i] < 127 && line.ptr[i] != ':')
		i++;
	if (i == 0)
		return false;
	while (i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t')) /* obsolete, but seen */
		i++;
	return i < line.len && line.ptr[i] == ':';
}

static void judge(struct trace_scanner *t, struct slice line, struct buf *out)
{
	if (slice_trim(line).len == 0 && line.ptr[0] != ' ' && line.ptr[0] != '\t') {
		t->in_body = true;
	} else if (t->seen_field && (line.ptr[0] == ' ' || line.ptr[0] == '\t')) {
		/* continues the field before */
	} else if (is_field(line)) {
		t->seen_field = true;
		if (slice_starts_nocase(line, SLICE("Received:")))
			t->received_count++;
		else if (slice_equal_nocase(slice_trim(line), SLICE(TRACE_NOTICE)))
			t->is_notice = true;
	} else {
		t->in_body = true;
		if (t->repair)
			buf_append_string(out, "\r\n");
	}
	t->has_8bit |= !t->in_body && !utf8_is_ascii(line);
	buf_append_slice(out, line);
}

static struct slice take_line(struct slice *bytes)
{
	size_t n = slice_find(*bytes, '\n');
	struct slice line = slice_first(*bytes, n + 1);

	*bytes = slice_skip(*bytes, n + 1);
	return line;
}

static bool ends_line(struct slice s)
{
	return s.len > 0 && s.ptr[s.len - 1] == '\n';
}

void trace_scan(struct trace_scanner *t, struct slice bytes, struct buf *out)
{
	while (!t->in_body && bytes.len > 0) {
		struct slice line = take_line(&bytes);

		if (t->in_long_line) {
			t->has_8bit |= !utf8_is_ascii(line);
			buf_append_slice(out, line);
			t->in_long_line = !ends_line(line);
			continue;
		}
		if (buf_len(&t->line) > 0 || !ends_line(line)) {
			buf_append_slice(&t->line, line);
			line = buf_slice(&t->line);
		}
		if (!ends_line(line) && line.len < JUDGE_BYTES)
			return; /* the rest comes with the next call */
		t->in_long_line = !ends_line(line);
		judge(t, line, out);
		buf_clear(&t->line);
	}
	buf_append_slice(out, bytes);
}

void trace_scan_end(struct trace_scanner *t, struct buf *out)
{
	if (buf_len(&t->line) > 0)
		judge(t, buf_slice(&t->line), out);
	buf_clear(&t->line);
}

void trace_scanner_done(struct trace_scanner *t)
{
	buf_done(&t->line);
}
