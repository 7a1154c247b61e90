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

#include "cli/hops.h"

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

	struct hops hops;
	struct status_certificate *certificates; /* as configured */
	size_t certificate_count;
	char **problems; /* files that have changed and can't be used */
	size_t problem_count;
};

/* For people; of very many next hops, those that matter. */
#define STATUS_HOPS_SHOWN 20
void status_text(const struct status *s, struct buf *out);
