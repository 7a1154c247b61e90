/*
 * fuzz_sendmail - what is piped into sendmail -t, in pieces
 *
 * The first byte says how long the pieces are. What comes out must be lines
 * that mail can have, and the recipients addresses that an envelope can have;
 * and both must be the same however the input was cut.
 */
#include <string.h>

#include "cli/sendmail_header.h"
#include "cli/sendmail_lines.h"
#include "smtp/address.h"
#include "tests/fuzz/fuzz.h"

struct result {
	struct buf lines, text;
	size_t recipients;
	bool is_refused;
};

static void check_recipients(const struct sendmail_addresses *a)
{
	for (size_t i = 0; i < a->count; i++) {
		MUST(smtp_address_domain(a->list[i]).len > 0);
		for (const char *c = a->list[i]; *c; c++)
			MUST((unsigned char)*c >= ' ' && *c != 0x7f);
	}
}

static void check_lines(struct slice text, size_t max)
{
	while (text.len > 0) {
		size_t n = slice_find(text, '\n');

		MUST(n < text.len && n > 0 && text.ptr[n - 1] == '\r' && n - 1 <= max);
		MUST(!memchr(text.ptr, '\0', n) && !memchr(text.ptr, '\r', n - 1));
		text = slice_skip(text, n + 1);
	}
}

static void pass(struct sendmail_header *header, struct slice lines, struct result *ret)
{
	struct sendmail_breaker breaker = { .is_body = false };
	struct slice body = lines;

	sendmail_header_input(header, &body);
	if (!header->is_over)
		sendmail_header_end(header);
	sendmail_breaker_input(&breaker, buf_slice(&header->text), &ret->text);
	breaker.is_body = true;
	sendmail_breaker_input(&breaker, body, &ret->text);
	sendmail_breaker_done(&breaker);
}

static void run(struct slice input, size_t step, bool keep_dots, struct result *ret)
{
	struct sendmail_lines lines = { .keep_dots = keep_dots };
	struct sendmail_header header = { .takes_recipients = true, .origin = "origin.example" };
	const struct sendmail_addresses *recipients;

	for (; input.len > 0; input = slice_skip(input, step))
		sendmail_lines_input(&lines, slice_first(input, step), &ret->lines);
	sendmail_lines_end(&lines, &ret->lines);
	check_lines(buf_slice(&ret->lines), SIZE_MAX);
	pass(&header, buf_slice(&ret->lines), ret);
	check_lines(buf_slice(&ret->text), 998);
	recipients = sendmail_header_recipients(&header);
	check_recipients(recipients);
	ret->recipients = recipients->count;
	ret->is_refused = recipients->error.code != 0;
	sendmail_header_done(&header);
}

static void result_done(struct result *r)
{
	buf_done(&r->lines);
	buf_done(&r->text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_skip(slice_of((const char *)data, size), 1);
	struct result whole = { .recipients = 0 }, cut = { .recipients = 0 };

	if (size == 0)
		return 0;
	run(input, SIZE_MAX / 2, data[0] & 1, &whole);
	run(input, 1 + data[0] / 2, data[0] & 1, &cut);
	MUST(slice_equal(buf_slice(&whole.lines), buf_slice(&cut.lines)));
	MUST(slice_equal(buf_slice(&whole.text), buf_slice(&cut.text)));
	MUST(whole.recipients == cut.recipients && whole.is_refused == cut.is_refused);
	result_done(&whole);
	result_done(&cut);
	return 0;
}
