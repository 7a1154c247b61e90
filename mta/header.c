#include "mta/header.h"

#define JUDGE_BYTES 1024 /* so much of a line is enough to see whether it is a header field */

static bool is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* RFC 5322 section 2.2: a name is made of printable characters, and a colon ends it. */
struct slice header_field_name(struct slice line)
{
	size_t i = 0;

	while (i < line.len && line.ptr[i] > 32 && line.ptr[i] < 127 && line.ptr[i] != ':')
		i++;
	return slice_first(line, i);
}

struct slice header_field_body(struct slice line)
{
	return slice_skip(line, slice_find(line, ':') + 1);
}

/*
 * By its beginning, however much of the line is there. A name with so many blanks
 * behind it that no colon is in sight is one, too: what is to be dropped, as Bcc,
 * must not become text.
 */
static bool is_field(struct slice line)
{
	size_t i = header_field_name(line).len;

	line = slice_first(line, JUDGE_BYTES);
	if (i == 0)
		return false;
	while (i < line.len && is_blank(line.ptr[i])) /* obsolete, but seen */
		i++;
	return i < line.len ? line.ptr[i] == ':' : i == JUDGE_BYTES && is_blank(line.ptr[i - 1]);
}

static enum header_line judge(struct header_reader *h, struct slice line)
{
	if (h->has_field && is_blank(*line.ptr))
		return HEADER_CONTINUED;
	if (is_field(line)) {
		h->has_field = true;
		return HEADER_FIELD;
	}
	h->is_over = true;
	return slice_trim(line).len == 0 && !is_blank(*line.ptr) ? HEADER_END : HEADER_BROKEN;
}

static bool ends_line(struct slice s)
{
	return s.len > 0 && s.ptr[s.len - 1] == '\n';
}

static struct slice take_line(struct slice *bytes)
{
	size_t n = slice_find(*bytes, '\n');
	struct slice line = slice_first(*bytes, n + 1);

	*bytes = slice_skip(*bytes, n + 1);
	return line;
}

static void forget_kept(struct header_reader *h)
{
	if (h->was_kept)
		buf_clear(&h->kept);
	h->was_kept = false;
}

enum header_line header_next_line(struct header_reader *h, struct slice *bytes,
				  struct slice *ret_line)
{
	bool in_long_line = h->in_long_line;
	struct slice line;

	forget_kept(h);
	if (h->is_over || bytes->len == 0)
		return 0;
	line = take_line(bytes);
	if (!in_long_line && (buf_len(&h->kept) > 0 || !ends_line(line))) {
		buf_append_slice(&h->kept, line);
		line = buf_slice(&h->kept);
		if (!ends_line(line) && line.len < JUDGE_BYTES)
			return 0; /* the rest comes with the next call */
		h->was_kept = true;
	}
	h->in_long_line = !ends_line(line);
	*ret_line = line;
	return in_long_line ? HEADER_CONTINUED : judge(h, line);
}

enum header_line header_last_line(struct header_reader *h, struct slice *ret_line)
{
	forget_kept(h);
	if (buf_len(&h->kept) == 0)
		return 0;
	h->was_kept = true;
	*ret_line = buf_slice(&h->kept);
	return judge(h, *ret_line);
}

void header_go_on(struct header_reader *h)
{
	h->is_over = false;
	h->has_field = true;
}

void header_reader_done(struct header_reader *h)
{
	buf_done(&h->kept);
}
