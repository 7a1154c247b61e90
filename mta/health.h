/*
 * health - which next hops can be used, as all workers together have seen it
 *
 * One entry for each lane string. A worker that could use none of its next
 * hops says so, and all know that it is down: from then on one probe at a time
 * goes out for all of them, when the entry says, and what it finds out is
 * told to all. How long until the next probe is a quarter of the time that the
 * next hop has been down, between the two limits of the back-off: mail waits
 * at most a quarter longer than it had to.
 *
 * All functions are for any thread. Times are Unix milliseconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "net/address.h"
#include "smtp/status.h"
#include "tls/session.h"

struct health;
struct health_entry;

struct health *health_new(void);
void health_free(struct health *h); /* no entry may be in use */

/*
 * changed() is called whenever a next hop has come up, was probed in vain or
 * not after all, or is said to be worth another try; from any thread, with a
 * lock held: it must not call back, loop_notify_send() is what it is for.
 */
void health_listen(struct health *h, void (*changed)(void *arg), void *arg);

/* The entry with this name; made, as one that is not known to be down, if there is none. */
struct health_entry *health_get(struct health *h, const char *name);
void health_put(struct health_entry *e); /* NULL is fine */

/*
 * What its suspended mail waits for, in all workers: a hash of the name, the same
 * after a restart. No two entries have the same at a time.
 */
int64_t health_mail_name(const struct health_entry *e);

/* What operators know it by, as the queue has it. */
void health_set_next_hop(struct health_entry *e, const char *next_hop);

/* How often it has come up again, or mail was offered: to compare with an earlier one. */
unsigned int health_turns(const struct health_entry *e);

bool health_is_down(const struct health_entry *e);
int64_t health_retry_ms(const struct health_entry *e); /* when it is probed next; 0: not down */

/* Connections of all workers: all there are, and those that are ready for mail. */
void health_opened(struct health_entry *e);
void health_closed(struct health_entry *e);
void health_connected(struct health_entry *e);
void health_disconnected(struct health_entry *e);

enum health_advice {
	HEALTH_UP,    /* go on */
	HEALTH_DOWN,  /* wait for health_retry_ms(), or for changed() if that has passed */
	HEALTH_PROBE, /* make a connection: the caller is the only one who may, until it tells */
};

enum health_advice health_ask(struct health_entry *e, int64_t now_ms);

/* The probe was not made, or said nothing: the next one who asks may. */
void health_probe_dropped(struct health_entry *e);

/* A transaction has gone through, whatever was said of the mail: it is up. */
void health_answered(struct health_entry *e, int64_t now_ms);

/* Mail was taken, by one of its recipients at least. It has answered, too. */
void health_succeeded(struct health_entry *e, int64_t now_ms);

/* How a connection is protected over which mail was taken. */
struct health_passage {
	enum tls_level level;
	enum tls_mode mode;   /* as it went, whatever the route has */
	struct tls_facts tls; /* zeroed in the clear; its strings outlive the session */
	char peer[NET_ADDRESS_TEXT_SIZE];
};

void health_passed(struct health_entry *e, const struct health_passage *passage);

struct health_failure {
	const struct smtp_status *status;
	int64_t now_ms;
	int64_t minimal_s, maximal_s; /* of the back-off */
	uint32_t random;
	bool is_probe; /* of the caller, which is over with this */
};

/*
 * None of the next hops could be used. False: others are connected to it, so
 * it is not down; it may have had enough of us.
 */
bool health_failed(struct health_entry *e, const struct health_failure *failure);

/* Mail was left in the queue that those who are connected may take. */
void health_offer(struct health_entry *e);

/* Something went wrong with a session, which alone does not mean that it is down. */
void health_troubled(struct health_entry *e, const struct smtp_status *status, int64_t now_ms);

/* What went wrong last. */
void health_last_error(struct health_entry *e, struct smtp_status *ret);

/* The operator says that all of them are worth a try now. */
void health_retry(struct health *h, int64_t now_ms);

/*
 * Somebody says that it is worth a try: if it is down it is probed now, or as
 * soon as gap_ms have passed since it last failed.
 */
void health_hurry(struct health_entry *e, int64_t now_ms, int64_t gap_ms);

/* What is known of one. */
struct health_report {
	const char *name, *next_hop;
	bool is_down, is_probing;
	bool is_used;	       /* somebody has mail for it, or had a moment ago */
	unsigned int failures; /* in a row */
	int64_t down_since_ms, retry_ms;
	int64_t last_answer_ms;	 /* a transaction went through; 0: none yet */
	int64_t last_success_ms; /* mail was taken; 0: none yet */
	struct smtp_status last_error;
	int64_t last_error_ms;		      /* 0: none yet */
	const struct health_passage *passage; /* the last one; NULL: none yet */
};

/* Connections that are open, to all next hops. */
unsigned int health_connections(const struct health *h);

/* visit() is called for each, with a lock held: it must not call back. */
void health_each(struct health *h, void (*visit)(void *arg, const struct health_report *report),
		 void *arg);
