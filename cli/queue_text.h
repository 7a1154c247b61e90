/* queue_text - how recipients and their fate are told to people; all append to out */
#pragma once

#include "base/buf.h"
#include "cli/queue_view.h"

/* "    bob@example.net: deferred after 2 attempts, next in 3m12s, by [hub]:25", and why. */
void queue_text_recipient(struct buf *out, const struct queue_message *m,
			  const struct queue_recipient *r, const struct queue_view *v);

/* "deferred after 2 attempts, next in 3m12s, by [hub]:25" */
void queue_text_state(struct buf *out, const struct queue_message *m,
		      const struct queue_recipient *r, const struct queue_view *v);

/* " or once its next hop takes mail": where that may be before its time. */
void queue_text_waiting(struct buf *out, const struct queue_recipient *r);

/* "2026-11-21T07:12:01Z, in 3m12s" or "…, 5s ago". */
void queue_text_time(struct buf *out, int64_t time_ms, int64_t now_ms);
