/*
 * fuzz_header - a user's header, completed whole and in two pieces
 *
 * The first byte says where the rest is cut. What comes out is complete: no
 * Bcc is in it, and done once more it stays as it is.
 */
#include <string.h>

#include "mta/completion.h"
#include "tests/fuzz/fuzz.h"

static const struct completion_options options = {
	.origin = "vm1.vm",
	.hostname = "mta1.vm1.vm",
	.id = "6F00D",
	.sender = "alice@vm1.vm",
	.full_name = "Alice A.",
	.now_ms = 1763708400000,
};

static void complete(struct slice in, size_t cut, struct buf *out)
{
	struct completion c;

	completion_init(&c, &options);
	completion_input(&c, slice_first(in, cut), out);
	completion_input(&c, slice_skip(in, cut), out);
	completion_end(&c, out);
	completion_done(&c);
}

static void check_header(struct slice message)
{
	struct header_reader reader = { 0 };
	enum header_line kind;
	struct slice line;

	while ((kind = header_next_line(&reader, &message, &line)) != 0) {
		MUST(kind != HEADER_BROKEN);
		MUST(kind != HEADER_FIELD ||
		     !slice_equal_nocase(header_field_name(line), SLICE("Bcc")));
	}
	header_reader_done(&reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice in = slice_skip(slice_of((const char *)data, size), 1);
	struct buf whole = { 0 }, pieces = { 0 }, again = { 0 };

	if (size == 0)
		return 0;
	complete(in, in.len, &whole);
	complete(in, data[0] * in.len / 255, &pieces);
	MUST(slice_equal(buf_slice(&pieces), buf_slice(&whole)));
	check_header(buf_slice(&whole));
	complete(buf_slice(&whole), buf_len(&whole), &again);
	MUST(slice_equal(buf_slice(&again), buf_slice(&whole)));
	buf_done(&whole);
	buf_done(&pieces);
	buf_done(&again);
	return 0;
}
