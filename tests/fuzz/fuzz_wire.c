/*
 * fuzz_wire - our client sends any messages to our server, over a line that cuts them anywhere
 *
 * The first byte chooses what the server offers and whether owners refuse, the
 * second how many bytes are choices (times 16). What is left are the bodies, each
 * behind a byte with its recipients and kind and two with its length. What must
 * hold is in tests/support/pair.h.
 */
#include <string.h>

#include "smtp/server.h"
#include "tests/fuzz/fuzz.h"
#include "tests/support/pair.h"

#define MESSAGES_MAX 8

static struct slice take(struct slice *input, size_t n)
{
	struct slice taken = slice_first(*input, n);

	*input = slice_skip(*input, n);
	return taken;
}

static uint8_t take_byte(struct slice *input)
{
	struct slice byte = take(input, 1);

	return byte.len > 0 ? (uint8_t)*byte.ptr : 0;
}

static struct pair_message take_message(struct slice *input, bool may_be_binary)
{
	uint8_t shape = take_byte(input);
	size_t len = take_byte(input);

	len += (size_t)take_byte(input) << 8;
	return (struct pair_message){
		.recipient_count = 1 + shape % PAIR_RECIPIENTS_MAX,
		.is_binary = shape & 0x80 && may_be_binary,
		.body = take(input, len),
	};
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_of((const char *)data, size);
	uint8_t shape = take_byte(&input);
	struct pair_options options = {
		.may_refuse = shape & 1,
		.no_pipelining = shape & 2,
		.discarded = shape & 4 ? SMTP_CHUNKING : 0,
	};
	struct pair_message messages[MESSAGES_MAX];
	size_t count = 0;

	options.choices = take(&input, 16 * (size_t)take_byte(&input));
	while (count < MESSAGES_MAX && (count == 0 || input.len > 0))
		messages[count++] = take_message(&input, !(shape & 6));
	pair_run(&options, messages, count);
	for (size_t i = 0; i < count; i++) {
		bool must_be_taken = !options.may_refuse && !messages[i].is_broken &&
				     (messages[i].is_binary || pair_is_text(messages[i].body));

		MUST(!must_be_taken || messages[i].is_taken);
		buf_done(&messages[i].arrived);
	}
	return 0;
}
