/*
 * status - how a running server is, as it says itself and as its queue shows
 *
 * The server tells what only it knows (connections, next hops, certificates in
 * use); what waits for each next hop is counted by the command, which reads
 * the queue without costing the server anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/strmap.h"

struct json_t;

struct status_hop {
	char *next_hop;
	bool is_down, is_up;		 /* neither: not known */
	int64_t down_since_ms, retry_ms; /* 0: not down */
	int64_t last_answer_ms;		 /* of whatever kind; 0: none since the start */
	int64_t last_success_ms;	 /* mail was taken; 0: none since the start */
	int64_t last_error_ms;		 /* 0: none since the start */
	char *last_error;
	struct json_t *tls; /* of the last success; NULL: none */
	int64_t peer_not_after_s;
	int64_t queued;
};

struct status_certificate {
	char *file, *subject;
	int64_t not_after_s, days_left;
};

struct status {
	int64_t now_ms;
	char *mode, *version;
	int64_t pid, started_ms, connections_in, connections_out;
	int64_t messages, recipients, bytes, oldest_ms; /* oldest_ms: 0 when empty */
	bool is_queue_known;				/* held, and what waits for next hops */
	int64_t held;

	struct strmap hops_by_name;
	struct status_hop **hops; /* sorted: those that are down, then by what waits */
	size_t hop_count;
	struct status_certificate *certificates; /* as configured */
	size_t certificate_count;
	char **problems; /* files that have changed and can't be used */
	size_t problem_count;
};

enum status_state { STATUS_UP, STATUS_BACKOFF, STATUS_UNKNOWN };

/* status_text.c */
enum status_state status_hop_state(const struct status_hop *hop);
const char *status_state_name(enum status_state state); /* "up", "backoff", "unknown" */

/* For people; of very many next hops, those that matter. */
#define STATUS_HOPS_SHOWN 20
void status_text(const struct status *s, struct buf *out);
