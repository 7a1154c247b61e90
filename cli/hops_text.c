/* hops_text - how a next hop is, in words */
#include <string.h>

#include "cli/cli.h"
#include "cli/hops.h"

enum hop_state hop_state(const struct hop *hop)
{
	if (hop->is_down)
		return HOP_BACKOFF;
	return hop->is_up ? HOP_UP : HOP_UNKNOWN;
}

const char *hop_state_name(enum hop_state state)
{
	static const char *const names[] = {
		[HOP_UP] = "up",
		[HOP_BACKOFF] = "backoff",
		[HOP_UNKNOWN] = "unknown",
	};

	return names[state];
}

const char *hop_last_error(const struct hop *hop)
{
	return hop->last_error ? hop->last_error : hop->reason;
}

int64_t hop_retry_ms(const struct hop *hop)
{
	return hop->is_down ? hop->retry_ms : hop->next_due_ms;
}

static void put_duration(struct buf *out, int64_t ms)
{
	cli_format_duration(out, ms > 0 ? ms / 1000 : 0);
}

static void put_down(struct buf *out, const struct hop *hop, int64_t now_ms)
{
	buf_append_string(out, "down for ");
	put_duration(out, now_ms - hop->down_since_ms);
	if (hop->retry_ms > now_ms) {
		buf_append_string(out, ", next try in ");
		put_duration(out, hop->retry_ms - now_ms + 999);
	} else {
		buf_append_string(out, ", being tried");
	}
}

void hop_text_trouble(struct buf *out, const struct hop *hop, int64_t now_ms)
{
	const char *error = hop_last_error(hop);

	if (hop->alarm_since_ms != 0) {
		buf_append_string(out, "    ALARM: nothing has been delivered for ");
		put_duration(out, now_ms - hop->alarm_since_ms);
		buf_append_string(out, "\n");
	}
	if (hop->is_down) {
		buf_append_string(out, "    ");
		put_down(out, hop, now_ms);
	} else if (hop->last_error_ms > hop->last_answer_ms) {
		buf_append_string(out, "    ");
		put_duration(out, now_ms - hop->last_error_ms);
		buf_append_string(out, " ago");
	} else if (hop->queued > 0 && hop->reason) {
		buf_append_string(out, "    the oldest waits");
		error = hop->reason;
	} else {
		return;
	}
	if (error) {
		buf_append_string(out, ": ");
		cli_format_text(out, error);
	}
	buf_append_string(out, "\n");
}
