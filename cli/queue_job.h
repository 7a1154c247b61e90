/*
 * queue_job - one action on the queue, from the request to what is answered;
 * in the server as in a command that needs none
 */
#pragma once

#include "base/buf.h"
#include "cli/selection.h"

#define QUEUE_JOB_ARGUMENTS SELECTION_ARGUMENTS " dry_run"

struct queue_job {
	struct queue_action action;
	struct selection selection;
};

/* -EINVAL: a text for whoever asked. The request must outlive the job. */
int queue_job_init(struct queue_job *job, const struct control_request *request, int64_t now_ms,
		   struct error *err);
void queue_job_done(struct queue_job *job);

/* When the action is done: {"recipients":3,"messages":2,"matched":3,"missing":["1A"]}. */
struct json_t *queue_job_result(const struct queue_job *job);

/* "matched=3, recipients=3, messages=2", for the log. */
void queue_job_counts(const struct queue_job *job, struct buf *out);
