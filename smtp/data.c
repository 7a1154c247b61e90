/*
 * data - both directions look for the few bytes that matter with memchr() and
 * copy what lies between them in one piece
 *
 * The reader goes from LF to LF. Of a line that is whole it has to know that
 * CR stands before the LF and nowhere else; the state is needed only where a
 * line begins, ends or is cut by the end of the input. NUL is looked for once
 * in all of the input, since it is hardly ever there.
 */
#include "smtp/data.h"

enum data_state {
	AT_LINE_START = 0, /* behind CRLF, or nothing was read yet */
	IN_LINE,
	AFTER_CR,     /* a CR is held back */
	AFTER_DOT,    /* a dot began the line; it was stuffed or begins the end, so it is dropped */
	AFTER_DOT_CR, /* a CR behind that dot is held back */
};

static void note_fault(struct smtp_data_reader *r, enum smtp_data_fault fault)
{
	if (r->fault == SMTP_DATA_FINE)
		r->fault = fault;
}

static void emit(struct smtp_data_reader *r, const char *ptr, size_t len, struct buf *out)
{
	buf_append(out, ptr, len);
	r->size += len;
}

/*
 * Remember what is wrong between ptr and end, where no LF is and a CR is a
 * bare one. Whichever comes first counts, however the input was cut.
 */
static void check_text(struct smtp_data_reader *r, const char *ptr, const char *end, bool has_nul)
{
	const char *cr, *nul;

	if (r->fault != SMTP_DATA_FINE || ptr >= end)
		return;
	cr = memchr(ptr, '\r', (size_t)(end - ptr));
	nul = has_nul ? memchr(ptr, '\0', (size_t)(end - ptr)) : NULL;
	if (cr && (!nul || cr < nul))
		r->fault = SMTP_DATA_BARE_CR;
	else if (nul)
		r->fault = SMTP_DATA_NUL;
}

/*
 * Read from ptr, inside of a line, up to and including the next LF, or to the
 * end of the input but for a CR there. Returns where it stopped.
 */
static const char *read_line(struct smtp_data_reader *r, const char *ptr, const char *end,
			     bool has_nul)
{
	const char *lf = memchr(ptr, '\n', (size_t)(end - ptr));

	if (!lf) {
		r->state = IN_LINE;
		if (end[-1] == '\r') {
			r->state = AFTER_CR;
			end--;
		}
		check_text(r, ptr, end, has_nul);
		return end;
	}
	if (lf > ptr && lf[-1] == '\r') {
		r->state = AT_LINE_START;
		check_text(r, ptr, lf - 1, has_nul);
	} else {
		r->state = IN_LINE;
		check_text(r, ptr, lf, has_nul);
		note_fault(r, SMTP_DATA_BARE_LF);
	}
	return lf + 1;
}

/* Read as many lines as need no change. Returns the first byte that they don't hold. */
static const char *read_lines(struct smtp_data_reader *r, const char *ptr, const char *end,
			      bool has_nul)
{
	while (ptr < end && (r->state == IN_LINE ||
			     (r->state == AT_LINE_START && (r->is_chunked || *ptr != '.'))))
		ptr = read_line(r, ptr, end, has_nul);
	return ptr;
}

/* The held back CR was none of a CRLF. */
static void release_cr(struct smtp_data_reader *r, struct buf *out)
{
	note_fault(r, SMTP_DATA_BARE_CR);
	emit(r, "\r", 1, out);
	r->state = IN_LINE;
}

bool smtp_data_read(struct smtp_data_reader *r, struct slice *wire, struct buf *out)
{
	const char *ptr = wire->ptr, *end, *text;
	bool has_nul, ended = false;

	if (wire->len == 0)
		return false;
	end = ptr + wire->len;
	has_nul = memchr(ptr, '\0', wire->len);

	while (ptr < end && !ended) {
		switch ((enum data_state)r->state) {
		case AT_LINE_START:
		case IN_LINE:
			text = ptr;
			ptr = read_lines(r, text, end, has_nul);
			emit(r, text, (size_t)(ptr - text), out);
			if (r->state == AFTER_CR) {
				ptr++;
			} else if (ptr < end) {
				r->state = AFTER_DOT;
				ptr++;
			}
			break;
		case AFTER_CR:
			if (*ptr != '\n') {
				release_cr(r, out);
				break;
			}
			emit(r, "\r\n", 2, out);
			r->state = AT_LINE_START;
			ptr++;
			break;
		case AFTER_DOT:
			r->state = *ptr == '\r' ? AFTER_DOT_CR : IN_LINE;
			ptr += *ptr == '\r';
			break;
		case AFTER_DOT_CR:
			if (*ptr != '\n') {
				release_cr(r, out);
				break;
			}
			ended = true;
			ptr++;
			break;
		}
	}
	*wire = slice_of(ptr, (size_t)(end - ptr));
	return ended;
}

void smtp_data_read_end(struct smtp_data_reader *r, struct buf *out)
{
	if (r->state == AFTER_CR)
		release_cr(r, out);
	if (r->state == IN_LINE)
		emit(r, "\r\n", 2, out);
	r->state = AT_LINE_START;
}

bool smtp_data_is_lines(const struct smtp_data_reader *r)
{
	return r->fault == SMTP_DATA_FINE && r->state == AT_LINE_START;
}

void smtp_data_write(struct smtp_data_writer *w, struct slice bytes, struct buf *out)
{
	const char *text = bytes.ptr, *dot = text, *end;

	if (bytes.len == 0)
		return;
	end = text + bytes.len;
	while ((dot = memchr(dot, '.', (size_t)(end - dot)))) {
		bool starts_line = dot == bytes.ptr ? !w->mid_line || w->after_lf : dot[-1] == '\n';

		if (starts_line) {
			buf_append(out, text, (size_t)(dot - text));
			buf_append(out, ".", 1);
			text = dot;
		}
		dot++;
	}
	buf_append(out, text, (size_t)(end - text));

	w->after_lf = end[-1] == '\n';
	w->mid_line = !w->after_lf || !(bytes.len > 1 ? end[-2] == '\r' : w->after_cr);
	w->after_cr = end[-1] == '\r';
}

void smtp_data_finish(struct smtp_data_writer *w, struct buf *out)
{
	buf_append_string(out, w->mid_line ? "\r\n.\r\n" : ".\r\n");
}
