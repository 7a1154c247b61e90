/*
 * hops - next hops as a running server and its queue together know them
 *
 * The server tells of those that it has used, the queue of those that mail
 * waits for; either may be missing. Routes that differ in their TLS alone are
 * the same next hop to an operator, who knows it by what `queue list` shows:
 * they are joined.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/strmap.h"
#include "queue/reader.h"

struct json_t;

struct hop {
	char *next_hop;
	bool is_down, is_up;		 /* neither: not known */
	int64_t down_since_ms, retry_ms; /* 0: not down */
	int64_t last_answer_ms;		 /* of whatever kind; 0: none since the start */
	int64_t last_success_ms;	 /* mail was taken; 0: none since the start */
	int64_t last_error_ms;		 /* 0: none since the start */
	char *last_error;
	struct json_t *tls; /* of the last success; NULL: none */
	int64_t peer_not_after_s;
	int64_t alarm_since_ms; /* nothing was delivered since then, and that is an alarm; 0: no */

	/* the queue */
	int64_t queued;	     /* recipients */
	int64_t oldest_ms;   /* arrival of the oldest message; 0: none waits */
	int64_t next_due_ms; /* the first next attempt; 0: none */
	char *reason;	     /* why the oldest waits; NULL: not known */
};

struct hops {
	struct strmap by_name;
	struct hop **list; /* after hops_sort() */
	size_t count;
};

/* One line of the server's answer to "status". */
void hops_take_line(struct hops *h, const struct json_t *line);

/* What waits for one; what was never tried is nobody's. */
void hops_take_waiting(struct hops *h, const struct queue_stats *stats);

/* The worst first: an alarm, the longest; down; in trouble; by what waits. */
void hops_sort(struct hops *h);
int hops_compare(const struct hop *left, const struct hop *right);

const struct hop *hops_find(const struct hops *h, const char *next_hop); /* NULL: none */
void hops_done(struct hops *h);

enum hop_state { HOP_UP, HOP_BACKOFF, HOP_UNKNOWN };

enum hop_state hop_state(const struct hop *hop);
const char *hop_state_name(enum hop_state state); /* "up", "backoff", "unknown" */

/* What went wrong last, and when it is tried again; NULL and 0: not known. */
const char *hop_last_error(const struct hop *hop);
int64_t hop_retry_ms(const struct hop *hop);

/* Adds "state", "last_success_at", "last_error", … as in the contract. hop may be NULL. */
void hop_json(const struct hop *hop, struct json_t *object);

/* Indented lines that say what is wrong with it; nothing when all is well. */
void hop_text_trouble(struct buf *out, const struct hop *hop, int64_t now_ms);
