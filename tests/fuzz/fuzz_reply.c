/*
 * fuzz_reply - a server's replies, whole and cut anywhere
 *
 * The first byte says where the rest is cut. Before the cut a reply may be
 * partial; what is decided there must be decided the same with more behind it.
 */
#include <string.h>

#include "smtp/reply.h"
#include "tests/fuzz/fuzz.h"

static void check_status(const struct smtp_status *status)
{
	size_t len = strnlen(status->text, sizeof(status->text));

	MUST(len < sizeof(status->text));
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)status->text[i] >= ' ' && status->text[i] != 0x7f);
	MUST(status->enhanced.class == 0 || status->code == 0 ||
	     status->enhanced.class == status->code / 100);
	MUST(status->enhanced.subject <= 999 && status->enhanced.detail <= 999);
}

static void check_complete(const struct smtp_reply *reply, size_t used)
{
	struct slice lines = buf_slice(&reply->lines);
	unsigned int count = 0;

	MUST(used > 0 && used <= SMTP_REPLY_SIZE_MAX);
	MUST(reply->status.code >= 200 && reply->status.code <= 599);
	while (lines.len > 0) {
		size_t n = slice_find(lines, '\n');

		MUST(n < lines.len && n <= SMTP_REPLY_LINE_MAX);
		lines = slice_skip(lines, n + 1);
		count++;
	}
	MUST(count == reply->line_count && count <= SMTP_REPLY_LINES_MAX);
}

/* Take one reply from input, check it, and say how much was used up. */
static enum smtp_reply_outcome take(struct slice input, struct smtp_reply *reply, size_t *ret_used)
{
	struct slice rest = input;
	enum smtp_reply_outcome outcome = smtp_reply_take(&rest, reply);

	*ret_used = input.len - rest.len;
	MUST(*ret_used == 0 || rest.ptr == input.ptr + *ret_used);
	check_status(&reply->status);
	if (outcome == SMTP_REPLY_COMPLETE)
		check_complete(reply, *ret_used);
	else
		MUST(*ret_used == 0 && reply->status.code == 0);
	if (outcome == SMTP_REPLY_MALFORMED)
		MUST(reply->status.text[0] && smtp_status_class(&reply->status) == SMTP_DEFERRED);
	if (outcome == SMTP_REPLY_PARTIAL)
		MUST(input.len <= SMTP_REPLY_SIZE_MAX + SMTP_REPLY_LINE_MAX + 2);
	return outcome;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_skip(slice_of((const char *)data, size), 1);
	struct smtp_reply early = { 0 }, late = { 0 };
	size_t cut, early_used, late_used;

	if (size == 0)
		return 0;
	cut = data[0] * input.len / 255;
	for (;;) {
		enum smtp_reply_outcome first = take(slice_first(input, cut), &early, &early_used);
		enum smtp_reply_outcome second = take(input, &late, &late_used);

		MUST(first == SMTP_REPLY_PARTIAL || first == second);
		if (first == SMTP_REPLY_COMPLETE) {
			MUST(early_used == late_used);
			MUST(strcmp(early.status.text, late.status.text) == 0);
		}
		if (second != SMTP_REPLY_COMPLETE)
			break;
		input = slice_skip(input, late_used);
		cut = cut > late_used ? cut - late_used : 0;
	}
	smtp_reply_done(&early);
	smtp_reply_done(&late);
	return 0;
}
