/*
 * What is remembered are the alarms that are on, no more: everything else is
 * told anew by whoever looks at the queue. So there is nothing that could go
 * out of date, and next hops come and go as they like.
 */
#include "mta/alarm.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"

struct alarm {
	char *next_hop;
	int64_t since_ms;
	bool is_seen; /* by this look */
};

struct alarms {
	struct log *log;
	struct strmap on; /* struct alarm */
};

struct alarms *alarms_new(struct log *log)
{
	struct alarms *a = memory_zeroed(sizeof(*a));

	a->log = log;
	return a;
}

static void end(struct alarms *a, struct alarm *alarm)
{
	strmap_remove(&a->on, slice_from(alarm->next_hop));
	free(alarm->next_hop);
	free(alarm);
}

void alarms_forget(struct alarms *a)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&a->on, &cursor)) != NULL) {
		end(a, entry->value);
		cursor = 0;
	}
}

void alarms_free(struct alarms *a)
{
	if (!a)
		return;
	alarms_forget(a);
	strmap_done(&a->on);
	free(a);
}

static void begin(struct alarms *a, const struct alarm_hop *hop, int64_t since_ms, int64_t now_ms)
{
	struct alarm *alarm = memory_zeroed(sizeof(*alarm));
	char since[TIME_RFC3339_SIZE], oldest[TIME_RFC3339_SIZE], text[TIME_DURATION_SIZE];

	alarm->next_hop = slice_strdup(slice_from(hop->next_hop));
	alarm->since_ms = since_ms;
	alarm->is_seen = true;
	strmap_put(&a->on, slice_from(hop->next_hop), alarm);
	log_write(a->log, "qmgr", LOG_LEVEL_ERROR,
		  "ALARM: nothing has been delivered to %s for %s, since %s; %" PRId64
		  " recipient%s wait%s, the oldest message since %s%s%s",
		  hop->next_hop, time_duration((now_ms - since_ms) / 1000, text),
		  time_rfc3339(since_ms, since), hop->recipients, hop->recipients == 1 ? "" : "s",
		  hop->recipients == 1 ? "s" : "", time_rfc3339(hop->oldest_ms, oldest),
		  hop->reason[0] ? "; " : "", hop->reason);
}

static void see(struct alarms *a, const struct alarm_hop *hop, int64_t limit_ms, int64_t now_ms,
		int64_t *next_ms)
{
	int64_t since_ms = MAX(hop->oldest_ms, hop->last_success_ms);
	struct alarm *alarm = strmap_get(&a->on, slice_from(hop->next_hop));

	if (alarm)
		alarm->is_seen = true;
	else if (now_ms - since_ms >= limit_ms)
		begin(a, hop, since_ms, now_ms);
	else
		*next_ms = MIN(*next_ms, since_ms + limit_ms);
}

/* What nobody has named any more has nothing to deliver. */
static void end_unseen(struct alarms *a)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&a->on, &cursor)) != NULL) {
		struct alarm *alarm = entry->value;

		if (alarm->is_seen)
			continue;
		log_write(a->log, "qmgr", LOG_LEVEL_WARNING,
			  "ALARM over: nothing waits for %s any more", alarm->next_hop);
		end(a, alarm);
		cursor = 0; /* the table has changed */
	}
}

int64_t alarms_look(struct alarms *a, const struct alarm_hop *hops, size_t count, int64_t limit_ms,
		    int64_t now_ms)
{
	int64_t next_ms = now_ms + limit_ms; /* what comes from now on may wait so long */
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&a->on, &cursor)) != NULL)
		((struct alarm *)entry->value)->is_seen = false;
	for (size_t i = 0; i < count; i++) {
		alarms_succeeded(a, hops[i].next_hop, hops[i].last_success_ms);
		see(a, &hops[i], limit_ms, now_ms, &next_ms);
	}
	end_unseen(a);
	return next_ms;
}

void alarms_succeeded(struct alarms *a, const char *next_hop, int64_t at_ms)
{
	struct alarm *alarm = strmap_get(&a->on, slice_from(next_hop));
	char text[TIME_DURATION_SIZE];

	if (!alarm || at_ms <= alarm->since_ms)
		return;
	log_write(a->log, "qmgr", LOG_LEVEL_WARNING, "ALARM over: %s takes mail again, after %s",
		  next_hop, time_duration((at_ms - alarm->since_ms) / 1000, text));
	end(a, alarm);
}

size_t alarms_count(const struct alarms *a)
{
	return a->on.count;
}

void alarms_each(const struct alarms *a,
		 void (*visit)(void *arg, const char *next_hop, int64_t since_ms), void *arg)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&a->on, &cursor)) != NULL) {
		const struct alarm *alarm = entry->value;

		visit(arg, alarm->next_hop, alarm->since_ms);
	}
}
