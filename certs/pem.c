/* pem - a block starts with a BEGIN line and ends with the END line of the same label */
#include "certs/pem.h"

#include <string.h>

#include "base/base64.h"

#define BEGIN "-----BEGIN "
#define END   "-----END "
#define TAIL  "-----"

static bool slice_starts(struct slice s, struct slice prefix)
{
	return slice_equal(slice_first(s, prefix.len), prefix);
}

static struct slice take_line(struct slice *rest)
{
	size_t end = slice_find(*rest, '\n');
	struct slice line = slice_first(*rest, end);

	*rest = slice_skip(*rest, end + 1);
	return slice_trim(line);
}

/* "-----BEGIN LABEL-----" gives LABEL. */
static bool read_label(struct slice line, struct slice head, struct slice *ret_label)
{
	struct slice tail = SLICE(TAIL);

	if (!slice_starts(line, head) || line.len < head.len + tail.len ||
	    !slice_equal(slice_skip(line, line.len - tail.len), tail))
		return false;
	*ret_label = slice_of(line.ptr + head.len, line.len - head.len - tail.len);
	return true;
}

/* Headers of RFC 1421 in old key files: "Proc-Type: 4,ENCRYPTED". An empty line ends them. */
static bool is_header(struct slice line)
{
	return slice_find(line, ':') < line.len;
}

static bool read_body(struct slice *rest, const char *begin, struct pem_block *block)
{
	struct slice label, line;
	const char *body = rest->ptr;

	while (rest->len > 0) {
		const char *line_start = rest->ptr;

		line = take_line(rest);
		if (read_label(line, SLICE(END), &label)) {
			block->base64 = slice_of(body, (size_t)(line_start - body));
			block->text = slice_of(begin, (size_t)(rest->ptr - begin));
			return slice_equal(label, block->label);
		}
		if (slice_starts(line, SLICE(BEGIN)))
			return false;
		if (is_header(line)) {
			body = rest->ptr;
			if (slice_equal(line, SLICE("Proc-Type: 4,ENCRYPTED")))
				block->is_encrypted = true;
		}
	}
	return false;
}

bool pem_next(struct slice *rest, struct pem_block *ret_block)
{
	while (rest->len > 0) {
		const char *begin = rest->ptr;
		struct pem_block block = { 0 };
		struct slice line = take_line(rest), body = *rest;

		if (!read_label(line, SLICE(BEGIN), &block.label))
			continue;
		if (!read_body(&body, begin, &block))
			continue; /* cut short; another block may follow */
		if (slice_equal(block.label, SLICE("ENCRYPTED PRIVATE KEY")))
			block.is_encrypted = true;
		*rest = body;
		*ret_block = block;
		return true;
	}
	return false;
}

bool pem_decode(const struct pem_block *block, struct buf *out)
{
	struct slice rest = block->base64, word;
	struct buf joined = { 0 };
	ssize_t n;

	while (slice_next_word(&rest, "\t\r\n ", &word))
		buf_append_slice(&joined, word);
	n = base64_decode(buf_slice(&joined),
			  buf_reserve(out, BASE64_DECODED_SIZE(buf_len(&joined)) + 1));
	buf_done(&joined);
	if (n < 0)
		return false;
	buf_commit(out, (size_t)n);
	return true;
}

#define LINE_BYTES 48 /* 64 characters, RFC 7468 section 2 */

void pem_encode(struct buf *out, const char *label, struct slice der)
{
	char line[BASE64_ENCODED_SIZE(LINE_BYTES)];
	size_t lines = der.len / LINE_BYTES + 1;

	buf_reserve(out, 2 * (strlen(BEGIN) + strlen(label) + strlen(TAIL) + 1) +
				 lines * (sizeof(line) + 1));
	buf_printf(out, BEGIN "%s" TAIL "\n", label);
	while (der.len > 0) {
		base64_encode(slice_first(der, LINE_BYTES), line);
		buf_printf(out, "%s\n", line);
		der = slice_skip(der, LINE_BYTES);
	}
	buf_printf(out, END "%s" TAIL "\n", label);
	explicit_bzero(line, sizeof(line));
}
