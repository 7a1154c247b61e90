/* thread - the queue's inside: what its thread and the callers' threads share */
#pragma once

#include <pthread.h>

#include "queue/action.h"
#include "queue/bodies.h"
#include "queue/claims.h"
#include "queue/ids.h"
#include "queue/queue.h"
#include "queue/room.h"
#include "queue/store.h"

/*
 * An operator has deleted recipients of a message that is claimed. The claim
 * then lasts until it is released, even if the message goes before, as there
 * may be deliveries that read its body.
 */
enum queue_cut {
	QUEUE_CUT,
	QUEUE_CUT_FILE, /* the message is gone, and its file is to go with the claim */
};

struct queue {
	unsigned int batch_max;
	const struct clock *clock;
	void (*warn)(void *arg, const char *text);
	void *warn_arg;

	char *directory;
	int lock_fd;
	struct queue_bodies bodies;
	struct queue_room room; /* only queue_room_has() and _is_spent() from other threads */
	struct queue_ids ids;

	/* The thread's own. */
	pthread_t thread;
	struct queue_store *store; /* NULL: it could not be opened again after it was damaged */
	struct queue_claims claims;
	struct queue_claims cut;    /* claimed messages of which recipients were deleted; due_ms: */
	struct buf removed_files;   /* ids (int64_t) whose rows are gone */
	bool has_checkpoint_failed; /* and was warned of */
	bool is_log_suspect;  /* a sync has failed: it must be renewed before anything is written */
	int64_t renew_ms;     /* when that was tried, on the monotonic clock */
	int64_t recovered_ms; /* when the database was last found damaged, too */
	int log_frames_max;   /* then it is moved into the database */
	int64_t tended_ms;    /* when the ledger was last looked after, too */
	_Atomic int64_t ledger_lifetime_s; /* any thread's */

	/* Under the mutex. */
	pthread_mutex_t mutex;
	pthread_cond_t arrived;
	struct list urgent, patient; /* struct queue_request, in the order of arrival */
	bool is_patients_turn;	     /* the last batch had none of them */
	bool is_stopping;
	struct queue_counts counts;
	struct queue_ledger_link ledger_head;
	unsigned int port_count;
};

struct queue_port {
	struct queue *queue;
	void (*wake)(void *arg);
	void *arg;
	size_t pending; /* submitted and not dispatched; used on the port's thread only */

	pthread_mutex_t mutex;
	struct list completed;
};

/* Main function of the thread; arg is the queue. */
void *queue_thread_run(void *arg);

/* Nobody waits for it: it stands in the patient line. */
bool queue_thread_is_patient(const struct queue_request *request);

/* Serve one claim; fills in its results. On the thread. */
void queue_thread_claim(struct queue *q, struct queue_claim *claim);

/* The same for an action, and for the question of what is claimed. */
void queue_thread_action(struct queue *q, struct queue_action *action);
void queue_thread_active(struct queue *q, struct queue_active *active);

void queue_thread_warn(struct queue *q, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
