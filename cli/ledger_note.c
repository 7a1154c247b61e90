/* ledger_note - see ledger_note.h */
#include "cli/ledger_note.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/parse.h"

#define PAUSE_MS 3600000

void ledger_link_format(const struct queue_ledger_link *link, char out[LEDGER_LINK_SIZE])
{
	int len = snprintf(out, LEDGER_LINK_SIZE, "%" PRId64 ":", link->row);

	for (size_t i = 0; i < sizeof(link->hash); i++)
		snprintf(out + len + 2 * i, 3, "%02x", link->hash[i]);
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool ledger_link_parse(const char *text, struct queue_ledger_link *ret)
{
	const char *hex = strchr(text, ':');
	uint64_t row;

	if (!hex || !parse_uint(slice_of(text, (size_t)(hex - text)), INT64_MAX, &row) ||
	    strlen(++hex) != 2 * sizeof(ret->hash))
		return false;
	ret->row = (int64_t)row;
	for (size_t i = 0; i < sizeof(ret->hash); i++) {
		int high = digit_value(hex[2 * i]), low = digit_value(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		ret->hash[i] = (unsigned char)(high * 16 + low);
	}
	return true;
}

void ledger_note_write(struct ledger_note *note, struct queue *queue, struct log *log, bool at_once)
{
	int64_t now_ms = clock_mono_ms(&clock_system);
	char text[LEDGER_LINK_SIZE];
	struct queue_ledger_link head;

	if (!at_once && now_ms - note->noted_ms < PAUSE_MS)
		return;
	note->noted_ms = now_ms;
	queue_ledger_head(queue, &head);
	if (head.row == note->row)
		return;
	note->row = head.row;
	ledger_link_format(&head, text);
	log_write(log, NULL, LOG_LEVEL_INFO, "ledger: head=%s", text);
}
