/* Short forms for people; programs ask for --json. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/escape.h"
#include "base/macros.h"

#define TEXT_MAX 2000

void cli_format_duration(struct buf *out, int64_t seconds)
{
	char text[TIME_DURATION_SIZE];

	buf_append_string(out, time_duration(seconds, text));
}

void cli_format_size(struct buf *out, uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB", "TiB" };
	double value = (double)bytes / 1024;
	size_t i = 0;

	if (bytes < 1024) {
		buf_printf(out, "%" PRIu64 " B", bytes);
		return;
	}
	for (; value >= 1024 && i + 1 < ARRAY_SIZE(units); i++)
		value /= 1024;
	buf_printf(out, "%.1f %s", value, units[i]);
}

void cli_format_text(struct buf *out, const char *text)
{
	escape_text(out, slice_from(text), TEXT_MAX);
}

void cli_format_address(struct buf *out, const char *address)
{
	if (address[0] == '\0')
		buf_append_string(out, "<>");
	else
		cli_format_text(out, address);
}

void cli_print(struct buf *out)
{
	if (buf_len(out) > 0)
		fwrite(buf_slice(out).ptr, 1, buf_len(out), stdout);
	buf_clear(out);
}
