/* Bytes that mean something are rare; what is between them is copied as a whole. */
#include "cli/sendmail_lines.h"

#define LINE_MAX_BYTES 998

/* ---- line ends, dots, From ---- */

static const char from[] = "From ";

static void put(struct sendmail_lines *l, struct slice bytes, struct buf *out)
{
	if (bytes.len == 0)
		return;
	l->in_line = true;
	if (!l->is_skipping)
		buf_append_slice(out, bytes);
}

/* The beginning of the first line that looked like "From " is something else. */
static void let_go(struct sendmail_lines *l, struct buf *out)
{
	l->is_past_first = true;
	if (l->has_angle)
		put(l, SLICE(">"), out);
	put(l, slice_of(from, l->matched), out);
	l->has_angle = false;
	l->matched = 0;
}

static void end_line(struct sendmail_lines *l, struct buf *out)
{
	if (!l->is_past_first)
		let_go(l, out);
	l->has_cr = false;
	if (l->has_dot) {
		l->is_over = true;
		return;
	}
	if (!l->is_skipping)
		buf_append_string(out, "\r\n");
	l->is_skipping = l->in_line = false;
}

/* How many bytes of the first line are "From ", or as much of it as there is. */
static size_t match_from(struct sendmail_lines *l, struct slice bytes, struct buf *out)
{
	size_t n = 0;

	if (l->matched == 0 && !l->has_angle && bytes.ptr[0] == '>') {
		l->has_angle = true;
		n = 1;
	}
	while (n < bytes.len && l->matched < sizeof(from) - 1 && bytes.ptr[n] == from[l->matched]) {
		l->matched++;
		n++;
	}
	if (l->matched == sizeof(from) - 1) {
		l->is_skipping = l->is_past_first = l->in_line = true;
		l->matched = 0;
		l->has_angle = false;
	} else if (n < bytes.len) {
		let_go(l, out);
	}
	return n;
}

static size_t plain_len(struct slice s)
{
	size_t n = 0;

	while (n < s.len && s.ptr[n] != '\r' && s.ptr[n] != '\n' && s.ptr[n] != '\0')
		n++;
	return n;
}

/* What is held back of this line is no line end and no lone dot. */
static void release(struct sendmail_lines *l, struct buf *out)
{
	if (l->has_dot)
		put(l, SLICE("."), out);
	if (l->has_cr) {
		if (!l->is_past_first)
			let_go(l, out);
		put(l, SLICE(" "), out);
	}
	l->has_dot = l->has_cr = false;
}

static size_t take_plain(struct sendmail_lines *l, struct slice bytes, struct buf *out)
{
	size_t n = plain_len(bytes);

	release(l, out);
	if (!l->is_past_first)
		return match_from(l, slice_first(bytes, n), out);
	if (!l->in_line && !l->keep_dots && bytes.ptr[0] == '.') {
		l->has_dot = l->in_line = true;
		return 1;
	}
	put(l, slice_first(bytes, n), out);
	return n;
}

void sendmail_lines_input(struct sendmail_lines *l, struct slice bytes, struct buf *out)
{
	while (bytes.len > 0 && !l->is_over) {
		size_t n = 1;

		switch (bytes.ptr[0]) {
		case '\0':
			break;
		case '\n':
			end_line(l, out);
			break;
		case '\r':
			if (l->has_cr)
				release(l, out);
			l->has_cr = true;
			break;
		default:
			n = take_plain(l, bytes, out);
		}
		bytes = slice_skip(bytes, n);
	}
}

void sendmail_lines_end(struct sendmail_lines *l, struct buf *out)
{
	if (!l->is_over && (l->in_line || l->has_cr || l->matched || l->has_angle))
		end_line(l, out);
	l->is_over = true;
}

/* ---- long lines ---- */

/* Where a line of the header is cut: at its last white space, which begins the next line. */
static size_t find_fold(struct slice line, size_t room)
{
	size_t n = room;

	while (n > 1 && line.ptr[n] != ' ' && line.ptr[n] != '\t')
		n--;
	return n > 1 ? n : 0;
}

/* Not within a character of UTF-8. */
static size_t find_cut(struct slice line, size_t room)
{
	size_t n = room;

	while (n > 0 && room - n < 4 && ((unsigned char)line.ptr[n] & 0xc0) == 0x80)
		n--;
	return room - n < 4 && n > 0 ? n : room;
}

static void put_header_line(struct slice line, struct buf *out)
{
	size_t used = 0; /* of the line that goes out, by what we have put before it */

	while (used + line.len > LINE_MAX_BYTES + 2) {
		size_t room = LINE_MAX_BYTES - used, fold = find_fold(line, room);
		size_t n = fold ? fold : find_cut(line, room);

		buf_append_slice(out, slice_first(line, n));
		buf_append_string(out, fold ? "\r\n" : "\r\n ");
		used = fold ? 0 : 1;
		line = slice_skip(line, n);
	}
	buf_append_slice(out, line);
}

static void put_body(struct sendmail_breaker *b, struct slice bytes, struct buf *out)
{
	while (bytes.len > 0) {
		size_t end = slice_find(bytes, '\n');
		size_t text = end < bytes.len ? end + 1 : bytes.len;
		/* Of a line that ends here the CRLF does not count; else its CR might be the last. */
		size_t counted = end < bytes.len ? end - (end > 0) : bytes.len;

		if (b->len + counted > LINE_MAX_BYTES) {
			size_t n = find_cut(bytes, LINE_MAX_BYTES - b->len);

			buf_append_slice(out, slice_first(bytes, n));
			buf_append_string(out, "\r\n ");
			b->len = 1;
			bytes = slice_skip(bytes, n);
			continue;
		}
		buf_append_slice(out, slice_first(bytes, text));
		b->len = end < bytes.len ? 0 : b->len + text;
		bytes = slice_skip(bytes, text);
	}
}

void sendmail_breaker_input(struct sendmail_breaker *b, struct slice bytes, struct buf *out)
{
	while (!b->is_body && bytes.len > 0) {
		size_t n = slice_find(bytes, '\n');

		buf_append_slice(&b->line, slice_first(bytes, n + 1));
		if (n < bytes.len) {
			put_header_line(buf_slice(&b->line), out);
			buf_clear(&b->line);
		}
		bytes = slice_skip(bytes, n + 1);
	}
	if (b->is_body && buf_len(&b->line) > 0) {
		/* The beginning of a long line that was taken for the header's. */
		put_body(b, buf_slice(&b->line), out);
		buf_clear(&b->line);
	}
	put_body(b, bytes, out);
}

void sendmail_breaker_done(struct sendmail_breaker *b)
{
	buf_done(&b->line);
}
