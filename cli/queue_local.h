/*
 * queue_local - an action on the queue when no server runs
 */
#pragma once

#include "base/cleanup.h"
#include "config/config.h"
#include "control/request.h"

struct queue_local;

/*
 * Get ready for the request, which must outlive it: open the log, and become
 * the account that the queue belongs to, for good. -EINVAL: the configuration
 * lacks something, by errors that the caller tells. -EPERM, -EACCES: the queue is not ours.
 */
int queue_local_new(const struct config *config, const struct control_request *request,
		    struct queue_local **ret_local, struct error *err);
void queue_local_free(struct queue_local *l);
DEFINE_CLEANUP(struct queue_local *, queue_local_free);

/*
 * Open the queue, act, write the audit line, close. *ret_result as
 * queue_job_result(). -EBUSY: somebody else has the queue open; may be called
 * again.
 */
int queue_local_act(struct queue_local *l, struct json_t **ret_result, struct error *err);
