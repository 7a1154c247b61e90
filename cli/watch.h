/*
 * watch - looks now and then whether a next hop delivers nothing (mta/alarm.h)
 *
 * What waits is read from the queue, on the thread pool: two tenths of a
 * second for a million recipients. It is read at the start, and from then on
 * only when a next hop may have been silent for destination_alarm_time; while
 * there is an alarm, once a minute. When the last mail was delivered is known
 * to the running server, and before its start by the ledger.
 */
#pragma once

#include "mta/alarm.h"

struct server;
struct watch;

struct watch *watch_new(struct server *s);

/* To be called every second or so. */
void watch_look(struct watch *w);

/* Nothing is read or logged any more. What is being read is freed with the loop. */
void watch_stop(struct watch *w);
void watch_free(struct watch *w); /* after the loop; NULL is fine */

const struct alarms *watch_alarms(const struct watch *w);
