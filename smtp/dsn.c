/*
 * dsn - parameters of MAIL and RCPT, from and to their forms on the wire
 *
 * What is decoded here is shown to people and to other servers, in reports and
 * as parameters again: so nothing comes out that could end a line.
 */
#include "smtp/dsn.h"

#include <stdint.h>

#include "base/macros.h"
#include "base/utf8.h"

#define UTF8_TYPE SLICE("utf-8;")

static const struct {
	struct slice word;
	unsigned int bit;
} notify_words[] = {
	{ { "NEVER", 5 }, SMTP_NOTIFY_NEVER },
	{ { "SUCCESS", 7 }, SMTP_NOTIFY_SUCCESS },
	{ { "FAILURE", 7 }, SMTP_NOTIFY_FAILURE },
	{ { "DELAY", 5 }, SMTP_NOTIFY_DELAY },
};

static unsigned int notify_bit(struct slice word)
{
	for (size_t i = 0; i < ARRAY_SIZE(notify_words); i++)
		if (slice_equal_nocase(word, notify_words[i].word))
			return notify_words[i].bit;
	return 0;
}

/* RFC 3461 section 4.1: "NEVER", or a list of the others. */
bool smtp_notify_parse(struct slice text, unsigned int *ret)
{
	unsigned int bits = 0;
	size_t comma;

	do {
		unsigned int bit;

		comma = slice_find(text, ',');
		bit = notify_bit(slice_first(text, comma));
		if (bit == 0 || (bits & SMTP_NOTIFY_NEVER) || (bits && bit == SMTP_NOTIFY_NEVER))
			return false;
		bits |= bit;
		if (comma < text.len && comma + 1 == text.len)
			return false; /* nothing behind the last comma */
		text = slice_skip(text, comma + 1);
	} while (text.len > 0);
	*ret = bits;
	return true;
}

void smtp_notify_format(unsigned int notify, struct buf *out)
{
	const char *comma = "";

	for (size_t i = 0; i < ARRAY_SIZE(notify_words); i++) {
		if (!(notify & notify_words[i].bit))
			continue;
		buf_printf(out, "%s%s", comma, notify_words[i].word.ptr);
		comma = ",";
	}
}

bool smtp_return_parse(struct slice text, enum smtp_return *ret)
{
	if (slice_equal_nocase(text, SLICE("FULL")))
		*ret = SMTP_RETURN_FULL;
	else if (slice_equal_nocase(text, SLICE("HDRS")))
		*ret = SMTP_RETURN_HEADERS;
	else
		return false;
	return true;
}

/* ---- xtext ---- */

static bool is_printable(char c)
{
	return c >= ' ' && c <= '~';
}

/* Upper case alone: RFC 3461 section 4. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "2B" at the front of s; -1 if it is none. */
static int hex_pair(struct slice s)
{
	int high = s.len >= 2 ? hex_value(s.ptr[0]) : -1;
	int low = high >= 0 ? hex_value(s.ptr[1]) : -1;

	return low < 0 ? -1 : high << 4 | low;
}

bool smtp_xtext_decode(struct slice text, struct buf *out)
{
	char *to = buf_reserve(out, text.len);
	size_t len = 0;

	while (text.len > 0) {
		int c = text.ptr[0];

		text = slice_skip(text, 1);
		if (c == '+') {
			c = hex_pair(text);
			text = slice_skip(text, 2);
		}
		if (c < 0 || !is_printable((char)c))
			return false;
		to[len++] = (char)c;
	}
	buf_commit(out, len);
	return len > 0;
}

static bool is_xchar(char c)
{
	return c > ' ' && c <= '~' && c != '+' && c != '=';
}

void smtp_xtext_encode(const char *text, struct buf *out)
{
	for (; *text; text++) {
		if (is_xchar(*text))
			buf_append(out, text, 1);
		else
			buf_printf(out, "+%02X", (unsigned char)*text);
	}
}

/* ---- addresses in UTF-8 (RFC 6533 section 3) ---- */

/* "x{F6}" at the front of *text, behind the backslash: skipped. False for what is no character. */
static bool take_code_point(struct slice *text, uint32_t *ret)
{
	size_t end = slice_find(*text, '}');
	uint32_t code = 0;

	if (text->len < 2 || text->ptr[0] != 'x' || text->ptr[1] != '{' || end == text->len ||
	    end < 4 || end > 8)
		return false;
	for (size_t i = 2; i < end; i++) {
		int digit = hex_value(text->ptr[i]);

		if (digit < 0)
			return false;
		code = code << 4 | (uint32_t)digit;
	}
	if (code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return false;
	*text = slice_skip(*text, end + 1);
	*ret = code;
	return true;
}

/* The character at the front of *text: skipped. */
static bool take_character(struct slice *text, bool utf8, uint32_t *ret)
{
	unsigned char c = (unsigned char)text->ptr[0];
	size_t n = 1;

	if (c == '\\') {
		*text = slice_skip(*text, 1);
		return take_code_point(text, ret);
	}
	*ret = c;
	if (c >= 0x80)
		n = utf8 ? utf8_sequence(*text, ret) : 0;
	*text = slice_skip(*text, n);
	return n > 0;
}

static bool decode_utf8(struct slice text, bool utf8, struct buf *out)
{
	char *to = buf_reserve(out, text.len);
	size_t len = 0;

	while (text.len > 0) {
		uint32_t code;

		if (!take_character(&text, utf8, &code) || utf8_is_control(code))
			return false;
		/* Never more than what it was written as. */
		len += utf8_encode(code, to + len);
	}
	buf_commit(out, len);
	return len > 0;
}

static void encode_utf8(struct slice text, struct buf *out)
{
	while (text.len > 0) {
		uint32_t code = (unsigned char)text.ptr[0];
		size_t n = utf8_sequence(text, &code);

		if (n == 0 && is_xchar(text.ptr[0]) && text.ptr[0] != '\\')
			buf_append(out, text.ptr, 1);
		else
			buf_printf(out, "\\x{%02X}", (unsigned int)code);
		text = slice_skip(text, n ? n : 1);
	}
}

/* ---- ORCPT ---- */

/* An atom of letters, digits and hyphens: registered are rfc822, utf-8, x400 and the like. */
static bool is_address_type(struct slice type)
{
	for (size_t i = 0; i < type.len; i++) {
		char c = type.ptr[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'A' && c <= 'Z') && !(c >= 'a' && c <= 'z') &&
		    c != '-')
			return false;
	}
	return type.len > 0;
}

bool smtp_original_recipient_decode(struct slice text, bool utf8, struct buf *out)
{
	size_t semicolon = slice_find(text, ';');
	struct slice address = slice_skip(text, semicolon + 1);
	struct buf decoded = { 0 };
	bool is_fine;

	if (semicolon == text.len || !is_address_type(slice_first(text, semicolon)))
		return false;
	buf_append_slice(&decoded, slice_first(text, semicolon + 1));
	if (slice_starts_nocase(text, UTF8_TYPE))
		is_fine = decode_utf8(address, utf8, &decoded);
	else
		is_fine = smtp_xtext_decode(address, &decoded);
	is_fine = is_fine && buf_len(&decoded) <= SMTP_ORIGINAL_RECIPIENT_MAX;
	if (is_fine)
		buf_append_slice(out, buf_slice(&decoded));
	buf_done(&decoded);
	return is_fine;
}

bool smtp_original_recipient_encode(const char *original, struct buf *out)
{
	struct slice text = slice_from(original);
	size_t semicolon = slice_find(text, ';');

	if (semicolon == text.len || !is_address_type(slice_first(text, semicolon)))
		return false;
	buf_append_slice(out, slice_first(text, semicolon + 1));
	if (slice_starts_nocase(text, UTF8_TYPE))
		encode_utf8(slice_skip(text, semicolon + 1), out);
	else
		smtp_xtext_encode(original + semicolon + 1, out);
	return true;
}
