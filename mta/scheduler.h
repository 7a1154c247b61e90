/*
 * scheduler - which message is tried when: hands recipients to lanes, claims
 * from the queue what has become due, records what became of it
 */
#pragma once

#include "mta/worker.h"

struct scheduler *scheduler_new(struct mta_worker *worker);
void scheduler_free(struct scheduler *s);

/* Look for due messages now. */
void scheduler_start(struct scheduler *s);

/* Look, whatever was believed to be due when. */
void scheduler_look(struct scheduler *s);

/* Lanes that back off try at once; and what waits in lanes goes back to the queue. */
void scheduler_forget_failures(struct scheduler *s);
void scheduler_give_back(struct scheduler *s);

/* A message that was just appended, claimed by this worker: deliver it. Takes ownership. */
void scheduler_submit(struct scheduler *s, struct queue_message *message);

/* A delivery of another owner, whose route has a next hop: into its lane. */
struct delivery;
void scheduler_ask(struct scheduler *s, struct delivery *d);

/* The worker's options are new: what waits is routed anew, what runs ends as it began. */
void scheduler_reload(struct scheduler *s);

/* The lane is hungry: claim for it what was suspended, when there is room (mta/lane.h). */
struct lane;
void scheduler_feed(struct scheduler *s, struct lane *lane);

/* Something is known about the health of next hops. */
void scheduler_look_at_lanes(struct scheduler *s);

/* Start no more deliveries; running ones go on. idle() says when none is left. */
void scheduler_stop(struct scheduler *s);
bool scheduler_is_idle(const struct scheduler *s);

/* Break deliveries off whose message the peer cannot have yet: they stay in the queue. */
void scheduler_break_off(struct scheduler *s);

/* Give up all running deliveries, close connections. What is not recorded will be tried again. */
void scheduler_abort(struct scheduler *s);
