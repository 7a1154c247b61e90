/*
 * alarm - next hops that have delivered nothing for too long while mail waits
 *
 * One loud line in the log when that begins, one when it is over, and a mark
 * for whoever asks (`posthouse status`). No mail has to get out for that, and
 * it does not matter why nothing is delivered: a next hop that is down, one
 * that answers 451 to everybody, a certificate that has expired.
 *
 * Nothing is delivered since the last success, or if that was earlier or is
 * not known, since the oldest message that waits has arrived. So a restart
 * changes nothing. Of one thread; times are Unix milliseconds.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/log.h"

struct alarms;

struct alarms *alarms_new(struct log *log); /* log may be NULL */
void alarms_free(struct alarms *a);	    /* NULL is fine */

/* A next hop for which mail waits, and is not held. */
struct alarm_hop {
	const char *next_hop;
	int64_t recipients;	 /* that wait */
	int64_t oldest_ms;	 /* arrival of the oldest of their messages */
	int64_t last_success_ms; /* mail was taken; 0: not known */
	const char *reason;	 /* why it waits; "": not known */
};

/*
 * All there are now. Those of an earlier call that are missing have nothing
 * left to deliver. limit_ms: how long is too long. Returns when to look again
 * at the latest: nothing can begin before that, but what is on may end.
 */
int64_t alarms_look(struct alarms *a, const struct alarm_hop *hops, size_t count, int64_t limit_ms,
		    int64_t now_ms);

/* A next hop has taken mail, last at that time. May be told again and again. */
void alarms_succeeded(struct alarms *a, const char *next_hop, int64_t at_ms);

/* The operator wants none any more: they are forgotten, and the log is not told. */
void alarms_forget(struct alarms *a);

/* Each that is on, and since when nothing was delivered. */
size_t alarms_count(const struct alarms *a);
void alarms_each(const struct alarms *a,
		 void (*visit)(void *arg, const char *next_hop, int64_t since_ms), void *arg);
