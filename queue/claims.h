/*
 * claims - which messages somebody works on, and where to look for the next
 *
 * In memory only, and only on the queue's thread. The due index of the
 * database is ordered by (due_ms, id). Everything before the cursor is
 * claimed, so a scan starts there instead of passing over all that is in
 * flight; whatever may break that moves the cursor back.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct queue_due {
	int64_t due_ms, id;
};

struct queue_claims {
	struct queue_due *slots; /* id 0: free */
	size_t count, size;	 /* size: slots, 0 or a power of two */
	struct queue_due cursor; /* the last entry that a scan need not look at */
};

void queue_claims_init(struct queue_claims *c);
void queue_claims_done(struct queue_claims *c);

bool queue_claims_has(const struct queue_claims *c, int64_t id);

/* Claim, or note that a claimed message has got another due time (QUEUE_NEVER: none). */
void queue_claims_put(struct queue_claims *c, int64_t id, int64_t due_ms);

/* The message left the queue. */
void queue_claims_forget(struct queue_claims *c, int64_t id);

/* The message can be claimed again: the cursor must not be behind it. */
void queue_claims_release(struct queue_claims *c, int64_t id);

/* When a claimed message is due, as far as the claims know; QUEUE_NEVER where it is not claimed. */
int64_t queue_claims_due_ms(const struct queue_claims *c, int64_t id);

/* Due times have changed of messages that are not claimed: scans begin at the start again. */
void queue_claims_rewind(struct queue_claims *c);

/* A scan has seen that everything up to and with this entry is claimed. */
void queue_claims_advance(struct queue_claims *c, struct queue_due seen);
