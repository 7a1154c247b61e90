/* Short forms for people; programs ask for --json. */
#include "cli/cli.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/escape.h"
#include "base/macros.h"

#define TEXT_MAX 2000

/* The two largest units that are not zero: more would be noise. */
void cli_format_duration(struct buf *out, int64_t seconds)
{
	static const struct {
		int64_t seconds;
		char letter;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };
	size_t i = 0;

	seconds = MAX(seconds, 0);
	while (i + 1 < ARRAY_SIZE(units) && seconds < units[i].seconds)
		i++;
	buf_printf(out, "%" PRId64 "%c", seconds / units[i].seconds, units[i].letter);
	seconds %= units[i].seconds;
	if (i + 1 < ARRAY_SIZE(units) && seconds >= units[i + 1].seconds)
		buf_printf(out, "%" PRId64 "%c", seconds / units[i + 1].seconds,
			   units[i + 1].letter);
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
