/* A CR at the end of a piece is kept back: its LF comes with the next one. */
#include "edge/mail_text.h"

#include <string.h>

#include "mta/header.h"

/* Append with CRLF turned into LF. */
static void append_as_lf(struct buf *out, struct slice in, bool *held_cr)
{
	buf_reserve(out, in.len + 1);
	while (in.len > 0) {
		const char *cr = memchr(in.ptr, '\r', in.len);
		size_t n = cr ? (size_t)(cr - in.ptr) : in.len;

		if (*held_cr && in.ptr[0] != '\n')
			buf_append_string(out, "\r");
		*held_cr = cr != NULL;
		buf_append(out, in.ptr, n);
		in = slice_skip(in, n + (cr ? 1 : 0));
	}
}

/* The body that has begun without an empty line gets one: else readers take it for fields. */
static void append_separated(struct buf *out, struct slice in, struct header_reader *header)
{
	enum header_line kind;
	struct slice line;

	buf_reserve(out, in.len + 2);
	while ((kind = header_next_line(header, &in, &line)) != 0) {
		if (kind == HEADER_BROKEN)
			buf_append_string(out, "\r\n");
		buf_append_slice(out, line);
	}
	buf_append_slice(out, in);
}

/* What is left, when no more bytes come. */
static void append_last(struct buf *out, struct header_reader *header)
{
	struct slice line;
	enum header_line kind = header_last_line(header, &line);

	if (kind == HEADER_BROKEN)
		buf_append_string(out, "\r\n");
	if (kind != 0)
		buf_append_slice(out, line);
}

int mail_text_read(const struct mail_text *text,
		   int (*take)(void *arg, struct slice piece, struct error *err), void *arg,
		   struct error *err)
{
	struct queue_body_reader reader;
	struct header_reader header = { 0 };
	struct buf piece = { 0 }, separated = { 0 }, out = { 0 };
	bool held_cr = false;
	int64_t n;
	int r = 0;

	buf_append_slice(&out, text->header);
	queue_body_reader_init(&reader, text->body);
	do {
		buf_clear(&piece);
		n = queue_body_read(&reader, MAIL_TEXT_PIECE, &piece, err);
		if (n < 0) {
			r = (int)n;
			break;
		}
		buf_clear(&separated);
		append_separated(&separated, buf_slice(&piece), &header);
		if (n == 0)
			append_last(&separated, &header);
		if (text->is_binary)
			buf_append_slice(&out, buf_slice(&separated));
		else
			append_as_lf(&out, buf_slice(&separated), &held_cr);
		if (n == 0 && held_cr)
			buf_append_string(&out, "\r");
		if (buf_len(&out) > 0)
			r = take(arg, buf_slice(&out), err);
		buf_clear(&out);
	} while (n > 0 && r == 0);
	queue_body_reader_done(&reader);
	header_reader_done(&header);
	buf_done(&piece);
	buf_done(&separated);
	buf_done(&out);
	return r;
}
