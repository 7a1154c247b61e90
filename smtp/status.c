/*
 * Status codes are judged and written in this file alone, so that a reply
 * means the same to a delivery, to the log and to a bounce.
 */
#include "smtp/status.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/escape.h"

enum smtp_class smtp_status_class(const struct smtp_status *status)
{
	if (status->code >= 200 && status->code <= 299)
		return SMTP_DELIVERED;
	if (status->code >= 500 && status->code <= 599)
		return SMTP_FAILED;
	/* 3xx as the last word on a recipient is no answer: try again. */
	return SMTP_DEFERRED;
}

void smtp_status_set(struct smtp_status *status, int code, struct smtp_enhanced enhanced,
		     const char *format, ...)
{
	char text[2 * SMTP_STATUS_TEXT_SIZE];
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);

	/* Arguments may point into the status that is being overwritten: it is written last. */
	if (len < 0)
		len = 0;
	smtp_status_set_text(status, code, enhanced,
			     slice_first(slice_of(text, (size_t)len), sizeof(text) - 1));
}

void smtp_status_set_text(struct smtp_status *status, int code, struct smtp_enhanced enhanced,
			  struct slice text)
{
	status->code = code;
	status->enhanced = enhanced;
	escape_cstr(text, status->text, sizeof(status->text));
}

const char *smtp_status_enhanced_text(const struct smtp_status *status,
				      char out[SMTP_ENHANCED_TEXT_SIZE])
{
	static const unsigned short classes[] = {
		[SMTP_DELIVERED] = 2,
		[SMTP_DEFERRED] = 4,
		[SMTP_FAILED] = 5,
	};
	struct smtp_enhanced e = status->enhanced;

	if (e.class == 0)
		e = ESC(classes[smtp_status_class(status)], 0, 0);
	snprintf(out, SMTP_ENHANCED_TEXT_SIZE, "%hu.%hu.%hu", e.class, e.subject, e.detail);
	return out;
}

/* One to three digits without leading zeros (RFC 3463 section 2), taken from the front of *s. */
static bool take_number(struct slice *s, unsigned short *ret)
{
	unsigned short value = 0;
	size_t n;

	for (n = 0; n < s->len && s->ptr[n] >= '0' && s->ptr[n] <= '9'; n++) {
		if (n == 3)
			return false;
		value = (unsigned short)(value * 10 + (s->ptr[n] - '0'));
	}
	if (n == 0 || (n > 1 && s->ptr[0] == '0'))
		return false;

	*s = slice_skip(*s, n);
	*ret = value;
	return true;
}

static bool take_char(struct slice *s, char c)
{
	if (s->len == 0 || s->ptr[0] != c)
		return false;
	*s = slice_skip(*s, 1);
	return true;
}

bool smtp_enhanced_parse(struct slice *text, struct smtp_enhanced *ret)
{
	struct slice rest = *text;
	struct smtp_enhanced e;

	if (!take_number(&rest, &e.class) || (e.class != 2 && e.class != 4 && e.class != 5) ||
	    !take_char(&rest, '.') || !take_number(&rest, &e.subject) || !take_char(&rest, '.') ||
	    !take_number(&rest, &e.detail))
		return false;
	if (rest.len > 0 && rest.ptr[0] != ' ')
		return false;

	while (take_char(&rest, ' '))
		;
	*text = rest;
	*ret = e;
	return true;
}
