/*
 * error - text is formatted beside the struct and then copied in, so that the
 * text which is there may be an argument of the one that replaces it
 */
#include "base/error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/macros.h"

int error_set(struct error *err, int code, const char *format, ...)
{
	char text[sizeof(err->text)];
	va_list args;
	int len;

	assert(code < 0);
	if (!err)
		return code;

	va_start(args, format);
	len = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	if (len < 0)
		len = 0;
	len = MIN(len, (int)sizeof(text) - 1);

	err->code = code;
	memcpy(err->text, text, (size_t)len);
	err->text[len] = '\0';
	return code;
}

void error_prefix(struct error *err, const char *format, ...)
{
	char prefix[sizeof(err->text)];
	size_t len, text_len;
	va_list args;
	int r;

	if (!err)
		return;

	va_start(args, format);
	r = vsnprintf(prefix, sizeof(prefix) - 2, format, args);
	va_end(args);
	if (r < 0)
		return;

	len = MIN((size_t)r, sizeof(prefix) - 3);
	prefix[len++] = ':';
	prefix[len++] = ' ';

	text_len = MIN(strlen(err->text), sizeof(err->text) - 1 - len);
	memmove(err->text + len, err->text, text_len);
	memcpy(err->text, prefix, len);
	err->text[len + text_len] = '\0';
}
