/*
 * A look is two steps: read_queue() on a thread of the pool, with a reader of its
 * own and what it needs copied; compare() on the main loop, where the health
 * of next hops is asked and the log is written.
 */
#include "cli/watch.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/macros.h"
#include "base/memory.h"
#include "base/strmap.h"
#include "cli/server.h"
#include "mta/health.h"
#include "queue/reader.h"

#define RECHECK_MS 60000 /* while there is an alarm: is anything left that waits? */

struct watch {
	struct server *server;
	struct alarms *alarms;
	int64_t next_look_ms, limit_ms;
	bool is_reading, is_stopped;

	/* one look */
	struct loop_work work;
	struct arena arena;
	const char *directory;
	int64_t success_since_ms; /* look for successes in the ledger from then on; 0: no need */
	struct strmap hops;	  /* struct alarm_hop */
	int result;
	struct error error;
	bool has_complained;
};

struct watch *watch_new(struct server *s)
{
	struct watch *w = memory_zeroed(sizeof(*w));

	w->server = s;
	w->alarms = alarms_new(s->log);
	return w;
}

void watch_stop(struct watch *w)
{
	if (w)
		w->is_stopped = true;
}

void watch_free(struct watch *w)
{
	if (!w)
		return;
	alarms_free(w->alarms);
	strmap_done(&w->hops);
	arena_done(&w->arena);
	free(w);
}

const struct alarms *watch_alarms(const struct watch *w)
{
	return w->alarms;
}

/* ---- what waits, on the pool ---- */

static struct alarm_hop *find_hop(struct watch *w, const char *next_hop)
{
	struct alarm_hop *hop = strmap_get(&w->hops, slice_from(next_hop));

	if (hop)
		return hop;
	hop = arena_alloc(&w->arena, sizeof(*hop));
	*hop = (struct alarm_hop){
		.next_hop = arena_strdup(&w->arena, next_hop),
		.oldest_ms = INT64_MAX,
		.reason = "",
	};
	strmap_put(&w->hops, slice_from(next_hop), hop);
	return hop;
}

static int add_waiting(void *arg, const struct queue_stats *stats)
{
	struct watch *w = arg;
	struct alarm_hop *hop;

	if (stats->status == QUEUE_HELD || stats->next_hop[0] == '\0')
		return 0; /* waits for the operator; was never tried */
	hop = find_hop(w, stats->next_hop);
	hop->recipients += stats->recipients;
	hop->oldest_ms = MIN(hop->oldest_ms, stats->oldest_ms);
	if (stats->reason[0])
		hop->reason = arena_strdup(&w->arena, stats->reason);
	return 0;
}

static int add_success(void *arg, const struct queue_ledger_entry *entry)
{
	struct watch *w = arg;
	struct alarm_hop *hop = strmap_get(&w->hops, slice_from(entry->row.next_hop));

	if (hop)
		hop->last_success_ms = MAX(hop->last_success_ms, entry->row.time_ms);
	return 0;
}

/* Nothing waits for so long that it could matter, as a rule. */
static bool needs_successes(const struct watch *w)
{
	const struct strmap_entry *entry;
	size_t cursor = 0;

	while ((entry = strmap_next(&w->hops, &cursor)) != NULL)
		if (((const struct alarm_hop *)entry->value)->oldest_ms <= w->success_since_ms)
			return true;
	return false;
}

static int read_successes(struct watch *w, struct queue_reader *reader)
{
	const struct queue_ledger_filter filter = {
		.since_ms = w->success_since_ms,
		.filter.statuses = 1u << QUEUE_DELIVERED,
	};

	if (!needs_successes(w))
		return 0;
	return queue_reader_ledger(reader, &filter, add_success, w, &w->error);
}

static void read_queue(struct loop_work *work)
{
	struct watch *w = CONTAINER_OF(work, struct watch, work);
	CLEANUP(queue_reader_closep) struct queue_reader *reader = NULL;

	w->result = queue_reader_open(w->directory, &reader, &w->error);
	if (w->result == 0)
		w->result = queue_reader_stats(reader, add_waiting, w, &w->error);
	if (w->result == 0)
		w->result = read_successes(w, reader);
}

/* ---- what that means, on the main loop ---- */

static void note_success(void *arg, const struct health_report *report)
{
	struct watch *w = arg;
	struct alarm_hop *hop = strmap_get(&w->hops, slice_from(report->next_hop));

	alarms_succeeded(w->alarms, report->next_hop, report->last_success_ms);
	if (hop)
		hop->last_success_ms = MAX(hop->last_success_ms, report->last_success_ms);
}

static void complain(struct watch *w)
{
	if (w->result < 0 && !w->has_complained)
		log_write(w->server->log, "qmgr", LOG_LEVEL_WARNING,
			  "cannot look for next hops that deliver nothing: %s", w->error.text);
	w->has_complained = w->result < 0;
}

static void compare(struct watch *w, int64_t now_ms)
{
	struct alarm_hop *hops = arena_alloc(&w->arena, MAX(w->hops.count, 1) * sizeof(*hops));
	const struct strmap_entry *entry;
	size_t cursor = 0, count = 0;

	mta_each_next_hop(w->server->mta, note_success, w);
	while ((entry = strmap_next(&w->hops, &cursor)) != NULL)
		hops[count++] = *(const struct alarm_hop *)entry->value;
	w->next_look_ms = alarms_look(w->alarms, hops, count, w->limit_ms, now_ms);
	if (alarms_count(w->alarms) > 0)
		w->next_look_ms = MIN(w->next_look_ms, now_ms + RECHECK_MS);
}

static void done(struct loop_work *work)
{
	struct watch *w = CONTAINER_OF(work, struct watch, work);
	int64_t now_ms = clock_wall_ms(&clock_system);

	w->is_reading = false;
	if (!w->is_stopped) {
		complain(w);
		w->next_look_ms = now_ms + RECHECK_MS;
		if (w->result == 0)
			compare(w, now_ms);
	}
	strmap_done(&w->hops);
	arena_done(&w->arena);
	w->hops = (struct strmap){ 0 };
	w->arena = (struct arena){ 0 };
}

static void begin(struct watch *w, int64_t now_ms)
{
	const struct server *s = w->server;

	w->directory =
		arena_strdup(&w->arena, config_value(s->current->config, CONFIG_QUEUE_DIRECTORY));
	/* What was delivered before the start nobody else knows. */
	w->success_since_ms = s->started_ms > now_ms - w->limit_ms ? now_ms - w->limit_ms : 0;
	w->is_reading = true;
	w->work = (struct loop_work){ .work = read_queue, .done = done };
	loop_work(s->loop, &w->work);
}

void watch_look(struct watch *w)
{
	const struct server *s = w->server;
	int64_t now_ms = clock_wall_ms(&clock_system);
	int64_t limit_ms = config_destination_alarm_s(s->current->config) * 1000;

	if (w->is_stopped || w->is_reading)
		return;
	if (limit_ms != w->limit_ms)
		w->next_look_ms = 0; /* another one by a reload */
	w->limit_ms = limit_ms;
	if (limit_ms == 0) {
		alarms_forget(w->alarms);
		return;
	}
	if (alarms_count(w->alarms) > 0)
		mta_each_next_hop(s->mta, note_success, w);
	if (now_ms >= w->next_look_ms || now_ms < w->next_look_ms - w->limit_ms - RECHECK_MS)
		begin(w, now_ms);
}
