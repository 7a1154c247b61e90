/*
 * Each field is one of three: it passes line by line, it is dropped line by
 * line, or it has addresses. Then its lines are collected, and where one of
 * its addresses is bare the domain is put in behind it; nothing else of it
 * changes but that lines that became too long are folded between addresses.
 */
#include "mta/completion.h"

#include <stdio.h>
#include <time.h>

#include "base/clock.h"
#include "mta/full_name.h"
#include "smtp/address_list.h"

#define LINE_MAX_BYTES 900 /* of lines that we have made longer; RFC 5322 section 2.1.1: 998 */

/* What becomes of a field. */
enum field_kind {
	FIELD_PASSES,
	FIELD_IS_DROPPED,
	FIELD_HAS_ADDRESSES,
};

enum field_bit {
	SEEN_DATE = 1 << 0,
	SEEN_MESSAGE_ID = 1 << 1,
	SEEN_FROM = 1 << 2,
	SEEN_RESENT = 1 << 3, /* any of the Resent- fields */
	SEEN_RESENT_DATE = 1 << 4,
	SEEN_RESENT_MESSAGE_ID = 1 << 5,
	SEEN_RESENT_FROM = 1 << 6,
	SEEN_LINE = 1 << 7,
};

/* The fields that Postfix completes or drops (its header_opts.c), and those it looks for. */
static const struct field {
	const char *name;
	enum field_kind kind;
	unsigned int bits;
} fields[] = {
	{ "Date", FIELD_PASSES, SEEN_DATE },
	{ "Message-ID", FIELD_PASSES, SEEN_MESSAGE_ID },
	{ "From", FIELD_HAS_ADDRESSES, SEEN_FROM },
	{ "Sender", FIELD_HAS_ADDRESSES, 0 },
	{ "Reply-To", FIELD_HAS_ADDRESSES, 0 },
	{ "To", FIELD_HAS_ADDRESSES, 0 },
	{ "Cc", FIELD_HAS_ADDRESSES, 0 },
	{ "Bcc", FIELD_IS_DROPPED, 0 },
	{ "Resent-Date", FIELD_PASSES, SEEN_RESENT | SEEN_RESENT_DATE },
	{ "Resent-Message-ID", FIELD_PASSES, SEEN_RESENT | SEEN_RESENT_MESSAGE_ID },
	{ "Resent-From", FIELD_HAS_ADDRESSES, SEEN_RESENT | SEEN_RESENT_FROM },
	{ "Resent-Sender", FIELD_HAS_ADDRESSES, SEEN_RESENT },
	{ "Resent-Reply-To", FIELD_HAS_ADDRESSES, SEEN_RESENT },
	{ "Resent-To", FIELD_HAS_ADDRESSES, SEEN_RESENT },
	{ "Resent-Cc", FIELD_HAS_ADDRESSES, SEEN_RESENT },
	{ "Resent-Bcc", FIELD_IS_DROPPED, SEEN_RESENT },
	{ "Apparently-To", FIELD_HAS_ADDRESSES, 0 },
	{ "Errors-To", FIELD_HAS_ADDRESSES, 0 },
	{ "Mail-Followup-To", FIELD_HAS_ADDRESSES, 0 },
	{ "Return-Receipt-To", FIELD_HAS_ADDRESSES, 0 },
	{ "Return-Path", FIELD_IS_DROPPED, 0 },
	{ "Content-Length", FIELD_IS_DROPPED, 0 },
};

static const struct field *find_field(struct slice name)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++)
		if (slice_equal_nocase(name, slice_from(fields[i].name)))
			return &fields[i];
	return NULL;
}

static void put(struct completion *c, struct slice bytes, struct buf *out)
{
	if (bytes.len == 0)
		return;
	buf_append_slice(out, bytes);
	c->in_line = bytes.ptr[bytes.len - 1] != '\n';
}

/* ---- addresses ---- */

/* A field that is being completed. */
struct completed {
	struct buf text;
	size_t line_len; /* of the last line, so far */
	bool has_grown;
};

static void append(struct completed *f, struct slice s)
{
	const char *end = s.len ? memrchr(s.ptr, '\n', s.len) : NULL;

	f->line_len = end ? (size_t)(s.ptr + s.len - end - 1) : f->line_len + s.len;
	buf_append_slice(&f->text, s);
}

/*
 * What stands between two addresses, with the comma: a line that has grown is
 * folded where the next address would be too much for it (RFC 5322 section 2.2.3).
 */
static void append_between(struct completed *f, struct slice between, size_t next_len)
{
	size_t comma = slice_find(between, ',');

	if (f->has_grown && comma < between.len && slice_find(between, '\n') == between.len &&
	    f->line_len + between.len + next_len > LINE_MAX_BYTES) {
		append(f, slice_first(between, comma + 1));
		append(f, SLICE("\r\n\t"));
		between = slice_skip(between, comma + 1);
		while (between.len > 0 && (*between.ptr == ' ' || *between.ptr == '\t'))
			between = slice_skip(between, 1);
	}
	append(f, between);
}

/* The collected field, completed. */
static void put_addresses(struct completion *c, struct buf *out)
{
	struct slice field = buf_slice(&c->field), rest = header_field_body(field);
	struct slice origin = slice_from(c->options.origin);
	const char *written = field.ptr, *end = field.ptr + field.len;
	struct address_list_item item;
	struct completed f = { 0 };

	while (address_list_next(&rest, &item)) {
		append_between(&f, slice_of(written, (size_t)(item.text.ptr - written)),
			       item.text.len + 1 + origin.len);
		append(&f, item.text);
		if (item.is_bare) {
			append(&f, SLICE("@"));
			append(&f, origin);
			f.has_grown = true;
		}
		written = item.text.ptr + item.text.len;
	}
	append(&f, slice_of(written, (size_t)(end - written)));
	put(c, buf_slice(&f.text), out);
	buf_done(&f.text);
}

static void end_field(struct completion *c, struct buf *out)
{
	if (buf_len(&c->field) == 0)
		return;
	put_addresses(c, out);
	buf_clear(&c->field);
	buf_shrink(&c->field, 4096);
}

/* ---- what is missing ---- */

static void add_message_id(const struct completion_options *o, const char *prefix, struct buf *out)
{
	time_t now = (time_t)(o->now_ms / 1000);
	char stamp[32];
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%Y%m%d%H%M%S", &tm);
	buf_printf(out, "%sMessage-ID: <%s.%s@%s>\r\n", prefix, stamp, o->id, o->hostname);
}

static void add_date(const struct completion_options *o, const char *prefix, struct buf *out)
{
	char date[TIME_RFC5322_SIZE];

	buf_printf(out, "%sDate: %s\r\n", prefix, time_rfc5322(o->now_ms, date));
}

static void add_from(const struct completion_options *o, const char *prefix, struct buf *out)
{
	bool has_name = o->sender[0] && o->full_name && o->full_name[0];

	buf_printf(out, "%sFrom: ", prefix);
	if (has_name)
		full_name_append(out, slice_from(o->full_name));
	buf_append_string(out, has_name ? " <" : "");
	if (o->sender[0])
		buf_append_string(out, o->sender);
	else
		buf_printf(out, "MAILER-DAEMON@%s", o->origin);
	buf_append_string(out, has_name ? ">\r\n" : "\r\n");
}

/* As in Postfix: of mail that is sent anew, its sender's fields count. */
static void end_header(struct completion *c, struct buf *out)
{
	bool is_resent = c->seen & SEEN_RESENT;
	const char *prefix = is_resent ? "Resent-" : "";

	if (c->is_done)
		return;
	c->is_done = true;
	end_field(c, out);
	if (c->in_line)
		put(c, SLICE("\r\n"), out);
	if (!(c->seen & (is_resent ? SEEN_RESENT_MESSAGE_ID : SEEN_MESSAGE_ID)))
		add_message_id(&c->options, prefix, out);
	if (!(c->seen & (is_resent ? SEEN_RESENT_DATE : SEEN_DATE)))
		add_date(&c->options, prefix, out);
	if (!(c->seen & (is_resent ? SEEN_RESENT_FROM : SEEN_FROM)))
		add_from(&c->options, prefix, out);
}

/* ---- the lines as they come ---- */

static void start_field(struct completion *c, struct slice line, struct buf *out)
{
	const struct field *field = find_field(header_field_name(line));

	end_field(c, out);
	c->kind = field ? field->kind : FIELD_PASSES;
	c->seen |= field ? field->bits : 0;
}

static void put_line(struct completion *c, struct slice line, struct buf *out)
{
	switch ((enum field_kind)c->kind) {
	case FIELD_IS_DROPPED:
		return;
	case FIELD_HAS_ADDRESSES:
		if (buf_len(&c->field) + line.len <= COMPLETION_FIELD_MAX) {
			buf_append_slice(&c->field, line);
			return;
		}
		c->kind = FIELD_PASSES; /* nobody reads so many addresses */
		put(c, buf_slice(&c->field), out);
		buf_done(&c->field);
		break;
	case FIELD_PASSES:
		break;
	}
	put(c, line, out);
}

/* "From " in front of a message is no field, but what separates messages in a file (RFC 4155). */
static bool is_of_mailbox(struct slice line)
{
	while (line.len > 0 && *line.ptr == '>')
		line = slice_skip(line, 1);
	return line.len > 5 && memcmp(line.ptr, "From ", 5) == 0;
}

static void see_line(struct completion *c, enum header_line kind, struct slice line,
		     struct buf *out)
{
	bool is_first = !(c->seen & SEEN_LINE);

	c->seen |= SEEN_LINE;
	if (kind == HEADER_BROKEN && is_first && is_of_mailbox(line)) {
		header_go_on(&c->reader);
		put(c, SLICE("X-Mailbox-Line: "), out);
		put(c, line, out);
		return;
	}
	if (kind == HEADER_FIELD)
		start_field(c, line, out);
	if (kind == HEADER_FIELD || kind == HEADER_CONTINUED) {
		put_line(c, line, out);
		return;
	}
	end_header(c, out);
	if (kind == HEADER_BROKEN)
		put(c, SLICE("\r\n"), out);
	put(c, line, out);
}

void completion_input(struct completion *c, struct slice bytes, struct buf *out)
{
	enum header_line kind;
	struct slice line;

	while ((kind = header_next_line(&c->reader, &bytes, &line)) != 0)
		see_line(c, kind, line, out);
	buf_append_slice(out, bytes);
}

void completion_end(struct completion *c, struct buf *out)
{
	struct slice line;
	enum header_line kind = header_last_line(&c->reader, &line);

	if (kind)
		see_line(c, kind, line, out);
	end_header(c, out);
}

void completion_init(struct completion *c, const struct completion_options *options)
{
	*c = (struct completion){ .options = *options };
}

void completion_done(struct completion *c)
{
	header_reader_done(&c->reader);
	buf_done(&c->field);
}
