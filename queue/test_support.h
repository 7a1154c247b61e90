/* test_support - a queue in a directory of its own, driven from one thread, step by step */
#pragma once

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/clock.h"
#include "queue/queue.h"

#define TESTER_START_MS INT64_C(1795245121000) /* 2026-11-21T07:12:01Z */

struct tester {
	struct clock clock; /* a fake: now_ms */
	int64_t now_ms;
	char directory[64];
	size_t body_memory_bytes;
	uint64_t ballast_bytes, minfree_bytes;
	unsigned int batch_max;
	struct queue *queue;
	struct queue_port *port;
	pthread_mutex_t mutex;
	pthread_cond_t woken;
	unsigned int wakes, seen;
	unsigned int warnings;
	char last_warning[640];
};

/* cmocka's setup and teardown; *state is the tester, its queue is open. */
int tester_setup(void **state);
int tester_teardown(void **state);

/* A new directory below parent, or below /tmp if that is not there. */
struct tester *tester_new(const char *parent);
void tester_free(struct tester *t);
void tester_open(struct tester *t);
int tester_try_open(struct tester *t, struct error *err);
void tester_close(struct tester *t);

/* Wait until the last warning has this in it. */
void tester_wait_warning(struct tester *t, const char *text);

/* Another port on the same queue, for another thread. */
struct tester *tester_share(struct tester *t);
void tester_unshare(struct tester *t);

/* A message with a finished body of size bytes made from its id, to count recipients. */
struct queue_message *tester_message(struct tester *t, size_t size, unsigned int count);
void tester_check_body(struct queue_body *b, int64_t id, size_t size);

/* Submit, and wait until it is done. Returns the result. */
int tester_append(struct tester *t, struct queue_message *m, struct error *err);
int tester_record(struct tester *t, struct queue_record *record);
int tester_claim(struct tester *t, struct queue_claim *claim);
void tester_release(struct tester *t, int64_t id);

/* Wait until the request is done; its done() must be tester_done. */
void tester_done(struct queue_request *request);
void tester_wait(struct tester *t, struct queue_request *request);

/* Append a message and forget it in memory; it stays claimed. Returns its id. */
int64_t tester_store(struct tester *t, size_t size, unsigned int count);

/* All recipients of m with this status. */
bool tester_finish(struct tester *t, struct queue_message *m, enum queue_status status,
		   int64_t due_ms);

/* Claim up to max messages that are due now, free them, and give their ids. */
unsigned int tester_claim_ids(struct tester *t, unsigned int max, int64_t *ids,
			      int64_t *ret_next_due_ms);

/* Run SQL on the database behind the queue's back, as an operator with a tool could. */
void tester_sql(struct tester *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
int64_t tester_query(struct tester *t, const char *text);

/* The number of files below bodies/. */
unsigned int tester_body_files(struct tester *t);

/* The counts agree with the rows, and the ledger's chain holds. */
void tester_check_counts(struct tester *t);
