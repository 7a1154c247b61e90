/* queue_text - see queue_text.h */
#include "cli/queue_text.h"

#include "base/clock.h"
#include "cli/cli.h"

void queue_text_waiting(struct buf *out, const struct queue_recipient *r)
{
	if (r->status == QUEUE_DEFERRED && r->waits_for != 0)
		buf_append_string(out, " or once its next hop takes mail");
}

static void append_due(struct buf *out, const struct queue_recipient *r, int64_t now_ms)
{
	if (r->due_ms <= now_ms) {
		buf_append_string(out, ", due now");
		return;
	}
	buf_append_string(out, ", next in ");
	cli_format_duration(out, (r->due_ms - now_ms + 999) / 1000);
	queue_text_waiting(out, r);
}

void queue_text_state(struct buf *out, const struct queue_message *m,
		      const struct queue_recipient *r, const struct queue_view *v)
{
	int64_t now_ms = v->now_ms;
	bool is_active = queue_view_is_active(v, m, r);

	buf_append_string(out, queue_view_status(v, m, r));
	if (r->attempts > 0)
		buf_printf(out, " after %u attempt%s", r->attempts, r->attempts == 1 ? "" : "s");
	if (!is_active &&
	    (r->status == QUEUE_DEFERRED || (r->status == QUEUE_QUEUED && r->due_ms > now_ms)))
		append_due(out, r, now_ms);
	if (r->is_returning && queue_status_is_pending(r->status))
		buf_append_string(out, ", to be returned to the sender");
	if (r->next_hop[0] != '\0') {
		buf_append_string(out, ", by ");
		cli_format_text(out, r->next_hop);
	}
}

void queue_text_recipient(struct buf *out, const struct queue_message *m,
			  const struct queue_recipient *r, const struct queue_view *v)
{
	buf_append_string(out, "    ");
	cli_format_address(out, r->address);
	buf_append_string(out, ": ");
	queue_text_state(out, m, r, v);
	if (r->reason[0] != '\0') {
		buf_printf(out, "\n        %s%s", r->enhanced, r->enhanced[0] ? " " : "");
		cli_format_text(out, r->reason);
	}
	buf_append_string(out, "\n");
}

void queue_text_time(struct buf *out, int64_t time_ms, int64_t now_ms)
{
	char time[TIME_RFC3339_SIZE];

	buf_printf(out, "%.19sZ, ", time_rfc3339(time_ms, time));
	if (time_ms > now_ms)
		buf_append_string(out, "in ");
	cli_format_duration(out, (time_ms > now_ms ? time_ms - now_ms : now_ms - time_ms) / 1000);
	if (time_ms <= now_ms)
		buf_append_string(out, " ago");
}
