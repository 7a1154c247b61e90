/*
 * fuzz_dovecot - lines of Dovecot's auth server, and what is taken from them
 *
 * The input is lines. Values are C strings without NUL that fit, or there are
 * none; and what was parsed lies within its line.
 */
#include <string.h>

#include "edge/dovecot_internal.h"
#include "tests/fuzz/fuzz.h"

static void check_within(struct slice part, struct slice line)
{
	MUST(part.len == 0 || (part.ptr >= line.ptr && part.ptr + part.len <= line.ptr + line.len));
}

static void check_value(const struct dovecot_line *line, const char *name, size_t size)
{
	char out[64];
	bool has;

	memset(out, 'x', sizeof(out));
	has = dovecot_line_value(line, name, out, size);
	MUST(memchr(out, '\0', size));
	MUST(has || out[0] == '\0');
	MUST(!has || dovecot_line_has(line, name));
}

static void check_offer(const struct dovecot_offer *offer)
{
	struct slice rest = slice_from(offer->mechanisms), word;

	MUST(memchr(offer->mechanisms, '\0', sizeof(offer->mechanisms)));
	while (slice_next_word(&rest, " ", &word))
		for (size_t i = 0; i < word.len; i++)
			MUST(strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", word.ptr[i]));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice input = slice_of((const char *)data, size), text;
	struct dovecot_offer offer = { 0 };
	struct dovecot_line line;
	struct error err;

	while (dovecot_take_line(&input, &text, &err) > 0) {
		MUST(text.len <= DOVECOT_LINE_MAX && slice_find(text, '\n') == text.len);
		if (dovecot_line_parse(text, &line, &err) < 0)
			continue;
		check_within(line.word, text);
		check_within(line.names, text);
		check_value(&line, "user", 64);
		check_value(&line, "reason", 4);
		check_value(&line, "code", 1);
		dovecot_offer_take(&offer, &line, &err);
		check_offer(&offer);
	}
	return 0;
}
